"""A log file gets a line every few seconds, also while nothing is finished; foreign text in it is text."""

from __future__ import annotations

import io
import time

import pytest
from helpers_wait import until
from rich.console import Console

from src_core.progress import Begun, StepProgress, Steps, mebibytes


def console() -> tuple[Console, io.StringIO]:
    sink = io.StringIO()
    return Console(file=sink, width=200), sink


def test_lines_come_while_nothing_is_finished() -> None:
    out, sink = console()
    with StepProgress(out, unit="rows", total=10, every=0.05) as progress:
        until(lambda: sink.getvalue().count("\n") >= 2)
        progress.advance(10)
    lines = sink.getvalue().splitlines()
    assert len(lines) >= 3
    assert lines[0].startswith("0/10 rows, 0.0/min, 0 s so far")
    assert lines[-1].startswith("10/10 rows, ")
    assert lines[-1].endswith("0 s left")
    time.sleep(0.15)
    assert sink.getvalue().splitlines() == lines  # nothing follows the end


def test_what_was_done_before_does_not_count_for_the_rate() -> None:
    out, sink = console()
    progress = StepProgress(out, unit="questions", total=100, done=40)
    progress.skip(59)
    assert sink.getvalue() == ""
    progress.advance()
    progress.stop()
    assert sink.getvalue().startswith("100/100 questions, ")
    assert float(sink.getvalue().split(", ")[1].removesuffix("/min").replace(",", "")) > 0


def test_units_that_need_no_work_are_not_counted_as_done() -> None:
    out, sink = console()
    with StepProgress(out, unit="passages encoded", total=78) as progress:
        progress.leave_out(77, note="77 reused")
        assert sink.getvalue() == ""
        progress.advance()
    assert sink.getvalue().startswith("1/1 passages encoded, ")
    assert "77 reused" in sink.getvalue()


def test_a_step_with_nothing_to_count_says_how_long_it_has_taken() -> None:
    out, sink = console()
    with Steps(out, every=0.05)("training on 10 vectors"):
        until(lambda: sink.getvalue().count("\n") >= 2)
    lines = sink.getvalue().splitlines()
    assert len(lines) >= 2
    assert lines[0] == "training on 10 vectors, 0 s so far"
    assert all(line.startswith("training on 10 vectors, ") for line in lines)


def test_bytes_and_notes() -> None:
    out, sink = console()
    with StepProgress(out, unit="[bold]file[/bold]", total=None, show=mebibytes) as progress:
        progress.update(2**20, total=2**20, note="loss 1.5")
    assert sink.getvalue().startswith("1 MiB/1 MiB [bold]file[/bold], ")
    assert "loss 1.5" in sink.getvalue()


def test_a_clock_that_is_set_back_changes_no_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = Begun.now()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 7200)
    facts = begun.facts()
    assert 0 <= float(facts["wall_seconds"]) < 3600
    assert facts["started"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun.day))


def test_a_quick_step_of_a_long_command_writes_no_line() -> None:
    out = io.StringIO()
    steps = Steps(Console(file=out, width=200))
    with steps("passages encoded", total=5) as progress:
        progress.advance(5)
    assert out.getvalue() == ""
    with StepProgress(Console(file=out, width=200), unit="questions", total=5) as progress:
        progress.advance(5)
    assert out.getvalue().startswith("5/5 questions")


def test_a_line_that_belongs_to_several_steps_is_printed_once() -> None:
    out = io.StringIO()
    steps = Steps(Console(file=out, width=200))
    for line in ("fetching a", "fetching a", "fetching b"):
        steps.say_once(line)
    assert out.getvalue() == "fetching a\nfetching b\n"
