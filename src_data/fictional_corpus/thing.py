"""One invented thing, the words that sentences can say of it, and its name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from src_data.fictional_corpus.config import Language, names, things

_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_AGE = (66, 95)
"""At death: everybody lives to see the works that the world gives to him or her."""
_ACTS = ("two", "three", "four", "five")
_MAN = {"He": "He", "his": "his", "son": "son", "nephew": "nephew", "wife": "husband"}
_WOMAN = {"He": "She", "his": "her", "son": "daughter", "nephew": "niece", "wife": "wife"}


@dataclass(slots=True)
class Thing:
    """`noun` is what it is (of a person the profession), `year` when it came into being (of a person the year
    of birth), `slots` the things that it is linked to.
    """

    kind: str
    noun: str
    language: Language
    woman: bool
    year: int
    name: str = ""
    given: str = ""
    surname: str = ""
    article: bool = False
    slots: dict[str, Thing] = field(default_factory=dict, repr=False)
    words: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_person(self) -> bool:
        """Whether it is a person."""
        return self.kind == "person"

    def shown(self) -> str:
        """The name as the object of a sentence."""
        return f"the {self.name}" if self.article else self.name

    def with_noun(self) -> str:
        """The name after its noun, unless it holds the noun: "the film Ivory", "the Tornby Bridge"."""
        noun = "" if self.noun in self.name.lower() else f"{self.noun} "
        return f"the {noun}{self.name}"


def new_name(thing: Thing, title: str, draw: random.Random) -> str:
    """A name for `thing` by the pattern `title`."""
    parts: dict[str, Callable[[], str]] = {
        "{given}": lambda: thing.given,
        "{surname}": lambda: thing.surname,
        "{town}": lambda: _joined(thing.language.towns, draw),
        "{town_stem}": lambda: draw.choice(thing.language.towns[0]) + draw.choice(("mark", "land", "shire")),
        "{work}": lambda: _work(draw),
        "{Noun}": thing.noun.title,
        "{star}": lambda: draw.choice(things().stars),
        "{small}": lambda: str(draw.randrange(120, 990)),
    }
    for part, made in parts.items():
        if part in title:
            title = title.replace(part, made())
    return title


def new_person(thing: Thing, draw: random.Random) -> None:
    """Given name and surname."""
    language = thing.language
    thing.given = draw.choice(language.women if thing.woman else language.men)
    thing.surname = _joined(language.surnames, draw)


def words_of(thing: Thing, draw: random.Random) -> dict[str, str]:
    """What sentences can say of `thing` without a link."""
    found = {
        "noun": thing.noun,
        "profession": thing.noun,
        "nation": draw.choice(thing.language.nations),
        "year": str(thing.year),
        "date": _date(thing.year, draw),
        "number": f"{draw.randrange(300, 90_000):,}",
        "height": str(draw.randrange(3, 1_400)),
        "acts": draw.choice(_ACTS),
    }
    if thing.is_person:
        found |= {"born": found["date"], "died": _date(thing.year + draw.randrange(*_AGE), draw)}
        found |= _WOMAN if thing.woman else _MAN
    return found


def _work(draw: random.Random) -> str:
    titles = names().titles
    first, second = draw.choice(titles.first), draw.choice(titles.second)
    return draw.choice(
        (f"The {first} {second}", f"The {second} of {draw.choice(titles.of)}", f"{first} {second}")
    )


def _joined(parts: tuple[tuple[str, ...], tuple[str, ...]], draw: random.Random) -> str:
    return draw.choice(parts[0]) + draw.choice(parts[1])


def _date(year: int, draw: random.Random) -> str:
    return f"{draw.randrange(1, 29)} {draw.choice(_MONTHS)} {year}"
