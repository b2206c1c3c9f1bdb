"""The names under which bug reports import the rendering of a conversation
(`../shared/cases/breaks/10_forged_turns.py`). The project itself uses `src_core.protocols`.
"""

from __future__ import annotations

from collections.abc import Sequence

from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import ChatTurn, PromptStyle, Turn
from src_core.types import Step


def conversation(style: PromptStyle, question: str, steps: Sequence[Step]) -> list[Turn]:
    """The turns of a ReaRAG trajectory."""
    return ReaRag(style).turns(question, steps)


def chat_messages(style: PromptStyle, turns: Sequence[Turn]) -> list[ChatTurn]:
    """The turns as the messages of a chat."""
    return ReaRag(style).lay_out(turns)
