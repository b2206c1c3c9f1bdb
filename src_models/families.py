"""The pooling and prefixes of encoder families.

The family is never derived from a path: the published system adds E5's prefixes only where the path contains
"e5" (reference/rearag.md, section 2.7), so a copy under another name silently loses quality.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Family(NamedTuple):
    """The pooling of token vectors, and the prefixes of queries and passages."""

    pooling: Literal["mean", "cls"]
    query_prefix: str
    passage_prefix: str


FAMILIES: Mapping[str, Family] = {
    "e5": Family("mean", "query: ", "passage: "),
    "minilm": Family("mean", "", ""),
    "bge": Family("cls", "Represent this sentence for searching relevant passages: ", ""),
    "bge-m3": Family("cls", "", ""),
}
