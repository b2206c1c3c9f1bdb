"""The decomposition teacher: hops from every annotation, trajectories that react to what they observe."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.types import Finish, Passage, Question, Search, Status, Step
from src_data.annotated_teacher import decompose
from src_data.annotated_teacher.decomposition import (
    Decomposition,
    Kind,
    NoDecomposition,
    as_clause,
    as_question,
    references,
    resolve,
)
from src_data.annotated_teacher.mentions import find_mention, shown_part
from src_data.annotated_teacher.teacher import NOT_FOUND, DecompositionTeacher, next_step, replay
from src_data.annotated_teacher.thought_templates import final_thought
from src_infer.episode import Episode, Limits, Observation, run_episode
from src_tasks.readers.rows import SubQuestion, decomposition_meta


def question(text: str, answers: Sequence[str], **meta: Any) -> Question:
    return Question("q1", text, tuple(answers), meta=meta)


GRANDFATHER = question(
    "Who is the paternal grandfather of Ada Brook?",
    ["Carl Brook"],
    type="inference",
    evidences=[["Ada Brook", "father", "Ben Brook"], ["Ben Brook", "father", "Carl Brook"]],
)
OLDER = question(
    "Which film has the director who died first, Red Rain (film) or Blue Sun?",
    ["Blue Sun"],
    type="bridge_comparison",
    supporting_titles=["Red Rain (film)", "Blue Sun"],
    evidences=[
        ["Red Rain", "director", "Ann Lee"],
        ["Blue Sun", "director", "Bo Ray"],
        ["Ann Lee", "date of death", "June 9, 1956"],
        ["Bo Ray", "date of death", "1 May 1950"],
    ],
)
CLUB = question(
    "Who scored the first goal of the team that Peter Bone played for?",
    ["Tom Hill", "T. Hill"],
    decomposition=decomposition_meta(
        [
            SubQuestion("Peter Bone >> member of sports team", ("Chelm FC",)),
            SubQuestion("who scored #1 's first goal", ("Tom Hill",)),
        ]
    ),
)
BRIDGE = question(
    "In what month was the woman who published Comedy 24 born?",
    ["July"],
    type="bridge",
    supporting_titles=["Comedy 24", "Rita Moss"],
)
BOTH = question(
    "Were Ann Lee and Bo Ray of the same nationality?",
    ["no"],
    type="comparison",
    supporting_titles=["Ann Lee", "Bo Ray (painter)"],
)
SINGLE = question("who wrote the song red rain", ["Ann Lee"], dataset="nq")


def queries(made: Decomposition | NoDecomposition) -> list[str]:
    assert isinstance(made, Decomposition), made
    return [hop.queries[0] for hop in made.hops]


def test_hops_of_every_annotation() -> None:
    assert queries(decompose(GRANDFATHER)) == ["Who was Ada Brook's father?", "Who was #1's father?"]
    assert queries(decompose(OLDER)) == [
        "Who directed Red Rain (film)?",
        "Who directed Blue Sun?",
        "When did #1 die?",
        "When did #2 die?",
    ]
    assert queries(decompose(CLUB)) == ["Which team did Peter Bone play for?", "Who scored #1's first goal?"]
    assert queries(decompose(BRIDGE)) == [
        "Who is the woman who published Comedy 24?",
        "In what month was #1 born?",
    ]
    assert queries(decompose(BOTH)) == [
        "What is the nationality of Ann Lee?",
        "What is the nationality of Bo Ray?",
    ]
    assert queries(decompose(SINGLE)) == ["Who wrote the song red rain?"]


def test_a_comparison_weighs_its_last_relation() -> None:
    made = decompose(OLDER)
    assert isinstance(made, Decomposition)
    assert (made.kind, made.compared, made.answer) == (Kind.COMPARISON, (3, 4), "Blue Sun")


@pytest.mark.parametrize(
    ("first", "second", "answer", "reason"),
    [
        ("June 9, 1956", "May 1, 1993", "Blue Sun", ", as 1956 is earlier than 1993, the answer is Blue Sun"),
        ("1993", "June 9, 1956", "Blue Sun", ", as 1993 is later than 1956, the answer is Blue Sun"),
        ("May 2, 1956", "June 9, 1956", "Blue Sun", " the answer is Blue Sun"),
        ("Swiss", "swiss", "yes", ", as they are the same, the answer is yes"),
        ("Swiss", "Czech", "no", ", as they are not the same, the answer is no"),
        ("American", "United States", "yes", " the answer is yes"),
    ],
)
def test_a_comparison_gives_its_reason_where_it_is_plain(
    first: str, second: str, answer: str, reason: str
) -> None:
    made = decompose(OLDER)
    assert isinstance(made, Decomposition)
    found = ("Ann Lee", "Bo Ray", first, second)
    thoughts = {final_thought(replace(made, answer=answer), found, key=str(key)) for key in range(20)}
    assert len(thoughts) > 1
    assert all(f"{reason}." in thought for thought in thoughts)


@pytest.mark.parametrize(
    ("asked", "first", "second"),
    [  # the annotation's spelling of a name, and the question's
        ("Who is Dan-Ka Poe's uncle?", ["Dan-ka Poe", "father", "Eli"], ["Eli", "sibling", "Fay"]),
        ("Who is the aunt of Dan Poe?", ["Dan Poe", "mother", "Eve Ray"], ["Eve", "sibling", "Fay"]),
        (
            "Who is the aunt of Dan Poe?",
            ["Dan Poe", "father", "Eli Poe (poet)"],
            ["Eli Poe", "sibling", "Fay"],
        ),
    ],
)
def test_names_of_an_annotation_need_not_be_spelled_alike(
    asked: str, first: list[str], second: list[str]
) -> None:
    made = decompose(question(asked, ["Fay"], evidences=[first, second]))
    assert queries(made) == [f"Who was {first[0]}'s {first[1]}?", "Who was a brother or sister of #1?"]


def test_a_misspelt_subject_is_asked_for_by_its_title() -> None:
    asked = question(
        "Who directed the film Despoinis Eton 39?",
        ["Al Sakel"],
        supporting_titles=["Despoinis eton 39"],
        evidences=[["Despinis eton 39", "director", "Al Sakel"]],
    )
    assert queries(decompose(asked)) == ["Who directed Despoinis eton 39?"]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (
            question("Who is the aunt of Di?", ["M"], evidences=[["Zoe", "sibling", "M"]]),
            "broken_evidence_chain",
        ),
        (question("Why?", ["x"]), "no_annotation"),
        (question("Who?", [], dataset="nq"), "no_answer"),
        (question("Who was it?", ["x"], type="bridge", supporting_titles=["A b"]), "not_two_titles"),
    ],
)
def test_what_gives_no_hops_says_why(asked: Question, reason: str) -> None:
    assert decompose(asked) == NoDecomposition(reason)
    assert DecompositionTeacher().refuses(asked) == reason


def test_the_last_hop_accepts_the_aliases_of_the_question() -> None:
    made = decompose(CLUB)
    assert isinstance(made, Decomposition)
    assert made.hops[-1].answers == ("Tom Hill", "T. Hill")


def test_resolve_and_wording() -> None:
    assert resolve("When did #2 meet #1?", ["A", "B"]) == "When did B meet A?"
    assert references("#1 and #12") == {1, 12}
    with pytest.raises(ValueError, match="refers to hop 2"):
        resolve("#2?", ["A"])
    assert as_question("  who  is it ") == "Who is it?"
    assert as_clause("Who is it?") == "who is it"
    assert as_clause("Of what is it?") == "the answer to “Of what is it?”"
    assert as_question("") == ""


WORLD = {
    "Who directed Red Rain (film)?": "Ann Lee directed Red Rain.",
    "Who directed Blue Sun?": "The passages do not say.",
    "Who is the director of Blue Sun?": "Blue Sun was directed by Bo Ray.",
    "When did Ann Lee die?": "She died on 9 June 1956.",
    "When did Bo Ray die?": "Bo Ray died on 1 May 1950 in Chelm.",
}


def run(asked: Question, answers: dict[str, str], *, chain: int = 0, t_max: int = 15) -> Episode:
    async def search(query: str, steps: Sequence[Step]) -> Observation:
        return Observation(answers.get(query, "The passages do not say."))

    teacher = DecompositionTeacher()
    limits = Limits(t_max=t_max)
    return asyncio.run(
        run_episode(asked.question, writer=teacher.writer(asked, chain), search=search, limits=limits)
    )


def asked_queries(episode: Episode) -> list[str]:
    return [step.action.query for step in episode.steps if isinstance(step.action, Search)]


def test_a_chain_asks_again_when_the_observation_misses_and_never_names_the_unseen() -> None:
    episode = run(OLDER, WORLD)
    assert episode.status is Status.FINISHED
    assert asked_queries(episode) == list(WORLD)
    assert episode.steps[-1].action == Finish("Blue Sun")
    seen = OLDER.question
    for step in episode.steps:
        for name in ("Ann Lee", "Bo Ray", "1956", "1950"):
            assert name not in step.thought + str(step.action) or name in seen, (step.n, name)
        seen += step.observation or ""
    retry, last = episode.steps[2].thought, episode.steps[-1].thought
    assert "the director of Blue Sun" in retry
    assert "he date of death of Ann Lee is June 9, 1956" in last
    assert "Blue Sun" in last


def test_a_chain_gives_up_when_all_wordings_failed() -> None:
    episode = run(GRANDFATHER, {})
    assert episode.steps[-1].action == Finish(NOT_FOUND)
    assert len(set(asked_queries(episode))) == len(asked_queries(episode)) == 3


def test_chains_of_one_question_differ_and_repeat_exactly() -> None:
    first, again, second = run(OLDER, WORLD), run(OLDER, WORLD), run(OLDER, WORLD, chain=1)
    assert [step.thought for step in first.steps] == [step.thought for step in again.steps]
    assert asked_queries(first) != asked_queries(second)


def test_the_cap_ends_a_chain_with_finish() -> None:
    assert run(OLDER, WORLD, t_max=3).steps[-1].action == Finish(NOT_FOUND)


def seen(text: str, *passages: tuple[str, str]) -> list[Step]:
    shown = tuple(Passage(title, title, f"{title}\n{body}") for title, body in passages)
    return [Step(1, "I look.", Search("?"), observation=text, passages=shown)]


def test_an_answer_counts_when_a_supporting_passage_tells_it() -> None:
    made = decompose(BRIDGE)
    assert isinstance(made, Decomposition)
    other, supporting = ("Rita Hay", "She met Rita Moss."), ("Comedy 24", "Published by Rita Moss.")
    assert replay(made, seen("It was Rita Moss.", other)).tries == 1
    assert replay(made, seen("It was Rita Moss.", other, supporting)).found == ("Rita Moss",)
    assert replay(made, seen("It was Rita Moss.")).found == ("Rita Moss",)


def test_a_value_without_annotation_is_a_sentence_of_the_right_passage() -> None:
    made = decompose(BOTH)
    assert isinstance(made, Decomposition)
    film, person = (
        ("Lee", "A film of 1990. It won."),
        ("Ann Lee", "Ann B. Lee (born 1950) is a singer. She won."),
    )
    shown = " ".join(f"[{n}] {title}: {body}" for n, (title, body) in enumerate((film, person), start=1))
    assert replay(made, seen(shown, film, person)).found == ("Ann B. Lee (born 1950) is a singer",)
    assert replay(made, seen("She is French. Really.", film, person)).found == ("She is French",)
    assert replay(made, seen(shown, film)).tries == 1


def test_a_title_is_not_what_a_comparison_weighs() -> None:
    titles = ["Ohio State University", "Alexandria University"]
    asked = question(
        f"Which has more names, {titles[0]} or {titles[1]}?",
        ["x"],
        type="comparison",
        supporting_titles=titles,
    )
    made = decompose(asked)
    assert isinstance(made, Decomposition)
    assert made.kind is Kind.GATHER


def test_a_question_that_is_its_own_query_is_not_repeated_in_the_thoughts() -> None:
    made = decompose(question("John designed the stage for what opera?", ["Don Carlos"], dataset="nq"))
    assert isinstance(made, Decomposition)
    thoughts = [next_step(made, steps, key="k", chain=0)[0] for steps in ([], seen("It was Don Carlos."))]
    assert "stage" not in " ".join(thoughts)
    assert "Don Carlos" in thoughts[1]


def test_a_comparison_without_annotated_values_uses_what_was_said() -> None:
    episode = run(
        BOTH,
        {
            "What is the nationality of Ann Lee?": "Ann Lee is a Welsh painter. She lives in Rhyl.",
            "What is the nationality of Bo Ray?": "Bo Ray is Dutch.",
        },
    )
    assert "Ann Lee is a Welsh painter" in episode.steps[-1].thought
    assert episode.steps[-1].action == Finish("no")


@pytest.mark.parametrize(
    ("text", "values", "found"),
    [
        ("He died on 9 June 1956.", ["June 9, 1956"], "June 9, 1956"),
        ("born 19 Feb. 1913", ["1913"], "1913"),
        ("born in 1913", ["19 February 1913"], None),
        ("on 1956-06-09", ["9 June 1956"], "9 June 1956"),
        ("an Indian film director", ["India"], "India"),
        ("He is from the United States.", ["American"], "American"),
        ("no, it is not", ["NO", "it"], None),
        ("35 stores", ["35"], "35"),
        ("Stanley Hallmark", ["Stanley Hall"], None),
        ("the Beatles!", ["Beatles"], "Beatles"),
        ("June 1956", ["9 June 1956"], None),
        ("9 June 1956", ["June 1956"], "June 1956"),
        ("", ["x"], None),
    ],
)
def test_mentions(text: str, values: list[str], found: str | None) -> None:
    assert find_mention(text, values) == found


@given(st.integers(1, 28), st.integers(0, 11), st.integers(1000, 2025))
def test_a_date_is_found_in_either_order(day: int, month: int, year: int) -> None:
    names = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ]
    forms = [f"{day} {names[month]} {year}", f"{names[month]} {day}, {year}"]
    for one, other in (forms, forms[::-1]):
        assert find_mention(f"It was on {one}.", [other]) == other


def test_every_country_form_leads_back() -> None:
    from src_data.annotated_teacher.countries import demonym_forms

    assert demonym_forms("new zealand") == {"new zealander"}
    assert demonym_forms("south korean") == {"south korea", "korean"}
    assert demonym_forms("dutch") == {"netherlands", "kingdom of netherlands"}
    assert demonym_forms("blue") == frozenset()


def test_what_was_cut_off_a_passage_was_not_observed() -> None:
    passage = Passage("1", "Comedy 24", "Comedy 24\nA magazine of jokes  for all. It was made by Rita Moss.")
    cut = "[1] Comedy 24: A magazine of jokes for all. …\n[2] Rita Hay: She met Rita Moss."
    assert shown_part(passage, cut) == "A magazine of jokes for all."
    assert shown_part(passage, "[1] Rita Hay: She met Rita Moss.") == ""
    assert shown_part(passage, "The passages name Rita Moss.") == passage.contents
    made = decompose(BRIDGE)
    assert isinstance(made, Decomposition)
    step = Step(1, "I look.", Search("?"), observation=cut, passages=(passage,))
    assert replay(made, [step]).tries == 1
