"""What is printed of paths and commands works in the caller's folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from src_core.caller import CALLER, commands_seen, python_command, seen

ROOT = Path(__file__).resolve().parent.parent


def test_paths_and_commands_are_those_of_the_callers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, mine = tmp_path / "clone", tmp_path / "mine"
    repository.mkdir()
    mine.mkdir()
    monkeypatch.chdir(repository)
    monkeypatch.setenv(CALLER, str(mine))
    assert seen(Path("runs/a")) == "../clone/runs/a"
    assert seen("/data/runs/a") == "/data/runs/a"
    said = "run 'bash deploy/status.sh', bash scripts/report.sh runs/a or 'bash infer.sh'; bash mine.sh"
    assert commands_seen(said) == (
        "run 'bash ../clone/deploy/status.sh', bash ../clone/scripts/report.sh runs/a or "
        "'bash ../clone/infer.sh'; bash mine.sh"
    )
    (deep := tmp_path.joinpath(*"abcdefghijklmnopqrstuvwxyz")).mkdir(parents=True)
    monkeypatch.setenv(CALLER, str(deep))
    assert seen("runs/a") == str(repository / "runs/a")
    for here in ("", str(repository)):
        monkeypatch.setenv(CALLER, here)
        assert (seen("runs/a"), commands_seen(said)) == ("runs/a", said)


@pytest.mark.parametrize("here", [True, False])
def test_an_error_names_a_command_that_works_where_the_caller_stands(here: bool, tmp_path: Path) -> None:
    folder = ROOT if here else tmp_path
    script = os.path.relpath(ROOT / "scripts/build_index.sh", folder)
    environment = {"VENV": "/nonexistent", "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", script], cwd=folder, env=environment, capture_output=True, text=True)
    command = done.stderr.partition("run bash ")[2].split()[0]
    assert command == ("scripts/setup.sh" if here else os.path.relpath(ROOT / "scripts/setup.sh", folder))
    assert (folder / command).is_file()


def test_the_interpreter_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv/bin/python"))
    assert python_command() == ".venv/bin/python"
    monkeypatch.setattr("sys.executable", "/elsewhere/bin/python")
    assert python_command() == "/elsewhere/bin/python"
