"""All text formats in all their layouts, with steps that each of them can write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from src_core.protocols import load_protocol
from src_core.protocols.base import Protocol
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import Layout, PromptStyle, Turn
from src_core.protocols.search_r1 import DIALECTS
from src_core.types import DirectAnswer, Finish, Search, Step


class History(ReaRag):
    """ReaRAG's steps, each asked for anew with the steps before it in the user's turn."""

    name: ClassVar[str] = "history"
    layout = Layout.HISTORY_IN_USER_TURN

    def render_history(self, turns: Sequence[Turn]) -> str:
        return "\n".join(turn.get("content") or turn["reasoning"] for turn in turns)


def protocols(role: str = "user") -> dict[str, Protocol]:
    """Every format and layout; observations have the chat role `role`."""
    style = PromptStyle(system="Be brief.", observation_role=role)
    made: dict[str, Protocol] = {
        name: load_protocol(name, style) for name in ("rearag", "react", "r3rag", "r3rag_whole", "deeprag")
    }
    for name, dialect in DIALECTS.items():
        made[name] = dialect(style)
        made[f"{name}, growing"] = dialect(style, layout=Layout.GROWING_TURN)
    made["history"] = History(style)
    return made


NAMES = sorted(protocols())


def steps(
    protocol: Protocol,
    query: str = "Which film won?",
    observation: str = "Red Rain won.",
    answer: str = "Ann Lee",
    thought: str = "I need the film.",
) -> list[Step]:
    """Two searches, the second a direct answer where the format has them and draws conclusions, and the
    end.
    """
    made = [
        Step(1, thought, Search(query), observation=observation),
        Step(2, "And the year.", Search(f"{query} When?"), observation=f"{observation} In 1956."),
        Step(3, "Now I know it.", Finish(answer)),
    ]
    if not protocol.needs_conclusion:
        return made
    first = replace(made[0], thought="", conclusion=f"{answer} (1)")
    return [first, Step(2, "", DirectAnswer(f"{query} When?", thought)), made[2]]


def written(protocol: Protocol, text: str) -> list[str]:
    """The replies of a text: the whole, or its lines where a line is a reply."""
    return text.splitlines(keepends=True) if "\n" in protocol.closers else [text]
