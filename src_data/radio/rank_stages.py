"""The stages that rank candidates under every reranker: `rank` for the questions of the comparison, `mmlu`
for multiple choice. Both write what a reader's evaluation needs (`compare`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from src_core.errors import UserError
from src_core.jsonl import rewrite_jsonl
from src_core.rankings import PASSAGES, Ranking, passages_beside, read_rankings
from src_core.types import to_json
from src_data.radio import compare, files
from src_data.radio.compare import Line, Reading, first, lines_of, rank, ranked_by
from src_data.radio.config import NONE, EvaluationSet
from src_data.radio.groups import VALIDATION, has_rationale, part_of, with_blends
from src_data.radio.server_stages import Part, search
from src_data.radio.stage import Stage, evaluation_questions, servers_needed
from src_data.radio.table_stages import usable_rationales
from src_data.sampling.turns import in_turns
from src_retrieval.scoring import PassageReranker
from src_tasks.readers.sources import read_questions

PAGE = "page"
CLOSED = "no_search"
"""The line of multiple choice that sees no passages."""
Pass = tuple[Path, Sequence[Ranking]]
"""Rankings, and the folder that their rankings under each line are written to."""


def rank_all(stage: Stage) -> int:
    """Stage `rank`: the evaluation questions and those of the page under every line."""
    config = stage.config
    if not config.comparison.datasets:
        raise UserError("no evaluation questions are configured; set comparison.datasets to files of them")
    folder = stage.folder / files.COMPARISON
    candidates = read_rankings(files.require(folder / files.CANDIDATES, "candidates"))
    asked = [question.id for question in evaluation_questions(config)]
    rankings = first(candidates, asked, top_n=config.comparison.top_n)
    page = _page_rankings(stage, folder / PAGE)
    lines = _rank(stage, folder, [(folder, rankings), (folder / PAGE, page)])
    _write_readings(stage, folder, lines)
    return 0


def mmlu(stage: Stage) -> int:
    """Stage `mmlu`: candidates of multiple-choice questions (by the server of `candidates`), their rankings
    under every line, and the evaluation of a reader that answers with a letter.
    """
    config, settings = stage.config, stage.config.mmlu
    if not settings.path:
        raise UserError("no multiple-choice questions are configured; set mmlu.path to a folder of MMLU")
    folder = stage.folder / files.MMLU
    found = in_turns(read_questions(settings.path, setting="mmlu.path"), lambda question: question)
    questions = found if settings.n < 0 else found[: settings.n]
    folder.mkdir(parents=True, exist_ok=True)
    rewrite_jsonl(folder / files.QUESTIONS, map(to_json, questions))
    failed = search(stage, [Part(folder, questions, config.comparison.top_n)])
    if failed:
        return failed
    candidates = read_rankings(folder / files.CANDIDATES)
    asked = [question.id for question in questions]
    rankings = first(candidates, asked, top_n=config.comparison.top_n)
    lines = _rank(stage, folder, [(folder, rankings)], only=settings.lines)
    answer = f"method_settings.answer={settings.answer}"
    with_choices = f"method_settings.query_with_choices={str(config.candidates.with_choices).lower()}"
    open_book = [
        [*ranked_by(folder, line.label, top_k=settings.top_k), answer, with_choices] for line in lines
    ]
    closed = [open_book[0][0], answer, "method_settings.search=false"]
    labels = [CLOSED, *(line.label for line in lines)]
    reading = Reading(
        folder,
        name=f"{config.run_name}-mmlu",
        infer=settings.infer,
        settings=settings.settings,
        methods=[
            compare.reading_line("multiple_choice", label, own)
            for label, own in zip(labels, [closed, *open_book], strict=True)
        ],
        datasets=[{"name": "mmlu", "path": str(folder / files.QUESTIONS)}],
        metrics=["choice_accuracy", "choice_unread"],
    )
    stage.say(f"written: {compare.write_reading(reading, file=compare.READERS, runs_dir=config.runs_dir)}")
    return 0


def _write_readings(stage: Stage, folder: Path, lines: Sequence[Line]) -> None:
    """The evaluation of the reader, and one of each other reader."""
    config, found = stage.config, stage.config.comparison
    labels = [line.label for line in lines]
    readers = [("", found.settings, labels)]
    readers += [
        (each.label, (*found.settings, *each.settings), [*_baseline_first(each.lines or labels, labels)])
        for each in found.readers
    ]
    for label, settings, named in readers:
        reading = Reading(
            folder,
            name="-".join(filter(None, [config.run_name, label])),
            infer=found.infer,
            settings=settings,
            methods=[
                compare.reading_line("naive_rag", each, ranked_by(folder, each, top_k=found.top_k))
                for each in named
            ],
            datasets=[_read_and_ranked(each, found.read) for each in found.datasets],
            metrics=["em", "f1", "recall", "seconds"],
        )
        file = f"readers-{label}.yaml" if label else compare.READERS
        stage.say(f"written: {compare.write_reading(reading, file=file, runs_dir=config.runs_dir)}")


def _read_and_ranked(dataset: EvaluationSet, read: int) -> dict[str, Any]:
    """A data set of a reader's evaluation, of which the first `read` questions are answered (-1: all)."""
    fewer = read >= 0 and not 0 <= dataset.n <= read
    counts = {"n": read, "ranked": dataset.n} if fewer else {"n": dataset.n}
    return {"name": dataset.name, "path": dataset.path, **counts}


