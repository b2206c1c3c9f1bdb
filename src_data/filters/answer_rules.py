"""Does a chain's answer agree with the gold answers?

The original keeps a chain when the token F1 with one gold string is not zero (reference section 6.5), so that
"Duke of Wellington" passes for "City of York". Ours asks, for the best of all aliases: closed answers equal;
every number and date of the gold said, as precisely or more so, and no other; no word that makes it another
thing ("New York" for "York", "Jane Smith" for "John Smith"); and an F1 of the canonical tokens of at least
`min_f1`. The default of 0.6 lets one extra or missing word through beside one or two shared ones (F1 0.67 and
0.8), where the word rules still apply, and nothing that is half wrong (F1 0.5). What is trained on is the
answer as it stands, so a right answer inside a sentence is refused as well. `python
scripts/bench/answer_rules.py` prints both rules side by side (`docs/benchmarks.md`, "Data construction").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from src_core.config import config_class
from src_data.filters.answer_text import (
    canonical,
    canonical_items,
    covers,
    split_quantities,
    without_parentheses,
)
from src_data.filters.answer_words import GENERIC, HEADS, PLACES, QUALIFIERS, STOP
from src_tasks.answers import NO_ANSWER, normalize_answer, squad_normalize
from src_tasks.metrics import token_f1

AnswerCode = Literal["agrees", "no_gold", "empty", "abstains", "closed", "number", "name", "list", "f1"]
CLOSED = frozenset({"yes", "no"})


@config_class
class AnswerRules:
    """`rule`: `strict` (ours) or `original` (F1 not zero with the first gold); `min_f1` in (0, 1] is for
    `strict`.
    """

    rule: Literal["strict", "original"] = "strict"
    min_f1: Annotated[float, Field(gt=0, le=1)] = 0.6


class AnswerVerdict(NamedTuple):
    """Whether a prediction agrees, by which rule it failed, with which alias it was judged, and its token F1
    (the metric, maximum over aliases; 0 without golds).
    """

    accepted: bool
    code: AnswerCode
    gold: str
    f1: float


DEFAULT_RULES = AnswerRules()


def accept(prediction: str, golds: Sequence[str], rules: AnswerRules = DEFAULT_RULES) -> AnswerVerdict:
    """Judge a prediction by the alias that likes it best: an accepting one, else the one of highest F1."""
    if not golds:
        return AnswerVerdict(False, "no_gold", "", 0.0)
    f1 = token_f1(prediction, golds)
    if not prediction.strip():
        return AnswerVerdict(False, "empty", golds[0], f1)
    if rules.rule == "original":
        right = original_accepts(prediction, golds[0])
        return AnswerVerdict(right, "agrees" if right else "f1", golds[0], f1)
    best: tuple[float, str, AnswerCode] | None = None
    for gold in golds:
        code = _compare(prediction, gold, rules.min_f1)
        if code == "agrees":
            return AnswerVerdict(True, code, gold, f1)
        score = token_f1(prediction, [gold])
        if best is None or score > best[0]:
            best = (score, gold, code)
    assert best is not None
    return AnswerVerdict(False, best[2], best[1], f1)


def original_accepts(prediction: str, gold: str) -> bool:
    """The release's filter: any shared token after SQuAD normalisation, with no rule for yes and no."""
    return bool({*squad_normalize(prediction).split()} & {*squad_normalize(gold).split()})


def _compare(prediction: str, gold: str, min_f1: float) -> AnswerCode:
    """The verdict for one alias, brackets on either side ignored when that helps."""
    code = _compare_plain(prediction, gold, min_f1)
    if code in ("agrees", "closed"):
        return code
    shorter = (without_parentheses(prediction), without_parentheses(gold))
    return code if shorter == (prediction, gold) else _compare_plain(*shorter, min_f1)


def _compare_plain(prediction: str, gold: str, min_f1: float) -> AnswerCode:
    ours, theirs = normalize_answer(prediction), normalize_answer(gold)
    if theirs in CLOSED or ours in CLOSED:
        return "agrees" if ours == theirs else "closed"
    if NO_ANSWER in (ours, theirs):
        return "agrees" if ours == theirs else "abstains"
    said, wanted = canonical(prediction), canonical(gold)
    if not said or not wanted:  # nothing but symbols
        return "agrees" if prediction.strip() == gold.strip() else "f1"
    if said == wanted or _squashed(prediction, said) == _squashed(gold, wanted):
        return "agrees"
    if not _quantities_agree(said, wanted):
        return "number"
    match = align(said, wanted)
    return _judge_words(prediction, gold, match, min_f1, has_numbers=any(t[0] in "#@" for t in wanted))


def _squashed(text: str, tokens: Sequence[str]) -> str:
    """ "Spider-Man" and "Spiderman", "B-52" and "B52" as one word; decimals and dates stay apart."""
    numbers = [token for token in tokens if token[0] in "#@"]
    joined = " " if any("." in n or n[0] == "@" for n in numbers) or len(numbers) > 1 else ""
    return joined.join(token.removeprefix("#") for token in tokens) or text


