"""Answer metrics against re-written published scripts, and against cases worked out by hand."""

from __future__ import annotations

import builtins
import re
import string
import sys
import types
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src_core import segment
from src_core.errors import UserError
from src_tasks.metrics import (
    answer_scores,
    chinese_f1,
    chinese_scores,
    cover_em,
    em,
    f1,
    is_right,
    rouge_l,
    squad_f1,
)

# --- the published behaviour, written again the slow way -----------------------------------------------


def squad_form(text: str) -> str:
    """SQuAD v1.1: lower, remove each character of string.punctuation, articles to spaces, squeeze."""
    bare = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def squad_em(prediction: str, gold: str) -> float:
    return 1.0 if squad_form(prediction) == squad_form(gold) else 0.0


def squad_token_f1(prediction: str, gold: str) -> float:
    ours, theirs = squad_form(prediction).split(), squad_form(gold).split()
    same = sum((Counter(ours) & Counter(theirs)).values())
    if same == 0:
        return 0.0
    precision, recall = 1.0 * same / len(ours), 1.0 * same / len(theirs)
    return (2 * precision * recall) / (precision + recall)


def hotpot_f1(prediction: str, gold: str) -> float:
    """HotpotQA's update_answer: nothing but equality where either side is yes, no or noanswer."""
    ours, theirs = squad_form(prediction), squad_form(gold)
    if ours in ["yes", "no", "noanswer"] and ours != theirs:
        return 0.0
    if theirs in ["yes", "no", "noanswer"] and ours != theirs:
        return 0.0
    return squad_token_f1(prediction, gold)


def rouge_score_l(prediction: str, gold: str) -> float:
    """rouge-score without stemmer: the quadratic table, then the F-measure."""
    ours, theirs = (
        [w for w in re.sub(r"[^a-z0-9]+", " ", t.lower()).split() if w] for t in (prediction, gold)
    )
    if not ours or not theirs:
        return 0.0
    table = [[0] * (len(ours) + 1) for _ in range(len(theirs) + 1)]
    for i in range(1, len(theirs) + 1):
        for j in range(1, len(ours) + 1):
            if theirs[i - 1] == ours[j - 1]:
                table[i][j] = table[i - 1][j - 1] + 1
            else:
                table[i][j] = max(table[i - 1][j], table[i][j - 1])
    length = table[-1][-1]
    precision, recall = length / len(ours), length / len(theirs)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


# --- worked out by hand: prediction, golds, EM, F1, cover, ROUGE-L -------------------------------------

