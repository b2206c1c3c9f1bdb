"""Whether the answer of a trajectory agrees with the gold answers.

The original keeps a trajectory when the token F1 with one gold string is not zero (reference section 6.5), so
that "Duke of Wellington" is accepted for "City of York". Our rule takes the best of all aliases. It requires
equality after normalisation, with numbers and dates in any form, or that one text is the other with a small
addition: given names in front ("Barack Obama" for "Obama"), text after a comma ("Paris, France") or in
parentheses, the unit of a number ("35 years" for "35"). A name with another qualifier ("New York" for "York")
and a right answer inside a sentence are rejected, since training uses the answer unchanged. `python
scripts/bench/answer_rules.py` prints the error rates of this rule, of the original's and of simpler ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from src_core.config import config_class
from src_tasks.answer_tokens import covers, is_quantity, tokens
from src_tasks.answers import CLOSED, NO_ANSWER, normalize_answer, squad_normalize
from src_tasks.metrics import em, is_right, token_f1

AnswerCode = Literal["agrees", "no_gold", "empty", "abstains", "closed", "number", "differs"]
AnswerRule = Literal["strict", "em_f1", "original"]
_DECIMAL = re.compile(r"\d\.\d")
_PARENTHESES = re.compile(r"\s*\([^()]*\)")
_KIND = re.compile(
    r"^(?:the )?(?:city|town|village|county|state|province|kingdom|republic) of ", re.IGNORECASE
)
# In a longer name these words name another thing or several things: "wife of Obama", "Obama and Biden".
_LINK = re.compile(r"\b(?:of|and|or|to|for|in) |[&;,]")
# In front of a name these words give another name: "New York" is not "York", "not Paris" is not "Paris".
_IN_FRONT = (
    "new north south east west northern southern eastern western upper lower central vice deputy assistant "
    "associate supporting former not never non no neither except half step wife husband son daughter father "
    "mother brother sister"
)
_QUALIFIERS = frozenset(_IN_FRONT.split())


@config_class
class AnswerRules:
    """`rule`: `strict` (ours), `em_f1` (`src_tasks.metrics.is_right`, by which trees are explored) or
    `original` (token F1 not zero with the first gold). `min_f1` in (0, 1] is the token F1 that a name and the
    same name with an addition must reach (`strict`), or any answer (`em_f1`).
    """

    rule: AnswerRule = "strict"
    min_f1: Annotated[float, Field(gt=0, le=1)] = 0.6


class AnswerMatch(NamedTuple):
    """Whether a prediction agrees, the rule that it failed, the alias that it was compared with, and its
    token F1 (the metric, maximum over aliases; 0 without golds).
    """

    accepted: bool
    code: AnswerCode
    gold: str
    f1: float


DEFAULT_RULES = AnswerRules()


def accept(prediction: str, golds: Sequence[str], rules: AnswerRules = DEFAULT_RULES) -> AnswerMatch:
    """Compare a prediction with every alias: the first that accepts decides, else the one of highest F1."""
    if not golds:
        return AnswerMatch(False, "no_gold", "", 0.0)
    f1 = token_f1(prediction, golds)
    if not prediction.strip():
        return AnswerMatch(False, "empty", golds[0], f1)
    if rules.rule == "original":
        agrees = original_accepts(prediction, golds[0])
        return AnswerMatch(agrees, "agrees" if agrees else "differs", golds[0], f1)
    if rules.rule == "em_f1":
        best = max(golds, key=lambda gold: (em(prediction, [gold]), token_f1(prediction, [gold])))
        agrees = is_right(prediction, golds, min_f1=rules.min_f1)
        return AnswerMatch(agrees, "agrees" if agrees else "differs", best, f1)
    codes: dict[str, AnswerCode] = {gold: _compare(prediction, gold, rules.min_f1) for gold in golds}
    agreeing = next((gold for gold, code in codes.items() if code == "agrees"), "")
    best = agreeing or max(golds, key=lambda gold: token_f1(prediction, [gold]))
    return AnswerMatch(codes[best] == "agrees", codes[best], best, f1)


def original_accepts(prediction: str, gold: str) -> bool:
    """The release's filter: any shared token after SQuAD normalisation, with no rule for yes and no."""
    return bool({*squad_normalize(prediction).split()} & {*squad_normalize(gold).split()})


def _compare(prediction: str, gold: str, min_f1: float) -> AnswerCode:
    """The outcome for one alias."""
    pair = {normalize_answer(prediction), normalize_answer(gold)}
    equal = len(pair) == 1 and pair != {""} and not _DECIMAL.search(prediction + gold)
    if equal or prediction.strip() == gold.strip():
        return "agrees"
    if NO_ANSWER in pair:
        return "abstains"
    if pair & CLOSED:
        return "closed"
    prediction, gold = (
        _KIND.sub("", _PARENTHESES.sub("", text).strip()) or text for text in (prediction, gold)
    )
    predicted, wanted = tokens(prediction), tokens(gold)
    if not predicted or not wanted:
        return "differs"
    if predicted == wanted:
        return "agrees"
    if not _quantities_agree(predicted, wanted):
        worded = _is_worded(prediction, wanted) or _is_worded(gold, predicted)
        return "differs" if worded else "number"
    longer, shorter = (prediction, gold) if len(predicted) > len(wanted) else (gold, prediction)
    return "agrees" if _same_words(predicted, wanted) or _adds_little(longer, shorter, min_f1) else "differs"


def _quantities_agree(predicted: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether the prediction has every number and date of the gold at least as precisely, and no other."""
    ours = [token for token in predicted if is_quantity(token)]
    for token in filter(is_quantity, wanted):
        match = next((own for own in ours if covers(own, token)), None)
        if match is None:
            return False
        ours.remove(match)
    return not ours


def _is_worded(text: str, other: Sequence[str]) -> bool:
    """Whether a text has its numbers in words beside other words, and the other side has no number and no
    word of it: "Two Arabian Knights" is no number or date where the other answer is "Ceneda".
    """
    own = tokens(text)
    numbers = sum(map(is_quantity, own))
    is_words = 0 < numbers < len(own) and not any(map(str.isdigit, text))
    return is_words and not any(map(is_quantity, other)) and not {*own} & {*other}


def _same_words(predicted: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether both have the same words in any order. A number may have a unit: two words in the prediction,
    one in the gold ("eight" for "eight years").
    """
    ours, theirs = (sorted(token for token in side if not is_quantity(token)) for side in (predicted, wanted))
    if ours == theirs:
        return True
    unit = ours if not theirs and len(ours) <= 2 else theirs if not ours and len(theirs) <= 1 else ()
    return bool(unit) and not _QUALIFIERS & {*unit}


def _adds_little(longer: str, shorter: str, min_f1: float) -> bool:
    """Whether `longer` is `shorter` followed by a comma and more, or preceded by a few words that do not
    qualify it.
    """
    long, short = tokens(longer), tokens(shorter)
    if _initials(long) == short:
        return True
    if 2 * len(short) / (len(long) + len(short)) < min_f1:
        return False
    head, _, place = longer.partition(", ")
    if place:
        return tokens(head) == short and place[0].isupper() and "," not in place
    if long[-len(short) :] != short or _QUALIFIERS & {*long[: -len(short)]} or _LINK.search(longer):
        return False
    return len(short) > 1 or all(word[0].isupper() for word in longer.split() + shorter.split())


def _initials(words: Sequence[str]) -> tuple[str, ...]:
    """("federal", "bureau", "investigation") -> ("fbi",)."""
    return ("".join(word[0] for word in words),) if len(words) > 1 else ()
