"""Who keeps a server running, and that none outlives its last user, whatever is killed and when."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from helpers_wait import PATIENCE, until
from test_shell_servers import Shell, alive


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.run("deploy/stop.sh")


def test_two_owners_share_and_the_last_one_stops_it(shell: Shell) -> None:
    owners = [subprocess.Popen(["sleep", "3600"]) for _ in range(2)]
    users = [str(owner.pid) for owner in owners]
    starts = [shell.start("deploy/deploy.sh", OWNER_PID=user, FAKE_DELAY="0.3") for user in users]
    assert [start.communicate(timeout=PATIENCE)[0] for start in starts] == [shell.line()] * 2
    pid = shell.pid()
    shell.release("rearag", users[0])
    assert alive(pid)
    shell.release("rearag", users[0])  # twice is once
    assert alive(pid)
    shell.release("rearag", users[1])
    assert not alive(pid)
    assert not (shell.state / "rearag.pid").exists()
    for owner in owners:
        owner.kill()
        owner.wait()


def test_an_owner_killed_outright_takes_its_server_along(shell: Shell) -> None:
    owner = subprocess.Popen(["sleep", "3600"])
    shell.run("deploy/deploy.sh", OWNER_PID=str(owner.pid))
    pid = shell.pid()
    owner.kill()  # stays a zombie until it is waited for: that counts as dead too
    until(lambda: not alive(pid))
    until(lambda: not (shell.state / "rearag.pid").exists())
    owner.wait()


@pytest.mark.parametrize("by_hand_first", [True, False])
def test_deployed_by_hand_stays(shell: Shell, by_hand_first: bool) -> None:
    owner = subprocess.Popen(["sleep", "3600"])
    users: list[dict[str, str]] = [{}, {"OWNER_PID": str(owner.pid)}]
    for env in users if by_hand_first else reversed(users):
        assert shell.run("deploy/deploy.sh", **env).returncode == 0
    shell.release("rearag", str(owner.pid))
    owner.kill()
    owner.wait()
    time.sleep(0.7)  # longer than the keeper's rhythm
    assert alive(shell.pid())


def test_ctrl_c_while_starting_leaves_nothing_behind(shell: Shell) -> None:
    deploy = shell.start("deploy/deploy.sh", FAKE_DELAY="3600")
    until(lambda: (shell.state / "rearag.pid").exists())
    pid = shell.pid()

    def pressed() -> bool:  # bash forgets a signal that comes in the moment when a child ends by itself
        os.killpg(deploy.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            deploy.wait(timeout=3)
        return deploy.returncode is not None

    until(pressed)
    assert deploy.returncode == 130
    assert not alive(pid)


def test_killed_while_its_server_loads_it_leaves_none(shell: Shell) -> None:
    owner = subprocess.Popen(["sleep", "3600"])
    deploy = shell.start("deploy/deploy.sh", OWNER_PID=str(owner.pid), FAKE_DELAY="3600")
    until(lambda: (shell.state / "rearag.pid").exists())
    pid = shell.pid()
    os.killpg(deploy.pid, signal.SIGKILL)
    owner.kill()
    owner.wait()
    until(lambda: not alive(pid))
    until(lambda: not (shell.state / "rearag.pid").exists())


def test_killed_in_the_moment_of_recording_it_leaves_none(shell: Shell, tmp_path: Path) -> None:
    """The record takes a second here: the process that becomes the server is there, its record is not."""
    slow = tmp_path / "bin/mv"
    slow.parent.mkdir()
    slow.write_text('#!/bin/sh\nsleep 1\nexec /bin/mv "$@"\n')
    slow.chmod(0o755)
    owner = subprocess.Popen(["sleep", "3600"])
    path = f"{slow.parent}:{shell.env['PATH']}"
    deploy = shell.start("deploy/deploy.sh", OWNER_PID=str(owner.pid), PATH=path)
    until(lambda: (shell.state / "rearag.pid.tmp").exists())
    pid = int((shell.state / "rearag.pid.tmp").read_text().split()[0])
    os.killpg(deploy.pid, signal.SIGKILL)
    owner.kill()
    owner.wait()
    assert alive(pid)
    until(lambda: not alive(pid))
    until(lambda: not (shell.state / "rearag.pid").exists())


def test_a_state_folder_that_cannot_be_written_is_one_sentence(shell: Shell, tmp_path: Path) -> None:
    broken = tmp_path / "bin/mv"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho full disk >&2\nexit 1\n")
    broken.chmod(0o755)
    failed = shell.run("deploy/deploy.sh", PATH=f"{broken.parent}:{shell.env['PATH']}")
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"error: could not record rearag in {shell.state}; see ")
    assert failed.stderr.endswith(".log: full disk\n")
