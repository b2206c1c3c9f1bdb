"""Passage text as patterns read it: even spacing, and the parts of a pattern (names, places, dates).

Question sets ship passages in several spellings ("film( 1957)", '" Love Story"', "Tamil- language"). A value
of the even text is in the passage too, since answers are compared by tokens.
"""

from __future__ import annotations

import re
from functools import lru_cache

from src_data.annotated_teacher.countries import NATIONALITIES

_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_UP = "A-Z" + "".join(letter for letter in map(chr, range(0xC0, 0x250)) if letter.isupper())
_WORD = rf"[{_UP}][\w'’\-]*"
_INITIAL = r"[A-Z]\.(?:[A-Z]\.)*"
_LINK = r"(?:de|van|von|der|den|di|da|la|le|du|del|dos|af|bin|ibn|al|el|y|ten|ter)"
_PLACE_WORD = rf"(?:(?:St|Mt|Ft)\. )?{_WORD}"
_PLACE = rf"{_PLACE_WORD}(?:[ -](?:(?:of|upon|on|am|an|der|de|la|le|sur|the)(?=[ -])|{_PLACE_WORD})){{0,4}}"
_NATION = "|".join(sorted((word.title() for word in NATIONALITIES), key=len, reverse=True))
_SEVERAL = r"(?:collaboration|association|conjunction|partnership|cooperation|addition)"
_GOES_ON = (
    "[a-z]+(?:-[a-z]+)?(?:ed|ing)|is|was|has|had|written|co-written|set|sung|shot|built|stars|features|made|held"
    "|led|in"
)
_AFTER = (
    "in|for|on|at|from|starring|who|which|that|as|during|after|to|based|about|featuring|under|through|before"
    "|while|when|until|but|using|is|was|has|had|and (?:was|is|has)|since"
)
_PARTS = {
    # a name of at least two words
    "PERSON": rf"{_WORD}(?: (?:{_INITIAL}|{_LINK}(?= (?:{_LINK} )?[A-Z])|{_WORD})){{1,4}}(?: (?:Jr|Sr)\.)?",
    # a name of any thing
    "NAME": rf"(?:{_WORD}|\d+)(?:[ -](?:{_INITIAL}|(?:of|the|&|for|in|{_LINK})(?= )|{_WORD}|\d+)){{0,6}}",
    "PLACE": rf"{_PLACE}(?:, {_PLACE}){{0,3}}",
    "DATE": rf"(?:\d{{1,2}} (?:{_MONTHS}),? \d{{4}}|(?:{_MONTHS}) \d{{1,2}},? \d{{4}})",
    "YEAR": r"(?:1[0-9]|20)\d\d\b",
    "QUOTED": r"\"[^\"]{2,60}\"",
    "NUMBER": r"(?:\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?)",
    "INSTITUTION": (
        r"(?=[^.;,]{0,60}?(?:University|College|School|Academy|Conservator|Institute))"
        rf"{_WORD}(?:(?:, | )(?:(?:of|the|and|for|in|de|at)(?= [A-Zt])|{_WORD})){{0,7}}"
    ),
    # after one name: the sentence ends or goes on, and no second name is joined to it
    "ONE": (
        rf"(?<![ .][A-Z])(?=[.;:)(]|,(?! (?:and )?[{_UP}\"])|,? (?:{_AFTER})\b(?! {_SEVERAL})"
        rf"|,? and (?:{_GOES_ON})\b(?! {_SEVERAL})|$)"
    ),
    # what describes the person whose name follows: "the American architect"
    "OF": (
        rf"(?:(?:the |an? )?(?:(?:{_NATION}) )?(?:[a-z][a-z-]+ (?:and |/ ?)?){{0,4}}"
        r"(?:(?:Sir|Dr\.|Lord) )?)"
    ),
    "NATION": rf"(?:{_NATION})",
}


@lru_cache(maxsize=2048)
def pattern(source: str) -> re.Pattern[str]:
    """`source` compiled, with the parts of this module: `<PERSON>`, or `<v:PERSON>` for the value."""

    def part(match: re.Match[str]) -> str:
        text = _PARTS[match[2]]
        return f"(?P<v>{text})" if match[1] else f"(?:{text})"

    return re.compile(re.sub(r"<(v:)?([A-Z]+)>", part, source))


def even(text: str) -> str:
    """`text` on one line with usual spacing around brackets, marks, quotation marks and hyphens."""
    plain = " ".join(text.replace("``", '"').replace("''", '"').split())
    plain = re.sub(r"\( +", "(", re.sub(r" +([),;:.])", r"\1", plain))
    plain = re.sub(r"(?<=[\w\"])\((?=\w)", " (", re.sub(r"(?<=[a-z])- (?=[a-z])", "-", plain))
    pieces = plain.split('"')
    if len(pieces) % 2 == 0:
        return plain
    for at in range(1, len(pieces), 2):
        pieces[at] = pieces[at].strip()
        before, after = pieces[at - 1], pieces[at + 1]
        pieces[at - 1] = before if not before or before[-1] in " (" else f"{before} "
        pieces[at + 1] = after if not after or not after[0].isalnum() else f" {after}"
    return '"'.join(pieces)


def without_brackets(text: str) -> str:
    """`text` without what stands in round brackets."""
    before = ""
    while before != text:
        before, text = text, re.sub(r" ?\([^()]*\)", "", text)
    return text
