"""Rerankers side by side: every one of them scores the same candidates.

A line of the comparison is no reranker, the one of a blend, or another one (`config.Comparison`). Each gives
a file of rankings, which a reader's run can search (`retriever: ranked:FILE`) and `src_eval.rerankers`
scores. `readers.yaml`, beside the rankings, is the evaluation of a reader over all lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from src_core.caller import in_command
from src_core.errors import UserError
from src_core.jsonl import JsonlWriter, rewrite_jsonl, write_atomic
from src_core.progress import Steps
from src_core.rankings import RankedPassage, Ranking, read_rankings, texts_beside
from src_core.types import to_json
from src_data.radio.config import NONE, RadioConfig
from src_data.radio.scores import retrieval_scores
from src_retrieval.scoring import PassageReranker, RerankOptions, with_retrieval

READERS = "readers.yaml"
RERANK = "rerank"
_AT_ONCE = 16
"""Questions whose pairs are batched together."""


class Line(NamedTuple):
    """One line of the comparison; without `options` it is the retriever's ranking."""

    label: str
    options: RerankOptions | None


class Lines(NamedTuple):
    """The lines that can be ranked, in their order, and the labels of those whose reranker is not there."""

    present: list[Line]
    missing: list[str]


def lines_of(config: RadioConfig) -> Lines:
    """The lines of the comparison, those that give the retriever a share last: they may take the scores of an
    earlier line. A reranker that is trained in this run may not be there (yet).
    """
    rerankers = [(each.label, each.rerank) for each in config.comparison.others]
    rerankers += [(blend.label, config.comparison.tuned) for blend in config.blends]
    rerankers.sort(key=lambda line: line[1].retrieval_weight > 0)
    present, missing = [Line(NONE, None)], []
    for label, options in rerankers:
        model = config.model_of(options.model, label)
        if model != options.model and not Path(model).is_dir():
            missing.append(label)
        else:
            present.append(Line(label, replace(options, model=model)))
    return Lines(present, missing)


class Ranked(NamedTuple):
    """How many questions were ranked, and the pairs that were scored for them."""

    questions: int
    pairs: int


def rank(
    path: Path,
    rankings: Sequence[Ranking],
    reranker: PassageReranker | None,
    *,
    steps: Steps,
    label: str,
    judged: Path | None = None,
) -> Ranked:
    """Write the rankings under a reranker to `path`, best first, a batch at a time; ties keep their order,
    and the retriever's scores stay. The passages lie in the folder above or beside. Rows that `path` holds
    already for the same candidates are kept and stay first, so that an interrupted call goes on, and with
    more questions the file only grows: a run that reads it goes on too (`src_core.served`).
    `judged` is a file of the same reranker's own scores, without a share of the retriever's: what it holds is
    not scored again.
    """
    kept = _rows_of_same_candidates(path, rankings)
    new = [ranking for ranking in rankings if ranking.id not in kept]
    if reranker is None:
        rewrite_jsonl(path, map(to_json, chain(kept.values(), new)))
        return Ranked(len(new), 0)
    own = _rows_of_same_candidates(judged, new) if judged is not None else {}
    ready = (_again(ranking, own[ranking.id], reranker) for ranking in new if ranking.id in own)
    todo = [ranking for ranking in new if ranking.id not in own]
    rewrite_jsonl(path, map(to_json, chain(kept.values(), ready)))
    if todo:
        with JsonlWriter(path) as writer:
            for batch in _reranked_batches(path, todo, reranker, steps=steps, label=label):
                writer.write_many(list(map(to_json, batch)))
    return Ranked(len(new), sum(len(ranking.passages) for ranking in todo))


def _again(ranking: Ranking, judged: Ranking, reranker: PassageReranker) -> Ranking:
    """A ranking by scores that the reranker has given before."""
    scores = {passage.id: passage.scores[RERANK] for passage in judged.passages}
    own = [scores[name] for name in ranking.ids]
    return reranked(ranking, own, retrieval_weight=reranker.retrieval_weight)


