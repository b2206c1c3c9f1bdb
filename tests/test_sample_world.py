"""Checks on the sample corpus and its questions."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1] / "data" / "sample_world"


def _rows(name: str) -> list[dict[str, Any]]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line.strip()]


CORPUS = _rows("corpus.jsonl")
QUESTIONS = _rows("questions.jsonl")
BY_ID: dict[str, str] = {row["id"]: row["contents"] for row in CORPUS}


def _title(passage_id: str) -> str:
    return BY_ID[passage_id].split("\n", 1)[0]


def _text(passage_id: str) -> str:
    return BY_ID[passage_id].split("\n", 1)[1]


def _contains(text: str, phrase: str) -> bool:
    """Whether the phrase occurs in the text as whole words, in any case."""
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE) is not None


def _shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def _of_type(*types: str) -> list[dict[str, Any]]:
    return [question for question in QUESTIONS if question["type"] in types]


def test_corpus_ids_are_consecutive_and_rows_have_the_right_fields() -> None:
    assert 320 <= len(CORPUS) <= 360
    assert [row["id"] for row in CORPUS] == [f"sw-{i:04d}" for i in range(1, len(CORPUS) + 1)]
    assert all(set(row) == {"id", "contents"} for row in CORPUS)


def test_titles_are_unique_and_passages_have_a_title_and_one_paragraph() -> None:
    assert all(row["contents"].count("\n") == 1 for row in CORPUS)
    titles = [_title(passage_id).casefold() for passage_id in BY_ID]
    assert len(set(titles)) == len(titles)
    assert all(title.strip() == title and title for title in titles)


def test_passage_lengths() -> None:
    lengths = {passage_id: len(_text(passage_id).split()) for passage_id in BY_ID}
    assert {pid: n for pid, n in lengths.items() if not 40 <= n <= 80} == {}


def test_no_passage_repeats_another() -> None:
    shingles = [(pid, _shingles(_text(pid))) for pid in BY_ID]
    for i, (left_id, left) in enumerate(shingles):
        for right_id, right in shingles[i + 1 :]:
            shared = len(left & right)
            if shared:
                assert shared / len(left | right) < 0.2, (left_id, right_id)


def test_no_sentence_occurs_twice() -> None:
    sentences = Counter(
        sentence.strip().lower()
        for passage_id in BY_ID
        for sentence in re.split(r"(?<=[.!?])\s+", _text(passage_id))
        if len(sentence.split()) > 3  # initials such as "J. J." are no sentences
    )
    assert [sentence for sentence, count in sentences.items() if count > 1] == []


def test_question_counts() -> None:
    assert Counter((q["type"], q["hops"]) for q in QUESTIONS) == {
        ("bridge", 2): 42,
        ("bridge", 3): 10,
        ("comparison", 2): 9,
        ("yes_no", 2): 8,
        ("single", 1): 10,
        ("unanswerable", 0): 5,
    }
    assert Counter(q["answers"][0] for q in _of_type("yes_no")) == {"yes": 4, "no": 4}


def test_question_rows_are_well_formed() -> None:
    assert [q["id"] for q in QUESTIONS] == [f"swq-{i:03d}" for i in range(1, len(QUESTIONS) + 1)]
    fields = {"id", "question", "answers", "supporting_ids", "type", "hops", "decomposition"}
    for question in QUESTIONS:
        assert set(question) == fields, question["id"]
        assert question["question"].endswith("?"), question["id"]
        assert 1 <= len(question["answers"][0].split()) <= 5, question["id"]
        folded = [answer.casefold() for answer in question["answers"]]
        assert all(folded) and len(set(folded)) == len(folded), question["id"]
    texts = [question["question"].casefold() for question in QUESTIONS]
    assert len(set(texts)) == len(texts)


def test_supporting_ids_resolve_and_are_enough() -> None:
    wanted = {"single": 1, "comparison": 2, "yes_no": 2, "unanswerable": 0}
    for question in QUESTIONS:
        support = question["supporting_ids"]
        assert set(support) <= set(BY_ID), question["id"]
        assert len(set(support)) == len(support), question["id"]
        assert len(support) == wanted.get(question["type"], question["hops"]), question["id"]


def test_gold_answers_occur_in_the_supporting_passages() -> None:
    for question in _of_type("bridge", "comparison", "single"):
        texts = [BY_ID[pid] for pid in question["supporting_ids"]]
        assert any(_contains(text, answer) for text in texts for answer in question["answers"]), question[
            "id"
        ]


def test_bridge_answers_stand_only_in_the_last_supporting_passage() -> None:
    for question in _of_type("bridge"):
        *earlier, last = question["supporting_ids"]
        answer = question["answers"][0]
        assert _contains(_text(last), answer), question["id"]
        assert not any(_contains(BY_ID[pid], answer) for pid in earlier), question["id"]
        for alias in question["answers"]:
            assert not _contains(question["question"], alias), question["id"]


def test_bridge_questions_do_not_name_the_entities_to_be_found() -> None:
    for question in _of_type("bridge"):
        last = question["supporting_ids"][-1]
        assert not _contains(question["question"], _title(last)), question["id"]
        for step in question["decomposition"][:-1]:
            assert not _contains(question["question"], step["answer"]), question["id"]


def test_bridge_passages_form_a_chain() -> None:
    for question in _of_type("bridge"):
        support = question["supporting_ids"]
        for passage_id, step in zip(support, question["decomposition"], strict=True):
            answer = step["answer"].removeprefix("the ")
            assert _contains(BY_ID[passage_id], answer), (question["id"], answer)


def test_decompositions_match_hops_and_end_in_the_answer() -> None:
    for question in QUESTIONS:
        steps = question["decomposition"]
        assert len(steps) == question["hops"], question["id"]
        assert all(set(step) == {"question", "answer"} for step in steps), question["id"]
        if question["type"] in {"bridge", "single"}:
            assert steps[-1]["answer"] == question["answers"][0], question["id"]
        if question["type"] == "comparison":
            assert any(question["answers"][0] == _title(p) for p in question["supporting_ids"])


def test_unanswerable_questions_have_no_support() -> None:
    for question in _of_type("unanswerable"):
        assert question["supporting_ids"] == []
        assert question["decomposition"] == []
        assert question["answers"] == ["noanswer"]


@pytest.mark.parametrize("size", [10, 20, 40])
def test_prefixes_are_representative(size: int) -> None:
    prefix = QUESTIONS[:size]
    assert len({question["type"] for question in prefix}) >= 4
    bridges = sum(question["type"] == "bridge" for question in prefix)
    assert 0.4 <= bridges / size <= 0.8


def test_the_first_five_mix_types() -> None:
    assert len({question["type"] for question in QUESTIONS[:5]}) >= 3
