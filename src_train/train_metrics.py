"""The log of a training run: `log.jsonl` with loss, speed and memory of each logged step, and the stop at a
time limit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import torch
from transformers import TrainerCallback

from src_train.speed import Cost, peak_memory


class TrainingLog(TrainerCallback):
    """Appends a line per log to `path`. `matrix_rate` is the device's rate of matrix products in operations
    per second, `per_token` the mean (trained tokens, pairs of attention) per token of the data, so that
    operations can be computed from tokens; the first step (warm-up) is not timed. Training ends with a
    checkpoint after `minutes` (0: no limit).
    """

    def __init__(
        self,
        path: Path,
        *,
        cost: Cost,
        matrix_rate: float,
        per_token: tuple[float, float],
        minutes: float,
        devices: int,
    ) -> None:
        self._path = path
        self._operations = (
            cost.total(1, 0, 0) + per_token[0] * cost.per_trained + per_token[1] * cost.per_pair
        )
        self._matrix_rate = matrix_rate * devices
        self._devices = devices
        self._deadline = time.monotonic() + 60 * minutes if minutes else None
        self._started: float | None = None
        self.tokens = 0
        self._timed_tokens = 0
        self.out_of_time = False

    def count_tokens(self, tokens: int) -> None:
        """Called for every batch of this device."""
        self.tokens += tokens
        if self._started is not None:
            self._timed_tokens += tokens

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:  # noqa: ARG002
        """Start timing after the first step; end the run at its time limit."""
        if self._started is None:
            self._started = time.perf_counter()
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.out_of_time = True
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_log(self, args: Any, state: Any, *_: Any, logs: dict[str, Any] | None = None, **__: Any) -> None:
        """Append one JSON line: the trainer's values, speed and memory."""
        if not state.is_world_process_zero or not logs:
            return
        line = {"step": state.global_step, **logs, **self.speed(args.device)}
        with self._path.open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")

    def speed(self, device: torch.device) -> dict[str, float]:
        """Tokens per second of all devices, MFU in per cent, and peak memory in MiB so far."""
        values: dict[str, float] = {"peak_mib": round(peak_memory(device) / 2**20, 1)}
        if self._started is not None and self._timed_tokens:
            seconds = max(time.perf_counter() - self._started, 1e-9)
            per_second = self._timed_tokens * self._devices / seconds
            values["tokens_per_second"] = round(per_second, 1)
            values["mfu_percent"] = round(100 * per_second * self._operations / self._matrix_rate, 1)
        return values


def plot_losses(log: Path, picture: Path) -> None:
    """The loss curves of `log` as a PNG; nothing for a log without losses."""
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines() if line.strip()]
    _plot(
        {
            label: {line["step"]: line[key] for line in lines if key in line}
            for key, label in (("loss", "training"), ("eval_loss", "validation"))
        },
        picture,
        marked=("validation",),
        unit="loss",
    )


def plot_ranking(curve: Sequence[Mapping[str, float]], picture: Path) -> None:
    """The ranking metrics of the validation by step as a PNG (see `rerank_result.validation_curve`); nothing
    without a validation.
    """
    if curve:
        names = [name for name in curve[0] if name not in ("step", "loss")]
        lines = {name: {point["step"]: point[name] for point in curve} for name in names}
        _plot(lines, picture, marked=names, unit="mean over the validation rows")


def _plot(
    lines: Mapping[str, Mapping[float, float]], picture: Path, *, marked: Sequence[str], unit: str
) -> None:
    """Lines of values by optimiser step."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for label, points in lines.items():
        if points:
            marker = "o" if label in marked else None
            axes.plot(list(points), list(points.values()), label=label, marker=marker)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(unit)
    if any(lines.values()):
        axes.legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
