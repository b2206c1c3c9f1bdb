"""The copy of a model that the embedded server reads fastest: the adapter in the weights, in one type.

llama.cpp reads some types faster than others (Q4_0 and IQ4_NL among the fast ones, measured on a processor
with AVX2: docs/benchmarks.md); files as published mix others in. The copy is made at the first start and kept
in the cache folder under a digest of all that it is made of.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from src_core.errors import UserError
from src_core.served import sampled_digest
from src_core.terminal import say
from src_models.catalog import cache_dir
from src_models.files import exclusive_lock
from src_models.gguf_header import read_gguf_header

FOLDER = "merged"
RECIPE = "2"
"""Part of the digest: raise it when the same files would give another copy."""
KEPT = 3
"""Copies that stay; those that were not used for the longest time go when a new one is made."""


def merged_copy(model: Path, lora: Path | None, *, kind: str, cache: Path | None = None) -> Path:
    """The copy of the GGUF file `model` with the GGUF adapter `lora` in its weights, its matrices in the type
    `kind` (see `src_models.convert.gguf_merge`); made if needed. Raises `UserError`.
    """
    from src_models.convert.gguf_merge import merge_gguf  # numpy

    folder = (cache or cache_dir()) / FOLDER
    parts = [RECIPE, kind, sampled_digest(model), sampled_digest(lora) if lora is not None else ""]
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
    copy = folder / f"{model.stem}-{kind}-{digest}.gguf"
    try:
        with exclusive_lock(folder / "lock"):
            if _is_whole(copy):
                copy.touch()
                return copy
            for torn in (copy, *folder.glob("*.tmp")):  # of a start that was killed
                torn.unlink(missing_ok=True)
            say(f"making {copy}, which llama.cpp reads faster than {model}; once")
            merge_gguf(model, lora, copy, kind=kind)
            _drop_old(folder)
    except OSError as error:
        raise UserError(
            f"could not store a copy of {model} in {folder}: {error.strerror or error}; "
            "free some space, set REARAG_CACHE to another folder, or drop --merged"
        ) from error
    return copy


def _is_whole(copy: Path) -> bool:
    try:
        return copy.is_file() and bool(read_gguf_header(copy).tensors)
    except UserError:
        return False


def _drop_old(folder: Path) -> None:
    """A server that still reads an old copy keeps it open, and the disk space until it ends."""
    copies = sorted(folder.glob("*.gguf"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for old in copies[KEPT:]:
        old.unlink(missing_ok=True)
