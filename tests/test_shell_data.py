"""data_construct.sh from its knobs to its clean-up, with fake servers and interpreter (tests/shell/)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_shell_infer import Infer
from test_shell_servers import ROOT


class Data(Infer):
    """`data_construct.sh` in the CPU profile."""

    module = "src_data.run"


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Data]:
    made = Data(tmp_path)
    yield made
    made.run("deploy/stop.sh")


def test_starts_builds_and_stops(data: Data) -> None:
    done = data.run("data_construct.sh", "N_SAMPLES=7", "build_conv.n_chains=2", TEACHER="decomposition")
    assert done.returncode == 0, done.stderr
    assert done.stdout == data.line("retriever", "RETRIEVER_PORT") + data.line()
    assert not list(data.state.glob("*.pid"))
    settings = data.settings()
    assert settings["config"] == "src_data/data_config.cpu.yaml"
    assert (
        settings["build_conv.llm_api"] == settings["build_conv.gen_api"] == f"http://127.0.0.1:{data.port}/v1"
    )
    expected = {
        "build_conv.n_sample": "7",
        "build_conv.n_chains": "2",
        "build_conv.teacher": "decomposition",
        "build_conv.retriever_api": f"http://127.0.0.1:{data.env['RETRIEVER_PORT']}",
    }
    assert expected.items() <= settings.items()
    assert settings["run_name"].startswith("data-20")


def test_no_model_is_fetched_or_started_where_none_has_a_part(data: Data) -> None:
    over_passages = ("TEACHER=decomposition", "build_conv.runtime.observation_mode=passages")
    done = data.run("data_construct.sh", *over_passages, REAL_CHECK="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == data.line("retriever", "RETRIEVER_PORT")
    assert data.fetched() == ["e5-small"]


def test_the_gpu_profile_talks_to_the_teacher_and_starts_nothing(data: Data) -> None:
    done = data.run("data_construct.sh", "PROFILE=gpu", "RUN_NAME=mine", TEACHER_PORT="7999")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    settings = data.settings()
    assert settings["config"] == "src_data/data_config.yaml"
    assert settings["build_conv.llm_api"] == "http://127.0.0.1:7999/v1"
    assert settings["run_name"] == "mine"
    assert "build_conv.n_sample" not in settings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("SAMPLES=5",), "no knob is called SAMPLES"),
        (("N_SAMPLES=two",), "error: N_SAMPLES is 'two'; give a whole number of questions (-1: all)"),
        (("hello",), "write a setting as key=value, e.g. bash data_construct.sh"),
        (("PROFILE=tpu",), "there is no profile 'tpu'"),
        (("build_conv.n_chain=3",), "did you mean build_conv.n_chains"),
        (("build_conv.input_files=[nowhere.jsonl]",), "nowhere.jsonl"),
        (("CONFIG=nowhere.yaml",), "no such config file: nowhere.yaml"),
    ],
)
def test_mistakes_are_one_sentence_and_start_nothing(
    data: Data, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    failed = data.run("data_construct.sh", *arguments, f"runs_dir={tmp_path}/runs", REAL_CHECK="1")
    assert failed.returncode != 0
    assert words in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_help_is_the_head_of_the_script(data: Data) -> None:
    shown = data.run("data_construct.sh", "--help").stdout
    assert "bash data_construct.sh" in shown
    assert "set -E" not in shown


def test_beyond_one_node_it_is_the_same_script(data: Data) -> None:
    data.module = "src_data.ray_job"
    stamp = Path(data.env["VENV"]) / "installed-requirements-ray.txt"
    stamp.write_bytes((ROOT / "requirements-ray.txt").read_bytes())
    done = data.run("scripts/construct_ray.sh", "RUN_NAME=mine", "PROFILE=gpu", "ray.actors=3", "N_SAMPLES=7")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    expected = {"run_name": "mine", "ray.actors": "3", "build_conv.n_sample": "7"}
    assert expected.items() <= data.settings().items()
    shown = data.run("scripts/construct_ray.sh", "-h").stdout
    assert "ray.address" in shown
    assert "set -E" not in shown
