"""Which property a comparison question compares, by its words, and how that is asked of one title."""

from __future__ import annotations

import re
from typing import NamedTuple


class Property(NamedTuple):
    """`words` is searched in the question, without case. `goal` names the property as a noun; `queries` ask
    for it, `{s}` standing for the title, the first one first.
    """

    words: str
    goal: str
    queries: tuple[str, ...]


# The first that fits is taken: narrow words come before wide ones.
PROPERTIES = (
    Property(
        r"\b(older|younger|born (first|earlier|later|last)|oldest)\b(?! (magazine|band|company))",
        "date of birth",
        ("When was {s} born?", "What is {s}'s date of birth?"),
    ),
    Property(
        r"\b(died|die) (first|earlier|later)\b",
        "date of death",
        ("When did {s} die?", "What is {s}'s date of death?"),
    ),
    Property(
        r"\b(formed|founded|established|started|created|launched|opened|built|began) (first|earlier|later)\b"
        r"|\bfirst (formed|founded|established|started|published)\b",
        "founding date",
        ("When was {s} founded?", "In which year was {s} started?"),
    ),
    Property(
        r"\b(released|published|came out|debuted|premiered|aired) (first|earlier|later)\b"
        r"|\breleased more recently\b",
        "release date",
        ("When was {s} released?", "In which year did {s} come out?"),
    ),
    Property(
        r"\bnationalit(y|ies)\b|\bsame country\b",
        "nationality",
        ("What is the nationality of {s}?", "Where is {s} from?"),
    ),
    Property(
        r"\b(genre|style of music)\b",
        "genre",
        ("What is the genre of {s}?", "What kind of music is {s}?"),
    ),
    Property(
        r"\b(occupations?|professions?|careers?|jobs?|for a living)\b",
        "occupation",
        ("What is the occupation of {s}?", "What is {s} known as?"),
    ),
    Property(
        r"\b(taller|higher|tallest)\b",
        "height",
        ("How tall is {s}?", "What is the height of {s}?"),
    ),
    Property(
        r"\b(more|fewer) (stories|floors)\b",
        "number of floors",
        ("How many floors does {s} have?", "How tall is {s}?"),
    ),
    Property(
        r"\b(larger|bigger|more) population\b|\bmore people\b",
        "population",
        ("What is the population of {s}?",),
    ),
    Property(
        r"\b(state|province)\b",
        "state",
        ("In which state is {s}?", "Where is {s} located?"),
    ),
    Property(
        r"\b(city|located in|located)\b",
        "location",
        ("Where is {s} located?", "In which city is {s}?"),
    ),
    Property(
        r"\bcountr(y|ies)\b|\bin china\b|\bboth in\b",
        "country",
        ("In which country is {s}?", "Where is {s} located?"),
    ),
    Property(
        r"\bfamily\b",
        "family",
        ("Which family does {s} belong to?", "What is {s}?"),
    ),
    Property(
        r"\b(in common|type of|kind of|species|both)\b",
        "description",
        ("Who or what is {s}?", "What is {s} known for?"),
    ),
)


def property_of(question: str) -> Property | None:
    """The property that a comparison question compares, None where its words name none."""
    lower = question.lower()
    return next((found for found in PROPERTIES if re.search(found.words, lower)), None)
