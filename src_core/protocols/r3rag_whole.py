"""R3-RAG's steps in one growing turn instead of a prompt per step: a trajectory is one sequence, so that a
server reuses its whole prefix, and training reads every token once (reference r3rag.md, sections 1.2 and 8).

The text is that of `r3rag`. The label in front of the documents is the end of the model's reply: it has to be
written, so that a trained model knows where its turn ends.
"""

from __future__ import annotations

from typing import ClassVar

from src_core.protocols.r3rag import DOCUMENTS, R3Rag
from src_core.protocols.records import TURN_MARKS, Layout
from src_core.types import Search, Step


class R3Whole(R3Rag):
    """See the module."""

    name: ClassVar[str] = "r3rag_whole"
    layout: Layout = Layout.GROWING_TURN
    observation_template: str = " {observation}\n"
    stops: tuple[str, ...] = TURN_MARKS[:2]
    closers = (DOCUMENTS,)

    def render_step(self, step: Step) -> str:
        """As in `r3rag`; a search ends with the label of its documents."""
        text = super().render_step(step)
        return f"{text}\n{DOCUMENTS}" if isinstance(step.action, Search) else text


FORMAT = R3Whole
