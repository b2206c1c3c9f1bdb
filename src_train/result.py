"""The result of a run: the model or adapter with its tokenizer, and the manifest's values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from src_core.config import dump
from src_core.protocols.chat import Chat
from src_core.terminal import answer
from src_core.trained_prompt import TRAINING
from src_train.config import TrainConfig
from src_train.data import Data
from src_train.model import halve_adapter
from src_train.train_metrics import TrainingLog
from src_train.trainer import PackedTrainer


def result_name(config: TrainConfig) -> str:
    """The folder of the result in the run directory."""
    return "model" if config.lora is None else "adapter"


def write_result(trainer: PackedTrainer, config: TrainConfig, folder: Path, path: Path, data: Data) -> None:
    """Write model or adapter, with the tokenizer of `folder`, into the run directory `path`: atomically."""
    result = path / result_name(config)
    partial = result.with_name(result.name + ".partial")
    if trainer.is_world_process_zero():
        shutil.rmtree(partial, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()  # else a late process would remove the files of the first
    trainer.save_model(str(partial))
    if trainer.is_world_process_zero():
        if config.lora is not None:
            halve_adapter(partial / "adapter_model.safetensors")
        _complete(partial, result, folder, training_record(config, data))


def write_export(
    export: Callable[[Path], object], result: Path, folder: Path, record: dict[str, Any]
) -> None:
    """As `write_result`, for weights that `export` writes into a folder; `record` is the content of
    `training.json`.
    """
    partial = result.with_name(result.name + ".partial")
    export(partial)
    _complete(partial, result, folder, record)


def _complete(partial: Path, result: Path, folder: Path, record: dict[str, Any]) -> None:
    """Add the tokenizer of `folder` and the record; then the result is whole."""
    AutoTokenizer.from_pretrained(folder).save_pretrained(partial)
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (partial / TRAINING).write_text(text + "\n", "utf-8")
    shutil.rmtree(result, ignore_errors=True)  # of fewer steps
    partial.replace(result)
    answer(f"written: {result}")


def training_record(config: TrainConfig, data: Data) -> dict[str, Any]:
    """The content of `training.json`: run, objective, prompt, and the format where all rows except plain
    conversations have the same one (read by `src_core.trained_prompt`).
    """
    formats = data.train.formats() - {Chat.name}
    record = {"run": config.run_name, "objective": config.objective, "prompt": dump(config.prompt)}
    return record | ({"format": formats.pop()} if len(formats) == 1 and "" not in formats else {})


def report(trainer: PackedTrainer, log: TrainingLog, config: TrainConfig, data: Data) -> dict[str, Any]:
    """The values of the run for the manifest."""
    made = data.train
    versions = {row.policy_version for row in made.rows if row.policy_version is not None}
    return {
        "status": "stopped at the time limit" if log.out_of_time else "finished",
        "config": dump(config),
        "data": {
            "rows": len(made.rows),
            "dropped": len(made.too_long),
            "digest": made.digest(),
            "formats": sorted(made.formats() - {""}),
            "policy_versions": sorted(versions),
        },
        "steps": trainer.state.global_step,
        "best_validation_loss": trainer.state.best_metric,
        "speed": log.speed(trainer.args.device),
    }
