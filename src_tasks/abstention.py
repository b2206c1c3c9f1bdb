"""Abstention: a drafted answer is kept, or given up for `noanswer` because the evidence is against it.

Five reasons, each a pure function of what a trajectory found. `no_answer`: the model gave none, or says that
it does not know. `unsupported`: what was found does not support the answer (`src_tasks.support`). `unnamed`:
no passage of the last search holds a name of its query, so it found nothing about the one asked for.
`untold`: the answer stands in its passages, but none of these holds a word of what the query asks, as the
height of a thing whose weight is asked for; by this the unanswerable training questions are made
(`src_data.passage_questions.untold`). `unlikely`: the confidence in the answer, the geometric mean of the
probabilities of its tokens, is too low. Selective prediction by a threshold, and reports by risk and
coverage, are those of El-Yaniv and Wiener 2010 and of Kamath et al. 2020 (arXiv 2006.09462), who train a
calibrator instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from src_core.config import config_class
from src_core.llm import Token
from src_core.named_passages import names_missing, relation_words, shares_word
from src_core.types import Passage, Search, Step, Trajectory
from src_tasks.answers import NO_ANSWER, normal_form, normalize_answer
from src_tasks.metric_names import metric
from src_tasks.support import holds, needs_no_text, supported

ABSTAINED, CONFIDENCE = "abstained", "confidence"
"""The keys of provenance: the reasons with the withheld answer, and the confidence in the drafted one."""
OUTCOMES = ("answered_right", "answered_wrong", "abstained_right", "abstained_wrong")


class Reason(StrEnum):
    """Why an answer is withheld (see above)."""

    NO_ANSWER = "no_answer"
    UNSUPPORTED = "unsupported"
    UNNAMED = "unnamed"
    UNTOLD = "untold"
    UNLIKELY = "unlikely"


@config_class
class Abstain:
    """When an answer is withheld: where nothing that was found supports it (`unsupported`), where the last
    search found nothing about what its query names (`unnamed`), where the passages that hold the answer tell
    something else (`untold`), where the confidence in it is below `min_confidence`. All off: every answer is
    kept.
    """

    unsupported: bool = False
    unnamed: bool = False
    untold: bool = False
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0


KEEP = Abstain()


class Signals(NamedTuple):
    """What speaks against an answer. `confidence` is None where the server gave no log-probabilities, or no
    reply holds the answer as it stands.
    """

    blank: bool
    unsupported: bool
    unnamed: bool
    untold: bool
    confidence: float | None = None


def signals_of(trajectory: Trajectory) -> Signals:
    """The signals of a row about its drafted answer."""
    answer, steps = drafted(trajectory), trajectory.steps
    known = trajectory.provenance.get(CONFIDENCE)
    return Signals(
        blank=normalize_answer(answer) in ("", NO_ANSWER),
        unsupported=is_unsupported(answer, trajectory.question.question, steps),
        unnamed=is_unnamed(steps),
        untold=is_untold(answer, trajectory.question.question, steps),
        confidence=float(known) if isinstance(known, int | float) else None,
    )


def reasons(signals: Signals, rules: Abstain) -> tuple[Reason, ...]:
    """Why the answer is withheld under these rules; () where it is kept."""
    if rules == KEEP:
        return ()
    if signals.blank:
        return (Reason.NO_ANSWER,)
    confidence = signals.confidence
    found = {
        Reason.UNSUPPORTED: rules.unsupported and signals.unsupported,
        Reason.UNNAMED: rules.unnamed and signals.unnamed,
        Reason.UNTOLD: rules.untold and signals.untold,
        Reason.UNLIKELY: confidence is not None and confidence < rules.min_confidence,
    }
    return tuple(reason for reason, holds in found.items() if holds)


def is_unsupported(answer: str, question: str, steps: Sequence[Step]) -> bool:
    """Whether nothing that was found supports the answer. False where nothing was looked for: an answer from
    the model's own knowledge says so by its steps.
    """
    looked = any(isinstance(step.action, Search) or step.passages for step in steps)
    return looked and not supported(answer, question, steps, passages=True)


def is_unnamed(steps: Sequence[Step]) -> bool:
    """Whether the last query has a name, and no passage that its search found holds one."""
    last = _last_search(steps)
    return last is not None and names_missing(last.query, last.passages)


def is_untold(answer: str, question: str, steps: Sequence[Step]) -> bool:
    """Whether passages of the last search hold the answer, and none of these a word of what its query asks.
    False where that cannot be judged: a yes or no, an option that the question names, an answer of another
    search, a query that is no more than a name.
    """
    last = _last_search(steps)
    if last is None or needs_no_text(answer, question):
        return False
    asked = relation_words(last.query)
    holding = [each for each in last.passages if holds(each.contents, answer)]
    return bool(asked and holding) and not any(shares_word(asked, each) for each in holding)


def answer_confidence(answer: str, replies: Sequence[Sequence[Token]]) -> float | None:
    """The geometric mean of the probabilities of the answer's tokens, in [0, 1], where it stands last in the
    newest of the replies that hold it, as whole words if it does anywhere; None where no reply holds it.
    """
    wanted = answer.strip()
    for tokens in reversed(replies) if wanted else ():
        start = _last_place(wanted, "".join(token.text for token in tokens))
        if start >= 0:
            own = _overlapping(tokens, start, start + len(wanted))
            mean = sum(own) / len(own)  # -inf for an impossible token
            return None if math.isnan(mean) else math.exp(min(mean, 0.0))
    return None


def drafted(trajectory: Trajectory) -> str:
    """The answer before abstention."""
    noted = _note_in(trajectory.provenance)
    return str(noted["withheld"]) if noted else trajectory.answer


def withheld_text(provenance: Mapping[str, Any]) -> str:
    """`Paris (unsupported, unnamed)`: the withheld answer and why, for people; "" where none was withheld."""
    noted = _note_in(provenance)
    why = ", ".join(map(str, noted.get("reasons", ())))
    return f"{noted['withheld'] or '(nothing)'} ({why.replace('_', ' ')})" if noted else ""


def note_of(why: Sequence[Reason], answer: str) -> dict[str, Any]:
    """What provenance records of an abstention."""
    return {"reasons": [reason.value for reason in why], "withheld": answer}


def is_unanswerable(golds: Sequence[str]) -> bool:
    """Whether the golds say that the question cannot be answered."""
    return bool(golds) and all(normal_form(gold) == NO_ANSWER for gold in golds)


def abstains(answer: str, golds: Sequence[str], *, exact: bool) -> bool:
    """Whether an answer is an abstention in any words; one that is an `exact` match of a gold answer is none
    ("Unknown" may be the name of a film).
    """
    return normalize_answer(answer) == NO_ANSWER and (is_unanswerable(golds) or not exact)


def abstention_figures(answer: str, golds: Sequence[str], *, exact: bool) -> dict[str, float]:
    """The outcome as four figures of which one is 1.0 (`OUTCOMES`), `coverage` (1.0: answered), and
    `em_answered`, the exact match of what was answered (absent for an abstention).
    """
    abstained = abstains(answer, golds, exact=exact)
    right = is_unanswerable(golds) if abstained else exact
    outcome = f"{'abstained' if abstained else 'answered'}_{'right' if right else 'wrong'}"
    found = {name: float(name == outcome) for name in OUTCOMES} | {"coverage": float(not abstained)}
    return found if abstained else found | {"em_answered": float(exact)}


class _Last(NamedTuple):
    """The last search: its query, and its passages or, where it recorded none, its observation."""

    query: str
    passages: Sequence[Passage]


def _last_search(steps: Sequence[Step]) -> _Last | None:
    for step in reversed(steps):
        if isinstance(step.action, Search):
            return _Last(step.action.query, step.passages or (Passage("", "", step.observation or ""),))
    return None


def _note_in(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `note_of` wrote; {} for anything else."""
    noted = provenance.get(ABSTAINED)
    if isinstance(noted, dict) and "withheld" in noted and isinstance(noted.get("reasons"), list):
        return noted
    return {}


def _last_place(wanted: str, text: str) -> int:
    """Where `wanted` begins last, as whole words before parts of words ("no" in "know"); -1 for nowhere."""
    whole = [found.start() for found in re.finditer(rf"(?<!\w){re.escape(wanted)}(?!\w)", text)]
    return whole[-1] if whole else text.rfind(wanted)


def counts_text(counts: Mapping[str, int]) -> str:
    """`3 answered rightly, 1 answered wrongly, …`: the questions with each of `OUTCOMES`, in words."""
    return ", ".join(f"{counts[name]:,} {metric(name).title.lower()}" for name in OUTCOMES)


def _overlapping(tokens: Sequence[Token], start: int, end: int) -> list[float]:
    """The log-probabilities of the tokens with a character in [start, end)."""
    found, at = [], 0
    for token in tokens:
        if at < end and at + len(token.text) > start:
            found.append(token.logprob)
        at += len(token.text)
    return found
