"""Passages that name what a query names, and those that do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.named_passages import naming, query_names
from src_core.types import Passage


def passage(title: str, text: str) -> Passage:
    return Passage(title, title, f"{title}\n{text}")


LADA = passage("Josef Lada", "He was born in Hrusice.")
GROLL = passage("Josef Groll", "He was born in Vilshofen.")
SVEJK = passage("Švejk", "A novel with drawings by Josef Lada.")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("Where was Josef Lada born?", [{"josef", "lada"}]),
        ("Where was Kasper Schmeichel's father born?", [{"kasper", "schmeichel"}]),
        ("Are Thor Heyerdahl and Colin Archer from one town?", [{"thor", "heyerdahl"}, {"colin", "archer"}]),
        ("Who drew Švejk?", [{"svejk"}]),
        ("What happened in 1905?", [{"1905"}]),
        ("Who was the scientist?", []),
        ("who wrote let it be", []),
        ("谁写了这本书?", []),
        ("", []),
    ],
)
def test_the_names_of_a_query_are_its_runs_of_capitals(query: str, names: list[set[str]]) -> None:
    assert query_names(query) == names


def test_a_passage_about_another_person_is_left_out() -> None:
    assert naming("Where was Josef Lada born?", (LADA, GROLL, SVEJK)) == (LADA, SVEJK)


def test_the_name_may_stand_in_the_text_and_without_its_accents() -> None:
    assert naming("Who drew Svejk?", (GROLL, SVEJK)) == (SVEJK,)


def test_one_of_two_names_is_enough() -> None:
    assert naming("Was Josef Lada older than Josef Groll?", (LADA, GROLL)) == (LADA, GROLL)


@pytest.mark.parametrize("query", ["Where was Bedřich Smetana born?", "who drew it?", ""])
def test_all_stay_where_none_holds_a_name(query: str) -> None:
    assert naming(query, (LADA, GROLL)) == (LADA, GROLL)


@given(st.text(), st.lists(st.text(), max_size=4))
def test_what_stays_is_a_part_in_order_and_never_empty(query: str, texts: list[str]) -> None:
    passages = [Passage(str(at), text, f"{text}\n{text}") for at, text in enumerate(texts)]
    kept = naming(query, passages)
    assert bool(kept) == bool(passages)
    assert [one for one in passages if one in kept] == list(kept)
