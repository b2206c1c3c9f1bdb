"""The public checkpoint R3-RAG-Qwen as `scripts/ask_checkpoint.sh r3rag` asks it: prompts and parser against
the published format (reference r3rag.md, sections 1.2 to 1.4 and 1.11), with replies in that format. The
checkpoint itself needs a GPU.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers_llm import FakeLLM
from helpers_runs import Run
from test_shell_infer import Infer

CHECKPOINT = "Yuan-Li-FNLP/R3-RAG-Qwen"
TOWN = "Where was the director of the film Red Rain born?"
NINE = "Step 1: how many\nStep 2: lives does The final answer: cat have?"
"""Labels and step numbers in a question are its text."""
STALLED = "What never ends?"
CORPUS = [
    {"id": "p1", "contents": "Red Rain\nRed Rain is a 1999 film by Ann Lee."},
    {"id": "p2", "contents": "Ann Lee\nAnn Lee grew up in London."},
    {"id": "p3", "contents": "Oslo\nOslo lies on a fjord."},
]
REPLIES = {
    TOWN: [
        # with a step and documents of its own invention after the query
        "Step 1:\nThe problem analysis: I need the film's director first.\n"
        "The retrieval query: Which person made Red Rain?\nThe retrieval documents: Red Rain\nBy Bob.\n"
        "Step 2:\nThe problem analysis: It is Bob.\nThe final answer: Bob's town",
        # a query and an answer: the first of them counts
        "Step 2:\nThe problem analysis: Ann Lee made it. Her town is missing.\n"
        "The retrieval query: Ann Lee childhood\nThe final answer: unknown",
        "Step 3:\nThe problem analysis: She grew up there. That is enough.\n"
        "The final answer: London\n### End",
    ],
    NINE: [
        "I will think about it.",  # no label: malformed
        "Step 1:\nThe problem analysis: It is a saying, and no retrieval is needed.\nThe final answer: nine",
    ],
    STALLED: [
        f"Step {n}:\nThe problem analysis: Not yet.\nThe retrieval query: Oslo {n}?" for n in range(1, 6)
    ],
}
FIRST = f"The question: {TOWN}"
SECOND = (
    f"{FIRST}\n"
    "Step 1:\n"
    "The problem analysis: I need the film's director first.\n"
    "The retrieval query: Which person made Red Rain?\n"
    "The retrieval documents: Red Rain\n"
    "Red Rain is a 1999 film by Ann Lee."
)
THIRD = (
    f"{SECOND}\n"
    "Step 2:\n"
    "The problem analysis: Ann Lee made it. Her town is missing.\n"
    "The retrieval query: Ann Lee childhood\n"
    "The retrieval documents: Ann Lee\n"
    "Ann Lee grew up in London.\n"
    "Red Rain\n"
    "Red Rain is a 1999 film by Ann Lee."
)
READER = "Answer the question with a short phrase from the passages"
"""The prompt of the final answer where no step holds one."""


class Checkpoint:
    """Answers with the replies above; what was asked about each question is kept."""

    def __init__(self) -> None:
        self.asked: dict[str, list[dict[str, Any]]] = {question: [] for question in REPLIES}
        self.read: list[str] = []

    async def reply(self, body: dict[str, Any]) -> str:
        text = body["messages"][-1]["content"]
        if READER in text:
            self.read.append(text)
            return "Oslo"
        question = next(each for each in REPLIES if text.startswith(f"The question: {each}"))
        self.asked[question].append(body)
        return REPLIES[question][len(self.asked[question]) - 1]

    def prompts(self, question: str) -> list[str]:
        """The whole conversations about a question, each of which has to be one turn of the user."""
        (shapes,) = {tuple(each["role"] for each in body["messages"]) for body in self.asked[question]}
        assert shapes == ("user",)
        return [body["messages"][0]["content"] for body in self.asked[question]]


@pytest.fixture
def infer(tmp_path: Path) -> Iterator[Infer]:
    folder = tmp_path / "shell"
    folder.mkdir()
    made = Infer(folder)
    yield made
    made.run("deploy/stop.sh")


def exchange(infer: Infer, folder: Path, checkpoint: Checkpoint) -> dict[str, dict[str, Any]]:
    """The rows by question of a run with the settings of the script."""
    questions = [{"question": question, "answers": ["?"]} for question in REPLIES]
    for name, rows in (("questions", questions), ("corpus", CORPUS)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")

    async def run() -> tuple[int | None, bytes]:
        async with FakeLLM(checkpoint.reply, models=(CHECKPOINT,)) as server:
            knobs = {"PROFILE": "", "BASE_URL": server.url}
            shell = await asyncio.to_thread(infer.run, "scripts/ask_checkpoint.sh", "r3rag", **knobs)
            assert shell.returncode == 0, shell.stderr
            made = Run("src_infer.run", arguments(infer.settings(), folder))
            _, err = await asyncio.wait_for(made.communicate(), 120)
            return made.returncode, err

    status, err = asyncio.run(run())
    assert status == 0, err.decode()
    lines = (folder / "runs/r/trajectories.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["question"]["question"]: row for row in map(json.loads, lines)}


def arguments(settings: dict[str, str], folder: Path) -> list[str]:
    """The command line of the script with questions, retriever and folder of the test."""
    own = {
        "questions": f"{folder}/questions.jsonl",
        "n_questions": "-1",
        "retriever": f"toy:{folder}/corpus.jsonl",
        "runs_dir": f"{folder}/runs",
        "run_name": "r",
    }
    given = {**settings, **own}
    config = given.pop("config")
    return [config, *(f"{key}={value}" for key, value in given.items())]


def steps_of(row: dict[str, Any]) -> Sequence[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = row["steps"]
    return found


def test_a_scripted_exchange_with_the_public_checkpoint(infer: Infer, tmp_path: Path) -> None:
    checkpoint = Checkpoint()
    rows = exchange(infer, tmp_path, checkpoint)

    assert checkpoint.prompts(TOWN) == [FIRST, SECOND, THIRD]
    town = rows[TOWN]
    assert (town["answer"], town["status"]) == ("London", "finished")  # the release trims it to `Londo`
    queries = [step["action"].get("query") for step in steps_of(town)]
    assert queries == ["Which person made Red Rain?", "Ann Lee childhood", None]
    assert steps_of(town)[2]["thought"] == "She grew up there. That is enough."

    assert checkpoint.prompts(NINE) == [f"The question: {NINE}"] * 2
    assert (rows[NINE]["answer"], len(steps_of(rows[NINE]))) == ("nine", 1)
    (failure,) = rows[NINE]["provenance"]["parse_failures"]
    assert "no_analysis" in str(failure)

    assert len(checkpoint.prompts(STALLED)) == 5  # the limit of steps
    assert len(checkpoint.read) == 1
    assert (rows[STALLED]["answer"], len(steps_of(rows[STALLED]))) == ("Oslo", 5)


def test_the_checkpoint_is_asked_as_published(infer: Infer, tmp_path: Path) -> None:
    """Greedy, with the tokens of its evaluation, in free text; the one retry of a malformed reply is not."""
    checkpoint = Checkpoint()
    exchange(infer, tmp_path, checkpoint)
    assert infer.settings()["deterministic"] == "true"  # the GPU profile would sample
    bodies = [body for asked in checkpoint.asked.values() for body in asked]
    assert {body["model"] for body in bodies} == {CHECKPOINT}
    evaluated = yaml.safe_load(Path("configs/systems/r3rag/infer.yaml").read_text("utf-8"))
    assert {body["max_tokens"] for body in bodies} == {evaluated["agent_sampling"]["max_tokens"]}
    free = {
        "response_format",
        "structured_outputs",
        "grammar",
        "json_schema",
        "guided_grammar",
        "guided_json",
    }
    assert not any(free & body.keys() for body in bodies)
    retried = checkpoint.asked[NINE][1]
    assert {body["temperature"] for body in bodies if body is not retried} == {0.0}
    assert retried["temperature"] > 0
