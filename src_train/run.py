"""Supervised fine-tuning from one YAML: `bash scripts/train_sft.sh configs/train/….yaml [key=value …]`.

The run directory holds the checkpoints, `log.jsonl`, `loss.png`, the manifest, and at the end `model/` (or
`adapter/`) with the tokenizer. The same command goes on from the last whole checkpoint, with the batch that
was next.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import AutoTokenizer, EarlyStoppingCallback, PrinterCallback, TrainingArguments, set_seed
from transformers.utils.logging import disable_progress_bar

from src_core.chat_tokenizer import ChatTokenizer
from src_core.config import dump, load_config
from src_core.errors import UserError, run_main
from src_core.rundir import RunDir
from src_models.files import TRAINING
from src_models.machine import physical_cores
from src_train.checks import print_check
from src_train.config import TrainConfig
from src_train.model import halve_adapter, load_model, model_folder
from src_train.packing import pack
from src_train.progress import Bar
from src_train.rows import Rows, read_rows
from src_train.speed import causal_pairs, faster_precision, matrix_rate, training_cost
from src_train.train_metrics import Watch, plot_losses
from src_train.trainer import Packs, SftTrainer, collator, last_whole_checkpoint

USAGE = "usage: bash scripts/train_sft.sh CONFIG.yaml [key=value …] [--check]"
LOG = "log.jsonl"


class Data(NamedTuple):
    """What a run learns from and is validated with."""

    train: Rows
    validation: Rows | None


def main(arguments: Sequence[str]) -> int:
    """Check the data, train, write the result. `--check` stops after the check."""
    plain = [argument for argument in arguments if argument != "--check"]
    if not plain or "=" in plain[0]:
        raise UserError(USAGE)
    config = load_config(TrainConfig, Path(plain[0]), plain[1:])
    check_config(config)
    torch.set_num_threads(config.threads or physical_cores())
    disable_progress_bar()  # a bar per file read or written is in the way of the one that matters
    state = processes()
    if config.precision == "auto":
        (precision,) = broadcast_object_list([faster_precision(state.device)])  # the first process decides
        config = replace(config, precision=precision)
    with state.main_process_first():
        folder = model_folder(config.model)
    encoder = ChatTokenizer(folder, template=Path(config.chat_template) if config.chat_template else None)
    data = read_data(config, encoder)
    if state.is_main_process:
        print_check(data.train, encoder, config)
    if "--check" not in arguments:
        train(config, folder, encoder, data)
    return 0


def processes() -> PartialState:
    """The processes of this run. Without a GPU several of them must be told that they are on a CPU."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return PartialState(cpu=several and not torch.cuda.is_available())


def check_config(config: TrainConfig) -> None:
    """What single values cannot tell. Raises `UserError`."""
    if config.pack_length and config.pack_length < config.max_length:
        raise UserError(f"pack_length={config.pack_length} is below max_length={config.max_length}")
    if config.validation and config.save_steps % config.eval_steps:
        raise UserError("save_steps must be a multiple of eval_steps, so that the best checkpoint is on disk")
    if config.patience and not config.validation:
        raise UserError("patience needs validation files")
    if (
        config.precision == "bf16_weights"
        and config.lora is None
        and config.optimizer.startswith("adamw_torch")
    ):
        raise UserError(
            "precision=bf16_weights with plain AdamW loses small updates to rounding; take an 8-bit optimiser"
            " (optimizer=adamw_bnb_8bit), adapters (lora) or precision=bf16"
        )


def read_data(config: TrainConfig, encoder: ChatTokenizer) -> Data:
    """All rows, encoded; see `rows.read_rows` for what is refused."""

    def read(files: Any) -> Rows:
        drop = config.on_long == "drop"
        return read_rows(
            files, encoder, config.prompt, max_length=config.max_length, drop_long=drop, seed=config.seed
        )

    return Data(read(config.train), read(config.validation) if config.validation else None)


def train(config: TrainConfig, folder: Path, encoder: ChatTokenizer, data: Data) -> None:
    """The run itself; of several processes, the first keeps the run directory. Raises `UserError` for a run
    directory made with other settings or other data.
    """
    path = Path(config.runs_dir) / config.run_name
    state = processes()
    run_dir = None
    if state.is_main_process:
        settings = {**dump(config), "data_digest": data.train.digest()}
        run_dir = RunDir(path, config=settings, on_existing=config.on_existing)
    try:
        state.wait_for_everyone()
        if (path / _result_name(config)).is_dir():
            print(f"{path / _result_name(config)} is there already; nothing to do")  # noqa: T201
            return
        set_seed(config.seed)
        trainer, watch = make_trainer(config, load_model(folder, config), encoder, data, path)
        checkpoint = last_whole_checkpoint(path)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        write_result(trainer, watch, config, folder, path)
        if run_dir is not None:
            plot_losses(path / LOG, path / "loss.png")
            run_dir.write_manifest(report(trainer, watch, config, data))
    finally:
        if run_dir is not None:
            run_dir.close()


