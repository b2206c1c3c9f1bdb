"""Every target that docs/paper_map.md names exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TARGETS = sorted(
    set(re.findall(r"`(src_[\w.]+):(\w+)`", (ROOT / "docs/paper_map.md").read_text(encoding="utf-8")))
)


def test_the_map_names_targets() -> None:
    assert len(TARGETS) > 10


@pytest.mark.parametrize(("module", "name"), TARGETS)
def test_target_exists(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)
