"""Further names of gold answers: 2WikiMultihopQA's `id_aliases.json`, one object per line."""

from __future__ import annotations

from pathlib import Path

from src_core.errors import UserError
from src_core.rowfiles import file_rows


def load_aliases(path: Path) -> dict[str, tuple[str, ...]]:
    """Wikidata id -> further names. Raises `UserError` naming the row that cannot be read."""
    found: dict[str, tuple[str, ...]] = {}
    for place, line, problem in file_rows(path):
        if problem or not isinstance(line, dict):
            raise UserError(f"{path}, {place}: {problem or 'expected an object'}; correct or remove that row")
        names = (name for key in ("aliases", "demonyms") for name in line.get(key) or ())
        found[str(line.get("Q_id"))] = tuple(map(str, names))
    return found
