"""Questions made from passages: what patterns read, what is asked, what is left out, and the chains of the
teacher that follow from them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.errors import UserError
from src_core.types import Finish, Passage, Question, Search, Status, Step, Trajectory
from src_data.annotated_teacher import decompose
from src_data.annotated_teacher.decomposition import Decomposition, Kind
from src_data.annotated_teacher.mentions import find_mention
from src_data.annotated_teacher.passage_steps import UNKNOWN
from src_data.annotated_teacher.passage_thoughts import Reading, reason_of
from src_data.annotated_teacher.teacher import DecompositionTeacher
from src_data.filters.filter_trajectory import FilterConfig, filter_trajectory
from src_data.passage_questions.config import Counts, QuestionsConfig
from src_data.passage_questions.descriptions import description_of
from src_data.passage_questions.entities import read_entity
from src_data.passage_questions.facts import facts_of
from src_data.passage_questions.make import Report, make_questions
from src_data.passage_questions.reading import even, pattern
from src_data.passage_questions.relation import all_relations, all_untold
from src_data.passage_questions.values import differ
from src_data.passage_questions.wording import with_subject
from src_infer.episode import Limits, Observation, run_episode
from src_retrieval.toy import ToyRetriever
from src_tasks.readers.sources import read_questions
from src_tasks.support import query_key

CORPUS = {
    "Red Rain (film)": "Red Rain is a 1951 Norwegian drama film directed by Ada Brook and starring Per Holm.",
    "Blue Sun": "Blue Sun is a 1963 Danish comedy film directed by Bo Ray. It was written by Ada Brook.",
    "Green Hill Tale": "Green Hill Tale is a 1972 Norwegian drama film directed by Ada Brook.",
    "Ada Brook": (
        "Ada Brook (born 4 May 1911 in Narvik) was a Norwegian film director. She was married to Carl Stone. "
        "She was a pupil of Ivar Lund."
    ),
    "Bo Ray": "Bo Ray (3 June 1920 – 9 July 1988) was a Danish film director and screenwriter.",
    "Carl Stone": (
        "Carl Stone (2 March 1905 – 8 April 1970) was a Norwegian chemist who discovered brookium in 1931. "
        "He married Ada Brook."
    ),
    "Ivar Lund": "Ivar Lund (1 January 1870 – 2 February 1950) was a Norwegian painter. He died in Oslo.",
    "Per Holm": "Per Holm (born 12 June 1930 in Narvik) is a Norwegian actor.",
    "Old Mill Bridge": "The Old Mill Bridge is a bridge located in Narvik. It was opened on 3 May 1890.",
    "High Arch Bridge": "The High Arch Bridge is a bridge located in Bodø, Norway. It was opened in 1932.",
    "Quiet Song": '"Quiet Song" is a song by Mira Dahl from her 1999 album "Loud Air". It is about a winter.',
    "Tarn": "It begins with no definition at all.",
}
LIMITS = Limits(t_max=8, step_tries=1)


def corpus(folder: Path, passages: dict[str, str] = CORPUS) -> Path:
    path = folder / "corpus.jsonl"
    rows = [
        {"id": f"p{at}", "title": title, "text": text} for at, (title, text) in enumerate(passages.items())
    ]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def make(folder: Path, **settings: Any) -> tuple[Report, list[Question]]:
    chosen = {"excluded_corpora": (), "per_entity": 50, "per_path": 50, **settings}
    config = QuestionsConfig(
        corpus=str(corpus(folder)), out=str(folder / "made.jsonl"), overwrite=True, **chosen
    )
    report = make_questions(config)
    return report, read_questions(config.out, note=lambda _: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Question]:
    return make(tmp_path_factory.mktemp("made"))[1]


def of(made: list[Question], kind: str) -> list[Question]:
    found = [question for question in made if question.meta["type"] == kind]
    assert found, f"no question of kind {kind}"
    return found


def test_every_kind_is_made_and_each_answer_is_in_its_passage(made: list[Question]) -> None:
    kinds = "single comparison yes_no bridge.2 bridge.3 unanswerable.1 unanswerable.2"
    kinds += " described.1 described.2 described.3"
    assert {question.meta["type"] for question in made} == {kind.replace(".", " ") for kind in kinds.split()}
    for question in made:
        hops = question.meta["decomposition"]
        for hop in hops:
            if hop["answers"] != ["noanswer"]:
                passage = f"{hop['title']}: {CORPUS[hop['title']]}"
                assert find_mention(passage, hop["answers"]), hop
                assert hop["sentence"] in even(passage)
        assert question.meta["supporting_titles"] == list(dict.fromkeys(hop["title"] for hop in hops))


def test_a_bridge_leads_from_the_film_to_the_person(made: list[Question]) -> None:
    born = [q for q in of(made, "bridge 2") if q.answers[0] == "Narvik" and "Red Rain" in q.question]
    assert born and all("Narvik" not in question.question for question in born)
    first, second = born[0].meta["decomposition"]
    assert first["answers"] in (["Ada Brook"], ["Per Holm"])
    assert "#1" in second["question"] and second["title"] == first["answers"][0]


def test_a_description_keeps_its_clause_in_the_sub_question(made: list[Question]) -> None:
    for question in of(made, "described 2"):
        first = question.meta["decomposition"][0]
        assert "discovered brookium in 1931" in question.question
        assert "discovered brookium in 1931" in first["question"]
        assert first["answers"] == ["Carl Stone"]


def test_comparisons_are_right(made: list[Question]) -> None:
    for question in of(made, "comparison"):
        first, second = (hop["answers"][0][-4:] for hop in question.meta["decomposition"])
        titles = question.meta["supporting_titles"]
        least = any(word in question.question.lower() for word in ("earlier", "first", "older"))
        right = titles[(int(first) > int(second)) == least]
        assert question.answers[0] == right.removesuffix(" (film)"), question.question


def test_yes_and_no(made: list[Question]) -> None:
    for question in of(made, "yes_no"):
        one, other = (hop["answers"][0] for hop in question.meta["decomposition"])
        assert (question.answers == ("yes",)) == (one == other), question.question


def test_what_a_passage_may_tell_in_other_words_is_not_unanswerable(made: list[Question]) -> None:
    asked = [question.question for question in of(made, "unanswerable 1")]
    assert not any("Ivar Lund" in text and "die" in text for text in asked)
    assert all(question.answers == ("noanswer",) for question in of(made, "unanswerable 2"))


def test_the_same_seed_makes_the_same_file(tmp_path: Path) -> None:
    make(tmp_path)
    first = (tmp_path / "made.jsonl").read_bytes()
    make(tmp_path)
    assert (tmp_path / "made.jsonl").read_bytes() == first
    make(tmp_path, seed=2)
    assert (tmp_path / "made.jsonl").read_bytes() != first


def test_passages_of_scored_questions_and_excluded_titles_are_not_used(tmp_path: Path) -> None:
    scored = tmp_path / "dev.jsonl"
    row = {
        "question": "Who was Ada Brook?",
        "answers": ["a director"],
        "supporting_titles": ["Ada Brook"],
        "gold_ids": [],
    }
    scored.write_bytes(orjson.dumps(row))
    other = tmp_path / "other"
    other.mkdir()
    kept_out = corpus(other, {"Carl Stone": "Carl Stone was a chemist."})
    _, made = make(tmp_path, evaluation_files=(str(scored),), excluded_corpora=(str(kept_out),))
    assert made
    for question in made:
        titles = question.meta["supporting_titles"]
        assert "Ada Brook" not in titles and "Carl Stone" not in titles
        assert "Carl Stone" not in question.question


def test_counts_and_caps_bound_what_is_made(tmp_path: Path) -> None:
    report, made = make(tmp_path, counts=Counts(single=2, bridge_2=1), per_entity=1)
    assert report.kinds["single"] <= 2 and report.kinds["bridge 2"] <= 1
    used = [title for question in made for title in set(question.meta["supporting_titles"])]
    assert len(used) == len(set(used))
    assert report.dropped["enough of it"] > 0


def test_an_existing_file_is_kept_and_a_corpus_without_facts_is_refused(tmp_path: Path) -> None:
    config = QuestionsConfig(corpus=str(corpus(tmp_path)), out=str(tmp_path / "x.jsonl"), excluded_corpora=())
    (tmp_path / "x.jsonl").write_text("mine")
    with pytest.raises(UserError, match="exists"):
        make_questions(config)
    empty = tmp_path / "empty"
    empty.mkdir()
    path = corpus(empty, {"Tarn": "Nothing is said here."})
    with pytest.raises(UserError, match="no question could be made"):
        make_questions(QuestionsConfig(corpus=str(path), out=str(tmp_path / "y.jsonl"), excluded_corpora=()))


def episode(question: Question, passages: dict[str, str] = CORPUS) -> Trajectory:
    """The teacher's trajectory, whose observations list the passages of the toy retriever."""
    toy = ToyRetriever(
        [Passage(f"p{at}", title, f"{title}\n{text}") for at, (title, text) in enumerate(passages.items())]
    )

    async def search(query: str, steps: Any) -> Observation:
        found = tuple(await toy.search(query, 3))
        lines = [f"[{at}] {each.title}: {each.text}" for at, each in enumerate(found, start=1)]
        return Observation("\n".join(lines), found)

    teacher = DecompositionTeacher()
    assert teacher.refuses(question) is None
    writer = teacher.writer(question, 0)
    done = asyncio.run(run_episode(question.question, writer=writer, search=search, limits=LIMITS))
    last = done.steps[-1].action
    answer = last.answer if isinstance(last, Finish) else ""
    return Trajectory(question, done.steps, answer, done.status)


