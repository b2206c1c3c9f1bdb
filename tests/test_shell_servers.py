"""deploy/*.sh with real processes: a fake server stands for vLLM, the state lies in a temporary folder."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers_wait import PATIENCE, until

ROOT = Path(__file__).resolve().parent.parent
FAKE_SERVER = ROOT / "tests/shell/fake_server.py"

Result = subprocess.CompletedProcess[str]


_given: set[int] = set()


def free_port() -> int:
    """A free port that no call before was given: scripts refuse two servers on one."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


TITLES = {"rearag": "model server", "answer_llm": "answer LLM", "teacher": "teacher"}


class Shell:
    """Scripts in an environment of their own: temporary state and logs, free ports, a fake vLLM."""

    def __init__(self, tmp: Path) -> None:
        self.models = {"rearag": "ReaRAG-9B", "answer_llm": "glm-4-9b-chat-hf", "teacher": "QwQ-32B"}
        self.state, self.logs, self.port = tmp / "state", tmp / "logs", free_port()
        vllm, python = tmp / "vllm", tmp / "venv/bin/python"
        vllm.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_SERVER} "$@"\n')
        vllm.chmod(0o755)
        python.parent.mkdir(parents=True)
        python.symlink_to(ROOT / "tests/shell/fake_python.sh")
        servers = ("RETRIEVER", "ANSWER_LLM", "TEACHER", "DEMO")
        ports = {f"{name}_PORT": str(free_port()) for name in servers}
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp),
            "STATE_DIR": str(self.state),
            "LOG_DIR": str(self.logs),
            "VLLM": str(vllm),
            "VENV": str(tmp / "venv"),
            "REARAG_PORT": str(self.port),
            "START_SECONDS": str(int(PATIENCE)),
            "STOP_SECONDS": "2",
            "REAL_PYTHON": sys.executable,
            "FAKE_SERVER": str(FAKE_SERVER),
            **ports,
        }

    def run(self, script: str, *arguments: str, cwd: Path = ROOT, **env: str) -> Result:
        command = ["bash", str(ROOT / script), *arguments]
        return subprocess.run(
            command,
            cwd=cwd,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def start(self, script: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
        command = ["bash", str(ROOT / script), *arguments]
        return subprocess.Popen(
            command,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def release(self, name: str, user: str) -> None:
        code = f'source deploy/users.sh; release_server {name} "{user}"'
        subprocess.run(["bash", "-euc", code], cwd=ROOT, env=self.env, check=True, timeout=PATIENCE)

    def record(self, name: str = "rearag") -> list[str]:
        return (self.state / f"{name}.pid").read_text().splitlines()

    def pid(self, name: str = "rearag") -> int:
        return int(self.record(name)[0])

    def line(self, name: str = "rearag", port: str = "REARAG_PORT", *, logged: bool = True) -> str:
        """What is said of a server that runs; one that a script did not start has no log of ours."""
        title = f"{TITLES[name]} ({self.models[name]})" if name in TITLES else name
        log = f"; its log: {self.logs}/{name}.log" if logged else ""
        return f"{title} running on http://127.0.0.1:{self.env[port]}{log}\n"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.run("deploy/stop.sh")


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(") ")[2][0] not in "ZX"


class Other(BaseHTTPRequestHandler):
    """Somebody else's server."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def foreign(shell: Shell) -> Iterator[type[Other]]:
    handler = type("Foreign", (Other,), {})
    server = HTTPServer(("127.0.0.1", shell.port), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield handler
    server.shutdown()
    server.server_close()


def test_the_line_comes_only_when_health_answers(shell: Shell) -> None:
    ready = shell.state.parent / "ready"
    deploy = shell.start("deploy/deploy.sh", FAKE_READY=str(ready))
    until(lambda: (shell.state / "rearag.pid").exists())
    assert "not ready" in shell.run("deploy/status.sh").stdout
    assert deploy.poll() is None
    ready.touch()
    out, err = deploy.communicate(timeout=PATIENCE)
    assert (out, err, deploy.returncode) == (shell.line(), "", 0)
    assert alive(shell.pid())


def test_a_dying_server_ends_the_script_with_the_end_of_its_log(shell: Shell) -> None:
    died = shell.run(
        "deploy/deploy.sh", FAKE_LINES="30", FAKE_DIE_AFTER="0.2", FAKE_DELAY="3600", START_SECONDS="3600"
    )
    assert died.returncode == 2
    assert died.stdout == ""
    *log, sentence = died.stderr.splitlines()
    assert log == [f"log line {number}" for number in range(10, 30)]
    assert re.fullmatch(
        r"error: rearag died while starting; .* rearag\.log for all of them", sentence.replace("/", " ")
    )
    assert "died, see" in shell.run("deploy/status.sh").stdout


def test_a_server_that_is_never_ready_is_stopped_after_the_deadline(shell: Shell) -> None:
    late = shell.run(
        "deploy/deploy.sh", FAKE_DELAY="3600", START_SECONDS="1", FAKE_DUMP=str(shell.state) + "-d"
    )
    assert late.returncode == 2
    assert late.stdout == ""
    assert "was not ready after 1 s" in late.stderr
    assert not (shell.state / "rearag.pid").exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", shell.port)) != 0


def test_reuse_refusal_and_stop(shell: Shell) -> None:
    assert shell.run("deploy/deploy.sh").stdout == shell.line()
    pid = shell.pid()
    again = shell.run("deploy/deploy.sh")
    assert (again.stdout, again.stderr, again.returncode) == (shell.line(), "", 0)
    assert shell.pid() == pid
    for change in ({"MAX_MODEL_LEN": "999"}, {"GPU_FOR_REARAG": "7"}, {"REARAG_TOKEN": "other"}):
        refused = shell.run("deploy/deploy.sh", **change)
        assert refused.returncode == 2
        assert refused.stderr == (
            f"error: rearag already runs with other settings (PID {pid}); "
            "stop it first: bash deploy/stop.sh rearag\n"
        )
    bystander = subprocess.Popen(["sleep", "3600"])
    stopped = shell.run("deploy/stop.sh", "rearag")
    assert stopped.stdout == f"rearag stopped (PID {pid})\n"
    assert not alive(pid)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    assert "rearag was not running" in shell.run("deploy/stop.sh").stdout


def test_a_stubborn_server_is_killed(shell: Shell) -> None:
    shell.run("deploy/deploy.sh", FAKE_STUBBORN="1")
    pid = shell.pid()
    shell.run("deploy/stop.sh", STOP_SECONDS="0")
    assert not alive(pid)


def test_a_recycled_pid_is_never_stopped(shell: Shell) -> None:
    stranger = subprocess.Popen(["sleep", "3600"])
    shell.state.mkdir()
    record = f"{stranger.pid}\n12345\n127.0.0.1\n{shell.port}\nsettings\n"
    (shell.state / "rearag.pid").write_text(record)
    assert "died, see" in shell.run("deploy/status.sh").stdout
    assert "rearag was not running" in shell.run("deploy/stop.sh").stdout
    (shell.state / "rearag.pid").write_text(record)
    assert shell.run("deploy/deploy.sh").stdout == shell.line()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_dead_servers_record_does_not_stand_in_the_way(shell: Shell) -> None:
    shell.run("deploy/deploy.sh")
    os.kill(shell.pid(), signal.SIGKILL)
    assert shell.run("deploy/deploy.sh").stdout == shell.line()


def test_a_healthy_server_of_somebody_else_is_reused_and_left_alone(
    shell: Shell, foreign: type[Other]
) -> None:
    reused = shell.run("deploy/deploy.sh")
    assert (reused.stdout, reused.returncode) == (shell.line(logged=False), 0)
    assert "not started by these scripts" in reused.stderr
    assert "healthy, but not started by these scripts" in shell.run("deploy/status.sh").stdout
    assert "rearag was not running" in shell.run("deploy/stop.sh").stdout


def test_a_taken_port_is_one_sentence(shell: Shell, foreign: type[Other]) -> None:
    foreign.status = 404
    refused = shell.run("deploy/deploy.sh")
    assert refused.returncode == 2
    assert re.fullmatch(rf"error: port {shell.port} on 127.0.0.1 is taken by .*\n", refused.stderr)
    assert "taken by something else" in shell.run("deploy/status.sh").stdout


def test_status_shows_where_a_server_died(shell: Shell) -> None:
    shell.run("deploy/deploy.sh")
    pid = shell.pid()
    os.killpg(pid, signal.SIGKILL)
    until(lambda: not alive(pid))
    rows = shell.run("deploy/status.sh", REARAG_PORT="1", RETRIEVER_PORT="2").stdout.splitlines()
    log = f"{shell.logs}/rearag.log"
    assert rows[1].split(maxsplit=3) == ["rearag", f"http://127.0.0.1:{shell.port}", "-", f"died, see {log}"]
    assert rows[2].split(maxsplit=3) == ["retriever", "http://127.0.0.1:2", "-", "not running"]
    (shell.state / "rearag.pid").write_text("")  # a record without an address
    rows = shell.run("deploy/status.sh", REARAG_PORT="1").stdout.splitlines()
    assert rows[1].split(maxsplit=3) == ["rearag", "http://127.0.0.1:1", "-", f"died, see {log}"]


def test_status_shows_where_a_server_really_runs(shell: Shell) -> None:
    shell.run("deploy/deploy.sh")
    rows: list[str] = []

    def healthy() -> bool:  # a busy machine may be slow to answer the first time
        rows[:] = shell.run("deploy/status.sh", REARAG_PORT="1").stdout.splitlines()
        return "healthy" in rows[1]

    until(healthy)
    assert rows[0].split() == ["server", "address", "PID", "state"]
    assert rows[1].split(maxsplit=3) == [
        "rearag",
        f"http://127.0.0.1:{shell.port}",
        str(shell.pid()),
        "healthy (used by: nobody; it stays until deploy/stop.sh)",
    ]
    assert [row.split(maxsplit=3)[3] for row in rows[2:]] == ["not running"] * 4


def test_the_environment_reaches_the_command(shell: Shell, tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    settings = {
        "REARAG_MODEL_DIR": "some/model",
        "GPU_FOR_REARAG": "1,3",
        "MEMORY_FOR_REARAG": "0.33",
        "MAX_MODEL_LEN": "77",
        "VLLM_FLAGS": "--seed 5 --enforce-eager",
        "TRUST_REMOTE_CODE": "1",
        "REARAG_TOKEN": "s3cret",
    }
    assert shell.run("deploy/deploy.sh", FAKE_DUMP=str(dump), **settings).returncode == 0
    seen: dict[str, Any] = json.loads(dump.read_text())
    assert seen["argv"] == (
        f"serve some/model --host 127.0.0.1 --port {shell.port} --enable-prefix-caching "
        "--tensor-parallel-size 2 --gpu-memory-utilization 0.33 --max-model-len 77 "
        "--allowed-origins [] "
        "--trust-remote-code --seed 5 --enforce-eager"
    ).split(" ")
    assert seen["env"]["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert seen["env"]["VLLM_API_KEY"] == "s3cret"
    assert "s3cret" not in "".join(file.read_text() for file in shell.state.glob("*.*") if file.is_file())


def test_every_setting_of_the_file_can_be_overridden() -> None:
    text = (ROOT / "deploy/deploy_config.sh").read_text(encoding="utf-8")
    assigned = re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)
    assert len(assigned) > 25
    for name, value in assigned:
        assert value.startswith(f"${{{name}:-"), name
    for host in ("REARAG", "RETRIEVER", "ANSWER_LLM", "TEACHER", "DEMO"):
        assert f"{host}_HOST:-127.0.0.1" in text


def test_the_rag_engine_and_the_teacher(shell: Shell, tmp_path: Path) -> None:
    engine = shell.run("deploy/deploy_rag_engine.sh", ONE_GPU="0")
    assert engine.stdout == shell.line("retriever", "RETRIEVER_PORT") + shell.line(
        "answer_llm", "ANSWER_LLM_PORT"
    )
    dump = tmp_path / "dump.json"
    teacher = shell.run("deploy/deploy_async.sh", FAKE_DUMP=str(dump), cwd=tmp_path)
    assert teacher.stdout == shell.line("teacher", "TEACHER_PORT")
    command = " ".join(json.loads(dump.read_text())["argv"])
    assert "Qwen/QwQ-32B" in command
    assert "--tensor-parallel-size 2 --gpu-memory-utilization 0.8" in command
    assert shell.run("deploy/stop.sh").stdout.count("stopped") == 3


def test_missing_pieces_are_one_sentence(shell: Shell, tmp_path: Path) -> None:
    for script, env, words in (
        ("deploy/deploy.sh", {"VLLM": str(tmp_path / "no-vllm")}, "bash scripts/setup.sh requirements.txt"),
        ("deploy/deploy.sh", {"ENGINE": "magic"}, "it must be vllm or llama.cpp"),
        (
            "deploy/deploy.sh",
            {"ENGINE": "llama.cpp", "VENV": str(tmp_path / "none")},
            "requirements-local.txt",
        ),
        ("deploy/deploy_rag_engine.sh", {"VENV": str(tmp_path / "none")}, "requirements.txt"),
    ):
        refused = shell.run(script, **env)
        assert refused.returncode == 2
        assert words in refused.stderr
        assert refused.stderr.count("\n") == 1
    unknown = shell.run("deploy/stop.sh", "nobody")
    assert unknown.returncode == 2
    assert "no server is called 'nobody'" in unknown.stderr
