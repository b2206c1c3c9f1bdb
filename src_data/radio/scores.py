"""Stage `scores`: each candidate's similarity to the rationale, beside the retriever's score, in one table.

Every distinct passage is encoded once for all questions (`src_retrieval.scoring`). The query is `question.
answers. rationale`, the answers as Python prints their list (RADIO, reference radio_flashrag.md, section
1.3), or the rationale alone. A row is a ranking in the retriever's order whose passages have four scores:
`retrieval` and `rationale` as they are, `retrieval_scaled` and `rationale_scaled` by min-max over the
question, so that another weight needs no model. A question without a rationale has no rationale scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import orjson

from src_core.jsonl import rewrite_jsonl
from src_core.progress import Steps
from src_core.rankings import RankedPassage, Ranking, texts_beside
from src_core.types import Question, to_json
from src_data.radio.config import Query
from src_data.radio.rationales import Rationale
from src_retrieval.scoring import Similarity, min_max

RETRIEVAL, RATIONALE = "retrieval", "rationale"
SCALED = "_scaled"
_AT_ONCE = 64


class Scored(NamedTuple):
    """What was scored: questions with and without a rationale, candidates over all questions, distinct texts
    among them, and those of them that were encoded in this run, or taken from an index.
    """

    with_rationale: int
    without_rationale: int
    candidates: int
    distinct: int
    encoded: int
    taken: int

    @property
    def ratio(self) -> float:
        """Encodes of the release (each candidate of each question) over those that were needed."""
        return self.candidates / max(self.distinct, 1)


def score_candidates(
    path: Path,
    rankings: Mapping[str, Ranking],
    questions: Sequence[Question],
    rationales: Mapping[str, Rationale],
    *,
    similarity: Similarity,
    query: Query,
    steps: Steps,
) -> Scored:
    """Write the table of scores to `path` (atomically), in the order of the questions. `path` is beside the
    passages of the rankings. Raises `UserError` where a passage is missing there.
    """
    wanted = [question for question in questions if question.id in rankings]
    texts = texts_beside(path, [rankings[question.id] for question in wanted])
    judged = [question for question in wanted if question.id in rationales]
    candidates = [texts[name] for question in judged for name in rankings[question.id].ids]
    distinct = dict.fromkeys(candidates)
    encoded = similarity.encode(distinct, steps=steps)

    def rows() -> Iterator[bytes]:
        with steps("questions scored", total=len(wanted)) as progress:
            waiting = iter(wanted)
            while batch := list(islice(waiting, _AT_ONCE)):
                found = _similarities(batch, rankings, rationales, texts, similarity=similarity, query=query)
                for question in batch:
                    yield to_json(_with_scores(rankings[question.id], found.get(question.id)))
                progress.advance(len(batch))

    rewrite_jsonl(path, rows())
    return Scored(len(judged), len(wanted) - len(judged), len(candidates), len(distinct), *encoded)


def sources_digest(
    rankings: Mapping[str, Ranking], questions: Sequence[Question], rationales: Mapping[str, Rationale]
) -> str:
    """A hash of what a table is made of: the candidates of these questions and their rationales."""
    hashed = hashlib.sha256()
    for question in questions:
        ranking, rationale = rankings.get(question.id), rationales.get(question.id)
        facts = [question.id, ranking and ranking.ids, rationale and rationale.text]
        hashed.update(orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE))
    return hashed.hexdigest()[:16]


def query_text(question: Question, rationale: Rationale, query: Query) -> str:
    """The query of the rationale score."""
    if query is Query.RATIONALE:
        return rationale.text
    return f"{question.question}. {list(question.answers)}. {rationale.text}"


def retrieval_scores(ranking: Ranking) -> list[float]:
    """The retriever's score of each passage; one that gives no scores counts by its ranks."""
    raw = [passage.scores.get(RETRIEVAL) for passage in ranking.passages]
    known = [score for score in raw if score is not None]
    return known if len(known) == len(raw) else [float(len(raw) - rank) for rank in range(len(raw))]


def _similarities(
    batch: Sequence[Question],
    rankings: Mapping[str, Ranking],
    rationales: Mapping[str, Rationale],
    texts: Mapping[str, str],
    *,
    similarity: Similarity,
    query: Query,
) -> dict[str, list[float]]:
    judged = [question for question in batch if question.id in rationales]
    if not judged:
        return {}
    queries = [query_text(question, rationales[question.id], query) for question in judged]
    candidates = [[texts[name] for name in rankings[question.id].ids] for question in judged]
    found = similarity.scores(queries, candidates)
    return {question.id: scores for question, scores in zip(judged, found, strict=True)}


def _with_scores(ranking: Ranking, similarities: Sequence[float] | None) -> Ranking:
    """The row of the table."""
    retrieval = retrieval_scores(ranking)
    columns = {RETRIEVAL: retrieval, RETRIEVAL + SCALED: min_max(retrieval)}
    if similarities is not None:
        columns |= {RATIONALE: list(similarities), RATIONALE + SCALED: min_max(similarities)}
    passages = (
        RankedPassage(passage.id, {name: column[at] for name, column in columns.items()})
        for at, passage in enumerate(ranking.passages)
    )
    return Ranking(ranking.id, ranking.query, tuple(passages))