def test_chains_of_every_kind_pass_the_filters_and_name_what_they_read(made: list[Question]) -> None:
    kept = 0
    for question in made:
        trajectory = episode(question)
        assert trajectory.status is Status.FINISHED
        if filter_trajectory(trajectory, FilterConfig()).kept:
            kept += 1
            _check_thoughts(trajectory)
    assert kept >= 0.8 * len(made)


def _check_thoughts(trajectory: Trajectory) -> None:
    question, steps = trajectory.question, trajectory.steps
    hops = question.meta["decomposition"]
    if hops[-1]["answers"] == ["noanswer"]:
        assert trajectory.answer == UNKNOWN and len(steps) == len(hops) + 2
        return
    last = steps[-1].thought
    assert hops[-1]["title"].removesuffix(" (film)") in last
    assert find_mention(last, hops[-1]["answers"])
    assert "{" not in "".join(step.thought for step in steps)


def test_without_its_passage_a_question_ends_unanswered_and_is_rejected(made: list[Question]) -> None:
    question = of(made, "bridge 2")[0]
    title = question.meta["decomposition"][1]["title"]
    trajectory = episode(question, {key: text for key, text in CORPUS.items() if key != title})
    assert not filter_trajectory(trajectory, FilterConfig()).kept


def test_an_abstention_passes_only_where_nothing_tells_it(made: list[Question]) -> None:
    steps = (
        Step(
            1, "I look this up.", Search("Who was the cook of Red Rain?"), observation="[1] Red Rain: a film"
        ),
        Step(2, "No passage tells it.", Finish(UNKNOWN)),
    )
    untold = Question("u", "Who was the cook of Red Rain?", ("noanswer",))
    told = Question("t", "Who was the cook of Red Rain?", ("Ada Brook",))
    for question, kept in ((untold, True), (told, False)):
        trajectory = Trajectory(question, steps, UNKNOWN, Status.FINISHED)
        assert filter_trajectory(trajectory, FilterConfig()).kept is kept
    open_gold = Trajectory(Question("n", "Who?", ()), steps, UNKNOWN, Status.FINISHED)
    assert not filter_trajectory(open_gold, FilterConfig(need_gold=False)).kept


