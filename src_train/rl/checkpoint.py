"""A learner on disk: checkpoints that a run resumes from, and weights that a server or `infer.sh` takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from src_core.errors import UserError
from src_train.checkpoints import WHOLE
from src_train.model import halve_adapter
from src_train.rl.learner import Learner

_WEIGHTS, _OPTIMIZER = "weights.safetensors", "optimizer.pt"
_HEAD = "value_head."


def step_of(folder: Path) -> int:
    """The number of steps before a checkpoint, which is in its name."""
    return int(folder.name.rpartition("-")[2])


def save(learner: Learner, folder: Path) -> None:
    """Write a checkpoint: weights, optimiser, number of updates. The marker of a whole one comes last."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in learner.trained()}
    head = learner.value_head.state_dict() if learner.value_head is not None else {}
    weights |= {f"{_HEAD}{name}": value.cpu() for name, value in head.items()}
    save_file(weights, folder / _WEIGHTS)
    state = {"optimizer": learner.optimizer.state_dict(), "updates": learner.updates}
    torch.save(state, folder / _OPTIMIZER)
    (folder / WHOLE).touch()


def restore(learner: Learner, folder: Path) -> None:
    """Go on from a checkpoint. Raises `UserError` for one of another model."""
    try:
        weights = load_file(folder / _WEIGHTS)
        learner.load(weights)
        if learner.value_head is not None:
            head = {
                name.removeprefix(_HEAD): weight for name, weight in weights.items() if name.startswith(_HEAD)
            }
            learner.value_head.load_state_dict(head)
        stored = torch.load(folder / _OPTIMIZER, map_location=learner.device, weights_only=True)
        learner.optimizer.load_state_dict(stored["optimizer"])
        learner.updates = int(stored["updates"])
    except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{folder} is not a checkpoint of this model: {reason}; remove it to resume from the one "
            "before, or take another run_name"
        ) from error


def export(learner: Learner, folder: Path) -> Path:
    """Write the adapter (in 16 bits) or the model into `folder`, whole or not at all."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    learner.model.save_pretrained(str(partial))
    if learner.config.lora is not None:
        halve_adapter(partial / "adapter_model.safetensors")
    partial.replace(folder)
    return folder
