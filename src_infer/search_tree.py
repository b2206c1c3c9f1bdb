"""Binary tree search over sub-questions: each is answered from the model's own knowledge and after a search,
and the cheapest right path wins (DeepRAG, Algorithm 1; reference deeprag.md section 6).

Uniform-cost search: the queue is ordered by (retrievals, steps, insertion). A child costs at least what its
parent costs, so costs leave the queue in rising order, and the first right leaf is minimal: a cheaper one
would hang on a cheaper entry, which would have left the queue before. The release gives both children the
priority of the retrieved one, so that ties decide and 6 to 31 % of its paths hold one search too many
(`scripts/bench/tree_search.py`). How we differ further: steps, nodes, tokens and seconds have limits of their
own; an empty reply ends one branch, not both; the two children are made at once, or the searched one when the
queue comes to it; where both answers read the same, only the cheaper one is followed (`Expander.state`); a
failed server ends the question with its error, never with half a tree; the whole search can be replayed from
its record.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from src_core.config import Count, NotNegative, Positive, config_class
from src_core.errors import ContextFullError
from src_core.types import NO_USAGE, Step
from src_infer.search_record import (
    Asked,
    Branch,
    Expander,
    Expansion,
    Failure,
    SearchMode,
    Stop,
    Tree,
    TreeNode,
    answer_of,
)

T = TypeVar("T")
Judge = Callable[[str], bool]
"""Whether a final answer is right."""
CONTEXT_FULL, DUPLICATE = "context_full", "duplicate"


class Children(StrEnum):
    """When the answer after a search is made: together with the direct answer (`at_once`), or only when the
    queue comes to it (`as_needed`), which saves calls and searches and finds the same path.
    """

    AT_ONCE = "at_once"
    AS_NEEDED = "as_needed"


@config_class
class TreeLimits:
    """When a tree stops growing. After `max_steps` sub-questions the final answer is forced; the others end
    the search: nodes (leaves and failures included), prompt and completion tokens, seconds (0: no limit).

    `width` entries of the queue are expanded at once. The result does not depend on it; `first` with a width
    above 1 asks for more than it needs, `all` asks the same and ends sooner.
    """

    max_steps: Positive = 6
    max_nodes: Positive = 200
    max_tokens: Count = 0
    max_seconds: NotNegative = 0.0
    width: Positive = 1


class _Entry(NamedTuple):
    """A node in the queue. `order` is its id, which counts insertions."""

    retrievals: int
    depth: int
    order: int


class _Grown(NamedTuple):
    """What an expansion returned: the node's own step where it was made now, its sub-question, its children
    (None: not made yet), its state.
    """

    own: Step | Failure | None
    asked: Asked | Failure | None
    children: tuple[tuple[Branch, Step | Failure | None], ...] = ()
    state: str | None = None


async def search_tree(
    question: str,
    *,
    expander: Expander,
    judge: Judge,
    mode: SearchMode = SearchMode.FIRST,
    limits: TreeLimits | None = None,
    children: Children = Children.AT_ONCE,
    clock: Callable[[], float] | None = None,
) -> Tree:
    """Search from the question until a right leaf cannot be beaten (`first`), the queue is empty, or a limit
    is reached. `clock` gives the seconds since the start, read once per round. Raises the `BoundaryError` of
    a call, after cancelling those that run beside it.
    """
    growth = _Growth(question, limits or TreeLimits(), mode)
    clock = clock or _seconds_since(time.perf_counter())
    while True:
        now = clock()
        ids = growth.next_round(now)
        growth.tree.log.append(Expansion(now, tuple(ids)))
        if not ids:
            return growth.ended()
        work = [_expand(growth, id_, expander, children) for id_ in ids]
        for id_, grown in zip(ids, await together(*work), strict=True):
            growth.add(id_, grown, judge)


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """All results in order. The first error cancels the rest and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except* Exception as failed:  # noqa: BLE001 - unwraps the group; every error is raised
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


