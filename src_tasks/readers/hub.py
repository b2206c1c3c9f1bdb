"""Sets of the Hugging Face hub, row by row."""

from __future__ import annotations

from collections.abc import Iterator

from src_core.errors import UserError
from src_core.rowfiles import RawRow

HUB = "hub:"


def hub_rows(name: str, *, subset: str, split: str) -> Iterator[RawRow]:
    """The rows of a set on the Hugging Face hub, streamed; the package refuses sets that need custom code.
    Raises `UserError` when `datasets` is not installed or the set cannot be loaded.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"reading {HUB}{name} needs the package datasets; pip install datasets, or download the file"
        ) from error
    try:
        rows = datasets.load_dataset(name, subset or None, split=split, streaming=True)
        for number, row in enumerate(rows, start=1):
            yield RawRow(f"row {number}", row)
    except (OSError, ValueError, RuntimeError) as error:
        what = " ".join(str(error).split())[:300]
        raise UserError(f"could not read {HUB}{name} (subset {subset!r}, split {split!r}): {what}") from error
