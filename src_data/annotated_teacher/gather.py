"""Chains for a question whose annotation only names its supporting passages (HotpotQA without a description
that can be cut out): search the question itself, then whatever supporting passage the observations mention
and have not shown, until the answer is told.

Which passage comes first is decided by what was retrieved, not by the annotation: a title is asked for only
once the question or an observation has named it, so that no query knows more than a reader could.
"""

from __future__ import annotations

from collections.abc import Sequence

from src_core.types import Action, Finish, Passage, Search, Step
from src_data.annotated_teacher import thought_templates
from src_data.annotated_teacher.decomposition import Plan, bare_title
from src_data.annotated_teacher.mentions import find_mention
from src_data.annotated_teacher.quotes import nearest_quote, telling_quote
from src_data.filters.answer_rules import CLOSED
from src_tasks.answers import normalize_answer

GAVE_UP = "unknown"


def next_gathering_step(made: Plan, steps: Sequence[Step], *, key: str) -> tuple[str, Action]:
    """The thought and action that follow `steps`, for a plan of kind `GATHER`."""
    question = made.hops[0].queries[0]
    if not steps:
        return thought_templates.gather_opening(key=key), Search(question)
    shown = _shown(made.titles, steps)
    missing = [title for title in made.titles if title not in shown]
    told = _told(made, steps, shown, complete=not missing)
    if told:
        return thought_templates.quoting_conclusion(told, made.answer, key=key), Finish(made.answer)
    wanted = _mentioned(missing, question, steps)
    asked = [step.action.query for step in steps if isinstance(step.action, Search)]
    for name in map(bare_title, wanted):
        if name not in asked:  # the name alone: more words would only draw other passages
            return thought_templates.gather_onward(list(shown), name, key=key), Search(name)
    return "The passages that would tell the answer cannot be found, so I stop here.", Finish(GAVE_UP)


def _shown(titles: Sequence[str], steps: Sequence[Step]) -> dict[str, Passage]:
    """The supporting passages that were retrieved, by title, in the order in which they were."""
    named = {normalize_answer(title): title for title in titles}
    found: dict[str, Passage] = {}
    for passage in (passage for step in steps for passage in step.passages):
        title = named.get(normalize_answer(passage.title))
        if title is not None:
            found.setdefault(title, passage)
    return found


def _told(made: Plan, steps: Sequence[Step], shown: dict[str, Passage], *, complete: bool) -> list[str]:
    """The sentences that tell the answer: that of a supporting passage which mentions it, or, for a yes or
    no and for one of two titles, the one of each passage that is nearest to the question. Empty while the
    passages are not all there.
    """
    observed = "\n".join(step.observation or "" for step in steps)
    closed = normalize_answer(made.answer) in CLOSED
    if not complete:
        return []
    if closed or any(normalize_answer(made.answer) == normalize_answer(bare_title(t)) for t in shown):
        asked = made.hops[0].queries[0]
        return [quote for passage in shown.values() if (quote := nearest_quote(passage, asked, observed))]
    quotes = (telling_quote(passage, made.hops[0].answers, observed) for passage in reversed(shown.values()))
    return [quote for quote in quotes if quote][:1]


def _mentioned(missing: Sequence[str], question: str, steps: Sequence[Step]) -> list[str]:
    """Of `missing`, the titles that an observation or the question names, those of observations first."""
    texts = (*(step.observation or "" for step in reversed(steps)), question)
    return list(
        dict.fromkeys(
            title for text in texts for title in missing if find_mention(text, (bare_title(title),))
        )
    )
