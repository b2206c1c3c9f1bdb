"""Every target that docs/paper_map.md names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TARGETS = sorted(
    set(re.findall(r"`(src_[\w.]+):(\w+)`", (ROOT / "docs/paper_map.md").read_text(encoding="utf-8")))
)


def defined(module: str) -> set[str]:
    """The functions and classes that a module defines, read without importing it (some need torch)."""
    place = ROOT.joinpath(*module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in tree.body if isinstance(node, kinds)}


def test_the_map_names_targets() -> None:
    assert len(TARGETS) > 10


@pytest.mark.parametrize(("module", "name"), TARGETS)
def test_target_exists(module: str, name: str) -> None:
    assert name in defined(module)


def test_what_is_not_defined_is_not_found() -> None:
    assert "objective_of" in defined("src_train.objectives")
    assert "torch" not in defined("src_train.objectives")
