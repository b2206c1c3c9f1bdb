"""Facts that a model asks for: which questions count, that a run resumes, and what is built on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import UserError
from src_data.passage_questions import asking
from src_data.passage_questions.asked import last_rows
from src_data.passage_questions.asking import Outcome, Reply, Target, judged, reads_the_same
from src_data.passage_questions.config import CorpusConfig, Counts, QuestionsConfig
from src_data.passage_questions.entities import read_entity
from src_data.passage_questions.make import make_questions
from src_data.passage_questions.read_world import read_world
from src_tasks.readers.sources import read_questions

KEPT_BEES = "He kept bees on the island of Ruhnu and sold the honey in Narvik."
CORPUS = {
    "Red Rain": "Red Rain is a 1951 Norwegian drama film directed by Bo Ray. It was shot in eleven days.",
    "Bo Ray": f"Bo Ray was a Danish film director. {KEPT_BEES}",
    "Ann Lee": "Ann Lee is a Welsh chemist. She was once the youngest judge of a dog show in Cardiff.",
    "Cy Holt": (
        "Cy Holt was a Danish film director. He lived in Aarhus. He had three sons. He liked strong tea. "
        "He never learned to drive. He sang in a choir. He disliked dogs."
    ),
    "Short": "Short is a Danish film. It is short.",
}
ASKED_ISLAND = "Question: On which island did Bo Ray keep bees?\nAnswer: Ruhnu"
NONE = Counts(**dict.fromkeys(Counts.__dataclass_fields__, 0))


def corpus(folder: Path) -> str:
    rows = [{"id": f"p{at}", "title": title, "text": text} for at, (title, text) in enumerate(CORPUS.items())]
    path = folder / "corpus.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


def scripted(folder: Path, **replies: str) -> str:
    """A model that is asked about sentences and passages by what occurs in them."""
    whens = {
        "bees": f"Sentence: {KEPT_BEES}",
        "judge": "Sentence: She was once",
        "read": "Question: On which island",
    }
    rows = [{"when": whens[key], "replies": [reply], "cycle": True} for key, reply in replies.items()]
    path = folder / "model.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return f"scripted:{path}"


def ask(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> tuple[int, Path]:
    out = folder / "asked.jsonl"
    arguments = [f"corpus={corpus(folder)}", f"out={out}", "excluded_corpora=[]", f"endpoint.url={url}"]
    monkeypatch.setattr("sys.argv", ["asking", *arguments])
    return asking.main(), out


def target() -> Target:
    entity = read_entity("p1", "Bo Ray", CORPUS["Bo Ray"])
    assert entity is not None
    return Target(entity, entity.predicates[1])


def test_a_later_sentence_of_each_passage_is_asked_about_and_those_that_facts_lead_to_come_first(
    tmp_path: Path,
) -> None:
    world = read_world(CorpusConfig(corpus=corpus(tmp_path), excluded_corpora=())).world
    found = [(each.entity.title, each.predicate.sentence) for each in asking.targets(world, 1)]
    assert found[0] == ("Bo Ray", KEPT_BEES)
    assert [title for title, _ in found[1:]] == ["Ann Lee"]  # no other later sentence is as long


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (ASKED_ISLAND, Reply("On which island did Bo Ray keep bees?", "Ruhnu")),
        ("Question: Who kept bees on Ruhnu?\nAnswer: Bo Ray", Outcome.OTHER_SUBJECT),
        ("Question: Where on Ruhnu did Bo Ray keep bees?\nAnswer: Ruhnu", Outcome.TOLD),
        ("Question: Where did Bo Ray keep bees?\nAnswer: Gotland", Outcome.NOT_COPIED),
        ("Question: What did Bo Ray do?\nAnswer: kept bees on the island of Ruhnu", Outcome.NOT_COPIED),
        ("Question: What did Bo Ray sell?\nAnswer: honey.", Reply("What did Bo Ray sell?", "honey")),
        ("Bo Ray kept bees.", Outcome.NO_QUESTION),
        ("Question: Did Bo Ray keep bees?\nAnswer: honey", Outcome.NO_QUESTION),
    ],
)  # fmt: skip
def test_what_a_model_writes_counts_where_it_asks_for_words_of_the_sentence(
    text: str, outcome: Reply | Outcome
) -> None:
    assert judged(text, target()) == outcome


@given(st.text(max_size=200))
def test_any_reply_is_judged(text: str) -> None:
    assert isinstance(judged(text, target()), Reply | Outcome)
    assert not reads_the_same("Ruhnu", "") and isinstance(reads_the_same("Ruhnu", text), bool)


def test_a_reading_is_the_same_with_a_few_more_words() -> None:
    assert reads_the_same("Ruhnu", "the island of Ruhnu.")
    assert not reads_the_same("Ruhnu", "Narvik")
    assert not reads_the_same("Ruhnu", "He kept bees on the island of Ruhnu and sold honey")


def test_only_what_is_read_again_is_kept_and_a_second_run_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = scripted(tmp_path, bees=ASKED_ISLAND, judge="Question: Who?\nAnswer: she", read="Ruhnu")
    status, out = ask(tmp_path, monkeypatch, url)
    rows = last_rows(out)
    assert (status, {row.outcome for row in rows.values()}) == (0, {"kept", str(Outcome.OTHER_SUBJECT)})
    assert (rows["p1"].question, rows["p1"].answer) == ("On which island did {s} keep bees?", "Ruhnu")
    before = out.read_bytes()
    assert ask(tmp_path, monkeypatch, url)[0] == 0
    assert out.read_bytes() == before
    assert "kept" in capsys.readouterr().out


def test_a_file_of_another_model_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"passage": "p9", "sentence": "It is.", "outcome": "no question", "model": "another"}
    (tmp_path / "asked.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match="holds questions of another, not of scripted"):
        ask(tmp_path, monkeypatch, scripted(tmp_path, bees=ASKED_ISLAND, judge="no", read="Ruhnu"))


def test_a_failed_call_is_asked_again_and_another_reading_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = "Question: Where did Ann Lee judge a dog show?\nAnswer: Cardiff"
    status, out = ask(tmp_path, monkeypatch, scripted(tmp_path, judge=judge))  # no reply about the bees
    assert (status, last_rows(out)["p1"].outcome) == (1, str(Outcome.FAILED))
    status, out = ask(
        tmp_path, monkeypatch, scripted(tmp_path, bees=ASKED_ISLAND, judge=judge, read="Narvik")
    )
    assert last_rows(out)["p1"].outcome == str(Outcome.READ_OTHERWISE)


def made(folder: Path, asked: Path, *, overwrite: bool = False, seed: int = 1, **counts: int) -> list[Any]:
    config = QuestionsConfig(
        corpus=corpus(folder), out=str(folder / "made.jsonl"), asked=str(asked), excluded_corpora=(),
        counts=Counts(**{**NONE.__dict__, **counts}), overwrite=overwrite, seed=seed,
    )  # fmt: skip
    make_questions(config)
    return read_questions(config.out, note=lambda _: None)


def test_an_asked_fact_ends_a_question_of_two_hops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = scripted(tmp_path, bees=ASKED_ISLAND, judge="no", read="Ruhnu")
    asked = ask(tmp_path, monkeypatch, url)[1]
    (question,) = made(tmp_path, asked, asked_2=5)
    assert "Red Rain" in question.question and "Bo Ray" not in question.question
    assert question.answers == ("Ruhnu",)
    last = question.meta["decomposition"][-1]
    assert last["question"] == "On which island did #1 keep bees?"


@pytest.mark.parametrize(
    ("asked", "single", "of_two"),
    [
        ("What was {s}'s first job?", "What was the first job of ", "What was the first job of the "),
        ("When did {s}'s bees die?", "When did Bo Ray's bees die?", None),
        ("Where did the director {s} keep bees?", "Where did ", "Where did the "),
    ],
)
def test_a_subject_of_several_words_fits_into_an_asked_question(
    tmp_path: Path, asked: str, single: str, of_two: str | None
) -> None:
    row = {"passage": "p1", "sentence": KEPT_BEES, "outcome": "kept", "model": "m", "answer": "Ruhnu"}
    file = tmp_path / "asked.jsonl"
    file.write_text(json.dumps({**row, "question": asked}) + "\n")
    found = {
        len(each.meta["decomposition"]): each.question for each in made(tmp_path, file, asked_1=1, asked_2=1)
    }
    assert found[1].startswith(single) and "the director the director" not in found[1]
    assert found.get(2, "").startswith(of_two or "") and (2 in found) == (of_two is not None)


def test_what_is_asked_about_one_thing_is_not_told_of_another(tmp_path: Path) -> None:
    rows = [
        {"passage": "p1", "sentence": KEPT_BEES, "question": question, "answer": answer}
        for question, answer in (("On which island did {s} keep bees?", "Ruhnu"),)
    ]
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps({**row, "outcome": "kept", "model": "m"}) + "\n" for row in rows))
    found = [
        each.question
        for seed in range(8)
        for each in made(tmp_path, file, overwrite=True, seed=seed, unanswerable_1=50)
        if "island" in each.question
    ]
    assert found and all("Cy Holt" in question for question in found)


def test_what_a_passage_may_tell_is_not_asked_in_vain(tmp_path: Path) -> None:
    file = tmp_path / "asked.jsonl"
    row = {"passage": "p1", "sentence": KEPT_BEES, "question": "Who taught {s} driving?", "answer": "Ruhnu"}
    file.write_text(json.dumps({**row, "outcome": "kept", "model": "m"}) + "\n")
    asked = [
        each.question
        for seed in range(8)
        for each in made(tmp_path, file, overwrite=True, seed=seed, unanswerable_1=50)
    ]
    assert asked and not any("Cy Holt" in question and "driving" in question for question in asked)


def test_an_asked_fact_of_another_text_is_left_out(tmp_path: Path) -> None:
    asked = tmp_path / "asked.jsonl"
    row = {"passage": "p1", "sentence": "He kept cats.", "outcome": "kept", "model": "m"}
    asked.write_text(json.dumps({**row, "question": "What did {s} keep?", "answer": "cats"}) + "\n")
    with pytest.raises(UserError, match="no question could be made"):
        made(tmp_path, asked, asked_1=5, asked_2=5)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"question": "Who?"}\n')
    with pytest.raises(UserError, match=r"asked\.jsonl:1 is no row of .*remove it"):
        made(tmp_path, asked, asked_1=5)
