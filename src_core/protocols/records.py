"""The records of all text formats: turns, messages, parsed replies, constraints, prompt style."""

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
"""The functions that a step may call. A protocol ignores a function that it does not have."""
MAX_REPLY = 20_000
"""Maximal characters of a reply that are parsed."""
MAX_ARGUMENT = 2_000
"""Maximal characters of an action's argument."""
TURN_MARKS = ("<|user|>", "<|observation|>", "<|assistant|>")
"""Markers of another turn, at which a reply ends."""


class Layout(StrEnum):
    """How steps are laid out in chat messages."""

    TURNS = "turns"
    """One assistant turn per step; each observation is a separate turn."""
    GROWING_TURN = "growing_turn"
    """One assistant turn that grows; observations are inside it."""
    HISTORY_IN_USER_TURN = "history_in_user_turn"
    """One prompt per step; the steps before it are inside the user's turn."""


class Constrain(StrEnum):
    """How a reply is constrained by the server while it is generated."""

    OFF = "off"
    GRAMMAR = "grammar"
    JSON_SCHEMA = "json_schema"
    AUTO = "auto"
    """In settings: what the server obeys, tried once at the start of a run."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A decoding constraint: either a GBNF `grammar` or a JSON `schema` (exactly one is set)."""

    grammar: str | None = None
    schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ParsedStep:
    """The first step of a reply. `n` is the number that the model wrote (None if it wrote none);
    `parse_fixes` names every deviation from the format that was repaired.
    """

    n: int | None
    thought: str
    action: Action
    parse_fixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParseError:
    """Why a reply is not a step: a short reason from a closed set (`code`) and one sentence."""

    code: str
    message: str


class ReadTrajectory(NamedTuple):
    """A whole trajectory parsed from text: the steps; the problem at which parsing stopped ("" for none);
    notes for provenance.
    """

    steps: tuple[Step, ...]
    problem: str
    notes: dict[str, Any]


class Segment(NamedTuple):
    """A part of a message, and whether the model writes it (the loss covers its tokens)."""

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
        """The message in the form of the chat API."""
        return {"role": self.role, "content": self.content}


@config_class
class PromptStyle:
    """How a conversation is rendered for a reasoning model.

    `system` is the system turn's text ("" sends none). `observation_role` is the chat role of observations:
    GLM-4 has a native `observation` role, other templates use `user`. `user_template` (with `{question}`) and
    `observation_template` (with `{observation}` and the step's number `{n}`) default to those of the protocol
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
