"""Relations of evidence triples and of MuSiQue's `subject >> relation` hops, as questions and as nouns."""

from __future__ import annotations

from typing import NamedTuple


class Wording(NamedTuple):
    """`{s}` is the subject. `goal` is a noun phrase; `queries` are wordings of one question."""

    goal: str
    queries: tuple[str, ...]


_WHO = {
    "director": ("the director", "Who directed {s}?"),
    "performer": ("the performer", "Who performed {s}?"),
    "composer": ("the composer", "Who composed {s}?"),
    "producer": ("the producer", "Who produced {s}?"),
    "author": ("the author", "Who wrote {s}?"),
    "creator": ("the creator", "Who created {s}?"),
    "father": ("the father", "Who was {s}'s father?"),
    "mother": ("the mother", "Who was {s}'s mother?"),
    "spouse": ("the spouse", "Who was {s} married to?"),
    "child": ("the child", "Who was a child of {s}?"),
    "sibling": ("the sibling", "Who was a brother or sister of {s}?"),
    "founded by": ("the founder", "Who founded {s}?"),
    "publisher": ("the publisher", "Who published {s}?"),
    "employer": ("the employer", "Who employed {s}?"),
    "presenter": ("the presenter", "Who presented {s}?"),
    "manufacturer": ("the manufacturer", "Who made {s}?"),
    "doctoral advisor": ("the doctoral advisor", "Who supervised the doctorate of {s}?"),
}
_OTHER = {
    "country of citizenship": (
        "the nationality",
        "What is the nationality of {s}?",
        "Which country is {s} from?",
    ),
    "country": ("the country", "In which country is {s}?", "Which country does {s} belong to?"),
    "country of origin": ("the country of origin", "Which country is {s} from?", "Where was {s} made?"),
    "date of birth": ("the date of birth", "When was {s} born?", "What is the date of birth of {s}?"),
    "date of death": ("the date of death", "When did {s} die?", "What is the date of death of {s}?"),
    "place of birth": ("the birthplace", "Where was {s} born?", "In which place was {s} born?"),
    "place of death": ("the place of death", "Where did {s} die?", "In which place did {s} die?"),
    "place of burial": ("the burial place", "Where is {s} buried?", "In which place was {s} buried?"),
    "cause of death": ("the cause of death", "How did {s} die?", "What did {s} die of?"),
    "publication date": ("the release date", "When was {s} released?", "In which year did {s} come out?"),
    "inception": ("the founding date", "When was {s} founded?", "In which year was {s} established?"),
    "award received": ("the award", "Which award did {s} receive?", "What prize did {s} win?"),
    "educated at": ("the school", "Where did {s} study?", "Which university did {s} attend?"),
    "genre": ("the genre", "What is the genre of {s}?", "What kind of work is {s}?"),
    "record label": ("the record label", "Which record label released {s}?", "What is the label of {s}?"),
    "member of sports team": ("the team", "Which team did {s} play for?", "What club did {s} play for?"),
    "located in the administrative territorial entity": (
        "the region",
        "In which administrative region is {s}?",
        "Where is {s} located?",
    ),
    "capital of": (
        "the place with the capital",
        "What is {s} the capital of?",
        "Which place has {s} as its capital?",
    ),
    "part of": ("the whole", "What is {s} part of?", "What does {s} belong to?"),
}


def wording(relation: str) -> Wording:
    """The wording for a relation; an unlisted relation is queried by its name."""
    name = " ".join(relation.lower().split())
    if name in _WHO:
        noun, query = _WHO[name]
        return Wording(
            f"{noun} of {{s}}", (query, f"Who is {noun} of {{s}}?", f"{noun[4:].capitalize()} of {{s}}?")
        )
    if name in _OTHER:
        noun, *queries = _OTHER[name]
        return Wording(f"{noun} of {{s}}", tuple(queries))
    return Wording(f"the {name} of {{s}}", (f"What is the {name} of {{s}}?", f"{{s}}: which {name}?"))


def put_subject(text: str, subject: str) -> str:
    """`text` with its `{s}` filled in (a subject may hold braces: no `format`)."""
    return text.replace("{s}", subject)
