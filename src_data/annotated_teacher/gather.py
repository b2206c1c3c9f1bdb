"""Steps for a question whose annotation only names its supporting passages (HotpotQA without a description
that can be cut out): search the question itself, then every supporting passage that an observation mentions
and that is not yet retrieved, until one states the answer.

The order of the passages follows retrieval, not the annotation: a title is searched only after the question
or an observation has named it, so that no query uses unobserved information.
"""

from __future__ import annotations

from collections.abc import Sequence

from src_core.types import Action, Finish, Passage, Search, Step
from src_data.annotated_teacher import thought_templates
from src_data.annotated_teacher.decomposition import Decomposition, bare_title
from src_data.annotated_teacher.mentions import find_mention
from src_data.annotated_teacher.quotes import answer_quote, nearest_quote
from src_tasks.answers import CLOSED, normalize_answer

NOT_FOUND = "unknown"


def next_gather_step(decomposition: Decomposition, steps: Sequence[Step], *, key: str) -> tuple[str, Action]:
    """The thought and action that follow `steps`, for a decomposition of kind `GATHER`."""
    question = decomposition.hops[0].queries[0]
    if not steps:
        return thought_templates.first_gather_thought(key=key), Search(question)
    shown = _shown(decomposition.titles, steps)
    missing = [title for title in decomposition.titles if title not in shown]
    quotes = _answer_quotes(decomposition, steps, shown, complete=not missing)
    if quotes:
        answer = decomposition.answer
        return thought_templates.final_thought_with_quotes(quotes, answer, key=key), Finish(answer)
    wanted = _mentioned(missing, question, steps)
    asked = [step.action.query for step in steps if isinstance(step.action, Search)]
    for name in map(bare_title, wanted):
        if name not in asked:  # the name alone: more words would retrieve other passages
            return thought_templates.next_gather_thought(list(shown), name, key=key), Search(name)
    return "The passages that would tell the answer cannot be found, so I stop here.", Finish(NOT_FOUND)


def _shown(titles: Sequence[str], steps: Sequence[Step]) -> dict[str, Passage]:
    """The supporting passages that were retrieved, by title, in the order of retrieval."""
    named = {normalize_answer(title): title for title in titles}
    found: dict[str, Passage] = {}
    for passage in (passage for step in steps for passage in step.passages):
        title = named.get(normalize_answer(passage.title))
        if title is not None:
            found.setdefault(title, passage)
    return found


def _answer_quotes(
    decomposition: Decomposition, steps: Sequence[Step], shown: dict[str, Passage], *, complete: bool
) -> list[str]:
    """The sentences that state the answer: the sentence of a supporting passage that mentions it, or, where
    the answer is yes, no or one of two titles, the sentence of each passage that is most similar to the
    question. Empty until all supporting passages were retrieved.
    """
    observed = "\n".join(step.observation or "" for step in steps)
    answer = normalize_answer(decomposition.answer)
    if not complete:
        return []
    if answer in CLOSED or any(answer == normalize_answer(bare_title(title)) for title in shown):
        asked = decomposition.hops[0].queries[0]
        return [quote for passage in shown.values() if (quote := nearest_quote(passage, asked, observed))]
    quotes = (
        answer_quote(passage, decomposition.hops[0].answers, observed) for passage in reversed(shown.values())
    )
    return [quote for quote in quotes if quote][:1]


def _mentioned(missing: Sequence[str], question: str, steps: Sequence[Step]) -> list[str]:
    """Of `missing`, the titles that an observation or the question names, those of observations first."""
    texts = (*(step.observation or "" for step in reversed(steps)), question)
    return list(
        dict.fromkeys(
            title for text in texts for title in missing if find_mention(text, (bare_title(title),))
        )
    )
