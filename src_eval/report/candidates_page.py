"""The page of candidates: of single questions every passage that was retrieved, with its ranks and scores
under the retriever, the rationale, the blends and each reranker, and marks on known gold passages. Plain HTML
without a script; what was retrieved or written by a model is text.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from src_core.html_page import fill_page
from src_core.jsonl import read_jsonl, write_atomic
from src_core.rankings import PASSAGES, Ranking, read_passages, read_rankings
from src_core.text import shorten
from src_core.types import Passage, Question, question_from_json, to_json
from src_eval.report.report_page import page_part
from src_tasks.retrieval import whole_id

CANDIDATES_PAGE = "candidates.html"
QUESTIONS = "questions.jsonl"
RATIONALE = "rationale"
"""The key of a question's meta that holds its rationale."""
RERANK = "rerank"
_SHOWN_FIRST = ("retrieval", "rationale")
_HIDDEN = ("_scaled", RERANK)
_EXCERPT = 320

Scores = Mapping[str, Ranking]


def write_candidates_page(path: Path, folder: Path, labels: Sequence[str]) -> bool:
    """Write the page of the questions in `folder`: `questions.jsonl`, `passages.jsonl`, and a file of
    rankings per label, the retriever's first. Returns False, and writes nothing, where there are none.
    """
    if not (folder / QUESTIONS).is_file():
        return False
    questions = [question_from_json(to_json(row)) for row in read_jsonl(folder / QUESTIONS)]
    if not questions:
        return False
    passages = {passage.id: passage for passage in read_passages(folder / PASSAGES)}
    rankings = {label: read_rankings(folder / f"{label}.jsonl") for label in labels}
    body = "".join(_body(questions, passages, rankings)).replace("{", "&#123;")  # not a place of the template
    page = page_part("evaluation.html").replace("<!-- body -->", body)
    style = page_part("evaluation.css") + page_part("candidates.css")
    write_atomic(path, fill_page(page, title="candidates", style=style, script="", data={}))
    return True


def _body(
    questions: Sequence[Question], passages: Mapping[str, Passage], rankings: Mapping[str, Scores]
) -> Iterator[str]:
    labels = ", ".join(list(rankings)[1:]) or "none"
    yield "<h1>Candidates under every score</h1>"
    yield (
        "<p class=dim>Passages in the retriever's order. Each cell is the rank under that score, then the "
        f"score; a gold passage is marked. Rerankers: {_text(labels)}.</p>"
    )
    for number, question in enumerate(questions):
        yield f"<details class=question{' open' if number == 0 else ''}>"
        yield f"<summary>{_text(question.question)}</summary>"
        golds = "".join(f"<mark class=gold>{_text(answer)}</mark>" for answer in question.answers)
        yield f"<p class=golds>{golds}</p>"
        rationale = str(question.meta.get(RATIONALE) or "")
        if rationale:
            yield f"<p class=label>Rationale</p><p class=prose>{_text(rationale)}</p>"
        yield from _table(
            question, passages, {label: rows.get(question.id) for label, rows in rankings.items()}
        )
        yield "</details>"


def _table(
    question: Question, passages: Mapping[str, Passage], rankings: Mapping[str, Ranking | None]
) -> Iterator[str]:
    columns = _columns(rankings)
    first = next((ranking for ranking in rankings.values() if ranking is not None), None)
    if first is None:
        yield "<p>(no candidates)</p>"
        return
    heads = "".join(f"<th>{_text(name)}</th>" for name in columns)
    yield f"<table><thead><tr><th>#</th><th>passage</th>{heads}</tr></thead><tbody>"
    ranks = {name: _ranks(scores) for name, scores in columns.items()}
    for at, name in enumerate(first.ids, start=1):
        gold = whole_id(name, question.supporting) in question.supporting
        cells = "".join(_cell(ranks[column].get(name), columns[column].get(name)) for column in columns)
        shown = _passage(name, passages.get(name), gold=gold)
        yield f"<tr{' class=gold' if gold else ''}><td>{at}</td><th>{shown}</th>{cells}</tr>"
    yield "</tbody></table>"


def _columns(rankings: Mapping[str, Ranking | None]) -> dict[str, dict[str, float]]:
    """Per column, the score of each passage: the named scores of the first ranking, then each reranker's."""
    columns: dict[str, dict[str, float]] = {}
    first = next((ranking for ranking in rankings.values() if ranking is not None), None)
    for passage in first.passages if first else ():
        for name, score in passage.scores.items():
            if not name.endswith(_HIDDEN):
                columns.setdefault(name, {})[passage.id] = score
    columns = {name: columns[name] for name in sorted(columns, key=_place)}
    for label, ranking in rankings.items():
        scores = (
            {each.id: each.scores[RERANK] for each in ranking.passages if RERANK in each.scores}
            if ranking
            else {}
        )
        if scores:
            columns[f"reranker {label}"] = scores
    return columns


def _place(name: str) -> tuple[int, str]:
    return (_SHOWN_FIRST.index(name), "") if name in _SHOWN_FIRST else (len(_SHOWN_FIRST), name)


def _ranks(scores: Mapping[str, float]) -> dict[str, int]:
    """Ranks from 1 by descending score; ties keep their order."""
    order = sorted(scores, key=lambda name: -scores[name])
    return {name: rank for rank, name in enumerate(order, start=1)}


def _cell(rank: int | None, score: float | None) -> str:
    if rank is None or score is None:
        return "<td>-</td>"
    return f"<td class={'best' if rank == 1 else 'other'}><b>{rank}</b> {score:.3f}</td>"


def _passage(name: str, passage: Passage | None, *, gold: bool) -> str:
    mark = "<mark class=gold>gold</mark> " if gold else ""
    if passage is None:
        return mark + _text(name)
    text = shorten(passage.text, _EXCERPT)
    title = _text(passage.title or name)
    return f"<details><summary>{mark}{title}</summary><p class=prose>{_text(text)}</p></details>"


def _text(value: str) -> str:
    return html.escape(value, quote=True)
