"""The method that the README shows is a module that works as it stands there."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_methods import ASKED, FROM_PASSAGES, WORLD, answered, queries, runtime_for, script

import src_infer.methods
from src_core.types import Status
from src_infer.methods import method_names

README = Path(__file__).resolve().parent.parent / "README.md"


def example() -> str:
    """The only Python block of the README."""
    (block,) = re.findall(
        r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return str(block)


@pytest.fixture
def method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example on disk, in a folder that counts as `src_infer/methods/`; its name there."""
    (tmp_path / "rewrite.py").write_text(example(), encoding="utf-8")
    monkeypatch.setattr(src_infer.methods, "__path__", [*src_infer.methods.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield "rewrite"
    sys.modules.pop("src_infer.methods.rewrite", None)


def test_the_example_has_at_most_twenty_lines() -> None:
    assert len(example().splitlines()) <= 20


def test_the_example_answers_a_question(method: str, tmp_path: Path) -> None:
    assert method in method_names()
    model = script(
        tmp_path / "script.jsonl",
        [("Write one short search query", ["Jane Austen born"]), (FROM_PASSAGES, ["Steventon"])],
    )
    row = answered(method, runtime_for(model))
    assert (row.answer, row.status) == ("Steventon", Status.FINISHED)
    assert queries(row) == ["Jane Austen born"] != [ASKED]
    assert [passage.id for passage in row.steps[0].passages] == [WORLD[1].id]
    assert "Steventon" in (row.steps[0].observation or "")
    assert len(model.calls) == 2
