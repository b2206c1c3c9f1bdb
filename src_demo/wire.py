"""What comes in and what goes out: the request of a run, and its events as server-sent events."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from src_core.http_server import RequestError
from src_core.malformed import malformed_page
from src_core.page_step import page_scores, page_step, page_usage
from src_core.page_tree import page_tree
from src_core.text import did_you_mean
from src_core.types import Step, Trajectory, to_json
from src_demo.config import DemoConfig
from src_infer.methods import method_names
from src_tasks.abstention import withheld_text

_KEYS = ("question", "method", "top_k", "t_max")


class RunRequest(NamedTuple):
    """One question, and how to answer it."""

    question: str
    method: str
    top_k: int
    t_max: int


class Event(NamedTuple):
    """One event of a run: `run`, `models`, `draft`, `step`, and one of `answer`, `error`, `stopped` at its
    end.
    """

    kind: str
    data: dict[str, Any]

    def encoded(self) -> bytes:
        """As a server-sent event; JSON holds no line break of its own."""
        return b"event: %b\ndata: %b\n\n" % (self.kind.encode(), to_json(self.data))


def run_request(body: bytes, config: DemoConfig) -> RunRequest:
    """`{"question": text, "method": name, "top_k": 3, "t_max": 8}`; all but the question may be left out.
    Raises `RequestError` with what to change.
    """
    values = _object(body)
    limits = config.serving
    question = values.get("question")
    if not isinstance(question, str) or not question.strip():
        raise RequestError(422, "validation error", "there is no question; enter one first")
    if len(question) > limits.max_question_chars:
        most = limits.max_question_chars
        detail = f"the question has {len(question)} characters, at most {most} are read; shorten it"
        raise RequestError(422, "validation error", detail)
    method = values.get("method", config.method)
    if method != config.method and method not in (known := method_names()):
        near = did_you_mean(str(method)[:40], known)
        detail = f"no method {str(method)[:40]!r}; {near}there are: {', '.join(known)}"
        raise RequestError(422, "validation error", detail)
    top_k = _count(values, "top_k", default=config.top_k, most=limits.max_top_k)
    t_max = _count(values, "t_max", default=config.limits.t_max, most=limits.max_steps)
    return RunRequest(question.strip(), method, top_k, t_max)


def draft_event(step: Step) -> Event:
    """A step whose search is not yet made."""
    return Event("draft", page_step(step))


def step_event(step: Step) -> Event:
    """A whole step, with the passages behind its observation."""
    passages = [
        {"id": passage.id, "title": passage.title, "text": passage.text, "scores": page_scores(passage)}
        for passage in step.passages
    ]
    return Event("step", page_step(step, passages))


def answer_event(trajectory: Trajectory) -> Event:
    """The end of a run that was answered, with the answer that was withheld if one was; the whole trajectory
    goes along as the text of its JSON.
    """
    withheld = withheld_text(trajectory.provenance)
    more = {"withheld": withheld} if withheld else {}
    return Event("answer", {"answer": trajectory.answer, **more, **_outcome(trajectory)})


def error_event(sentence: str, trajectory: Trajectory | None = None) -> Event:
    """The end of a run that failed: a sentence that a person can act on."""
    return Event("error", {"sentence": sentence, **(_outcome(trajectory) if trajectory else {})})


def _outcome(trajectory: Trajectory) -> dict[str, Any]:
    tree = page_tree(trajectory)
    return {
        **({"tree": tree} if tree else {}),
        **malformed_page(trajectory.provenance),
        "status": trajectory.status.value,
        "searches": trajectory.searches,
        "repeated": trajectory.repeated_searches,
        "seconds": trajectory.seconds,
        "usage": page_usage(trajectory.usage),
        "trajectory": to_json(trajectory).decode(),
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(
            400, "bad JSON", f"the body is not valid JSON: {error}; send a JSON object"
        ) from error
    if not isinstance(values, dict):
        raise RequestError(422, "validation error", "the body must be a JSON object")
    if unknown := sorted(set(values) - set(_KEYS)):
        detail = f"unknown key {unknown[0][:40]!r}; known: {', '.join(_KEYS)}"
        raise RequestError(422, "validation error", detail)
    return values


def _count(values: dict[str, Any], name: str, *, default: int, most: int) -> int:
    """A whole number from 1 to `most`; a default stands as the configuration has it."""
    value = values.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not (1 <= value <= max(most, default)):
        detail = f"{name!r} must be a whole number from 1 to {max(most, default)}"
        raise RequestError(422, "validation error", detail)
    return value
