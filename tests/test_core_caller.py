"""What is printed of paths and commands works in the caller's folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from src_core.caller import CALLER, commands_seen, in_command, named_run, seen

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


def test_a_run_is_named_as_its_command_takes_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUN_NAME", raising=False)
    assert named_run("x") == "run_name=x"
    monkeypatch.setenv("RUN_NAME", "x")
    assert (named_run("x"), named_run("y")) == ("RUN_NAME=x", "run_name=y")
    assert named_run("my run; ls") == "run_name='my run; ls'"


def test_words_of_a_printed_command_are_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home := tmp_path / "my clone").mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv(CALLER, str(tmp_path))
    assert in_command("runs/a") == "'my clone/runs/a'"
    assert in_command("runs/a b", at_home=True) == "'runs/a b'"
    assert commands_seen("bash scripts/report.sh") == "bash 'my clone/scripts/report.sh'"
    done = subprocess.run(
        ["bash", "-c", f'source "{ROOT}/deploy/say.sh"; commands_seen "bash scripts/report.sh"'],
        env={CALLER: str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == r"bash my\ clone/scripts/report.sh"


@pytest.mark.parametrize("here", [True, False])
def test_an_error_names_a_command_that_works_where_the_caller_stands(here: bool, tmp_path: Path) -> None:
    folder = ROOT if here else tmp_path
    script = os.path.relpath(ROOT / "scripts/build_index.sh", folder)
    environment = {"VENV": "/nonexistent", "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", script], cwd=folder, env=environment, capture_output=True, text=True)
    command = done.stderr.partition("run bash ")[2].split()[0]
    whole = str(ROOT / "scripts/setup.sh")
    assert command == ("scripts/setup.sh" if here else min(os.path.relpath(whole, folder), whole, key=len))
    assert (folder / command).is_file()


def test_a_module_is_run_in_the_repository_by_this_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "my clone"
    clone.mkdir()
    monkeypatch.chdir(clone)
    monkeypatch.setattr("sys.executable", str(clone / ".venv/bin/python"))
    said = (
        "run .venv/bin/python -m src_eval.score runs/a; .venv-train/bin/python -m x; /a/.venv/bin/python -m y"
    )
    assert commands_seen(said) == said
    monkeypatch.setenv(CALLER, str(tmp_path))
    there = "cd 'my clone' && "
    assert commands_seen(said) == (
        f"run {there}.venv/bin/python -m src_eval.score runs/a; {there}.venv-train/bin/python -m x; "
        "/a/.venv/bin/python -m y"
    )
    monkeypatch.setattr("sys.executable", "/elsewhere/bin/python")
    assert commands_seen("use .venv/bin/python -m z") == f"use {there}/elsewhere/bin/python -m z"


@pytest.mark.parametrize("depth", [0, 1, 9])
def test_scripts_and_programs_have_one_rule_for_paths(
    depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone, mine = tmp_path / "c", tmp_path.joinpath(*["folder"] * depth)
    clone.mkdir()
    mine.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(clone)
    monkeypatch.setenv(CALLER, str(mine))
    said = "bash scripts/report.sh or bash infer.sh"
    code = f'source {ROOT}/deploy/say.sh; as_caller_sees runs/a; echo; commands_seen "$1"'
    done = subprocess.run(["bash", "-euc", code, "-", said], capture_output=True, text=True, check=True)
    assert done.stdout == f"{seen('runs/a')}\n{commands_seen(said)}"
