"""The pure Thought-Action-Observation loop (ReaRAG, Algorithm 2 of the paper; reference section 8).

All I/O is passed in: `generate` writes the next step, `search` observes a sub-query. How we differ from the
original: malformed replies are retried under a budget *per step* and never count as a step; only the first
step of a reply is executed; a repeated query is answered with a notice; the caller always gets what was
gathered, with a status that says how the episode ended.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from src_core.actions import FUNCTIONS, ParsedStep, ParseError, parse_step
from src_core.config import config_class
from src_core.errors import BoundaryError, ContextFullError, RetrieverError
from src_core.llm import Completion
from src_core.types import NO_USAGE, Finish, Passage, Search, Status, Step, Usage


@config_class
class Limits:
    """When an episode stops. `max_tokens` counts prompt and completion tokens of the whole question (0: no
    cap).

    `min_searches` holds back `finish` while fewer searches were made; it needs constrained decoding and is
    ignored otherwise. `max_repeats` repeated queries end the search for more: from then on only `finish` is
    allowed where decoding is constrained, and the loop stops one repeat later where it is not.
    """

    t_max: int = 15
    step_tries: int = 5
    max_tokens: int = 0
    min_searches: int = 0
    max_repeats: int = 2


@dataclass(frozen=True, slots=True)
class Observation:
    """What a search brought: the text that the model reads, and the passages behind it."""

    text: str
    passages: tuple[Passage, ...] = ()
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class Episode:
    """The steps of one episode and how it ended. `usage` also holds what malformed replies cost;
    `parse_failures` counts them by the parser's code.
    """

    steps: tuple[Step, ...]
    status: Status
    usage: Usage
    parse_failures: tuple[str, ...] = ()
    error: str | None = None


class Generate(Protocol):
    """Writes the reply for step `n` after `steps`; `attempt` counts from 0; `functions` are those allowed
    now.
    """

    def __call__(
        self, question: str, steps: Sequence[Step], *, n: int, attempt: int, functions: Sequence[str]
    ) -> Awaitable[Completion]: ...


Parse = Callable[[Completion, Sequence[str]], ParsedStep | ParseError]
"""Reads a reply as a step, given the functions that are allowed now. Raises nothing."""
SearchFn = Callable[[str, Sequence[Step]], Awaitable[Observation]]
OnStep = Callable[[Step], None]

REPEAT_NOTICE = (
    "This query was already asked; the reply was: {observation} "
    "Do not ask it again: ask for another fact, or finish with the best answer so far."
)


def parse_reply(reply: Completion, _functions: Sequence[str]) -> ParsedStep | ParseError:
    """The step of a reply in the project's own format."""
    return parse_step(reply.text)


async def run_episode(
    question: str,
    *,
    generate: Generate,
    search: SearchFn,
    limits: Limits,
    on_draft: OnStep | None = None,
    on_step: OnStep | None = None,
    parse: Parse = parse_reply,
    initial_query: str = "",
) -> Episode:
    """Run the loop for one question. Raises nothing of its own: boundary errors become the episode's
    status. With `opening` the first step searches that, before the model is asked. `on_draft` is called with
    a step before its search is made, `on_step` once it is whole.
    """
    steps: list[Step] = []
    bill: list[Usage] = []
    parse_failures: list[str] = []

    def ended(status: Status, error: str | None = None) -> Episode:
        return Episode(tuple(steps), status, sum(bill, NO_USAGE), tuple(parse_failures), error)

    try:
        for n in range(1, limits.t_max + 1):
            if limits.max_tokens and sum(bill, NO_USAGE).total_tokens >= limits.max_tokens:
                return ended(Status.BUDGET_THEN_ANSWERED)
            begun = time.perf_counter()
            draft = await _draft_step(
                question,
                steps,
                n=n,
                generate=generate,
                parse=parse,
                initial_query=initial_query,
                limits=limits,
                parse_failures=parse_failures,
                bill=bill,
            )
            if draft is None:
                return ended(Status.MALFORMED_THEN_ANSWERED)
            _tell(on_draft, draft)
            step = await _observe(draft, steps, search=search)
            bill.append(step.usage - draft.usage)
            step = replace(step, seconds=time.perf_counter() - begun)
            steps.append(step)
            _tell(on_step, step)
            if isinstance(step.action, Finish):
                return ended(Status.FINISHED)
            if _repeats(steps) > limits.max_repeats:
                break
    except ContextFullError:
        return ended(Status.BUDGET_THEN_ANSWERED)
    except BoundaryError as error:
        return ended(failure_status(error), str(error))
    return ended(Status.CAPPED_THEN_ANSWERED)


