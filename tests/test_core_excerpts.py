"""The relevant part of a passage: what it keeps, its bounds, and sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.excerpts import relevant_part
from src_core.sentences import split_sentences

TEXT = (
    "The Velby Opera is a house in Velby. It was opened in 1904 by the city council. Its first season had "
    "eleven works. The hall seats 1,200 people and was rebuilt after a fire in 1931. The librettist of its "
    "first work was Oda Ferran. Tickets are sold at the door. A tram stops in front of it."
)


def test_the_sentence_that_answers_is_kept_although_it_is_behind_the_cut() -> None:
    part = relevant_part(
        TEXT, "Who was the librettist of the first work?", max_chars=130, title="Velby Opera"
    )
    assert "Oda Ferran" in part
    assert "Oda Ferran" not in TEXT[:130]
    assert len(part) <= 130
    assert "…" in part  # what is left out is marked


def test_sentences_keep_their_order() -> None:
    part = relevant_part(TEXT, "librettist fire 1931 opened 1904", max_chars=220)
    places = [part.find(words) for words in ("1904", "1931", "Oda Ferran")]
    assert places == sorted(places)
    assert -1 not in places


def test_a_text_that_fits_is_whole_and_one_without_common_words_is_cut_at_its_head() -> None:
    assert relevant_part(TEXT, "tram", max_chars=1000) == " ".join(TEXT.split())
    assert relevant_part(TEXT, "xylophone zebra", max_chars=60).startswith(
        "The Velby Opera is a house in Velby."
    )


def test_a_long_sentence_is_cut_around_the_words_of_the_query() -> None:
    long = "word " * 400 + "the treasurer was Nils Arne and " + "word " * 400
    assert "Nils Arne" in relevant_part(long, "Who was the treasurer?", max_chars=200)


@given(st.text(max_size=600), st.text(max_size=60), st.integers(20, 400))
def test_the_bound_holds_and_every_word_comes_from_the_text(text: str, query: str, max_chars: int) -> None:
    part = relevant_part(text, query, max_chars=max_chars)
    assert len(part) <= max_chars
    plain = " ".join(text.split())
    assert all(piece.strip() in plain for piece in part.split("…"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "J. R. Smith was born in St. Louis. He died there.",
            ["J. R. Smith was born in St. Louis.", "He died there."],
        ),
        (
            'She said "Go." Then she left! Why? Nobody knows.',
            ['She said "Go."', "Then she left!", "Why?", "Nobody knows."],
        ),
        ("维尔比是首都。它有两座桥。", ["维尔比是首都。", "它有两座桥。"]),
        ("pH 7.4 is normal", ["pH 7.4 is normal"]),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected
