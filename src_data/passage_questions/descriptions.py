"""A person by what the definition of the passage says of him or her, with the whole clause."""

from __future__ import annotations

import re
from typing import NamedTuple

from src_data.annotated_teacher.mentions import find_mention
from src_data.passage_questions.entities import Entity

_CLAUSE = re.compile(
    r"^(?P<be>is|was) (?P<article>an?) (?P<noun>[^,;.\"]{3,60}?),? "
    r"(?:(?:and is |and was )?(?P<known>(?:best |most |well |perhaps best |primarily |mostly |chiefly )?(?:known|remembered|noted|famous) for [^;]{8,130})"
    r"|who (?P<did>[^;]{12,130}))$"
)
_UNIQUE = re.compile(
    r"\"|\b(?:discover|invent|found|co-found|wrote|direct|design|led\b|command|creat|compos|paint|built|establish"
    r"|first\b|last\b|develop|introduc|propos|edited|translat|served as (?:the )?(?:\d+\w+|[A-Z])|won the|pioneer|portray"
    r"|playing|role|novel|book|song|film|album|series|theory|work)"
)
_OPEN = re.compile(r"\b(?:several|many|various|numerous|such as|including|among|etc|currently|also|these|this|most of)\b")
_ENDS = re.compile(r",? (?:and (?:who|is|was|has|for)\b|as well as|but|including|such as|among others)")
_SHORTEST = 5
_LONGEST = 20


class Description(NamedTuple):
    """`phrase` is "the Swedish chemist who discovered gallium in 1875"; `questions` ask who that is and keep
    the clause.
    """

    phrase: str
    questions: tuple[str, ...]
    sentence: str


def description_of(entity: Entity) -> Description | None:
    """The description of a person, None where it names no particular thing."""
    if entity.kind != "person":
        return None
    lead = entity.predicates[0]
    found = _CLAUSE.match(lead.text)
    if found is None:
        return None
    clause = _ENDS.split(found["known"] or found["did"], maxsplit=1)[0].rstrip(" ,")
    clause = clause.partition(", ")[0] if clause.count(",") and '"' not in clause else clause
    clause = clause.replace('"', "")
    noun = re.sub(r"^(?:former|retired|professional|prolific) ", "", found["noun"])
    own = set(entity.name.split())
    if not _particular(clause, found["known"] or found["did"]) or own & set(clause.split()) or find_mention(clause, (entity.name,)):
        return None
    be = found["be"]
    said = f"{be} {clause}" if found["known"] else clause
    which = noun if " and " not in noun else noun.partition(" and ")[0]
    if not re.search(r"[a-z]{4}$", which):
        return None
    questions = (
        f"Which {which} {said}?",
        f"Who {be} the {which} who {said}?",
        f"What is the name of the {which} who {said}?",
    )
    return Description(f"the {which} who {said}", questions, lead.sentence)


def _particular(clause: str, whole: str) -> bool:
    words = clause.split()
    named = any(word[:1].isupper() for word in words[1:])
    balanced = whole.count('"') % 2 == 0 and "(" not in clause
    return (
        _SHORTEST <= len(words) <= _LONGEST and named and balanced
        and bool(_UNIQUE.search(whole)) and not _OPEN.search(clause)
    )  # fmt: skip
