"""Judge runs: `python -m src_eval.judge_run runs/A runs/B … [endpoint.url=… rubric=judge_strict …]`.

Writes `verdicts.jsonl` and `judge.json` (outcomes, cost, agreement with EM and F1) into each run and scores
it again, so that its scores hold `acc_l`. Verdicts are cached by content, so that no verdict is requested
twice and an interrupted or failed run resumes. Outcomes of a row:

- `judged`: a verdict, now or from the cache
- `empty`: the answer is blank; the score is 0 without a call
- `unparsed`: two replies without a verdict; no score
- `unjudged`: the judge did not answer; no score now, requested again by the next run; exit status 1
- `no_gold`: no gold answer; no score
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from rich.console import Console
from rich.text import Text

from src_core.access_token import read_token
from src_core.config import load_config
from src_core.console import Terminal
from src_core.endpoints import make_model
from src_core.errors import BoundaryError, ModelError, ServerGoneError, UserError, run_main
from src_core.jsonl import JsonlWriter, read_jsonl, rewrite_jsonl, write_atomic
from src_core.open_files import allow_connections
from src_core.progress import StepProgress
from src_core.rundir import ROWS, present_only
from src_core.server_news import ServerNews
from src_core.types import NO_USAGE, Usage, to_json
from src_eval.config import JudgeConfig
from src_eval.records import QuestionScore
from src_eval.scoring import VERDICTS, read_answers, read_manifest, score_run
from src_tasks.choices import with_choices
from src_tasks.judge import Agreement, Case, Judge, Verdict, agreement

REPORT = "judge.json"
_RIGHT_F1 = 0.5


class VerdictStore:
    """Verdicts by content hash: an append-only file, read once. Held by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises `UserError` when another process has it open."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise UserError(
                f"{path} is in use by another process; wait for it or set another cache"
            ) from error
        self._writer = JsonlWriter(path)
        self._known = {row["key"]: _verdict(row) for row in read_jsonl(path)}

    def get(self, key: str) -> Verdict | None:
        """The verdict of that key, None if it is not stored."""
        return self._known.get(key)

    def add(self, key: str, verdict: Verdict) -> None:
        """Store a verdict: it is on disk before this returns."""
        self._writer.write(to_json({"key": key, **_plain(verdict)}))
        self._known[key] = verdict

    def close(self) -> None:
        """Release file and lock."""
        self._writer.close()
        os.close(self._lock)


class Judged(NamedTuple):
    """The result of judging a run: rows by outcome, mean score of the rows with a score, usage of all
    verdicts and of those requested now, and the last failure.
    """

    run: str
    outcomes: dict[str, int]
    mean: float | None
    usage: Usage
    spent: Usage
    error: str


def main() -> int:
    """Read the command line, judge, report. Exit status 1 when a row stays unjudged."""
    arguments = sys.argv[1:]
    folders = [Path(name) for name in arguments if "=" not in name]
    if not folders or any(name.startswith("-") for name in arguments):
        raise UserError("usage: .venv/bin/python -m src_eval.judge_run runs/A runs/B … [key=value …]")
    config = load_config(JudgeConfig, None, [item for item in arguments if "=" in item])
    return judge_folders(config, folders, out=Terminal(), err=Terminal(stderr=True))


def judge_folders(config: JudgeConfig, folders: list[Path], *, out: Console, err: Console) -> int:
    """Judge finished runs one after another and print a line for each, the progress to `err`; returns 1 when
    a row stays unjudged.
    """
    for folder in folders:
        read_manifest(folder)
    results = asyncio.run(_judge_folders(config, folders, out=out, err=err))
    return int(any(result.outcomes.get("unjudged") for result in results))


async def _judge_folders(
    config: JudgeConfig, folders: list[Path], *, out: Console, err: Console
) -> list[Judged]:
    allow_connections(config.in_flight, in_flight=config.in_flight)
    news = ServerNews()
    model = make_model(
        config.endpoint,
        connections=config.in_flight,
        token=read_token(),
        keys=["endpoint"],
        news=news,
    )
    results = []
    try:
        try:
            await model.ready()
        except BoundaryError as error:
            raise UserError(f"the judge does not answer: {error}; start it or set endpoint.url") from error
        judge = Judge(model, rubric=config.rubric, sampling=config.sampling)
        with _store(Path(config.cache)) as store:
            for folder in folders:
                judged = await judge_run(folder, judge, store, in_flight=config.in_flight, err=err, news=news)
                results.append(judged)
                out.print(Text(_line(results[-1])), soft_wrap=True)
    finally:
        await model.close()
    return results


@contextmanager
def _store(path: Path) -> Iterator[VerdictStore]:
    store = VerdictStore(path)
    try:
        yield store
    finally:
        store.close()