def _rows_of_same_candidates(path: Path, rankings: Sequence[Ranking]) -> dict[str, Ranking]:
    """The rows of `path` that rank these very candidates, by question id, in the order of the file."""
    if not path.is_file():
        return {}
    wanted = {ranking.id: _candidates(ranking) for ranking in rankings}
    return {name: row for name, row in read_rankings(path).items() if wanted.get(name) == _candidates(row)}


def _candidates(ranking: Ranking) -> tuple[str, dict[str, dict[str, float]]]:
    """What a reranker is given: the query, and the passages with the scores that they had before."""
    return ranking.query, {
        passage.id: {name: score for name, score in passage.scores.items() if name != RERANK}
        for passage in ranking.passages
    }


def _reranked_batches(
    path: Path, rankings: Sequence[Ranking], reranker: PassageReranker, *, steps: Steps, label: str
) -> Iterator[list[Ranking]]:
    texts = texts_beside(path, rankings)
    waiting = iter(rankings)
    with steps(f"questions reranked by {label}", total=len(rankings)) as progress:
        while batch := list(islice(waiting, _AT_ONCE)):
            passages = [[texts[name] for name in ranking.ids] for ranking in batch]
            scores = reranker.scores([ranking.query for ranking in batch], passages)
            share = reranker.retrieval_weight
            yield [
                reranked(ranking, found, retrieval_weight=share)
                for ranking, found in zip(batch, scores, strict=True)
            ]
            progress.advance(len(batch))


def reranked(ranking: Ranking, scores: Sequence[float], *, retrieval_weight: float = 0.0) -> Ranking:
    """A ranking in the order of a reranker's scores, which join the others, as the server orders it. A
    retriever that gives no scores counts by its ranks.
    """
    scores = with_retrieval(scores, retrieval_scores(ranking), weight=retrieval_weight)
    passages = [
        RankedPassage(passage.id, {**passage.scores, RERANK: score})
        for passage, score in zip(ranking.passages, scores, strict=True)
    ]
    return replace(ranking, passages=tuple(sorted(passages, key=lambda each: -each.scores[RERANK])))


def first(rankings: Mapping[str, Ranking], ids: Sequence[str], *, top_n: int) -> list[Ranking]:
    """The best `top_n` passages of these questions. Raises `UserError` for a question without candidates."""
    missing = [name for name in ids if name not in rankings]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(ids)} questions have no candidates; run the stage 'candidates' again"
        )
    return [replace(rankings[name], passages=rankings[name].passages[:top_n]) for name in ids]


class Reading(NamedTuple):
    """What reads the rankings in `folder`: a name of its runs (`eval-NAME-…`), the configuration of a run and
    its settings, a line each (`methods`), and the question sets.
    """

    folder: Path
    name: str
    infer: str
    settings: Sequence[str]
    methods: Sequence[dict[str, Any]]
    datasets: Sequence[dict[str, Any]]
    metrics: Sequence[str]


def write_reading(reading: Reading, *, file: str, runs_dir: str) -> Path:
    """Write the evaluation of a reader (a configuration of `src_eval.run`). Returns its path. The first line
    is the baseline.
    """
    path = reading.folder / file
    values = {
        "name": reading.name,
        "infer": reading.infer,
        "methods": list(reading.methods),
        "datasets": list(reading.datasets),
        "settings": list(reading.settings),
        "baseline": reading.methods[0]["label"],
        "metrics": list(reading.metrics),
        "runs_dir": runs_dir,
    }
    head = f"# bash scripts/evaluate.sh {in_command(path, at_home=True)}\n"
    write_atomic(path, head.encode() + yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode())
    return path


def reading_line(method: str, label: str, settings: Sequence[str]) -> dict[str, Any]:
    """A line of a reader's evaluation."""
    return {"method": method, "label": label, "settings": list(settings)}


def ranked_by(folder: Path, label: str, *, top_k: int) -> list[str]:
    """The settings of a run that reads the best `top_k` passages under the line `label`."""
    return [f"retriever=ranked:{folder / label}.jsonl", f"top_k={top_k}"]
