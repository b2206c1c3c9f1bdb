"""Chains from supporting titles alone: what is looked up next follows from what was observed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from src_core.passage_view import PassageView, passage_block
from src_core.types import Finish, Passage, Question, Search, Status, Step
from src_data.annotated_teacher import decompose
from src_data.annotated_teacher.decomposition import Decomposition, Kind
from src_data.annotated_teacher.gather import NOT_FOUND
from src_data.annotated_teacher.teacher import DecompositionTeacher, next_step
from src_infer.episode import Episode, Limits, Observation, run_episode

MILL = Passage(
    "m", "Quill Mill", "Quill Mill\nQuill Mill is a watermill. It lies in Marrow County. It burnt."
)
PAINTER = Passage("p", "Orla Venn", "Orla Venn\nOrla Venn was a painter of Quill Mill.")
OTHER = Passage("o", "Tarn Hall", "Tarn Hall\nTarn Hall is a manor in Marrow County.")
ASKED = Question(
    "q1",
    "In which county lies the mill on the best known picture of Orla?",
    ("Marrow County",),
    meta={"dataset": "hotpotqa", "type": "bridge", "supporting_titles": ["Orla Venn", "Quill Mill"]},
)


def run(asked: Question, found: dict[str, Sequence[Passage]]) -> Episode:
    async def search(query: str, _: Sequence[Step]) -> Observation:
        passages = tuple(found.get(query, (OTHER,)))
        return Observation(passage_block(passages, view=PassageView(300), query=""), passages)

    writer = DecompositionTeacher().writer(asked, 0)
    return asyncio.run(run_episode(asked.question, writer=writer, search=search, limits=Limits(t_max=6)))


def queries(episode: Episode) -> list[str]:
    return [step.action.query for step in episode.steps if isinstance(step.action, Search)]


def test_titles_alone_make_a_hop_of_the_question_itself() -> None:
    made = decompose(ASKED)
    assert isinstance(made, Decomposition)
    assert (made.kind, [hop.queries for hop in made.hops]) == (Kind.GATHER, [(ASKED.question,)])


def test_a_passage_is_looked_up_once_an_observation_names_it() -> None:
    episode = run(ASKED, {ASKED.question: [OTHER, PAINTER], "Quill Mill": [MILL]})
    assert queries(episode) == [ASKED.question, "Quill Mill"]
    assert "Quill Mill" not in episode.steps[0].thought + ASKED.question
    assert "Orla Venn" in episode.steps[1].thought
    assert episode.steps[-1].action == Finish("Marrow County")
    assert "It lies in Marrow County" in episode.steps[-1].thought
    assert episode.status is Status.FINISHED


def test_one_search_is_enough_when_it_brings_both_passages() -> None:
    episode = run(ASKED, {ASKED.question: [PAINTER, MILL]})
    assert queries(episode) == [ASKED.question]
    assert episode.steps[-1].action == Finish("Marrow County")


def test_the_answer_of_another_passage_does_not_count() -> None:
    episode = run(ASKED, {ASKED.question: [OTHER, PAINTER], "Quill Mill": [OTHER]})
    assert queries(episode) == [ASKED.question, "Quill Mill"]
    assert episode.steps[-1].action == Finish(NOT_FOUND)


def test_a_title_that_nothing_names_is_never_asked_for() -> None:
    episode = run(ASKED, {ASKED.question: [OTHER]})
    assert queries(episode) == [ASKED.question]
    assert episode.steps[-1].action == Finish(NOT_FOUND)


def test_a_yes_or_no_waits_for_both_sides_and_quotes_them() -> None:
    both = Question(
        "q2",
        "Do Quill Mill and Tarn Hall exist today?",
        ("yes",),
        meta={"type": "comparison", "supporting_titles": ["Quill Mill", "Tarn Hall"]},
    )
    episode = run(both, {both.question: [OTHER], "Quill Mill": [MILL]})
    assert queries(episode) == [both.question, "Quill Mill"]
    told = episode.steps[-1].thought
    assert "Tarn Hall is a manor" in told and "Quill Mill is a watermill" in told
    assert episode.steps[-1].action == Finish("yes")


@given(
    st.lists(st.lists(st.sampled_from([MILL, PAINTER, OTHER]), max_size=3).map(tuple), min_size=1, max_size=5)
)
def test_whatever_is_observed_every_name_was_seen_before_it_is_used(seen: list[tuple[Passage, ...]]) -> None:
    made = decompose(ASKED)
    assert isinstance(made, Decomposition)
    steps: list[Step] = []
    known = ASKED.question
    for n, passages in enumerate(seen, start=1):
        thought, action = next_step(made, steps, key=f"k{n}", chain=0)
        for name in ("Quill Mill", "Marrow County", "Tarn Hall"):
            assert name not in f"{thought} {action}" or name in known
        if isinstance(action, Finish):
            break
        text = passage_block(passages, view=PassageView(300), query="")
        steps.append(Step(n, thought, action, observation=text, passages=passages))
        known += text
