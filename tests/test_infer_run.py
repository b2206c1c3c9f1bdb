"""`python -m src_infer.run` as a person starts it: what it writes and prints, and how it refuses."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers_llm import ROOT, FakeLLM, settings_for, step_for, write_items, write_script
from helpers_methods import short_rows
from helpers_runs import Run, finished

from src_core.errors import UserError, run_main
from src_core.http_json import RetryPolicy
from src_core.malformed import malformed_in
from src_core.protocols.rearag import render_step
from src_core.types import Finish, Search, trajectory_from_json
from src_infer.config import InferConfig
from src_infer.run import _questions, main
from src_tasks.metric_names import EXPLAINED

GPU = "configs/infer/gpu.yaml"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return finished("src_infer.run", *arguments, environment=environment)


def scripted(folder: Path, **more: object) -> list[str]:
    """Settings of a run over two items with a scripted model that plays both roles."""
    rows = []
    for k in (0, 1):
        rows += short_rows(f"What is item {k}?", f"item-{k}")
        final = f"What is item {k}?\nAnswer:"
        steps = [
            render_step(1, f"I need fact {k}.", Search(f"Which fact is about item {k}?")),
            render_step(2, "Done.", Finish("from finish")),
        ]
        rows += [
            (final, [f"item-{k}"]),
            (f"Which fact is about item {k}?\nAnswer:", [f"The fact of item {k}."]),
        ]
        rows.append((f"Question: What is item {k}?\n\nReasoning", steps))
        last = f"The problem analysis: Done.\nThe final answer: item-{k}"
        rows.append((f"The question: What is item {k}?", [last]))
    script = write_script(folder / "script.jsonl", rows)
    return settings_for(folder, f"scripted:{script}", count=2, **{"answer_from": "reader", **more})


SCRIPTED = ("closed_book", "in_context", "naive_rag", "rearag", "ircot", "iter_retgen", "flare", "self_ask")
SCRIPTED += ("search_o1", "searchain", "search_r1", "r3rag", "cot", "cot_retrieve", "fl_rag", "fs_rag")
SCRIPTED += ("iterdrag", "auto_rag", "uar", "taare")


@pytest.mark.parametrize("method", SCRIPTED)
def test_a_run_leaves_its_rows_its_settings_and_its_manifest(method: str, tmp_path: Path) -> None:
    done = run(GPU, *scripted(tmp_path, method=method), REARAG_TOKEN="s3cr3t-token")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs/r"
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        ".rearag-run",
        "config.yaml",
        "logs",
        "manifest.json",
        "servers.json",
        "trajectories.jsonl",
    }
    rows = [trajectory_from_json(line) for line in (folder / "trajectories.jsonl").read_bytes().splitlines()]
    assert sorted(row.answer for row in rows) == ["item-0", "item-1"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest) == {
        "config",
        "index",
        "models",
        "cut_queries",
        "sampling",
        "constrain",
        "not_reproducible",
        "servers",
        "question_ids",
        "totals",
        "started",
        "wall_seconds",
        "code",
        "packages",
        "machine",
    }
    assert manifest["config"] == yaml.safe_load((folder / "config.yaml").read_text())
    assert manifest["config"]["method"] == method
    assert manifest["models"] == ["scripted:script.jsonl"]
    assert manifest["totals"]["all"]["em"] == 1.0
    assert manifest["totals"]["outcomes"] == {"finished": 2}
    assert manifest["totals"]["tokens"]["calls"] == sum(row.usage.calls for row in rows) > 0
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"s3cr3t-token" not in written
    assert "s3cr3t-token" not in done.stdout + done.stderr


def test_the_tables_hold_every_question_and_the_totals(tmp_path: Path) -> None:
    done = run(GPU, *scripted(tmp_path))
    for word in ("question", "answer", "gold", "EM", "F1", "searches", "seconds", "gold recall", "group"):
        assert word in done.stdout
    assert done.stdout.count("What is item") == 2
    assert done.stdout.count(EXPLAINED) == 1
    assert "outcomes: 2 finished; 0.0 % of replies malformed" in done.stdout
    assert done.stdout.splitlines()[-2:] == [
        f"written: {tmp_path}/runs/r/",
        f"as one page: bash scripts/report.sh {tmp_path}/runs/r",
    ]
    assert "2/2 questions" in done.stderr
    again = run(GPU, *scripted(tmp_path))
    assert "2 of 2 are done" in again.stderr
    assert again.stdout == done.stdout


def test_one_question_is_answered_live_each_step_once(tmp_path: Path) -> None:
    done = run(GPU, *scripted(tmp_path, question="What is item 1?"))
    assert done.returncode == 0, done.stderr
    lines = [line.split(":")[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    expected = [
        "Question",
        "Thought 1",
        "Action 1",
        "Observation 1",
        "Thought 2",
        "Action 2",
        "Answer",
        "Status",
    ]
    assert lines == [*expected, "written", "as one page"]
    assert "Answer: item-1" in done.stdout
    assert "from: Item 1 [p1]" in done.stdout


def test_hostile_text_is_printed_as_text(tmp_path: Path) -> None:
    hostile = "[bold]x[/bold] \x1b[31mred\x07 {} %s"
    script = write_script(tmp_path / "s.jsonl", [("Reasoning", [render_step(1, hostile, Finish(hostile))])])
    done = run(GPU, *settings_for(tmp_path, f"scripted:{script}", count=1, question=f"Why {hostile}?"))
    assert done.returncode == 0, done.stderr
    assert "[bold]x[/bold]" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout


def test_the_first_malformed_reply_is_shown_and_all_are_on_record(tmp_path: Path) -> None:
    said = "[b]The answer\x1b[2J is\u202e 4." + "long " * 1000
    script = write_script(
        tmp_path / "s.jsonl", [("Reasoning process", [said] * 5), ("What is item 0", ["4"])]
    )
    settings = settings_for(tmp_path, f"scripted:{script}", count=1)
    done = run(GPU, *settings)
    shown = next(line for line in done.stdout.splitlines() if "[b]The answer" in line)
    assert shown.startswith("Malformed reply, the first (no_action): [b]The answer")
    assert not {"\x1b", "\u202e"} & set(done.stdout)
    row = trajectory_from_json((tmp_path / "runs/r/trajectories.jsonl").read_bytes().splitlines()[0])
    (first, *others) = malformed_in(row.provenance)
    assert (first.code, first.text, len(others)) == ("no_action", said[:2000], 4)
    asked = run(GPU, *settings, "show_steps=true", "run_name=live")
    assert "Malformed reply, the first (no_action): [b]The answer" in asked.stdout


def test_a_failed_question_is_a_row_and_exit_status_1(tmp_path: Path) -> None:
    for method in ("rearag", "naive_rag", "closed_book"):
        empty = write_script(tmp_path / "empty.jsonl", [("never", ["x"])])
        settings = settings_for(tmp_path, f"scripted:{empty}", count=2, method=method, run_name=method)
        done = run(GPU, *settings)
        assert done.returncode == 1, done.stderr
        rows = (tmp_path / "runs" / method / "trajectories.jsonl").read_bytes().splitlines()
        assert [trajectory_from_json(row).status.value for row in rows] == ["model_error"] * 2
        assert "outcomes: 2 model_error" in done.stdout
        assert "Traceback" not in done.stderr


def test_the_token_goes_to_the_servers_only(tmp_path: Path) -> None:
    async def start(token: str) -> set[str | None]:
        async def handler(body: dict[str, object]) -> str:
            return step_for(body)

        async with FakeLLM(handler) as server:
            settings = settings_for(tmp_path, server.url, count=1, run_name=f"r{token}")
            process = Run("src_infer.run", [GPU, *settings], environment={"REARAG_TOKEN": token})
            await process.communicate()
            assert process.returncode == 0
            return {headers.get("Authorization") for headers in server.headers}

    assert asyncio.run(start("secret")) == {"Bearer secret"}
    assert asyncio.run(start("")) == {None}


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal, beside those about tries that failed before it."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "; trying again (2 of " not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["usage:"]),
        (["method=rearag"], ["usage:"]),
        (["configs/infer/absent.yaml"], ["no such config file", "configs/"]),
        (["smoke.yml"], ["did you mean configs/eval/smoke.yaml?"]),
        (["configs/infre/cpuu.yaml"], ["did you mean configs/infer/cpu.yaml?"]),
        ([GPU, "method=nope"], ["no method 'nope'", "rearag"]),
        ([GPU, "methd=rearag"], ["unknown setting methd", "did you mean method?"]),
        ([GPU, "agent.urll=x"], ["unknown setting agent.urll", "did you mean agent.url?"]),
        ([GPU, "top_k=three"], ["'top_k'", "three"]),
        ([GPU, "in_flight=0"], ["'in_flight'"]),
        ([GPU, "constrain=grammer"], ["'constrain'", "grammar"]),
        ([GPU, "top_k"], ["key=value"]),
        ([GPU, "questions=absent.jsonl"], ["no such file: absent.jsonl"]),
        ([GPU, "agent.url=localhost:1"], ["must start with"]),
        ([GPU, "prompt.system=absent"], ["no prompt 'absent'", "agent_system"]),
        ([GPU, "on_existing=cleen"], ["on_existing", "clean"]),
        ([GPU, "retriever=toy:absent.jsonl"], ["no such file: absent.jsonl"]),
        ([GPU, "agent.url=scripted:absent.jsonl"], ["no such file: absent.jsonl"]),
    ],
    ids=lambda value: " ".join(value)[-28:] if value and isinstance(value, list) else None,
)
def test_a_wrong_command_line_is_one_sentence(
    arguments: list[str], words: list[str], tmp_path: Path, started: Callable[..., str]
) -> None:
    taken = {argument.split("=")[0] for argument in arguments}
    if arguments and arguments[0] == GPU:
        arguments += [item for item in scripted(tmp_path) if item.split("=")[0] not in taken]
    line = started(*arguments)
    assert all(word in line for word in words), line


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the entry point in this process; gives the one line of its refusal."""

    def call(*arguments: str) -> str:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr("sys.argv", ["src_infer.run", *arguments])
        with pytest.raises(SystemExit) as end:
            run_main(main)
        captured = capsys.readouterr()
        return refused(subprocess.CompletedProcess([], int(str(end.value.code)), captured.out, captured.err))

    return call


