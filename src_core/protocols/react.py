"""ReAct's format (Yao et al. 2023, arXiv 2210.03629): `Thought:` / `Action: search[…]` / `Observation:`,
numbered or not, ended by `finish[…]` and, in logs, perhaps a note of the environment ("Episode finished,
reward = True").

How we differ: only `search` and `finish` are actions; `lookup[…]` is named as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from src_core.protocols.base import Protocol
from src_core.protocols.rearag import parse_step
from src_core.protocols.records import (
    FUNCTIONS,
    MAX_REPLY,
    TURN_MARKS,
    ParsedStep,
    ParseError,
    ReadTrajectory,
)
from src_core.protocols.trajectory_text import Piece, read_pieces
from src_core.types import Action, DirectAnswer, Search, Step

# What every step of this notation has in common is no fix of this one.
_OWN_STYLE = frozenset({"call_style", "no_step_number", "no_fence"})
_LABEL = re.compile(
    r"^[ \t]*(?:[*_#]{1,3}[ \t]*)?(thought|action|observation)[ \t]*\d{0,4}[ \t]*:[ \t]*(?:[*_]{1,2}[ \t]*)?",
    re.IGNORECASE | re.MULTILINE,
)
_CALL = re.compile(r"\s*([A-Za-z_]\w{0,30})[ \t]*[\[(]")


class ReAct(Protocol):
    """See the module."""

    name: ClassVar[str] = "react"
    needs_thought: ClassVar[bool] = True
    user_template: ClassVar[str] = "Question: {question}"
    observation_template: str = "Observation {n}: {observation}"
    stops = (*TURN_MARKS, "\nObservation")

    def render_step(self, step: Step) -> str:
        """Numbered, with a call in square brackets."""
        if isinstance(step.action, DirectAnswer):
            raise ValueError("ReAct has no action for a direct answer")
        call = (
            f"search[{step.action.query}]"
            if isinstance(step.action, Search)
            else f"finish[{step.action.answer}]"
        )
        return f"Thought {step.n}: {step.thought}\nAction {step.n}: {call}"

    def parse(
        self, text: str, *, think: str = "", functions: Sequence[str] = FUNCTIONS
    ) -> ParsedStep | ParseError:
        """The first step of a reply."""
        body = re.search(r"action[ \t]*\d{0,4}[ \t]*:", text[:MAX_REPLY], re.IGNORECASE)
        call = _CALL.match(text[body.end() : MAX_REPLY]) if body else None
        if call and call[1].lower() not in ("search", "finish"):
            return ParseError("unknown_function", f"the function must be search or finish, not {call[1]!r}")
        parsed = parse_step(text)
        if isinstance(parsed, ParseError):
            return parsed
        fixes = tuple(name for name in parsed.parse_fixes if name not in _OWN_STYLE)
        return ParsedStep(parsed.n, parsed.thought, parsed.action, fixes)

    def parse_trajectory(self, text: str) -> ReadTrajectory:
        """All steps of a text."""
        return read_pieces(text, _pieces, _action)

    @staticmethod
    def reads(text: str) -> bool:
        """Whether a text looks like a trajectory in this format."""
        return any(match[1].lower() == "action" for match in _LABEL.finditer(text))


FORMAT = ReAct


def _pieces(text: str) -> Iterator[Piece]:
    labels = list(_LABEL.finditer(text))
    starts = [*(label.start() for label in labels), len(text)]
    for label, end in zip(labels, starts[1:], strict=True):
        yield Piece(label[1].lower(), text[label.end() : end].strip())


def _action(body: str) -> Action | str:
    """The action of a step, or what is wrong with it."""
    call = _CALL.match(body)
    if call and call[1].lower() not in ("search", "finish"):
        return f"unknown action {call[1]}"
    parsed = parse_step(f"Thought: -\nAction: {body}")
    if isinstance(parsed, ParseError):
        return parsed.message
    unusual = set(parsed.parse_fixes) - _OWN_STYLE
    return f"the action holds more than a call ({', '.join(sorted(unusual))})" if unusual else parsed.action
