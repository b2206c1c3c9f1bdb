"""Shared by the multi-step methods: their notation as a protocol, and the conversion of an episode to a row.

`run_episode` is the loop for all of them, so that limits, malformed replies, repeated queries and boundary
errors are handled in the same way. Messages are plain turns of user and assistant.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any

from src_core.errors import ModelError
from src_core.malformed import malformed_notes
from src_core.passage_view import NO_PASSAGE, passage_block, passage_lines
from src_core.protocols.base import Protocol
from src_core.protocols.records import (
    FUNCTIONS,
    MAX_REPLY,
    Constrain,
    Layout,
    Message,
    ParsedStep,
    ParseError,
    Turn,
)
from src_core.text import fill, fill_some
from src_core.think import join_think
from src_core.types import NO_USAGE, Finish, Passage, Question, Search, Status, Step, Trajectory
from src_infer.episode import Episode, Limits, Observation, SearchFn, StepWriter, run_episode
from src_infer.policy import Policy
from src_infer.prompts import NO_SEARCH, search_blocks
from src_infer.rag_engine import READER_STOPS, ReaderReply, unique_passages
from src_infer.runtime import Runtime
from src_infer.truncation import chat_within_context, size_of, truncation_candidates
from src_tasks.answers import NO_ANSWER, normalize_answer

Turns = Callable[[str, Sequence[Step]], list[Turn]]
"""Question and steps as turns in the published schema."""
Parse = Callable[[str, Sequence[str]], ParsedStep | ParseError]
"""Parses a reply as a step, given the functions that are allowed now. Raises nothing."""

MAX_PASSAGES = 15


class Evidence(StrEnum):
    """The evidence of the final reader: each query with its observation, or all passages."""

    SEARCHES = "searches"
    PASSAGES = "passages"


def no_steps(_text: str, _functions: Sequence[str]) -> ParsedStep | ParseError:
    """The parser of replies that are not steps: always a `ParseError`."""
    return ParseError("no_steps", "such a reply is not a step")


class Prompted(Protocol):
    """The notation of one method: the transcript is inside the user's turn, which no chat template rewrites.

    `turns` gives question and steps in the published schema, of which only observations are shortened to fit
    the context; they fill the slots of `template`: `{question}`, `{context}` (the observations), `{thoughts}`
    (the assistant's turns), `{transcript}` (both, in order) and further `slots`. Where a step has to end the
    episode (`must_answer`), the reply begins with `closing`. `parse` parses a reply, with that beginning, and
    with its think block where `reads_think` says so (some models search while they think).
    """

    name = "prompted"
    layout = Layout.HISTORY_IN_USER_TURN

    def __init__(
        self,
        template: str,
        *,
        turns: Turns,
        parse: Parse = no_steps,
        stops: tuple[str, ...] = READER_STOPS,
        closing: str = "",
        reads_think: bool = False,
        **slots: str,
    ) -> None:
        super().__init__()
        self.stops = stops
        self._template, self._slots = template, slots
        self._make_turns, self._parse = turns, parse
        self._reads_think, self._closing = reads_think, closing

    def render_step(self, step: Step) -> str:
        """The thought; each method writes queries in its own notation (`turns`)."""
        return step.thought

    def turns(self, question: str, steps: Sequence[Step]) -> list[Turn]:
        """See the class."""
        return self._make_turns(question, steps)

    def opening(self, functions: Sequence[str]) -> str:
        """See the class."""
        return self._closing if must_answer(functions) else ""

    def parse(
        self, text: str, *, think: str = "", functions: Sequence[str] = FUNCTIONS
    ) -> ParsedStep | ParseError:
        """See the class."""
        whole = join_think(think, text, compact=True) if self._reads_think else text
        return self._parse(whole[:MAX_REPLY], functions)

    def render_history(self, turns: Sequence[Turn]) -> str:
        """The prompt with its slots filled in."""
        thoughts = [turn["reasoning"] for turn in turns if turn["role"] == "assistant"]
        seen = [turn["content"] for turn in turns if turn["role"] == "observation"]
        both = [turn.get("reasoning") or turn["content"] for turn in turns[1:]]
        return fill_some(
            self._template,
            question=turns[0]["content"],
            context="\n".join(seen) or NO_PASSAGE,
            thoughts=" ".join(thoughts) or "(none)",
            transcript="\n".join(both),
            **self._slots,
        )


def reader_policy(runtime: Runtime, protocol: Protocol, *, logprobs: int = 0) -> Policy:
    """A policy whose model is the answer LLM, with the run's sampling."""
    return replace(
        runtime.policy, model=runtime.reader, protocol=protocol, constrain=Constrain.OFF, logprobs=logprobs
    )


def agent_policy(runtime: Runtime, protocol: Protocol) -> Policy:
    """A policy whose model is the reasoning model, with the notation `protocol`."""
    return replace(runtime.policy, protocol=protocol, constrain=Constrain.OFF)


def must_answer(functions: Sequence[str]) -> bool:
    """Whether a step has to end the episode: it is the last one, or queries were repeated too often."""
    return tuple(functions) == ("finish",)


def user_turn(text: str) -> Turn:
    """The turn that holds the question."""
    return {"role": "user", "content": text}


def assistant_turn(text: str) -> Turn:
    """A turn written by the model."""
    return {"role": "assistant", "reasoning": text}


def observation_turn(text: str) -> Turn:
    """A turn that may be shortened."""
    return {"role": "observation", "content": text}


def all_passages(steps: Sequence[Step]) -> list[Passage]:
    """The passages of all steps, each once, the newest last, at most `MAX_PASSAGES` (IRCoT's own bound)."""
    found = unique_passages([passage for step in steps for passage in step.passages])
    return found[-MAX_PASSAGES:]


def passage_turns(passages: Sequence[Passage], runtime: Runtime, *, query: str) -> list[Turn]:
    """One turn per passage, with the part that matches `query`."""
    return [observation_turn(line) for line in passage_lines(passages, view=runtime.view, query=query)]


def passage_search(runtime: Runtime) -> SearchFn:
    """A search whose observation is the passages themselves; no model reads them."""

    async def search(query: str, _steps: Sequence[Step]) -> Observation:
        passages = await runtime.retrieve(query)
        return Observation(passage_block(passages, view=runtime.view, query=query), passages)

    return search


async def answer_stepwise(
    question: Question,
    runtime: Runtime,
    *,
    writer: StepWriter,
    search: SearchFn,
    initial_query: str = "",
    limits: Limits | None = None,
    answer_from: str = "finish",
    evidence: Evidence = Evidence.SEARCHES,
) -> Trajectory:
    """One episode and its final answer, as a row. Boundary errors become the row's status."""
    episode = run_episode(
        question.question,
        writer=writer,
        search=search,
        limits=limits or runtime.limits,
        on_draft=partial(runtime.on_draft, question) if runtime.on_draft else None,
        on_step=partial(runtime.on_step, question) if runtime.on_step else None,
        initial_query=initial_query,
    )
    return await answer_episode(question, runtime, episode, answer_from=answer_from, evidence=evidence)


async def answer_episode(
    question: Question,
    runtime: Runtime,
    played: Awaitable[Episode],
    *,
    answer_from: str = "finish",
    evidence: Evidence = Evidence.SEARCHES,
) -> Trajectory:
    """An episode, which is played here, and its final answer, as a row."""
    begun = time.perf_counter()
    episode = await played
    reply = ReaderReply("", NO_USAGE)
    status, error = episode.status, episode.error
    if not status.retryable:
        try:
            reply = await final_answer(
                question, episode.steps, runtime, answer_from=answer_from, evidence=evidence
            )
        except ModelError as failure:
            status, error = Status.MODEL_ERROR, str(failure)
    return Trajectory(
        question=question,
        steps=episode.steps,
        answer=reply.text,
        status=status,
        usage=episode.usage + reply.usage,
        seconds=time.perf_counter() - begun,
        error=error,
        provenance=malformed_notes(episode.malformed),
    )


async def final_answer(
    question: Question, steps: Sequence[Step], runtime: Runtime, *, answer_from: str, evidence: Evidence
) -> ReaderReply:
    """The short answer: from the evidence by the reader, or the `finish` argument (by setting, or as fallback
    when the reader's answer is empty or an abstention). Raises `ModelError`.
    """
    last = steps[-1].action if steps else None
    proposed = last.answer if isinstance(last, Finish) else ""
    if answer_from == "finish" and proposed:
        return ReaderReply(proposed, NO_USAGE)
    if evidence is Evidence.SEARCHES:
        turns = [observation_turn(block) for block in search_blocks(steps)]
        reply = await ask_reader(question, turns, runtime, prompt="final", between="\n\n", nothing=NO_SEARCH)
    else:
        turns = passage_turns(all_passages(steps), runtime, query=question.question)
        reply = await ask_reader(question, turns, runtime)
    if proposed and normalize_answer(reply.text) in ("", NO_ANSWER):
        return ReaderReply(proposed, reply.usage)
    return reply


async def ask_reader(
    question: Question,
    turns: Sequence[Turn],
    runtime: Runtime,
    *,
    prompt: str = "naive_rag",
    between: str = "\n",
    nothing: str = NO_PASSAGE,
) -> ReaderReply:
    """The reader's short answer from observations, which are shortened only where the server refuses them.
    Raises `ModelError`.
    """
    template, system = runtime.prompt(prompt), runtime.prompt("final_system")

    def render(fitted: Sequence[Turn]) -> list[Message]:
        context = between.join(turn["content"] for turn in fitted[1:]) or nothing
        text = fill(template, context=context, question=question.question)
        return [{"role": "system", "content": system}, {"role": "user", "content": text}]

    whole = [user_turn(question.question), *turns]
    reply = await chat_within_context(
        runtime.reader,
        truncation_candidates(whole, max_chars=size_of(whole)),
        render=render,
        sampling=runtime.final_sampling,
        prompt_tokens=runtime.policy.prompt_tokens,
        stop=READER_STOPS,
    )
    return ReaderReply(reply.text.strip(), reply.usage)


def queries_and_observations(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Query and observation of every search."""
    return [(step.action.query, step.observation or "") for step in steps if isinstance(step.action, Search)]


def with_notes(trajectory: Trajectory, **notes: Any) -> Trajectory:
    """The row with `notes` added to its provenance."""
    return replace(trajectory, provenance={**trajectory.provenance, **notes})
