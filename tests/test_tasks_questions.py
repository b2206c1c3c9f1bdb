"""Question files as `infer.sh` reads them: the same golds, ids and groups as in data construction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers_data_rows import HOTPOTQA, MUSIQUE, POPQA, ROWS, Row, read, written

from src_core.errors import UserError
from src_core.types import Question, Status, Trajectory, question_id, to_json, trajectory_from_json
from src_tasks.readers.sources import SourceConfig, read_questions

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def questions_in(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def asked(tmp_path: Path, row: Row) -> Question:
    (question,) = read_questions(questions_in(tmp_path, row))
    return question


@pytest.mark.parametrize(
    ("more", "answers"),
    [
        ({"answer": "a"}, ("a",)),
        ({"answer": ["a", "b"]}, ("a", "b")),
        ({"answers": ["a", "b"]}, ("a", "b")),
        ({"golden_answers": ["a"]}, ("a",)),
        ({"answer": 1959}, ("1959",)),
        ({"answer": 2.0}, ("2",)),
        ({"answer": 2.5}, ("2.5",)),
        ({"golden_answers": [True]}, ("yes",)),
        ({"answer": False}, ("no",)),
        ({"answers": ["x"], "answer": "y"}, ("x",)),
        ({"answers": None, "answer": "y"}, ("y",)),
        ({"answers": [], "answer": "y"}, ("y",)),
        ({"answers": [""], "golden_answers": [], "answer": "y"}, ("y",)),
        ({"answer": "y", "answer_aliases": ["z", "y"]}, ("y", "z")),
        ({"golden_answers": "['a', \"b's\", 'c\\'d']"}, ("a", "b's", "c'd")),
        ({"golden_answers": "['a' 'b']"}, ("a", "b")),
        ({"answers": '["a", 2]'}, ("a", "2")),
        ({"answer": "[sic]"}, ("[sic]",)),
        ({"answer": "[a, b]"}, ("[a, b]",)),
        ({}, ()),
        ({"answers": []}, ()),
    ],
)
def test_answers_are_found_under_any_usual_key(
    tmp_path: Path, more: dict[str, Any], answers: tuple[str, ...]
) -> None:
    question = asked(tmp_path, {"question": " Who? ", **more})
    assert (question.question, question.answers) == ("Who?", answers)
    assert question.id == question_id("Who?", answers)


def test_a_row_of_the_shared_sets_keeps_its_id_kind_and_passages(tmp_path: Path) -> None:
    shared = {
        "id": "5a85",
        "dataset": "hotpotqa",
        "split": "dev",
        "question": "Which?",
        "answers": ["Animorphs"],
        "supporting_titles": ["A"],
        "gold_ids": ["p28", "p22"],
        "type": "bridge",
        "level": "hard",
    }
    ours = {"id": "s1", "question": "Who?", "answers": ["x"], "supporting_ids": ["sw-1"], "hops": 2}
    ours |= {"context_ids": ["sw-1", 2], "type": "bridge"}
    first, second = read_questions(questions_in(tmp_path, shared, ours))
    assert (first.supporting, first.group) == (("p28", "p22"), "bridge")
    assert first.meta == {
        "type": "bridge",
        "dataset": "hotpotqa",
        "split": "dev",
        "level": "hard",
        "source_id": "5a85",
        "supporting_titles": ["A"],
    }
    assert (second.supporting, second.group) == (("sw-1",), "bridge 2-hop")
    assert second.meta == {
        "type": "bridge",
        "hops": 2,
        "source_id": "s1",
        "context_ids": ["sw-1", "2"],
    }


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_publishers_row_has_the_golds_that_construction_finds(name: str, tmp_path: Path) -> None:
    for at, row in enumerate(ROWS[name]):
        path = written(tmp_path, [row], f"{at}.jsonl")
        ours, theirs = read_questions(path), [item.question for item in read(path)]
        assert [(q.id, q.answers, q.group) for q in ours] == [(q.id, q.answers, q.group) for q in theirs]


def test_each_row_of_a_mixed_file_is_read_in_its_own_layout(tmp_path: Path) -> None:
    plain = {"question": "Who ruled Oost?", "answers": [], "answer": "Ilse"}
    found = read_questions(questions_in(tmp_path, MUSIQUE, plain, POPQA, HOTPOTQA))
    assert [question.answers for question in found] == [
        ("Hanne Brook", "H. Brook"),
        ("Ilse",),
        ("glazier", 'window "fitter"'),
        ("Marrow County",),
    ]


def test_doubles_are_dropped_and_the_limit_counts_questions(tmp_path: Path) -> None:
    path = questions_in(tmp_path, *({"question": f"q{k // 2}"} for k in range(10)))
    assert [q.question for q in read_questions(path)] == ["q0", "q1", "q2", "q3", "q4"]
    assert [q.question for q in read_questions(path, limit=2)] == ["q0", "q1"]
    assert len({q.id for q in read_questions(path)}) == 5


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no row"),
        ([{"question": "a"}, {"query": "b"}], "q.jsonl, line 2: no 'question'; correct or remove that row"),
        ([{"question": "  "}], "line 1: 'question' holds no word"),
        ([{"question": 5}], "line 1: 'question' must be text"),
        ([{"question": "a", "answers": {"x": 1}}], "line 1: an answer must be a text"),
        ([{"question": "a", "answers": [["x"]]}], "line 1: an answer must be a text"),
        ([{"question": "a", "answer": "['a', b]"}], "line 1: the text .* begins like a list of answers"),
        ([{"question": "a", "context_ids": {"x": 1}}], "line 1: 'context_ids' must be"),
        ([{"question": "a", "golden_answers": ["Dun(mark|land)"]}], "line 1: the gold .* regular expression"),
        ([{"question": "a", "golden_answers": [4], "choices": ["x", "y"]}], "line 1: the gold 4 is none of"),
        ([{"query": "a", "id": 1}], r"no known layout \(keys: 'id', 'query'\)"),
    ],
)
def test_a_question_file_that_is_none_is_one_sentence(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_questions(questions_in(tmp_path, *rows))


def test_an_answer_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    golds = ["AC/DC (band)", "C++", "What?", "$1.50", "M*A*S*H", "Dun(mark|land)"]
    assert asked(tmp_path, {"question": "a", "golden_answers": golds}).answers == tuple(golds)


@pytest.mark.parametrize("name", ["[a", "[a.jsonl,b.jsonl]", "{path: a"])
def test_a_list_in_the_place_of_a_file_is_told_as_one(name: str) -> None:
    with pytest.raises(UserError) as wrong:
        read_questions(Path(name), setting="questions")
    assert str(wrong.value) == (
        f"no such file: {name}; questions is the path of one file and not a list; write it without brackets"
    )


def test_a_missing_file_says_where_such_a_file_is_had_and_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read_questions(tmp_path / "hotpotqa.dev.jsonl", setting="datasets[0].path")
    said = str(refused.value)
    assert f"no such file: {tmp_path}/hotpotqa.dev.jsonl; HotpotQA is at https://hotpotqa.github.io" in said
    assert said.endswith("download it and set datasets[0].path to the file")
    with pytest.raises(UserError, match=r"many published sets are at hub:.*set questions to the file"):
        read_questions(tmp_path / "mine.jsonl")
    with pytest.raises(UserError, match="a folder without CSV tables"):
        read_questions(tmp_path)
    with pytest.raises(UserError, match="needs a split"):
        read_questions("hub:someone/something")


# --- multiple choice ---

CHOICES = ["Orrin", "Velby", "Dunmark"]


@pytest.mark.parametrize("key", ["golden_answers", "answer", "answers"])
@pytest.mark.parametrize("gold", [1, 1.0, [1], "1", "B", "b", "Velby", "velby", ["Velby"]])
def test_a_gold_of_choices_is_an_index_a_letter_or_a_text(tmp_path: Path, key: str, gold: Any) -> None:
    question = asked(tmp_path, {"question": "Which?", key: gold, "choices": CHOICES})
    assert (question.answers, question.choices) == (("Velby",), tuple(CHOICES))


def test_the_text_of_a_choice_goes_before_its_index(tmp_path: Path) -> None:
    numbers = {"question": "How many?", "choices": [3, 1, 0]}
    assert asked(tmp_path, {**numbers, "golden_answers": ["1"]}).answers == ("1",)
    assert asked(tmp_path, {**numbers, "golden_answers": [2]}).answers == ("0",)
    assert asked(tmp_path, {**numbers, "choices": ["no", "yes"], "answer": True}).answers == ("yes",)


def test_several_right_choices(tmp_path: Path) -> None:
    row = {"question": "Which are towns?", "golden_answers": [0, 1], "choices": CHOICES}
    assert asked(tmp_path, row).answers == ("Orrin", "Velby")


def test_the_same_question_with_other_choices_is_another_question(tmp_path: Path) -> None:
    row = {"question": "Which is true?", "answer": 0, "choices": ["all", "none"]}
    found = read_questions(questions_in(tmp_path, row, {**row, "choices": ["all", "some"]}, row))
    assert [question.choices for question in found] == [("all", "none"), ("all", "some")]


@pytest.mark.parametrize("choices", ["x", [1], ["x"] * 27, {"text": ["x"]}, [["x"], "y"]])
def test_choices_that_are_none_are_refused(tmp_path: Path, choices: Any) -> None:
    with pytest.raises(UserError, match="line 1: "):
        asked(tmp_path, {"question": "Which?", "answer": 0, "choices": choices})


MMLU = '"Which is a, or ""b""?","a, b",2,3,3,C\n"Two\nlines",1,2,3,4,D\n'


def test_an_mmlu_table_has_no_header_and_its_subject_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "high_school_physics_val.csv"
    path.write_text(MMLU, encoding="utf-8")
    first, second = read_questions(path)
    assert (first.question, first.answers) == ('Which is a, or "b"?', ("3",))
    assert first.choices == ("a, b", "2", "3", "3")
    assert (first.group, first.meta) == ("high school physics", {"dataset": "mmlu"})
    assert (second.question, second.answers) == ("Two\nlines", ("4",))
    assert [item.question for item in read(str(path))] == [first, second]


def test_a_folder_of_tables_is_one_set_and_a_bad_row_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "anatomy_dev.csv").write_text("q1,a,b,c,d,A\n", encoding="utf-8")
    (tmp_path / "virology_dev.csv").write_text("q2,a,b,c,d,B\n", encoding="utf-8")
    found = read_questions(tmp_path)
    assert [(question.group, question.answers) for question in found] == [
        ("anatomy", ("a",)),
        ("virology", ("b",)),
    ]
    assert len(read_questions(SourceConfig(path=str(tmp_path), split="dev"), limit=1)) == 1
    (tmp_path / "virology_dev.csv").write_text("q2,a,b,c,d,B\nq3,a,b,c,d,E\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"virology_dev.csv, line 2: the gold 'E' is none of the 4 choices"):
        read_questions(tmp_path)


def test_mmlu_of_the_hub_is_read_as_plain_rows(tmp_path: Path) -> None:
    row = {"question": "Which?", "subject": "anatomy", "choices": list("abcd"), "answer": 3}
    question = asked(tmp_path, row)
    assert (question.answers, question.group) == (("d",), "anatomy")


@pytest.mark.published
@pytest.mark.parametrize(("split", "rows"), [("dev", 285), ("val", 1531)])
def test_all_of_mmlu(split: str, rows: int) -> None:
    found = read_questions(SHARED / "mmlu" / split)
    assert len({question.group for question in found}) == 57
    assert all(len(question.choices) == 4 and len(question.answers) == 1 for question in found)
    assert rows - len(found) == {"dev": 1, "val": 2}[split], "questions that the set holds twice"


# --- records ---


def test_rows_written_before_questions_had_choices_load(tmp_path: Path) -> None:
    question = Question("i", "q?", ("a",), ("p",), ("a", "b"), "g", {"type": "x"})
    row = Trajectory(question, (), "a", Status.FINISHED)
    assert trajectory_from_json(to_json(row)) == row
    old = json.loads(to_json(row))
    del old["question"]["choices"], old["question"]["group"]
    read_back = trajectory_from_json(json.dumps(old)).question
    assert read_back == Question("i", "q?", ("a",), ("p",), meta={"type": "x"})


def test_choices_alone_change_an_id() -> None:
    assert question_id("q", ("a",)) == question_id("q", ("a",), ()) == "9afc82aaa3c72acf"
    assert question_id("q", ("a",), ("a", "b")) != question_id("q", ("a",), ("b", "a"))
