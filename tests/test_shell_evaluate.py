"""scripts/evaluate.sh from its arguments to its clean-up, with fake servers and a fake interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_shell_infer import ROOT, Infer


class Evaluate(Infer):
    """`scripts/evaluate.sh` in the CPU profile."""

    module = "src_eval.run"


@pytest.fixture
def evaluate(tmp_path: Path) -> Iterator[Evaluate]:
    made = Evaluate(tmp_path)
    yield made
    made.run("deploy/stop.sh")


def test_starts_the_servers_runs_and_stops_them(evaluate: Evaluate) -> None:
    done = evaluate.run("scripts/evaluate.sh", "configs/eval/smoke.yaml", "name=mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout == evaluate.line("retriever", "RETRIEVER_PORT") + evaluate.line()
    assert not list(evaluate.state.glob("*.pid"))
    settings = evaluate.settings()
    assert settings["config"].endswith("configs/eval/smoke.yaml")
    assert settings["infer"] == "configs/infer/cpu.yaml"
    assert settings["name"] == "mine"
    url = f"http://127.0.0.1:{evaluate.port}/v1"
    where = f"retriever=http://127.0.0.1:{evaluate.env['RETRIEVER_PORT']}, agent.url={url}, reader.url={url}"
    assert settings["servers"] == f"[{where}]"


def test_without_arguments_it_explains_itself(evaluate: Evaluate) -> None:
    done = evaluate.run("scripts/evaluate.sh")
    assert done.returncode == 0
    assert "bash scripts/evaluate.sh configs/eval/smoke.yaml" in done.stdout


def test_an_adapter_brings_the_record_of_its_training(evaluate: Evaluate) -> None:
    adapter = "adapters/qwen2.5-coder-0.5b"
    done = evaluate.run("scripts/evaluate.sh", "configs/eval/smoke.yaml", PROFILE="small")
    assert done.returncode == 0, done.stderr
    assert evaluate.settings()["servers"].endswith(f", trained={adapter}]")


def test_an_untrained_model_scores_the_decisions_of_deeprag(evaluate: Evaluate) -> None:
    assert evaluate.run("scripts/evaluate.sh", "configs/eval/pareto.yaml").returncode == 0
    assert evaluate.settings()["servers"].endswith(
        ", agent.tokenizer=.cache/models/qwen2.5-coder-1.5b-tokenizer]"
    )
    assert evaluate.run("scripts/evaluate.sh", "configs/eval/smoke.yaml").returncode == 0
    assert "tokenizer" not in evaluate.settings()["servers"]


def test_the_settings_of_ray_bring_ray(evaluate: Evaluate) -> None:
    stamp = Path(evaluate.env["VENV"]) / "installed-requirements-ray.txt"
    stamp.write_bytes((ROOT / "requirements-ray.txt").read_bytes())
    given = ("configs/eval/smoke.yaml", "ray.address=10.0.0.5:6379", "ray.actors=3")
    done = evaluate.run("scripts/evaluate.sh", *given, PROFILE="gpu")
    assert done.returncode == 0, done.stderr
    expected = {"ray.address": "10.0.0.5:6379", "ray.actors": "3"}
    assert expected.items() <= evaluate.settings().items()