def _tell(hook: OnStep | None, step: Step) -> None:
    if hook:
        hook(step)


def failure_status(error: BoundaryError) -> Status:
    """The status of a row whose remote call failed for good."""
    return Status.RETRIEVER_ERROR if isinstance(error, RetrieverError) else Status.MODEL_ERROR


def allowed_functions(steps: Sequence[Step], *, n: int, limits: Limits) -> tuple[str, ...]:
    """Which functions step `n` may call: `search` alone below `min_searches`, `finish` alone at the very
    end.
    """
    if n >= limits.t_max or _repeats(steps) >= max(limits.max_repeats, 1):
        return ("finish",)
    searches = sum(isinstance(step.action, Search) for step in steps)
    return ("search",) if searches < limits.min_searches else FUNCTIONS


async def _draft_step(
    question: str,
    steps: Sequence[Step],
    *,
    n: int,
    generate: Generate,
    parse: Parse,
    initial_query: str,
    limits: Limits,
    parse_failures: list[str],
    bill: list[Usage],
) -> Step | None:
    """The next step without its observation, None once the step's tries are spent. What each try cost goes
    to `bill` at once, so that it counts even when a later try fails at the boundary.
    """
    if initial_query and not steps:
        return Step(n=n, thought="", action=Search(initial_query))
    functions = allowed_functions(steps, n=n, limits=limits)
    cost = NO_USAGE
    for attempt in range(limits.step_tries):
        reply = await generate(question, steps, n=n, attempt=attempt, functions=functions)
        cost += reply.usage
        bill.append(reply.usage)
        parsed = parse(reply, functions)
        if isinstance(parsed, ParseError):
            parse_failures.append(parsed.code)
            continue
        repairs = parsed.repairs
        if parsed.n is not None and parsed.n != n:
            repairs = (*repairs, "renumbered")
        return Step(
            n=n,
            thought=parsed.thought,
            action=parsed.action,
            reply=reply.text,
            think=reply.think,
            repairs=repairs,
            rejected=attempt,
            usage=cost,
        )
    return None


async def _observe(draft: Step, steps: Sequence[Step], *, search: SearchFn) -> Step:
    """The step with its observation: nothing for `finish`, a notice for a repeated query, else the RAG
    engine's.
    """
    if isinstance(draft.action, Finish):
        return draft
    before = _same_query(draft.action.query, steps)
    if before is not None:
        text = REPEAT_NOTICE.replace("{observation}", before.observation or "")
        return replace(draft, observation=text, passages=before.passages, repeated=True)
    seen = await search(draft.action.query, steps)
    return replace(draft, observation=seen.text, passages=seen.passages, usage=draft.usage + seen.usage)


def _same_query(query: str, steps: Sequence[Step]) -> Step | None:
    """The earlier, not itself repeated, step that asked the same thing (case and punctuation aside)."""
    ours = _plain(query)
    for step in steps:
        if isinstance(step.action, Search) and not step.repeated and _plain(step.action.query) == ours:
            return step
    return None


def _plain(query: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in query.lower()).split())


def _repeats(steps: Sequence[Step]) -> int:
    return sum(step.repeated for step in steps)