def _quantities_agree(said: Sequence[str], wanted: Sequence[str]) -> bool:
    """Every number and date of the gold is said at least as precisely, and none that it does not hold."""
    ours, theirs = list(split_quantities(said).numbers), split_quantities(wanted).numbers
    for number in theirs:
        cover = next((mine for mine in ours if covers(mine, number)), None)
        if cover is None:
            return False
        ours.remove(cover)
    return not ours


class Alignment(NamedTuple):
    """How two token lists match: how many tokens are shared, what is left on either side, and F1."""

    shared: tuple[str, ...]
    extra: tuple[str, ...]
    missing: tuple[str, ...]
    f1: float


def align(said: Sequence[str], wanted: Sequence[str]) -> Alignment:
    """Match two canonical token lists as bags; initials match the names they stand for (`jk` / `joanne
    kathleen`, `fbi` / `federal bureau investigation`), a date the year it covers.
    """
    shared = list((Counter(said) & Counter(wanted)).elements())
    extra = _minus(said, shared)
    missing = _minus(wanted, shared)
    for number in [token for token in missing if token[0] in "#@"]:
        cover = next((mine for mine in extra if mine[0] == "@" and covers(mine, number)), None)
        if cover:
            extra.remove(cover)
            missing.remove(number)
            shared.append(number)
    for short, long in ((extra, missing), (missing, extra)):
        for token in list(short):
            run = _stands_for(token, long, named=bool(shared) and short == [token])
            if run:
                short.remove(token)
                for word in run:
                    long.remove(word)
                shared.extend(run)
    total = 2 * len(shared) + len(extra) + len(missing)
    return Alignment(tuple(shared), tuple(extra), tuple(missing), 2 * len(shared) / total if total else 0.0)


def _minus(tokens: Sequence[str], taken: Sequence[str]) -> list[str]:
    left = Counter(taken)
    kept = []
    for token in tokens:
        if left[token]:
            left[token] -= 1
        else:
            kept.append(token)
    return kept


def _stands_for(token: str, words: Sequence[str], *, named: bool) -> list[str]:
    """The consecutive words whose initials spell `token`. Where it is all that differs beside a shared name,
    initials may also outnumber the given names ("J. K." for "Joanne"). One-letter words stand for nothing.
    """
    if not token.isalpha() or len(token) > 6:
        return []
    for start in range(len(words) - len(token) + 1):
        run = list(words[start : start + len(token)])
        if _spelt(token, run):
            return run
    return list(words) if named and 0 < len(words) < len(token) <= 3 and _spelt(token, words) else []


def _spelt(token: str, words: Sequence[str]) -> bool:
    return all(len(word) > 1 and word[0] == letter for word, letter in zip(words, token, strict=False))


def _judge_words(
    prediction: str, gold: str, match: Alignment, min_f1: float, *, has_numbers: bool
) -> AnswerCode:
    """The verdict on what is not a number; a gold that is nothing but numbers may get two words more ("35
    years old" for "35").
    """
    left = {*match.extra, *match.missing}
    if "or" in left or ("and" in left and _items(prediction) != _items(gold)):
        return "list"
    left.discard("and")
    if any(token in match.extra for token in ("not", "never", "neither", "except")):
        return "name"
    if has_numbers and not match.missing and not split_quantities(match.shared).words:
        return "agrees" if len(match.extra) <= 2 else "f1"
    if match.extra and match.missing:
        return "name" if match.shared else "f1"
    if match.f1 < min_f1:
        return "f1"
    longer, shorter = (prediction, gold) if match.extra else (gold, prediction)
    return "name" if left and _another_thing(longer, shorter, match) else "agrees"


def _items(text: str) -> int:
    """How many things a list names: separators and `and` count alike."""
    return 1 + sum(token in (",", ";", "and") for token in canonical_items(text.replace(", and ", " and ")))


def _another_thing(longer: str, shorter: str, match: Alignment) -> bool:
    """Whether the words that only the longer text has make it the name of something else.

    Harmless: what follows a comma ("Paris, France"), given names before a surname ("Barack Obama"), "the
    state of", words beside two shared ones. Not: qualifiers, another head noun, a single shared word
    otherwise.
    """
    left = set(match.extra) | set(match.missing)
    items = canonical_items(longer)
    head = items[: items.index(",")] if "," in items else items
    if set(head) <= set(match.shared):
        return False
    if left & QUALIFIERS or (head[-1] in HEADS and head[-1] in left):
        return True
    names = [token for token in match.shared if token not in GENERIC and token[0] not in "#@"]
    if not names:
        return not any(token[0] in "#@" for token in match.shared)
    if len(match.shared) > 1 or left <= PLACES:
        return False
    return names[0] != head[-1] or " of " in longer or not (_is_name(longer) and _is_name(shorter))


def _is_name(text: str) -> bool:
    """Every word up to a comma is capitalised, small function words aside."""
    words = [word for word in text.split(",", 1)[0].split() if word.lower() not in STOP]
    return bool(words) and all(word[:1].isupper() for word in words)
