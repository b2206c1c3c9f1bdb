"""Training from one YAML: `bash scripts/train.sh configs/train/….yaml [key=value …]`.

The objective (`objective=sft`, `dpo` or `policy`) decides which rows are read and which loss is computed;
everything else is the same. The run directory holds the checkpoints, `log.jsonl`, `loss.png`, the manifest,
and at the end `model/` (or `adapter/`) with the tokenizer. The same command resumes from the last complete
checkpoint, with the next batch.
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

from src_core.chat_tokenizer import ChatTokenizer
from src_core.config import load_config
from src_core.errors import UserError, run_main
from src_core.rundir import RunDir
from src_core.runfolder import run_folder
from src_core.terminal import answer
from src_models.llm_folder import llm_folder
from src_models.machine import physical_cores
from src_train.checks import print_check
from src_train.config import TrainConfig
from src_train.data import Data, check_config, read_data
from src_train.model import load_model
from src_train.objectives import needs_reference, objective_of
from src_train.packing import loss_mask
from src_train.processes import console_of, processes
from src_train.reference import with_reference
from src_train.result import report, result_name, write_result
from src_train.resumable import run_steps
from src_train.rows import Rows
from src_train.run_settings import run_settings
from src_train.speed import causal_pairs, faster_precision, matrix_rate, training_cost
from src_train.train_metrics import TrainingLog, plot_losses
from src_train.trainer import PackedTrainer, Packs, collator
from src_train.trainer_arguments import training_arguments

USAGE = "usage: bash scripts/train.sh CONFIG.yaml [key=value …] [--check]"
LOG = "log.jsonl"


def main(arguments: Sequence[str]) -> int:
    """Check the data, train, write the result. `--check` stops after the check."""
    plain = [argument for argument in arguments if argument != "--check"]
    if not plain or "=" in plain[0]:
        raise UserError(USAGE)
    config = load_config(TrainConfig, Path(plain[0]), plain[1:])
    check_config(config)
    run_folder(config.runs_dir, config.run_name)
    torch.set_num_threads(config.threads or physical_cores())
    disable_progress_bar()  # bars per file would hide the progress of the run
    state = processes()
    if config.precision == "auto":
        (precision,) = broadcast_object_list([faster_precision(state.device)])  # the first process decides
        config = replace(config, precision=precision)
    with state.main_process_first():
        folder = llm_folder(config.model)
    encoder = ChatTokenizer(folder, template=Path(config.chat_template) if config.chat_template else None)
    data = read_data(config, encoder, console=console_of(state))
    if state.is_main_process:
        print_check(data.train, encoder, config)
    if "--check" not in arguments:
        train(config, folder, encoder, data)
    if state.num_processes > 1:  # a process that leaves connections to the others open may abort at exit
        state.wait_for_everyone()
        state.destroy_process_group()
    return 0


def train(config: TrainConfig, folder: Path, encoder: ChatTokenizer, data: Data) -> None:
    """Train and write the result; of several processes, the first one holds the run directory. Raises
    `UserError` for a run directory of other settings or other data.
    """
    path = run_folder(config.runs_dir, config.run_name)
    state = processes()
    run_dir = None
    if state.is_main_process:
        adapter = config.lora.start_from if config.lora else ""
        start = [folder, Path(adapter)] if adapter else [folder]
        settings = run_settings(config, data_digest=data.train.digest(), start=start)
        run_dir = RunDir(path, config=settings, on_existing=config.on_existing)
    try:
        state.wait_for_everyone()
        if (path / result_name(config)).is_dir():
            answer(f"{path / result_name(config)} exists already; nothing to do")
            return
        set_seed(config.seed)
        model = load_model(folder, config)
        if needs_reference(config):
            data = with_reference(data, model, config, folder=path, state=state, console=console_of(state))
        trainer, log = make_trainer(config, model, encoder, data, path)
        run_steps(trainer, log, path, console=console_of(state))
        if log.out_of_time:
            answer("the time limit is reached; run the same command again to resume")
        else:
            write_result(trainer, config, folder, path, data)
        if run_dir is not None:
            plot_losses(path / LOG, path / "loss.png")
            run_dir.write_manifest(report(trainer, log, config, data))
    finally:
        if run_dir is not None:
            run_dir.close()


def make_trainer(
    config: TrainConfig, model: Any, encoder: ChatTokenizer, data: Data, folder: Path
) -> tuple[PackedTrainer, TrainingLog]:
    """The trainer on packed (or single) rows."""
    packs = _packs(data.train, config)
    validation = None if data.validation is None else _packs(data.validation, config)
    arguments = training_arguments(
        config,
        folder,
        rows=len(packs),
        evaluate_every=config.eval_steps,
        min_steps=config.min_steps,
        per_device_eval_batch_size=config.batch_size,
        metric_for_best_model="eval_loss" if config.validation else None,
        greater_is_better=False,
        adam_beta2=config.beta2,
        fsdp="full_shard" if config.fsdp else None,
        fsdp_config={"fsdp_version": 2} if config.fsdp else None,
    )
    trainer = PackedTrainer(
        model=model,
        args=arguments,
        train_dataset=packs,
        eval_dataset=validation,
        data_collator=collator(encoder.token_ids("\n")[0]),
        objective=objective_of(config),
        by_length=not config.pack_length,
        callbacks=[EarlyStoppingCallback(config.patience)] if config.patience else None,
    )
    lengths = data.train.lengths()
    tokens = sum(lengths)
    trained = sum(int(loss_mask(row.encoded).sum()) for row in data.train.rows)
    compute = torch.float32 if config.precision == "fp32" else torch.bfloat16
    log = TrainingLog(
        folder / LOG,
        cost=training_cost(model),
        matrix_rate=matrix_rate(arguments.device, compute),
        per_token=(trained / tokens, causal_pairs(lengths) / tokens),
        minutes=config.stop_after_minutes,
        devices=arguments.world_size,
    )
    trainer.on_batch = log.count_tokens
    trainer.add_callback(log)
    trainer.remove_callback(PrinterCallback)
    return trainer, log


def _packs(made: Rows, config: TrainConfig) -> Packs:
    return Packs(made.rows, made.packs(config.pack_length), per_sequence=config.loss == "sequence")


if __name__ == "__main__":
    run_main(lambda: main(sys.argv[1:]))
