"""The stages that ask a server: a model for rationales, a retriever for candidates. Each continues its files,
writes its record and prints it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

from rich.text import Text

from src_core.access_token import read_token
from src_core.config import dump
from src_core.endpoints import make_model
from src_core.errors import UserError
from src_core.jsonl import rewrite_jsonl
from src_core.open_files import allow_connections
from src_core.progress import StepProgress
from src_core.rankings import PASSAGES
from src_core.served import differing, index_facts
from src_core.server_news import ServerNews
from src_core.types import Question, to_json
from src_data.radio import files
from src_data.radio.candidates import Found, collect
from src_data.radio.rationales import (
    FROM_FILE,
    Rationale,
    RationaleWriter,
    counts_of,
    finish_rationales,
    imported,
    read_rationales,
)
from src_data.radio.stage import Stage, evaluation_questions, servers_needed
from src_infer.connect import make_retriever, retriever_identity
from src_infer.own_servers import reach
from src_infer.runner import run_all

_LEAVE_OUT = "name the stages that follow, which leave those questions out"
_ALL_NEEDED = "take their questions out: those of an evaluation are all needed by the stages that follow"
_OTHER_IDS = ": are the ids in the questions those of the corpus? Without any, every recall is 0"


def write_rationales(stage: Stage) -> int:
    """Stage `rationales`."""
    path = stage.folder / files.RATIONALES
    done = finish_rationales(path)
    settings = stage.config.rationales
    if settings.files:  # read anew each time: a file may have been corrected
        prompt, models = FROM_FILE, [Path(name).name for name in settings.files]
        rows = {row.key: row for row in imported(settings.files, stage.questions)}
        held = read_rationales(path) if done else ()
        others = (row for row in held if row.prompt != FROM_FILE or row.model not in models)
        rewrite_jsonl(path, map(to_json, [*others, *rows.values()]))
    else:
        prompt, model = _run(stage, lambda news: _ask_all(stage, path, done, news))
        models = [model]
    ids = {question.id for question in stage.questions}
    ours = [
        row for row in read_rationales(path) if row.id in ids and row.prompt == prompt and row.model in models
    ]
    counts = counts_of(ours)
    facts = {"prompt": prompt, "models": models, "missing": len(ids) - len({row.id for row in ours})}
    files.write_record(stage.folder, "rationales", {"settings": dump(settings), **facts, **counts})
    for name, value in {**facts, **counts}.items():
        stage.say(f"{name.replace('_', ' ')}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    stage.say(f"written: {path}")
    return _ended(stage, counts["failed"])


async def _ask_all(
    stage: Stage, path: Path, done: set[tuple[str, str, str]], news: ServerNews
) -> tuple[str, str]:
    """Ask for the missing rationales. Returns the prompt's digest and the model's name."""
    settings = stage.config.rationales
    allow_connections(settings.in_flight, in_flight=settings.in_flight)
    model = make_model(
        settings.endpoint,
        connections=settings.in_flight,
        token=read_token(),
        keys=("rationales.endpoint",),
        news=news,
    )
    try:
        await reach(model, settings.endpoint, sampling=settings.sampling, news=news)
        writer = RationaleWriter(model, settings)
        todo = [each for each in stage.questions if (each.id, writer.prompt, model.name) not in done]
        progress = _progress(stage, "rationales", len(stage.questions), news)
        progress.skip(len(stage.questions) - len(todo))

        def count(_: Rationale) -> None:
            progress.advance()

        try:
            await run_all(todo, answer=writer.write, in_flight=settings.in_flight, rows=path, on_row=count)
        finally:
            progress.stop()
        return writer.prompt, model.name
    finally:
        await model.close()


class Part(NamedTuple):
    """Questions whose candidates are kept in `folder`, `top_n` of each."""

    folder: Path
    questions: list[Question]
    top_n: int


def collect_candidates(stage: Stage) -> int:
    """Stage `candidates`: of the training questions `candidates.top_n`, of the evaluation questions
    `comparison.top_n`.
    """
    config = stage.config
    parts = [Part(stage.folder, stage.questions, config.candidates.top_n)]
    if config.comparison.datasets:
        evaluation = evaluation_questions(config)
        parts.append(Part(stage.folder / files.COMPARISON, evaluation, config.comparison.top_n))
    return search(stage, parts)


def search(stage: Stage, parts: Sequence[Part]) -> int:
    """Collect the candidates of all parts and print what was found. Returns 1 when a search failed."""
    found: list[Found] = _run(stage, lambda news: _search_all(stage, parts, news))
    failures: Counter[str] = Counter()
    advice = _LEAVE_OUT
    for part, done in zip(parts, found, strict=True):
        failures += done.failures
        if done.failures and part.folder != stage.folder:
            advice = _ALL_NEEDED
        stage.say(
            f"{done.questions:,} questions, {done.passages:,} candidates, {done.distinct:,} distinct "
            f"passages: {done.ratio:.1f} times fewer encodes than per question; "
            f"written: {part.folder / files.CANDIDATES}"
        )
        if done.with_gold:
            stage.say(
                f"{done.gold_found:,} of {done.with_gold:,} questions with known gold passages have one "
                f"among their candidates{'' if done.gold_found else _OTHER_IDS}"
            )
    for error, count in failures.most_common(3):
        stage.say(f"failed: {count} x {error}")
    return _ended(stage, failures.total(), advice=advice)


def _ended(stage: Stage, failed: int, *, advice: str = _LEAVE_OUT) -> int:
    """The exit status of a stage of which `failed` calls failed, and what a person can do about them."""
    if failed:
        stage.say(
            f"{failed:,} calls failed: the same command tries them again; if they always fail, {advice}"
        )
    return int(failed > 0)


async def _search_all(stage: Stage, parts: Sequence[Part], news: ServerNews) -> list[Found]:
    settings = stage.config.candidates
    allow_connections(settings.in_flight, in_flight=settings.in_flight)
    async with AsyncExitStack() as opened:
        retriever = make_retriever(
            settings.retriever,
            connections=settings.in_flight,
            token=read_token(),
            retry=settings.retry,
            news=news,
        )
        opened.push_async_callback(retriever.close)
        index = index_facts(await retriever_identity(retriever, settings.retriever))
        found = []
        for folder, questions, top_n in parts:
            fixed = {"top_n": top_n, "with_choices": settings.with_choices}
            _require_same(folder, {"index": index, **fixed})
            progress = _progress(stage, "questions searched", len(questions), news)
            try:
                found.append(
                    await collect(
                        folder / files.CANDIDATES,
                        questions,
                        retriever=retriever,
                        settings=settings,
                        top_n=top_n,
                        on_row=progress.advance,
                    )
                )
            finally:
                progress.stop()
            counts = found[-1]._asdict() | {"failures": dict(found[-1].failures), "ratio": found[-1].ratio}
            files.write_record(folder, "candidates", {"index": index, **fixed, **counts})
        return found


def _require_same(folder: Path, now: dict[str, Any]) -> None:
    """Raises `UserError` where the candidates on disk are of another index or depth."""
    before = files.read_record(folder, "candidates")
    if not before or not (folder / files.CANDIDATES).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        files.write_record(folder, "candidates", now)  # also for a run that is interrupted
        return
    changed = [key for key in ("top_n", "with_choices") if before.get(key) != now[key]]
    changed += [f"index {key}" for key in differing(before.get("index") or {}, now["index"])]
    if changed:
        raise UserError(
            f"{folder / files.CANDIDATES} was made with other settings ({', '.join(changed)}); remove it "
            f"with {PASSAGES} beside it, or take another run_name"
        )


def _progress(stage: Stage, unit: str, total: int, news: ServerNews) -> StepProgress:
    progress = StepProgress(stage.err, unit=unit, total=total)
    news.attach(
        on_note=lambda note: stage.err.print(Text(f"note: {note}"), soft_wrap=True), on_wait=progress.note
    )
    return progress


def _run(stage: Stage, work: Callable[[ServerNews], Awaitable[Any]]) -> Any:
    """Run a stage that talks to servers."""

    async def whole() -> Any:
        return await work(ServerNews())

    with servers_needed(stage.config):
        return asyncio.run(whole())
