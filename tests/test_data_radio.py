"""RADIO's stages from questions to groups: what each writes, counts, resumes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers_radio import TOWNS, Radio, corpus, questions, read_rows, write_rows

from src_core.types import Question
from src_data.radio.config import Blend, Layout
from src_data.radio.rationales import Outcome, chat_of, judged, only_repeats


@pytest.fixture
def radio(tmp_path: Path) -> Radio:
    return Radio(tmp_path)


def test_from_questions_to_groups(radio: Radio) -> None:
    radio.stages("rationales", "candidates", "scores", "blend")
    rows = radio.rows("groups/w0.5.train.jsonl")
    assert len(rows) == 6
    for row in rows:
        assert len(row["pos"]) == len(row["pos_ids"]) == len(row["pos_scores"]) == 1
        assert len(row["neg"]) == len(row["neg_ids"]) == len(row["neg_scores"]) == 6
        assert row["pos"][0].startswith("Town")
        assert row["pos_scores"][0] >= max(row["neg_scores"])
        assert row["query"].startswith("When was Town")
        assert not {*row["pos"]} & {*row["neg"]}
    assert radio.rows("groups/w0.5.validation.jsonl") == []
    # the rows are FlagEmbedding's, with more keys
    assert {"query", "pos", "neg"} < rows[0].keys()


def test_the_negatives_are_those_ranks_of_the_blended_list(radio: Radio) -> None:
    radio.stages("rationales", "candidates", "scores", "blend")
    table = {row["id"]: row for row in radio.rows("scores.jsonl")}
    for row in radio.rows("groups/w0.5.train.jsonl"):
        passages = table[row["question_id"]]["passages"]
        blend = [
            sum(each["scores"][f"{name}_scaled"] for name in ("retrieval", "rationale")) for each in passages
        ]
        order = sorted(range(len(passages)), key=lambda at: -blend[at])
        ids = [passages[at]["id"] for at in order]
        assert row["pos_ids"] == ids[:1]
        assert row["neg_ids"] == [ids[rank] for rank in (3, 4, 6, 9, 13, 18)]


def test_each_passage_is_encoded_once_for_all_questions(radio: Radio) -> None:
    radio.stages("rationales", "candidates")
    done = radio.stage("scores")
    assert "120 candidates are 20 distinct passages, each encoded once (20 in this run)" in done.stdout
    assert "6.0 times fewer encodes" in done.stdout
    again = radio.stage("scores", scores__query="rationale")  # other queries, the same passages
    assert "(0 in this run)" in again.stdout
    assert radio.record("scores")["ratio"] == 6.0


def test_raw_and_scaled_scores_are_in_one_table(radio: Radio) -> None:
    radio.stages("rationales", "candidates", "scores")
    for row in radio.rows("scores.jsonl"):
        names = {"retrieval", "retrieval_scaled", "rationale", "rationale_scaled"}
        assert all(each["scores"].keys() == names for each in row["passages"])
        scaled = [each["scores"]["rationale_scaled"] for each in row["passages"]]
        raw = [each["scores"]["rationale"] for each in row["passages"]]
        assert (min(scaled), max(scaled)) == (0.0, 1.0)
        assert sorted(range(20), key=scaled.__getitem__) == sorted(range(20), key=raw.__getitem__)


def test_all_weights_have_the_same_questions_and_need_no_model(radio: Radio) -> None:
    radio.script([("Town0", [""]), ("", ["The chronicle of the abbey dates its charter to that year."])])
    radio.stages("rationales", "candidates", "scores")
    (radio.folder / "model.jsonl").unlink()
    blends = "[{label: w0, weight: 0}, {label: w1, weight: 1}]"
    radio.stages("blend", blends=blends)
    assert len(radio.rows("groups/w0.train.jsonl")) == len(radio.rows("groups/w1.train.jsonl")) == 5
    assert radio.record("blend")["blends"]["w1"]["left_out"] == {"no rationale": 1}
    radio.stages("blend", blends="[{label: w0, weight: 0, without_rationale: true}, {label: w1, weight: 1}]")
    assert len(radio.rows("groups/w0.train.jsonl")) == 6
    assert len(radio.rows("groups/w1.train.jsonl")) == 5


def test_questions_without_a_rationale_have_no_weight_of_its_score() -> None:
    with pytest.raises(ValueError, match=r"'w0\.5' has without_rationale .* the weight 0"):
        Blend(without_rationale=True)


def test_held_out_questions_are_in_a_file_of_their_own(tmp_path: Path) -> None:
    radio = Radio(tmp_path, asked=questions(20))
    radio.stages("rationales", "candidates", "scores")
    radio.stages("blend", held_out="0.4")
    parts = [
        {row["question_id"] for row in radio.rows(f"groups/w0.5.{part}.jsonl")}
        for part in ("train", "validation")
    ]
    assert len(parts[0] | parts[1]) == 20
    assert parts[0]
    assert parts[1]
    assert not parts[0] & parts[1]


def test_refusals_empty_texts_and_repetitions_are_counted(radio: Radio) -> None:
    radio.script(
        [
            ("Town0", ["I'm sorry, but I cannot help with that."]),
            ("Town1", ["  \n"]),
            ("Town2", ["Rationale: The answer is 1202."]),
            ("", ["The chronicle of the abbey dates its charter to that year."]),
        ]
    )
    done = radio.stage("rationales")
    assert done.returncode == 0
    record = radio.record("rationales")
    counts = {"questions": 6, "written": 4, "refused": 1, "empty": 1, "failed": 0, "repeats_the_answer": 1}
    assert counts.items() <= record.items()
    assert record["calls"] == 6
    assert record["completion_tokens"] > 30
    assert "repeats the answer: 1" in done.stdout
    radio.stages("candidates", "scores", "blend")
    assert len(radio.rows("groups/w0.5.train.jsonl")) == 4
    empty = next(row for row in radio.rows("scores.jsonl") if "Town1 " in row["query"])
    assert all(each["scores"].keys() == {"retrieval", "retrieval_scaled"} for each in empty["passages"])


def test_an_outage_of_the_generator_is_retried_by_the_next_run(radio: Radio) -> None:
    text = "The chronicle of the abbey dates its charter to that year."
    radio.script([("", [text, text])], cycle=False)
    failed = radio.stage("rationales")
    assert failed.returncode == 1
    assert "no reply left" in failed.stdout
    assert "4 calls failed: the same command tries them again; if they always fail, name the" in failed.stdout
    assert radio.record("rationales")["failed"] == 4
    first = {row["id"] for row in radio.rows("rationales.jsonl") if row["outcome"] == "written"}
    radio.script([("", [text] * 4)], cycle=False)  # exactly those that are missing
    radio.stages("rationales")
    rows = radio.rows("rationales.jsonl")
    assert [row["outcome"] for row in rows] == ["written"] * 6
    assert first < {row["id"] for row in rows}
    (radio.folder / "model.jsonl").write_text('{"when": "", "replies": []}\n')
    radio.stages("rationales")  # nothing is asked again


def test_another_prompt_or_model_has_rows_of_its_own(radio: Radio) -> None:
    radio.stages("rationales")
    radio.stages("rationales", rationales__layout="one_turn")
    rows = radio.rows("rationales.jsonl")
    assert len(rows) == 12
    assert len({row["prompt"] for row in rows}) == 2
    record = radio.record("rationales")
    assert record["questions"] == 6
    write_rows(
        radio.folder / "other.jsonl", [{"when": "", "replies": ["", ""], "cycle": True, "anywhere": True}]
    )
    radio.stages("rationales", rationales__endpoint__url=f"scripted:{radio.folder}/other.jsonl")
    assert len(radio.rows("rationales.jsonl")) == 18
    radio.stages("candidates", "scores")  # with the rationales of the last run, which are all empty
    assert radio.record("scores")["with_rationale"] == 0


def test_a_retrievers_outage_is_retried_by_the_next_run(radio: Radio) -> None:
    radio.stages("rationales")
    down = radio.stage(
        "candidates",
        candidates__retriever="http://127.0.0.1:9",
        candidates__retry__attempts="1",
    )
    assert down.returncode == 2
    assert "a server does not answer" in down.stderr
    radio.stages("candidates")
    row = radio.rows("candidates.jsonl")[0]
    write_rows(
        radio.run / "candidates.jsonl",
        [
            {"id": row["id"], "query": row["query"], "passages": [], "error": "gone"},
            *radio.rows("candidates.jsonl")[1:],
        ],
    )
    radio.stages("candidates")
    rows = radio.rows("candidates.jsonl")
    assert len(rows) == 6
    assert all(len(each["passages"]) == 20 and not each["error"] for each in rows)


def test_a_killed_run_goes_on_and_gives_the_same_candidates(radio: Radio) -> None:
    radio.stages("candidates")
    whole = {row["id"]: row["passages"] for row in radio.rows("candidates.jsonl")}
    path = radio.run / "candidates.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][: len(lines[3]) // 2])
    radio.stages("candidates")
    assert {row["id"]: row["passages"] for row in radio.rows("candidates.jsonl")} == whole
    assert len(radio.rows("passages.jsonl")) == len({row["id"] for row in radio.rows("passages.jsonl")}) == 20


def test_torn_vectors_are_computed_again(radio: Radio) -> None:
    radio.stages("rationales", "candidates", "scores")
    before = radio.rows("scores.jsonl")
    (vectors,) = radio.run.glob("vectors-*.f32")
    (keys,) = radio.run.glob("vectors-*.keys.jsonl")
    keys.write_bytes(keys.read_bytes()[:-5])  # the last key is torn: its vector does not count
    done = radio.stage("scores")
    assert "(1 in this run)" in done.stdout
    assert radio.rows("scores.jsonl") == before
    vectors.write_bytes(vectors.read_bytes()[:-4])
    lost = radio.stage("scores")
    assert lost.returncode == 2
    assert "remove both files" in lost.stderr


def test_duplicates_ties_and_short_lists(tmp_path: Path) -> None:
    same = [{"id": f"d{n}", "title": "Town0", "text": "Town0 lies on the river Aare."} for n in range(3)]
    radio = Radio(tmp_path, passages=[*same, *corpus()[1:5]])
    radio.stages("rationales", "candidates", "scores", "blend")
    for row in radio.rows("candidates.jsonl"):
        ids = [each["id"] for each in row["passages"]]
        assert len(ids) == 5  # three copies of one text are one candidate
        assert len({*ids} & {"d0", "d1", "d2"}) == 1
    for row in radio.rows("groups/w0.5.train.jsonl"):
        assert len(row["neg"]) == 2  # ranks 3 and 4 of 5


def test_equal_scores_keep_the_retrievers_order(tmp_path: Path) -> None:
    """Passages that say the same words score the same under both; nothing is 0/0."""
    rows = [{"id": f"p{n}", "title": "", "text": f"river Aare founded {'x' * n}"} for n in range(1, 9)]
    radio = Radio(tmp_path, passages=rows, asked=[{"question": "river Aare founded", "answers": ["1"]}])
    radio.script([("", ["   ...   "])])
    radio.stages("rationales", "candidates", "scores")
    radio.stages("blend", blends="[{weight: 0, without_rationale: true}]")
    (row,) = radio.rows("groups/w0.5.train.jsonl")
    assert row["pos_ids"] == ["p1"]
    assert row["neg_ids"] == ["p4", "p5", "p7", "p8"]
    assert {*row["pos_scores"], *row["neg_scores"]} == {0.0}


def test_a_question_without_any_candidate_gives_no_group(tmp_path: Path) -> None:
    radio = Radio(tmp_path, asked=[*questions(2), {"question": "Quo vadis?", "answers": ["Rome"]}])
    radio.stages("rationales", "candidates", "scores", "blend")
    assert len(radio.rows("groups/w0.5.train.jsonl")) == 2
    assert radio.record("blend")["blends"]["w0.5"]["left_out"] == {"too few candidates": 1}


def test_a_changed_corpus_or_depth_is_refused(radio: Radio) -> None:
    radio.stages("candidates", candidates__top_n="10")
    deeper = radio.stage("candidates")
    assert (deeper.returncode, "top_n" in deeper.stderr) == (2, True)
    write_rows(radio.folder / "corpus.jsonl", [{**row, "text": "other"} for row in corpus()])
    other = radio.stage("candidates", candidates__top_n="10")
    assert (other.returncode, "index" in other.stderr) == (2, True)


def test_a_larger_sample_keeps_what_was_made(tmp_path: Path) -> None:
    radio = Radio(tmp_path, asked=questions(12))
    radio.stages("rationales", "candidates", n_samples="4")
    first = radio.rows("candidates.jsonl")
    text = "The chronicle of the abbey dates its charter to that year."
    radio.script([("", [text] * 8)], cycle=False)  # no more than the new ones
    radio.stages("rationales", "candidates", n_samples="-1")
    assert radio.rows("candidates.jsonl")[:4] == first
    assert len(radio.rows("rationales.jsonl")) == 12


def test_the_authors_hub_files_are_questions_and_rationales(tmp_path: Path) -> None:
    radio = Radio(tmp_path)
    rows = [
        {
            "id": f"train_{n}",
            "question": row["question"],
            "golden_answers": row["answers"],
            "metadata": {},
            "reason": "" if n == 0 else "The chronicle of the abbey dates its charter to that year.",
        }
        for n, row in enumerate(questions())
    ]
    path = write_rows(tmp_path / "train_with_reason_nq.jsonl", rows)
    (tmp_path / "model.jsonl").unlink()
    settings = {"questions": f"[{path}]", "rationales__files": f"[{path}]"}
    radio.stages("rationales", "candidates", "scores", "blend", **settings)
    record = radio.record("rationales")
    assert (record["written"], record["empty"], record["models"]) == (5, 1, ["train_with_reason_nq.jsonl"])
    radio.stages("rationales", **settings)
    assert len(radio.rows("rationales.jsonl")) == 6
    assert len(radio.rows("groups/w0.5.train.jsonl")) == 5
    rows[0]["reason"] = "The mayor signed the charter in the presence of three bishops."
    write_rows(path, rows)
    radio.stages("rationales", **settings)
    assert len(radio.rows("rationales.jsonl")) == 6
    assert (radio.record("rationales")["written"], radio.record("rationales")["empty"]) == (6, 0)
    assert "were changed: rationales" in radio.stage("blend", **settings).stderr
    bad = write_rows(tmp_path / "none.jsonl", questions())
    refused = radio.stage("rationales", rationales__files=f"[{bad}]")
    assert "has a rationale" in refused.stderr


def test_the_published_request_has_four_messages() -> None:
    asked = Question("q", "Who?", ("Ada", "A. L."))
    chat = chat_of(asked, "explain", Layout.PUBLISHED)
    assert [message["role"] for message in chat] == ["system", "user", "user", "user"]
    texts = ["explain", "Question: Who?", "Answer: ['Ada', 'A. L.']", "Rationale: "]
    assert [message["content"] for message in chat] == texts
    assert len(chat_of(asked, "explain", Layout.ONE_TURN)) == 2


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("I cannot say.", Outcome.REFUSED),
        ("I\u2019m sorry, but I can\u2019t help with that request.", Outcome.REFUSED),
        ("**I'm unable to explain** why this is right.", Outcome.REFUSED),
        ("Unfortunately, I am not able to do this.", Outcome.REFUSED),
        ("**Rationale:** I'm so sorry.", Outcome.REFUSED),
        ("Unfortunately, Ada published her notes under initials.", Outcome.WRITTEN),
        ("As an AI language model, I have no opinion.", Outcome.REFUSED),
        ("I cannoneer by trade, Ada wrote the first published program.", Outcome.WRITTEN),
        ("", Outcome.EMPTY),
        ("Rationale:", Outcome.EMPTY),
        ("***", Outcome.EMPTY),
        ("Sorrowful Ada published notes on the engine in 1843.", Outcome.WRITTEN),
    ],
)
def test_outcomes(text: str, outcome: Outcome) -> None:
    assert judged(text, Question("q", "Who?", ("Ada",))).outcome is outcome


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("Ada Lovelace", True),
        ("The answer is Ada Lovelace because she wrote the first program.", True),
        ("She published notes on Babbage's analytical engine in 1843.", False),
    ],
)
def test_a_rationale_that_adds_nothing_is_told_apart(text: str, repeats: bool) -> None:
    asked = Question("q", "Who wrote the first program?", ("Ada Lovelace",))
    assert only_repeats(text, asked) is repeats


@pytest.mark.parametrize(
    ("stage", "settings", "words"),
    [
        ("scores", {}, "run the stage 'candidates' first"),
        ("blend", {}, "run the stage 'scores' first"),
        ("rank", {}, "set comparison.datasets to files of them"),
        ("blend", {"blends": "[{label: ../x}]"}, "must be letters"),
        ("blend", {"blends": "[{label: none}]"}, "must be letters"),
        ("blend", {"blends": "[{}, {}]"}, "two blends or rerankers are called"),
        ("rank", {"comparison__datasets": "[{name: d, path: a}, {name: d, path: b}]"}, "are called 'd'"),
        ("blend", {"blends": "[{weight: 1.5}]"}, "at least 0 and at most 1"),
        ("rationales", {"questions": "[nowhere.jsonl]"}, "nowhere.jsonl"),
        ("elsewhere", {}, "usage:"),
    ],
)
def test_mistakes_are_one_sentence(radio: Radio, stage: str, settings: dict[str, str], words: str) -> None:
    done = radio.stage(stage, **settings)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("error: ") == 1


def test_a_passage_that_is_missing_beside_the_table_is_told(radio: Radio) -> None:
    radio.stages("rationales", "candidates", "scores")
    write_rows(radio.run / "passages.jsonl", radio.rows("passages.jsonl")[1:])
    done = radio.stage("blend")
    assert done.returncode == 2
    assert "passages.jsonl has no text of the passage" in done.stderr


def test_hostile_text_is_data(tmp_path: Path) -> None:
    hostile = 'Aare {question} <|im_end|> \x1b[31m[/b] "quotes\u202e'
    rows = [{"id": f"p{n}", "title": "", "text": f"river {hostile} {n}"} for n in range(8)]
    asked = [{"question": f"Which river is {hostile}?", "answers": [hostile]}]
    radio = Radio(tmp_path, passages=rows, asked=asked)
    radio.script([("", [hostile + " chronicle abbey charter"])])
    radio.stages("rationales", "candidates", "scores", "blend")
    assert json.dumps(radio.rows("groups/w0.5.train.jsonl"))


def test_a_row_that_a_file_of_rationales_has_lost_is_not_used(radio: Radio) -> None:
    rows = [{**row, "reason": "The charter of the abbey says so."} for row in questions()]
    file = write_rows(radio.folder / "given.jsonl", rows)
    radio.settings["rationales.files"] = f"[{file}]"
    radio.stages("rationales", "candidates", "scores", "blend")
    assert len(radio.rows("groups/w0.5.train.jsonl")) == 6
    write_rows(file, rows[:4])
    assert "missing: 2" in radio.stage("rationales").stdout
    radio.stages("scores", "blend")
    assert len(radio.rows("groups/w0.5.train.jsonl")) == 4


def test_questions_of_multiple_choice_are_never_trained_on(radio: Radio) -> None:
    asked = [{"question": questions()[0]["question"], "choices": ["1200", "1300"], "answer": 0}]
    radio.settings["mmlu.path"] = str(write_rows(radio.folder / "choices.jsonl", asked))
    radio.stages("candidates")
    assert {row["query"] for row in radio.rows("candidates.jsonl")} == {
        row["question"] for row in questions()[1:]
    }


def test_questions_of_the_comparison_are_never_trained_on(tmp_path: Path) -> None:
    radio = Radio(tmp_path)
    dev = write_rows(tmp_path / "dev.jsonl", questions()[:2])
    radio.stages("candidates", comparison__datasets=f"[{{name: dev, path: {dev}}}]")
    assert len(radio.rows("candidates.jsonl")) == 4
    assert len(read_rows(radio.run / "comparison/candidates.jsonl")) == 2
    assert not any(TOWNS[0] + " " in row["query"] for row in radio.rows("candidates.jsonl"))
