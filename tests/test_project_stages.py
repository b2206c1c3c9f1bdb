"""Every test runs in one stage of scripts/test.sh, and what did not run is named with its reason."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression
from helpers_stages import ALL_TRAINING, ROOT, Event, outcomes, totals

CALL = re.compile(r"^ *(?:if .*; then )?(?:VENV=\S+ )?tests (\w+) ([^;\n]+)", re.MULTILINE)
STAGES = dict(CALL.findall((ROOT / "scripts/test.sh").read_text("utf-8")))
HERE = "not gpu and not vllm"
GATES = re.compile(r"importorskip|skipif|pytest\.skip\(|mark\.skip\b|unittest\.skip|mark\.xfail")
MARK = "pytestmark = pytest.mark.training"  # at the beginning of a line here it would be this file's own
PROJECT = {
    "pyproject.toml": """[tool.pytest.ini_options]
markers = ["slow: big models", "training: torch", "ray: Ray", "gpu: a GPU; how to get one", "vllm: vLLM",
  "browser: one", "published: files"]
""",
    "conftest.py": 'pytest_plugins = ["helpers_stages"]\n',
    "test_light.py": """import pytest
def test_right(tmp_path, monkeypatch): monkeypatch.chdir(tmp_path)
def test_wrong(): assert False
@pytest.mark.vllm
def test_of_a_server(): pass
@pytest.mark.gpu
def test_of_a_gpu(): pass
@pytest.mark.ray
def test_of_ray(): pass
@pytest.mark.slow
def test_of_a_model(): pass
@pytest.fixture
def torn():
    yield
    raise ValueError
def test_clean_up(torn): pass
""",
    "test_heavy.py": f"""import pytest
nothing = pytest.importorskip("no_such_package")
{MARK}
def test_of_training(): pass
""",
}


def test_each_test_belongs_to_one_stage() -> None:
    expressions = {
        name: Expression.compile(text.strip('"').replace("$here", HERE)) for name, text in STAGES.items()
    }
    assert set(expressions) == {"usual", "training", "ray", "slow", "vllm"}
    for flags in itertools.product([False, True], repeat=3):
        marks = {name for name, on in zip(["slow", "training", "ray"], flags, strict=True) if on}
        if {"training", "ray"} <= marks:
            continue
        fitting = [name for name, found in expressions.items() if found.evaluate(marks.__contains__)]
        assert len(fitting) == 1, marks


def test_a_test_is_skipped_by_its_marker_and_nowhere_else() -> None:
    """Packages of requirements-dev.txt are imported plainly: one that is missing is a failure."""
    gates = {}
    for path in sorted((ROOT / "tests").glob("*.py")):
        text = path.read_text("utf-8")
        if path.name in ("helpers_stages.py", Path(__file__).name):
            continue
        if ALL_TRAINING.search(text):
            text = text.replace('pytest.importorskip("torch")', "")
        gates[path.name] = GATES.findall(text)
    assert {name: found for name, found in gates.items() if found} == {}


def run_stage(folder: Path, name: str, markers: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", markers]
    return subprocess.run(
        [*command, f"--stage-report=../reports/{name}.jsonl"],
        cwd=folder / "project",
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "reports").mkdir()
    for name, text in PROJECT.items():
        (tmp_path / "project" / name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "tests/helpers_stages.py", tmp_path / "project")
    return tmp_path


def test_the_last_lines_name_what_failed_was_skipped_or_did_not_run(folder: Path) -> None:
    usual = run_stage(folder, "usual", f"{HERE} and not slow and not training and not ray")
    assert usual.returncode == 1
    assert "1 failed, 2 passed, 4 deselected, 1 error" in usual.stdout  # test_heavy.py was not imported
    assert run_stage(folder, "ray", f"{HERE} and ray and not training").returncode == 0
    script = [sys.executable, folder / "project/helpers_stages.py", folder / "reports", "12"]
    shown = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == [
        "== tests by stage",
        "usual           1 passed      2 failed      0 skipped",
        "ray             0 passed      0 failed      1 skipped",
        "skipped: test_light.py::test_of_ray: no Ray here: VENV=.venv-test-ray bash scripts/test.sh tests/…",
        "not run here: 1 tests of gpu: a GPU; how to get one",
        "not run here: 1 tests of slow: big models",
        "not run here: 1 files of training: torch",
        "not run here: 1 tests of vllm: vLLM",
        "2 failed, 1 passed, 1 skipped in 12.00s",
    ]


def test_a_stage_that_died_and_files_that_no_stage_imported_are_named() -> None:
    events = [Event("t.py::a", "passed"), Event("heavy.py", "left", "training: torch")]
    lines = totals({"usual": events}, 1.5)
    assert lines[1] == "usual           1 passed      0 failed      0 skipped, and it did not end"
    assert lines[2:] == ["not run here: 1 files of training: torch", "1 passed, 0 skipped in 1.50s"]
    trained = [Event("heavy.py::b", "passed"), Event("", "done")]
    assert "not run" not in "\n".join(totals({"usual": events, "training": trained}, 1.5))


def test_a_failure_is_not_undone_by_the_next_phase() -> None:
    assert outcomes([Event("a", "failed"), Event("a", "passed")]) == {"a": "failed"}
    assert outcomes([Event("a", "passed"), Event("a", "failed")]) == {"a": "failed"}
