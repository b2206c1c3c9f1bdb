"""The pure loop: `advance` adds one step to a prefix, `run_episode` advances until the end (ReaRAG, Algorithm
2 of the paper; reference rearag.md section 8).

All I/O is passed in: a `StepWriter` writes the next step, `search` returns the observation of a query. A
prefix is a `Node`; several nodes may continue one prefix, and the path to each leaf is a trajectory. How we
differ from the original: malformed replies are retried under a budget *per step* and never count as a step;
only the first step of a reply is executed; a repeated query is answered with a notice; the caller always gets
the steps so far, with a status that says how the episode ended.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from src_core.config import Count, Positive, config_class
from src_core.errors import BoundaryError, ContextFullError, RetrieverError
from src_core.llm import Completion
from src_core.malformed import MOST_CHARS, Malformed
from src_core.protocols.records import FUNCTIONS, ParsedStep, ParseError
from src_core.text import fill
from src_core.think import join_think
from src_core.types import NO_USAGE, DirectAnswer, Finish, Passage, Search, Status, Step, Usage
from src_infer.repeats import REPEAT_NOTICE, asked_before, repeats


@config_class
class Limits:
    """When an episode stops. `max_tokens` counts prompt and completion tokens of the whole question (0: no
    cap).

    `min_searches` forbids `finish` until that many searches are done; it needs constrained decoding and is
    ignored otherwise. After `max_repeats` repeated queries only `finish` is allowed where decoding is
    constrained; where it is not, the loop stops one repeat later. `max_seconds` is the time of all steps of a
    question (0: no cap).
    """

    t_max: Positive = 15
    step_tries: Positive = 5
    max_tokens: Count = 0
    min_searches: Count = 0
    max_repeats: Count = 2
    max_seconds: Count = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A prefix: the question, or a step after another prefix. Prefixes are shared and immutable."""

    question: str
    step: Step | None = None
    parent: Node | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps from the root to this node."""
        steps: list[Step] = []
        node: Node | None = self
        while node is not None and node.step is not None:
            steps.append(node.step)
            node = node.parent
        return tuple(reversed(steps))

    def child(self, step: Step) -> Node:
        """The prefix of this node followed by `step`."""
        return Node(self.question, step, self)


@dataclass(frozen=True, slots=True)
class Observation:
    """The result of a search: the text that the model reads, and its passages."""

    text: str
    passages: tuple[Passage, ...] = ()
    usage: Usage = NO_USAGE


@dataclass(slots=True)
class Ledger:
    """The token usage of an episode so far with malformed replies, and those replies."""

    usage: Usage = NO_USAGE
    malformed: list[Malformed] = field(default_factory=list)

    def reject(self, reply: Completion, error: ParseError) -> None:
        """Record a reply that is no step."""
        self.malformed.append(Malformed(error.code, join_think(reply.think, reply.text)[:MOST_CHARS]))


@dataclass(frozen=True, slots=True)
class Episode:
    """The prefix at which an episode ended, and how it ended. `usage` includes the `malformed` replies."""

    node: Node
    status: Status
    usage: Usage
    malformed: tuple[Malformed, ...] = ()
    error: str | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps."""
        return self.node.steps


class StepWriter(ABC):
    """Writes steps: a policy, a teacher, or a method that needs several calls for one step."""

    @property
    def concludes(self) -> bool:
        """Whether each observation is followed by a conclusion."""
        return False

    @abstractmethod
    async def generate(
        self, question: str, steps: Sequence[Step], *, n: int, attempt: int, functions: Sequence[str]
    ) -> Completion:
        """The reply for step `n` after `steps`; `attempt` counts from 0; only `functions` are allowed."""

    @abstractmethod
    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        """The step parsed from a reply. Raises nothing."""

    async def conclude(self, question: str, steps: Sequence[Step], *, n: int) -> Completion:
        """The conclusion after the observation of the last of `steps` (writers with `concludes`)."""
        raise NotImplementedError(
            f"{type(self).__name__} draws no conclusions ({question!r}, {n}, {len(steps)})"
        )


SearchFn = Callable[[str, Sequence[Step]], Awaitable[Observation]]
OnStep = Callable[[Step], None]
NextStep = Callable[[Node, Ledger], Awaitable[Step | None]]
"""Makes the step after a prefix, adds its usage to the ledger; None if all attempts were malformed."""


async def run_episode(
    question: str,
    *,
    writer: StepWriter,
    search: SearchFn,
    limits: Limits,
    on_draft: OnStep | None = None,
    on_step: OnStep | None = None,
    initial_query: str = "",
) -> Episode:
    """Advance from the question to the end (`run_steps`). With `initial_query` the first step searches that
    query, before the model writes a step. `on_draft` is called with a step before its search runs, `on_step`
    once the step is complete.
    """

    async def next_step(node: Node, ledger: Ledger) -> Step | None:
        return await advance(
            node,
            writer=writer,
            search=search,
            limits=limits,
            ledger=ledger,
            on_draft=on_draft,
            initial_query=initial_query,
        )

    return await run_steps(question, next_step=next_step, limits=limits, on_step=on_step)


