"""Withholds the answers of any method that the evidence is against (`src_tasks.abstention`).

A method drafts its answer as ever; `Method.answer` then keeps it or returns `noanswer`. The row records why,
and the answer that was withheld, so that other rules can be scored on it without a new run
(`src_eval.abstention`). For `min_confidence` every request asks for log-probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from src_core.llm import Token
from src_core.server_news import ServerNews
from src_core.types import Trajectory
from src_tasks.abstention import (
    ABSTAINED,
    CONFIDENCE,
    KEEP,
    Abstain,
    answer_confidence,
    note_of,
    reasons,
    signals_of,
)
from src_tasks.answers import NO_ANSWER

BLIND = (
    "abstain.min_confidence has no effect on some answers: the server gave no log-probabilities for their "
    "replies; set it to 0, or serve the model with vLLM or llama.cpp"
)
_REPLIES: ContextVar[list[Sequence[Token]] | None] = ContextVar("replies", default=None)


@contextmanager
def noting_replies() -> Iterator[list[Sequence[Token]]]:
    """The tokens of all replies inside, in order, also of tasks that are started inside."""
    replies: list[Sequence[Token]] = []
    token = _REPLIES.set(replies)
    try:
        yield replies
    finally:
        _REPLIES.reset(token)


def note_reply(tokens: Sequence[Token]) -> None:
    """A model replied with these tokens; none where the server gave no log-probabilities."""
    replies = _REPLIES.get()
    if replies is not None:
        replies.append(tokens)


def kept_or_withheld(
    row: Trajectory, rules: Abstain, replies: Sequence[Sequence[Token]], news: ServerNews
) -> Trajectory:
    """The row with its answer, or with `noanswer` and in provenance why. A failed question has no answer to
    withhold, and a multiple-choice question is answered by one of its choices: these rows stay as they are.
    """
    if rules == KEEP or row.status.failed or row.question.choices:
        return row
    if rules.min_confidence:
        if not any(replies):
            news.note_once(BLIND)
        confidence = answer_confidence(row.answer, replies)
        row = replace(row, provenance={**row.provenance, CONFIDENCE: confidence})
    why = reasons(signals_of(row), rules)
    if not why:
        return row
    noted = {**row.provenance, ABSTAINED: note_of(why, row.answer)}
    return replace(row, answer=NO_ANSWER, provenance=noted)
