"""What fixed inputs gave before the base was re-cut: trajectories, requests, conversations, token ids,
scores.

`PYTHONPATH=.:tests python tests/helpers_golden.py` writes `tests/data/golden/*.json` again; that is right
only where a change of behaviour was meant, and the commit says so. Every part goes through the commands
that a person calls, with a scripted model and a toy retriever, and is reduced to what has to stay: texts,
ids and figures.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from helpers_methods import (
    ASKED,
    CASES,
    FACTS,
    FROM_PASSAGES,
    FROM_SEARCHES,
    OBSERVE,
    WHERE,
    WHO,
    WORLD,
    Case,
)

from src_core.scripted import ScriptedModel
from src_core.types import Finish, Search
from src_infer.run import main as infer_main

GOLDEN = Path("tests/data/golden")
AGENT = "Reasoning process with function call"


def _step(n: int, thought: str, name: str, key: str, value: str) -> str:
    body = json.dumps({"function": name, "parameters": {key: value}}, ensure_ascii=False)
    return f"Thought {n}: {thought}\nAction {n}: \n```\n{body}\n```"


REARAG = Case(
    "rearag",
    [
        (
            AGENT,
            [
                _step(1, "I need the author.", "search", "query", WHO),
                "I do not know.",
                _step(2, "Now the town.", "search", "query", WHERE) + "\nObservation 2: invented",
                "Thought 3: Done.\nAction 3: {'function': 'finish', 'parameters': {'answer': 'St. Even's'}}",
            ],
        ),
        (OBSERVE, FACTS),
        (FROM_SEARCHES, ["Steventon"]),
    ],
    [WHO, WHERE],
)
NAIVE = Case("naive_rag", [(FROM_PASSAGES, ["Steventon"])], [ASKED])
CLOSED = Case("closed_book", [("born?", ["Steventon"])], [])
# The methods that were there when the files were made; later ones have tests of their own.
LATER = {"r3rag", "fs_rag", "iterdrag", "auto_rag"}
FIRST = {name: case for name, case in CASES.items() if name not in LATER}
ALL = {**FIRST, "rearag": REARAG, "naive_rag": NAIVE, "closed_book": CLOSED}


def own_settings(case: Case) -> list[str]:
    """The settings of a case as the command takes them."""
    return [f"method_settings.{key}={value}" for key, value in case.settings.items()]


@contextmanager
def _recorded() -> Iterator[list[Any]]:
    """Every request that a scripted model gets: messages and stop strings."""
    seen: list[Any] = []
    original = ScriptedModel.chat

    async def chat(self: ScriptedModel, messages: Any, **rest: Any) -> Any:
        constraint = rest.get("constraint")
        seen.append(
            {
                "messages": [dict(message) for message in messages],
                "stop": list(rest.get("stop", ())),
                "grammar": constraint.grammar if constraint else None,
                "seed": rest["sampling"].seed,
                "temperature": rest["sampling"].temperature,
            }
        )
        return await original(self, messages, **rest)

    with mock.patch.object(ScriptedModel, "chat", chat):
        yield seen


def trajectories(name: str, *, constrain: str = "off") -> dict[str, Any]:
    """One question through one method."""
    case = ALL[name]
    with tempfile.TemporaryDirectory() as made, _recorded() as requests:
        folder = Path(made)
        extra = {} if case.unsure is None else {"unsure": case.unsure}
        rows = [{"when": when, "replies": replies, "anywhere": True, **extra} for when, replies in case.rows]
        _write(folder / "script.jsonl", rows)
        _write(folder / "corpus.jsonl", [{"id": p.id, "title": p.title, "text": p.text} for p in WORLD])
        question = {
            "question": ASKED,
            "answers": ["Steventon"],
            "gold_ids": ["p1", "p2"],
            "context_ids": ["p3", "p2", "p1"],
        }
        _write(folder / "questions.jsonl", [question])
        arguments = [
            "configs/infer/gpu.yaml",
            f"method={case.method}",
            f"questions={folder / 'questions.jsonl'}",
            f"runs_dir={folder}",
            "run_name=r",
            f"agent.url=scripted:{folder / 'script.jsonl'}",
            f"reader.url=scripted:{folder / 'script.jsonl'}",
            f"retriever=toy:{folder / 'corpus.jsonl'}",
            "top_k=1",
            "in_flight=1",
            "deterministic=true",
            "agent_sampling.seed=1",
            f"constrain={constrain}",
            *own_settings(case),
        ]
        with mock.patch.object(sys, "argv", ["run", *arguments]), _silent():
            assert infer_main() == 0
        row = json.loads((folder / "r/trajectories.jsonl").read_text(encoding="utf-8"))
        totals = json.loads((folder / "r/manifest.json").read_text(encoding="utf-8"))["totals"]
    return {"row": plain_row(row), "totals": plain_totals(totals), "requests": requests}


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row on disk without clocks, digests and keys that carry no information."""
    return {
        "question": {
            key: row["question"][key] for key in ("id", "question", "answers", "supporting", "meta")
        },
        "answer": row["answer"],
        "status": row["status"],
        "error": row["error"],
        "usage": row["usage"],
        "parse_failures": row["provenance"].get("parse_failures", []),
        "steps": [
            {
                "n": step["n"],
                "thought": step["thought"],
                "action": step["action"],
                "observation": step["observation"],
                "passages": [
                    [passage["id"], passage["title"], passage["contents"], passage["scores"].get("retrieval")]
                    for passage in step["passages"]
                ],
                "reply": step["reply"],
                "think": step["think"],
                "parse_fixes": step["parse_fixes"],
                "parse_failures": step["parse_failures"],
                "repeated": step["repeated"],
                "usage": step["usage"],
            }
            for step in row["steps"]
        ],
    }


