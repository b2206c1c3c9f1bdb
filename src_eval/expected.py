"""Published numbers (`configs/expected.yaml`), for comparison with ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from src_core.config import config_class, load_config
from src_core.errors import UserError


@config_class
class PublishedRow:
    """One system: `method` is the corresponding module of `src_infer/methods` ("" for none); one list of
    values per data set of its table, in the order of its metrics; null for a missing value. `note` says what
    is irregular about the printed numbers.
    """

    method: str = ""
    system: str
    note: str = ""
    values: tuple[tuple[float | None, ...], ...]


@config_class
class PublishedTable:
    """A table of a paper: its place, its conditions, and its rows; values are in per cent."""

    source: str
    setting: str
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[PublishedRow, ...]


@config_class
class Expected:
    """All published tables."""

    tables: tuple[PublishedTable, ...] = ()


class Published(NamedTuple):
    """One system's numbers on one data set, by metric, in per cent."""

    source: str
    system: str
    values: dict[str, float]
    note: str = ""


def load_expected(path: str) -> Expected:
    """The published tables ("" for none). Raises `UserError` for a row that does not fit its table."""
    if not path:
        return Expected()
    expected = load_config(Expected, Path(path))
    for table in expected.tables:
        for row in table.rows:
            fits = len(row.values) == len(table.datasets)
            if not fits or any(len(cell) not in (0, len(table.metrics)) for cell in row.values):
                raise UserError(
                    f"{path}: {row.system!r} in {table.source!r} needs {len(table.datasets)} lists of "
                    f"{len(table.metrics)} values each; add them (an empty list for none)"
                )
    return expected


def published(expected: Expected, *, dataset: str, method: str) -> list[Published]:
    """The published numbers of a method on a data set, in the order of the file."""
    found = []
    for table in expected.tables:
        if dataset not in table.datasets:
            continue
        at = table.datasets.index(dataset)
        for row in table.rows:
            values = _known(table.metrics, row.values[at])
            if row.method == method and values:
                found.append(Published(table.source, row.system, values, row.note))
    return found


def published_notes(shown: Iterable[Published]) -> list[str]:
    """What is irregular about the published rows that are shown, each once."""
    notes = (f"{each.system} ({each.source}): {each.note}." for each in shown if each.note)
    return list(dict.fromkeys(notes))


def _known(metrics: Sequence[str], values: Sequence[float | None]) -> dict[str, float]:
    return {name: value for name, value in zip(metrics, values, strict=False) if value is not None}
