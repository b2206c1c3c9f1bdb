"""Progress of training: steps, loss and speed on stderr, also while a step or an evaluation takes long."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from transformers import TrainerCallback

from src_core.progress import PLAIN_EVERY, StepProgress
from src_train.train_metrics import TrainingLog

_SHOWN = {"accuracy": "accuracy", "clip_share": "clipped", "kl": "KL"}
"""Metrics of the objectives that are shown, by their names in the log."""


class TrainingProgress(TrainerCallback):
    """Steps, loss, validation loss, tokens per second, MFU, memory and the time left: a bar on a terminal,
    elsewhere a line every `every` seconds. `stop` ends it, also after an error.
    """

    def __init__(self, log: TrainingLog, *, console: Console, every: float = PLAIN_EVERY) -> None:
        self._log = log
        self._console = console
        self._every = every
        self._progress: StepProgress | None = None
        self._step = 0
        self._figures = self._validation = ""

    def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:  # noqa: ARG002
        """Begin at the first step of the run, which is not 0 in a resumed run."""
        self._progress = StepProgress(
            self._console, unit="steps", total=state.max_steps, done=state.global_step, every=self._every
        )

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:  # noqa: ARG002
        """Count the step; its values come with the log."""
        self._update(state.global_step, note=self._figures, quiet=True)

    def on_log(self, args: Any, state: Any, *_: Any, logs: dict[str, Any] | None = None, **__: Any) -> None:
        """Show the newest values."""
        if logs and "eval_loss" in logs:
            self._validation = f", validation {logs['eval_loss']:.4f}"
        if not logs or "loss" not in logs:
            return
        speed = self._log.speed(args.device)
        parts = [f"loss {logs['loss']:.4f}{self._validation}"]
        parts += [f"{label} {logs[name]:.3f}" for name, label in _SHOWN.items() if name in logs]
        if "tokens_per_second" in speed:
            parts += [f"{speed['tokens_per_second']:,.0f} tokens/s", f"MFU {speed['mfu_percent']:.0f} %"]
        self._figures = ", ".join([*parts, f"{speed['peak_mib'] / 1024:.1f} GiB"])
        self._update(state.global_step, note=self._figures)

    def on_validation(self, done: int, total: int) -> None:
        """`done` of `total` batches of the validation set were evaluated."""
        validating = f"validating {done}/{total}" if done < total else ""
        note = ", ".join(part for part in (validating, self._figures) if part)
        self._update(self._step, note=note, quiet=True)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """The end of the last step."""
        self.stop()

    def stop(self) -> None:
        """End the display."""
        if self._progress is not None:
            self._progress.stop()

    def _update(self, step: int, *, note: str, quiet: bool = False) -> None:
        self._step = step
        if self._progress is not None:
            self._progress.update(step, note=note, quiet=quiet)
