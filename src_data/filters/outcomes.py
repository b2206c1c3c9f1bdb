"""Every outcome of the filters: its name in files and tables, what it means, and what changes it.

The one place for all three: the terminal, `yield.md`, `view_data.sh` and its page show the meanings, and
`docs/data.md` has the same list (a test compares them).
"""

from __future__ import annotations

from typing import NamedTuple

from src_core.text import did_you_mean
from src_core.types import Status

EXPLAINED = "What the outcomes mean, and what to change: docs/data.md#outcomes"
_BETTER = "a better teacher model"


class Outcome(NamedTuple):
    """A reason for which a trajectory is rejected: what it means, and what lets more through."""

    meaning: str
    change: str


_SERVERS = "start the servers, then the same command with RUN_NAME"
_STATUSES = {
    Status.CAPPED_THEN_ANSWERED: f"build_conv.runtime.limits.t_max, or {_BETTER}",
    Status.BUDGET_THEN_ANSWERED: "build_conv.runtime.prompt_tokens",
    Status.MALFORMED_THEN_ANSWERED: f"build_conv.runtime.limits.step_tries, or {_BETTER}",
    Status.REFUSED: "nothing after a right attempt; else annotated question sets, or TEACHER=llm",
    Status.MODEL_ERROR: _SERVERS,
    Status.RETRIEVER_ERROR: _SERVERS,
}

OUTCOMES: dict[str, Outcome] = {
    "unreadable": Outcome("the row of trajectories.jsonl is no trajectory", "correct or remove the row"),
    "not_in_mixture": Outcome(
        "the question files hold the question no longer", "build_conv.input_files, with the question again"
    ),
    **{status.value: Outcome(status.meaning, change) for status, change in _STATUSES.items()},
    "structure": Outcome(
        "the steps are no valid conversation: no finish, or a step that cannot be read back", _BETTER
    ),
    "leaked_tokens": Outcome("a text holds a control token of a chat template", "clean question files"),
    "no_gold": Outcome("no gold answer is known to compare with", "clean_conv.need_gold=false"),
    "answer_empty": Outcome("the answer is empty", _BETTER),
    "answer_abstains": Outcome(
        "the answer says that it does not know", f"build_conv.runtime.top_k, the corpus, or {_BETTER}"
    ),
    "answer_closed": Outcome(
        "one of answer and gold answer is yes or no, and the other is not the same", _BETTER
    ),
    "answer_number": Outcome("a number or date differs from the gold answer", _BETTER),
    "answer_differs": Outcome(
        "the answer is another text than the gold answers",
        f"clean_conv.min_f1, clean_conv.answer_rule=original, build_conv.n_chains, or {_BETTER}",
    ),
    "enumerated": Outcome("an intermediate answer begins like a list", "clean_conv.allow_enumerations=true"),
    "too_few_searches": Outcome(
        "it was answered with fewer searches than asked for", "clean_conv.min_searches=0"
    ),
    "repeated_query": Outcome("the same query was asked twice", "clean_conv.allow_repeated_queries=true"),
    "unsupported": Outcome("no observation says the answer", "clean_conv.need_support=false"),
    "too_many_steps": Outcome("it has more steps than allowed", "clean_conv.bounds.max_steps"),
    "thought_length": Outcome(
        "a thought is too short or too long",
        "clean_conv.bounds.min_thought_chars, clean_conv.bounds.max_thought_chars",
    ),
    "observation_length": Outcome("an observation is too long", "clean_conv.bounds.max_observation_chars"),
    "too_many_tokens": Outcome("the conversation is too long", "clean_conv.bounds.max_tokens"),
    "repaired": Outcome(
        "the parser had to repair a reply", "clean_conv.allow_repairs=true, clean_conv.forbidden_repairs"
    ),
    "not_best": Outcome(
        "it passed, but a better trajectory of the question was kept", "clean_conv.chains_per_question"
    ),
}
"""In the order in which the rules are tried; statuses other than `finished` are reasons by their own name,
before all rules but the first two."""
REASONS = tuple(OUTCOMES)


def meaning_of(reason: str) -> str:
    """The meaning of a reason; "" for one that is none of ours."""
    known = OUTCOMES.get(reason)
    return known.meaning if known else ""


def explained(reason: str) -> str:
    """`answer_differs: the answer is another text than the gold answers`."""
    meaning = meaning_of(reason)
    return f"{reason}: {meaning}" if meaning else reason


def nearest_of(reason: str, present: dict[str, int]) -> str:
    """For an outcome that no trajectory has: those that are there, the most frequent first."""
    found = sorted(present.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{name} ({count:,})" for name, count in found)
    return f"{did_you_mean(reason, present)}present are: {listed or 'none'}"