def make_trainer(
    config: TrainConfig, model: Any, encoder: ChatTokenizer, data: Data, folder: Path
) -> tuple[SftTrainer, Watch]:
    """The trainer on packed (or single) rows."""
    packs = _packs(data.train, config)
    validation = None if data.validation is None else _packs(data.validation, config)
    arguments = training_arguments(config, folder, steps_per_epoch=_steps_per_epoch(len(packs), config))
    trainer = SftTrainer(
        model=model,
        args=arguments,
        train_dataset=packs,
        eval_dataset=validation,
        data_collator=collator(encoder.token_ids("\n")[0]),
        by_length=not config.pack_length,
        callbacks=[EarlyStoppingCallback(config.patience)] if config.patience else None,
    )
    lengths = data.train.lengths()
    tokens = sum(lengths)
    targets = sum(int(row.encoded.trainable.sum()) for row in data.train.rows)
    compute = torch.float32 if config.precision == "fp32" else torch.bfloat16
    watch = Watch(
        folder / LOG,
        cost=training_cost(model),
        rate=matrix_rate(arguments.device, compute),
        share=(targets / tokens, causal_pairs(lengths) / tokens),
        minutes=config.stop_after_minutes,
        devices=arguments.world_size,
    )
    trainer.count = watch.count
    trainer.add_callback(watch)
    trainer.remove_callback(PrinterCallback)
    if trainer.is_world_process_zero():
        trainer.add_callback(Bar(watch))
    return trainer, watch


def _packs(made: Rows, config: TrainConfig) -> Packs:
    lengths = made.lengths()
    packs = pack(lengths, config.pack_length) if config.pack_length else [[at] for at in range(len(lengths))]
    return Packs(made.rows, packs, per_sequence=config.loss == "sequence")


def _steps_per_epoch(packs: int, config: TrainConfig) -> int:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    return math.ceil(math.ceil(packs / (config.batch_size * world)) / config.accumulation)


def training_arguments(config: TrainConfig, folder: Path, *, steps_per_epoch: int) -> TrainingArguments:
    """This project's settings in the library's words."""
    steps = config.max_steps or math.ceil(config.epochs * steps_per_epoch)
    validating = bool(config.validation)
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        max_steps=steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=math.ceil(config.warmup_ratio * steps),
        weight_decay=config.weight_decay,
        adam_beta2=config.beta2,
        max_grad_norm=config.max_grad_norm,
        optim=config.optimizer,
        bf16=config.precision == "bf16",
        activation_checkpointing=config.gradient_checkpointing,
        eval_strategy="steps" if validating else "no",
        eval_steps=config.eval_steps,
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=config.keep_checkpoints,
        load_best_model_at_end=validating,
        metric_for_best_model="eval_loss" if validating else None,
        greater_is_better=False,
        logging_steps=config.log_steps,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=list(config.trackers) or "none",
        run_name=config.run_name,
        seed=config.seed,
        data_seed=config.seed,
        remove_unused_columns=False,
        use_cpu=processes().device.type == "cpu",  # else bf16 is refused where there is no GPU
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        fsdp="full_shard" if config.fsdp else None,
        fsdp_config={"fsdp_version": 2} if config.fsdp else None,
        ddp_find_unused_parameters=False,
    )


def write_result(trainer: SftTrainer, watch: Watch, config: TrainConfig, folder: Path, path: Path) -> None:
    """Model or adapter with the tokenizer, in one step; nothing when the clock stopped the run."""
    if watch.stopped_by_clock:
        print("time is up; run the same command again to go on")  # noqa: T201
        return
    result = path / _result_name(config)
    partial = result.with_name(result.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    trainer.save_model(str(partial))
    if trainer.is_world_process_zero():
        if config.lora is not None:
            halve_adapter(partial / "adapter_model.safetensors")
        AutoTokenizer.from_pretrained(folder).save_pretrained(partial)
        trained = {"run": config.run_name, "prompt": dump(config.prompt)}
        (partial / TRAINING).write_text(json.dumps(trained, indent=2, ensure_ascii=False) + "\n", "utf-8")
        partial.replace(result)
        print(f"written: {result}")  # noqa: T201


def report(trainer: SftTrainer, watch: Watch, config: TrainConfig, data: Data) -> dict[str, Any]:
    """What the manifest says of the run."""
    made = data.train
    return {
        "status": "stopped by the clock" if watch.stopped_by_clock else "finished",
        "config": dump(config),
        "data": {"rows": len(made.rows), "dropped": len(made.too_long), "digest": made.digest()},
        "steps": trainer.state.global_step,
        "best_validation_loss": trainer.state.best_metric,
        "speed": watch.speed(trainer.args.device),
    }


def _result_name(config: TrainConfig) -> str:
    return "model" if config.lora is None else "adapter"


if __name__ == "__main__":
    run_main(lambda: main(sys.argv[1:]))
