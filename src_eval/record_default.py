"""Record what a model really answers: `python -m src_eval.record_default runs/A runs/B …` (called by `bash
scripts/record_default.sh`).

The runs are of several methods over one question file with one model. Writes `recorded.json` beside that
file (`src_tasks.recorded`), and the marked places of `README.md` and `docs/results.md` that quote it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
from rich.text import Text

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.jsonl import write_atomic
from src_eval.records import Estimate, QuestionScore
from src_eval.scoring import Scored, score_run
from src_tasks.recorded import (
    MAKER,
    RECORDED,
    Interval,
    RecordedAnswer,
    RecordedMethod,
    RecordedQuestion,
    Recording,
    percents,
    recorded_line,
)

QUOTES = (Path("README.md"), Path("docs/results.md"))
_PLACE = re.compile(r"(<!-- recorded:(\w+) -->\n).*?(<!-- end of what is recorded -->)", re.DOTALL)


def main() -> None:
    """Read the runs, write the recording and the pages that quote it."""
    folders = [Path(name) for name in sys.argv[1:]]
    if not folders or any(name.startswith("-") for name in sys.argv[1:]):
        raise UserError("usage: .venv/bin/python -m src_eval.record_default runs/A runs/B …")
    runs = [score_run(folder) for folder in folders]
    recording = record(runs)
    path = Path(str(runs[0].run.manifest["config"]["questions"])).with_name(RECORDED)
    write_atomic(path, orjson.dumps(recording, option=orjson.OPT_INDENT_2) + b"\n")
    for page in QUOTES:
        write_atomic(page, quoted(page.read_text(encoding="utf-8"), recording).encode())
    Terminal().print(Text(f"written: {path}, {', '.join(map(str, QUOTES))}"), soft_wrap=True)


def record(runs: Sequence[Scored]) -> Recording:
    """The recording of runs with one model over the same questions. Raises `UserError` for others."""
    first = runs[0].run
    ids = {row.id for row in runs[0].rows}
    for scored in runs:
        if scored.run.model != first.model or {row.id for row in scored.rows} != ids:
            raise UserError(
                f"{scored.run.run} is of another model or other questions than {first.run}; "
                f"make them with {MAKER}"
            )
        if failed := scored.run.outcomes.keys() & {"model_error", "retriever_error"}:
            raise UserError(f"{scored.run.run} has rows with {min(failed)}; run the same command again")
    answers = {scored.run.method: {row.id: _answer(row) for row in scored.rows} for scored in runs}
    code = first.manifest.get("code") or {}
    return Recording(
        model=first.model,
        started=str(first.manifest.get("started", "")),
        commit=str(code.get("commit", ""))[:12],
        questions=first.questions,
        methods={scored.run.method: _method(scored) for scored in runs},
        examples={
            row.question: RecordedQuestion(row.golds, {name: own[row.id] for name, own in answers.items()})
            for row in runs[0].rows
        },
    )


def quoted(page: str, recording: Recording) -> str:
    """A page with its marked places filled in: `line` (one paragraph) or `table`."""
    kinds = {"line": _paragraph, "table": _table}
    return _PLACE.sub(lambda found: found[1] + kinds[found[2]](recording) + found[3], page)


def _paragraph(recording: Recording) -> str:
    """The totals, and the first question with each method's answer."""
    asked, found = next(iter(recording.examples.items()))
    answers = " and ".join(f"{name} “{_plain(own.answer)}”" for name, own in found.answers.items())
    golds = " or ".join(f"“{_plain(gold)}”" for gold in found.golds)
    return (
        f"The default answered all {recording.questions} questions of the sample world: "
        f"{recorded_line(recording)} ([recorded](docs/results.md#the-default-on-the-sample-world)). "
        f"“{_plain(asked)}” Answers: {answers}; gold: {golds}.\n"
    )


def _table(recording: Recording) -> str:
    head = f"{recording.model}, {recording.questions} questions, {recording.started}, {recording.commit}:\n\n"
    rows = [
        f"| `{name}` | {percents(own.em)} | {percents(own.f1)} | {own.searches:.2f} | {own.seconds:.1f} |\n"
        for name, own in recording.methods.items()
    ]
    columns = "| method | EM [95 %] | F1 [95 %] | searches | s/question |\n|---|---:|---:|---:|---:|\n"
    return head + columns + "".join(rows)


def _plain(text: str) -> str:
    """A model's words inside a Markdown page: one short line without markup."""
    return re.sub(r"[\s|<>`*_\[\]]+", " ", text).strip()[:200]


def _method(scored: Scored) -> RecordedMethod:
    metrics = scored.run.metrics
    return RecordedMethod(
        em=_interval(metrics["em"]),
        f1=_interval(metrics["f1"]),
        searches=metrics["searches"].mean,
        seconds=metrics["seconds"].mean,
    )


def _interval(estimate: Estimate) -> Interval:
    return Interval(estimate.mean, estimate.low, estimate.high)


def _answer(row: QuestionScore) -> RecordedAnswer:
    return RecordedAnswer(row.prediction, row.metrics.get("em") == 1.0, int(row.metrics["searches"]))


if __name__ == "__main__":
    run_main(main)
