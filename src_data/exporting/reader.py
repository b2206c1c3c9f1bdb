"""Training rows for the reader, from the same trajectories: one model can then be both agent and reader.

A search becomes (sub-query, its passages) -> one short sentence, the whole trajectory (its searches) -> the
short answer. The prompts are those that the RAG engine and the final answer send. The right reply is known
where the decomposition teacher followed an annotation (its value, or that the passages do not say); for a
trajectory of another teacher it is its reader's reply, provided that the observations are a reader's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from src_core.passage_view import PassageView, passage_block
from src_core.text import fill
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


def reader_rows(chain: Trajectory, *, view: PassageView) -> Iterator[Turns]:
    """The reader's conversations of a chain: `system` (for the final answer only), `user`, `assistant`.
    `view` is what the reader sees of a passage, as at inference. There are no rows for a trajectory whose
    observations are passages and whose teacher had no decomposition.
    """
    replies = _replies(chain)
    if replies is None:
        return
    steps = []
    for step, reply in zip(chain.steps, replies, strict=True):
        steps.append(replace(step, observation=reply or step.observation))
        if reply and step.passages and not step.repeated and isinstance(step.action, Search):
            query = step.action.query
            context = passage_block(step.passages, view=view, query=query)
            yield _row(fill(load_prompt("observe"), context=context, question=query), reply)
    prompt = fill(load_prompt("final"), context=searches_block(steps), question=asked_text(chain.question))
    yield _row(prompt, finish_answer(chain.steps), system=load_prompt("final_system"))


def _row(prompt: str, reply: str, *, system: str = "") -> Turns:
    turns: Turns = [{"role": "system", "content": system}] if system else []
    return [*turns, {"role": "user", "content": prompt}, {"role": "assistant", "reasoning": reply}]


def _replies(chain: Trajectory) -> list[str] | None:
    """The reader's reply at each step ("" for a step without a search); None when it is not known."""
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
    return bool(step.passages) and (step.observation or "").startswith(f"[1] {step.passages[0].title}")
