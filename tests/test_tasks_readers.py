"""Readers of question sets: every layout, files of every kind, malformed rows of many kinds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from helpers_data_rows import (
    CAG,
    FANOUTQA,
    FRAMES,
    FRESHQA,
    HOTPOTQA,
    HOTPOTQA_HUB,
    IIRC,
    MMLU,
    MUSIQUE,
    POPQA,
    PROJECT,
    ROWS,
    SITUATEDQA,
    STRATEGYQA,
    TIMEQA,
    TRIVIAQA,
    TWOWIKI,
    WEBQUESTIONS,
    Row,
    read,
    read_skipping,
    written,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import UserError
from src_core.jsonl import read_jsonl
from src_core.types import Question
from src_tasks.metrics import exact_match
from src_tasks.readers.base import RowError, make_passage
from src_tasks.readers.formats import FORMATS, Format, detect
from src_tasks.readers.rows import SubQuestion, decomposition
from src_tasks.readers.sources import (
    BadRow,
    OnBadRow,
    SourceConfig,
    read_question_texts,
    read_questions,
    read_source,
)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SHARED_FILES = sorted([*SHARED.glob("*.train.jsonl"), *SHARED.glob("*.dev.jsonl")]) or [SHARED]
PUBLISHED = sorted(SHARED.glob("publisher_format/*.json")) or [SHARED]


def question(folder: Path, row: Row, **settings: Any) -> Question:
    (made,) = read(written(folder, [row]), **settings)
    return made.question


# --- every layout ---


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_recognised_read_and_scored(name: str, tmp_path: Path) -> None:
    for at, row in enumerate(ROWS[name]):
        assert detect(row) == name
        made = read(written(tmp_path, [row], f"{at}.jsonl"))
        assert made == read(written(tmp_path, [row], f"{at}.json")), "JSONL and a JSON array give the same"
        for item in made:
            asked = item.question
            assert asked.meta["dataset"] == (
                str(at) if name in ("flashrag", "plain", "multiple_choice") else asked.meta["dataset"]
            )
            assert asked.answers or asked.meta["answerable"] is False
            assert all(exact_match(answer, asked.answers) == 1.0 for answer in asked.answers)
            assert len(set(asked.answers)) == len(asked.answers)
            assert {passage.id for passage in item.passages} >= set(asked.supporting) or name == "project"


def test_hotpotqa(tmp_path: Path) -> None:
    (made,) = read(written(tmp_path, [HOTPOTQA]))
    mill, _, venn = made.passages
    assert mill.contents == "Quill Mill\nQuill Mill is a watermill in Marrow County. It burnt down in 1881."
    assert made.question.supporting == (venn.id, mill.id), "in the order of the facts"
    assert made.question.answers == ("Marrow County",)
    assert made.question.meta == {
        "dataset": "hotpotqa",
        "source_id": "h1",
        "type": "bridge",
        "level": "medium",
        "supporting_titles": ["Orla Venn", "Quill Mill"],
        "supporting_facts": [["Orla Venn", 1], ["Quill Mill", 0]],
    }


def test_hotpotqa_in_the_columns_of_the_hub_is_the_same_row(tmp_path: Path) -> None:
    assert read(written(tmp_path, [HOTPOTQA_HUB])) == read(written(tmp_path, [HOTPOTQA], "a.json"))


def test_hotpotqa_fullwiki_may_lack_gold_passages(tmp_path: Path) -> None:
    (made,) = read(written(tmp_path, [{**HOTPOTQA, "context": HOTPOTQA["context"][:2]}]))
    assert len(made.question.supporting) == 1
    assert made.question.meta["supporting_titles"] == ["Orla Venn", "Quill Mill"]


def test_musique(tmp_path: Path) -> None:
    (made,) = read(written(tmp_path, [MUSIQUE]))
    town, _, lint = made.passages
    assert made.question.answers == ("Hanne Brook", "H. Brook")
    assert made.question.supporting == (lint.id, town.id), "in the order of the hops"
    assert made.question.meta["type"] == "2hop"
    assert decomposition(made.question) == (
        SubQuestion("Ivo Lint >> place of birth", ("Gleam Town",), "Ivo Lint"),
        SubQuestion("Who founded #1 ?", ("Hanne Brook",), "Gleam Town"),
    )


def test_musique_full_marks_the_unanswerable(tmp_path: Path) -> None:
    row = copy.deepcopy(MUSIQUE) | {"answerable": False}
    row["question_decomposition"][1]["paragraph_support_idx"] = None
    made = question(tmp_path, row)
    assert made.meta["answerable"] is False
    assert decomposition(made)[1].title == ""


def test_2wiki_and_its_alias_file(tmp_path: Path) -> None:
    made = question(tmp_path, TWOWIKI)
    assert made.meta["evidences"] == TWOWIKI["evidences"]
    assert made.meta["dataset"] == "2wikimultihopqa"
    aliases = tmp_path / "id_aliases.json"
    aliases.write_bytes(
        b'{"Q_id": "Q77", "aliases": ["Marrow", "Marrow County"], "demonyms": ["Marrovian"]}\n'
    )
    assert question(tmp_path, TWOWIKI, aliases=str(aliases)).answers == (
        "Marrow County",
        "Marrow",
        "Marrovian",
    )
    with pytest.raises(UserError, match="aliases are for 2wikimultihopqa"):
        question(tmp_path, HOTPOTQA, aliases=str(aliases))


def test_2wiki_copies_of_the_hub(tmp_path: Path) -> None:
    columns = {
        "context": {
            "title": [title for title, _ in TWOWIKI["context"]],
            "content": [sentences for _, sentences in TWOWIKI["context"]],
        },
        "supporting_facts": {"title": ["Orla Venn", "Quill Mill"], "sent_id": [1, 0]},
        "evidences": {
            "fact": ["Orla Venn", "Quill Mill"],
            "relation": ["painted", "located in"],
            "entity": ["Quill Mill", "Marrow County"],
        },
    }
    texts = {key: orjson.dumps(TWOWIKI[key]).decode() for key in columns}
    expected = read(written(tmp_path, [TWOWIKI]))
    assert read(written(tmp_path, [TWOWIKI | columns])) == expected
    assert read(written(tmp_path, [TWOWIKI | texts])) == expected


def test_iirc(tmp_path: Path) -> None:
    span, value, none = read(written(tmp_path, [IIRC]))
    assert span.question.answers == ("Ansel Dorn",)
    assert [passage.title for passage in span.passages] == ["Sable Ferry", "Dorn family"]
    assert span.question.supporting == tuple(passage.id for passage in span.passages)
    assert value.question.answers == ("40", "40 years")
    assert (none.question.answers, none.question.meta["answerable"]) == ((), False)


def test_several_spans_are_one_answer(tmp_path: Path) -> None:
    article = copy.deepcopy(IIRC)
    article["questions"][0]["answer"]["answer_spans"].append({"text": "Berta Dorn"})
    assert read(written(tmp_path, [article]))[0].question.answers == ("Ansel Dorn, Berta Dorn",)


def test_triviaqa(tmp_path: Path) -> None:
    made = question(tmp_path, TRIVIAQA)
    assert made.answers == ("Grey Heron", "Gray heron", "Ardea cinerea", "a heron")
    assert made.meta["source_id"] == "tc_9"


def test_popqa_and_webquestions_unpack_their_cells(tmp_path: Path) -> None:
    assert question(tmp_path, POPQA).answers == ("glazier", 'window "fitter"')
    assert question(tmp_path, POPQA).meta["evidences"] == [["Mira Toll", "occupation", "glazier"]]
    assert question(tmp_path, WEBQUESTIONS).answers == ('Glass "lamps"', "Windows")


def test_cag_has_credible_documents_as_support_and_its_date_apart(tmp_path: Path) -> None:
    (made,) = read(written(tmp_path, [CAG]))
    now, before = made.passages
    assert made.question.supporting == (now.id,)
    assert (now.title, before.title) == ("", "Oost")
    assert made.question.question == "Who is the mayor of Oost?"
    assert made.question.meta == {"dataset": "cag", "source_id": "3", "date": "2023/11/17"}
    release = {key: value for key, value in CAG.items() if key != "answers"} | {"answer": ["Ilse"]}
    assert question(tmp_path, release).answers == ("Ilse",)


def test_situatedqa_asks_the_question_with_its_date(tmp_path: Path) -> None:
    made = question(tmp_path, SITUATEDQA)
    assert (made.question, made.answers) == ("who is the mayor of oost as of 2021", ("Orla Venn",))
    assert (made.meta["date"], made.group) == ("2021", "sampled_year")
    later = SITUATEDQA | {"edited_question": "who is the mayor of oost as of 2023", "answer": ["Ilse"]}
    assert len(read(written(tmp_path, [SITUATEDQA, later]))) == 2
    place = SITUATEDQA | {"edited_question": "who is the mayor in Oost", "location": "Oost", "date": None}
    assert question(tmp_path, place).meta["location"] == "Oost"
    texts = read_question_texts(
        SourceConfig(path=written(tmp_path, [SITUATEDQA])), report=print, on_bad_row=OnBadRow.FAIL
    )
    assert list(texts) == ["who is the mayor of oost as of 2021"]


def test_timeqa_has_its_article_and_unanswerable_questions(tmp_path: Path) -> None:
    known, unknown = read(written(tmp_path, [TIMEQA, TIMEQA | {"targets": [""]}]))
    (article,) = known.passages
    assert (article.title, known.question.supporting) == ("Orla Venn", (article.id,))
    assert (known.question.meta["type"], known.question.answers) == ("P39", ("mayor of Oost", "mayor"))
    assert (unknown.question.answers, unknown.question.meta["answerable"]) == ((), False)


def test_freshqa_is_read_below_the_warning_of_its_sheet(tmp_path: Path) -> None:
    commas = "," * (len(FRESHQA) - 1)
    cells = [",".join(FRESHQA), ",".join(FRESHQA.values())]
    table = tmp_path / "freshqa.csv"
    table.write_text("\n".join([f"Warning: do not click{commas}", commas, *cells, commas]), encoding="utf-8")
    (made,) = read(str(table))
    assert made.question.answers == ("Ilse", "Queen Ilse")
    assert (made.question.meta["date"], made.question.group) == ("2022", "fast-changing")
    assert made.question.meta["false_premise"] is False


def test_strategyqa(tmp_path: Path) -> None:
    made = question(tmp_path, STRATEGYQA)
    assert made.answers == ("no",)
    assert made.meta["facts"] == STRATEGYQA["facts"]
    assert made.meta["supporting_titles"] == ["Otter", "Map - chart", "Reading"]
    assert decomposition(made) == (
        SubQuestion("Can otters read?", (), "Otter"),
        SubQuestion("Is #1 needed for a map?", (), "Reading"),
    )
    hub = {"qid": "s1", "term": "Otter", "question": "Could it?", "answer": True, "facts": "One text."}
    assert question(tmp_path, hub).answers == ("yes",)


def test_frames(tmp_path: Path) -> None:
    made = question(tmp_path, FRAMES)
    assert made.meta["supporting_titles"] == ["Tarn Hall", "Quillé Mill (Oost)"]
    assert made.meta["type"] == "Numerical reasoning"


def test_fanoutqa(tmp_path: Path) -> None:
    made = question(tmp_path, FANOUTQA)
    assert made.answers == ("Quill Mill: 140, Low Mill: 90 years",)
    assert made.meta["answer_parts"] == FANOUTQA["answer"]
    assert [hop.question for hop in decomposition(made)] == [
        "Which mills are in Marrow County?",
        "How old is Quill Mill?",
        "How old are they?",
    ]
    assert decomposition(made)[0].answers == ("Quill Mill, Low Mill",)
    assert made.meta["supporting_titles"] == ["Marrow County", "Quill Mill"]


def test_flashrag_metadata_becomes_passages(tmp_path: Path) -> None:
    row = {"id": "dev_3", "question": HOTPOTQA["question"], "golden_answers": ["Marrow County"]}
    (made,) = read(written(tmp_path, [row | {"metadata": HOTPOTQA_HUB}]))
    (same,) = read(written(tmp_path, [HOTPOTQA]))
    assert made.passages == same.passages
    assert made.question.supporting == same.question.supporting


def test_plain_rows_of_the_original(tmp_path: Path) -> None:
    assert question(tmp_path, {"question": "When?", "answer": 1905}).answers == ("1905",)
    assert question(tmp_path, {"question": "Was it?", "answer": True}, format="plain").answers == ("yes",)
    assert question(tmp_path, {"question": "When?", "answers": ["x", " x ", "", "y", 2.0]}).answers == (
        "x",
        "y",
        "2",
    )


@pytest.mark.parametrize("row", [HOTPOTQA, TWOWIKI, ROWS["plain"][0]])
def test_a_decomposition_of_the_row_is_kept(row: Row, tmp_path: Path) -> None:
    hops = ["Who painted it?", {"question": "Where is #1 from?", "answer": "Oost", "title": "Orla Venn"}]
    assert decomposition(question(tmp_path, {**row, "decomposition": hops})) == (
        SubQuestion("Who painted it?", ()),
        SubQuestion("Where is #1 from?", ("Oost",), "Orla Venn"),
    )


def test_project_rows(tmp_path: Path) -> None:
    (made,) = read(written(tmp_path, [PROJECT]))
    asked = made.question
    assert made.passages == ()
    assert asked.supporting == ("p1", "p7")
    assert asked.meta["supporting_titles"] == ["Orla Venn", 'Quill" Mill'], "as the corpus gives titles back"
    assert asked.meta["split"] == "train"
    assert decomposition(asked) == (
        SubQuestion("Who painted Quill Mill?", ("The painter of Quill Mill is Orla Venn.",)),
        SubQuestion("Where was Orla Venn born?", ()),
    )


def test_labels_of_a_source(tmp_path: Path) -> None:
    path = written(tmp_path, [ROWS["plain"][0]], "mine.dev.jsonl")
    assert read(path)[0].question.meta["dataset"] == "mine"
    made = read(path, name="ours", split="dev")[0].question
    assert (made.meta["dataset"], made.meta["split"]) == ("ours", "dev")


# --- malformed rows ---

BAD_ROWS: list[tuple[str, Any, str]] = [
    ("plain", {"question": "Who?"}, "no gold answer"),
    ("plain", {"question": "Who?", "answer": ""}, "no gold answer"),
    ("plain", {"question": "Who?", "answer": None}, "no gold answer"),
    ("plain", {"question": "Who?", "answers": ["", "  "]}, "no gold answer"),
    ("plain", {"question": "Who?", "answers": [{"text": "x"}]}, "found dict"),
    ("plain", {"question": "Who?", "answers": [["x"]]}, "found list"),
    ("plain", {"question": "", "answer": "x"}, "'question' holds no word"),
    ("plain", {"question": " ?! ", "answer": "x"}, "'question' holds no word"),
    ("plain", {"answer": "x"}, "no 'question'"),
    ("plain", {"question": ["Who?"], "answer": "x"}, "'question' must be text, found list"),
    ("plain", [1, 2], "expected an object, found list"),
    ("plain", None, "expected an object, found NoneType"),
    ("plain", b'{"question": "Who?", "answer": ', "not valid JSON"),
    ("plain", b'{"question": "\xff", "answer": "x"}', "not valid JSON"),
    ("hotpotqa", {**HOTPOTQA, "answer": " "}, "no gold answer"),
    ("hotpotqa", {**HOTPOTQA, "context": "text"}, "'context' is not valid JSON"),
    ("hotpotqa", {**HOTPOTQA, "context": [["Title"]]}, "an entry of 'context'"),
    ("hotpotqa", {**HOTPOTQA, "context": [["Title", [1]]]}, "must be texts"),
    ("hotpotqa", {**HOTPOTQA, "context": {"title": ["a", "b"], "sentences": [["x"]]}}, "of one length"),
    ("hotpotqa", {**HOTPOTQA, "context": {"title": ["a"]}}, "of one length"),
    ("hotpotqa", {**HOTPOTQA, "supporting_facts": [["Title", "0"]]}, "a title and a sentence number"),
    ("2wikimultihopqa", {**TWOWIKI, "evidences": [["a", "b"]]}, "subject, relation and object"),
    ("2wikimultihopqa", {**TWOWIKI, "answer": ""}, "no gold answer"),
    ("musique", {**MUSIQUE, "paragraphs": [{"title": "x"}]}, "'paragraph_text'"),
    ("musique", {**MUSIQUE, "paragraphs": MUSIQUE["paragraphs"][:2]}, "is no paragraph of the row"),
    ("musique", {**MUSIQUE, "paragraphs": ["text"]}, "'paragraphs' must be a list of objects"),
    ("musique", {**MUSIQUE, "answer": None, "answer_aliases": []}, "no gold answer"),
    ("iirc", {**IIRC, "questions": []}, "without 'questions'"),
    ("iirc", {**IIRC, "questions": [{**IIRC["questions"][0], "answer": None}]}, "no 'answer' object"),
    (
        "iirc",
        {**IIRC, "questions": [{**IIRC["questions"][0], "answer": {"type": "x"}}]},
        "unknown answer type 'x'",
    ),
    ("iirc", {**IIRC, "text": "", "questions": IIRC["questions"][:1]}, "'text' holds no word"),
    ("triviaqa", {key: TRIVIAQA[key] for key in ("Question", "QuestionId")}, "no 'Answer'"),
    ("triviaqa", {**TRIVIAQA, "Answer": {"Value": "<unk>", "Aliases": []}}, "no gold answer"),
    ("triviaqa", {**TRIVIAQA, "Answer": "Grey Heron"}, "must be an object"),
    ("popqa", {**POPQA, "possible_answers": "['single quotes']"}, "'possible_answers' is not valid JSON"),
    ("popqa", {**POPQA, "possible_answers": "[]"}, "no gold answer"),
    ("webquestions", {**WEBQUESTIONS, "targetValue": "(name fb:en.x)"}, "'targetValue' is not"),
    ("webquestions", {**WEBQUESTIONS, "targetValue": "(list)"}, "no gold answer"),
    ("webquestions", {**WEBQUESTIONS, "targetValue": '(list (description "x")'}, "'targetValue' is not"),
    ("cag", {**CAG, "docs": "text"}, "'docs' must be a list of objects"),
    ("cag", {**CAG, "answers": []}, "no gold answer"),
    ("situatedqa", {**SITUATEDQA, "answer": []}, "no gold answer"),
    ("situatedqa", {**SITUATEDQA, "edited_question": "?"}, "'edited_question' holds no word"),
    ("timeqa", {**TIMEQA, "targets": "mayor"}, "'targets' must be a list"),
    ("freshqa", {**FRESHQA, "answer_0": "", "answer_1": ""}, "no gold answer"),
    ("strategyqa", {**STRATEGYQA, "answer": "yes"}, "must be true or false"),
    ("strategyqa", {**STRATEGYQA, "decomposition": [1]}, "must be a list of questions"),
    ("strategyqa", {**STRATEGYQA, "evidence": ["x"]}, "'evidence' must be"),
    ("frames", {**FRAMES, "Prompt": None}, "no 'Prompt'"),
    ("frames", {**FRAMES, "Answer": ""}, "no gold answer"),
    ("fanoutqa", {**FANOUTQA, "answer": []}, "no gold answer"),
    ("fanoutqa", {**FANOUTQA, "decomposition": [{"id": "a"}]}, "no 'question'"),
    ("flashrag", {"question": "Who?", "golden_answers": []}, "no gold answer"),
    (
        "flashrag",
        {"question": "Who?", "golden_answers": ["x"], "metadata": "m"},
        "'metadata' must be an object",
    ),
    ("multiple_choice", {"question": "Who?", "choices": ["a"], "answer": 0}, "'choices' must be a list of 2"),
    ("multiple_choice", {"question": "Who?", "choices": ["a", "b"], "answer": 2}, "the gold 2 is none of"),
    ("multiple_choice", {"question": "Who?", "choices": ["a", "b"], "answer": -1}, "the gold -1 is none of"),
    ("multiple_choice", {"question": "Who?", "choices": ["a", "b"]}, "no gold answer"),
    ("mmlu", {**MMLU, "answer": "E"}, "the gold 'E' is none of the 4 choices"),
    ("bamboogle", {"Question": "Who?", "Answer": None}, "no gold answer"),
    ("nq", {"question": "who", "answer": []}, "no gold answer"),
    ("project", {**PROJECT, "answers": []}, "no gold answer"),
    ("project", {**PROJECT, "gold_ids": [[1]]}, "'gold_ids' must be a list of passage ids"),
    ("project", {**PROJECT, "decomposition": [1]}, "'decomposition' must be a list of objects"),
]


@pytest.mark.parametrize(("name", "row", "reason"), BAD_ROWS)
def test_a_malformed_row_is_told_and_skipped_or_ends_the_reading(
    name: str, row: Any, reason: str, tmp_path: Path
) -> None:
    good = ROWS[name][0]
    path = written(tmp_path, [good, row, good])
    made, bad = read_skipping(path, format=name)
    assert len(made) == 2 * len(read(written(tmp_path, [good], "good.jsonl"), format=name))
    (told,) = bad
    assert told.path == path
    assert told.place.split(",")[0] == "line 2"
    assert reason in told.reason
    with pytest.raises(UserError) as refused:
        list(read_source(SourceConfig(path=path, format=name), report=lambda _: None))
    assert f"{path}, {told.place}: {told.reason}" in str(refused.value)
    assert "on_bad_row=skip" in str(refused.value)


def test_a_test_file_without_answers_is_malformed_row_by_row(tmp_path: Path) -> None:
    path = written(tmp_path, [{key: HOTPOTQA[key] for key in ("_id", "question", "context")}] * 3, "a.json")
    made, bad = read_skipping(path)
    assert (made, [row.place for row in bad]) == ([], ["row 1", "row 2", "row 3"])


def survives(layout: Format, row: Row) -> None:
    """The row is read, or refused with `RowError`; nothing else may be raised."""
    try:
        parts = [row] if layout.unfold is None else layout.unfold(row)
        for part in parts:
            made = layout.parse(part)
            orjson.dumps(made)
    except RowError:
        pass


def spoilt(value: Any) -> Iterator[Any]:
    """`value` with one of its parts, however deep, replaced by something else."""
    yield from (None, True, 0, 0.5, "", "x", "[1]", [], {}, [None], [[1]], [["x", None]], {"title": "x"})
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            for other in spoilt(inner):
                changed = copy.copy(value)
                changed[key] = other
                yield changed
            changed = copy.copy(value)
            del changed[key]
            yield changed


@pytest.mark.parametrize("name", FORMATS)
def test_no_spoilt_row_makes_a_reader_crash(name: str) -> None:
    tried = 0
    for row in ROWS[name]:
        for changed in spoilt(row):
            if isinstance(changed, dict):
                detect(changed)
                survives(FORMATS[name], changed)
                tried += 1
    assert tried > 20


@settings(deadline=None)
@given(
    row=st.dictionaries(
        st.sampled_from(sorted({key for rows in ROWS.values() for row in rows for key in row})),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["title", "text", "question", "answer", "idx"]), inner, max_size=3
                )
            ),
            max_leaves=8,
        ),
        max_size=8,
    ),
    name=st.sampled_from(sorted(FORMATS)),
)
def test_no_row_whatever_makes_a_reader_crash(row: Row, name: str) -> None:
    for candidate in (row, {**ROWS[name][0], **row}):
        detect(candidate)
        survives(FORMATS[name], candidate)


# --- questions alone, passages ---


@pytest.mark.parametrize("name", FORMATS)
def test_questions_of_files_without_answers(name: str, tmp_path: Path) -> None:
    row = copy.deepcopy(ROWS[name][0])
    for part in [row, *row.get("questions", [])]:
        for key in ("answer", "Answer", "answers", "golden_answers", "possible_answers", "targetValue"):
            part.pop(key, None)
    source = SourceConfig(path=written(tmp_path, [row, {"odd": 1}]), format=name)
    bad: list[BadRow] = []
    texts = list(read_question_texts(source, report=bad.append, on_bad_row=OnBadRow.SKIP))
    assert texts == [item.question.question for item in read(written(tmp_path, [ROWS[name][0]], "b.jsonl"))]
    assert [told.place for told in bad] == ["line 2"]


def test_passages_are_the_same_whatever_their_white_space() -> None:
    one, two = (
        make_passage(' "Quill"  Mill ', "A  mill.\nIt stands. "),
        make_passage('"Quill" Mill', "A mill. It stands."),
    )
    assert one is not None
    assert one == two
    assert (one.title, one.text) == ('Quill" Mill', "A mill. It stands.")
    assert one.id[0] == "p"
    assert len(one.id) == 17
    assert make_passage("Quill Mill", " \n") is None
    assert one != make_passage("Quill", "Mill A mill. It stands.")


# --- real files, where they are at hand ---


@pytest.mark.published
@pytest.mark.published
@pytest.mark.parametrize("path", SHARED_FILES, ids=lambda path: path.name)
def test_all_rows_of_the_shared_files(path: Path) -> None:
    made = read(str(path))
    assert len(made) == path.read_bytes().count(b"\n")
    assert {item.question.id for item in made} == {item.id for item in read_questions(path)}
    named = [row.get("dataset", path.name.partition(".")[0]) for row in read_jsonl(path)]
    assert [item.question.meta["dataset"] for item in made] == named
    for item in made:
        assert all(exact_match(answer, item.question.answers) == 1.0 for answer in item.question.answers)


@pytest.mark.published
@pytest.mark.published
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_all_rows_of_the_published_files(path: Path) -> None:
    made = read(str(path))
    assert len(made) == len(orjson.loads(path.read_bytes()))
    for item in made:
        titles = {passage.id: passage.title for passage in item.passages}
        assert {titles[name] for name in item.question.supporting} == set(
            item.question.meta["supporting_titles"]
        )


def test_a_table_with_semicolons_is_told_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "q_semi.csv"
    path.write_text("question;answer\nWho ran Oost?;Ilse\n")
    with pytest.raises(UserError, match=r"columns with ';' \(question;answer\); write commas, or a \.tsv"):
        list(read_questions(path))
    path.write_text("question,answer\nWho ran Oost; and West?,Ilse\n")
    assert read_questions(path)[0].question == "Who ran Oost; and West?"
