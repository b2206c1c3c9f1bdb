"""The published schema exactly, sides that never change, provenance in order, general data mixed in."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers_chains import GOLDS, chain, question, write_chains
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from src_core.conversations import read_conversations
from src_core.errors import UserError
from src_core.jsonl import LineSpool
from src_core.protocols.rearag import ReaRag, parse_step
from src_core.protocols.records import PromptStyle
from src_core.think import split_think
from src_data.exporting.export import ExportConfig, ExportReport, chain_turns, export_run, side_of
from src_data.exporting.general import General, GeneralConfig, general_rows, read_general, sample_general
from src_data.filters.filter_trajectory import FilterConfig
from src_data.postprocess import Finished, finish_run, print_finished

STYLE = PromptStyle()


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def general_in(config: GeneralConfig) -> General:
    return read_general(config, LineSpool(Path(config.path).parent))


def run_of(folder: Path, n: int) -> Path:
    """A run of `n` sound chains for `n` questions."""
    return write_chains(
        folder,
        *(chain(asked=question(f"Question {i}: where was he born?", source_id=f"s{i}")) for i in range(n)),
    )


def export(folder: Path, n: int = 60, **settings_: Any) -> tuple[ExportReport, Finished]:
    run = run_of(folder, n)
    done = finish_run(run, clean=FilterConfig(), export=ExportConfig(**settings_), protocol=ReaRag(STYLE))
    return done.export, done


def test_conversations_are_in_the_published_schema_and_load_again(tmp_path: Path) -> None:
    report, _ = export(tmp_path)
    array = json.loads(report.conversations.read_bytes())
    assert len(array) == 60
    assert all(list(row) == ["format", "messages"] for row in array)
    assert {row["format"] for row in array} == {"rearag"}
    expected = ReaRag(STYLE).turns("Question 0: where was he born?", chain().steps)
    assert array[0]["messages"] == expected
    assert [list(turn) for turn in expected[:3]] == [
        ["role", "content"],
        ["role", "reasoning"],
        ["role", "content"],
    ]
    loaded = list(read_conversations(report.conversations))
    assert [row.problem for row in loaded] == [""] * 60
    assert [row.messages for row in loaded] == [row["messages"] for row in array]
    assert ReaRag(STYLE).messages(loaded[0].messages)[1]["role"] == "assistant"


def test_both_sides_together_are_all_and_provenance_is_in_order(tmp_path: Path) -> None:
    report, _ = export(tmp_path, validation_share=0.3)
    whole = [row["messages"] for row in json.loads(report.conversations.read_bytes())]
    train = [row["messages"] for row in rows(report.train_file)]
    validation = [row["messages"] for row in rows(report.validation_file)]
    assert (report.train, report.validation) == (len(train), len(validation))
    assert min(len(train), len(validation)) > 5
    notes = rows(report.provenance)
    assert [note["n"] for note in notes] == list(range(60))
    for note, turns in zip(notes, whole, strict=True):
        assert note["question"] in turns[0]["content"]
        assert turns in (train if note["side"] == "train" else validation)
    assert notes[7] == {
        "n": 7,
        "side": notes[7]["side"],
        "question_id": question("Question 7: where was he born?").id,
        "question": "Question 7: where was he born?",
        "golds": list(GOLDS),
        "dataset": "toyset",
        "source_id": "s7",
        "answer": "Le Roncole",
        "f1": 1.0,
        "em": 1.0,
        "documents": [["p1"], ["p2"]],
        "scores": [[0.5], [0.5]],
        "teacher": "toy",
        "chain": 0,
        "made_by": {},
        "searches": 2,
        "usage": {"calls": 3, "prompt_tokens": 350, "completion_tokens": 50},
        "seconds": 0.0,
    }


@settings(deadline=None)
@given(st.text(), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_larger_share_only_moves_questions_to_validation(key: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert side_of(key, 0.0) == "train"
    if side_of(key, less) == "validation":
        assert side_of(key, more) == "validation"


def test_sides_do_not_depend_on_the_rest_of_the_run(tmp_path: Path) -> None:
    few, _ = export(tmp_path / "few", 20, validation_share=0.3)
    many, _ = export(tmp_path / "many", 60, validation_share=0.3, seed=9)
    assert [note["side"] for note in rows(few.provenance)] == [
        note["side"] for note in rows(many.provenance)[:20]
    ]


def test_the_same_export_is_the_same_bytes(tmp_path: Path) -> None:
    general = (GeneralConfig(path=str(sharegpt(tmp_path)), n=5),)
    reports = [export(tmp_path / name, validation_share=0.2, general=general)[0] for name in ("a", "b")]
    for one, other in zip(reports[0][:4], reports[1][:4], strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_think_blocks_only_on_request_and_apart_from_the_step() -> None:
    thinking = chain()
    thinking = replace(thinking, steps=(replace(thinking.steps[0], think="Hm, Verdi?"), *thinking.steps[1:]))
    plain = chain_turns(thinking, ReaRag(STYLE))
    assert "Hm" not in json.dumps(plain)
    with_think = chain_turns(thinking, ReaRag(STYLE), include_think=True)
    text = with_think[1]["reasoning"]
    assert text.startswith("<think>\nHm, Verdi?\n</think>\n\nThought 1: ")
    assert split_think(text) == ("Hm, Verdi?", plain[1]["reasoning"])
    assert parse_step(split_think(text).text) == parse_step(plain[1]["reasoning"])
    assert with_think[2:] == plain[2:]


SHAREGPT: list[Any] = [
    {"conversations": [{"from": "human", "value": f"Hello {i}"}, {"from": "gpt", "value": "Hi"}]}
    for i in range(30)
]
ODD: list[tuple[Any, str]] = [
    ({"conversations": []}, "no conversation"),
    ({"conversations": [{"from": "human", "value": "alone"}]}, "turns out of order"),
    ({"conversations": [{"from": "alien", "value": "x"}]}, "a turn without known role or text"),
    ({"conversations": [{"from": "human", "value": 3}]}, "a turn without known role or text"),
    (
        {"conversations": [{"from": r, "value": "x"} for r in ("human", "human", "gpt", "gpt")]},
        "turns out of order",
    ),
    (
        {"messages": [{"role": "user", "content": "x <|im_end|>"}, {"role": "assistant", "content": "y"}]},
        "control tokens in the text",
    ),
    ({"messages": [{"role": "assistant", "reasoning": "x"}]}, "not a conversation of the format rearag"),
    ({"text": "x"}, "no conversation"),
    (["x"], "no conversation"),
]


def sharegpt(folder: Path) -> Path:
    path = folder / "sharegpt.json"
    path.write_text(json.dumps([*SHAREGPT, *(row for row, _ in ODD)]))
    return path


def test_general_layouts_become_one_and_odd_rows_are_counted(tmp_path: Path) -> None:
    general = general_in(GeneralConfig(path=str(sharegpt(tmp_path)), n=12))
    assert (general.counts.usable, general.counts.taken) == (30, 12)
    assert general.counts.skipped == dict(Counter(problem for _, problem in ODD))
    published = {"messages": ReaRag(STYLE).turns("Who?", chain().steps)}
    others = [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi", "reasoning": None},
                {"role": "user", "content": "no reply to this"},
            ]
        },
        {"conversations": [{"from": "gpt", "value": "Hi?"}, *SHAREGPT[0]["conversations"]]},
        published,
    ]
    path = tmp_path / "other.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in others) + "nonsense\n")
    found = list(general_rows(path))
    assert [row.problem for row in found] == ["", "", "", "not valid JSON"]
    assert found[0].row.turns == [
        {"role": "user", "content": "Be brief.\n\nHello"},
        {"role": "assistant", "reasoning": "Hi"},
    ]
    assert found[1].row.turns[0] == {"role": "user", "content": "Hello 0"}
    assert found[2].row.turns == published["messages"]


def test_general_data_is_mixed_into_both_sides_and_nowhere_else(tmp_path: Path) -> None:
    path = sharegpt(tmp_path)
    general = (GeneralConfig(path=str(path), n=20),)
    report, done = export(tmp_path / "run", validation_share=0.3, general=general)
    assert report.general_train + report.general_validation == 20
    assert min(report.general_train, report.general_validation) > 0
    train, validation = rows(report.train_file), rows(report.validation_file)
    assert len(train) == report.train + report.general_train
    assert len(validation) == report.validation + report.general_validation
    assert len(json.loads(report.conversations.read_bytes())) == 60
    places = [n for n, row in enumerate(train) if row["messages"][0]["content"].startswith("Hello")]
    assert len(places) == report.general_train
    assert places != list(range(len(places))), "mixed, not put in front"
    assert places[-1] - places[0] >= len(places)
    console = Console(width=130, record=True, quiet=False)
    print_finished(done, console)
    told = console.export_text()
    assert "20 of 30 taken" in told
    assert "60 of 60 questions have a kept trajectory; " in told
    assert f"and the report {tmp_path}/run/yield.md" in told


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 5))
def test_sampling_takes_exactly_n_distinct_rows(
    tmp_path_factory: pytest.TempPathFactory, n: int, seed: int
) -> None:
    path = sharegpt(tmp_path_factory.mktemp("general"))
    general = general_in(GeneralConfig(path=str(path), n=n))
    taken = [row.turns[0]["content"] for row in sample_general(general, seed=seed)]
    assert len(taken) == len(set(taken)) == min(n, 30)
    assert taken == sorted(taken, key=lambda text: int(text.split()[1]))
    again = [row.turns[0]["content"] for row in sample_general(general, seed=seed)]
    assert taken == again


def test_sampling_favours_no_place(tmp_path: Path) -> None:
    general = general_in(GeneralConfig(path=str(sharegpt(tmp_path)), n=10))
    hits = Counter(t.turns[0]["content"] for seed in range(300) for t in sample_general(general, seed=seed))
    assert len(hits) == 30
    assert min(hits.values()) > 60
    assert max(hits.values()) < 140


def test_a_missing_general_file_is_named(tmp_path: Path) -> None:
    run = run_of(tmp_path, 1)
    with pytest.raises(UserError, match=r"nowhere\.json"):
        finish_run(
            run,
            clean=FilterConfig(),
            export=ExportConfig(general=(GeneralConfig(path=str(tmp_path / "nowhere.json")),)),
            protocol=ReaRag(STYLE),
        )


def test_nothing_kept_is_an_empty_export(tmp_path: Path) -> None:
    run = write_chains(tmp_path, b"{}")
    done = finish_run(run, clean=FilterConfig(), export=ExportConfig(), protocol=ReaRag(STYLE))
    assert json.loads(done.export.conversations.read_bytes()) == []
    assert done.export.train_file.read_bytes() == done.export.provenance.read_bytes() == b""
    assert export_run(done.paths, ExportConfig(), ReaRag(STYLE)).train == 0


def test_each_input_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[str] = Counter()

    def counting(module: str, name: str) -> None:
        original = getattr(importlib.import_module(module), name)

        def counted(path: Path) -> Any:
            reads[path.name] += 1
            return original(path)

        monkeypatch.setattr(f"{module}.{name}", counted)

    run = run_of(tmp_path / "run", 20)
    done = finish_run(run, clean=FilterConfig(), export=ExportConfig(), protocol=ReaRag(STYLE))
    config = ExportConfig(
        validation_share=0.3, reader_passage_chars=100, general=(GeneralConfig(path=str(sharegpt(tmp_path))),)
    )
    counting("src_data.exporting.export", "read_filtered")
    counting("src_data.exporting.general", "file_rows")
    report = export_run(done.paths, config, ReaRag(STYLE))
    assert report.general_train + report.general_validation == 30
    assert reads == {done.paths.kept.name: 1, Path(config.general[0].path).name: 1}
