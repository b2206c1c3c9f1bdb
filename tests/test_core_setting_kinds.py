"""What a setting may be, in words."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from src_core.config import AllOrCount, NotNegative, Port, Positive, config_class
from src_core.setting_kinds import kind_in_words


class Way(StrEnum):
    """An enumeration of texts."""

    FAST = "fast"
    EXACT = "exact"


@config_class
class Section:
    """A section."""

    n: Positive = 1


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Positive, "whole number, at least 1"),
        (Port, "whole number, at least 1 and at most 65,535"),
        (AllOrCount, "whole number, at least -1"),
        (NotNegative | None, "number, at least 0, or null"),
        (str | None, "text or null"),
        (bool, "true or false"),
        (Literal["a", "b"], "one of a, b"),
        (Way, "one of fast, exact"),
        (Annotated[str, Field(pattern="^a$")], "text, of the form ^a$"),
        (tuple[Positive, ...], "list, each: whole number, at least 1"),
        (list, "list"),
        (dict[str, Any], "section of key: value"),
        (Section, "section of key: value"),
        (Any, "any value"),
        (bytes, "bytes"),
    ],
)
def test_the_kind_of_a_setting_is_said_in_words(hint: Any, words: str) -> None:
    assert kind_in_words(hint) == words
