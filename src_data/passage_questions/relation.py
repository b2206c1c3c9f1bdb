"""One relation of a passage's subject: how passages state it, and how questions ask for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Compared:
    """Questions that compare a value of two subjects `{a}` and `{b}` of one noun `{n}`. `less` asks for the
    earlier or smaller one, `more` for the other, `same` whether both have the same value.
    """

    less: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    same: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """`kinds` are those of the subjects ("" in it: any but persons). `value` is `person`, `place`, `name`,
    `date`, `number` or `text`. Of the `patterns` (of `reading.pattern`) those of `lead` are searched in the
    definition, those of `body` at the start of what a later sentence says, and those of `brackets` in the
    brackets behind the name. `forms` are questions for the value, each with a noun phrase for it ("" for
    none): `{s}` is the subject and `{who}` the man, the woman or the person. `hints` matches the words with
    which a passage might tell the value in any wording.
    """

    name: str
    kinds: str
    value: str
    forms: tuple[tuple[str, str], ...]
    lead: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    brackets: tuple[str, ...] = ()
    hints: str = ""
    compared: Compared = Compared()

    def fits(self, kind: str) -> bool:
        """Whether subjects of `kind` have this relation."""
        kinds = self.kinds.split()
        return kind in kinds or ("any" in kinds and kind != "person")
