"""Rules for every shell script of the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (".", "deploy", "scripts", "tests/shell")
SCRIPTS = [*sorted(path for room in ROOMS for path in (ROOT / room).glob("*.sh")), ROOT / ".ci/run"]


def test_there_are_scripts() -> None:
    names = {str(path.relative_to(ROOT)) for path in SCRIPTS}
    assert {"infer.sh", ".ci/run", "deploy/deploy.sh", "scripts/test.sh", "scripts/setup.sh"} <= names


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_script(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert "0.0.0.0" not in text
    assert not re.search(r"\bpkill\b|\bkillall\b", text), "stop by recorded PID only"
    if text.startswith("#!"):
        assert text.startswith("#!/usr/bin/env bash\n# ")
        assert "\nset -Eeuo pipefail\n" in text
        assert path.stat().st_mode & 0o111, "not executable"
    else:
        assert text.startswith("# shellcheck shell=bash")
    subprocess.run(["bash", "-n", str(path)], check=True)