def test_the_kinds_of_decompositions(made: list[Question]) -> None:
    wanted = {
        "single": Kind.SINGLE, "bridge 2": Kind.CHAIN, "described 2": Kind.CHAIN,
        "comparison": Kind.COMPARISON, "yes_no": Kind.COMPARISON,
        "unanswerable 1": Kind.ABSTAIN, "unanswerable 2": Kind.ABSTAIN,
    }  # fmt: skip
    for kind, expected in wanted.items():
        for question in of(made, kind):
            plan = decompose(question)
            assert isinstance(plan, Decomposition) and plan.quoted and plan.kind is expected


@pytest.mark.parametrize(
    ("first", "second", "answer", "reason"),
    [
        ("3 May 1890", "1932", "A", "A with 1890 is earlier than B with 1932"),
        ("3 May 1890", "1932", "B", "B with 1932 is later than A with 1890"),
        ("1932", "3 May 1890", "no", "B with 1890 is earlier than A with 1932"),
        (
            "19 October 1954",
            "31 July 1954",
            "B",
            "B with 31 July 1954 is earlier than A with 19 October 1954",
        ),
        ("19 October 1954", "31 July 1954", "yes", "both are the same"),
        ("October 19, 1954", "1954", "A", "October 19, 1954 and 1954 are not the same"),
        ("1,024", "403", "B", "B with 403 is less than A with 1,024"),
        ("1,024 metres", "403 metres", "A", "A with 1,024 metres is more than B with 403 metres"),
        ("Narvik", "narvik", "yes", "both are the same"),
        ("Narvik", "Bodø", "no", "Narvik and Bodø are not the same"),
    ],
)
def test_reasons_of_comparisons(first: str, second: str, answer: str, reason: str) -> None:
    one, other = (Reading(name, "", "", "", value) for name, value in zip("AB", (first, second), strict=True))
    assert reason_of(one, other, answer) == reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("X Y is a 1950 film directed by Ada Brook.", "Ada Brook"),
        (
            "X Y is a film written and directed by American director Ada B. Brook, starring Per Holm.",
            "Ada B. Brook",
        ),
        ("X Y is a film directed by Ada Brook and Bo Ray.", ""),
        ("X Y is a film directed by Ada Brook, Bo Ray and Per Holm.", ""),
        ("X Y is a film directed by Ada Brook in collaboration with Bo Ray.", ""),
        ("X Y is a film about a play directed by Ada Brook.", ""),
        ("X Y is a film. Her play was directed by Ada Brook.", ""),
        ("X Y is a film. It was directed by Ada Brook. The film was directed by Bo Ray.", ""),
        ("X Y is a film directed by Blue Pictures.", ""),
        ("X Y( also Z) is a film directed by Ada Brook and produced by Bo Ray.", "Ada Brook"),
    ],
)
def test_one_value_or_none(text: str, value: str) -> None:
    entity = read_entity("p", "X Y", text)
    assert entity is not None
    found = [fact.value for fact in facts_of(entity) if fact.relation.name == "director"]
    assert found == ([value] if value else [])


