"""deploy/deploy_demo.sh: the page alone or with its servers, reused and stopped as the other servers are."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_wait import PATIENCE, until
from test_shell_infer import Infer
from test_shell_servers import ROOT, Shell, alive


class Demo(Infer):
    """`deploy_demo.sh` in the CPU profile; the page and its servers are fakes."""

    script = "deploy/deploy_demo.sh"
    demo_line = ""

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.dump = tmp / "dump.json"
        self.demo_line = self.line("demo", "DEMO_PORT") + "what runs stays until: bash deploy/stop.sh\n"

    def ports(self) -> str:
        """The ports, none of which is the default, as a command names them."""
        names = ("REARAG_PORT", "RETRIEVER_PORT", "DEMO_PORT")
        return "".join(f"{name}={self.env[name]} " for name in names)

    def start_with(self) -> str:
        """The command that starts the servers again."""
        return next(word for word in self.words() if "start_with=" in word).partition("start_with=")[2]

    def words(self) -> list[str]:
        """The command line of the server that was started last."""
        words: list[str] = json.loads(self.dump.read_text())["argv"]
        return words


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    made.run("deploy/stop.sh")


def test_the_page_comes_up_alone_and_is_reused_and_stopped(demo: Demo) -> None:
    first = demo.run(demo.script, FAKE_DUMP=str(demo.dump))
    assert (first.stdout, first.stderr, first.returncode) == (demo.demo_line, "", 0)
    pid = demo.pid("demo")
    assert demo.words() == [
        "-m",
        "src_demo.server",
        "configs/infer/cpu.yaml",
        "host=127.0.0.1",
        f"port={demo.env['DEMO_PORT']}",
        f"retriever=http://127.0.0.1:{demo.env['RETRIEVER_PORT']}",
        f"agent.url=http://127.0.0.1:{demo.port}/v1",
        f"reader.url=http://127.0.0.1:{demo.port}/v1",
        f"serving.start_with={demo.ports()}WITH_SERVERS=1 PROFILE=cpu bash deploy/deploy_demo.sh",
    ]
    again = demo.run(demo.script)
    assert (again.stdout, again.returncode, demo.pid("demo")) == (demo.demo_line, 0, pid)
    rows = {row.split()[0]: row for row in demo.run("deploy/status.sh").stdout.splitlines()}
    assert "healthy (used by: nobody; it stays until deploy/stop.sh)" in rows["demo"]
    assert "not running" in rows["retriever"]
    other = demo.run(demo.script, "top_k=5")
    assert other.returncode == 2
    assert "demo already runs with other settings" in other.stderr
    assert demo.run("deploy/stop.sh", "demo").stdout == f"demo stopped (PID {pid})\n"
    assert not alive(pid)


def test_the_hint_names_the_callers_model_server_without_its_login(demo: Demo) -> None:
    knobs = {"BASE_URL": "http://me:s3cr3t@127.0.0.1:11434/v1", "MODEL_NAME": "qwen3:8b", "PROFILE": ""}
    done = demo.run(demo.script, FAKE_DUMP=str(demo.dump), **knobs)
    assert done.returncode == 0, done.stderr
    assert demo.words()[-1] == (
        f"serving.start_with=BASE_URL=http://127.0.0.1:11434/v1 MODEL_NAME=qwen3:8b {demo.ports()}"
        "WITH_SERVERS=1 PROFILE=server bash deploy/deploy_demo.sh"
    )


def test_the_hint_starts_what_the_page_was_started_with(demo: Demo, tmp_path: Path) -> None:
    """Corpus, folders, ports and settings, quoted; the page that runs is the same then, and is kept."""
    corpus = tmp_path / "my 'best' $(touch x).jsonl"
    corpus.write_text('{"id": "1", "contents": "An island."}\n')
    knobs = {
        "PROFILE": "",
        "BASE_URL": "http://me:p@ss@127.0.0.1:1/v1?a=1&b=2",
        "INDEX_DIR": str(tmp_path / "i"),
    }
    setting = "agent.system_prompt=Be brief; be exact"
    done = demo.run(demo.script, setting, f"CORPUS={corpus}", FAKE_DUMP=str(demo.dump), **knobs)
    assert done.returncode == 0, done.stderr
    command = demo.start_with()
    assert "ss@" not in command
    words = shlex.split(command)
    assert words == [
        "BASE_URL=http://127.0.0.1:1/v1?a=1&b=2",
        f"CORPUS={corpus}",
        f"INDEX_DIR={knobs['INDEX_DIR']}",
        *demo.ports().split(),
        *("WITH_SERVERS=1", "PROFILE=server", "bash", demo.script, setting),
    ]


def test_the_hint_keeps_the_page_and_starts_the_retriever_again(demo: Demo, tmp_path: Path) -> None:
    corpus = tmp_path / "my docs.jsonl"
    corpus.write_text('{"id": "1", "contents": "An island."}\n')
    first = demo.run(
        demo.script, f"CORPUS={corpus}", "top_k=3", MODEL="smollm2-135m", FAKE_DUMP=str(demo.dump)
    )
    assert first.returncode == 0, first.stderr
    pid, command = demo.pid("demo"), demo.start_with()
    bare = {name: value for name, value in demo.env.items() if not name.endswith("_PORT")}
    again = subprocess.run(["bash", "-c", command], cwd=ROOT, env=bare, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert demo.pid("demo") == pid
    assert f"corpus_path={str(corpus).replace(' ', chr(92) + ' ')} " in demo.record("retriever")[4]
    assert demo.record("retriever")[3] == demo.env["RETRIEVER_PORT"]


def test_a_default_port_and_a_key_are_not_in_the_hint() -> None:
    code = "source deploy/start_command.sh; given_knobs RETRIEVER_PORT DEMO_PORT DEMO_HOST ANSWER_LLM_PORT"
    ports = {
        "RETRIEVER_PORT": "9892",
        "DEMO_PORT": "10235",
        "DEMO_HOST": "127.0.0.1",
        "ANSWER_LLM_PORT": "9893",
    }
    env = {"PATH": os.environ["PATH"], **ports}
    done = subprocess.run(["bash", "-euc", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout == "DEMO_PORT=10235 ANSWER_LLM_PORT=9893 ", done.stderr
    knobs = (ROOT / "deploy/start_command.sh").read_text().partition("SERVED_KNOBS=(")[2].partition(")\n")[0]
    assert "KEY" not in knobs
    assert "REARAG_TOKEN" not in knobs


def test_a_page_with_other_settings_is_told_before_any_server_starts(demo: Demo) -> None:
    assert demo.run(demo.script).returncode == 0
    other = demo.run(demo.script, "top_k=5", WITH_SERVERS="1")
    assert (other.returncode, other.stdout) == (2, "")
    assert other.stderr.startswith("error: demo already runs with other settings")
    assert demo.fetched() == []
    assert not (demo.state / "retriever.pid").exists()


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ((), "questions="),
        (("questions=data/sample_world/questions.jsonl",), "questions=data/sample_world/questions.jsonl"),
    ],
)
def test_another_corpus_is_not_asked_the_questions_of_the_sample_world(
    demo: Demo, tmp_path: Path, more: tuple[str, ...], asked: str
) -> None:
    corpus = tmp_path / "mine.jsonl"
    corpus.write_text('{"id": "1", "contents": "An island."}\n')
    done = demo.run(demo.script, f"CORPUS={corpus}", *more, FAKE_DUMP=str(demo.dump))
    assert done.returncode == 0, done.stderr
    assert [word for word in demo.words() if word.startswith("questions=")] == [asked]


def test_with_servers_it_starts_them_first_and_all_stay(demo: Demo) -> None:
    done = demo.run(demo.script, "WITH_SERVERS=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == demo.line("retriever", "RETRIEVER_PORT") + demo.line() + demo.demo_line
    assert demo.fetched() == ["e5-small", "qwen2.5-coder-1.5b"]
    pids = [demo.pid(name) for name in ("retriever", "rearag", "demo")]
    assert all(alive(pid) for pid in pids)
    kept = "healthy (used by: nobody; it stays until deploy/stop.sh)"
    until(lambda: demo.run("deploy/status.sh").stdout.count(kept) == 3)
    assert demo.run("deploy/stop.sh").stdout.count("stopped") == 3


def test_a_taken_port_is_told_before_any_server_starts(demo: Demo) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(demo.env["DEMO_PORT"])))
        taken.listen()
        done = demo.run(demo.script, "WITH_SERVERS=1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"error: port {demo.env['DEMO_PORT']} on 127.0.0.1, where the page would be, is"
    )
    assert demo.fetched() == []
    assert not (demo.state / "retriever.pid").exists()


def test_servers_that_outlive_a_failed_page_are_told(demo: Demo) -> None:
    done = demo.run(demo.script, "WITH_SERVERS=1", FAKE_DIES="src_demo.server")
    assert done.returncode == 2
    assert done.stdout.endswith("what runs stays until: bash deploy/stop.sh\n")
    assert alive(demo.pid("retriever"))


def test_the_pages_servers_are_shared_where_the_model_is_the_same(demo: Demo) -> None:
    assert demo.run(demo.script, "WITH_SERVERS=1").returncode == 0
    pids = [demo.pid(name) for name in ("retriever", "rearag", "demo")]
    done = demo.run("data_construct.sh")
    assert done.returncode == 0, done.stderr
    assert done.stdout == demo.line("retriever", "RETRIEVER_PORT") + demo.line()
    assert [demo.pid(name) for name in ("retriever", "rearag", "demo")] == pids
    assert all(alive(pid) for pid in pids)


def test_another_model_than_the_pages_is_refused_before_it_is_fetched(demo: Demo) -> None:
    """The page serves the model of the profile small, data_construct.sh wants that of cpu."""
    assert demo.run(demo.script, "WITH_SERVERS=1", PROFILE="small").returncode == 0
    Path(f"{demo.arguments}.fetched").unlink()
    pid = demo.pid()
    refused = demo.run("data_construct.sh")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"error: rearag already runs with other settings (PID {pid}), for the live page on "
        f"http://127.0.0.1:{demo.env['DEMO_PORT']}; stop the page and its servers first: "
        "bash deploy/stop.sh\n"
    )
    assert demo.fetched() == []
    misspelt = demo.run("infer.sh", MODEL="qwen2.5-codr-1.5b", PROFILE="cpu")
    assert (misspelt.returncode, misspelt.stdout) == (2, "")
    assert "no model is called 'qwen2.5-codr-1.5b'; did you mean qwen2.5-coder-1.5b? " in misspelt.stderr
    lost = demo.run("infer.sh", MODEL="runs/nowhere/model", PROFILE="cpu")
    assert lost.stderr == "error: there is no model runs/nowhere/model; check the path that MODEL names\n"
    assert demo.run("deploy/stop.sh").stdout.count("stopped") == 3
    done = demo.run("data_construct.sh")
    assert done.returncode == 0, done.stderr


def test_a_script_that_uses_the_server_is_named(demo: Demo) -> None:
    ready = demo.state.parent / "ready"
    other = demo.start("infer.sh", FAKE_RUN=f"while [[ ! -f {ready} ]]; do sleep 0.05; done")
    until(lambda: demo.arguments.exists())
    refused = demo.run("data_construct.sh", MODEL="smollm2-135m")
    assert refused.returncode == 2
    assert f"for 'bash {ROOT}/infer.sh' (PID {other.pid}); wait until that ends, or stop" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    ready.touch()
    other.communicate(timeout=PATIENCE)


def test_the_page_that_runs_is_kept_when_its_servers_are_started(demo: Demo) -> None:
    assert demo.run(demo.script).stdout == demo.demo_line
    pid = demo.pid("demo")
    assert demo.run(demo.script, WITH_SERVERS="1").stdout.endswith(demo.demo_line)
    assert demo.pid("demo") == pid


def test_a_server_that_dies_is_told_and_no_page_begins(demo: Demo) -> None:
    failed = demo.run(demo.script, "WITH_SERVERS=1", FAKE_LLM_DIES="1")
    assert failed.returncode == 2
    assert "rearag died while starting" in failed.stderr
    assert not (demo.state / "demo.pid").exists()


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("PROFILE=tpu", "there is no profile 'tpu'"),
        ("WITH_SERVER=1", "no knob is called WITH_SERVER"),
        ("hello", "cannot read 'hello'; write a setting as key=value, e.g. bash deploy/deploy_demo.sh"),
        ("limits.t_mx=8", "unknown setting limits.t_mx"),
        ("method=magic", "no method 'magic'"),
        ("serving.max_runs=0", "setting 'serving.max_runs' is wrong"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_fetched(demo: Demo, argument: str, words: str) -> None:
    failed = demo.run(demo.script, argument, WITH_SERVERS="1", REAL_CHECK="1")
    assert failed.returncode in (1, 2)
    assert failed.stdout == ""
    assert len(failed.stderr.splitlines()) == 1
    assert f"error: {words}" in failed.stderr
    assert demo.fetched() == []
    assert not list(demo.state.glob("*.pid"))


def test_help_is_the_head_of_the_file(demo: Demo) -> None:
    shown = demo.run(demo.script, "--help").stdout
    assert shown.startswith("The live page")
    assert "set -E" not in shown


def test_the_gpu_profile_speaks_to_the_deployed_servers(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    dump = tmp_path / "dump.json"
    try:
        done = shell.run("deploy/deploy_demo.sh", PROFILE="gpu", WITH_SERVERS="1", FAKE_DUMP=str(dump))
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-2] == shell.line("demo", "DEMO_PORT").strip()
        assert done.stdout.count("running on") == 4
        words = json.loads(dump.read_text())["argv"]
        assert "configs/infer/gpu.yaml" in words
        assert f"reader.url=http://127.0.0.1:{shell.env['ANSWER_LLM_PORT']}/v1" in words
        assert not [word for word in words if word.startswith(("serving.", "agent.model="))]
    finally:
        shell.run("deploy/stop.sh")


def test_the_real_page_on_a_machine_where_nothing_else_runs(demo: Demo) -> None:
    """The script and the real server: it comes up, and says what is missing and what starts it."""
    python = Path(demo.env["VENV"]) / "bin/python"
    python.unlink()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    deploy = demo.start(demo.script)
    out, err = deploy.communicate(timeout=2 * PATIENCE)
    assert (out, deploy.returncode) == (demo.demo_line, 0), err
    url = f"http://127.0.0.1:{demo.env['DEMO_PORT']}/api/status"
    code = f"import urllib.request as u; print(u.urlopen({url!r}).read().decode())"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    servers = json.loads(asked.stdout)["servers"]
    assert [server["name"] for server in servers] == ["model server", "retriever"]
    for server in servers:
        assert server["serves"] == ""
        assert server["problem"].endswith(
            f"does not answer; '{demo.ports()}"
            "WITH_SERVERS=1 PROFILE=cpu bash deploy/deploy_demo.sh' starts it"
        )
    pid = demo.pid("demo")
    os.kill(pid, 0)
    assert "demo stopped" in demo.run("deploy/stop.sh").stdout
    assert not alive(pid)