async def judge_run(
    folder: Path,
    judge: Judge,
    store: VerdictStore,
    *,
    in_flight: int,
    err: Console,
    news: ServerNews | None = None,
) -> Judged:
    """Judge one run; write its verdicts and its report, and rewrite its scores."""
    rows = list(present_only(read_answers(folder / ROWS), read_manifest(folder)))
    cases = [_case(row) for row in rows]
    todo = {
        judge.key(case): case
        for case in cases
        if _free_outcome(case) is None and store.get(judge.key(case)) is None
    }
    with StepProgress(err, unit=f"verdicts on {folder.name}", total=len(todo)) as progress:
        if news:
            news.attach(
                on_note=lambda note: err.print(Text(f"note: {note}"), soft_wrap=True), on_wait=progress.note
            )
        error = await _ask_all(todo, judge, store, in_flight=in_flight, progress=progress)
    outcomes: Counter[str] = Counter()
    usage, lines = NO_USAGE, []
    for row, case in zip(rows, cases, strict=True):
        verdict = store.get(judge.key(case))
        outcome = _free_outcome(case) or _outcome(verdict)
        score = 0.0 if outcome == "empty" else verdict.score if verdict else None
        outcomes[outcome] += 1
        usage += verdict.usage if verdict else NO_USAGE
        kept = {"id": row["question"]["id"], "prediction": row["answer"], "score": score, "outcome": outcome}
        lines.append(to_json({**kept, "reply": verdict.reply if verdict else ""}))
    rewrite_jsonl(folder / VERDICTS, lines)
    scored = score_run(folder)
    spent = sum((found.usage for key in todo if (found := store.get(key))), NO_USAGE)
    mean = scored.run.metrics["acc_l"].mean if "acc_l" in scored.run.metrics else None
    result = Judged(folder.name, dict(outcomes), mean, usage, spent, error)
    report = {**result._asdict(), "judge": judge.name, "agreement": _agreements(scored.rows)}
    write_atomic(folder / REPORT, orjson.dumps(report, option=orjson.OPT_INDENT_2))
    return result


async def _ask_all(
    todo: dict[str, Case], judge: Judge, store: VerdictStore, *, in_flight: int, progress: StepProgress
) -> str:
    """Request all verdicts, at most `in_flight` at once. Returns the last failure, "" for none. After 2 x
    `in_flight` failures in a row, or when the judge died, the rest is left for the next run.
    """
    pending = iter(todo.items())
    failures, error = 0, ""

    async def draw() -> None:
        nonlocal failures, error
        for key, case in pending:
            if failures >= 2 * in_flight:
                return
            try:
                store.add(key, await judge.ask(case))
                failures = 0
            except ServerGoneError as failed:
                failures, error = 2 * in_flight, str(failed)
            except ModelError as failed:
                failures += 1
                error = str(failed)
            progress.advance()

    await asyncio.gather(*(draw() for _ in range(in_flight)))
    return error


def _case(row: dict[str, Any]) -> Case:
    question = row["question"]
    asked = with_choices(question["question"], question.get("choices") or ())
    return Case(asked, tuple(question.get("answers") or ()), row["answer"])


def _free_outcome(case: Case) -> str | None:
    """The outcome that needs no call, or None."""
    if not case.golds:
        return "no_gold"
    return None if case.prediction.strip() else "empty"


def _outcome(verdict: Verdict | None) -> str:
    if verdict is None:
        return "unjudged"
    return "unparsed" if verdict.score is None else "judged"


def _agreements(rows: list[QuestionScore]) -> dict[str, Any]:
    """The judge's "fully right" against EM and against F1 of at least a half, over judged rows."""
    both = [row.metrics for row in rows if "acc_l" in row.metrics and "em" in row.metrics]
    judged = [row["acc_l"] == 1.0 for row in both]
    found: dict[str, Agreement] = {
        "em": agreement(judged, [row["em"] == 1.0 for row in both]),
        "f1": agreement(judged, [row["f1"] >= _RIGHT_F1 for row in both]),
    }
    return {name: value._asdict() for name, value in found.items()}


def _verdict(row: dict[str, Any]) -> Verdict:
    return Verdict(row["score"], row["reply"], Usage(**row["usage"]))


def _plain(verdict: Verdict) -> dict[str, Any]:
    usage = verdict.usage
    counts = {"calls": usage.calls, "prompt_tokens": usage.prompt_tokens}
    counts["completion_tokens"] = usage.completion_tokens
    return {"score": verdict.score, "reply": verdict.reply, "usage": counts}


def _line(result: Judged) -> str:
    mean = "-" if result.mean is None else f"{100 * result.mean:.1f}"
    counts = ", ".join(f"{count} {name}" for name, count in sorted(result.outcomes.items()))
    cost = f"{result.spent.calls} calls and {result.spent.total_tokens} tokens now"
    trouble = f"; the judge failed: {result.error}" if result.error else ""
    return f"{result.run}: ACC_L {mean} ({counts}; {cost}){trouble}"


if __name__ == "__main__":
    run_main(main)
