"""Stage `rank`: every reranker scores the same candidates of the evaluation questions.

A line of the comparison is no reranker, the untuned one, or the one of a blend. Each gives a file of
rankings in `comparison/`, which a reader's run can search (`retriever: ranked:FILE`) and
`src_eval.rerankers` scores. The same rerankers score some training questions (`page/`), for the page that
shows candidates with all their scores. `readers.yaml` is the evaluation of a reader over all lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from src_core.errors import UserError
from src_core.jsonl import rewrite_jsonl, write_atomic
from src_core.progress import Steps
from src_core.rankings import RankedPassage, Ranking, passages_beside
from src_core.types import to_json
from src_data.radio.config import NONE, UNTUNED, Comparison, RadioConfig
from src_data.radio.files import COMPARISON
from src_retrieval.scoring import PassageReranker, RerankOptions

READERS = "readers.yaml"
PAGE = "page"
RERANK = "rerank"
_AT_ONCE = 16
"""Questions whose pairs are batched together."""


class Line(NamedTuple):
    """One line of the comparison; without `options` it is the retriever's ranking."""

    label: str
    options: RerankOptions | None


def lines_of(config: RadioConfig) -> list[Line]:
    """The lines in their order. Raises `UserError` where no reranker is configured, or one was not trained
    yet.
    """
    base = config.comparison.rerank
    if base is None:
        raise UserError(
            "the comparison has no reranker; set comparison.rerank.model to the one that was tuned"
        )
    tuned = [
        Line(blend.label, replace(base, model=config.tuned_model(blend.label))) for blend in config.blends
    ]
    for line in tuned:
        if line.options is not None and not Path(line.options.model).is_dir():
            raise UserError(
                f"there is no reranker {line.options.model} of the blend {line.label!r}; train it (stage "
                "finetune), or leave the blend out of blends"
            )
    return [Line(NONE, None), Line(UNTUNED, base), *tuned]


def rank(
    path: Path, rankings: Sequence[Ranking], reranker: PassageReranker | None, *, steps: Steps, label: str
) -> int:
    """Write the rankings under a reranker to `path` (atomically), best first; ties keep their order, and the
    retriever's scores stay. The passages lie in the folder above or beside. Returns the number of pairs.
    """
    if reranker is None:
        rewrite_jsonl(path, map(to_json, rankings))
        return 0
    texts = {name: passage.contents for name, passage in passages_beside(path).items()}

    def rows() -> Iterator[bytes]:
        waiting = iter(rankings)
        with steps(f"questions reranked by {label}", total=len(rankings)) as progress:
            while batch := list(islice(waiting, _AT_ONCE)):
                passages = [[texts[name] for name in ranking.ids] for ranking in batch]
                scores = reranker.scores([ranking.query for ranking in batch], passages)
                for ranking, found in zip(batch, scores, strict=True):
                    yield to_json(reranked(ranking, found))
                progress.advance(len(batch))

    rewrite_jsonl(path, rows())
    return sum(len(ranking.passages) for ranking in rankings)


def reranked(ranking: Ranking, scores: Sequence[float]) -> Ranking:
    """A ranking in the order of a reranker's scores, which join the others."""
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


def ranking_digest(rankings: Sequence[Ranking]) -> str:
    """Hash of queries and passages, in their order."""
    digest = hashlib.sha256()
    for ranking in rankings:
        digest.update("\x1f".join([ranking.query, *ranking.ids, "\x1e"]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def readers_yaml(config: RadioConfig, lines: Sequence[Line]) -> bytes:
    """The evaluation of a reader on the rankings of each line (a configuration of `src_eval.run`)."""
    found: Comparison = config.comparison
    folder = config.folder / COMPARISON
    values: dict[str, Any] = {
        "name": config.run_name,
        "infer": found.infer,
        "methods": [
            {
                "method": "naive_rag",
                "label": line.label,
                "settings": [f"retriever=ranked:{folder / line.label}.jsonl", f"top_k={found.top_k}"],
            }
            for line in lines
        ],
        "datasets": [{"name": each.name, "path": each.path, "n": each.n} for each in found.datasets],
        "settings": list(found.settings),
        "baseline": NONE,
        "runs_dir": config.runs_dir,
    }
    head = f"# bash scripts/evaluate.sh {folder / READERS}\n"
    return head.encode() + yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()


def write_readers(config: RadioConfig, lines: Sequence[Line]) -> Path:
    """Write the evaluation of the reader. Returns its path."""
    path = config.folder / COMPARISON / READERS
    write_atomic(path, readers_yaml(config, lines))
    return path
