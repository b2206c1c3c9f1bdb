"""The processes of a training run, and the console of the first."""

from __future__ import annotations

import os

import torch
from accelerate import PartialState
from rich.console import Console

from src_core.console import Terminal


def processes() -> PartialState:
    """The processes of this run. Without a GPU several processes need the explicit setting `cpu`."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return PartialState(cpu=several and not torch.cuda.is_available())


def console_of(state: PartialState) -> Console:
    """The console of the progress: stderr of the first process."""
    return Terminal(stderr=True, quiet=not state.is_main_process)
