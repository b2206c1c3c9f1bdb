"""The settings that both trainers share, as arguments of transformers' `Trainer`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from src_train.config import TrainConfig
from src_train.processes import processes
from src_train.rerank_config import RerankConfig


def training_arguments(
    config: TrainConfig | RerankConfig,
    folder: Path,
    *,
    rows: int,
    evaluate_every: int,
    min_steps: int = 0,
    **own: Any,
) -> TrainingArguments:
    """The arguments for epochs of `rows` packs or groups, `batch_size` per process and step, and at least
    `min_steps` steps. Validation runs every `evaluate_every` steps; `own` are those of one trainer alone.
    """
    per_epoch = math.ceil(rows / (config.batch_size * processes().num_processes))
    all_epochs = math.ceil(config.epochs * math.ceil(per_epoch / config.accumulation))
    steps = config.max_steps or max(min_steps, all_epochs)
    validating = bool(config.validation)
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        max_steps=steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=math.ceil(config.warmup_ratio * steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim=config.optimizer,
        bf16=config.precision == "bf16",
        activation_checkpointing=config.gradient_checkpointing,
        eval_strategy="steps" if validating else "no",
        eval_steps=evaluate_every,
        save_strategy="steps",
        save_steps=config.save_steps,
        # with a limit of 1 the library removes the newest checkpoint at the end, where another is the best
        save_total_limit=max(config.keep_checkpoints, 2) if validating else config.keep_checkpoints,
        load_best_model_at_end=validating,
        logging_steps=config.log_steps,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=list(config.trackers) or "none",
        run_name=config.run_name,
        seed=config.seed,
        data_seed=config.seed,
        remove_unused_columns=False,
        use_cpu=processes().device.type == "cpu",  # otherwise bf16 is refused without a GPU
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        **own,
    )
