"""The stages that need no server: they read what the others wrote (`server_stages`), and run models in this
process where they need some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from src_core.config import dump
from src_core.jsonl import rewrite_jsonl
from src_core.rankings import PASSAGES, Ranking, passages_beside, read_rankings
from src_core.types import to_json
from src_data.radio import files
from src_data.radio.compare import PAGE, Line, first, lines_of, rank, ranking_digest, write_readers
from src_data.radio.groups import VALIDATION, has_rationale, part_of, with_blends, write_groups
from src_data.radio.rationales import Rationale, written_rationales
from src_data.radio.scores import score_candidates
from src_data.radio.stage import Stage, evaluation_questions
from src_retrieval.scoring import PassageReranker, Similarity


def score(stage: Stage) -> int:
    """Stage `scores`."""
    candidates = files.require(stage.folder / files.CANDIDATES, "candidates")
    rationales = _rationales(stage)
    settings = stage.config.scores
    similarity = Similarity(settings, stage.folder)
    try:
        done = score_candidates(
            stage.folder / files.SCORES,
            read_rankings(candidates),
            stage.questions,
            rationales,
            similarity=similarity,
            query=settings.query,
            steps=stage.steps,
        )
    finally:
        similarity.close()
    record = files.read_record(stage.folder, "rationales")
    facts = {"rationales": {key: record.get(key) for key in ("prompt", "models")}}
    facts |= {"settings": dump(settings), "encoder": similarity.identity}
    files.write_record(stage.folder, "scores", {**facts, **done._asdict(), "ratio": done.ratio})
    stage.say(
        f"{done.with_rationale:,} questions with a rationale, {done.without_rationale:,} without; "
        f"{done.candidates:,} candidates are {done.distinct:,} distinct passages, each encoded once "
        f"({done.encoded:,} in this run): {done.ratio:.1f} times fewer encodes than per question"
    )
    stage.say(f"written: {stage.folder / files.SCORES}")
    return 0


def _rationales(stage: Stage) -> dict[str, Rationale]:
    """The usable rationales of the prompt and model that the stage `rationales` ran with last."""
    rows = files.require(stage.folder / files.RATIONALES, "rationales")
    record = files.read_record(stage.folder, "rationales")
    return written_rationales(rows, prompt=str(record.get("prompt", "")), models=record.get("models") or ())


def blend(stage: Stage) -> int:
    """Stage `blend`: the groups of every blend."""
    config = stage.config
    path = files.require(stage.folder / files.SCORES, "scores")
    table = read_rankings(path)
    record = {}
    for each in config.blends:
        done = write_groups(
            stage.folder / files.GROUPS,
            each,
            stage.questions,
            table,
            passages_of=path,
            held_out=config.held_out,
            without_rationale=config.without_rationale,
        )
        record[each.label] = {"settings": dump(each), "groups": done.groups, "left_out": done.left_out}
        left = ", ".join(f"{count:,} {reason}" for reason, count in done.left_out.items()) or "none"
        groups = ", ".join(f"{count:,} for {part}" for part, count in done.groups.items())
        stage.say(f"{each.label}: groups {groups}; questions left out: {left}")
    files.write_record(stage.folder, "blend", {"blends": record})
    stage.say(f"written: {stage.folder / files.GROUPS}/LABEL.train.jsonl and LABEL.validation.jsonl")
    return int(not any(part["groups"]["train"] for part in record.values()))


def rank_all(stage: Stage) -> int:
    """Stage `rank`: the evaluation questions and those of the page under every line."""
    config = stage.config
    lines = lines_of(config)
    folder = stage.folder / files.COMPARISON
    candidates = read_rankings(files.require(folder / files.CANDIDATES, "candidates"))
    asked = [question.id for question in evaluation_questions(config)]
    rankings = first(candidates, asked, top_n=config.comparison.top_n)
    page = _page_rankings(stage, folder / PAGE)
    of = ranking_digest([*rankings, *page])
    record = dict(files.read_record(folder, "rank").get("rerankers") or {})
    for line in lines:
        record[line.label] = _rank_line(stage, line, record, rankings=rankings, page=page, of=of)
        files.write_record(folder, "rank", {"top_n": config.comparison.top_n, "rerankers": record})
    stage.say(f"written: {folder}/LABEL.jsonl; the reader's evaluation is {write_readers(config, lines)}")
    return 0


def _rank_line(
    stage: Stage,
    line: Line,
    earlier: Mapping[str, Any],
    *,
    rankings: Sequence[Ranking],
    page: Sequence[Ranking],
    of: str,
) -> dict[str, Any]:
    """The rankings of one line, unless the same reranker has ranked the same candidates (`of`) before.
    Returns the line's record.
    """
    folder = stage.folder / files.COMPARISON
    paths = [folder / f"{line.label}.jsonl", folder / PAGE / f"{line.label}.jsonl"]
    reranker = PassageReranker(line.options) if line.options is not None else None
    record = {"identity": reranker.identity if reranker is not None else {}, "of": of}
    if earlier.get(line.label) == record and all(path.is_file() for path in paths):
        stage.say(f"{line.label}: ranked before")
        return record
    pairs = 0
    for path, part in zip(paths, (rankings, page), strict=True):
        pairs += rank(path, part, reranker, steps=stage.steps, label=line.label)
    stage.say(f"{line.label}: {pairs:,} pairs scored")
    return record


def _page_rankings(stage: Stage, folder: Path) -> list[Ranking]:
    """Training questions with rationale scores for the page, those for validation first, with their
    passages and the questions themselves beside it.
    """
    path = stage.folder / files.SCORES
    table = read_rankings(path) if path.is_file() else {}
    fitting = [each for each in stage.questions if each.id in table and has_rationale(table[each.id])]
    fitting.sort(key=lambda each: part_of(each.id, stage.config.held_out) != VALIDATION)
    chosen = fitting[: stage.config.comparison.page_questions]
    rankings = [
        with_blends(ranking, stage.config.blends)
        for ranking in first(table, [each.id for each in chosen], top_n=stage.config.comparison.top_n)
    ]
    named = {name for ranking in rankings for name in ranking.ids}
    passages = passages_beside(path).items() if named else ()
    rewrite_jsonl(folder / PASSAGES, (to_json(each) for name, each in passages if name in named))
    rationales = _rationales(stage) if chosen else {}
    texts = {name: {"rationale": rationale.text} for name, rationale in rationales.items()}
    shown = (replace(each, meta={**each.meta, **texts.get(each.id, {})}) for each in chosen)
    rewrite_jsonl(folder / "questions.jsonl", map(to_json, shown))
    return rankings
