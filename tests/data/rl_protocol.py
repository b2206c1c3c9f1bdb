"""A format of one character per reply, small enough to be found by chance: `s` searches for the question, a
letter from `a` to `d` is the answer. What was found is one letter.
"""

from __future__ import annotations

from collections.abc import Sequence

from src_core.passage_view import PassageView
from src_core.protocols.base import Protocol
from src_core.protocols.records import FUNCTIONS, Layout, ParsedStep, ParseError
from src_core.types import Finish, Passage, Search, Step

LETTERS = "abcd"


class OneLetter(Protocol):
    """See the module."""

    name = "one_letter"
    layout = Layout.GROWING_TURN
    observation_template = "{observation}"
    stops = ()

    def render_step(self, step: Step) -> str:
        """The letter of the action."""
        return "s" if isinstance(step.action, Search) else step.action.answer

    def render_documents(self, passages: Sequence[Passage], *, view: PassageView, query: str) -> str:
        """The text of the best passage: one letter."""
        return passages[0].text[-1] if passages else "z"

    def parse(
        self, text: str, *, think: str = "", functions: Sequence[str] = FUNCTIONS
    ) -> ParsedStep | ParseError:
        """The action of one character."""
        if text == "s":
            return ParsedStep(None, "", Search("QUESTION"))
        if text and text in LETTERS:
            return ParsedStep(None, "", Finish(text))
        return ParseError("no_action", "the reply is no action")


FORMAT = OneLetter
