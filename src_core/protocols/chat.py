"""Plain conversations: general data and the reader's questions. No steps, no actions; every turn of the
assistant is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from src_core.protocols.base import Protocol
from src_core.protocols.records import FUNCTIONS, ROLES, ParsedStep, ParseError
from src_core.types import Step


class Chat(Protocol):
    """See the module."""

    name: ClassVar[str] = "chat"
    functions: ClassVar[tuple[str, ...]] = ()

    def render_step(self, step: Step) -> str:
        """There are no steps: always a `ValueError`."""
        raise ValueError("a plain conversation has no steps")

    def parse(
        self, text: str, *, think: str = "", functions: Sequence[str] = FUNCTIONS
    ) -> ParsedStep | ParseError:
        """There are no steps."""
        return ParseError("no_steps", "a plain conversation has no steps")

    def check(self, turns: Any) -> str:
        """What keeps a conversation from being trained on, "" when nothing does."""
        if not isinstance(turns, list) or not turns:
            return "no list of messages"
        for number, turn in enumerate(turns, start=1):
            role = turn.get("role") if isinstance(turn, dict) else None
            if role not in ROLES:
                return f"turn {number} has the unknown role {role!r}"
            key = "reasoning" if role == "assistant" else "content"
            if not isinstance(turn.get(key), str) or not turn[key].strip():
                return f"turn {number}, of the {role}, has no {key}"
        if not any(turn["role"] == "assistant" for turn in turns):
            return "no turn of the assistant"
        return ""


FORMAT = Chat
