"""A person by what the definition of the passage says of him or her, with the whole clause."""

from __future__ import annotations

import re
from typing import NamedTuple

from src_data.passage_questions.entities import Entity
from src_data.passage_questions.nouns import kind_of

_CLAUSE = re.compile(
    r"^(?:is|was) an? (?P<noun>[^,;.\"]{3,60}?),? (?:(?:and is |and was )?"
    r"(?P<known>(?:best |most |well |perhaps best |primarily |mostly |chiefly )?"
    r"(?:known|remembered|noted|famous) for [^;]{8,130})|who (?P<did>[^;]{12,130}))$"
)
_DID = re.compile(
    r"^(?:\w+ )?(?:discovered|invented|founded|co-founded|wrote|directed|designed|led|commanded|created"
    r"|composed|painted|built|established|developed|introduced|proposed|translated|pioneered|won the"
    r"|became the first|was the (?:first|last|\d+\w+)|is the (?:first|\d+\w+)"
    r"|(?:has )?served as (?:the )?\d+\w+|served as [^.]+ from \d{4})\b"
)
_KNOWN = re.compile(
    r"\b(?:roles? (?:as|of)|portrayal|portraying|playing|discover\w*|invent\w*|found(?:ing|er)|creat\w*"
    r"|developing|novels?|books?|songs?|albums?|writing|directing|composing)\b"
)
_KNOWN_FOR = re.compile(r"(?:[a-z]+ ){0,2}(?:known|remembered|noted|famous) for\b")
_OPEN = re.compile(
    r"\b(?:several|many|various|numerous|such as|including|among|etc|currently|also|these|this|most of"
    r"|his own|her own|it|them|he|she)\b|[–—]"
    r"|\d (?:\w+ )?films|\bfilms (?:between|from|since)|\bmore than|[()]"
    r"|\bi\.e|founded of|\bmuch\b|in particular|\bsince\b"
    r"|[Mm]ember of|(?:films|novels|series) [^.]*(?:between|from|about)|\d times|\bonly\b|\bfew\b|;"
)
_ENDS = re.compile(r",? (?:and (?:who|is|was|has|for)\b|as well as|but|including|such as|among others)")
_SHORTEST = 4
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
    said, noun, sentence = _said(entity)
    clause = _cut(said)
    which = re.sub(r"^(?:former|retired|professional|prolific) ", "", noun).partition(" and ")[0]
    own = set(entity.name.split())
    if not clause or not _particular(clause, said) or own & set(clause.split()):
        return None
    if kind_of(which.split()[-1] if which else "") != "person":
        return None
    be = "was" if entity.predicates[0].text.startswith("was ") else "is"
    said = f"{be} {clause}" if _KNOWN_FOR.match(clause) else clause
    questions = (
        f"Which {which} {said}?",
        f"Who {be} the {which} who {said}?",
        f"What is the name of the {which} who {said}?",
    )
    return Description(f"the {which} who {said}", questions, sentence)


def _said(entity: Entity) -> tuple[str, str, str]:
    """What is said of a person, the noun phrase for him or her, and the sentence: in the definition, or in
    one that follows.
    """
    lead = entity.predicates[0]
    found = _CLAUSE.match(lead.text)
    if found is not None:
        return found["known"] or found["did"], found["noun"], lead.sentence
    noun = re.sub(r"^(?:an?|the) ", "", entity.definition)
    for predicate in entity.predicates[1:]:
        if _DID.match(predicate.text) and "(" not in predicate.sentence:
            return predicate.text, noun, predicate.sentence
    return "", "", ""


def _cut(said: str) -> str:
    """The beginning of what is said, to where something else begins; "" where a name is cut."""
    clause = _ENDS.split(said, maxsplit=1)[0].rstrip(" ,")
    clause, _, cut = clause.partition(", ")
    if cut[:1].isupper() or cut[:1] == '"':
        return ""
    clause = re.sub(r"^(?:is|was) (?=(?:[a-z]+ )?(?:known|remembered|noted|famous) for)", "", clause)
    return re.sub(r"^(?:perhaps|primarily|mostly|chiefly) ", "", clause.replace('"', ""))


def _particular(clause: str, whole: str) -> bool:
    words = clause.split()
    named = any(word[:1].isupper() or word.isdigit() for word in words[1:])
    balanced = whole.count('"') % 2 == 0 and "(" not in clause
    return (
        _SHORTEST <= len(words) <= _LONGEST and named and balanced
        and _is_one(whole, clause) and not _OPEN.search(clause)
    )  # fmt: skip


def _is_one(said: str, clause: str) -> bool:
    """Whether what is said is true of one person, as far as words show it."""
    named = '"' in said or re.search(r"[A-Z]\w+ [A-Z]", said)
    if _KNOWN_FOR.match(said):
        return bool(_KNOWN.search(said) and named)
    won = re.match(r"(?:\w+ )?won the", said)  # one title has many holders, in one year it has one
    return bool(_DID.match(said)) and not (won and not re.search(r"\d{4}", clause))
