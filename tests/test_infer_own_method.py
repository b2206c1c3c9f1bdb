"""A method of the user's: the tutorial's file as printed, its counts, and every way it can go wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from src_core.config import load_config
from src_core.errors import UserError
from src_eval.config import EvalConfig
from src_eval.scoring import score_run
from src_infer.describe import described
from src_infer.methods import load_method

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/your_method.md").read_text(encoding="utf-8")
TUTORIAL = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
HEAD = "from src_core.types import Finish, Status, Step, Trajectory\n\n\nasync def run(question, runtime):\n"


def answered(folder: Path, method: str, *settings: str) -> subprocess.CompletedProcess[str]:
    """Two questions with the method in a file, a scripted model and a toy corpus."""
    (folder / "mine.py").write_text(method, encoding="utf-8")
    questions = [{"question": f"Who keeps item {n}?", "answers": [f"keeper {n}"]} for n in range(2)]
    corpus = [{"id": f"p{n}", "contents": f"Item {n}\nkeeper {n} keeps item {n}."} for n in range(2)]
    script = [
        {
            "when": "item 0?",
            "replies": ["Search: the keeper of item 0", "Answer: keeper 0"],
            "anywhere": True,
        },
        {"when": "item 1?", "replies": ["Answer: keeper 1"], "anywhere": True},
    ]
    for name, rows in (("q", questions), ("c", corpus), ("s", script)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    url = f"scripted:{folder}/s.jsonl"
    command = [sys.executable, "-m", "src_infer.run", "configs/infer/gpu.yaml", f"method={folder}/mine.py"]
    places = [f"questions={folder}/q.jsonl", f"retriever=toy:{folder}/c.jsonl", f"runs_dir={folder}/runs"]
    models = [f"agent.url={url}", f"reader.url={url}", "run_name=r"]
    return subprocess.run(
        [*command, *places, *models, *settings], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def rows_of(folder: Path) -> list[dict[str, Any]]:
    file = folder / "runs/r/trajectories.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def test_the_tutorials_evaluation_reads_its_methods_as_printed() -> None:
    (given,) = re.findall(r"evaluate\.sh (\S+) '(methods=.*)'", PAGE)
    config = load_config(EvalConfig, ROOT / given[0], [given[1]])
    assert [line.name for line in config.lines] == ["naive_rag", "mine"]


def test_the_tutorials_method_runs_as_printed(tmp_path: Path) -> None:
    assert len(TUTORIAL.strip().splitlines()) <= 30
    done = answered(tmp_path, TUTORIAL)
    assert done.returncode == 0, done.stderr
    rows = {row["question"]["question"]: row for row in rows_of(tmp_path)}
    first, second = rows["Who keeps item 0?"], rows["Who keeps item 1?"]
    assert (first["answer"], second["answer"]) == ("keeper 0", "keeper 1")
    assert [step["action"].get("query") for step in first["steps"]] == [
        "Who keeps item 0?",
        "the keeper of item 0",
        None,
    ]
    # Counted by the runtime: the method says nothing of calls, tokens and seconds.
    assert (first["usage"]["calls"], second["usage"]["calls"]) == (2, 1)
    assert first["usage"]["prompt_tokens"] > 0
    assert first["seconds"] > 0
    # Its first step, the search with the question, is no reply of the model.
    metrics = {row.question: row.metrics for row in score_run(tmp_path / "runs/r").rows}
    replies = [metrics[name]["replies"] for name in ("Who keeps item 0?", "Who keeps item 1?")]
    assert replies == [2, 1]


def test_its_settings_are_checked_before_the_run(tmp_path: Path) -> None:
    done = answered(tmp_path, TUTORIAL, "method_settings.rounds=1")
    assert done.returncode == 0, done.stderr
    assert max(len(row["steps"]) for row in rows_of(tmp_path)) == 2
    refused = answered(tmp_path, TUTORIAL, "method_settings.round=1", "on_existing=clean")
    assert refused.returncode == 2
    assert "rounds" in refused.stderr


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("x = 1\n", "has no 'async def run(question, runtime)'"),
        ("def run(question, runtime):\n    return 1\n", "has no 'async def run(question, runtime)'"),
        ("async def run(question, runtime)\n", "the method cannot be loaded (SyntaxError"),
        (HEAD + "    return 'Velby'\n", "run returned str, not a Trajectory"),
        (HEAD + "    return None\n", "run returned NoneType, not a Trajectory"),
        (HEAD + "    return 1 / 0\n", "line 5: the method failed (ZeroDivisionError: division by zero)"),
        (HEAD + "    return question.nothing\n", "line 5: the method failed (AttributeError"),
        (HEAD + "    import sys\n    sys.exit(3)\n", "line 6: the method failed (SystemExit: 3)"),
        ("import sys\nsys.exit(3)\n", "line 2: the method cannot be loaded (SystemExit: 3)"),
        (
            HEAD.replace("async", "def require(settings):\n    1 / 0\n\n\nasync") + "    return 1\n",
            "line 5: its require failed (ZeroDivisionError",
        ),
        (
            HEAD + "    return Trajectory(question, (), 7, Status.FINISHED)\n",
            "is not plain data: its answer must be text (got 7)",
        ),
        (
            HEAD + "    return Trajectory(question, (), '', Status.FINISHED, provenance={'a': object()})\n",
            "is not plain data",
        ),
        (
            HEAD + "    await runtime.ask('Answer: {q}', question='x')\n",
            "line 5: the prompt 'Answer: {q}': no value is given for {q}; question=… is given, but no slot "
            "has that name; give each slot its value, and write {{q}} where the braces are text; correct",
        ),
        (HEAD + "    await runtime.ask('{a} {q}', a='x')\n", "no value is given for {q}; give"),
        (
            HEAD + "    await runtime.ask('Answer: {a}', a='', b='')\n",
            "b=… is given, but no slot has that name; leave",
        ),
        (
            HEAD + "    await runtime.ask('{passages}', passage='')\n",
            "passage=… is given, but no slot has that name; did you mean {passages}? give each slot",
        ),
        (
            HEAD + "    await runtime.ask(runtime.prompt('naive_rag'), passages='', question='')\n",
            "no value is given for {context}; passages=… is given, but no slot has that name; give",
        ),
        (
            HEAD + "    found = runtime.retrieve('x')\n    runtime.show(found, 'x')\n",
            "mine.py, line 5: await is missing before runtime.retrieve(…)",
        ),
        (
            HEAD + "    text = f\"{runtime.ask('a')}\"\n    await runtime.ask(text)\n    return text\n",
            "mine.py, line 5: await is missing before runtime.ask(…)",
        ),
        (
            HEAD
            + "    runtime.rag.observe('x', ())\n    return Trajectory(question, (), '', Status.FINISHED)\n",
            "mine.py, line 5: await is missing before runtime.rag.observe(…)",
        ),
    ],
    ids=[
        *("no run", "not async", "syntax", "text", "nothing", "raises", "attribute"),
        *("exit", "exit at once", "require", "wrong type", "object"),
        *(
            "other slot",
            "no value",
            "no place",
            "near slot",
            "search in file",
            "no await",
            "in a text",
            "not used",
        ),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_no_row(method: str, words: str, tmp_path: Path) -> None:
    done = answered(tmp_path, method)
    assert done.returncode == 2
    assert words in done.stderr
    assert "mine.py" in done.stderr
    assert "Traceback" not in done.stderr
    assert "RuntimeWarning" not in done.stderr
    assert rows_of(tmp_path) == []


SETTINGS = (
    "from src_core.config import config_class\n\n\n@config_class\nclass Settings:\n    ask: str = '{q}'\n\n\n"
)
ASKS = HEAD + "    await runtime.ask(runtime.settings.ask, q='x')\n"


@pytest.mark.parametrize("declared", ["class Settings:\n    rounds: int = 3\n", "Settings = 5\n"])
def test_settings_without_their_decorator_are_one_sentence(declared: str, tmp_path: Path) -> None:
    done = answered(tmp_path, f"{declared}\n\n{HEAD}    return None\n", "method_settings.rounds=5")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert done.stderr.startswith(f"error: {tmp_path}/mine.py: the settings of the method cannot be read")
    assert "write @config_class above class Settings" in done.stderr
    assert "`@config_class` above it" in PAGE
    with pytest.raises(UserError, match="write @config_class above class Settings"):
        list(described(str(tmp_path / "mine.py")))


def test_settings_that_only_inherit_the_decorator_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        SETTINGS.replace("Settings", "Base")
        + f"class Settings(Base):\n    rounds: int = 3\n\n\n{HEAD}    pass\n"
    )
    with pytest.raises(UserError, match="write @config_class above class Settings"):
        load_method(str(tmp_path / "mine.py"))


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            "rounds: Positive = 'x'",
            "the default of the setting rounds is 'x', and its type allows: whole number, at least 1",
        ),
        ("rounds: Positive = '3'", "the default of the setting rounds is '3'"),
        ("rounds: Positive = 0", "the default of the setting rounds is 0"),
        ("rounds = 3", "the setting rounds has no type; write rounds: int = 3"),
        ("rounds: Absent = 3", "the type of a setting is unknown (name 'Absent' is not defined)"),
    ],
)
def test_a_wrong_declaration_of_a_setting_is_one_sentence_at_load(
    declared: str, said: str, tmp_path: Path
) -> None:
    head = "from __future__ import annotations\nfrom src_core.config import Positive, config_class\n"
    (tmp_path / "mine.py").write_text(
        f"{head}\n\n@config_class\nclass Settings:\n    {declared}\n\n\n{HEAD}    pass\n"
    )
    for load in (load_method, lambda file: list(described(file))):
        with pytest.raises(UserError, match=re.escape(f"{tmp_path}/mine.py: {said}")):
            load(str(tmp_path / "mine.py"))


def test_sound_declarations_of_settings_are_accepted(tmp_path: Path) -> None:
    head = "from pathlib import Path\nfrom src_core.config import NotNegative, config_class\n"
    fields = ["ask: str = ''", "heat: NotNegative = 1", "file: Path | None = None", "need: str", "_x = 3"]
    (tmp_path / "mine.py").write_text(
        f"{head}\n\n@config_class\nclass Settings:\n    {'; '.join(fields)}\n"
        f"    def ready(self): return True\n\n\n{HEAD}    pass\n"
    )
    assert load_method(str(tmp_path / "mine.py"), {"need": "x"}).settings.ready()


def test_a_prompt_is_corrected_where_it_was_set(tmp_path: Path) -> None:
    done = answered(tmp_path, SETTINGS + ASKS, "method_settings.ask=only one")
    assert "q=… is given, but no slot has that name; leave it out, or write {q} into the " in done.stderr
    assert done.stderr.rstrip().endswith("correct the setting method_settings.ask")
    done = answered(tmp_path, SETTINGS.replace("{q}", "{a}") + ASKS, "on_existing=clean")
    assert done.stderr.rstrip().endswith("correct the file")


def test_an_interrupted_method_ends_as_any_run(tmp_path: Path) -> None:
    done = answered(tmp_path, HEAD + "    raise KeyboardInterrupt\n")
    assert done.returncode == 130
    assert "run_name=r" in done.stderr


def test_an_unknown_method_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    done = answered(tmp_path, TUTORIAL, "method=rearg")
    assert done.returncode == 2
    assert "no method 'rearg'; did you mean rearag? there are: auto_rag, closed_book" in done.stderr


def test_a_method_and_a_model_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    trained = "trained=adapters/qwen2.5-coder-0.5b"
    done = answered(tmp_path, TUTORIAL, "method=search_r1", trained)
    assert "was trained for the format rearag, which the method search_r1 does not ask in" in done.stderr
    done = answered(tmp_path, TUTORIAL, trained)
    assert "was trained for the format rearag, and the method" in done.stderr
    assert "asks it in another way" in done.stderr
    done = answered(tmp_path, TUTORIAL, "method=r3rag", "on_existing=clean")
    assert "the method r3rag needs a model that was trained for it" in done.stderr
    done = answered(tmp_path, TUTORIAL, "method=rearag", trained, "on_existing=clean")
    assert "note:" not in done.stderr


def test_calls_in_tasks_are_awaited_ones(tmp_path: Path) -> None:
    lines = [
        "import asyncio",
        HEAD + "    task = asyncio.create_task(runtime.retrieve('item'))",
        "    found = await asyncio.gather(*(runtime.retrieve(f'item {n}') for n in range(3)))",
        "    await task",
        "    later = asyncio.create_task(runtime.retrieve('item'))",
        "    return Trajectory(question, (), str(len(found)), Status.FINISHED)",
    ]
    done = answered(tmp_path, "\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    assert [row["answer"] for row in rows_of(tmp_path)] == ["3", "3"]


def test_a_prompt_without_values_is_sent_as_it_is_with_a_note(tmp_path: Path) -> None:
    script = HEAD + "    text = await runtime.ask(question.question + ' {q} {\"json\": 1}')\n"
    done = answered(tmp_path, script + "    return Trajectory(question, (), text, Status.FINISHED)\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("note: a prompt holds {q} and is sent as it is") == 1
    assert {row["answer"] for row in rows_of(tmp_path)} == {
        "Search: the keeper of item 0",
        "Answer: keeper 1",
    }
