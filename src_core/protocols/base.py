"""The base class of all text formats (protocols).

A protocol turns a question and its steps into turns (the published schema, reference rearag.md section 6.5),
lays turns out for a model, constrains and parses the reply, and checks a conversation. It does not depend on
models or servers. Inference, data export, training and rollouts all use it, so that training, prompting and
parsing work on the same text.

How we differ from the original ReaRAG: its inference prompt (system turn, bare question) did not match its
data (no system turn, `Question: …\\n\\nReasoning process with function call:`); here both use the same
`PromptStyle`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from src_core.passage_view import PassageView, passage_block
from src_core.protocols.records import (
    FUNCTIONS,
    MAX_ARGUMENT,
    ROLES,
    TURN_MARKS,
    ChatTurn,
    Constrain,
    Constraint,
    Layout,
    Message,
    ParsedStep,
    ParseError,
    PromptStyle,
    ReadTrajectory,
    Segment,
    Turn,
)
from src_core.text import fill, fill_some
from src_core.types import DirectAnswer, Finish, Passage, Step


class Protocol(ABC):
    """One text format. A module of `src_core/protocols` (or a user's file) names its class `FORMAT`."""

    name: ClassVar[str]
    """The value of `format` in conversation rows."""
    functions: ClassVar[tuple[str, ...]] = ("search", "finish")
    """The kinds of action that the format can express."""
    user_template: ClassVar[str] = "{question}"
    observation_template: str = "{observation}"
    needs_thought: ClassVar[bool] = False
    """Whether a step without a thought is incomplete."""
    concludes: ClassVar[bool] = False
    """Whether the model writes a conclusion after each observation, as part of the same step."""
    needs_conclusion: ClassVar[bool] = False
    """Whether a search without a conclusion is incomplete (formats with `concludes`)."""
    layout: Layout = Layout.TURNS
    stops: tuple[str, ...] = TURN_MARKS
    """Strings at which a reply ends and which are not part of it. Servers accept at most four, `closers`
    included.
    """
    closers: tuple[str, ...] = ()
    """Strings at which a reply ends and which are part of it, such as a closing tag or a line break."""

    def __init__(self, style: PromptStyle | None = None) -> None:
        self.style = style or PromptStyle()

    @abstractmethod
    def render_step(self, step: Step) -> str:
        """The text that the model writes for a step, without observation and conclusion."""

    @abstractmethod
    def parse(
        self, text: str, *, think: str = "", functions: Sequence[str] = FUNCTIONS
    ) -> ParsedStep | ParseError:
        """Parse the first step of a reply whose think block is `think`; `functions` are the functions that
        are allowed now. Raises nothing and evaluates nothing.
        """

    def unfinished(self, text: str) -> str:
        """The beginning of a step from which the model has to write on, if `text` is one: a format whose step
        takes several replies, such as lines. "" where `text` is a whole step. Raises nothing.
        """
        return ""

    def opening(self, functions: Sequence[str]) -> str:
        """The words with which a reply has to begin where only `functions` are allowed, "" for none: a format
        without a grammar can hold a model to its answer with the words before one.
        """
        return ""

    def segments(self, text: str) -> list[str]:
        """The parts of a step's text that are replies of their own (`unfinished`). Each is tokenised alone,
        so that training and prompts have the tokens that were sampled.
        """
        return [text]

    def parse_trajectory(self, text: str) -> ReadTrajectory:
        """Parse a whole trajectory from one text. Raises nothing."""
        return ReadTrajectory((), f"a trajectory in the format {self.name} is not one text", {})

    def constraint(
        self, kind: Constrain, *, n: int, functions: Sequence[str] = FUNCTIONS
    ) -> Constraint | None:
        """The decoding constraint of step `n` for the format and `functions`; None for `off`. Raises
        `ValueError` where the format has no such constraint (`supports`).
        """
        if kind is Constrain.OFF:
            return None
        raise ValueError(f"the format {self.name} has no {kind.value}")

    @property
    def supports(self) -> tuple[Constrain, ...]:
        """The kinds of constraint that the format has."""
        return (Constrain.OFF,)

    def render_question(self, question: str) -> str:
        """The user's turn."""
        return fill(self.style.user_template or self.user_template, question=question)

    def read_question(self, content: str) -> str:
        """The question in a user's turn, the inverse of `render_question`; the whole text where the turn does
        not match the template.
        """
        before, _, after = (self.style.user_template or self.user_template).partition("{question}")
        return content.removeprefix(before).removesuffix(after)

    def render_documents(self, passages: Sequence[Passage], *, view: PassageView, query: str) -> str:
        """The passages that a query retrieved, as an observation."""
        return passage_block(passages, view=view, query=query)

    def render_conclusion(self, step: Step) -> str:
        """The text that the model writes after the observation of a step (formats with `concludes`)."""
        return step.conclusion

    def parse_conclusion(self, text: str) -> str:
        """The conclusion in a reply (formats with `concludes`), on one line."""
        return " ".join(text[:MAX_ARGUMENT].split())

    def turns(self, question: str, steps: Sequence[Step]) -> list[Turn]:
        """The conversation in the published schema: user `content`, assistant `reasoning`, observation
        `content`.
        """
        built: list[Turn] = [{"role": "user", "content": self.render_question(question)}]
        for step in steps:
            built.append({"role": "assistant", "reasoning": self.render_step(step)})
            if step.observation is not None:
                built.append({"role": "observation", "content": step.observation})
            if step.conclusion:
                built.append({"role": "assistant", "reasoning": self.render_conclusion(step)})
        return built

    def lay_out(self, turns: Sequence[Turn]) -> list[ChatTurn]:
        """The chat messages for turns in the published schema, with the style's system turn in front unless
        the turns begin with a system turn. Raises `ValueError` for an unknown role.
        """
        system = "" if any(turn["role"] == "system" for turn in turns) else self.style.system
        built = [ChatTurn.of("system", system)] if system else []
        if self.layout is Layout.TURNS:
            return built + self._one_message_per_turn(turns)
        if self.layout is Layout.GROWING_TURN:
            return built + self._one_growing_message(turns)
        return built + self._history_message(turns)

    def messages(self, turns: Sequence[Turn], *, begun: str = "") -> list[Message]:
        """As `lay_out`, in the form of the chat API; a growing turn is the last message. `begun` is the
        beginning of the next reply, at the end of the last message, which is then the assistant's.
        """
        if not begun or self.layout is Layout.HISTORY_IN_USER_TURN:
            sent = [turn.message() for turn in self.lay_out(turns)]
            return [*sent, {"role": "assistant", "content": begun}] if begun else sent
        return self.messages([*turns, {"role": "assistant", "reasoning": begun}])

    def samples(self, turns: Sequence[Turn]) -> list[list[ChatTurn]]:
        """The training samples: the conversation, or, where each step has a prompt of its own, one sample per
        assistant turn.
        """
        if self.layout is not Layout.HISTORY_IN_USER_TURN:
            return [self.lay_out(turns)]
        built = []
        for at, turn in enumerate(turns):
            if turn["role"] == "assistant":
                built.append(
                    [*self.lay_out(turns[:at]), ChatTurn.of("assistant", turn["reasoning"], trained=True)]
                )
        return built

    def render_history(self, turns: Sequence[Turn]) -> str:
        """The user's turn that holds question and steps (layout `history_in_user_turn`)."""
        raise NotImplementedError(f"the format {self.name} does not keep its history in the user's turn")

    def check(self, turns: Any) -> str:
        """The problem in the structure of a conversation, "" for a valid one: the user's question, steps that
        can be parsed, an observation after each search, a `finish` at the end. Raises nothing for any
        `turns`.
        """
        if not isinstance(turns, list) or not turns:
            return "no list of messages"
        rows = [turn if isinstance(turn, dict) else {} for turn in turns]
        if rows[0].get("role") != "user" or not _text_of(rows[0], "content"):
            return "the first turn is not the user's question"
        if rows[-1].get("role") != "assistant":
            return "the conversation does not end with the assistant's turn"
        at, number = 1, 0
        while at < len(rows):
            number += 1
            problem, used = self._step_problem(rows[at:], number)
            if problem:
                return f"turn {at + used + 1}: {problem}"
            at += used
        return ""

    def step_problem(self, parsed: ParsedStep, number: int) -> str:
        """The problem of the parsed step `number` of a conversation under the format's further rules, "" for
        none.
        """
        return ""

    def _step_problem(self, rows: Sequence[dict[str, Any]], number: int) -> tuple[str, int]:
        """The problem of the first step of `rows` ("" for none), and the number of turns that it takes; for a
        problem, the offset of the turn.
        """
        if rows[0].get("role") != "assistant":
            return "is not the assistant's", 0
        text = _text_of(rows[0], "reasoning")
        if not text:
            return "has no reasoning", 0
        parsed = self.parse(text)
        if isinstance(parsed, ParseError):
            return f"cannot be read ({parsed.code})", 0
        if problem := self.step_problem(parsed, number):
            return problem, 0
        if isinstance(parsed.action, Finish):
            return ("finishes before the end", 0) if len(rows) > 1 else ("", 1)
        if isinstance(parsed.action, DirectAnswer):
            return ("ends without finish", 0) if len(rows) == 1 else ("", 1)
        if len(rows) == 1:
            return "ends without finish", 0
        if rows[1].get("role") != "observation" or not _text_of(rows[1], "content"):
            return "a search is not followed by its observation", 1
        if self.needs_conclusion:
            said = _text_of(rows[2], "reasoning") if rows[2:] and rows[2].get("role") == "assistant" else ""
            found = self.parse_conclusion(said) and isinstance(self.parse(said), ParseError)
            return ("", 3) if found else ("a search has no conclusion", 2)
        # After an observation, two turns of the assistant in a row are a conclusion and the next step.
        concluded = self.concludes and [row.get("role") for row in rows[2:4]] == ["assistant", "assistant"]
        return "", 3 if concluded else 2

    def _observation_text(self, content: str, n: int) -> str:
        template = self.style.observation_template or self.observation_template
        return fill_some(template, n=str(n), observation=content)

    def _one_message_per_turn(self, turns: Sequence[Turn]) -> list[ChatTurn]:
        built, n = [], 0
        for turn in turns:
            role = turn["role"]
            if role == "assistant":
                n += 1
                built.append(ChatTurn.of(role, turn["reasoning"], trained=True))
            elif role == "observation":
                built.append(
                    ChatTurn.of(self.style.observation_role, self._observation_text(turn["content"], n))
                )
            elif role in ("user", "system"):
                built.append(ChatTurn.of(role, turn["content"]))
            else:
                raise ValueError(f"unknown role {role!r} of a turn; known are {', '.join(ROLES)}")
        return built

    def _one_growing_message(self, turns: Sequence[Turn]) -> list[ChatTurn]:
        built, grown, n = [], list[Segment](), 0
        for turn in turns:
            role = turn["role"]
            if role == "assistant":
                n += 1
                grown += [Segment(part, True) for part in self.segments(turn["reasoning"])]
            elif role == "observation":
                grown.append(Segment(self._observation_text(turn["content"], n), False))
            elif role in ("user", "system"):
                built.append(ChatTurn.of(role, turn["content"]))
            else:
                raise ValueError(f"unknown role {role!r} of a turn; known are {', '.join(ROLES)}")
        return [*built, ChatTurn("assistant", tuple(grown))] if grown else built

    def _history_message(self, turns: Sequence[Turn]) -> list[ChatTurn]:
        own = [ChatTurn.of("system", turn["content"]) for turn in turns if turn["role"] == "system"]
        rest = [turn for turn in turns if turn["role"] != "system"]
        return [*own, ChatTurn.of("user", self.render_history(rest))]


def _text_of(turn: dict[str, Any], key: str) -> str:
    value = turn.get(key)
    return value if isinstance(value, str) and value.strip() else ""
