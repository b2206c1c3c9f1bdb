"""Stage `candidates`: the best passages of any search pipeline for each question (RADIO, reference
radio_flashrag.md, section 1.3: 50 by E5-base-v2 over wiki18).

Rows are rankings (`src_core.rankings`). A second passage of the same text is left out: in a group it would be
positive and negative at once. A failed search is a row with its error, which the next run repeats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from src_core.errors import RetrieverError
from src_core.rankings import PassageFile, RankedPassage, Ranking, finish_rankings, read_rankings
from src_core.types import Question
from src_data.radio.config import CandidateSettings
from src_infer.rag_engine import unique_passages
from src_infer.runner import run_all
from src_retrieval.client import Retriever
from src_tasks.choices import asked_text
from src_tasks.retrieval import whole_id


class Found(NamedTuple):
    """The candidates on disk: questions, passages over all questions, distinct ones, questions with known
    gold passages, those that have one of them among their candidates, and failed searches by error.
    """

    questions: int
    passages: int
    distinct: int
    with_gold: int
    gold_found: int
    failures: Counter[str]

    @property
    def ratio(self) -> float:
        """Encodes of the release (each passage of each question) over distinct passages."""
        return self.passages / max(self.distinct, 1)


def search_text(question: Question, settings: CandidateSettings) -> str:
    """The query of a question."""
    return asked_text(question) if settings.with_choices else question.question


async def collect(
    path: Path,
    questions: Sequence[Question],
    *,
    retriever: Retriever,
    settings: CandidateSettings,
    top_n: int,
    on_row: Callable[[int], None],
) -> Found:
    """Search for the questions that the file of rankings `path` does not hold yet. `on_row` gets the number
    of questions that are done with each row (at first, those of an earlier run).
    """
    done = finish_rankings(path)
    todo = [question for question in questions if question.id not in done]
    on_row(len(questions) - len(todo))
    passages = PassageFile(path.parent)
    failures: Counter[str] = Counter()

    async def search(question: Question) -> Ranking:
        query = search_text(question, settings)
        try:
            found = unique_passages(await retriever.search(query, top_n))
        except RetrieverError as error:
            return Ranking(question.id, query, error=str(error))
        passages.add(found)  # before the row that names them
        ranked = (RankedPassage(each.id, each.scores) for each in found)
        return Ranking(question.id, query, tuple(ranked))

    def count(row: Ranking) -> None:
        if row.error:
            failures[row.error] += 1
        on_row(1)

    try:
        await run_all(todo, answer=search, in_flight=settings.in_flight, rows=path, on_row=count)
    finally:
        passages.close()
    return counted(path, questions, failures)


def counted(path: Path, questions: Sequence[Question], failures: Counter[str] | None = None) -> Found:
    """What a file of rankings holds of these questions."""
    rankings = read_rankings(path)
    rows = [rankings[question.id] for question in questions if question.id in rankings]
    distinct = {name for row in rows for name in row.ids}
    golds = [(each.supporting, rankings[each.id].ids) for each in questions if each.id in rankings]
    found = [any(whole_id(name, gold) in gold for name in ids) for gold, ids in golds if gold]
    passages = sum(len(row.ids) for row in rows)
    return Found(len(rows), passages, len(distinct), len(found), sum(found), failures or Counter())
