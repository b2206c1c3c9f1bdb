"""Statuses in plain words wherever a person reads them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from src_core.html_page import fill_page
from src_core.types import Question, Status, Trajectory
from src_infer.show import outcome_lines, outcomes_text

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_meaning_in_words(status: Status) -> None:
    assert re.fullmatch(r"[a-z][A-Za-z ,:;]{10,80}", status.meaning)
    assert "_" not in status.meaning
    shown = "\n".join(map(str, outcome_lines(Trajectory(Question("q", "Why?"), (), "", status))))
    assert f"{status.value} ({status.meaning})" in shown


def test_the_outcomes_of_a_run_explain_all_but_finished() -> None:
    counts = Counter(finished=3, capped_then_answered=2, model_error=1)
    assert outcomes_text(counts) == (
        "2 capped_then_answered (answered at the limit of steps), 3 finished, 1 model_error "
        "(the LLM server failed; a run of the same name tries these questions again)"
    )


def test_the_live_page_uses_the_same_words() -> None:
    script = (ROOT / "src_demo/page/render.js").read_text(encoding="utf-8")
    endings = dict(re.findall(r'^  (\w+): "([^"]+)",$', script, re.MULTILINE))
    assert endings == {
        status.value: status.meaning
        for status in Status
        if not status.retryable and status is not Status.REFUSED  # those are shown as errors
    }


def test_the_title_of_a_page_is_plain() -> None:
    page = fill_page("<title>{{title}}</title>", title="a\u202e<b>\x1b\n", style="", script="", data={})
    assert page.decode() == "<title>a�&lt;b&gt;␛</title>"
