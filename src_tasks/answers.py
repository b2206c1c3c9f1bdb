"""Normal forms of answers: the one place where "the same answer" is defined.

Source: the SQuAD v1.1 evaluation (lower-case, strip ASCII punctuation, drop a/an/the, collapse spaces) as
used by ReaRAG (reference section 9.1), DeepRAG (11.2) and FlashRAG (2.8). We differ for texts that the
normalisation would empty: see `normal_form`.
"""

from __future__ import annotations

import re
import string

_DROP = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
CLOSED = frozenset({"yes", "no"})
"""The answers of a yes-or-no question, in normal form."""
NO_ANSWER = "noanswer"
"""The gold answer of a question that cannot be answered, in files and scores."""
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
    collapse white space.
    """
    return " ".join(_ARTICLES.sub(" ", _bare(text)).split())


def normal_form(text: str) -> str:
    """`squad_normalize`; where that is empty ("A", "The The", "!!!"), the text with its articles, or with its
    punctuation too. It is "" only for a blank text, so that a blank answer never equals another answer.
    """
    return squad_normalize(text) or " ".join(_bare(text).split()) or " ".join(text.lower().split())


def normalize_answer(text: str) -> str:
    """`squad_normalize`; an abstention ("I do not know", "not given") becomes `noanswer`. For loops and
    filters that must distinguish an answer from an abstention, not for scores.
    """
    plain = squad_normalize(text)
    return NO_ANSWER if _ABSTENTION.match(plain) else plain


def _bare(text: str) -> str:
    return text.lower().translate(_DROP)


def shown_gold(gold: str) -> str:
    """A gold answer as tables and pages show it."""
    return "no answer (unanswerable)" if gold.strip() == NO_ANSWER else gold
