"""Answer metrics, each with its source; tests check bitwise equality with the published scripts.

Every metric takes the prediction and the gold aliases, is the maximum over the aliases, and lies in [0, 1].
Without golds it raises `ValueError`. A blank prediction scores 0.0 in every metric. The published scripts
count two answers as equal when normalisation empties both ("The" and "A", or no answer and "The The"); here
such texts are compared with their articles and punctuation (`src_tasks.answers.normal_form`), which is the
only difference.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from rapidfuzz.distance import LCSseq

from src_core.segment import chinese_words
from src_tasks.answers import CLOSED, NO_ANSWER, normal_form, normalize_answer, squad_normalize

_WORDS = re.compile(r"[a-z0-9]+")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_CHINESE_PUNCTUATION = frozenset(
    string.punctuation
    + "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕"
    "〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."
)


def em(prediction: str, golds: Sequence[str]) -> float:
    """Exact match of normal forms (SQuAD v1.1 `exact_match_score`; FlashRAG `em`)."""
    return answer_scores(prediction, golds)["em"]


def f1(prediction: str, golds: Sequence[str]) -> float:
    """Token F1, but 0 where either side is yes, no or noanswer and the two differ (HotpotQA's `f1_score`,
    also used by FlashRAG, DRAGIN and DeepRAG).
    """
    return answer_scores(prediction, golds)["f1"]


def squad_f1(prediction: str, golds: Sequence[str]) -> float:
    """Token F1 without a rule for yes and no (SQuAD v1.1 `f1_score`)."""
    _require(golds)
    ours = normal_form(prediction).split()
    return max(_overlap(ours, normal_form(gold).split()) for gold in golds)


def cover_em(prediction: str, golds: Sequence[str]) -> float:
    """Whether a gold's normal form is a substring of the prediction's (FlashRAG's `acc`: characters, so "art"
    is covered by "party"). A gold like "The The" matches only itself.
    """
    return answer_scores(prediction, golds)["cover_em"]


def rouge_l(prediction: str, golds: Sequence[str]) -> float:
    """F-measure of the longest common subsequence of lower-case `[a-z0-9]+` tokens (rouge-score's `rougeL`
    without stemmer).
    """
    return answer_scores(prediction, golds)["rouge_l"]


def chinese_f1(prediction: str, golds: Sequence[str]) -> float:
    """F1 of Chinese words (LongBench's `qa_f1_zh_score`, as in the ReaRAG release): segmented by jieba, each
    word lower-cased and stripped of punctuation and white space. Needs the package `rjieba` (`UserError`).
    """
    _require(golds)
    ours = _chinese_words(prediction)
    return max(_overlap(ours, _chinese_words(gold)) for gold in golds)


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """`em` where every abstention is the answer `noanswer`: for the filters of data construction, not for
    scores.
    """
    return em(_as_answer(prediction), [_as_answer(gold) for gold in golds])


def token_f1(prediction: str, golds: Sequence[str]) -> float:
    """`f1` where every abstention is the answer `noanswer`: for the filters of data construction, not for
    scores.
    """
    return f1(_as_answer(prediction), [_as_answer(gold) for gold in golds])


def is_right(prediction: str, golds: Sequence[str], *, min_f1: float) -> bool:
    """Whether an answer is right: `em` with an alias, else `f1` of at least `min_f1` in (0, 1]. Yes and no
    have to match exactly, and a blank answer is never right. For labels of training data (DeepRAG, reference
    deeprag.md section 16); the release accepts either text inside the other, so that "Norway" is right for
    "no", and "The" for everything (section 6.3).
    """
    scores = answer_scores(prediction, golds)
    return scores["em"] == 1.0 or scores["f1"] >= min_f1


def chinese_scores(prediction: str, golds: Sequence[str]) -> dict[str, float]:
    """`zh_f1` where a gold is Chinese, else {}."""
    return {"zh_f1": chinese_f1(prediction, golds)} if any(map(_HAN.search, golds)) else {}


def answer_scores(prediction: str, golds: Sequence[str]) -> dict[str, float]:
    """`em`, `f1`, `cover_em` and `rouge_l` in one pass."""
    _require(golds)
    ours, our_words = normal_form(prediction), _WORDS.findall(prediction.lower())
    tokens = ours.split()
    best = {"em": 0.0, "f1": 0.0, "cover_em": 0.0, "rouge_l": 0.0}
    if not ours:
        return best
    for gold in golds:
        usual = squad_normalize(gold)
        theirs = usual or normal_form(gold)
        found = (
            float(ours == theirs),
            _closed_overlap(tokens, theirs.split()),
            float(theirs in ours if usual else ours == theirs),
            _lcs_f(our_words, _WORDS.findall(gold.lower())),
        )
        for name, value in zip(best, found, strict=True):
            best[name] = max(best[name], value)
    return best


def _require(golds: Sequence[str]) -> None:
    if not golds:
        raise ValueError("a metric needs at least one gold answer")


def _as_answer(text: str) -> str:
    return NO_ANSWER if normalize_answer(text) == NO_ANSWER else text


def _closed_overlap(ours: Sequence[str], gold: Sequence[str]) -> float:
    if ours != gold and (_is_closed(ours) or _is_closed(gold)):
        return 0.0
    return _overlap(ours, gold)


def _is_closed(tokens: Sequence[str]) -> bool:
    return len(tokens) == 1 and tokens[0] in {*CLOSED, NO_ANSWER}


def _overlap(ours: Sequence[str], gold: Sequence[str]) -> float:
    """F1 of two bags of tokens; 0 without a shared one, two empty bags included (as published)."""
    shared = sum((Counter(ours) & Counter(gold)).values()) if not set(ours).isdisjoint(gold) else 0
    return _f(shared, len(ours), len(gold))


def _lcs_f(ours: Sequence[str], gold: Sequence[str]) -> float:
    return _f(LCSseq.similarity(ours, gold), len(ours), len(gold)) if ours and gold else 0.0


def _f(shared: int, ours: int, gold: int) -> float:
    """The harmonic mean in the published order of operations, for bitwise equality."""
    if not shared:
        return 0.0
    precision, recall = shared / ours, shared / gold
    return 2 * precision * recall / (precision + recall)


def _chinese_words(text: str) -> list[str]:
    cleaned = ("".join(_bare(word.lower())) for word in chinese_words()(text))
    return [word for word in cleaned if word]


def _bare(word: str) -> list[str]:
    return [char for char in word if char not in _CHINESE_PUNCTUATION and not char.isspace()]
