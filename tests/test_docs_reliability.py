"""docs/reliability.md: each kind of trouble has a test, and each test that the page names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
HEAD = "| kind | right behaviour | tests | figure |"
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
LEAST = 44
"""Kinds of trouble in the bug reports and in the deliberate breaking that the page came from."""


def rows() -> list[list[str]]:
    """The cells of all rows of the page's tables of kinds."""
    found = []
    for table in PAGE.split(HEAD)[1:]:
        for line in table.splitlines()[2:]:
            if not line.startswith("|"):
                break
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


@cache
def functions_of(file: str) -> set[str]:
    """The test functions of a file, read without importing it: some need packages that are not here."""
    path = ROOT / "tests" / file
    if not path.is_file():
        return set()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, kinds)}


def test_the_page_has_every_kind() -> None:
    assert len(rows()) >= LEAST
    kinds = [row[0] for row in rows()]
    assert len(kinds) == len(set(kinds))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_kind_has_a_behaviour_a_test_that_exists_and_a_figure(row: list[str]) -> None:
    assert len(row) == 4
    kind, behaviour, tests, figure = row
    assert kind
    assert behaviour
    assert figure
    assert NAMED.findall(tests), f"no test is named for: {kind}"


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED.findall(PAGE)}))
def test_the_tests_that_the_page_names_exist(file: str) -> None:
    named = {name for other, name in NAMED.findall(PAGE) if other == file}
    assert named - functions_of(file) == set()
