"""Relations of passages' subjects: how passages state them, and how questions ask for them. The tables are
YAML files beside this module (`relations/`).
"""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Literal

from src_core.config import config_class, load_config

_TABLES = Path(__file__).parent / "relations"
_MADE = (
    "directed|written|produced|edited|composed|created|shot|co-written|co-produced|scored|designed|choreographed"
    "|recorded|performed|illustrated|published"
)
_BEFORE = rf"(?:(?:{_MADE}|sung|developed|starring), )*(?:(?:{_MADE}|starring) and )?"
_NOT_A_PART = "".join(
    rf"(?<!{part} )" for part in ("music", "lyrics", "words", "score", "story", "screenplay", "script")
)
"""What is written may be a part only: "a song with lyrics written by …"."""
_AFTER = rf"(?:,? and (?:{_MADE}))?"
_BY = " by <OF><v:PERSON><ONE>"


@config_class
class Compared:
    """Questions that compare a value of two subjects `{a}` and `{b}` of one noun `{n}`. `less` asks for the
    earlier or smaller one, `more` for the other, `same` whether both have the same value.
    """

    less: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    same: tuple[str, ...] = ()


@config_class
class Relation:
    """`kinds` are the classes of subjects (`nouns`; `any` is any but persons). Of the patterns
    (`reading.pattern`) those of `lead` are searched in the definition, those of `body` in what a later
    sentence says, those of `brackets` in the brackets behind the name; `made_by` are participles before "by".
    `forms` are questions for the value, each with a noun phrase for it ("" for none): `{s}` is the subject,
    `{who}` the man, the woman or the person (`{parent}`, `{sibling}`, `{spouse}` and `{uncle}` also depend on
    the gender of who is asked for), `{t}` the village, town or city. `hints` matches the words with
    which a passage might tell the value in any wording. Where most things of the kind have no such value
    (`common: false`) a question that nothing answers is not asked for it: it would assume what is not so.
    """

    name: str
    kinds: tuple[str, ...]
    value: Literal["person", "place", "name", "date", "number", "text"]
    forms: tuple[tuple[str, str], ...]
    made_by: tuple[str, ...] = ()
    lead: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    brackets: tuple[str, ...] = ()
    hints: str = ""
    common: bool = True
    compared: Compared = Compared()

    def fits(self, kind: str) -> bool:
        """Whether subjects of `kind` have this relation."""
        return kind in self.kinds or ("any" in self.kinds and kind != "person")


@config_class
class Untold:
    """A question in two wordings that passages about `kinds` seldom answer; `hints` as for a relation."""

    kinds: tuple[str, ...]
    question: str
    again: str
    hints: str


@config_class
class _RelationTable:
    relations: tuple[Relation, ...]


@config_class
class _UntoldTable:
    questions: tuple[Untold, ...]


@cache
def all_relations() -> tuple[Relation, ...]:
    """The relations of all tables."""
    tables = (load_config(_RelationTable, _TABLES / f"{name}.yaml") for name in ("people", "works", "things"))
    return tuple(_with_verbs(relation) for table in tables for relation in table.relations)


@cache
def all_untold() -> tuple[Untold, ...]:
    """The questions that passages seldom answer."""
    return load_config(_UntoldTable, _TABLES / "untold.yaml").questions


def _with_verbs(relation: Relation) -> Relation:
    """The patterns of "VERB by NAME" added: in a definition, and in a later sentence as its predicate."""
    lead = tuple(rf"{_BEFORE}{_NOT_A_PART}(?<![\w-]){verb}{_AFTER}{_BY}" for verb in relation.made_by)
    body = tuple(
        pattern
        for verb in relation.made_by
        for pattern in (
            rf"^(?:is|was|were|has been) {_BEFORE}{verb}{_AFTER}{_BY}",
            rf"^(?:is|was) (?:(?:{_MADE}|released) [^,;.]{{3,60}},? and )(?:was )?{verb}{_BY}",
        )
    )
    return dataclasses.replace(relation, lead=(*lead, *relation.lead), body=(*body, *relation.body))
