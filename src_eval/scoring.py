"""Computes the scores of a run: `trajectories.jsonl` and `manifest.json` -> `scores.jsonl` and `scores.json`.

Rows are read one at a time as plain JSON (building typed trajectories would take twenty times as long as
scoring them); the scores of a row are those of `src_tasks.scores`. A failed row scores 0 in every answer
metric; it is never left out. A question without golds has no answer metrics and is counted. Retrieval metrics
are absent where a question has no gold passages, or where the run made no search; `chain_length` is the
number of steps of rightly answered questions (paper, Figure 3). Verdicts of a judge in the run directory
(`src_eval.judge_run`) become `acc_l`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from src_core.errors import UserError
from src_core.jsonl import read_jsonl, rewrite_jsonl, write_atomic
from src_core.rundir import MANIFEST, QUESTION_IDS, ROWS, present_only
from src_core.served import models_key
from src_core.types import searches_without_step
from src_eval.records import SCORE_ROWS, SCORE_TOTALS, Estimate, QuestionScore, RunScore
from src_eval.stats import bootstrap
from src_tasks.metrics import chinese_scores
from src_tasks.readers.rows import group_of_meta
from src_tasks.scores import Answered, Figures, Given, add_abstention, drop_retrieval, figures, replies_of

VERDICTS = "verdicts.jsonl"
DIRECT_ANSWERS = "direct_answers"
_ROW_KEYS = ("question", "steps", "answer", "status")
_HOPS_IN_ID = re.compile(r"([2-9])hop\d*_")  # MuSiQue: 3hop1__…

Row = dict[str, Any]
Column = NDArray[np.float64]
Verdicts = Mapping[tuple[str, str], float]


class Scored(NamedTuple):
    """The scores of a run and of its questions, in the order of its rows."""

    run: RunScore
    rows: list[QuestionScore]


def score_run(folder: Path) -> Scored:
    """Score a run directory and write both files there. Raises `UserError` for a run that has not ended, and
    for a row that is not a trajectory.
    """
    manifest = read_manifest(folder)
    verdicts = _verdicts(folder / VERDICTS)
    total = 0

    def counted() -> Iterator[Row]:
        nonlocal total
        for row in read_answers(folder / ROWS):
            total += 1
            yield row

    present = present_only(counted(), manifest)
    fallback = dataset_name(manifest)
    rows = [score_row(row, verdicts=verdicts, fallback=fallback) for row in present]
    if not rows:
        raise UserError(f"{folder / ROWS} has no rows to score; run the same command again to answer some")
    run = replace(_run_score(folder.name, rows, manifest), left_out=total - len(rows))
    scored = Scored(run, rows)
    rewrite_jsonl(folder / SCORE_ROWS, map(orjson.dumps, rows))
    write_atomic(folder / SCORE_TOTALS, orjson.dumps(scored.run, option=orjson.OPT_INDENT_2))
    return scored


def models_of(run: RunScore) -> str:
    """What tells the models of a run from those of others: what their servers reported, else their names."""
    return models_key(run.manifest.get("servers")) or run.model


def read_manifest(folder: Path) -> Row:
    """The manifest of a run that has ended. Raises `UserError` without one."""
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(
            f"{folder} has no {MANIFEST}; check the path, or run the same command again to finish the run"
        )
    try:
        manifest = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error}); run the same command again") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("config"), dict):
        raise UserError(
            f"{path} has no config, so it is not the manifest of a run; name the directory of a run"
        )
    return manifest


def read_answers(path: Path) -> Iterator[Row]:
    """The rows of a run as plain JSON, with a check of the fields that scoring reads. Raises `UserError`
    naming file and row.
    """
    for number, row in enumerate(read_jsonl(path, torn_tail_ok=True), start=1):
        missing = [key for key in _ROW_KEYS if key not in row]
        if missing or not isinstance(row["question"], dict) or not isinstance(row["steps"], list):
            what = f"has no {missing[0]!r}" if missing else "has no question or steps to read"
            raise UserError(f"{path}, row {number}: {what}; correct or remove that row")
        yield row


def dataset_name(manifest: Row) -> str:
    """The data set of a run by its question file: `hotpotqa` for `…/hotpotqa.dev.jsonl`, the folder's name
    for `…/questions.jsonl`.
    """
    path = Path(str(manifest["config"].get("questions", "")))
    stem = path.name.split(".")[0]
    return path.parent.name if stem == "questions" and path.parent.name else stem or "questions"


def _verdicts(path: Path) -> dict[tuple[str, str], float]:
    """The judge's scores by question id and the prediction that was judged; none without the file."""
    if not path.is_file():
        return {}
    rows = read_jsonl(path, torn_tail_ok=True)
    return {(row["id"], row["prediction"]): row["score"] for row in rows if row["score"] is not None}