THIRD, HALF = 2 / 3, 0.5
CASES: list[tuple[str, list[str], float, float, float, float]] = [
    ("Paris", ["Paris"], 1, 1, 1, 1),
    ("paris", ["PARIS"], 1, 1, 1, 1),
    ("London", ["Paris"], 0, 0, 0, 0),
    ("", ["Paris"], 0, 0, 0, 0),
    ("   ", ["Paris"], 0, 0, 0, 0),
    ("...", ["Paris"], 0, 0, 0, 0),
    ("the", ["Paris"], 0, 0, 0, 0),
    ("The Beatles", ["Beatles"], 1, 1, 1, THIRD),
    ("a Beatles", ["the Beatles"], 1, 1, 1, HALF),
    ("An apple", ["apple"], 1, 1, 1, THIRD),
    ("theatre", ["atre"], 0, 0, 1, 0),
    ("Then", ["n"], 0, 0, 1, 0),
    ("Paris.", ["Paris"], 1, 1, 1, 1),
    ('"Paris"!', ["Paris"], 1, 1, 1, 1),
    ("U.S.", ["US"], 1, 1, 1, 0),
    ("U.S.A.", ["U S A"], 0, 0, 0, 1),
    ("rock-and-roll", ["rock and roll"], 0, 0, 0, 1),
    ("New  York\tCity\n", ["New York City"], 1, 1, 1, 1),
    ("New York", ["New York City"], 0, 0.8, 0, 0.8),
    ("New York City", ["New York"], 0, 0.8, 1, 0.8),
    ("York New", ["New York"], 0, 1, 0, HALF),
    ("in Paris, France", ["Paris"], 0, HALF, 1, HALF),
    ("Paris Paris", ["Paris"], 0, THIRD, 1, THIRD),
    ("Paris", ["London", "Paris"], 1, 1, 1, 1),
    ("New York", ["London", "New York City", "York"], 0, 0.8, 1, 0.8),
    ("yes", ["yes"], 1, 1, 1, 1),
    ("Yes.", ["yes"], 1, 1, 1, 1),
    ("yes", ["no"], 0, 0, 0, 0),
    ("yes it is", ["yes"], 0, 0, 1, HALF),
    ("yes", ["yes it is"], 0, 0, 0, HALF),
    ("no", ["no man's land"], 0, 0, 0, HALF - 0.1),
    ("no", ["noanswer"], 0, 0, 0, 0),
    ("noanswer", ["noanswer"], 1, 1, 1, 1),
    ("noanswer", ["Paris"], 0, 0, 0, 0),
    ("unknown", ["noanswer"], 0, 0, 0, 0),
    ("I do not know", ["noanswer"], 0, 0, 0, 0),
    ("north", ["no"], 0, 0, 1, 0),
    ("1999", ["1999"], 1, 1, 1, 1),
    ("1,999", ["1999"], 1, 1, 1, 0),
    ("1999", ["1,999"], 1, 1, 1, 0),
    ("3.14", ["314"], 1, 1, 1, 0),
    ("19991", ["1999"], 0, 0, 1, 0),
    ("Zürich", ["Zürich"], 1, 1, 1, 1),
    ("ZÜRICH", ["zürich"], 1, 1, 1, 1),
    ("Zurich", ["Zürich"], 0, 0, 0, 0),
    ("Zürich", ["Zu\u0308rich"], 0, 0, 0, HALF),
    ("naïve art", ["naïve"], 0, THIRD, 1, 0.8),
    ("“Paris”", ["Paris"], 0, 0, 1, 1),
    ("O’Neill", ["O'Neill"], 0, 0, 0, 1),
    ("Москва", ["москва"], 1, 1, 1, 0),
    ("Straße", ["STRASSE"], 0, 0, 0, 0),
    ("Ὀδυσσεύς", ["ὀδυσσεύς"], 1, 1, 1, 0),
    ("\u00a0Paris\u2003", ["Paris"], 1, 1, 1, 1),
    ("🎸", ["🎸"], 1, 1, 1, 0),
    ("The", ["a"], 0, 0, 0, 0),
    ("A.", ["a"], 1, 1, 1, 1),
    ("Paris", ["the"], 0, 0, 0, 0),
    ("", ["The The"], 0, 0, 0, 0),
    (" ", ["A"], 0, 0, 0, 0),
    ("the the", ["The The"], 1, 1, 1, 1),
    ("The", ["The The"], 0, THIRD, 0, THIRD),
    ("a theatre", ["A"], 0, 0, 0, THIRD),
    ("!!!", ["!!!"], 1, 1, 1, 0),
    ("...", ["!!!"], 0, 0, 0, 0),
    ("a b c d", ["b d"], 0, 0.8, 0, THIRD),
    ("d c b", ["b c d"], 0, 1, 0, 1 / 3),
]


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize(("prediction", "golds", "exact", "token", "cover", "rouge"), CASES)
def test_a_case_worked_out_by_hand(
    prediction: str, golds: list[str], exact: float, token: float, cover: float, rouge: float
) -> None:
    assert em(prediction, golds) == exact
    assert f1(prediction, golds) == pytest.approx(token, abs=1e-12)
    assert cover_em(prediction, golds) == cover
    assert rouge_l(prediction, golds) == pytest.approx(rouge, abs=1e-12)


def assert_parity(prediction: str, golds: list[str]) -> None:
    """Where a normal form is empty, the scripts compare nothing with nothing; see the cases for ours."""
    golds = [gold for gold in golds if squad_form(gold)]
    if not golds:
        return
    assert em(prediction, golds) == max(squad_em(prediction, gold) for gold in golds)
    assert squad_f1(prediction, golds) == max(squad_token_f1(prediction, gold) for gold in golds)
    assert f1(prediction, golds) == max(hotpot_f1(prediction, gold) for gold in golds)
    assert rouge_l(prediction, golds) == max(rouge_score_l(prediction, gold) for gold in golds)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0] or "empty")
def test_no_bit_differs_from_the_published_scripts_on_the_cases(
    case: tuple[str, list[str], float, float, float, float],
) -> None:
    assert_parity(case[0], case[1])


WORDS = st.sampled_from(
    ["a", "an", "the", "yes", "no", "noanswer", "Paris", "paris", "U.S.", "é", "1,999", "中国", "x"]
)
TEXTS = st.one_of(st.lists(WORDS, max_size=7).map(" ".join), st.text(max_size=25))


