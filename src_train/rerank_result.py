"""The result of a reranker's training: the folder that the server runs, its ONNX files compared with torch,
and the curve of the validation.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from src_core.config import dump
from src_core.errors import UserError
from src_core.terminal import answer
from src_models.catalog import SourceError
from src_models.cross_encoders import FILES, is_supported, write_files
from src_retrieval.rerankers.agreement import agreement_with_torch
from src_retrieval.rerankers.base import Pair, RerankOptions
from src_train.rerank_config import RerankConfig
from src_train.rerank_rows import Group
from src_train.rerank_trainer import RerankTrainer
from src_train.train_metrics import TrainingLog, plot_ranking

RECORD = "export.json"
CURVE = "ranking.png"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_FP32_DIFFERENCE = 1e-2
"""Logits of the same weights in two libraries; a larger difference is a wrong graph."""
_TORCH_ALONE = "with export=false on_existing=resume_anyway it ends with torch's files alone"
_INT8_CORRELATION = 0.95
"""Rank correlation below which the 8-bit file is not kept: the server would prefer it to an exact one."""


def write_reranker(
    trainer: RerankTrainer, base: Path, result: Path, config: RerankConfig, probe: Sequence[Pair]
) -> None:
    """Write the trained model with the tokenizer of `base` to the folder `result`, atomically. With
    `config.export` it holds ONNX files, whose scores of `probe` are compared with torch's (`export.json`);
    other models than BERT and XLM-RoBERTa are served by torch. Raises `UserError` where a file is wrong.
    """
    partial = result.with_name(result.name + ".partial")
    if trainer.is_world_process_zero():
        shutil.rmtree(partial, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()  # else a late process would remove the files of the first
    trainer.save_model(str(partial))
    if trainer.is_world_process_zero():
        (partial / "training_args.bin").unlink(missing_ok=True)  # pickled, and the manifest says it all
        for name in _TOKENIZER:
            if (base / name).is_file():
                shutil.copyfile(base / name, partial / name)
        if config.export:
            options = RerankOptions(
                model=str(partial), max_length=config.max_length, query_max_length=config.query_max_length
            )
            export(partial, options, probe)
        partial.replace(result)
        answer(f"written: {result}")


def export(folder: Path, options: RerankOptions, probe: Sequence[Pair]) -> None:
    """Write the ONNX files of the model in `folder` into it, and `export.json`. An 8-bit file whose ranking
    differs too much from torch's is removed again. Raises `UserError` where the fp32 file differs.
    """
    if not is_supported(folder):
        answer("no ONNX files: they are for BERT and XLM-RoBERTa of less than 2 GiB; torch serves this model")
        return
    try:
        write_files(folder, folder)
    except SourceError as error:
        raise UserError(
            f"cannot export {folder}: {error}; run the same command again: {_TORCH_ALONE}"
        ) from error
    record = agreement_with_torch(options, probe)
    if not record["fp32"]["max_difference"] <= _FP32_DIFFERENCE:  # also for scores that are no numbers
        raise UserError(
            f"the ONNX file of {folder} gives other scores than torch (by up to "
            f"{record['fp32']['max_difference']:.3g}); report it, and run the same command "
            f"again: {_TORCH_ALONE}"
        )
    for precision, values in record.items():
        answer(
            f"onnx {precision}: rank correlation with torch {values['rank_correlation']:.4f}, largest "
            f"difference of a score {values['max_difference']:.3g} ({len(probe)} pairs)"
        )
    if not record["int8"]["rank_correlation"] >= _INT8_CORRELATION:
        for name in (name for name, int8 in FILES.items() if int8):
            (folder / name).unlink()
        answer("the int8 file ranks too differently and is left out; the server takes fp32")
    (folder / RECORD).write_text(json.dumps({"pairs": len(probe), **record}, indent=2) + "\n", "utf-8")


def probe_pairs(groups: Sequence[Group], *, most: int) -> list[Pair]:
    """The first pairs of some rows, at most `most`."""
    return [Pair(group.query, passage) for group in groups[:most] for passage in group.passages][:most]


def report(
    trainer: RerankTrainer, log: TrainingLog, config: RerankConfig, *, path: Path, rows: tuple[int, int]
) -> dict[str, Any]:
    """The values of the run for the manifest; the picture of the validation is written beside it.
    `validation` is the curve: a step and its metrics each; step 0 is the model before training.
    """
    curve = validation_curve(path)
    plot_ranking(curve, path.parent / CURVE)
    best = trainer.state.best_metric
    if curve and curve[0]["step"] == 0 and best is not None and best <= curve[0][config.metric]:
        answer(
            f"note: no checkpoint ranks better than the model before training ({config.metric} "
            f"{best:.3f}, before {curve[0][config.metric]:.3f})"
        )
    return {
        "status": "stopped at the time limit" if log.out_of_time else "finished",
        "config": dump(config),
        "data": {"rows": rows[0], "validation_rows": rows[1]},
        "steps": trainer.state.global_step,
        "best": {config.metric: best, "step": trainer.state.best_global_step},
        "validation": curve,
        "speed": log.speed(trainer.args.device),
    }


def validation_curve(log: Path) -> list[dict[str, float]]:
    """The evaluations in a log, in the order of their steps; of two of one step the later counts."""
    points: dict[int, dict[str, float]] = {}
    for line in map(orjson.loads, log.read_bytes().splitlines()):
        metrics = {key.removeprefix("eval_"): value for key, value in line.items() if key.startswith("eval_")}
        if metrics:
            points[line["step"]] = {"step": line["step"], **metrics}
    return [points[step] for step in sorted(points)]