def _baseline_first(named: Sequence[str], present: Sequence[str]) -> list[str]:
    """The lines that are there, with the retriever's own ranking, which they are compared with."""
    return [NONE, *(label for label in named if label in present and label != NONE)]


def _rank(stage: Stage, folder: Path, passes: Sequence[Pass], *, only: Sequence[str] = ()) -> list[Line]:
    """Rank all passes under every line (with `only`, under those and none). Returns the lines."""
    found = lines_of(stage.config)
    lines = [line for line in found.present if not only or line.label in (NONE, *only)]
    for label in found.missing:
        if not only or label in only:
            stage.say(f"left out: there is no reranker of {label} (stage finetune)")
    record = dict(files.read_record(folder, "rank").get("rerankers") or {})
    for line in lines:
        with ExitStack() as opened:
            opened.enter_context(servers_needed(stage.config))
            reranker = PassageReranker(line.options) if line.options is not None else None
            if reranker is not None:
                opened.callback(reranker.close)
            identity = _identity_of(reranker)
            if (record.get(line.label) or {}).get("identity") != identity:
                for place, _ in passes:  # the rows of another reranker
                    (place / f"{line.label}.jsonl").unlink(missing_ok=True)
            same = None if reranker is None else _label_of(reranker.identity, record)
            record[line.label] = {"identity": identity}
            facts = {"top_n": stage.config.comparison.top_n, "rerankers": record}
            files.write_record(folder, "rank", facts)  # before the rows, so that an interrupted line goes on
            _rank_line(stage, line.label, reranker, passes, same=same)
    stage.say(f"written: {folder}/LABEL.jsonl")
    return lines


def _rank_line(
    stage: Stage, label: str, reranker: PassageReranker | None, passes: Sequence[Pass], *, same: str | None
) -> None:
    """The rankings of one line, without the candidates that the same reranker has ranked before. `same` is
    the line of its own scores.
    """
    questions = pairs = 0
    for folder, rankings in passes:
        judged = folder / f"{same}.jsonl" if same not in (None, label) else None
        path = folder / f"{label}.jsonl"
        ranked = rank(path, rankings, reranker, steps=stage.steps, label=label, judged=judged)
        questions, pairs = questions + ranked.questions, pairs + ranked.pairs
    if questions:
        kept = sum(len(rankings) for _, rankings in passes) - questions
        again = f"; {kept:,} questions were ranked before" if kept else ""
        stage.say(f"{label}: {pairs:,} pairs scored{again}")
    else:
        stage.say(f"{label}: ranked before")


def _label_of(identity: Mapping[str, Any], lines: Mapping[str, Any]) -> str | None:
    """The line that was ranked by this reranker alone, without a share of the retriever's scores."""
    return next((label for label, line in lines.items() if line.get("identity") == identity), None)


def _identity_of(reranker: PassageReranker | None) -> dict[str, Any]:
    """What decides a line's order."""
    if reranker is None:
        return {}
    weight = reranker.retrieval_weight
    return {**reranker.identity, **({"retrieval_weight": weight} if weight else {})}


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
    rationales = usable_rationales(stage) if chosen else {}
    texts = {name: {"rationale": rationale.text} for name, rationale in rationales.items()}
    shown = (replace(each, meta={**each.meta, **texts.get(each.id, {})}) for each in chosen)
    rewrite_jsonl(folder / files.QUESTIONS, map(to_json, shown))
    return rankings
