"""The search tree of one question, as a row of an exploration."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from src_core.errors import BoundaryError
from src_core.types import Passage, Question, Status, Trajectory
from src_data.deeprag.config import ExploreConfig
from src_infer.deeprag.players import student_roles, teacher_roles
from src_infer.deeprag.roles import Roles
from src_infer.episode import failure_status
from src_infer.metering import metered, with_web_searches
from src_infer.runtime import Runtime
from src_infer.search_record import Tree, answer_of
from src_infer.search_tree import search_tree
from src_infer.tree_roles import RolesExpander
from src_retrieval.client import Retriever
from src_tasks.choices import asked_text
from src_tasks.metrics import is_right


async def explore(question: Question, config: ExploreConfig, runtime: Runtime) -> Trajectory:
    """The tree of one question as a row. A boundary error is a row without a tree, which a resumed run
    replaces.
    """
    begun = time.perf_counter()
    with metered() as meter:
        try:
            tree = await _search(question, config, runtime)
            gold = config.gold_documents and tree.winner is None and bool(question.supporting)
            if gold:
                tree = await _search(question, config, _with_gold(runtime, question))
        except BoundaryError as error:
            return Trajectory(
                question, (), "", failure_status(error), meter.usage, time.perf_counter() - begun, str(error)
            )
    row = tree_row(question, tree, teacher=_teacher(config, runtime), gold_documents=gold)
    row = replace(row, usage=meter.usage, seconds=time.perf_counter() - begun)
    return with_web_searches(row, meter)


def tree_row(question: Question, tree: Tree, *, teacher: str, gold_documents: bool) -> Trajectory:
    """A tree as a trajectory: its best path, right or not, with the tree in the provenance."""
    best = tree.best()
    provenance: dict[str, Any] = {"teacher": teacher, "chain": 0, "gold_documents": gold_documents}
    return Trajectory(
        question,
        tree.prefix(best).steps if best else (),
        answer_of(best) if best else "",
        Status.FINISHED if best else Status.MALFORMED_THEN_ANSWERED,
        tree.usage,
        provenance={**provenance, "right": tree.winner is not None, "tree": tree},
    )


async def _search(question: Question, config: ExploreConfig, runtime: Runtime) -> Tree:
    return await search_tree(
        asked_text(question),
        expander=RolesExpander(_roles(config, runtime)),
        judge=partial(is_right, golds=question.answers, min_f1=config.min_f1),
        mode=config.search_mode,
        limits=config.tree,
        children=config.children,
    )


def _roles(config: ExploreConfig, runtime: Runtime) -> Roles:
    if config.stage == "imitation":
        return teacher_roles(runtime, config.roles, prompt=config.teacher_prompt)
    return student_roles(runtime, config.roles)


def _teacher(config: ExploreConfig, runtime: Runtime) -> str:
    """The model that wrote the sub-questions; of a path as a name only its last part, since provenance is
    published with the data.
    """
    model = runtime.reader if config.stage == "imitation" else runtime.policy.model
    return model.name.rstrip("/").rpartition("/")[2] if model.name.startswith("/") else model.name


class _GoldRetriever:
    """Finds the gold passages of one question, whatever is asked."""

    def __init__(self, retriever: Retriever, ids: Sequence[str]) -> None:
        self._retriever, self._ids = retriever, ids

    async def search(self, query: str, top_n: int) -> list[Passage]:  # noqa: ARG002 - as a `Retriever`
        """All gold passages. Raises `RetrieverError`, also for one that the corpus lacks."""
        return await self._retriever.passages(self._ids)

    async def passages(self, ids: Sequence[str]) -> list[Passage]:
        """See `Retriever.passages`."""
        return await self._retriever.passages(ids)

    async def close(self) -> None:
        """The retriever is closed by its owner."""


def _with_gold(runtime: Runtime, question: Question) -> Runtime:
    return replace(runtime, retriever=_GoldRetriever(runtime.retriever, question.supporting))
