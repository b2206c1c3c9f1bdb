"""The tree search of DeepRAG's release, for `tree_search.py`: its order and its calls (reference deeprag.md,
sections 6.2 and 15).

Both children of a node have the priority of the searched one, in a heap that compares nothing else, so that
ties decide; an empty direct answer abandons both; the calls come one after the other. The judge is ours: the
release accepts either text inside the other.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_infer.episode import Node
from src_infer.search_record import Branch, Expander, Failure, TreeNode, answer_of
from src_infer.search_tree import Judge


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An entry of the release's queue: nothing but the priority is compared."""

    priority: int
    node: Node
    searches: int

    def __lt__(self, other: _Waiting) -> bool:
        return self.priority < other.priority


async def release_search(
    question: str, *, new_expander: Callable[[], Expander], judge: Judge, max_steps: int
) -> int | None:
    """The searches on the first right path in the order of the release; None where all paths are wrong. Each
    node has an expander of its own, which remembers nothing.
    """
    queue = [_Waiting(0, Node(question), 0)]
    while queue:
        entry = heapq.heappop(queue)
        node, searches, expander = entry.node, entry.searches, new_expander()
        forced = len(node.steps) >= max_steps
        asked = None if forced else await expander.propose(node)
        if isinstance(asked, Failure):
            continue
        if asked is None or not asked.sub_question:
            end = await expander.finish(node)
            if not isinstance(end, Failure):
                leaf = TreeNode(0, None, Branch.FINISH, searches, len(node.steps), end)
                if judge(answer_of(leaf)):
                    return searches
            continue
        direct = await expander.answer_directly(node, asked.sub_question)
        if isinstance(direct, Failure):
            continue
        heapq.heappush(queue, _Waiting(searches + 1, node.child(direct), searches))
        found = await expander.answer_after_search(node, asked.sub_question)
        if not isinstance(found, Failure):
            heapq.heappush(queue, _Waiting(searches + 1, node.child(found), searches + 1))
    return None
