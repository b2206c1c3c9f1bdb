"""Data construction end to end in real processes: both teachers, kill -9 and resume, full disk, restarted
teacher.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers_llm import ROOT, FakeLLM, step_for, write_items
from helpers_runs import Run

from src_core.endpoints import make_model
from src_core.errors import UserError
from src_core.runfolder import require_cleanable
from src_core.types import Question
from src_data.config import load_data_config
from src_data.original_keys import SUPERSEDED
from src_eval.scoring import score_run
from src_infer.runtime import make_policy
from src_tasks.readers.rows import SubQuestion, decomposition_meta

KILLS = 8
ITEMS = 60
MOST_REQUESTS = 40  # a chain takes five, and a run that is killed loses four of them
CONFIG = "src_data/data_config.yaml"


def settings_for(folder: Path, url: str, *, count: int, **more: object) -> list[str]:
    questions, corpus = write_items(folder, count)
    fixed = {
        "runs_dir": folder / "runs",
        "run_name": "r",
        "build_conv.input_files": f"[{questions}]",
        "build_conv.n_sample": -1,
        "build_conv.llm_api": url,
        "build_conv.gen_api": url,
        "build_conv.retriever_api": f"toy:{corpus}",
        "build_conv.runtime.thinks": "false",
        "build_conv.top_k": 1,
        "build_conv.num_workers": 4,
        "build_conv.runtime.agent.retry.first_wait": 0.1,
    }
    dotted = {key.replace("__", "."): value for key, value in more.items()}
    return [f"{key}={value}" for key, value in {**fixed, **dotted}.items()]


def start(settings: Sequence[str], *, file_bytes: int | None = None) -> Run:
    """The real entry point in a process of its own."""
    return Run("src_data.run", [CONFIG, *settings], file_bytes=file_bytes)


def rows(folder: Path, name: str = "trajectories.jsonl") -> list[dict[str, Any]]:
    path = folder / "runs/r" / name
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


async def read_and_think(body: dict[str, Any]) -> str:
    """The scripted steps behind a think block that speaks of observations; the reader names the item."""
    await asyncio.sleep(0.003)
    text = step_for(body)
    return f"<think>\nObservation 1: I could invent one.\n</think>\n\n{text}" if "Thought" in text else text


@pytest.mark.parametrize("kills", [KILLS, pytest.param(34, marks=pytest.mark.slow)])
def test_killed_again_and_again_every_chain_is_there_once(kills: int, tmp_path: Path) -> None:
    draw = random.Random(4)
    items = ITEMS * kills // KILLS

    async def run() -> list[int]:
        seen = []
        async with FakeLLM(read_and_think) as server:
            more = {"build_conv__n_chains": 2, "build_conv__runtime__thinks": "true"}
            settings = settings_for(tmp_path, server.url, count=items, **more)
            for _ in range(kills):
                process = start(settings)
                await server.requests(draw.randrange(1, MOST_REQUESTS))
                assert process.returncode is None
                process.kill()
                await process.communicate()
                path = tmp_path / "runs/r/trajectories.jsonl"
                seen.append(path.read_bytes().count(b"\n") if path.exists() else 0)
            last = start(settings)
            out, err = await last.communicate()
            assert last.returncode == 0, err.decode()
            assert "kept" in out.decode()
        return seen

    seen = asyncio.run(run())
    assert seen == sorted(seen)
    assert 0 < seen[-1] < 2 * items
    made = rows(tmp_path)
    keys = {(row["question"]["id"], row["provenance"]["chain"]) for row in made}
    assert len(keys) == len(made) == 2 * items
    assert {row["status"] for row in made} == {"finished"}
    assert all("invent" in row["steps"][0]["think"] for row in made)
    conversations = json.loads((tmp_path / "runs/r/conversations.json").read_text())
    assert len(conversations) == items  # the best of two chains each
    assert all(set(row) == {"format", "messages"} for row in conversations)
    assert "invent" not in json.dumps(conversations)
    provenance = rows(tmp_path, "provenance.jsonl")
    assert len(provenance) == items
    assert provenance[0]["teacher"] == "llm:fake"
    assert isinstance(provenance[0]["made_by"]["seed"], int)
    manifest = json.loads((tmp_path / "runs/r/manifest.json").read_text())
    assert manifest["yield"]["all"]["chains"] == 2 * items


def test_a_run_with_more_questions_keeps_its_rows_and_goes_on(tmp_path: Path) -> None:
    async def run() -> list[dict[str, Any]]:
        first: list[dict[str, Any]] = []
        async with FakeLLM(read_and_think) as server:
            settings = settings_for(tmp_path, server.url, count=6, build_conv__runtime__thinks="true")
            for n in (2, 5):
                process = start([*settings, f"build_conv.n_sample={n}"])
                _, err = await process.communicate()
                assert process.returncode == 0, err.decode()
                first = first or rows(tmp_path)
            fewer = start([*settings, "build_conv.n_sample=3"])
            _, err = await fewer.communicate()
            assert "other settings (build_conv.n_sample); take another RUN_NAME" in err.decode()
            return first

    first = asyncio.run(run())
    assert len(first) == 2
    assert rows(tmp_path)[:2] == first
    assert len(rows(tmp_path)) == 5
    assert len(json.loads((tmp_path / "runs/r/conversations.json").read_text())) == 5


def test_a_full_disk_and_a_teacher_that_is_restarted(tmp_path: Path) -> None:
    async def run() -> None:
        async with FakeLLM(read_and_think) as server:
            settings = settings_for(tmp_path, server.url, count=30)
            full = start(settings, file_bytes=15_000)
            _, err = await full.communicate()
            assert full.returncode == 2
            assert err.decode().splitlines()[-1].startswith("error: could not write")
            assert 0 < len(rows(tmp_path)) < 30
            process = start(settings)
            await server.requests(1)
            server.refuse = True
            await asyncio.sleep(0.5)
            server.refuse = False
            _, err = await process.communicate()
            assert process.returncode == 0, err.decode()

    asyncio.run(run())
    assert [row["status"] for row in rows(tmp_path)] == ["finished"] * 30


def test_a_teacher_that_dies_ends_the_run_in_one_sentence_and_the_same_command_resumes(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with FakeLLM(read_and_think) as server:
            settings = settings_for(tmp_path, server.url, count=40)
            first = start(settings)
            await server.requests(30)
        _, err = await first.communicate()
        last = err.decode().splitlines()[-1]
        assert first.returncode == 2, err.decode()
        assert last.startswith(f"error: the server at {server.url} died: it answered before")
        assert last.endswith("with run_name=r")
        async with FakeLLM(read_and_think, port=server.port):
            again = start(settings)
            _, err = await again.communicate()
        assert again.returncode == 0, err.decode()

    asyncio.run(run())
    assert [row["status"] for row in rows(tmp_path)] == ["finished"] * 40


def test_the_decomposition_teacher_needs_no_teacher_server(tmp_path: Path) -> None:
    async def reads(body: dict[str, Any]) -> str:
        return (
            "Ann Lee directed Red Rain."
            if "Red Rain" in str(body["messages"][-1])
            else "She was born in Rhyl."
        )

    async def run() -> str:
        async with FakeLLM(reads) as server:
            settings = settings_for(
                tmp_path,
                server.url,
                count=2,
                build_conv__teacher="decomposition",
                build_conv__llm_api="http://127.0.0.1:9",
            )
            hops = decomposition_meta(
                [
                    SubQuestion("Red Rain >> director", ("Ann Lee",)),
                    SubQuestion("#1 >> place of birth", ("Rhyl",)),
                ]
            )
            rows = [
                {
                    "question": "Where was the director of Red Rain born?",
                    "answers": ["Rhyl"],
                    "dataset": "musique",
                    "supporting_titles": ["Red Rain", "Ann Lee"],
                    "gold_ids": [],
                    "decomposition": [{"question": h["question"], "answer": h["answers"][0]} for h in hops],
                },
                {
                    "question": "Why?",
                    "answers": ["x"],
                    "dataset": "hotpotqa",
                    "supporting_titles": ["A"],
                    "gold_ids": [],
                },
            ]
            (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            process = start(settings)
            out, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            return out.decode()

    table = asyncio.run(run())
    assert "musique" in table
    made = {row["question"]["meta"]["dataset"]: row for row in rows(tmp_path)}
    assert [step["action"].get("query") for step in made["musique"]["steps"]] == [
        "Who directed Red Rain?",
        "Where was Ann Lee born?",
        None,
    ]
    assert (made["hotpotqa"]["status"], made["hotpotqa"]["error"]) == ("refused", "not_two_titles")
    assert [row["teacher"] for row in rows(tmp_path, "provenance.jsonl")] == ["decomposition"]


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    async def run() -> tuple[int | None, str]:
        settings = settings_for(tmp_path, "http://127.0.0.1:9", count=2)
        process = start(settings)
        _, err = await process.communicate()
        return process.returncode, err.decode()

    status, err = asyncio.run(run())
    assert status == 2
    assert err.splitlines()[-1].startswith("error: a server does not answer")
    assert "Traceback" not in err


def test_keys_of_the_original_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "data_config.yaml"
    path.write_text(
        "build_conv:\n  input_files: [a.jsonl]\n  output_dir: src_data/data\n  output_file: temp.jsonl\n"
        "  n_sample: 5\n  max_tries: 20\n  iter_num_max: 25\n  llm_api: http://localhost:9894/generate\n"
        "  retriever_api: http://localhost:9892/search\n  gen_api: http://localhost:9893/generate\n"
        "  llm_tokenizer_path: Qwen/QwQ-32B-Preview\n  ans_tokenizer_path: x\n  top_k: 3\n  num_workers: 4\n"
        "  save_batch_size: 10\n"
        "clean_conv:\n  input_dir: a\n  output_dir: b\n  input_file: c\n  output_file: d\n"
        "  output_file_validity: e\n"
    )
    config, notes = load_data_config(path, [])
    assert len(notes) == len(SUPERSEDED) == 3
    assert config.build_conv.runtime.agent.url == "http://localhost:9894/v1"
    assert config.build_conv.runtime.retriever == "http://localhost:9892"
    assert config.build_conv.runtime.limits.t_max == 25
    make_policy(
        config.build_conv.runtime, make_model(config.build_conv.runtime.agent, connections=1, token=None)
    )
    with pytest.raises(UserError, match=r"did you mean build_conv\.n_sample"):
        load_data_config(path, ["build_conv.n_samples=3"])


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("  max_tries: 0\n", "limits.step_tries"),
        ("  iter_num_max: 0\n", "limits.t_max"),
        ("  top_k: 0\n", "top_k"),
        ("  llm_api: http://localhost:1/v1\n  runtime: fast\n", "build_conv.runtime"),
    ],
)
def test_a_wrong_value_of_an_original_key_is_named(lines: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "data_config.yaml"
    path.write_text("build_conv:\n  input_files: [a.jsonl]\n" + lines)
    with pytest.raises(UserError, match=match):
        load_data_config(path, [])


def test_original_keys_go_into_an_empty_section(tmp_path: Path) -> None:
    path = tmp_path / "data_config.yaml"
    path.write_text(
        "build_conv:\n  input_files: [a.jsonl]\n  llm_api: http://h:1/generate\n  runtime: {agent: }\n"
    )
    assert load_data_config(path, [])[0].build_conv.runtime.agent.url == "http://h:1/v1"


def test_questions_survive_as_they_were(tmp_path: Path) -> None:
    """What the planner reads has to come through the mixture's JSON."""
    from src_data.run import mixed_questions

    row = {
        "question": "Q?",
        "answers": ["a"],
        "evidences": [["s", "director", "a"]],
        "dataset": "2wikimultihopqa",
    }
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({**row, "supporting_titles": ["s"], "gold_ids": []}) + "\n")
    config, _ = load_data_config(Path(ROOT) / CONFIG, [f"build_conv.input_files=[{path}]"])
    questions = list(mixed_questions(config.build_conv))
    assert isinstance(questions[0], Question)
    assert questions[0].meta["evidences"] == [["s", "director", "a"]]


def test_chains_of_a_corrected_question_are_not_exported(tmp_path: Path) -> None:
    async def build(golds: str) -> None:
        async with FakeLLM(read_and_think) as server:
            settings = settings_for(tmp_path, server.url, count=2)
            questions = tmp_path / "questions.jsonl"
            questions.write_text(questions.read_text().replace('["item-1"]', golds))
            url = f"build_conv.runtime.agent.url={server.url}"
            process = start([*settings, url, "on_existing=resume_anyway"])
            _, err = await process.communicate()
            assert process.returncode == 0, err.decode()

    asyncio.run(build('["item-1"]'))
    asyncio.run(build('["item-1", "the item"]'))
    assert len(rows(tmp_path)) == 3  # nothing is thrown away
    counted = json.loads((tmp_path / "runs/r/yield.json").read_text())["all"]
    assert counted["rejected"]["not_in_mixture"]["chains"] == 1
    conversations = json.loads((tmp_path / "runs/r/conversations.json").read_text())
    assert len(conversations) == 2
    scored = score_run(tmp_path / "runs/r").run
    assert (scored.questions, scored.left_out) == (2, 1)
    require_cleanable(tmp_path / "runs/r")  # all files there have names that are known as ours