def plain_totals(totals: dict[str, Any]) -> dict[str, Any]:
    """The figures of a manifest without clocks."""
    return {key: totals["all"][key] for key in ("questions", "em", "f1", "gold_recall", "searches")}


@contextmanager
def _silent() -> Iterator[None]:
    with tempfile.TemporaryFile("w") as sink, mock.patch("sys.stdout", sink), mock.patch("sys.stderr", sink):
        yield


def _write(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def conversations() -> dict[str, Any]:
    """Chains of the annotated teacher and sound chains, as they are exported."""
    from helpers_chains import chain, question, search, write_chains

    from src_core.protocols.rearag import ReaRag
    from src_core.protocols.records import PromptStyle
    from src_data.exporting.export import ExportConfig
    from src_data.filters.filter_trajectory import FilterConfig
    from src_data.postprocess import finish_run

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        rows = [
            chain(asked=question(f"Question {i}: where was he born?", source_id=f"s{i}")) for i in range(12)
        ]
        rows.append(chain(search(1, "Who?", "x"), asked=question("Never finished?")))
        write_chains(folder, *rows)
        style = PromptStyle()
        export = ExportConfig(validation_share=0.3, reader_passage_chars=200)
        done = finish_run(folder, clean=FilterConfig(), export=export, protocol=ReaRag(style)).export
        return {
            "conversations": [row["messages"] for row in json.loads(done.conversations.read_bytes())],
            "train": [json.loads(line)["messages"] for line in done.train_file.read_bytes().splitlines()],
            "validation": [
                json.loads(line)["messages"] for line in done.validation_file.read_bytes().splitlines()
            ],
        }


def token_ids() -> dict[str, Any]:
    """Ids and loss masks of conversations with the template of each family."""
    from helpers_train import FAMILIES, style, tokenizer_folder

    from src_core.chat_tokenizer import ChatTokenizer
    from src_core.protocols.rearag import ReaRag
    from src_core.types import Step

    steps = [
        Step(1, "I need the film.", Search("Which film won?"), observation="Red Rain won."),
        Step(
            2, "And the year.", Search("When did “Red Rain” win?"), observation="In 1956: {yes} – naïve 北京."
        ),
        Step(3, "Now I know it.", Finish("Ann Lee")),
    ]
    found = {}
    for family in sorted(FAMILIES):
        with tempfile.TemporaryDirectory() as made:
            encoder = ChatTokenizer(tokenizer_folder(Path(made), family))
            for system in ("", "Be brief."):
                how = style(family, system=system)
                encoded = encoder.encode(ReaRag(how).lay_out(ReaRag(how).turns("Who won, and when?", steps)))
                key = f"{family}{' with system' if system else ''}"
                found[key] = {
                    "ids": encoded.ids.tolist(),
                    "trainable": encoded.trainable.astype(int).tolist(),
                }
    return found


PAIRS = [
    ("Steventon", ["Steventon"]),
    ("steventon.", ["Steventon", "Steventon, Hampshire"]),
    ("The town of Steventon", ["Steventon"]),
    ("yes", ["no"]),
    ("Yes.", ["yes"]),
    ("no answer found", ["noanswer"]),
    ("1,000 men", ["1000 men", "a thousand"]),
    ("Barack Obama", ["Obama Barack"]),
    ("北京市", ["北京"]),
    ("unknown", ["Paris"]),
    ("the cat sat on a mat", ["a cat on the mat sat"]),
]


def scores() -> list[Any]:
    """Every text metric on fixed pairs."""
    from src_tasks import metrics
    from src_tasks.answers import normalize_answer
    from src_tasks.metrics import exact_match, token_f1

    names = ("em", "f1", "squad_f1", "cover_em", "rouge_l", "chinese_f1")
    table = []
    for prediction, golds in PAIRS:
        row: dict[str, Any] = {"prediction": prediction, "golds": golds}
        row["normal"] = normalize_answer(prediction)
        row["live"] = [exact_match(prediction, golds), token_f1(prediction, golds)]
        row["eval"] = {name: getattr(metrics, name)(prediction, golds) for name in names}
        table.append(row)
    return table


PARTS: dict[str, Callable[[], Any]] = {
    "trajectories": lambda: (
        {name: trajectories(name) for name in sorted(ALL)}
        | {"rearag with a grammar": trajectories("rearag", constrain="grammar")}
    ),
    "conversations": conversations,
    "token_ids": token_ids,
    "scores": scores,
}


def canonical(value: Any) -> str:
    """One text for one value."""
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for part, make in PARTS.items():
        (GOLDEN / f"{part}.json").write_text(canonical(make()), encoding="utf-8")
