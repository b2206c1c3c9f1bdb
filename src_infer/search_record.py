"""The record of a tree search: its nodes, the order of its expansions, and the replay from that record.

A record holds all that the models wrote, so `ReplayExpander` and `replay_clock` run the same search again
without a model (`search_tree.search_tree`), and a page can draw the tree. It is plain data: `to_json` of
`src_core.types` writes it, `tree_from_json` reads it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from src_core.types import NO_USAGE, Finish, Search, Step, Usage
from src_infer.episode import Node


class Branch(StrEnum):
    """How a node came from its parent: the question itself, an answer from the model's own knowledge, an
    answer after a search, or the final answer.
    """

    ROOT = "root"
    DIRECT = "direct"
    SEARCH = "search"
    FINISH = "finish"


class SearchMode(StrEnum):
    """`first` ends at the cheapest right leaf (Stage I); `all` expands the whole tree (Stage II)."""

    FIRST = "first"
    ALL = "all"


class Stop(StrEnum):
    """Why a search ended: a right leaf that no other leaf can beat, an empty queue, or a limit."""

    FOUND = "found"
    EXHAUSTED = "exhausted"
    NODES = "nodes"
    TOKENS = "tokens"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class Asked:
    """The next sub-question; "" where the model is ready to give the final answer, which is `end` where it
    was written with it.
    """

    sub_question: str
    usage: Usage = NO_USAGE
    end: Step | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A reply that is no sub-question or step, or a step from which nothing can follow: a short code
    (`malformed`, `no_related_info`, …) and what it cost. The branch ends; its sibling goes on.
    """

    reason: str
    usage: Usage = NO_USAGE
    step: Step | None = None


class Expander(ABC):
    """What a tree search asks for. Each call raises `BoundaryError` where a server failed after all retries;
    `ContextFullError` ends the branch only.
    """

    @abstractmethod
    async def propose(self, node: Node) -> Asked | Failure:
        """The next sub-question after the prefix `node`."""

    @abstractmethod
    async def answer_directly(self, node: Node, sub_question: str) -> Step | Failure:
        """The step that answers from the model's own knowledge."""

    @abstractmethod
    async def answer_after_search(self, node: Node, sub_question: str) -> Step | Failure:
        """The step that searches and answers from what was found."""

    @abstractmethod
    async def finish(self, node: Node) -> Step | Failure:
        """The step with the final answer."""

    def state(self, node: Node) -> str | None:  # noqa: ARG002 - for those that know it
        """What all further replies depend on: prefixes with one state have the same subtree. None where every
        prefix counts as different.
        """
        return None


@dataclass(slots=True)
class TreeNode:
    """One node. `retrievals` and `depth` count the searches and the answered sub-questions on its path;
    `step` is what was written (None for the root, for a reply that is no step, and for a search that is not
    made yet), `failure` the code of a failure.

    `asked` is what was proposed at this node: a sub-question, a failure, or None where the node was not
    expanded or the final answer was forced. `right` is the verdict of a leaf. `lost` says why a dead end or a
    leaf is not the result: a failure's code, `duplicate` (a cheaper node has the same state), `wrong`,
    `more_retrievals`, `more_steps`, `later` (equal cost, found later), `not_expanded`; "" for inner nodes and
    the winner. `usage` covers step and sub-question.
    """

    id: int
    parent: int | None
    branch: Branch
    retrievals: int
    depth: int
    step: Step | None = None
    failure: str = ""
    asked: Asked | Failure | None = None
    right: bool | None = None
    lost: str = ""
    usage: Usage = NO_USAGE


class Rank(NamedTuple):
    """The order of leaves: right ones first, then the fewest retrievals, the fewest steps, the earliest.

    DeepRAG's reward -C(o) * T(s) (section 4 of the reference) is undefined for a wrong answer without a
    retrieval (infinity times zero), so the comparison is lexicographic.
    """

    wrong: bool
    retrievals: int
    depth: int
    order: int


@dataclass(frozen=True, slots=True)
class Expansion:
    """One entry of the log: the nodes that were expanded together (by id, in the order of the queue), and the
    seconds since the start. The last entry has no nodes: there the search ended.
    """

    at: float
    nodes: tuple[int, ...] = ()


