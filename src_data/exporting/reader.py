"""Rows for the reader's role, out of the same chains: one model can then play both parts of the loop.

A search becomes (sub-query, its passages) -> one short sentence, the whole chain (its searches) -> the
short answer. The prompts are those that the RAG engine and the final answer send. What the reader should
have said is known where the decomposition teacher followed an annotation (its value, or that the passages
do not say); a chain of another teacher shows what its reader said, provided that the observations are a
reader's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from src_core.text import fill, passage_block
from src_core.types import Search, Step, Trajectory
from src_data.annotated_teacher import decompose
from src_data.annotated_teacher.decomposition import Decomposition, Kind
from src_data.annotated_teacher.teacher import DecompositionTeacher, replay
from src_data.annotated_teacher.thought_templates import known
from src_data.filters.filter_trajectory import finish_answer
from src_infer.prompts import load_prompt, searches_block
from src_tasks.choices import asked_text

Turns = list[dict[str, Any]]
NOT_SAID = "The passages do not say."


def reader_rows(chain: Trajectory, *, max_chars: int) -> Iterator[Turns]:
    """The reader's conversations of a chain: `system` (for the final answer only), `user`, `assistant`.
    `max_chars` per passage, as at inference. Nothing for a chain whose observations are passages and whose
    teacher had no decomposition.
    """
    replies = _replies(chain)
    if replies is None:
        return
    steps = []
    for step, reply in zip(chain.steps, replies, strict=True):
        steps.append(replace(step, observation=reply or step.observation))
        if reply and step.passages and not step.repeated and isinstance(step.action, Search):
            context = passage_block(step.passages, max_chars=max_chars)
            yield _row(fill(load_prompt("observe"), context=context, question=step.action.query), reply)
    prompt = fill(load_prompt("final"), context=searches_block(steps), question=asked_text(chain.question))
    yield _row(prompt, finish_answer(chain.steps), system=load_prompt("final_system"))


def _row(prompt: str, reply: str, *, system: str = "") -> Turns:
    turns: Turns = [{"role": "system", "content": system}] if system else []
    return [*turns, {"role": "user", "content": prompt}, {"role": "assistant", "reasoning": reply}]


def _replies(chain: Trajectory) -> list[str] | None:
    """What the reader says at each step ("" where nothing is searched); None when that is not known."""
    decomposition = decompose(chain.question)
    if chain.provenance.get("teacher") == DecompositionTeacher.name and isinstance(
        decomposition, Decomposition
    ):
        if decomposition.kind is Kind.GATHER:  # its queries ask for passages, not for facts
            return None
        return [_annotated(decomposition, chain.steps[: at + 1]) for at in range(len(chain.steps))]
    if any(_shows_passages(step) for step in chain.steps):
        return None
    return [step.observation or "" for step in chain.steps]


def _annotated(decomposition: Decomposition, steps: tuple[Step, ...]) -> str:
    """The sentence about the hop that the last of `steps` asked for."""
    if not isinstance(steps[-1].action, Search):
        return ""
    before, after = replay(decomposition, steps[:-1]).found, replay(decomposition, steps).found
    return f"{known(decomposition, len(after), after)}." if len(after) > len(before) else NOT_SAID


def _shows_passages(step: Step) -> bool:
    return bool(step.passages) and passage_block(step.passages[:1], max_chars=40)[:40] in (
        step.observation or ""
    )