def test_a_misspelt_file_is_one_sentence(tmp_path: Path, started: Callable[..., str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("limits: {t_mx: 3}\n")
    assert "did you mean limits.t_max?" in started(str(path))
    path.write_text("method: [\n")
    assert "mine.yaml is not valid YAML" in refused(run(str(path)))


def test_a_server_that_is_not_running_is_one_sentence(
    tmp_path: Path, started: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = refused(run(GPU, *settings_for(tmp_path, "http://127.0.0.1:1/v1", count=1)))
    assert "http://127.0.0.1:1/v1" in model
    assert "bash deploy/status.sh" in model
    settings = [item for item in scripted(tmp_path) if not item.startswith("retriever=")]
    no_retriever = [*settings, "retriever=http://127.0.0.1:1"]
    monkeypatch.setattr("src_retrieval.client.RetryPolicy", lambda: RetryPolicy(first_wait=0.0))
    assert "http://127.0.0.1:1" in started(GPU, *no_retriever)
    assert not (tmp_path / "runs").exists()
    assert run(GPU, *no_retriever, "method=closed_book").returncode == 0  # it needs no retriever


def test_a_broken_input_file_is_named_with_its_line(tmp_path: Path, started: Callable[..., str]) -> None:
    questions, _ = write_items(tmp_path, 2)
    settings = scripted(tmp_path)
    questions.write_text('{"question": "a"}\n{"question": \n')
    assert "questions.jsonl, line 2" in started(GPU, *settings)


def test_other_settings_in_a_used_directory_are_refused(tmp_path: Path) -> None:
    assert run(GPU, *scripted(tmp_path)).returncode == 0
    line = refused(run(GPU, *scripted(tmp_path), "limits.t_max=3"))
    assert "was written with other settings (limits.t_max)" in line
    assert run(GPU, *scripted(tmp_path), "limits.t_max=3", "on_existing=clean").returncode == 0


def test_a_picture_is_made_of_a_row(tmp_path: Path) -> None:
    """The run and the picture as a person starts them."""
    command = [sys.executable, "-m", "src_infer.run", GPU, *scripted(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    command = [sys.executable, "-m", "src_infer.picture", str(tmp_path / "runs/r"), "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    picture = (tmp_path / "runs/r/trajectory-2.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "http" not in picture.replace("http://www.w3.org", "").replace("https://www.textualize.io", "")
    assert "written:" in done.stdout
    assert "there is no row 9" in refused(finished("src_infer.picture", str(tmp_path / "runs/r"), "9"))


@pytest.mark.parametrize("method", ["closed_book", "rearag"])
def test_a_question_with_choices_is_asked_with_them_and_kept_without(method: str, tmp_path: Path) -> None:
    shown = "Which is item 0?\nA. item-1\nB. item-0"
    steps = [render_step(1, "Known.", Finish("B. item-0"))]
    rows = [(f"Question: {shown}\n\nReasoning", steps), (f"{shown}\nAnswer:", ["(B)"])]
    script = write_script(tmp_path / "script.jsonl", rows)
    settings = settings_for(tmp_path, f"scripted:{script}", count=1, method=method)
    row = {"question": "Which is item 0?", "golden_answers": [1], "choices": ["item-1", "item-0"]}
    (tmp_path / "questions.jsonl").write_text(json.dumps(row), encoding="utf-8")
    done = run(GPU, *settings)
    assert done.returncode == 0, done.stderr
    kept = trajectory_from_json((tmp_path / "runs/r/trajectories.jsonl").read_bytes())
    assert (kept.question.question, kept.question.choices) == ("Which is item 0?", ("item-1", "item-0"))
    totals = json.loads((tmp_path / "runs/r/manifest.json").read_bytes())["totals"]["all"]
    assert (totals["choice_accuracy"], totals["em"], totals["choice_unread"]) == (1.0, 1.0, 0)


def test_a_file_is_not_asked_as_a_question(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("{}\n")
    with pytest.raises(UserError, match=f"give it as questions={file}"):
        _questions(InferConfig(question=str(file)), quiet=True)
