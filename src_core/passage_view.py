"""What a model is shown of a passage: numbered lines, each within a number of characters."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from src_core.excerpts import relevant_part
from src_core.text import shorten
from src_core.types import Passage

NO_PASSAGE = "(no passage was found)"


class PassagePart(StrEnum):
    """The part that is shown of a passage which is too long: the sentences that match the query, or the
    beginning (the published systems).
    """

    RELEVANT = "relevant"
    HEAD = "head"


class PassageView(NamedTuple):
    """The bound of each passage in characters, and the part that is shown."""

    max_chars: int
    part: PassagePart = PassagePart.RELEVANT

    def text(self, passage: Passage, query: str) -> str:
        """The shown part of a passage's text, on one line."""
        if self.part is PassagePart.HEAD:
            return shorten(passage.text, self.max_chars)
        return relevant_part(passage.text, query, max_chars=self.max_chars, title=passage.title)


def passage_block(passages: Sequence[Passage], *, view: PassageView, query: str) -> str:
    """Numbered passages, `[1] Title: text`, one per line."""
    return "\n".join(passage_lines(passages, view=view, query=query)) or NO_PASSAGE


def passage_lines(passages: Sequence[Passage], *, view: PassageView, query: str) -> list[str]:
    """The lines of a `passage_block`. `query` is what the passages were retrieved or are read for."""
    return [
        f"[{number}] {passage.title}: {view.text(passage, query)}"
        if passage.title
        else f"[{number}] {view.text(passage, query)}"
        for number, passage in enumerate(passages, start=1)
    ]
