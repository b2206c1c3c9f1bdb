"""What the methods that work in steps share: asking for the next step, and the way from the loop to a row.

A method says how its question and steps become turns, how turns become chat messages and how a reply is read;
`run_episode` is the loop for all of them, so that limits, malformed replies, repeated queries and failures at
the boundary mean the same everywhere. Messages are plain turns of user and assistant: the continuation of an
assistant's turn differs between engines (`src_models.llama_server`), a transcript inside the user's turn does
not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from src_core.errors import ModelError
from src_core.llm import ChatModel, Completion, Message
from src_core.types import NO_USAGE, Finish, Passage, Question, Search, Status, Step, Trajectory
from src_infer.agent import (
    CHARS_PER_TOKEN,
    Render,
    Turn,
    chat_within_context,
    size_of,
    step_sampling,
    truncation_candidates,
)
from src_infer.episode import Generate, Limits, Observation, Parse, SearchFn, parse_reply, run_episode
from src_infer.prompts import NO_PASSAGE, NO_SEARCH, fill, passage_block, passage_lines, search_blocks
from src_infer.rag_engine import READER_STOPS, ReaderReply, unique_passages
from src_infer.runtime import Runtime
from src_tasks.answers import NO_ANSWER, normalize_answer

MAX_PASSAGES = 15


class Evidence(StrEnum):
    """What the final reader gets: each query with its observation, or all passages."""

    SEARCHES = "searches"
    PASSAGES = "passages"


@dataclass(frozen=True, slots=True)
class Talk:
    """How a method talks to its model. `turns` gives question and steps in the published schema, whose
    observations alone are shortened where room is short; `render` makes chat messages of them.
    """

    model: ChatModel
    turns: Callable[[str, Sequence[Step]], list[Turn]]
    render: Render
    stop: Sequence[str] = READER_STOPS
    logprobs: bool = False

    def generate(self, runtime: Runtime) -> Generate:
        """The loop's `generate`: one call per try."""

        async def generate(
            question: str,
            steps: Sequence[Step],
            *,
            n: int,
            attempt: int,
            functions: Sequence[str],  # noqa: ARG001 - a prompt cannot forbid one
        ) -> Completion:
            return await self.ask(runtime, question, steps, n=n, attempt=attempt)

        return generate

    async def ask(
        self, runtime: Runtime, question: str, steps: Sequence[Step], *, n: int, attempt: int, part: int = 0
    ) -> Completion:
        """The reply to question and steps (`part`: see `step_sampling`). Raises `ModelError`."""
        turns = self.turns(question, steps)
        # What the prompt adds to the turns: its own words, tags.
        around = sum(len(message["content"]) for message in self.render(turns)) - size_of(turns)
        room = int(runtime.agent.prompt_tokens * CHARS_PER_TOKEN) - around
        return await chat_within_context(
            self.model,
            truncation_candidates(turns, max_chars=room),
            render=self.render,
            sampling=step_sampling(runtime.agent.sampling, question, steps, n=n, attempt=attempt, part=part),
            prompt_tokens=runtime.agent.prompt_tokens,
            stop=self.stop,
            logprobs=self.logprobs,
        )


def prompted(template: str, **slots: str) -> Render:
    """Turns inside one user turn: `{question}`, `{context}` (the observations), `{thoughts}` (what the
    assistant said), `{transcript}` (both, in order) and further `slots` are filled in.
    """

    def render(turns: Sequence[Turn]) -> list[Message]:
        said = [turn["reasoning"] for turn in turns if turn["role"] == "assistant"]
        seen = [turn["content"] for turn in turns if turn["role"] == "observation"]
        both = [turn.get("reasoning") or turn["content"] for turn in turns[1:]]
        prompt = fill(
            template,
            question=turns[0]["content"],
            context="\n".join(seen) or NO_PASSAGE,
            thoughts=" ".join(said) or "(none)",
            transcript="\n".join(both),
            **slots,
        )
        return [{"role": "user", "content": prompt}]

    return render


def user(text: str) -> Turn:
    """The turn that holds the question."""
    return {"role": "user", "content": text}


def said(text: str) -> Turn:
    """A turn of the model."""
    return {"role": "assistant", "reasoning": text}


def observed(text: str) -> Turn:
    """A turn that may be shortened."""
    return {"role": "observation", "content": text}


def gathered(steps: Sequence[Step]) -> list[Passage]:
    """The passages of all steps, each once, the newest last, at most `MAX_PASSAGES` (IRCoT's own bound)."""
    found = unique_passages([passage for step in steps for passage in step.passages])
    return found[-MAX_PASSAGES:]


def passage_turns(passages: Sequence[Passage], runtime: Runtime) -> list[Turn]:
    """One turn per passage."""
    return [observed(line) for line in passage_lines(passages, max_chars=runtime.max_passage_chars)]


def passage_search(runtime: Runtime) -> SearchFn:
    """A search whose observation is the passages themselves; no model reads them."""

    async def search(query: str, _steps: Sequence[Step]) -> Observation:
        passages = await runtime.retrieve(query)
        return Observation(passage_block(passages, max_chars=runtime.max_passage_chars), passages)

    return search


async def answer_stepwise(
    question: Question,
    runtime: Runtime,
    *,
    generate: Generate,
    search: SearchFn,
    parse: Parse = parse_reply,
    initial_query: str = "",
    limits: Limits | None = None,
    answer_from: str = "finish",
    evidence: Evidence = Evidence.SEARCHES,
) -> Trajectory:
    """One episode and its final answer, as a row. Raises nothing of its own."""
    begun = time.perf_counter()
    episode = await run_episode(
        question.question,
        generate=generate,
        search=search,
        limits=limits or runtime.limits,
        on_draft=partial(runtime.on_draft, question) if runtime.on_draft else None,
        on_step=partial(runtime.on_step, question) if runtime.on_step else None,
        parse=parse,
        initial_query=initial_query,
    )
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
        provenance={"parse_failures": list(episode.parse_failures)},
    )


async def final_answer(
    question: Question, steps: Sequence[Step], runtime: Runtime, *, answer_from: str, evidence: Evidence
) -> ReaderReply:
    """The short answer: from the evidence by the reader, or the `finish` argument (by setting, or as
    fallback when the reader says nothing or abstains). Raises `ModelError`.
    """
    last = steps[-1].action if steps else None
    proposed = last.answer if isinstance(last, Finish) else ""
    if answer_from == "finish" and proposed:
        return ReaderReply(proposed, NO_USAGE)
    if evidence is Evidence.SEARCHES:
        turns = [observed(block) for block in search_blocks(steps)]
        reply = await ask_reader(question, turns, runtime, prompt="final", between="\n\n", nothing=NO_SEARCH)
    else:
        reply = await ask_reader(question, passage_turns(gathered(steps), runtime), runtime)
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

    whole = [user(question.question), *turns]
    reply = await chat_within_context(
        runtime.reader,
        truncation_candidates(whole, max_chars=size_of(whole)),
        render=render,
        sampling=runtime.final_sampling,
        prompt_tokens=runtime.agent.prompt_tokens,
        stop=READER_STOPS,
    )
    return ReaderReply(reply.text.strip(), reply.usage)


def asked(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Query and observation of every search."""
    return [(step.action.query, step.observation or "") for step in steps if isinstance(step.action, Search)]


def with_notes(trajectory: Trajectory, **notes: Any) -> Trajectory:
    """The row with more provenance."""
    return replace(trajectory, provenance={**trajectory.provenance, **notes})
