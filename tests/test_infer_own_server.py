"""Model servers of the user's (Ollama, LM Studio, vLLM, SGLang, OpenAI) with inference, construction,
evaluation and the live page: it works, or one sentence says what to set.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers_own_servers import KEY, SHAPES, Shape, serving

from src_core.config import load_config
from src_core.endpoints import make_model
from src_core.errors import UserError
from src_core.llm import Endpoint, Sampling
from src_infer.config import InferConfig
from src_infer.own_servers import check_own_servers, reach

ROOT = Path(__file__).resolve().parent.parent
BY_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
OPENAI = SHAPES[-1]
NEW_NAME = "max_completion_tokens"


def world(folder: Path) -> list[str]:
    """Two questions and their corpus; the settings that name them."""
    questions = [{"question": f"What is item {n}?", "answers": [f"item-{n}"]} for n in range(2)]
    corpus = [{"id": f"p{n}", "contents": f"Item {n}\nitem-{n} is item {n}."} for n in range(2)]
    for name, rows in (("q", questions), ("c", corpus)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [f"questions={folder}/q.jsonl", f"retriever=toy:{folder}/c.jsonl", f"runs_dir={folder}/runs"]


def endpoint(role: str, url: str, shape: Shape) -> list[str]:
    """What the scripts set for BASE_URL and MODEL_NAME."""
    named = [f"{role}.url={url}", f"{role}.model={shape.model}", f"{role}.engine=openai"]
    return [*named, f"{role}.key_env=API_KEY"]


def called(module: str, *arguments: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "API_KEY": key, "REARAG_TOKEN": "ours", "COLUMNS": "200"}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=180
    )


@BY_SHAPE
def test_questions_are_answered_and_the_constraint_is_what_the_server_obeys(
    shape: Shape, tmp_path: Path
) -> None:
    with serving(shape) as (url, seen):
        models = [*endpoint("agent", url, shape), *endpoint("reader", url, shape)]
        done = called("src_infer.run", "configs/infer/server.yaml", *world(tmp_path), *models, "run_name=r")
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / "runs/r/manifest.json").read_text())
    assert manifest["totals"]["all"]["em"] == 1.0
    assert manifest["constrain"] == shape.constrain
    words = {"off": "free text", "grammar": "by a grammar", "json_schema": "by a json schema"}
    assert f"was tried: replies are {'constrained ' if shape.constrain != 'off' else ''}" in done.stderr
    assert words[shape.constrain] in done.stderr
    assert seen.keys == {f"Bearer {KEY}"}  # and never the token of our own servers
    assert KEY not in (tmp_path / "runs/r/config.yaml").read_text()
    system = seen.bodies[-1]["messages"][0]["content"] + seen.bodies[3]["messages"][0]["content"]
    assert "Thought" in system or any("Thought" in str(body) for body in seen.bodies)


def test_fields_that_a_server_refuses_are_found_before_the_first_question(tmp_path: Path) -> None:
    with serving(OPENAI) as (url, seen):
        models = [*endpoint("agent", url, OPENAI), *endpoint("reader", url, OPENAI)]
        done = called("src_infer.run", "configs/infer/server.yaml", *world(tmp_path), *models, "run_name=r")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{url} is sent {NEW_NAME} in place of max_tokens and refuses stop, temperature, top_p" in (
        " ".join(done.stderr.split())
    )
    assert all("seed" in body for body in seen.bodies)


@pytest.mark.parametrize("flag", [[], ["--check"]], ids=["run", "check"])
def test_a_wrong_key_is_one_sentence_and_is_not_shown(flag: list[str], tmp_path: Path) -> None:
    with serving(OPENAI) as (url, _):
        models = [*endpoint("agent", url, OPENAI), *endpoint("reader", url, OPENAI)]
        settings = [*world(tmp_path), *models, "run_name=r", *flag]
        done = called("src_infer.run", "configs/infer/server.yaml", *settings, key="wr0ng")
    assert done.returncode == 2
    assert "Incorrect API key provided" in done.stderr
    assert "the key (API_KEY)" in done.stderr
    assert "wr0ng" not in done.stdout + done.stderr
    assert not (tmp_path / "runs/r").exists()


def test_a_server_that_is_down_is_named_by_the_check(tmp_path: Path) -> None:
    down = "http://127.0.0.1:1/v1"
    models = [*endpoint("agent", down, OPENAI), *endpoint("reader", down, OPENAI)]
    done = called("src_infer.run", "configs/infer/server.yaml", "--check", *world(tmp_path), *models)
    assert done.returncode == 2
    assert "check the address (BASE_URL)" in done.stderr


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ((500, b'{"error": "CUDA out of memory"}'), "HTTP 500: "),
        ((200, b"nothing"), "is not JSON"),
    ],
)
def test_a_server_that_answers_nothing_usable_is_one_sentence(
    fails: tuple[int, bytes], said: str, tmp_path: Path
) -> None:
    shape = replace(SHAPES[0], fails=fails)
    with serving(shape) as (url, _):
        models = [*endpoint("agent", url, shape), *endpoint("reader", url, shape)]
        quick = ["agent.retry.attempts=1", "reader.retry.attempts=1"]
        done = called(
            "src_infer.run", "configs/infer/server.yaml", "--check", world(tmp_path)[1], *models, *quick
        )
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "check the address (BASE_URL)" in done.stderr.splitlines()[-1]


def checked(url: str, shape: Shape, *settings: str) -> None:
    models = [*endpoint("agent", url, shape), *endpoint("reader", url, shape), *settings]
    asyncio.run(check_own_servers(load_config(InferConfig, ROOT / "configs/infer/server.yaml", models)))


def test_a_web_page_is_a_wrong_address_and_not_a_wrong_model(capsys: pytest.CaptureFixture[str]) -> None:
    shape = replace(SHAPES[0], fails=(200, b"<!doctype html><p>hello"))
    for named in (shape, replace(shape, model="")):
        with serving(shape) as (url, _), pytest.raises(UserError, match="a web page is at") as raised:
            checked(url, named)
        assert "BASE_URL" in str(raised.value)
        assert "MODEL_NAME" not in str(raised.value)


@pytest.mark.parametrize(
    ("answers_as", "wanted", "words"),
    [
        ("", "qwen3", r"model qwen3 does not exist; .*lists qwen3:8b, .*did you mean qwen3:8b\?"),
        ("qwen3:8b", "wrong", r"does not list the model wrong .*and answered with qwen3:8b in its place"),
        ("*", "wrong", ""),
        ("wrong-2026-01-01", "wrong", ""),
        ("", "qwen3:8b", ""),
    ],
)
def test_a_model_that_is_not_listed_must_answer(answers_as: str, wanted: str, words: str) -> None:
    shape = replace(SHAPES[0], answers_as=answers_as)
    with serving(shape) as (url, _):
        if not words:
            return checked(url, replace(shape, model=wanted))
        with pytest.raises(UserError, match=words):
            checked(url, replace(shape, model=wanted))
    return None


@pytest.mark.parametrize("engine", ["vllm", "llama.cpp"])
def test_a_deployed_server_without_the_named_model_is_told_before_the_run(engine: str) -> None:
    async def connect(url: str) -> None:
        place = Endpoint(url=url, model="wrong", engine=engine)  # type: ignore[arg-type]
        model = make_model(place, connections=1, token=None)
        try:
            await reach(model, place, sampling=Sampling())
        finally:
            await model.close()

    with (
        serving(SHAPES[2]) as (url, _),
        pytest.raises(UserError, match=r"wrong does not exist; .*lists Qwen/Qwen3-8B"),
    ):
        asyncio.run(connect(url))


def test_a_server_that_fails_is_told_at_once_and_given_up_soon(capsys: pytest.CaptureFixture[str]) -> None:
    shape = replace(SHAPES[0], fails=(500, b'{"error": "CUDA out of memory"}'))
    begun = time.monotonic()
    with serving(shape) as (url, _), pytest.raises(UserError, match="HTTP 500: CUDA out of memory"):
        checked(url, shape)
    assert time.monotonic() - begun < 6
    said = capsys.readouterr().err
    assert said.count("trying again (2 of 3)") == 1


def test_of_several_models_the_knob_is_named_and_one_beside_embedders_is_taken(tmp_path: Path) -> None:
    for shape, wanted in ((OPENAI, "set MODEL_NAME to one of gpt-5, gpt-5-mini"), (SHAPES[0], "")):
        with serving(shape) as (url, _):
            unnamed = replace(shape, model="")
            models = [*endpoint("agent", url, unnamed), *endpoint("reader", url, unnamed)]
            done = called("src_infer.run", "configs/infer/server.yaml", "--check", *world(tmp_path), *models)
        assert done.returncode == (2 if wanted else 0), done.stderr
        assert wanted in done.stderr


@BY_SHAPE
def test_chains_are_constructed(shape: Shape, tmp_path: Path) -> None:
    questions, retriever, runs = world(tmp_path)
    with serving(shape) as (url, _):
        models = [*endpoint("agent", url, shape), *endpoint("reader", url, shape)]
        settings = [f"build_conv.runtime.{setting}" for setting in [*models, retriever, "constrain=auto"]]
        done = called(
            "src_data.run",
            "src_data/data_config.cpu.yaml",
            f"build_conv.input_files=[{questions.removeprefix('questions=')}]",
            "build_conv.n_sample=-1",
            *settings,
            runs,
            "run_name=d",
        )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = (tmp_path / "runs/d/trajectories.jsonl").read_text().splitlines()
    assert sorted(json.loads(row)["status"] for row in rows) == ["finished"] * 2


@BY_SHAPE
def test_methods_are_evaluated(shape: Shape, tmp_path: Path) -> None:
    questions, retriever, runs = world(tmp_path)
    with serving(shape) as (url, _):
        servers = [retriever, *endpoint("agent", url, shape), *endpoint("reader", url, shape)]
        data: list[dict[str, Any]] = [{"name": "items", "path": questions.removeprefix("questions=")}]
        done = called(
            "src_eval.run",
            "configs/eval/smoke.yaml",
            "infer=configs/infer/server.yaml",
            "profile=server",
            "methods=[naive_rag, rearag]",
            f"datasets={json.dumps(data)}",
            f"servers={json.dumps(servers)}",
            runs,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("100.0 (too few)") >= 4
    assert done.stderr.count(f"{url} was tried: replies are") == 1  # of two runs
    assert done.stderr.count(f"{url} is sent") <= 1
    assert (tmp_path / "runs/eval-smoke/index.html").is_file()


@BY_SHAPE
def test_the_live_page_checks_the_same_settings(shape: Shape, tmp_path: Path) -> None:
    with serving(shape) as (url, _):
        models = [*endpoint("agent", url, shape), *endpoint("reader", url, shape)]
        retriever = world(tmp_path)[1]
        done = called("src_demo.server", "configs/infer/server.yaml", "--check", retriever, *models)
    assert done.returncode == 0, done.stderr