@dataclass(slots=True)
class Tree:
    """A finished search. `winner` is the id of the best right leaf, None where no leaf is right."""

    question: str
    mode: SearchMode
    nodes: list[TreeNode] = field(default_factory=list)
    log: list[Expansion] = field(default_factory=list)
    stop: Stop = Stop.EXHAUSTED
    winner: int | None = None

    @property
    def usage(self) -> Usage:
        """The token usage of all calls."""
        return sum((node.usage for node in self.nodes), NO_USAGE)

    @property
    def leaves(self) -> list[TreeNode]:
        """The nodes with a final answer, in the order in which they were found."""
        return [node for node in self.nodes if node.branch is Branch.FINISH and not node.failure]

    def rank(self, leaf: TreeNode) -> Rank:
        """The rank of a leaf: the smallest is the best."""
        return Rank(leaf.right is not True, leaf.retrievals, leaf.depth, leaf.parent or 0)

    def best(self) -> TreeNode | None:
        """The best leaf, right or not; None for a tree without leaves."""
        return min(self.leaves, key=self.rank, default=None)

    def path(self, node: TreeNode) -> list[TreeNode]:
        """The nodes from the root to `node`."""
        found = [node]
        while (parent := found[-1].parent) is not None:
            found.append(self.nodes[parent])
        return found[::-1]

    def children(self, node: TreeNode) -> list[TreeNode]:
        """The children of `node`."""
        return [other for other in self.nodes if other.parent == node.id]

    def prefix(self, node: TreeNode) -> Node:
        """The prefix that ends at `node`."""
        prefix = Node(self.question)
        for each in self.path(node):
            prefix = prefix.child(each.step) if each.step is not None else prefix
        return prefix


def answer_of(leaf: TreeNode) -> str:
    """The final answer of a leaf."""
    action = leaf.step.action if leaf.step is not None else None
    return action.answer if isinstance(action, Finish) else ""


_TREE = TypeAdapter(Tree)


def tree_from_json(value: Any) -> Tree:
    """The tree in JSON data (`dict`). Raises pydantic's ValidationError on anything else."""
    return _TREE.validate_python(value)


class ReplayExpander(Expander):
    """Answers each call of a search from the record of an earlier one. Raises `KeyError` for a call that the
    record does not hold, which means that the search took another way.
    """

    def __init__(self, tree: Tree) -> None:
        self._nodes = {_branches(tree.prefix(node)): node for node in tree.nodes if node.step is not None}
        self._nodes[()] = tree.nodes[0]
        self._children = {(node.parent, node.branch): node for node in tree.nodes}

    async def propose(self, node: Node) -> Asked | Failure:
        """The recorded sub-question."""
        found = self._nodes[_branches(node)].asked
        if found is None:
            raise KeyError(f"nothing was proposed after {_branches(node)}")
        return found

    async def answer_directly(self, node: Node, sub_question: str) -> Step | Failure:  # noqa: ARG002
        """The recorded step or failure."""
        return self._child(node, Branch.DIRECT)

    async def answer_after_search(self, node: Node, sub_question: str) -> Step | Failure:  # noqa: ARG002
        """The recorded step or failure."""
        return self._child(node, Branch.SEARCH)

    async def finish(self, node: Node) -> Step | Failure:
        """The recorded step or failure."""
        return self._child(node, Branch.FINISH)

    def _child(self, node: Node, branch: Branch) -> Step | Failure:
        child = self._children[self._nodes[_branches(node)].id, branch]
        if child.failure:
            return Failure(child.failure, child.usage, child.step)
        if child.step is None:
            raise KeyError(f"{branch} was not made after {_branches(node)}")
        return child.step


def replay_clock(tree: Tree) -> Callable[[], float]:
    """The readings of the clock of a recorded search, in their order."""
    readings = iter([entry.at for entry in tree.log])
    return lambda: next(readings)


def _branches(node: Node) -> tuple[Branch, ...]:
    """The branches on the path to a prefix, which name it within its tree."""
    kinds = {Search: Branch.SEARCH, Finish: Branch.FINISH}
    return tuple(kinds.get(type(step.action), Branch.DIRECT) for step in node.steps)
