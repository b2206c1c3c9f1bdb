"""Fine-tunes a reranker (a cross-encoder) on groups of passages:

    python -m src_train.rerank configs/systems/radio/finetune.yaml 'train=[{path: groups.train.jsonl}]'
    bash scripts/train.sh --rerank CONFIG.yaml [key=value ...]

The run directory holds the checkpoints, `log.jsonl`, `loss.png`, the manifest, and at the end `model/`: a hub
folder with, for a BERT or XLM-R model, ONNX files beside the weights, which is one setting of the retrieval
server (`rerank: {model: runs/NAME/model}`). The same command resumes from the last complete checkpoint.

This is transformers' `Trainer` with the group loss of `losses`, and not sentence-transformers' CrossEncoder
trainer (6.2 was current when this was written; it would install beside this project's versions and add
scikit-learn and scipy). That trainer cuts query and passage with its own rules, while a pair is tokenized
here by the code of the server; it has no checkpoint that counts only once it is whole; and the loss itself
(its ListNet loss) is ten lines.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import EarlyStoppingCallback, PrinterCallback, set_seed
from transformers.utils.logging import disable_progress_bar

from src_core.config import load_config
from src_core.errors import UserError, run_main
from src_core.rundir import RunDir
from src_core.runfolder import run_folder
from src_core.terminal import answer
from src_models.machine import physical_cores
from src_retrieval.rerankers.base import Pair, RerankOptions
from src_retrieval.rerankers.pair_tokens import PairTokenizer
from src_train.checkpoints import last_whole_checkpoint
from src_train.processes import console_of, processes
from src_train.rerank_config import RerankConfig
from src_train.rerank_model import base_folder, load_cross_encoder
from src_train.rerank_result import probe_pairs, report, write_reranker
from src_train.rerank_rows import Group, GroupDraws, digest, group_collator, read_groups
from src_train.rerank_trainer import RerankTrainer
from src_train.resumable import run_steps
from src_train.run_settings import run_settings
from src_train.speed import Cost, faster_precision, matrix_rate
from src_train.train_metrics import TrainingLog, plot_losses
from src_train.trainer_arguments import training_arguments

USAGE = "usage: .venv/bin/python -m src_train.rerank CONFIG.yaml [key=value ...]"
LOG = "log.jsonl"
_PROBED = 64
"""Rows whose lengths estimate the arithmetic per token."""
_PROBE_PAIRS = 256
"""Pairs whose scores by the ONNX files are compared with those by torch."""


def main(arguments: Sequence[str]) -> int:
    """Read the rows, train, write the result."""
    if not arguments or "=" in arguments[0]:
        raise UserError(USAGE)
    config = load_config(RerankConfig, Path(arguments[0]), arguments[1:])
    check_config(config)
    run_folder(config.runs_dir, config.run_name)
    torch.set_num_threads(config.threads or physical_cores())
    disable_progress_bar()  # bars per file would hide the progress of the run
    state = processes()
    if config.precision == "auto":
        (precision,) = broadcast_object_list([faster_precision(state.device)])  # the first process decides
        config = replace(config, precision=precision)
    train = read_groups(config.train, seed=config.seed, need_scores=config.soft_weight > 0)
    validation = read_groups(config.validation, seed=config.seed) if config.validation else []
    with state.main_process_first():
        folder = base_folder(config.model)
    fine_tune(config, folder, train, validation)
    if state.num_processes > 1:  # a process that leaves connections to the others open may abort at exit
        state.wait_for_everyone()
        state.destroy_process_group()
    return 0


def check_config(config: RerankConfig) -> None:
    """Raises `UserError` for settings that exclude each other."""
    if config.patience and not config.validation:
        raise UserError("patience needs validation rows; name files in validation, or set patience=0")
    if config.precision == "fp16" and processes().device.type == "cpu":
        raise UserError("precision=fp16 needs a GPU; set precision=auto")


def fine_tune(
    config: RerankConfig, folder: Path, train: Sequence[Group], validation: Sequence[Group]
) -> None:
    """Train and write the result; of several processes, the first one holds the run directory. Raises
    `UserError` for a run directory of other settings or other rows.
    """
    path = run_folder(config.runs_dir, config.run_name)
    state = processes()
    run_dir = None
    if state.is_main_process:
        settings = run_settings(config, data_digest=digest([*train, *validation]), start=[folder])
        run_dir = RunDir(path, config=settings, on_existing=config.on_existing)
    try:
        state.wait_for_everyone()
        if (path / "model").is_dir():
            answer(f"{path / 'model'} exists already; nothing to do")
            return
        set_seed(config.seed)
        trainer, log = make_trainer(config, folder, train, validation, path)
        run_steps(trainer, log, path, console=console_of(state))
        if log.out_of_time:
            answer("the time limit is reached; run the same command again to resume")
        else:
            write_reranker(
                trainer, folder, path / "model", config, probe_pairs(validation or train, most=_PROBE_PAIRS)
            )
        if run_dir is not None:
            plot_losses(path / LOG, path / "loss.png")
            run_dir.write_manifest(
                report(trainer, log, config, path=path / LOG, rows=(len(train), len(validation)))
            )
    finally:
        if run_dir is not None:
            run_dir.close()


def make_trainer(
    config: RerankConfig, folder: Path, train: Sequence[Group], validation: Sequence[Group], path: Path
) -> tuple[RerankTrainer, TrainingLog]:
    """The trainer of a run and its log."""
    model = load_cross_encoder(folder, frozen_layers=config.frozen_layers)
    options = RerankOptions(
        model=str(folder), max_length=config.max_length, query_max_length=config.query_max_length
    )
    tokens = PairTokenizer(folder, options)
    rows = GroupDraws(train, size=config.group_size, seed=config.seed)
    arguments = training_arguments(
        config,
        path,
        rows=len(rows),
        evaluate_every=config.save_steps,
        eval_on_start=bool(config.validation) and last_whole_checkpoint(path) is None,
        metric_for_best_model=f"eval_{config.metric}" if config.validation else None,
        greater_is_better=True,
        fp16=config.precision == "fp16",
    )
    trainer = RerankTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=list(validation) or None,
        data_collator=group_collator(
            tokens,
            batch_tokens=config.batch_tokens,
            in_batch_negatives=config.in_batch_negatives,
            temperature=config.soft_temperature,
        ),
        callbacks=[EarlyStoppingCallback(config.patience)] if config.patience else None,
        validation=validation,
        tokens=tokens,
        batch_tokens=config.batch_tokens,
        soft_weight=config.soft_weight,
    )
    compute = torch.float32 if config.precision == "fp32" else torch.bfloat16
    log = TrainingLog(
        path / LOG,
        cost=pair_cost(model),
        matrix_rate=matrix_rate(arguments.device, compute),
        per_token=(0.0, mean_length(train, tokens)),
        minutes=config.stop_after_minutes,
        devices=arguments.world_size,
    )
    trainer.on_batch = log.count_tokens
    trainer.add_callback(log)
    trainer.remove_callback(PrinterCallback)
    return trainer, log


def pair_cost(model: Any) -> Cost:
    """Operations per token of the layers: 6 per trained weight, 2 per frozen one (no gradient reaches
    below the first trained layer), and attention's, for which all layers count as trained.
    """
    layers = [weight for name, weight in model.named_parameters() if ".layer." in name]
    per_token = sum((6.0 if weight.requires_grad else 2.0) * weight.numel() for weight in layers)
    config = model.config
    return Cost(per_token, 0.0, 12.0 * config.num_hidden_layers * config.hidden_size)


def mean_length(groups: Sequence[Group], tokens: PairTokenizer) -> float:
    """Attention pairs per token of some rows: each token attends to all of its pair."""
    pairs = [Pair(group.query, passage) for group in groups[:_PROBED] for passage in group.passages[:7]]
    lengths = [len(pair.ids) for pair in tokens.encode(pairs)]
    return sum(length**2 for length in lengths) / sum(lengths)


if __name__ == "__main__":
    run_main(lambda: main(sys.argv[1:]))