class _Growth:
    """A growing tree and its queue. It does no I/O."""

    def __init__(self, question: str, limits: TreeLimits, mode: SearchMode) -> None:
        self.tree = Tree(question, mode, [TreeNode(0, None, Branch.ROOT, 0, 0)])
        self.limits = limits
        self._queue = [_Entry(0, 0, 0)]
        self._expanded: dict[str, _Entry] = {}  # the cheapest node with a state
        self._usage = NO_USAGE

    def next_round(self, now: float) -> list[int]:
        """The ids of the nodes to expand now; none at the end, whose reason is then set."""
        stop = self._stop(now)
        if stop is not None:
            self.tree.stop = stop
            return []
        room = (self.limits.max_nodes - len(self.tree.nodes) + 1) // 2  # each makes up to two nodes
        count = min(self.limits.width, len(self._queue), room)
        return [heapq.heappop(self._queue).order for _ in range(count)]

    def repeats(self, node: TreeNode, state: str | None) -> bool:
        """Whether a node with the same state was expanded before that costs less or came first. Where the
        whole tree is wanted, nothing is left out.
        """
        before = self._expanded.get(state) if state is not None else None
        return before is not None and self.tree.mode is SearchMode.FIRST and before < _entry(node)

    def add(self, id_: int, grown: _Grown, judge: Judge) -> None:
        """Enter what an expansion returned."""
        node = self.tree.nodes[id_]
        if grown.state is not None:
            before = self._expanded.get(grown.state, _entry(node))
            self._expanded[grown.state] = min(before, _entry(node))
        if grown.own is not None:
            self._enter(node, grown.own)
        node.asked = grown.asked
        if grown.asked is not None:
            node.usage += grown.asked.usage
            self._usage += grown.asked.usage
        for branch, made in grown.children:
            self._child(node, branch, made, judge)

    def ended(self) -> Tree:
        """The tree with its winner and with the reason why each other end lost."""
        best = self.tree.best()
        winner = best if best is not None and best.right else None
        self.tree.winner = winner.id if winner else None
        inner = {node.parent for node in self.tree.nodes}
        for node in self.tree.nodes:
            if node.id not in inner and node is not winner:
                node.lost = _why_lost(node, winner)
        return self.tree

    def _child(self, parent: TreeNode, branch: Branch, made: Step | Failure | None, judge: Judge) -> None:
        leaf = branch is Branch.FINISH
        node = TreeNode(
            len(self.tree.nodes),
            parent.id,
            branch,
            parent.retrievals + (branch is Branch.SEARCH),
            parent.depth + (not leaf),
        )
        self.tree.nodes.append(node)
        if made is not None:
            self._enter(node, made)
        if leaf and not node.failure:
            node.right = judge(answer_of(node))
        elif not leaf and not node.failure:
            heapq.heappush(self._queue, _entry(node))

    def _enter(self, node: TreeNode, made: Step | Failure) -> None:
        if isinstance(made, Failure):
            node.failure, node.step = made.reason, made.step
        else:
            node.step = made
        node.usage += made.usage
        self._usage += made.usage

    def _stop(self, now: float) -> Stop | None:
        limits = self.limits
        best = self.tree.best() if self.tree.mode is SearchMode.FIRST else None
        if best is not None and best.right and (not self._queue or self.tree.rank(best)[1:] < self._queue[0]):
            return Stop.FOUND
        if not self._queue:
            return Stop.EXHAUSTED
        if len(self.tree.nodes) >= limits.max_nodes:
            return Stop.NODES
        if limits.max_tokens and self._usage.total_tokens >= limits.max_tokens:
            return Stop.TOKENS
        return Stop.SECONDS if limits.max_seconds and now >= limits.max_seconds else None


async def _expand(growth: _Growth, id_: int, expander: Expander, children: Children) -> _Grown:
    """Make the children of a node; first the node itself, where it waits for its search."""
    tree, limits = growth.tree, growth.limits
    record = tree.nodes[id_]
    prefix, own = tree.prefix(record), None
    if record.step is None and record.parent is not None:
        above = tree.nodes[record.parent].asked
        assert isinstance(above, Asked)  # only a sub-question has children that wait
        own = await _or_full(expander.answer_after_search(prefix, above.sub_question))
        if isinstance(own, Failure):
            return _Grown(own, None)
        prefix = prefix.child(own)
    state = expander.state(prefix)
    if growth.repeats(record, state):
        return _Grown(own, Failure(DUPLICATE))
    asked = await _or_full(expander.propose(prefix)) if record.depth < limits.max_steps else None
    if isinstance(asked, Failure):
        return _Grown(own, asked)
    if asked is None or not asked.sub_question:
        written = asked.end if asked else None
        end = written or await _or_full(expander.finish(prefix))
        return _Grown(own, asked, ((Branch.FINISH, end),), state)
    direct = _or_full(expander.answer_directly(prefix, asked.sub_question))
    if children is Children.AS_NEEDED:
        return _Grown(own, asked, ((Branch.DIRECT, await direct), (Branch.SEARCH, None)), state)
    found = _or_full(expander.answer_after_search(prefix, asked.sub_question))
    made = await together(direct, found)
    return _Grown(own, asked, ((Branch.DIRECT, made[0]), (Branch.SEARCH, made[1])), state)


async def _or_full(call: Awaitable[T | Failure]) -> T | Failure:
    """The result of a call; a failure where the prefix no longer fits the model's context."""
    try:
        return await call
    except ContextFullError:
        return Failure(CONTEXT_FULL)


def _entry(node: TreeNode) -> _Entry:
    return _Entry(node.retrievals, node.depth, node.id)


def _why_lost(node: TreeNode, winner: TreeNode | None) -> str:
    if node.failure:
        return node.failure
    if isinstance(node.asked, Failure):
        return node.asked.reason
    if node.right is None:
        return "not_expanded"
    if not node.right or winner is None:
        return "wrong"
    if node.retrievals > winner.retrievals:
        return "more_retrievals"
    return "more_steps" if node.depth > winner.depth else "later"


def _seconds_since(start: float) -> Callable[[], float]:
    return lambda: time.perf_counter() - start
