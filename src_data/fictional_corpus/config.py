"""The settings of an invented world, and its tables (`names.yaml`, `things.yaml`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from src_core.config import Positive, Seed, config_class, load_config

_TABLES = Path(__file__).parent
Share = Annotated[float, Field(ge=0, le=1)]
Year = Annotated[int, Field(ge=1, le=2100)]
AgeDifference = Annotated[int, Field(ge=-200, le=200)]


@config_class
class FictionConfig:
    """`out` is the corpus (JSONL with `id` and `contents`). `scale` times the counts of `things.yaml` are
    made of each kind.
    """

    out: str = "data/fictional_corpus.jsonl"
    scale: Annotated[float, Field(gt=0, le=20)] = 1.0
    seed: Seed = 1
    overwrite: bool = False


@config_class
class Link:
    """How a slot is filled; see `things.yaml`. `mutual`: both have each other in this slot."""

    kind: str = ""
    professions: tuple[str, ...] = ()
    older: tuple[AgeDifference, AgeDifference] | None = None
    surname: bool = False
    mutual: bool = False
    share: Share = 1.0
    maker: str = ""
    named: str = ""
    made: bool = False


@config_class
class Kind:
    """A kind of things; see `things.yaml`. `article`: sentences put "the" before the name."""

    count: Positive
    title: str
    lead: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    links: dict[str, Link] = Field(default_factory=dict)
    nouns: tuple[str, ...] = ()
    professions: tuple[str, ...] = ()
    since: dict[str, Year] = Field(default_factory=dict)
    article: bool = False


@config_class
class Language:
    """Parts of names; see `names.yaml`."""

    nations: tuple[str, ...]
    men: tuple[str, ...]
    women: tuple[str, ...]
    surnames: tuple[tuple[str, ...], tuple[str, ...]]
    towns: tuple[tuple[str, ...], tuple[str, ...]]


@config_class
class Titles:
    """Parts of the titles of works, and names of ships and stars."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    of: tuple[str, ...]


@config_class
class Names:
    """All of `names.yaml`."""

    languages: tuple[Language, ...]
    titles: Titles


@config_class
class Things:
    """All of `things.yaml`."""

    kinds: dict[str, Kind]
    stars: tuple[str, ...]


@cache
def names() -> Names:
    """The parts of names."""
    return load_config(Names, _TABLES / "names.yaml")


@cache
def things() -> Things:
    """The kinds of things."""
    return load_config(Things, _TABLES / "things.yaml")
