"""While no chain is finished, data construction says how many steps and searches were made."""

from __future__ import annotations

import asyncio
import io
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import ROOT, FakeLLM, step_for
from rich.console import Console
from test_data_run import CONFIG, settings_for

import src_data.run
from src_core.progress import StepProgress
from src_data.config import load_data_config
from src_data.run import prepare, run


async def slow_at_the_end(body: dict[str, Any]) -> str:
    """A teacher that thinks long before it finishes."""
    text = step_for(body)
    if "finish" in text:
        await asyncio.sleep(0.6)
    return text


def test_steps_and_searches_are_said_before_the_first_chain_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(src_data.run, "StepProgress", partial(StepProgress, every=0.05))
    err = Console(file=io.StringIO(), width=200)

    async def construct() -> int:
        async with FakeLLM(slow_at_the_end) as server:
            settings = settings_for(tmp_path, server.url, count=2, build_conv__num_workers=1)
            config, _ = load_data_config(Path(CONFIG), settings)
            return await run(prepare(config), err, Console(file=io.StringIO()))

    assert asyncio.run(construct()) == 0
    assert isinstance(err.file, io.StringIO)
    lines = [line for line in err.file.getvalue().splitlines() if "chains" in line]
    before = [line for line in lines if line.startswith("0/2 chains")]
    made = ("1 step and 1 search", "2 steps and 2 searches")  # of the question that comes first
    wanted = tuple(f"0/2 chains, 0.0/min, {each}, " for each in made)
    assert any(line.startswith(wanted) and line.endswith(" s so far") for line in before)
    assert "5 steps and 3 searches" in lines[-1]  # also of chains that are finished


def test_many_steps_do_not_flood_a_log() -> None:
    sink = io.StringIO()
    with StepProgress(Console(file=sink, width=200), unit="chains", total=9) as progress:
        for number in range(10_000):
            progress.detail(f"{number} steps")
    assert sink.getvalue() == ""


def test_a_terminal_shows_them_in_the_bar_at_once() -> None:
    sink = io.StringIO()
    with StepProgress(Console(file=sink, width=200, force_terminal=True), unit="chains", total=9) as progress:
        progress.detail("4 steps and 2 searches")
        progress.note("waiting for the teacher")
    assert "chains (0.0/min, 4 steps and 2 searches, waiting for the teacher)" in sink.getvalue()
