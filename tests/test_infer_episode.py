"""The loop: how each ending comes about, what is kept, and that every token is counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import ContextFullError, ModelError, RetrieverError
from src_core.llm import Completion
from src_core.protocols.rearag import ReaRag, parse_step, render_step
from src_core.protocols.records import FUNCTIONS, ParsedStep, ParseError, PromptStyle
from src_core.types import Finish, Passage, Search, Status, Step, Usage
from src_infer.episode import Episode, Limits, Observation, StepWriter, allowed_functions, run_episode
from src_infer.truncation import fit_turns

CALL = Usage(1, 10, 5)
READ = Usage(1, 100, 1)


@dataclass
class World(StepWriter):
    """Replies in order (an exception is raised), and what was asked."""

    replies: Sequence[str | Exception]
    search_error: Exception | None = None
    asked: list[dict[str, object]] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)
    printed: list[Step] = field(default_factory=list)

    async def generate(
        self, question: str, steps: Sequence[Step], *, n: int, attempt: int, functions: Sequence[str]
    ) -> Completion:
        reply = self.replies[len(self.asked)]
        self.asked.append({"n": n, "attempt": attempt, "functions": tuple(functions), "steps": len(steps)})
        if isinstance(reply, Exception):
            raise reply
        return Completion(reply, "stop", CALL)

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        return parse_step(reply.text)

    async def search(self, query: str, steps: Sequence[Step]) -> Observation:
        if self.search_error and len(self.searched) == 1:
            raise self.search_error
        self.searched.append(query)
        return Observation(f"about {query}", (Passage(query, "", query),), READ)

    def run(self, limits: Limits | None = None) -> Episode:
        return asyncio.run(
            run_episode(
                "Q?",
                writer=self,
                search=self.search,
                limits=limits or Limits(),
                on_step=self.printed.append,
            )
        )


def ask(n: int, query: str) -> str:
    return render_step(n, f"thought {n}", Search(query))


def end(n: int, answer: str = "A") -> str:
    return render_step(n, f"thought {n}", Finish(answer))


def test_an_episode_ends_with_finish() -> None:
    world = World([ask(1, "a"), ask(2, "b"), end(3)])
    episode = world.run()
    assert episode.status is Status.FINISHED
    assert [step.action for step in episode.steps] == [Search("a"), Search("b"), Finish("A")]
    assert [step.observation for step in episode.steps] == ["about a", "about b", None]
    assert [step.passages[0].id for step in episode.steps[:2]] == ["a", "b"]
    assert [step.n for step in episode.steps] == [1, 2, 3]
    assert tuple(world.printed) == episode.steps
    assert episode.usage == Usage(5, 230, 17)
    assert episode.usage == sum((step.usage for step in episode.steps), Usage())


def test_a_draft_is_told_before_its_search_and_the_step_after_it() -> None:
    world = World([ask(1, "a"), "no step", ask(2, "b"), end(3)], search_error=RetrieverError("down"))
    told: list[tuple[str, int, str | None, int]] = []

    def tell(kind: str) -> Callable[[Step], None]:
        return lambda step: told.append((kind, step.n, step.observation, len(world.searched)))

    episode = asyncio.run(
        run_episode(
            "Q?",
            writer=world,
            search=world.search,
            limits=Limits(),
            on_draft=tell("draft"),
            on_step=tell("step"),
        )
    )
    assert told == [("draft", 1, None, 0), ("step", 1, "about a", 1), ("draft", 2, None, 1)]
    assert episode.status is Status.RETRIEVER_ERROR


def test_the_cap_on_steps_ends_the_loop_with_what_was_gathered() -> None:
    episode = World([ask(n, f"q{n}") for n in range(1, 10)]).run(Limits(t_max=3))
    assert episode.status is Status.CAPPED_THEN_ANSWERED
    assert len(episode.steps) == 3


def test_malformed_replies_are_retried_within_the_budget_of_their_step() -> None:
    world = World(["nonsense", "Action 1: {", ask(1, "a"), "nonsense", "nonsense", end(2)])
    episode = world.run(Limits(step_tries=3))
    assert episode.status is Status.FINISHED
    assert [step.parse_failures for step in episode.steps] == [2, 2]
    assert [row["attempt"] for row in world.asked] == [0, 1, 2, 0, 1, 2]
    assert tuple(code for code, _ in episode.malformed) == (
        "no_action",
        "unknown_function",
        "no_action",
        "no_action",
    )
    assert episode.steps[0].usage == Usage(4, 130, 16)
    assert episode.usage == Usage(7, 160, 31)


def test_a_step_that_stays_malformed_ends_the_loop() -> None:
    world = World([ask(1, "a"), "x", "y"])
    episode = world.run(Limits(step_tries=2))
    assert episode.status is Status.MALFORMED_THEN_ANSWERED
    assert len(episode.steps) == 1
    assert tuple(code for code, _ in episode.malformed) == ("no_action", "no_action")
    assert episode.usage == Usage(4, 130, 16)  # the refused replies cost too


def test_only_the_first_step_of_a_reply_is_executed() -> None:
    both = ask(1, "a") + "\nObservation 1: invented\n" + end(2, "wrong")
    world = World([both, end(2)])
    episode = world.run()
    assert world.searched == ["a"]
    assert episode.steps[1].action == Finish("A")
    assert "dropped_text_after_step" in episode.steps[0].parse_fixes


def test_a_wrong_step_number_is_mended() -> None:
    episode = World([ask(4, "a"), end(2)]).run()
    assert episode.steps[0].n == 1
    assert "renumbered" in episode.steps[0].parse_fixes


def test_a_repeated_query_is_answered_with_a_notice_and_searched_once() -> None:
    world = World([ask(1, "Who is A?"), ask(2, "who is a"), end(3)])
    episode = world.run()
    assert world.searched == ["Who is A?"]
    assert episode.steps[1].repeated
    assert "about Who is A?" in (episode.steps[1].observation or "")
    assert "already asked" in (episode.steps[1].observation or "")
    assert episode.steps[1].passages == episode.steps[0].passages
    assert episode.usage == Usage(4, 130, 16)


def test_repeats_end_the_permission_to_search_and_then_the_loop() -> None:
    world = World([ask(n, "same") for n in range(1, 9)])
    episode = world.run(Limits(max_repeats=2))
    assert [row["functions"] for row in world.asked] == [FUNCTIONS] * 3 + [("finish",)]
    assert episode.status is Status.CAPPED_THEN_ANSWERED
    assert len(episode.steps) == 4


def test_the_token_budget_ends_the_loop_before_the_next_step() -> None:
    world = World([ask(n, f"q{n}") for n in range(1, 9)])
    episode = world.run(Limits(max_tokens=200))
    assert episode.status is Status.BUDGET_THEN_ANSWERED
    assert len(episode.steps) == 2
    assert episode.usage.total_tokens == 232


@pytest.mark.parametrize(
    ("steps", "n", "limits", "allowed"),
    [
        (0, 1, Limits(), FUNCTIONS),
        (0, 1, Limits(min_searches=1), ("search", "direct_answer")),
        (1, 2, Limits(min_searches=1), FUNCTIONS),
        (1, 2, Limits(min_searches=3), ("search", "direct_answer")),
        (1, 2, Limits(t_max=2, min_searches=3), ("finish",)),
        (0, 1, Limits(max_repeats=0), FUNCTIONS),
    ],
)
def test_allowed_functions(steps: int, n: int, limits: Limits, allowed: tuple[str, ...]) -> None:
    made = [Step(k + 1, "", Search(f"q{k}"), "o") for k in range(steps)]
    assert allowed_functions(made, n=n, limits=limits) == allowed


def test_a_model_error_keeps_earlier_steps_and_what_they_cost() -> None:
    world = World([ask(1, "a"), "nonsense", ModelError("gone")])
    episode = world.run()
    assert (episode.status, episode.error) == (Status.MODEL_ERROR, "gone")
    assert [step.action for step in episode.steps] == [Search("a")]
    assert episode.usage == Usage(3, 120, 11)
    assert tuple(code for code, _ in episode.malformed) == ("no_action",)


def test_a_conversation_that_outgrows_the_context_is_still_answered() -> None:
    episode = World([ask(1, "a"), ContextFullError("full")]).run()
    assert (episode.status, episode.error) == (Status.BUDGET_THEN_ANSWERED, None)
    assert [step.action for step in episode.steps] == [Search("a")]


def test_a_retriever_error_keeps_earlier_steps_and_what_they_cost() -> None:
    world = World([ask(1, "a"), ask(2, "b")], search_error=RetrieverError("down"))
    episode = world.run()
    assert (episode.status, episode.error) == (Status.RETRIEVER_ERROR, "down")
    assert [step.action for step in episode.steps] == [Search("a")]
    assert episode.usage == Usage(3, 120, 11)


def test_a_programming_error_is_not_swallowed() -> None:
    with pytest.raises(KeyError):
        World([KeyError("bug")]).run()


OBSERVATION = st.text(st.sampled_from("ab \n."), max_size=900)


@given(st.lists(OBSERVATION, max_size=8), st.integers(0, 4000))
@settings(max_examples=150, deadline=None)
def test_turns_stay_whole_and_in_order_and_fit_or_fail(observations: list[str], room: int) -> None:
    steps = [Step(n, "t", Search(f"q{n}"), text) for n, text in enumerate(observations, start=1)]
    turns = ReaRag(PromptStyle()).turns("Q?", steps)
    before = [dict(turn) for turn in turns]
    try:
        fitted = fit_turns(turns, max_chars=room)
    except ModelError as error:
        assert "does not fit" in str(error)
        least = sum(
            min(len(turn["content"]), 60)
            if turn["role"] == "observation"
            else len(turn.get("reasoning") or turn["content"])
            for turn in turns
        )
        assert least > room  # it failed only because nothing more could be cut
        return
    finally:
        assert turns == before
    assert [turn["role"] for turn in fitted] == [turn["role"] for turn in turns]
    assert sum(len(turn.get("reasoning") or turn.get("content") or "") for turn in fitted) <= room
    cut = []
    for old, new in zip(turns, fitted, strict=True):
        if old["role"] != "observation":
            assert old == new
        else:
            cut.append(len(new["content"]))
            assert len(new["content"]) <= len(old["content"])
            assert (
                new["content"] == old["content"]
                or new["content"].endswith(" …")
                or len(new["content"]) <= 400
            )


def test_the_oldest_observations_are_shortened_first() -> None:
    steps = [Step(n, "t", Search(f"q{n}"), "word " * 200) for n in (1, 2, 3)]
    turns = ReaRag(PromptStyle()).turns("Q?", steps)
    size = sum(len(turn.get("reasoning") or turn["content"]) for turn in turns)
    texts = [t["content"] for t in fit_turns(turns, max_chars=size - 700) if t["role"] == "observation"]
    assert [len(text) for text in texts] == [pytest.approx(400, abs=9), pytest.approx(400, abs=9), 1000]
    whole = fit_turns(turns, max_chars=size)
    assert whole == turns
