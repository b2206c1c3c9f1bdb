"""RADIO's table of scores: vectors that an index has already, and tables that are out of date."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_radio import Radio, corpus, questions, write_rows
from rich.console import Console

from src_core.config import load_config
from src_core.progress import Steps
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig


@pytest.fixture
def radio(tmp_path: Path) -> Radio:
    return Radio(tmp_path)


def test_vectors_of_the_index_are_not_computed_again(radio: Radio) -> None:
    """The index holds the first 12 passages, as its encoder made them."""
    radio.stages("rationales", "candidates", "scores")
    before = radio.rows("scores.jsonl")
    part = write_rows(radio.folder / "part.jsonl", corpus()[:12])
    values = [f"corpus={part}", f"index_dir={radio.folder}/index", "encoder=toy"]
    build_index(load_config(BuildConfig, None, values), steps=Steps(Console(quiet=True)))
    for file in radio.run.glob("vectors-*"):
        file.unlink()
    index = str(radio.folder / "index")
    done = radio.stage("scores", scores__index=index)
    named = {each["id"] for row in before for each in row["passages"]}
    there = len(named & {f"p{n}" for n in range(12)})
    assert 0 < there < len(named) == 20
    assert f"({20 - there} in this run, {there} taken from the index)" in done.stdout
    assert radio.rows("scores.jsonl") == before
    again = radio.stage("scores", scores__index=index)
    assert "(0 in this run)" in again.stdout
    for file in radio.run.glob("vectors-*"):
        file.unlink()
    other = radio.stage("scores", scores__index=index, scores__encoder="toy:48")  # not the index's encoder
    assert "(20 in this run)" in other.stdout
    none = radio.stage("scores", scores__index=f"{radio.folder}/nowhere", scores__encoder="toy:32")
    assert "(20 in this run)" in none.stdout


def test_groups_are_never_made_of_an_outdated_table(radio: Radio) -> None:
    radio.stages("rationales", "candidates", "scores", "blend")
    first = radio.rows("groups/w0.5.train.jsonl")
    other = radio.stage("blend", scores__query="rationale")
    assert (other.returncode, "scores.query" in other.stderr) == (2, True)
    shorter = radio.stage("blend", scores__encoding__query_max_length="7")
    assert (shorter.returncode, "scores.encoding.query_max_length" in shorter.stderr) == (2, True)
    same = radio.stage("blend", scores__encoding="{batch_size: 3, query_max_length: 512}")
    assert same.returncode == 0, same.stderr  # changes no score
    radio.script([("", ["A papyrus in the museum of the next valley names another charter."])])
    radio.stages("rationales", rationales__layout="one_turn")
    stale = radio.stage("blend")
    assert stale.returncode == 2
    assert "rationales, candidates or questions; run the stage 'scores' again" in stale.stderr
    assert radio.rows("groups/w0.5.train.jsonl") == first
    radio.stages("scores", "blend")
    whole = (radio.run / "scores.jsonl").read_bytes()
    (radio.run / "scores.jsonl").write_bytes(whole[: len(whole) // 2])
    half = radio.stage("blend")
    assert (half.returncode, "run the stage 'scores' again" in half.stderr) == (2, True)
    (radio.run / "scores.jsonl").write_bytes(whole)
    fewer = radio.stage("blend", n_samples="3")
    assert (fewer.returncode, "run the stage 'scores' again" in fewer.stderr) == (2, True)


def test_groups_of_blends_that_are_gone_are_removed_aloud(radio: Radio) -> None:
    radio.stages("rationales", "candidates", "scores")
    radio.stages("blend", blends="[{label: w0, weight: 0}, {label: w0.train}, {label: w1, weight: 1}]")
    done = radio.stage("blend", blends="[{label: w1, weight: 1}]")
    for label in ("w0", "w0.train"):
        assert f"removed: the groups of {label}, which is no blend of this configuration" in done.stdout
    held = sorted(path.name for path in (radio.run / "groups").iterdir())
    assert held == ["w1.train.jsonl", "w1.validation.jsonl"]
    assert "removed" not in radio.stage("blend", blends="[{label: w1, weight: 1}]").stdout


def test_questions_whose_gold_ids_are_not_the_corpus_are_named(radio: Radio) -> None:
    done = radio.stage("candidates")
    assert "6 of 6 questions with known gold passages have one among their candidates\n" in done.stdout
    rows = [{**row, "supporting_ids": ["elsewhere"]} for row in questions(4)]
    write_rows(radio.folder / "questions.jsonl", [*rows, *questions(6)[4:]])
    assert "2 of 6 questions with known gold" in radio.stage("candidates").stdout
    write_rows(radio.folder / "questions.jsonl", rows)
    done = radio.stage("candidates")
    assert "0 of 4 questions with known gold" in done.stdout
    assert "are the ids in the questions those of the corpus?" in done.stdout
    assert (radio.record("candidates")["with_gold"], radio.record("candidates")["gold_found"]) == (4, 0)


def test_a_stage_that_can_do_nothing_says_why(radio: Radio) -> None:
    nothing = radio.stage("rationales", n_samples="0")
    assert (nothing.returncode, "n_samples is 0" in nothing.stderr) == (2, True)
    radio.stages("rationales", "candidates", "scores")
    held = radio.stage("blend", held_out="0.999")
    assert (held.returncode, "no question gives a group for training" in held.stdout) == (1, True)
    (radio.run / "rationales.jsonl").write_text('{"id": "q"}\n', encoding="utf-8")
    assert "row 1: Field required at prompt; correct or remove" in radio.stage("scores").stderr
