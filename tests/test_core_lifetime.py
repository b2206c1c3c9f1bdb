"""A command ends with the one that started it, whatever ends that one; SIGTERM ends a run as Ctrl-C does."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import ROOT, FakeLLM, settings_for, step_for
from helpers_runs import Run

from src_core.lifetime import OWNER, birth

SECONDS = 120.0
CHILD = "import time; from src_core.errors import run_main; run_main(lambda: time.sleep(3600))"


def gone(pid: int, seconds: float = SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not birth(pid):
            return True
        time.sleep(0.05)
    return False


CHILD_CODE = """import os, sys, time
from pathlib import Path
from src_core.errors import run_main

def main():
    pid = Path(sys.argv[1])
    pid.with_suffix(".tmp").write_text(str(os.getpid()))
    pid.with_suffix(".tmp").rename(pid)
    time.sleep(3600)

run_main(main)
"""
STARTER_CODE = """import signal, sys
from src_core.errors import run_main
from src_core.lifetime import run_child

for ignored in (signal.SIGHUP, signal.SIGQUIT):  # by nohup, and by a script that starts the suite with `&`
    signal.signal(ignored, signal.SIG_DFL)
run_main(lambda: run_child([sys.executable, *sys.argv[1:]]))
"""


def starter(tmp_path: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A process that runs a child with `run_child`; and the PID of the child."""
    (tmp_path / "child.py").write_text(CHILD_CODE)
    (tmp_path / "starter.py").write_text(STARTER_CODE)
    pid = tmp_path / "child.pid"
    command = [sys.executable, str(tmp_path / "starter.py"), str(tmp_path / "child.py"), str(pid)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    while not pid.exists():
        assert process.poll() is None
        time.sleep(0.02)
    return process, int(pid.read_text())


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP, signal.SIGQUIT]
)
def test_a_child_ends_with_its_starter(number: signal.Signals, tmp_path: Path) -> None:
    process, child = starter(tmp_path)
    process.send_signal(number)
    try:
        status = process.wait(SECONDS)
    finally:
        process.kill()
    assert gone(child)
    expected = {signal.SIGTERM: 143, signal.SIGINT: 130}
    assert status == expected.get(number, -number)


def test_a_starter_that_died_before_the_child_began_is_noticed() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    born = birth(dead.pid)
    dead.wait()
    for owner in (f"{dead.pid} {born or 1}", f"{os.getpid()} 12345"):  # the second: the PID was used again
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", CHILD], cwd=ROOT, env={**os.environ, OWNER: owner}, check=False
        )
        assert done.returncode == 143
        assert time.monotonic() - begun < SECONDS


def test_a_command_in_the_background_of_a_script_ends_on_sigterm(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = f"{sys.executable} -c {shlex.quote(CHILD_CODE)} {pid} & wait"  # a script's `&` ignores SIGINT
    with subprocess.Popen(["bash", "-c", command], cwd=ROOT) as script:
        deadline = time.monotonic() + SECONDS
        while not pid.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        child = int(pid.read_text())
        os.kill(child, signal.SIGTERM)
        try:
            assert gone(child, 20.0)
        finally:
            if birth(child):
                os.kill(child, signal.SIGKILL)
        script.wait(20.0)


def test_without_an_owner_a_command_runs_on() -> None:
    code = "from src_core.errors import run_main; run_main(lambda: None)"
    for owner in ("", "x", f"{os.getpid()} {birth(os.getpid())}"):
        environment = {**os.environ, OWNER: owner}
        assert (
            subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=False).returncode
            == 0
        )


@pytest.mark.parametrize("end", ["SIGTERM", "SIGTERM twice", "owner dies"])
def test_a_stopped_run_keeps_its_finished_rows_and_adds_no_failed_ones(end: str, tmp_path: Path) -> None:
    async def slowly(body: dict[str, Any]) -> str:
        await asyncio.sleep(0.05)
        return step_for(body)

    async def whole() -> None:
        async with FakeLLM(slowly) as server:
            settings = settings_for(tmp_path, server.url, count=30, in_flight=4)
            owner = await asyncio.create_subprocess_exec("sleep", "60")
            environment = {OWNER: f"{owner.pid} {birth(owner.pid)}"}
            run = Run("src_infer.run", ["configs/infer/gpu.yaml", *settings], environment=environment)
            await server.requests(30)
            if end == "owner dies":
                owner.kill()
            for _ in range(0 if end == "owner dies" else 2 if "twice" in end else 1):
                run.send_signal(signal.SIGTERM)
            out, err = await asyncio.wait_for(run.communicate(), SECONDS)
            assert run.returncode == 143, (out, err)
            assert b"Traceback" not in err
            if end != "owner dies":
                owner.kill()
            await owner.wait()
            lines = (tmp_path / "runs/r/trajectories.jsonl").read_text().splitlines()
            assert {json.loads(line)["status"] for line in lines} == {"finished"}
            assert 0 < len(lines) < 30
            again = Run("src_infer.run", ["configs/infer/gpu.yaml", *settings])
            await asyncio.wait_for(again.communicate(), 60)
            assert again.returncode == 0
            rows = [
                json.loads(line) for line in (tmp_path / "runs/r/trajectories.jsonl").read_text().splitlines()
            ]
            assert len({row["question"]["id"] for row in rows}) == len(rows) == 30

    asyncio.run(whole())


def test_output_that_is_not_utf_8_shows_other_characters(tmp_path: Path) -> None:
    code = "from src_core.errors import run_main; run_main(lambda: print('Zürich → 東京') or None)"
    for encoding in ("latin-1", "ascii"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert b"rich ?" in done.stdout