async def run_steps(
    question: str, *, next_step: NextStep, limits: Limits, on_step: OnStep | None = None
) -> Episode:
    """Make steps from the question to the end. Boundary errors become the episode's status; nothing is raised
    for them.
    """
    node, ledger = Node(question), Ledger()

    def ended(status: Status, error: str | None = None) -> Episode:
        return Episode(node, status, ledger.usage, tuple(ledger.malformed), error)

    try:
        while (status := stop_status(node, ledger, limits)) is None:
            step = await next_step(node, ledger)
            if step is None:
                return ended(Status.MALFORMED_THEN_ANSWERED)
            node = node.child(step)
            if on_step:
                on_step(step)
    except ContextFullError:
        return ended(Status.BUDGET_THEN_ANSWERED)
    except BoundaryError as error:
        return ended(failure_status(error), str(error))
    return ended(status)


def stop_status(node: Node, ledger: Ledger, limits: Limits) -> Status | None:
    """The status with which an episode ends at `node`; None while it continues."""
    steps = node.steps
    if steps and isinstance(steps[-1].action, Finish):
        return Status.FINISHED
    if len(steps) >= limits.t_max or repeats(steps) > limits.max_repeats:
        return Status.CAPPED_THEN_ANSWERED
    if limits.max_tokens and ledger.usage.total_tokens >= limits.max_tokens:
        return Status.BUDGET_THEN_ANSWERED
    if limits.max_seconds and sum(step.seconds for step in steps) >= limits.max_seconds:
        return Status.BUDGET_THEN_ANSWERED
    return None


async def advance(
    node: Node,
    *,
    writer: StepWriter,
    search: SearchFn,
    limits: Limits,
    ledger: Ledger,
    on_draft: OnStep | None = None,
    initial_query: str = "",
) -> Step | None:
    """The next step after a prefix, with its observation and conclusion; None if all its attempts were
    malformed replies. The usage of each call is added to `ledger` at once, so that it counts even when a
    later call fails. Raises `BoundaryError`.
    """
    steps = node.steps
    begun = time.perf_counter()
    if initial_query and not steps:
        draft: Step | None = Step(n=1, thought="", action=Search(initial_query))
    else:
        draft = await _draft(node.question, steps, writer=writer, limits=limits, ledger=ledger)
    if draft is None:
        return None
    if on_draft:
        on_draft(draft)
    step = await _observe(draft, steps, search=search)
    ledger.usage += step.usage - draft.usage
    if writer.concludes and isinstance(step.action, Search):
        try:
            reply = await writer.conclude(node.question, [*steps, step], n=step.n)
        except ContextFullError:  # the next step ends the episode, with what this one found
            return replace(step, seconds=time.perf_counter() - begun)
        ledger.usage += reply.usage
        step = replace(step, conclusion=reply.text, usage=step.usage + reply.usage)
    return replace(step, seconds=time.perf_counter() - begun)


def failure_status(error: BoundaryError) -> Status:
    """The status of a row whose remote call failed after all retries."""
    return Status.RETRIEVER_ERROR if isinstance(error, RetrieverError) else Status.MODEL_ERROR


def allowed_functions(steps: Sequence[Step], *, n: int, limits: Limits) -> tuple[str, ...]:
    """The functions of step `n`: no `finish` below `min_searches`, only `finish` at the last step."""
    if n >= limits.t_max or repeats(steps) >= max(limits.max_repeats, 1):
        return ("finish",)
    searches = sum(isinstance(step.action, Search) for step in steps)
    return FUNCTIONS[:-1] if searches < limits.min_searches else FUNCTIONS


async def _draft(
    question: str, steps: Sequence[Step], *, writer: StepWriter, limits: Limits, ledger: Ledger
) -> Step | None:
    """The next step without its observation, None if all attempts of the step were malformed."""
    n = len(steps) + 1
    functions = allowed_functions(steps, n=n, limits=limits)
    cost = NO_USAGE
    for attempt in range(limits.step_tries):
        reply = await writer.generate(question, steps, n=n, attempt=attempt, functions=functions)
        cost += reply.usage
        ledger.usage += reply.usage
        parsed = writer.parse(reply, functions)
        if isinstance(parsed, ParseError):
            ledger.reject(reply, parsed)
            continue
        fixes = parsed.parse_fixes
        if parsed.n is not None and parsed.n != n:
            fixes = (*fixes, "renumbered")
        return Step(
            n=n,
            thought=parsed.thought,
            action=parsed.action,
            reply=reply.text,
            think=reply.think,
            parse_fixes=fixes,
            parse_failures=attempt,
            usage=cost,
        )
    return None


async def _observe(draft: Step, steps: Sequence[Step], *, search: SearchFn) -> Step:
    """The step with its observation: None for an action without a search, a notice for a repeated query, else
    the result of `search`.
    """
    if isinstance(draft.action, Finish | DirectAnswer):
        return draft
    before = asked_before(draft.action.query, steps)
    if before is not None:
        text = fill(REPEAT_NOTICE, observation=before.observation or "")
        return replace(draft, observation=text, passages=before.passages, repeated=True)
    seen = await search(draft.action.query, steps)
    return replace(draft, observation=seen.text, passages=seen.passages, usage=draft.usage + seen.usage)
