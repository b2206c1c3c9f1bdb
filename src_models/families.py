"""What a family of encoders asks of its caller.

Never guessed from how a path is spelt: the published system adds E5's prefixes only where the path contains
"e5" (reference/rearag.md, section 2.7), so a copy under another name silently loses quality.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Family(NamedTuple):
    """How token vectors become one vector, and what is put before a text."""

    pooling: Literal["mean", "cls"]
    query_prefix: str
    passage_prefix: str


FAMILIES: Mapping[str, Family] = {
    "e5": Family("mean", "query: ", "passage: "),
    "minilm": Family("mean", "", ""),
    "bge": Family("cls", "Represent this sentence for searching relevant passages: ", ""),
}
