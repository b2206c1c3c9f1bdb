"""What a person sees while a model trains: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import TrainerCallback

from src_train.train_metrics import Watch

_SECONDS = 30.0  # between lines where there is no terminal


class Bar(TrainerCallback):
    """Steps, loss, validation loss, tokens per second, MFU, memory and the time that is left, on stderr."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self._console)
        self._task = self._bar.add_task("", total=None)
        self._shown = 0.0
        self._validation = ""

    def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:  # noqa: ARG002
        """Begin where the run begins, which may be in the middle."""
        self._bar.update(self._task, total=state.max_steps, completed=state.global_step)
        if self._console.is_terminal:
            self._bar.start()

    def on_log(self, args: Any, state: Any, *_: Any, logs: dict[str, Any] | None = None, **__: Any) -> None:
        """The newest figures."""
        if logs and "eval_loss" in logs:
            self._validation = f"  validation {logs['eval_loss']:.4f}"
        if not logs or "loss" not in logs:
            return
        speed = self._watch.speed(args.device)
        rate = f"  {speed['tokens_per_second']:,.0f} tokens/s" if "tokens_per_second" in speed else ""
        share = f"  MFU {speed['mfu_percent']:.0f} %" if "mfu_percent" in speed else ""
        memory = f"  {speed['peak_mib'] / 1024:.1f} GiB"
        text = f"loss {logs['loss']:.4f}{self._validation}{rate}{share}{memory}"
        self._bar.update(self._task, completed=state.global_step, description=text)
        last = state.global_step >= state.max_steps
        if not self._console.is_terminal and (last or time.monotonic() - self._shown > _SECONDS):
            self._shown = time.monotonic()
            self._console.print(f"step {state.global_step}/{state.max_steps}  {text}", highlight=False)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Leave the bar as it is."""
        self._bar.stop()
