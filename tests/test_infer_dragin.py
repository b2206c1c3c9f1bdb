"""DRAGIN: its formulas on arrays that fit a hand, and the method with a model whose doubts are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers_methods import (
    ANSWERED,
    ASKED,
    FROM_PASSAGES,
    Rows,
    answered,
    queries,
    runtime_for,
    script,
)
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import UserError
from src_core.protocols.records import ChatTurn
from src_core.types import Status
from src_infer.methods import dragin
from src_infer.retrieval_needs import (
    Hit,
    Word,
    code_query,
    code_scores,
    find_hit,
    is_content,
    paper_query,
    paper_scores,
    words_of,
)
from src_models.inner_states import Reading

COT = "Answer the last question as in the examples"

# Two heads, three tokens: what token j (row) pays to token i (column).
TWO_HEADS = np.array(
    [
        [[1.0, 0.0, 0.0], [0.4, 0.6, 0.0], [0.2, 0.3, 0.5]],
        [[1.0, 0.0, 0.0], [0.1, 0.9, 0.0], [0.5, 0.1, 0.4]],
    ]
)
ENTROPIES = np.array([2.0, 1.0, 4.0])


def test_rind_of_the_paper_by_hand() -> None:
    """Token 0: the largest attention of later tokens is 0.4 and 0.5; token 1: 0.3 and 0.1; nothing is later
    than token 2.
    """
    scores = paper_scores(ENTROPIES, TWO_HEADS, [True, True, True])
    assert scores == pytest.approx([2.0 * 0.45, 1.0 * 0.2, 0.0])
    assert paper_scores(ENTROPIES, TWO_HEADS, [False, True, True]) == pytest.approx([0.0, 0.2, 0.0])


def test_rind_of_the_code_by_hand() -> None:
    """The largest attention, also a token's own: 1 and 1, 0.6 and 0.9, 0.5 and 0.4. Words {0} and {1, 2}:
    attention 1 and 0.75 + 0.45 = 1.2, divided by 2.2; entropy 2 and (1 + 4) / 2; two words.
    """
    scores = code_scores(ENTROPIES, TWO_HEADS, [[0], [1, 2]])
    assert scores == pytest.approx([1 / 2.2 * 2 * 2, 1.2 / 2.2 * 2.5 * 2])
    assert code_scores(ENTROPIES, np.zeros((1, 3, 3)), [[0], [1]]) == [0.0, 0.0]
    assert code_scores(ENTROPIES, TWO_HEADS, []) == []


def rows(*weights: Sequence[float]) -> np.ndarray:
    """One head, filled up with zeros."""
    return np.array([[[*row, *[0.0] * (len(weights) - len(row))] for row in weights]])


SENTENCE = "Where did Austen live? She lived there"
WORDS = words_of(
    SENTENCE, [(at, at + len(word)) for word in SENTENCE.split() for at in [SENTENCE.index(word)]]
)


def test_qfs_of_the_paper_by_hand() -> None:
    """The last token pays most to "Austen", then "did", then "lived"."""
    weights = rows(*[[1.0]] * 6, [0.05, 0.2, 0.4, 0.1, 0.1, 0.15, 0.0])
    assert paper_query(SENTENCE, WORDS, weights, word=6, token=0, count=2) == "did Austen"
    assert paper_query(SENTENCE, WORDS, weights, word=6, token=9, count=3) == "did Austen lived"
    assert paper_query(SENTENCE, WORDS, weights, word=0, token=0, count=3) == ""


def test_qfs_of_the_code_by_hand() -> None:
    """For the hit "lived" the row is that of "She" over the five words before; for "there" that of "lived".
    Function words and hits are no part of the query.
    """
    weights = rows(
        [1.0], [1.0], [1.0], [1.0], [0.1, 0.1, 0.2, 0.4, 0.2], [0.1, 0.1, 0.6, 0.1, 0.1, 0.0], [1.0]
    )
    assert code_query(SENTENCE, WORDS, weights, hits=[5], count=1) == "live"
    assert (
        code_query(SENTENCE, WORDS, weights, hits=[5, 6], count=1) == "Austen"
    )  # 0.2 + 0.6 against 0.4 + 0.1
    assert code_query(SENTENCE, WORDS, weights, hits=[5], count=9) == "Austen live"
    assert code_query(SENTENCE, WORDS, np.zeros((1, 7, 7)), hits=[0, 5], count=9) == "Austen live"


def test_words_have_the_tokens_that_end_in_them() -> None:
    text = " Stev en\n"
    spans = [(0, 3), (3, 5), (5, 6), (5, 8), (8, 9)]
    assert words_of(text, spans) == [Word(1, 5, (0, 1)), Word(6, 8, (3,))]
    assert words_of("", []) == []
    assert [is_content(word) for word in ("Austen,", "(the", "...", "1912", "Ångström", "It's")] == [
        True,
        False,
        False,
        True,
        True,
        True,
    ]


def doubting(text: str, doubts: dict[str, float]) -> tuple[list[Word], np.ndarray, np.ndarray]:
    """The words of a text, one token each, with the entropy of each, and the same attention everywhere."""
    spans, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        spans.append((at, at + len(word)))
        at += len(word)
    entropies = np.array([doubts.get(word.strip(".?!:"), 0.1) for word in text.split()])
    return words_of(text, spans), entropies, np.full((2, len(spans), len(spans)), 0.5)


TEXT = "Jane Austen wrote it. She was born in Bath then. It is so."


def test_a_hit_names_its_sentence_and_its_words() -> None:
    words, entropies, attention = doubting(TEXT, {"Bath": 3.0})
    for formula, threshold in (("paper", 1.0), ("code", 2.0)):
        hit = find_hit(formula, TEXT, words, entropies, attention, threshold=threshold, skip=0)
        assert hit is not None
        assert (TEXT[hit.start :].strip()[:3], hit.words, hit.asking) == ("She", (4, 5, 6, 7, 8, 9), (8,))
        assert find_hit(formula, TEXT, words, entropies, attention, threshold=9.0, skip=0) is None
        assert find_hit(formula, TEXT, words, entropies, attention, threshold=threshold, skip=2) is None


def test_where_no_hit_is_a_content_word() -> None:
    """The code divides by zero there. The paper has no such hit: a stop word scores 0."""
    words, entropies, attention = doubting(TEXT, {"in": 3.0})
    assert find_hit("paper", TEXT, words, entropies, attention, threshold=0.5, skip=0) is None
    hit = find_hit("code", TEXT, words, entropies, attention, threshold=2.0, skip=0)
    assert hit == Hit(hit.start if hit else 0, (4, 5, 6, 7, 8, 9), (7,))
    query = code_query(TEXT, words, attention, hits=hit.asking if hit else (), count=3)
    assert query == "Jane Austen wrote"


@given(text=st.text(alphabet="aB. \n?the", max_size=50), seed=st.integers(0, 99))
def test_no_text_breaks_the_formulas(text: str, seed: int) -> None:
    spans = [(at, at + 1) for at in range(len(text))]
    draw = np.random.default_rng(seed)
    entropies, attention = draw.random(len(text)) * 3, draw.random((2, len(text), len(text)))
    words = words_of(text, spans)
    for formula in ("paper", "code"):
        hit = find_hit(formula, text, words, entropies, attention, threshold=0.2, skip=0)
        if hit is None:
            continue
        assert set(hit.asking) <= set(hit.words)
        for query in (
            paper_query(text, words, attention, word=hit.asking[0], token=hit.token, count=3),
            code_query(text, words, attention, hits=hit.asking, count=3),
        ):
            assert "\n" not in query


class Doubts:
    """Stands for the model in transformers: the words of `doubts` are uncertain, attention is the same
    everywhere.
    """

    def __init__(self, **doubts: float) -> None:
        self.doubts = doubts
        self.prompts: list[list[ChatTurn]] = []

    def prompt_ids(self, turns: Sequence[ChatTurn]) -> list[int]:
        self.prompts.append(list(turns))
        return [1]

    def read(self, text: str, *, prompt: Sequence[int] = (), from_end: bool = False) -> Reading:
        words, entropies, attention = doubting(text, self.doubts)
        return Reading([(word.start, word.end) for word in words], entropies, attention)


def ask_dragin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replies: list[str], states: Doubts, **more: object
) -> tuple[object, object]:
    monkeypatch.setattr(dragin, "open_inner_states", lambda _name, _method: states)
    rows: Rows = [(FROM_PASSAGES, ["by reader"]), (COT, replies)]
    model = script(tmp_path / "s.jsonl", rows)
    return answered("dragin", runtime_for(model), model="any", **more), model


@pytest.mark.parametrize(("formula", "threshold"), [("paper", 1.0), ("code", 2.0)])
def test_dragin_searches_where_it_doubts(
    formula: str, threshold: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = [
        "Jane Austen wrote Emma. Jane Austen was born in Bath long ago. So the answer is: Bath",
        "Jane Austen was born in Steventon. So the answer is: Steventon",
    ]
    states = Doubts(Bath=3.0)
    row, model = ask_dragin(tmp_path, monkeypatch, replies, states, formula=formula, threshold=threshold)
    assert (row.status, row.answer) == (Status.FINISHED, "Steventon")
    assert [step.thought for step in row.steps] == ["Jane Austen wrote Emma.", replies[1]]
    assert len(queries(row)) == 1
    assert "Jane Austen" in queries(row)[0]
    assert "Bath" not in queries(row)[0]
    assert row.usage.calls == len(model.calls) == 2
    assert "Passages" not in model.calls[0][0]["content"]
    assert "born in Steventon" in model.calls[1][0]["content"]
    assert model.calls[1][1] == {"role": "assistant", "content": "Jane Austen wrote Emma."}
    assert [turn.role for turn in states.prompts[1]] == ["user", "assistant"]
    assert states.prompts[1][0].content == model.calls[1][0]["content"]
    notes = {key: row.provenance[key] for key in ("formula", "attention_model", "attention_passes")}
    assert notes == {
        "formula": formula,
        "attention_model": "any",
        "attention_passes": 3 if formula == "paper" else 5,
    }


def test_dragin_without_a_doubt_is_cot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, model = ask_dragin(tmp_path, monkeypatch, ["Emma is by her.", "Steventon"], Doubts())
    assert (row.answer, row.searches, row.usage.calls) == ("Steventon", 0, 2)
    assert model.calls[1][1]["content"].endswith("So the answer is:")


def test_dragin_keeps_a_sentence_that_it_doubts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = ["Bath it is, I say.", "Bath it is. So the answer is: Bath"]
    row, _ = ask_dragin(tmp_path, monkeypatch, replies, Doubts(Bath=9.0), threshold=1.0)
    assert (row.status, row.answer, row.searches) == (Status.FINISHED, "Bath", 1)
    assert queries(row)[0].startswith("Where was the author of Emma born")
    assert row.steps[0].thought == ""


def test_dragin_ends_with_a_model_that_always_doubts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After two repeated queries the next text is not read any more, but closed with an answer."""
    states = Doubts(Bath=9.0, Rome=9.0)
    row, model = ask_dragin(
        tmp_path, monkeypatch, ["Oslo one. Bath two. Rome six."] * 8 + ["Rome"], states, threshold=1.0
    )
    assert row.status in ANSWERED
    assert len(row.steps) <= 8
    assert model.calls[-1][1]["content"].endswith("So the answer is:")
    assert len(states.prompts) == row.searches == len(row.steps) - 1


def test_dragin_with_empty_replies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, _ = ask_dragin(tmp_path, monkeypatch, ["", " "], Doubts())
    assert (row.status, row.answer, row.provenance["attention_passes"]) == (
        Status.MALFORMED_THEN_ANSWERED,
        "by reader",
        0,
    )


def test_dragin_needs_a_model_and_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = runtime_for(script(tmp_path / "s.jsonl", []))
    with pytest.raises(UserError, match=r"set method_settings\.model"):
        answered("dragin", runtime)
    monkeypatch.setattr("src_models.inner_states.PACKAGES", ("torch_that_nobody_has",))
    with pytest.raises(UserError, match="torch_that_nobody_has must be installed"):
        answered("dragin", runtime, model=f"model-{ASKED[:5]}")
    with pytest.raises(UserError, match="formula"):
        answered("dragin", runtime, model="any", formula="other")
