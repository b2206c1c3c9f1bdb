"""Knobs and settings whose values are shell or YAML code: they are values, nothing of them runs."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_shell_demo import Demo
from test_shell_infer import Infer
from test_shell_servers import Shell

from src_core.config import load_config
from src_core.errors import UserError
from src_demo.config import DemoConfig

SUBSTITUTED = "$(touch {mark})"
BACKTICKS = "`touch {mark}`"
NEXT = "x; touch {mark};"
QUOTED = "' ; touch {mark} ; '"
DOUBLE = '" ; touch {mark} ; "'
LINES = "x\ntouch {mark}\n"
COMPUTED = "a[$(touch {mark})]"

INJECTIONS = [
    ("RUN_NAME", NEXT),
    ("RUN_NAME", BACKTICKS),
    ("RUN_NAME", LINES),
    ("QUESTION", SUBSTITUTED),
    ("QUESTION", DOUBLE),
    ("METHOD", BACKTICKS),
    ("METHOD", COMPUTED),
    ("N_QUESTIONS", COMPUTED),
    ("MODEL", SUBSTITUTED),
    ("MODEL", QUOTED),
    ("ADAPTER", BACKTICKS),
    ("CORPUS", SUBSTITUTED),
    ("CORPUS", QUOTED),
    ("INDEX_DIR", DOUBLE),
    ("PROFILE", SUBSTITUTED),
    ("RETRIEVER_PORT", COMPUTED),
    ("REARAG_HOST", NEXT),
    ("HOST_NAMES", SUBSTITUTED),
    ("LLAMA_FLAGS", "--seed $(touch {mark}) ; touch {mark}"),
    ("LLAMA_PARALLEL", COMPUTED),
    ("REARAG_TOKEN", BACKTICKS),
    ("RERANKER", QUOTED),
    ("START_SECONDS", COMPUTED),
    ("STOP_SECONDS", COMPUTED),
    ("ALLOW_WITHOUT_TOKEN", COMPUTED),
    ("ENGINE", SUBSTITUTED),
]


@pytest.fixture
def infer(tmp_path: Path) -> Iterator[Infer]:
    made = Infer(tmp_path)
    yield made
    made.run("deploy/stop.sh")


@pytest.mark.parametrize(("knob", "code"), INJECTIONS)
def test_no_knob_runs_code(infer: Infer, tmp_path: Path, knob: str, code: str) -> None:
    """As a variable or as an argument, in turns; it is passed on as it is, or refused in one sentence."""
    mark = tmp_path / "mark"
    value = code.format(mark=mark)
    if INJECTIONS.index((knob, code)) % 2:
        done = infer.run("infer.sh", **{"START_SECONDS": "2", knob: value})
    else:
        done = infer.run("infer.sh", f"{knob}={value}", START_SECONDS="2")
    assert not mark.exists()
    assert done.returncode in (0, 2)
    if done.returncode:
        assert "error: " in done.stderr
    elif knob in ("RUN_NAME", "QUESTION"):
        assert value.strip() in infer.arguments.read_text()


@pytest.mark.parametrize("name", ["A[$(touch {mark})]", "PATH", "BASH_ENV", "LD_PRELOAD", "A.*", "IFS"])
def test_what_is_no_knob_cannot_be_set(infer: Infer, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    done = infer.run("infer.sh", f"{name.format(mark=mark)}=/tmp")
    assert done.returncode == 2
    assert not mark.exists()


TAGS = [
    "!!python/object/apply:os.system ['touch {mark}']",
    "!!python/object/apply:subprocess.check_output [['touch', '{mark}']]",
    "!!python/object/new:os.system ['touch {mark}']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object:src_core.errors.UserError {{}}",
    "!!python/tuple [1, 2]",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {mark}']",
]


@pytest.mark.parametrize("tag", TAGS)
def test_yaml_tags_run_nothing(tmp_path: Path, tag: str) -> None:
    mark = tmp_path / "mark"
    code = tag.format(mark=mark)
    file = tmp_path / "config.yaml"
    file.write_text(f"top_k: {code}\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not valid YAML"):
        load_config(DemoConfig, file)
    for setting in (f"top_k={code}", f"serving.hosts={code}", f"method_settings={code}"):
        with pytest.raises(UserError, match="cannot read the value of the override"):
            load_config(DemoConfig, None, [setting])
    assert not mark.exists()


def test_records_and_logs_are_for_this_user_alone(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    try:
        shell.logs.mkdir(mode=0o755)
        (shell.logs / "rearag.log").write_text("of an earlier version")
        (shell.logs / "rearag.log").chmod(0o644)
        assert shell.run("deploy/deploy.sh", FAKE_LINES="3", REARAG_TOKEN="s3cret").returncode == 0
        made = [shell.state, *shell.state.rglob("*"), shell.logs / "rearag.log"]
        others = {path.name for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077}
        assert others <= {"rearag.lock"}  # it is empty
        assert stat.S_IMODE(shell.state.stat().st_mode) == 0o700
    finally:
        shell.run("deploy/stop.sh")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.rebind.test", "gpu7"])
def test_an_llm_server_on_the_network_needs_a_token(tmp_path: Path, host: str) -> None:
    shell = Shell(tmp_path)
    refused = shell.run("deploy/deploy.sh", REARAG_HOST=host)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: rearag on {host} would be open to the network without a token")
    assert not list(shell.state.glob("*.pid"))
    flags = shell.run("deploy/deploy.sh", VLLM_FLAGS=f"--seed 1 --host {host}")
    assert "VLLM_FLAGS has --host" in flags.stderr


def test_with_a_token_or_a_setting_it_may_be_on_the_network(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    for more in ({"REARAG_TOKEN": "s3cret"}, {"ALLOW_WITHOUT_TOKEN": "1"}):
        try:
            done = shell.run("deploy/deploy.sh", REARAG_HOST="0.0.0.0", **more)
            assert done.stdout == shell.line().replace("127.0.0.1", "0.0.0.0"), done.stderr
        finally:
            shell.run("deploy/stop.sh")


@pytest.mark.parametrize("token", ["a\nb", "schlüssel", "a b", "a\r\nX-Evil: 1"])
def test_a_token_that_no_header_can_carry_starts_no_server(tmp_path: Path, token: str) -> None:
    refused = Shell(tmp_path).run("deploy/deploy.sh", REARAG_TOKEN=token)
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "error: REARAG_TOKEN has a space, a line end or a character beyond ASCII"
    )


def test_the_servers_of_the_scripts_learn_their_names(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    try:
        opened = {"HOST_NAMES": "demo.example, node7", "ALLOW_WITHOUT_TOKEN": "1", "DEMO_HOST": "0.0.0.0"}
        done = demo.run(demo.script, FAKE_DUMP=str(demo.dump), **opened)
        assert done.returncode == 0, done.stderr
        assert "serving.hosts=[demo.example, node7]" in demo.words()
        assert "serving.allow_without_token=true" in demo.words()
    finally:
        demo.run("deploy/stop.sh")
