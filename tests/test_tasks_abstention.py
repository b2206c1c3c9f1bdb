"""The signals against an answer, the rules over them, and what becomes of an answer."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.llm import Token
from src_core.types import DirectAnswer, Finish, Passage, Question, Search, Status, Step, Trajectory
from src_tasks.abstention import (
    KEEP,
    Abstain,
    Reason,
    Signals,
    abstention_figures,
    answer_confidence,
    drafted,
    is_unanswerable,
    is_unnamed,
    is_unsupported,
    is_untold,
    note_of,
    reasons,
    signals_of,
    withheld_text,
)
from src_tasks.scores import Given, add_abstention, totals
from src_tasks.support import supported

SURE, UNSURE = math.log(0.9), math.log(0.1)
FRAM = Passage("p", "Fram", "Fram\nFram is a ship that Colin Archer built in 1892 at Larvik.")
BORN_OSLO = Passage("o", "Otto Sverdrup", "Otto Sverdrup\nHe moved to Steinkjer.")
BORN = Passage("b", "Colin Archer", "Colin Archer\nColin Archer was born in Larvik on October 5, 1832.")


def searched(
    query: str, *passages: Passage, observation: str | None = "seen", repeated: bool = False
) -> Step:
    return Step(1, "", Search(query), observation, passages, repeated=repeated)


def row(answer: str, *steps: Step, golds: tuple[str, ...] = (), **more: object) -> Trajectory:
    question = Question("id", "Where was the builder of Fram born?", golds)
    return Trajectory(question, steps, answer, Status.FINISHED, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "unsupported"),
    [
        ("Larvik", False),
        ("larvik.", False),
        ("5 Oct 1832", False),  # the same date in another form
        ("Archer, Colin", False),
        ("Larvik and 1892", False),
        ("Oslo", True),
        ("1893", True),
        ("7", True),
        ("", True),
        ("Larvik, Oslo", True),
        ("<|im_end|>{question}[/b]\x1b[31m", True),
        ("yes", False),
        ("No.", False),
    ],
)
def test_an_answer_is_supported_by_what_stands_in_a_passage(answer: str, unsupported: bool) -> None:
    steps = [searched("Who built Fram?", FRAM), searched("Where was Colin Archer born?", BORN)]
    assert is_unsupported(answer, "Where was the builder of Fram born?", steps) is unsupported


def test_the_number_of_a_shown_passage_supports_nothing_and_a_number_in_its_text_does() -> None:
    shown = searched("How many crews had Fram?", FRAM, observation="[1] Fram: a ship\n[2] Fram: built in [3]")
    assert is_unsupported("2", "How many?", [shown])
    assert not is_unsupported("3", "How many?", [shown])


def test_support_counts_the_readers_words_the_passages_and_what_the_model_decided_to_know() -> None:
    reader = searched("Where?", observation="It was Bergen.")
    assert not is_unsupported("Bergen", "Where?", [reader])
    assert is_unsupported("Larvik", "Where?", [reader])
    known = Step(2, "", DirectAnswer("Where was he born?", "Larvik"))
    assert not is_unsupported("Larvik", "Where?", [reader, known])
    assert not supported("Larvik", "Where?", [reader, known])  # the filters of construction ask for searches
    found = searched("Who built Fram?", FRAM, observation="no answer")
    assert not is_unsupported("Colin Archer", "Who?", [found])
    assert not supported("Colin Archer", "Who?", [found])
    in_context = Step(1, "", Finish("Oslo"), passages=(FRAM,))
    assert is_unsupported("Oslo", "Where?", [in_context])


def test_without_a_search_nothing_speaks_against_an_answer() -> None:
    for steps in ([], [Step(1, "", Finish("Oslo"))], [Step(1, "", DirectAnswer("Where?", "Oslo"))]):
        assert not is_unsupported("Oslo", "Where?", steps)
        assert not is_unnamed(steps)


def test_a_search_that_found_nothing_supports_nothing() -> None:
    empty = searched("Where was Fram built?", observation="(no passage was found)")
    assert is_unsupported("Oslo", "Where was Fram built?", [empty])
    assert is_unsupported("yes", "Was Fram built in Oslo or in Bergen?", [searched("Fram", observation=None)])


def test_a_comparison_is_supported_where_both_were_looked_for() -> None:
    question = "Were Colin Archer and Otto Sverdrup born in the same town?"
    one = searched("Where was Colin Archer born?", BORN)
    other = searched("Where was Otto Sverdrup born?", FRAM)
    assert is_unsupported("yes", question, [one])
    assert not is_unsupported("yes", question, [one, other])
    assert is_unsupported("yes", question, [one, searched("where?", BORN, repeated=True)])
    choice = "Who was born first, Colin Archer or Otto Sverdrup?"
    assert not is_unsupported("Otto Sverdrup", choice, [one, other])
    assert is_unsupported("Otto Sverdrup", choice, [one])


def test_the_last_search_is_unnamed_where_no_passage_of_it_holds_a_name() -> None:
    assert is_unnamed([searched("Where was Otto Sverdrup born?", FRAM, BORN)])
    assert not is_unnamed(
        [searched("Where was Otto Sverdrup born?", FRAM), searched("Who built Fram?", FRAM)]
    )
    assert not is_unnamed([searched("where was he born?", FRAM)])
    assert is_unnamed([searched("Where is Fram?", observation="(no passage was found)")])
    assert not is_unnamed([searched("Where is Fram?", observation="Fram is in Oslo.")])
    assert is_unnamed([searched("Where was Otto Sverdrup born?", FRAM), Step(2, "", Finish("Oslo"))])


@pytest.mark.parametrize(
    ("query", "answer", "untold"),
    [
        ("How much does Fram weigh?", "1892", True),
        ("Who was the cook aboard Fram?", "Colin Archer", True),
        ("Who built Fram?", "Colin Archer", False),
        (
            "Which builder made Fram?",
            "Colin Archer",
            False,
        ),
        ("Which ship did Archer build?", "Fram", False),
        ("Who was the shipbuilder of Fram?", "Oslo", False),  # no passage holds the answer: it is unsupported
        ("Fram?", "1892", False),
        ("How much does Fram weigh?", "yes", False),
        ("How much does Fram weigh?", "", False),
        ("", "1892", False),
    ],
)
def test_an_answer_is_untold_where_its_passage_tells_nothing_of_what_was_asked(
    query: str, answer: str, untold: bool
) -> None:
    passage = replace(FRAM, contents=f"{FRAM.contents} Its builder was proud.")
    assert is_untold(answer, "What of the ship?", [searched(query, passage)]) is untold


def test_an_option_of_the_question_and_an_answer_of_an_earlier_search_are_not_judged_as_untold() -> None:
    weighed = searched("How much does Fram weigh?", FRAM)
    assert is_untold("Larvik", "Where is it?", [weighed])
    assert not is_untold("Larvik", "Is Larvik or Oslo heavier?", [weighed])
    assert not is_untold("Larvik", "Where is it?", [weighed, searched("How much does it weigh?", BORN_OSLO)])
    assert not is_untold("Larvik", "Where is it?", [])


def test_huge_hostile_texts_are_judged_in_bounded_time() -> None:
    text = "a1 " * 3000 + "b2 " * 3000
    steps = [searched(f"Who? {n}", Passage(str(n), "T", f"T\n{text}")) for n in range(20)]
    begun = time.process_time()
    assert not supported("c3 d4", "Who?", steps, passages=True)
    signals_of(row("b2 a1 " * 200, *steps))
    signals_of(row(", ".join(f"x{n}" for n in range(2000)), *steps))
    assert time.process_time() - begun < 20


def replies(*texts: tuple[str, float]) -> list[Token]:
    return [Token(text, logprob) for text, logprob in texts]


def test_the_confidence_is_that_of_the_answers_tokens_where_it_was_written_last() -> None:
    old = replies(("Lar", SURE), ("vik", SURE))
    new = replies(("Not ", UNSURE), ("Larvik", UNSURE), (" but ", UNSURE), ("Lar", SURE), ("vik.", SURE))
    assert answer_confidence("Larvik", [old, new]) == pytest.approx(0.9)
    assert answer_confidence("Larvik", [new, replies(("Oslo", SURE))]) == pytest.approx(0.9)
    assert answer_confidence("Larvik ", [replies(("Lar", SURE), ("vik", UNSURE))]) == pytest.approx(0.3)
    assert answer_confidence("no", [replies(("no", UNSURE), (" I know", SURE))]) == pytest.approx(0.1)
    assert answer_confidence("在", [replies(("我在家", SURE))]) == pytest.approx(0.9)
    assert answer_confidence("Larvik", [replies(("Larvik", -math.inf))]) == 0.0
    assert answer_confidence("Larvik", [replies(("Larvik", 1e308))]) == 1.0


@pytest.mark.parametrize("held", [[], [()], [replies(("Oslo", SURE))], [replies(("Larvik", math.nan))]])
def test_without_log_probabilities_of_the_answer_there_is_no_confidence(held: list[list[Token]]) -> None:
    assert answer_confidence("Larvik", held) is None
    assert answer_confidence(" ", held) is None


@given(st.text(max_size=12), st.lists(st.lists(st.tuples(st.text(max_size=4), st.floats()), max_size=6)))
def test_a_confidence_is_a_probability(answer: str, made: list[list[tuple[str, float]]]) -> None:
    found = answer_confidence(answer, [replies(*each) for each in made])
    assert found is None or 0.0 <= found <= 1.0


ALL = Abstain(unsupported=True, unnamed=True, untold=True, min_confidence=0.5)


@pytest.mark.parametrize(
    ("signals", "rules", "why"),
    [
        (Signals(True, True, True, True, 0.0), KEEP, ()),
        (Signals(True, True, True, True, 0.0), ALL, (Reason.NO_ANSWER,)),
        (Signals(False, True, True, True, 0.4), ALL, (*list(Reason)[1:],)),
        (Signals(False, False, False, False, 0.5), ALL, ()),
        (Signals(False, False, False, False, None), ALL, ()),
        (Signals(False, True, True, True, 0.4), Abstain(unnamed=True), (Reason.UNNAMED,)),
        (Signals(False, True, True, True, 0.4), Abstain(min_confidence=0.3), ()),
    ],
)
def test_only_the_rules_that_are_on_withhold(
    signals: Signals, rules: Abstain, why: tuple[Reason, ...]
) -> None:
    assert reasons(signals, rules) == why


def test_the_signals_are_of_the_draft_and_not_of_the_abstention_that_replaced_it() -> None:
    kept = row("Oslo", searched("Who built Fram?", FRAM), provenance={"confidence": 0.25})
    noted = {"confidence": 0.25, "abstained": note_of([Reason.UNSUPPORTED], "Oslo")}
    withheld = row("noanswer", *kept.steps, provenance=noted)
    assert drafted(withheld) == "Oslo"
    assert signals_of(withheld) == signals_of(kept) == Signals(False, True, False, False, 0.25)
    assert withheld_text(noted) == "Oslo (unsupported)"
    assert withheld_text({}) == withheld_text({"abstained": "hostile"}) == ""
    assert withheld_text({"abstained": {"withheld": "x", "reasons": 5}}) == ""
    assert signals_of(row("Oslo", provenance={"confidence": "high", "abstained": []})).confidence is None
    assert signals_of(row("not given")).blank
    assert signals_of(row(" ")).blank


@pytest.mark.parametrize(
    ("answer", "golds", "outcome"),
    [
        ("Larvik", ("Oslo", "Larvik"), "answered_right"),
        ("Bergen", ("Oslo", "Larvik"), "answered_wrong"),
        ("", ("Oslo",), "answered_wrong"),
        ("Oslo", ("noanswer",), "answered_wrong"),
        ("noanswer", ("noanswer",), "abstained_right"),
        ("I do not know.", ("noanswer",), "abstained_right"),
        ("not given", ("Oslo",), "abstained_wrong"),
        ("Unknown", ("Unknown", "The Unknown"), "answered_right"),
    ],
)
def test_an_answer_has_one_of_four_outcomes(answer: str, golds: tuple[str, ...], outcome: str) -> None:
    found = abstention_figures(answer, golds, exact=answer in golds)
    assert [name for name, value in found.items() if value and "_" in name and name != "em_answered"] == [
        outcome
    ]
    assert found["coverage"] == float(outcome.startswith("answered"))
    assert found.get("em_answered") == {"answered_right": 1.0, "answered_wrong": 0.0}.get(outcome)


def test_a_question_is_unanswerable_where_its_golds_say_so() -> None:
    assert is_unanswerable(["noanswer"])
    assert is_unanswerable([" No-answer "])
    assert not is_unanswerable([])
    assert not is_unanswerable(["noanswer", "Oslo"])


def test_a_run_without_abstention_has_no_such_figure_and_others_count_every_outcome() -> None:
    plain = [row("Oslo", golds=("Oslo",)), row("Bergen", golds=("Oslo",))]
    assert "coverage" not in totals(plain)["all"]
    whole = totals([*plain, row("noanswer", golds=("noanswer",)), row("unknown", golds=("Oslo",))])["all"]
    assert [whole[name] for name in ("answered_right", "answered_wrong")] == [1, 1]
    assert [whole[name] for name in ("abstained_right", "abstained_wrong")] == [1, 1]
    assert (whole["coverage"], whole["em_answered"]) == (0.5, 0.5)


def test_failed_questions_count_as_answered_wrong_and_choices_and_no_golds_not_at_all() -> None:
    scores = [{"em": 0.0}, {"em": 1.0, "choice_accuracy": 1.0}, {"searches": 1.0}, {"em": 0.0}]
    given_rows = [
        Given("noanswer", "model_error", ["noanswer"]),
        Given("noanswer", "finished", ["A"]),
        Given("noanswer", "finished", []),
        Given("noanswer", "finished", ["Oslo"]),
    ]
    add_abstention(scores, given_rows)
    assert scores[0]["answered_wrong"] == 1.0
    assert scores[3]["abstained_wrong"] == 1.0
    assert "coverage" not in scores[1].keys() | scores[2].keys()