@given(prediction=TEXTS, golds=st.lists(TEXTS, min_size=1, max_size=3))
@example(prediction="İstanbul \u212a", golds=["istanbul k"])
def test_no_bit_differs_from_the_published_scripts(prediction: str, golds: list[str]) -> None:
    assert_parity(prediction, golds)


@given(TEXTS, TEXTS)
def test_f1_is_symmetric_for_one_gold(left: str, right: str) -> None:
    assert f1(left, [right]) == pytest.approx(f1(right, [left]), abs=1e-15)


@given(TEXTS, st.lists(TEXTS, min_size=1))
def test_scores_are_bounded_and_exact_match_implies_the_others(prediction: str, golds: list[str]) -> None:
    scores = answer_scores(prediction, golds)
    assert all(0 <= value <= 1 for value in scores.values())
    if scores["em"]:
        assert scores["f1"] == scores["cover_em"] == 1
    assert scores["em"] <= scores["cover_em"]


@given(TEXTS)
def test_a_gold_scores_one_unless_it_is_blank(gold: str) -> None:
    assert em(gold, [gold]) == f1(gold, [gold]) == cover_em(gold, [gold]) == float(bool(gold.strip()))


@given(st.sampled_from(["", " ", "\n\t", "\u00a0"]), st.lists(TEXTS, min_size=1))
def test_no_answer_scores_zero_whatever_the_gold(blank: str, golds: list[str]) -> None:
    assert set(answer_scores(blank, golds).values()) == {0.0}


@pytest.mark.parametrize("metric", [em, f1, squad_f1, cover_em, rouge_l, chinese_f1, answer_scores])
def test_without_golds_there_is_no_score(metric: object) -> None:
    with pytest.raises(ValueError, match="gold"):
        metric("Paris", [])  # type: ignore[operator]


def test_chinese_words_are_segmented_and_freed_of_punctuation(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.SimpleNamespace(cut=lambda text: re.findall(r"北京|大学|.", text))
    monkeypatch.setitem(sys.modules, "rjieba", fake)
    segment._jieba.cache_clear()
    assert chinese_f1("北京，大学。", ["北京大学"]) == 1
    assert chinese_f1("北京", ["北京大学"]) == pytest.approx(2 / 3)
    assert chinese_f1("", ["北京"]) == 0
    assert chinese_scores("北京", ["x", "北京大学"]) == {"zh_f1": pytest.approx(2 / 3)}
    assert chinese_scores("北京", ["Beijing"]) == {}
    segment._jieba.cache_clear()


def test_a_missing_segmenter_is_told_not_scored_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: object) -> object:
        if name == "rjieba":
            raise ImportError(name)
        return real(name, *args)  # type: ignore[arg-type]

    segment._jieba.cache_clear()
    monkeypatch.delitem(sys.modules, "rjieba", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match="pip install rjieba"):
        chinese_f1("北京", ["北京"])


def test_the_real_segmenter() -> None:
    segment._jieba.cache_clear()
    assert chinese_f1("我来到北京清华大学。", ["我来到北京清华大学"]) == 1
    assert 0 < chinese_f1("清华大学", ["我来到北京清华大学"]) < 1


RIGHT = [
    ("no", ["no"], True),
    ("No.", ["no"], True),
    ("Norway", ["no"], False),
    ("unknown", ["no"], False),
    ("I do not know", ["no"], False),
    ("no, it is not", ["no"], False),
    ("[No related Info]", ["no"], False),
    ("Ayesha", ["yes"], False),
    ("yes", ["no", "yes"], True),
    ("The", ["The Beatles"], False),
    ("a", ["Anna"], False),
    ("", [""], False),
    ("12", ["2012"], False),
    ("2012", ["12"], False),
    ("The 2012", ["2012"], True),
    ("Barack Obama", ["Obama", "Barack Obama"], True),
    ("president Barack Obama", ["Barack Obama"], True),
    ("Obama", ["Barack Obama"], False),
    ("Barack Obama, born in Honolulu, Hawaii", ["Barack Obama"], False),
]


@pytest.mark.parametrize(("answer", "golds", "right"), RIGHT)
def test_an_answer_is_right_by_its_aliases_or_by_most_of_its_words(
    answer: str, golds: list[str], right: bool
) -> None:
    assert is_right(answer, golds, min_f1=0.7) == right


def test_with_a_bar_of_one_only_the_same_words_are_right() -> None:
    assert not is_right("president Barack Obama", ["Barack Obama"], min_f1=1.0)
    assert is_right("Barack Obama", ["Barack Obama"], min_f1=1.0)
