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


RUN_BY_PEOPLE = [
    path for path in SCRIPTS if path.read_text(encoding="utf-8").startswith("#!") and path.name != "run"
]
RUN_BY_PEOPLE = [path for path in RUN_BY_PEOPLE if "tests" not in path.parts]


@pytest.mark.parametrize("path", RUN_BY_PEOPLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_help_is_the_head_of_the_script_at_once(path: Path) -> None:
    done = subprocess.run(["bash", str(path), "--help"], capture_output=True, text=True, timeout=20, cwd="/")
    head = path.read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")
    assert (done.returncode, done.stdout.splitlines()[0], done.stderr) == (0, head, "")
    assert "BASH_VERSION" not in done.stdout


@pytest.mark.parametrize("path", RUN_BY_PEOPLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_another_shell_is_told_to_use_bash(path: Path) -> None:
    done = subprocess.run(["sh", str(path)], capture_output=True, text=True, timeout=20)
    if "BASH_VERSION" in subprocess.run(["sh", "-c", "set"], capture_output=True, text=True).stdout:
        return  # here sh is bash
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: this script needs bash; run: bash {path}\n"


def test_a_knob_that_is_nearly_spelt_right_is_named() -> None:
    script = "source deploy/say.sh; source deploy/knobs.sh; note_near_knobs infer.sh"
    names = {
        "N_QUESTION": "3",
        "METHODE": "x",
        "MODELS": "y",
        "PROFIL": "z",
        "QUESTIONX": "q",
        "CORPSU": "c",
        "PRFOLIE": "two swaps",
        "METHOD": "rearag",
    }
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **names},
    )
    said = set(done.stderr.splitlines())
    expected = {"N_QUESTION": "N_QUESTIONS", "METHODE": "METHOD", "MODELS": "MODEL", "PROFIL": "PROFILE"}
    expected |= {"QUESTIONX": "QUESTION", "CORPSU": "CORPUS"}
    assert said == {
        f"note: {name} is set, but no knob has this name; is it {knob}?" for name, knob in expected.items()
    }
