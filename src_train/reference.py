"""Log-probabilities of the reference model, computed once before training and stored in the run directory.

The reference is the model at the start of the run, or that model with its adapters disabled
(`TrainConfig.reference`). It does not change during a run, so one pass over the data is enough for all
epochs, and no second model is in memory. A resumed run reads the file, whose digest identifies its rows and
weights.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from rich.console import Console
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from src_core.errors import UserError
from src_core.progress import PLAIN_EVERY, StepProgress
from src_train.config import TrainConfig
from src_train.data import Data
from src_train.logprobs import token_logprobs
from src_train.packing import REF_LOGPROBS, collate, join, loss_mask
from src_train.rows import Rows

_SAMPLED = 64
"""Values of each parameter, at its beginning and end, that go into the digest."""

Floats = npt.NDArray[np.float32]


def with_reference(
    data: Data,
    model: Any,
    config: TrainConfig,
    *,
    folder: Path,
    state: PartialState,
    console: Console,
    every: float = PLAIN_EVERY,
) -> Data:
    """`data` whose rows have the values `ref_logprobs`, 0 where a token is not trained. `model` is the model
    to train, before its first step and before any checkpoint is loaded. The first process writes the files
    into `folder`. Raises `UserError` when an existing file belongs to other rows or weights.
    """
    parts: list[Rows | None] = []
    for name, rows in zip(("train", "validation"), data, strict=True):
        if rows is None:
            parts.append(None)
            continue
        file = folder / f"reference.{name}.safetensors"
        digest = reference_digest(rows, model, config)
        stored = _read(file, digest) if state.is_main_process and file.is_file() else None
        (values,) = broadcast_object_list([stored])
        if values is None:
            packs = rows.packs(config.pack_length)
            unit = f"{name} sequences under the reference"
            with StepProgress(console, unit=unit, total=len(packs), every=every) as progress:
                values = _compute(rows, packs, model, config, state=state, progress=progress)
            if state.is_main_process:
                _write(file, values, digest)
        parts.append(_attach(rows, values))
    return Data(parts[0] or data.train, parts[1])


def reference_digest(rows: Rows, model: Any, config: TrainConfig) -> str:
    """A hash of the rows, of the beginning and end of each of the model's parameters, and of the settings
    that determine the values.
    """
    hashed = hashlib.sha256(f"{rows.digest()} {config.reference} {config.precision}".encode())
    for name, weight in model.named_parameters():
        flat = weight.detach().flatten()
        ends = torch.cat([flat[:_SAMPLED], flat[-_SAMPLED:]]).float().cpu().numpy()
        hashed.update(f"{name} {tuple(weight.shape)}".encode() + ends.tobytes())
    return hashed.hexdigest()[:16]


def _compute(
    rows: Rows,
    packs: Sequence[Sequence[int]],
    model: Any,
    config: TrainConfig,
    *,
    state: PartialState,
    progress: StepProgress,
) -> Floats:
    """The values of all trained tokens of all rows, in order; each process computes its share of the
    sequences.
    """
    found: list[tuple[int, Floats]] = []
    model.to(state.device)
    with _as_reference(model, config):
        for number, one in enumerate(packs):
            if number % state.num_processes == state.process_index:
                found.extend(_of_pack(rows, one, model, config))
            progress.advance()
    gathered = gather_object(found) if state.num_processes > 1 else found
    return np.concatenate([values for _, values in sorted(gathered, key=lambda each: each[0])])


def _of_pack(rows: Rows, one: Sequence[int], model: Any, config: TrainConfig) -> Iterator[tuple[int, Floats]]:
    """Each row of a sequence with the values of its trained tokens."""
    encoded = [rows.rows[at].encoded for at in one]
    batch = {
        key: torch.from_numpy(value).to(next(model.parameters()).device)
        for key, value in collate([join(encoded, per_sequence=False)], pad_id=0).items()
    }
    autocast = torch.autocast(
        batch["input_ids"].device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16"
    )
    with torch.no_grad(), autocast:
        values = token_logprobs(model, batch).values.float().cpu().numpy()
    counts = [int(loss_mask(each).sum()) for each in encoded]
    yield from zip(one, np.split(values, np.cumsum(counts)[:-1]), strict=True)


@contextlib.contextmanager
def _as_reference(model: Any, config: TrainConfig) -> Iterator[None]:
    """The model without dropout, and with `reference=base` without its adapters."""
    training = model.training
    model.eval()
    with model.disable_adapter() if config.reference == "base" else contextlib.nullcontext():
        yield
    model.train(training)


def _attach(rows: Rows, values: Floats) -> Rows:
    masks = [loss_mask(row.encoded) for row in rows.rows]
    parts = np.split(values, np.cumsum([int(mask.sum()) for mask in masks])[:-1])
    rows_with_values = []
    for row, mask, part in zip(rows.rows, masks, parts, strict=True):
        spread = np.zeros(len(mask), dtype=np.float32)
        spread[mask] = part
        rows_with_values.append(row._replace(values={**row.values, REF_LOGPROBS: spread}))
    return rows._replace(rows=rows_with_values)


def _write(file: Path, values: Floats, digest: str) -> None:
    partial = file.with_name(file.name + ".tmp")
    save_file({REF_LOGPROBS: values}, partial, metadata={"digest": digest})
    partial.replace(file)


def _read(file: Path, digest: str) -> Floats:
    try:
        with safe_open(file, framework="numpy") as stored:
            found = (stored.metadata() or {}).get("digest")
            values: Floats = stored.get_tensor(REF_LOGPROBS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} is damaged ({error}); remove it, the next run computes it again") from error
    if found != digest:
        raise UserError(
            f"{file} was computed from other rows or other weights than this run's; take another run_name, or"
            " on_existing=clean to start over"
        )
    return values
