"""Ports that people name are checked before any work, in every script that reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("REARAG", "ANSWER_LLM", "RETRIEVER", "TEACHER", "DEMO")
SCRIPTS = (
    "infer.sh",
    "data_construct.sh",
    "scripts/evaluate.sh",
    "deploy/deploy.sh",
    "deploy/deploy_demo.sh",
)


def refused(script: str, tmp: Path, *arguments: str, **env: str) -> str:
    """What the script says; nothing is made and nothing answered."""
    given = {"PATH": "/usr/bin:/bin", "HOME": "/", "VENV": f"{tmp}/v", "STATE_DIR": f"{tmp}/s", **env}
    smoke = [str(ROOT / "configs/eval/smoke.yaml")] if "evaluate" in script else []
    command = ["bash", str(ROOT / script), *smoke, *arguments]
    done = subprocess.run(command, cwd=tmp, env=given, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, list(tmp.iterdir())) == (2, "", [])
    return done.stderr


@pytest.mark.parametrize("value", ["99999", "abc", "0", "-1", "1.5", "080", "1; touch x", "x[$(touch x)]"])
def test_what_is_no_port_is_named_with_its_knob(value: str, tmp_path: Path) -> None:
    said = f"_PORT is '{value}'; choose a whole number from 1 to 65535\n"
    assert refused("infer.sh", tmp_path, REARAG_PORT=value) == f"error: REARAG{said}"
    assert refused("infer.sh", tmp_path, f"RETRIEVER_PORT={value}") == f"error: RETRIEVER{said}"


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", NAMES)
def test_each_script_checks_each_port(script: str, name: str, tmp_path: Path) -> None:
    said = refused(script, tmp_path, **{f"{name}_PORT": "65536"})
    assert said.startswith(f"error: {name}_PORT is '65536'; choose a")


def differing(*names: str, **given: str) -> str:
    code = 'source deploy/say.sh; source deploy/ports.sh; different_ports "$@"; echo fine'
    hosts = {f"{name}_HOST": "127.0.0.1" for name in NAMES}
    env = {"PATH": "/usr/bin:/bin", **hosts, **given}
    done = subprocess.run(
        ["bash", "-euc", code, "-", *names], cwd=ROOT, env=env, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_servers_that_run_together_have_ports_of_their_own() -> None:
    both = {"REARAG_PORT": "10120", "ANSWER_LLM_PORT": "10120", "RETRIEVER_PORT": "10121"}
    loop = ("REARAG", "ANSWER_LLM", "RETRIEVER")
    assert differing(*loop, **both) == "fine\n"  # one server in both roles
    same = both | {"RETRIEVER_PORT": "10120"}
    assert differing(*loop, **same) == "error: REARAG_PORT and RETRIEVER_PORT are both 10120; choose two\n"
    assert differing(*loop, **same, RETRIEVER_HOST="10.0.0.2") == "fine\n"


@pytest.mark.parametrize(
    ("script", "ports", "names"),
    [
        ("infer.sh", {"REARAG_PORT": "10120", "RETRIEVER_PORT": "10120"}, "REARAG_PORT and RETRIEVER_PORT"),
        ("infer.sh", {"RETRIEVER_PORT": "9891"}, "REARAG_PORT and RETRIEVER_PORT"),
        ("infer.sh", {"ANSWER_LLM_PORT": "9892"}, "ANSWER_LLM_PORT and RETRIEVER_PORT"),
        ("scripts/evaluate.sh", {"RETRIEVER_PORT": "9891"}, "REARAG_PORT and RETRIEVER_PORT"),
        ("deploy/deploy_rag_engine.sh", {"RETRIEVER_PORT": "9893"}, "ANSWER_LLM_PORT and RETRIEVER_PORT"),
        ("deploy/deploy.sh", {"RETRIEVER_PORT": "9891"}, "REARAG_PORT and RETRIEVER_PORT"),
        ("deploy/deploy_demo.sh", {"DEMO_PORT": "9892"}, "RETRIEVER_PORT and DEMO_PORT"),
    ],
)
def test_one_port_for_two_servers_is_refused_before_any_work(
    script: str, ports: dict[str, str], names: str, tmp_path: Path
) -> None:
    port = next(iter(ports.values()))
    assert refused(script, tmp_path, **ports) == f"error: {names} are both {port}; choose two\n"
