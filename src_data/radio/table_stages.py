"""The stages of the table: `scores` and `blend`. They need no server; the encoder runs in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from src_core.config import dump
from src_core.errors import UserError
from src_core.rankings import Ranking, read_rankings
from src_data.radio import files
from src_data.radio.groups import drop_other_groups, write_groups
from src_data.radio.rationales import Rationale, written_rationales
from src_data.radio.scores import score_candidates, sources_digest
from src_data.radio.stage import Stage
from src_retrieval.scoring import Similarity

_SOURCES = "made_of"
_ENCODING = ("family", "precision", "query_max_length")
"""The settings of an encoder that change its scores."""


def score(stage: Stage) -> int:
    """Stage `scores`."""
    candidates = files.require(stage.folder / files.CANDIDATES, "candidates")
    rankings, rationales = read_rankings(candidates), usable_rationales(stage)
    settings = stage.config.scores
    similarity = Similarity(settings, stage.folder)
    try:
        done = score_candidates(
            stage.folder / files.SCORES,
            rankings,
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
    made_of = {_SOURCES: sources_digest(rankings, stage.questions, rationales)}
    facts |= {"settings": dump(settings), "encoder": similarity.identity}
    files.write_record(stage.folder, "scores", {**facts, **made_of, **done._asdict(), "ratio": done.ratio})
    taken = f", {done.taken:,} taken from the index" if done.taken else ""
    stage.say(
        f"{done.with_rationale:,} questions with a rationale, {done.without_rationale:,} without; "
        f"{done.candidates:,} candidates are {done.distinct:,} distinct passages, each encoded once "
        f"({done.encoded:,} in this run{taken}): {done.ratio:.1f} times fewer encodes than per question"
    )
    stage.say(f"written: {stage.folder / files.SCORES}")
    return 0


def usable_rationales(stage: Stage) -> dict[str, Rationale]:
    """The usable rationales of the prompt and model that the stage `rationales` ran with last."""
    rows = files.require(stage.folder / files.RATIONALES, "rationales")
    record = files.read_record(stage.folder, "rationales")
    return written_rationales(rows, prompt=str(record.get("prompt", "")), models=record.get("models") or ())


def blend(stage: Stage) -> int:
    """Stage `blend`: the groups of every blend."""
    config = stage.config
    path = files.require(stage.folder / files.SCORES, "scores")
    table = read_rankings(path)
    _require_present(stage, path, table)
    record = {}
    for each in config.blends:
        done = write_groups(
            stage.folder / files.GROUPS,
            each,
            stage.questions,
            table,
            passages_of=path,
            held_out=config.held_out,
        )
        record[each.label] = {"settings": dump(each), "groups": done.groups, "left_out": done.left_out}
        left = ", ".join(f"{count:,} {reason}" for reason, count in done.left_out.items()) or "none"
        groups = ", ".join(f"{count:,} for {part}" for part, count in done.groups.items())
        stage.say(f"{each.label}: groups {groups}; questions left out: {left}")
    for label in drop_other_groups(stage.folder / files.GROUPS, tuple(record)):
        stage.say(f"removed: the groups of {label}, which is no blend of this configuration")
    files.write_record(stage.folder, "blend", {"blends": record})
    stage.say(f"written: {stage.folder / files.GROUPS}/LABEL.train.jsonl and LABEL.validation.jsonl")
    if any(part["groups"]["train"] for part in record.values()):
        return 0
    stage.say(
        "no question gives a group for training, for the reasons above; more questions (n_samples) and a "
        "smaller held_out give some"
    )
    return 1


def _require_present(stage: Stage, path: Path, table: Mapping[str, Ranking]) -> None:
    """Raises `UserError` where the table was made of other rationales or candidates than there are now, or
    with other settings than are given, or lacks rows: groups of it would not be what they are called.
    """
    record = files.read_record(stage.folder, "scores")
    made, given = record.get("settings") or {}, dump(stage.config.scores)
    changed = [f"scores.{key}" for key in ("encoder", "query") if made.get(key) != given[key]]
    encoding = made.get("encoding") or {}
    changed += [f"scores.encoding.{key}" for key in _ENCODING if encoding.get(key) != given["encoding"][key]]
    rankings = read_rankings(files.require(stage.folder / files.CANDIDATES, "candidates"))
    now = sources_digest(rankings, stage.questions, usable_rationales(stage))
    lacks = any(each.id in rankings and each.id not in table for each in stage.questions)
    if lacks or record.get(_SOURCES) != now:
        changed.append("rationales, candidates or questions")
    if changed:
        raise UserError(
            f"{path} was made before these were changed: {', '.join(changed)}; run the stage 'scores' again, "
            "which encodes no passage twice"
        )
