"""The records of all text formats: turns, messages, replies that were read, constraints, prompt style."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from src_core.config import config_class
from src_core.types import Action, Finish, Search, Step

Turn = dict[str, Any]
"""One turn of a conversation: `role` with `content` (user, observation, system) or `reasoning` (assistant).
"""
Message = dict[str, str]
"""One chat message: `role` and `content`."""

ROLES = ("system", "user", "assistant", "observation")
FUNCTIONS = ("search", "direct_answer", "finish")
"""The kinds of action that a step may have. A protocol without one of them ignores it."""
MAX_REPLY = 20_000
"""Characters of a reply that are read."""
MAX_ARGUMENT = 2_000
"""Characters of an action's argument."""
TURN_MARKS = ("<|user|>", "<|observation|>", "<|assistant|>")
"""Marks of another turn, at which a reply ends."""


class Layout(StrEnum):
    """How steps are laid out in chat messages."""

    TURNS = "turns"
    """One assistant turn per step; an observation is a turn of its own."""
    GROWING_TURN = "growing_turn"
    """One assistant turn that grows; observations stand inside it."""
    HISTORY_IN_USER_TURN = "history_in_user_turn"
    """Each step is asked for anew; the steps before it stand inside the user's turn."""


class Constrain(StrEnum):
    """How a reply is constrained by the server while it is generated."""

    OFF = "off"
    GRAMMAR = "grammar"
    JSON_SCHEMA = "json_schema"


@dataclass(frozen=True, slots=True)
class Constraint:
    """What to send: either a GBNF `grammar` or a `schema` (exactly one is set)."""

    grammar: str | None = None
    schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ParsedStep:
    """The first step of a reply. `n` is the model's own number (None when it wrote none); `parse_fixes` names
    every deviation from the format that was mended.
    """

    n: int | None
    thought: str
    action: Action
    parse_fixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParseError:
    """Why a reply is not a step: a short reason from a closed set (`code`) and one sentence for people."""

    code: str
    message: str


class ReadTrajectory(NamedTuple):
    """A whole trajectory read from text: the steps; what stopped the reading ("" when nothing did); notes for
    provenance.
    """

    steps: tuple[Step, ...]
    problem: str
    notes: dict[str, Any]


class Segment(NamedTuple):
    """A stretch of a message, and whether the model writes it (its tokens are trained on)."""

    text: str
    trained: bool


class ChatTurn(NamedTuple):
    """One chat message in segments."""

    role: str
    segments: tuple[Segment, ...]

    @property
    def content(self) -> str:
        """The whole text."""
        return "".join(segment.text for segment in self.segments)

    @staticmethod
    def of(role: str, text: str, *, trained: bool = False) -> ChatTurn:
        """A message of one segment."""
        return ChatTurn(role, (Segment(text, trained),))

    def message(self) -> Message:
        """As a chat server takes it."""
        return {"role": self.role, "content": self.content}


@config_class
class PromptStyle:
    """How a conversation is put to a reasoning model.

    `system` is the system turn's text ("" sends none). `observation_role` is the chat role of observations:
    GLM-4 has a native `observation` role, other templates take `user`. `user_template` (with `{question}`)
    and `observation_template` (with `{observation}` and the step's number `{n}`) are the protocol's own
    where they are "". Templates are filled with `str.replace`, never `format`, so that braces in a question
    are harmless. `legacy_actions` writes the original's Python-repr actions.
    """

    system: str = ""
    user_template: str = ""
    observation_role: str = "observation"
    observation_template: str = ""
    legacy_actions: bool = False


def make_action(name: str, argument: str) -> Action | ParseError:
    """The action `name` (`search`, `finish`) with an argument on one line; an empty or over-long argument
    is an error value.
    """
    argument = " ".join(argument.split())
    if not argument:
        return ParseError("empty_argument", f"the argument of {name} is empty")
    if len(argument) > MAX_ARGUMENT:
        return ParseError("long_argument", f"the argument of {name} is longer than {MAX_ARGUMENT} characters")
    return Search(argument) if name == "search" else Finish(argument)
