"""Answer matching: SQuAD normalisation, exact match and token F1 with the maximum over gold aliases.

Source: the SQuAD v1.1 evaluation (lower-case, strip ASCII punctuation, drop a/an/the, collapse spaces) as
used by ReaRAG (reference section 9.1). We differ in taking the maximum over aliases, in HotpotQA's yes/no
rule (a yes/no/noanswer that disagrees scores F1 0) and in counting any abstention as `noanswer`.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_DROP = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_CLOSED = frozenset({"yes", "no", "noanswer"})
NO_ANSWER = "noanswer"
_ABSTENTION = re.compile(
    r"^(noanswer|no answer( found| available)?|unknown|unanswerable|none|cannot be determined"
    r"|not (known|given|found|stated|mentioned|available|specified)"
    r"|(i|we) (do not|dont|cannot|can not|cant) (know|say|answer|tell|find).*"
    r"|(information|answer) (is )?not (available|given|found|provided).*"
    r"|passages? (do|does) not (say|tell|mention).*"
    r"|insufficient information|no (relevant )?information( found| available)?)$"
)


def squad_normalize(text: str) -> str:
    """The published normal form and nothing else: lower-case, drop ASCII punctuation and English articles,
    collapse white space. Scores that are compared with published ones (`src_eval`) start from it.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DROP)).split())


def normalize_answer(text: str) -> str:
    """Lower-case, drop punctuation and English articles, collapse white space; an abstention becomes
    `noanswer`.
    """
    plain = squad_normalize(text)
    return NO_ANSWER if _ABSTENTION.match(plain) else plain


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """1.0 when the normalised prediction equals some normalised gold, else 0.0. No golds is a ValueError."""
    _require(golds)
    ours = normalize_answer(prediction)
    return float(any(ours == normalize_answer(gold) for gold in golds))


def token_f1(prediction: str, golds: Sequence[str]) -> float:
    """Bag-of-tokens F1 in [0, 1], the maximum over golds. No golds is a ValueError."""
    _require(golds)
    return max(_f1(normalize_answer(prediction), normalize_answer(gold)) for gold in golds)


def _require(golds: Sequence[str]) -> None:
    if not golds:
        raise ValueError("a metric needs at least one gold answer")


def _f1(ours: str, gold: str) -> float:
    if ours != gold and (ours in _CLOSED or gold in _CLOSED):
        return 0.0
    a, b = ours.split(), gold.split()
    shared = sum((Counter(a) & Counter(b)).values())
    if not shared:
        return float(a == b)
    return 2 * shared / (len(a) + len(b))