def score_row(row: Row, *, verdicts: Verdicts, fallback: str = "") -> QuestionScore:
    """The scores of one trajectory (plain JSON); `fallback` is its source where the question names none."""
    question, steps, prediction = row["question"], row["steps"], row["answer"]
    meta = question.get("meta") or {}
    golds = question.get("answers") or ()
    searched = [step["action"]["function"] == "search" for step in steps]
    answered = Answered(
        answer=prediction,
        status=row["status"],
        golds=golds,
        choices=question.get("choices") or (),
        supporting=question.get("supporting") or (),
        searches=sum(searched) + searches_without_step(row.get("provenance") or {}),
        shown=[
            [passage["id"] for passage in step["passages"]]
            for step, search in zip(steps, searched, strict=True)
            if search or step["passages"]
        ],
    )
    metrics = figures(answered) | chinese_scores(answered.scored_answer, golds)
    verdict = verdicts.get((question["id"], prediction))
    if verdict is not None:
        metrics["acc_l"] = verdict
    return QuestionScore(
        id=question["id"],
        question=question["question"],
        golds=tuple(golds),
        prediction=prediction,
        status=row["status"],
        source=str(meta.get("dataset") or fallback),
        group=str(question.get("group") or group_of_meta(meta)),
        hops=_hops(meta),
        metrics=metrics | _costs(row, metrics),
    )


def answers_rightly(metrics: Mapping[str, float]) -> bool | None:
    """Whether an answer is right: by the judge where there is a verdict, else by EM; None without golds."""
    verdict = metrics.get("acc_l", metrics.get("em"))
    return None if verdict is None else verdict == 1.0


def _costs(row: Row, metrics: Figures) -> Figures:
    """The costs of an answer: steps, calls, tokens, seconds, malformed replies; the steps of a right answer,
    the searches of a right or a wrong one (DeepRAG, Table 2), and sub-questions answered without a search.
    """
    steps, usage = float(len(row["steps"])), row.get("usage") or {}
    rejected = len((row.get("provenance") or {}).get("parse_failures", ()))
    found = {"steps": steps, DIRECT_ANSWERS: float(sum(map(_answers_directly, row["steps"])))}
    right = answers_rightly(metrics)
    if right is not None:
        found |= {"chain_length": steps} if right else {}
        found["searches_right" if right else "searches_wrong"] = metrics["searches"]
    found |= {name: float(usage.get(name, 0)) for name in ("calls", "prompt_tokens", "completion_tokens")}
    found["tokens"] = found["prompt_tokens"] + found["completion_tokens"]
    found |= {"seconds": float(row.get("seconds", 0.0)), "parse_failures": float(rejected)}
    replies = replies_of(len(row["steps"]), rejected=rejected, calls=usage.get("calls"))
    return found | {"replies": float(replies)}


def _answers_directly(step: Row) -> bool:
    return bool(step["action"]["function"] == "direct_answer" and not step.get("repeated"))


def _hops(meta: Row) -> int | None:
    """The number of hops that the set states, also in the ids of MuSiQue."""
    if isinstance(meta.get("hops"), int):
        return int(meta["hops"])
    found = _HOPS_IN_ID.match(str(meta.get("source_id", "")))
    return int(found[1]) if found else None


def _run_score(name: str, rows: list[QuestionScore], manifest: Row) -> RunScore:
    drop_retrieval(row.metrics for row in rows)
    add_abstention(
        [row.metrics for row in rows], [Given(row.prediction, row.status, row.golds) for row in rows]
    )
    if not any(row.metrics[DIRECT_ANSWERS] for row in rows):  # a method without such steps
        for row in rows:
            del row.metrics[DIRECT_ANSWERS]
    columns = _columns(rows)
    overall = _estimates(columns)
    by = {
        "source": _by([row.source for row in rows], columns, overall),
        "group": _by([row.group for row in rows], columns, overall),
        "hops": _by(["" if row.hops is None else str(row.hops) for row in rows], columns, overall),
    }
    replies = sum(row.metrics["replies"] for row in rows)
    sources = {row.source for row in rows}
    return RunScore(
        run=name,
        method=str(manifest["config"].get("method", "")),
        model=" + ".join(map(str, manifest.get("models", []))),
        dataset=sources.pop() if len(sources) == 1 else dataset_name(manifest),
        questions=len(rows),
        without_gold=sum(not row.golds for row in rows),
        metrics=overall,
        by=by,
        outcomes=dict(Counter(row.status for row in rows)),
        invalid_rate=sum(row.metrics["parse_failures"] for row in rows) / max(replies, 1),
        manifest={key: value for key, value in manifest.items() if key != QUESTION_IDS},
    )


def estimates_of(rows: Sequence[QuestionScore]) -> dict[str, Estimate]:
    """The estimates of every metric over these questions; a metric that no row has is absent."""
    return _estimates(_columns(rows))


def _by(
    labels: Sequence[str], columns: dict[str, Column], overall: dict[str, Estimate]
) -> dict[str, dict[str, Estimate]]:
    """The estimates of each group of rows; rows without a label are in none."""
    groups: dict[str, dict[str, Estimate]] = {}
    held = np.array(labels)
    for label in sorted(set(labels) - {""}):
        member = held == label
        groups[label] = overall if member.all() else _estimates(columns, member)
    return groups


def _columns(rows: Sequence[QuestionScore]) -> dict[str, Column]:
    """Each metric over all rows, NaN where a row has no value."""
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    return {name: np.array([row.metrics.get(name, np.nan) for row in rows]) for name in names}


def _estimates(columns: dict[str, Column], member: NDArray[np.bool_] | None = None) -> dict[str, Estimate]:
    """Over the rows of a group (None: all) that have a value; a metric that no row has is absent."""
    chosen = {name: column if member is None else column[member] for name, column in columns.items()}
    known = {name: column[~np.isnan(column)] for name, column in chosen.items()}
    return bootstrap({name: column for name, column in known.items() if len(column)})
