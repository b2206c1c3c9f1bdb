"""A toy format: `FIND query`, `KNOW question = answer` and `SAY answer`, one per line in one growing turn;
what was found follows as `SEEN …`, and the model then writes `SO conclusion`.
"""

from __future__ import annotations

from collections.abc import Sequence

from src_core.protocols.base import Protocol
from src_core.protocols.records import FUNCTIONS, Layout, ParsedStep, ParseError
from src_core.types import DirectAnswer, Finish, Search, Step


class Toy(Protocol):
    """See the module."""

    name = "toy"
    functions = FUNCTIONS
    layout = Layout.GROWING_TURN
    concludes = True
    user_template = "Puzzle: {question}"
    observation_template = "\nSEEN {observation}\n"
    stops = ("\nSEEN",)

    def render_step(self, step: Step) -> str:
        """The thought, then the call."""
        if isinstance(step.action, DirectAnswer):
            call = f"KNOW {step.action.sub_question} = {step.action.answer}\n"
        elif isinstance(step.action, Search):
            call = f"FIND {step.action.query}"
        else:
            call = f"SAY {step.action.answer}"
        return f"{step.thought}\n{call}" if step.thought else call

    def render_conclusion(self, step: Step) -> str:
        """The line after an observation."""
        return f"SO {step.conclusion}\n"

    def parse(
        self, text: str, *, think: str = "", functions: Sequence[str] = FUNCTIONS
    ) -> ParsedStep | ParseError:
        """The first call."""
        thought: list[str] = []
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            if word == "FIND" and rest:
                return ParsedStep(None, "\n".join(thought), Search(rest))
            if word == "KNOW" and " = " in rest:
                question, _, answer = rest.partition(" = ")
                return ParsedStep(None, "\n".join(thought), DirectAnswer(question, answer))
            if word == "SAY" and rest:
                return ParsedStep(None, "\n".join(thought), Finish(rest))
            thought.append(line)
        return ParseError("no_call", "the reply has none of FIND, KNOW, SAY")

    def parse_conclusion(self, text: str) -> str:
        """What follows SO."""
        return super().parse_conclusion(text.strip().removeprefix("SO "))


FORMAT = Toy
