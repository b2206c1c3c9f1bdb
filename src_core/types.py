"""The records that all packages exchange. All are frozen; a JSON round trip (`to_json` /
`trajectory_from_json`) keeps all values.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import orjson
from pydantic import TypeAdapter


class Status(StrEnum):
    """How an episode ended. The errors are retried on resume; `refused` is a question that a teacher or a
    method cannot process (its annotation gives no sub-questions or no passages); every other status comes
    with an answer.
    """

    FINISHED = "finished"
    CAPPED_THEN_ANSWERED = "capped_then_answered"
    BUDGET_THEN_ANSWERED = "budget_then_answered"
    MALFORMED_THEN_ANSWERED = "malformed_then_answered"
    REFUSED = "refused"
    MODEL_ERROR = "model_error"
    RETRIEVER_ERROR = "retriever_error"

    @property
    def retryable(self) -> bool:
        """True for rows that a resumed run tries again."""
        return self in (Status.MODEL_ERROR, Status.RETRIEVER_ERROR)

    @property
    def failed(self) -> bool:
        """True for rows without an attempt at an answer: they count as wrong."""
        return self.retryable or self is Status.REFUSED

    @property
    def capped(self) -> bool:
        """True for rows whose episode a limit ended, after which the model had to answer."""
        return self in (Status.CAPPED_THEN_ANSWERED, Status.BUDGET_THEN_ANSWERED)

    @property
    def meaning(self) -> str:
        """The status in plain words, for tables and pages."""
        return _MEANINGS[self]


_MEANINGS = {
    Status.FINISHED: "finished by itself",
    Status.CAPPED_THEN_ANSWERED: "answered at the limit of steps",
    Status.BUDGET_THEN_ANSWERED: "answered at the limit of tokens",
    Status.MALFORMED_THEN_ANSWERED: "answered after malformed replies",
    Status.REFUSED: "not attempted: an earlier one was right, or the annotation lacks what is needed",
    Status.MODEL_ERROR: "the LLM server failed; a run of the same name tries these questions again",
    Status.RETRIEVER_ERROR: "the retriever failed; a run of the same name tries these questions again",
}

RETRIED = frozenset(status.value for status in Status if status.retryable)
"""The statuses, as rows hold them, of what a resumed run tries again."""


def question_id(question: str, answers: tuple[str, ...], choices: tuple[str, ...] = ()) -> str:
    """Content hash (16 hex digits) of a question, its gold answers and its choices (if any): independent of
    the order of the input file.
    """
    blob = "\x1f".join([question.strip(), *sorted(answers)])
    if choices:
        blob += "\x1e" + "\x1f".join(choices)
    return hashlib.sha256(blob.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `answers` are gold aliases (may be empty), `supporting` gold passage ids in the corpus,
    `choices` the options of a multiple-choice question in the order of their letters (its `answers` are texts
    of choices), `group` the name under which it is reported (subject, hops or category).
    """

    id: str
    question: str
    answers: tuple[str, ...] = ()
    supporting: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    group: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage:
    """One corpus row. `contents` is the wire text, whose first line is the title when the corpus has titles;
    `scores` are named after the stage that computed them (`retrieval`, `rerank`).
    """

    id: str
    title: str
    contents: str
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body: `contents` without its title line."""
        head, _, rest = self.contents.partition("\n")
        return rest if rest and head.strip().strip('"') == self.title else self.contents


def title_of(contents: str) -> str:
    """The title in a passage's wire text: the first line without surrounding double quotes, or "" when
    there is only one line.
    """
    head, newline, _ = contents.partition("\n")
    return head.strip().strip('"') if newline else ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of LLM calls as reported by the servers; `+` adds them."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.calls - other.calls,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """Prompt plus completion tokens."""
        return self.prompt_tokens + self.completion_tokens


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Search:
    """The action that sends a self-contained sub-query to the RAG engine."""

    query: str
    function: Literal["search"] = "search"


@dataclass(frozen=True, slots=True)
class Finish:
    """The action that ends the episode with an answer."""

    answer: str
    function: Literal["finish"] = "finish"


@dataclass(frozen=True, slots=True)
class DirectAnswer:
    """The action that answers a sub-question from the model's own knowledge, without a search."""

    sub_question: str
    answer: str
    function: Literal["direct_answer"] = "direct_answer"


Action = Search | DirectAnswer | Finish


@dataclass(frozen=True, slots=True)
class Step:
    """One executed Thought / Action / Observation. `n` counts from 1; `observation` is None for a step
    without a search; `conclusion` is the intermediate answer that some formats have after an observation.

    `reply` is the model's text as received, without its think block, which is `think`; `parse_fixes` names
    the repairs of the parser, `parse_failures` counts the malformed replies before it (each was retried
    within the step's budget), `repeated` is true where the query was asked before in this episode, `seconds`
    is the wall-clock time of the whole step.
    """

    n: int
    thought: str
    action: Action
    observation: str | None = None
    passages: tuple[Passage, ...] = ()
    reply: str = ""
    parse_fixes: tuple[str, ...] = ()
    parse_failures: int = 0
    repeated: bool = False
    usage: Usage = NO_USAGE
    seconds: float = 0.0
    think: str = ""
    conclusion: str = ""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A recorded episode. A failed question is a row with its status and `error`."""

    question: Question
    steps: tuple[Step, ...]
    answer: str
    status: Status
    usage: Usage = NO_USAGE
    seconds: float = 0.0
    error: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def searches(self) -> int:
        """The number of search actions, and of searches that the retriever saw and no step records."""
        recorded = sum(isinstance(step.action, Search) for step in self.steps)
        return recorded + searches_without_step(self.provenance)

    @property
    def repeated_searches(self) -> int:
        """How many of the recorded searches have a query that was asked before, and were not made again."""
        return sum(step.repeated for step in self.steps if isinstance(step.action, Search))


SEARCHES_WITHOUT_STEP = "searches_without_step"


def searches_without_step(provenance: dict[str, Any]) -> int:
    """The searches of a question that none of its steps records, as the run counted them at the retriever."""
    found = provenance.get(SEARCHES_WITHOUT_STEP, 0)
    return found if isinstance(found, int) and found > 0 else 0


_TRAJECTORY = TypeAdapter(Trajectory)
_QUESTION = TypeAdapter(Question)


def to_json(record: Any) -> bytes:
    """One line of JSON (no newline) for any record of this module; lone surrogates are replaced."""
    try:
        return orjson.dumps(record)
    except (TypeError, orjson.JSONEncodeError):
        return orjson.dumps(_printable(TypeAdapter(type(record)).dump_python(record)))


def _printable(value: Any) -> Any:
    """A copy of nested JSON data whose strings hold no lone surrogates (a model can emit them, JSON
    cannot).
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_printable(k): _printable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(v) for v in value]
    return value


def question_from_json(line: bytes | str) -> Question:
    """Parse the line that `to_json` wrote for a question. Raises pydantic's ValidationError on anything
    else.
    """
    return _QUESTION.validate_json(line)


def trajectory_from_json(line: bytes | str) -> Trajectory:
    """Parse the line that `to_json` wrote for a trajectory. Raises pydantic's ValidationError on anything
    else.
    """
    return _TRAJECTORY.validate_json(line)
