"""Decides which trajectories become training data; each rejection has a stable reason (reference section 6.5,
13.9, 13.10).

`filter_trajectory` checks one trajectory; `filter_run` streams a run's `trajectories.jsonl` into
`kept.jsonl` and `rejected.jsonl`; `src_core.conversations` checks published conversations. How we differ
from the original: it kept every trajectory of the right shape that shared one token with one gold string,
stopped the whole stage at the first integer answer, and deleted what it rejected; here a bad row is a
rejected row, every row is kept on disk, and the best trajectory of each question is kept for training.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, NamedTuple

from pydantic import Field

from src_core.config import Count, Positive, config_class
from src_core.protocols.base import Protocol
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import ParseError
from src_core.types import DirectAnswer, Finish, Search, Status, Step, Trajectory
from src_data.filters.answer_rules import AnswerRule, AnswerRules, accept
from src_data.filters.leaks import find_leak
from src_tasks.answers import NO_ANSWER, normalize_answer
from src_tasks.support import query_key, supported

_LIST = re.compile(r"\d{1,2}\. ")
WORDS_TO_TOKENS = 1.35  # English text under the tokenizers in use


@config_class
class Bounds:
    """Length bounds of a trajectory. Characters are counted per thought and per observation; `max_tokens`
    bounds the length of the training conversation, estimated from its words (servers count the prompt of
    every step, so their sums do not give its length).
    """

    max_steps: Positive = 25
    min_thought_chars: Count = 10
    max_thought_chars: Positive = 4_000
    max_observation_chars: Positive = 8_000
    max_tokens: Positive = 8_000


@config_class
class FilterConfig:
    """The filter stage, section `clean_conv`. The first five keys are the original's (reference section 6.1);
    "" means the run directory, or the default name in it.

    `answer_rule` and `min_f1` are those of `answer_rules`. `need_gold: false` accepts an answer where no gold
    is known. `min_searches: 1` rejects trajectories without a search. `need_support` enables `support`.
    `allow_repairs` keeps trajectories with a step that the parser had to repair: the training text is
    rendered again, without the fault; `forbidden_repairs` names those that are rejected all the same.
    `allow_enumerations: false` rejects intermediate answers that begin like a list (`1. `; DeepRAG, reference
    deeprag.md section 7.1). `chains_per_question` is the maximal number of kept trajectories per
    question, the best first (0: all).
    """

    input_dir: str = ""
    output_dir: str = ""
    input_file: str = "trajectories.jsonl"
    output_file: str = "conversations.json"
    output_file_validity: str = "conversations_validity.json"
    answer_rule: AnswerRule = "strict"
    min_f1: Annotated[float, Field(gt=0, le=1)] = 0.6
    need_gold: bool = True
    min_searches: Annotated[int, Field(ge=0)] = 1
    need_support: bool = True
    allow_repeated_queries: bool = False
    allow_repairs: bool = True
    forbidden_repairs: tuple[str, ...] = ()
    allow_enumerations: bool = True
    bounds: Bounds = Bounds()
    chains_per_question: Annotated[int, Field(ge=0)] = 1


class FilterResult(NamedTuple):
    """Whether a trajectory is kept; if not, a key of `outcomes.OUTCOMES` and a detail in words. `f1` is the
    token F1 of the `finish` answer (0 where there is nothing to compare).
    """

    kept: bool
    reason: str
    detail: str
    f1: float


Rule = Callable[[Trajectory, FilterConfig], FilterResult | None]


def filter_trajectory(
    trajectory: Trajectory, config: FilterConfig, protocol: Protocol | None = None
) -> FilterResult:
    """The result for one trajectory alone: the first rule that rejects it, else kept. `protocol` is the
    format of its export (None: ReaRAG's). Raises nothing.
    """
    structure: Rule = partial(_structure, protocol=protocol or ReaRag())
    golds = trajectory.question.answers
    answer = finish_answer(trajectory.steps)
    f1 = accept(answer, golds).f1 if answer else 0.0
    for rule in (_status, structure, *_RULES):
        rejected = rule(trajectory, config)
        if rejected is not None:
            return rejected._replace(f1=f1)
    return FilterResult(True, "", "", f1)


def finish_answer(steps: Iterable[Step]) -> str:
    """The argument of the trajectory's `finish`, which is its answer in training; "" without `finish`."""
    return next((step.action.answer for step in reversed([*steps]) if isinstance(step.action, Finish)), "")


def estimated_tokens(trajectory: Trajectory) -> int:
    """The estimated number of tokens of the conversation."""
    texts = [trajectory.question.question, *(text for step in trajectory.steps for text in _texts(step))]
    return int(WORDS_TO_TOKENS * sum(len(text.split()) for text in texts))


def _reject(reason: str, detail: str = "") -> FilterResult:
    return FilterResult(False, reason, detail, 0.0)


def _status(trajectory: Trajectory, _: FilterConfig) -> FilterResult | None:
    if trajectory.status is Status.FINISHED:
        return None
    return _reject(trajectory.status.value, trajectory.error or "")


def _structure(trajectory: Trajectory, _: FilterConfig, *, protocol: Protocol) -> FilterResult | None:
    steps = trajectory.steps
    if not trajectory.question.question.strip():
        return _reject("structure", "the question is empty")
    if not steps or not isinstance(steps[-1].action, Finish):
        return _reject("structure", "the trajectory does not end in finish")
    for number, step in enumerate(steps, start=1):
        problem = _step_problem(step, number, protocol, last=number == len(steps))
        if problem:
            return _reject("structure", f"step {number}: {problem}")
    return None


def _step_problem(step: Step, number: int, protocol: Protocol, *, last: bool) -> str:
    if step.n != number:
        return f"is numbered {step.n}"
    if protocol.needs_thought and not step.thought.strip():
        return "has no thought"
    if isinstance(step.action, Finish):
        if not last:
            return "finishes before the end"
        if step.observation is not None:
            return "observes after finish"
    elif isinstance(step.action, Search):
        if not (step.observation or "").strip():
            return "searches but observes nothing"
        if protocol.needs_conclusion and not step.conclusion.strip():
            return "searches but concludes nothing"
    read = protocol.parse(protocol.render_step(step))
    if isinstance(read, ParseError):
        return f"cannot be read back ({read.code})"
    same = (read.thought, read.action) == (step.thought.strip(), step.action)
    return "" if same and read.n in (None, step.n) and not read.parse_fixes else "reads back as another step"


def _leaks(trajectory: Trajectory, _: FilterConfig) -> FilterResult | None:
    leak = find_leak(trajectory.question.question)
    if leak:
        return _reject("leaked_tokens", f"question: {leak}")
    for step in trajectory.steps:
        leak = next(filter(None, map(find_leak, _texts(step))), "")
        if leak:
            return _reject("leaked_tokens", f"step {step.n}: {leak}")
    return None


def _texts(step: Step) -> tuple[str, ...]:
    action = step.action
    argument = action.query if isinstance(action, Search) else action.answer
    asked = action.sub_question if isinstance(action, DirectAnswer) else ""
    return step.thought, asked, argument, step.observation or "", step.conclusion


def _answer(trajectory: Trajectory, config: FilterConfig) -> FilterResult | None:
    answer = finish_answer(trajectory.steps)
    rules = AnswerRules(rule=config.answer_rule, min_f1=config.min_f1)
    match = accept(answer, trajectory.question.answers, rules)
    if match.accepted or (match.code == "no_gold" and not config.need_gold):
        return None
    reason = match.code if match.code == "no_gold" else f"answer_{match.code}"
    return _reject(reason, f"{answer!r:.120} for {match.gold!r:.120}")


def _searches(trajectory: Trajectory, config: FilterConfig) -> FilterResult | None:
    if trajectory.searches >= config.min_searches:
        return None
    return _reject("too_few_searches", f"{trajectory.searches} of {config.min_searches}")


def _repeats(trajectory: Trajectory, config: FilterConfig) -> FilterResult | None:
    seen: set[str] = set()
    for step in trajectory.steps:
        if config.allow_repeated_queries or not isinstance(step.action, Search):
            continue
        key = query_key(step.action.query)
        if step.repeated or key in seen:
            return _reject("repeated_query", f"step {step.n}: {step.action.query!r:.120}")
        seen.add(key)
    return None


def _support(trajectory: Trajectory, config: FilterConfig) -> FilterResult | None:
    if not config.need_support or not trajectory.searches:
        return None
    answer = finish_answer(trajectory.steps)
    golds = trajectory.question.answers
    if golds and {NO_ANSWER} == {*map(normalize_answer, (answer, *golds))}:
        return None  # that nothing tells it needs no sentence that does
    if supported(answer, trajectory.question.question, trajectory.steps):
        return None
    return _reject("unsupported", f"{answer!r:.120} is in no observation")


def _lengths(trajectory: Trajectory, config: FilterConfig) -> FilterResult | None:
    bounds = config.bounds
    if len(trajectory.steps) > bounds.max_steps:
        return _reject("too_many_steps", f"{len(trajectory.steps)} of {bounds.max_steps}")
    for step in trajectory.steps:
        if not bounds.min_thought_chars <= len(step.thought.strip()) <= bounds.max_thought_chars:
            return _reject("thought_length", f"step {step.n}: {len(step.thought.strip())} characters")
        if len(step.observation or "") > bounds.max_observation_chars:
            return _reject("observation_length", f"step {step.n}: {len(step.observation or '')} characters")
    tokens = estimated_tokens(trajectory)
    return _reject("too_many_tokens", f"about {tokens}") if tokens > bounds.max_tokens else None


def _repairs(trajectory: Trajectory, config: FilterConfig) -> FilterResult | None:
    for step in trajectory.steps:
        bad = [fix for fix in step.parse_fixes if not config.allow_repairs or fix in config.forbidden_repairs]
        if bad:
            return _reject("repaired", f"step {step.n}: {', '.join(bad)}")
    return None


def _enumerations(trajectory: Trajectory, config: FilterConfig) -> FilterResult | None:
    for step in trajectory.steps:
        said = step.action.answer if isinstance(step.action, DirectAnswer) else step.conclusion
        if not config.allow_enumerations and _LIST.match(said):
            return _reject("enumerated", f"step {step.n}: {said!r:.120}")
    return None


_RULES: tuple[Rule, ...] = (
    _leaks,
    _answer,
    _enumerations,
    _searches,
    _repeats,
    _support,
    _lengths,
    _repairs,
)