def test_every_relation_can_be_asked_in_two_wordings_and_its_patterns_compile() -> None:
    names = [relation.name for relation in all_relations()]
    assert len(names) == len(set(names))
    for relation in all_relations():
        asks = [ask for ask, _ in relation.forms if "{" not in ask.replace("{s}", "")]
        assert len({query_key(ask) for ask in asks}) > 1, relation.name
        assert all("{s}" in ask and ask.endswith("?") for ask, _ in relation.forms)
        assert all("{s}" in noun for _, noun in relation.forms if noun)
        for source in (*relation.lead, *relation.body, *relation.brackets):
            assert "v" in pattern(source).groupindex, relation.name
    for each in all_untold():
        assert query_key(each.question) != query_key(each.again), each.question


def test_a_clause_that_is_true_of_many_is_no_description() -> None:
    def phrase(text: str) -> str:
        entity = read_entity("p", "Ada Brook", text)
        found = description_of(entity) if entity else None
        return found.phrase if found else ""

    assert phrase("Ada Brook was a Danish cricketer who played first-class cricket for Kent in 1926.") == ""
    assert phrase("Ada Brook was a Danish chemist who discovered many things.") == ""
    assert phrase("Ada Brook was a Danish chemist who discovered gallium in Paris in 1875.") == (
        "the Danish chemist who discovered gallium in Paris in 1875"
    )


def test_a_subject_with_a_clause_may_be_parted() -> None:
    subject = "the chemist who discovered gallium"
    assert with_subject("Where was {s} born?", subject, extraposed=True) == (
        "Where was the chemist born who discovered gallium?"
    )
    assert with_subject("Where was {s} born?", "Ada Brook", extraposed=True) == "Where was Ada Brook born?"


_WORDS = st.text(alphabet="abdeiklmnorstu", min_size=4, max_size=8).map(str.title)
_NAMES = st.tuples(_WORDS, _WORDS).map(" ".join)
_DATES = st.dates().map(lambda day: f"{day.day} May {1900 + day.year % 100}")


@given(_NAMES, _NAMES, _DATES)
def test_names_and_dates_are_read_as_they_are_written(film: str, person: str, day: str) -> None:
    entity = read_entity("p", film, f"{film} is a film directed by {person}. It was opened on {day}.")
    assert entity is not None and entity.kind == "film"
    found = {fact.relation.name: fact.value for fact in facts_of(entity)}
    assert found.get("director") in (person, None) and (found.get("director") or person == film)


@given(st.text(max_size=300), st.text(max_size=40))
def test_any_text_is_read_without_error(text: str, title: str) -> None:
    even(text)
    entity = read_entity("p", title, text)
    for fact in facts_of(entity) if entity else ():
        assert fact.value in fact.sentence


@given(st.integers(1000, 2099), st.integers(1000, 2099))
def test_years_compare_as_numbers(one: int, other: int) -> None:
    assert differ(f"3 May {one}", str(other)) == (one > other) - (one < other)


@pytest.mark.parametrize("seed", range(5))
def test_questions_that_a_later_sentence_answers_come_first(tmp_path: Path, seed: int) -> None:
    none = dict.fromkeys(Counts.__dataclass_fields__, 0)
    (question,) = make(tmp_path, counts=Counts(**{**none, "single": 1}), seed=seed)[1]
    (hop,) = question.meta["decomposition"]
    text = CORPUS[hop["title"]]
    assert hop["sentence"] in text and not text.startswith(hop["sentence"])
