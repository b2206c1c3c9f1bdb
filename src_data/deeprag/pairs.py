"""Preference pairs from explored trees (DeepRAG, Chain of Calibration; reference deeprag.md section 8).

A pair of a decision shares the question, the steps before and the sub-question that was really asked; its
sides are the two lines that may follow, and nothing else:

    Follow up: When was Ann Lee born?
    Let's search the question in Wikipedia.        or        Intermediate answer:

The line break belongs to the first side, as tokenizers write `.` and a line break as one token; after the
colon a new token begins whatever the answer is. A pair is made only where both children were evaluated: each
ends in an answer or in documents that hold none, and nothing that is not expanded could still change the
order. How we differ from the release: the last pair of a question holds its sub-question (there the original
question), and a tie gives no pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from src_core.protocols.deeprag import DeepRag
from src_core.protocols.deeprag_lines import ANSWER, SEARCH, ask_line
from src_core.protocols.records import Turn
from src_infer.search_record import Asked, Branch, Tree, TreeNode
from src_infer.tree_roles import NO_INFO


class Variant(StrEnum):
    """Which pairs are made: at the decisions on the cheapest right path (`path`, the paper's), at every
    decision of the tree (`all_node`), or of whole right trajectories, of which the one with fewer searches is
    chosen (`sentence_wise`). The last two are ablations of the paper.
    """

    PATH = "path"
    ALL_NODE = "all_node"
    SENTENCE_WISE = "sentence_wise"


class Skip(StrEnum):
    """Why a decision gives no pair."""

    GUESSABLE = "guessable"
    NO_RIGHT_LEAF = "no_right_leaf"
    FAILED = "failed"
    NO_LEAF = "no_leaf"
    NOT_EXPANDED = "not_expanded"
    TIE = "tie"
    BOTH_WRONG = "both_wrong"

    @property
    def meaning(self) -> str:
        """The reason in plain words, for tables."""
        return _MEANINGS[self]


_MEANINGS = {
    Skip.GUESSABLE: "the answer is yes, no or a name in the question, so a guess may be right",
    Skip.NO_RIGHT_LEAF: "no leaf of the tree is right",
    Skip.FAILED: "a reply of a child was empty, malformed or too long for the context",
    Skip.NO_LEAF: "no branch of a child comes to an end",
    Skip.NOT_EXPANDED: "what was not expanded could change the order",
    Skip.TIE: "both children lead to a right answer with as many searches",
    Skip.BOTH_WRONG: "both children lead to wrong answers only",
}
RETRIEVE, DIRECT, WHOLE = "retrieve", "direct", "whole"
"""The kinds of pairs: what the chosen side decides; `whole` for trajectories."""


class PreferencePair(NamedTuple):
    """A pair in the form that `src_train.pairs` reads."""

    kind: str
    prompt: list[Turn]
    chosen: list[Turn]
    rejected: list[Turn]
    unfinished: bool

    def row(self, question_id: str) -> dict[str, Any]:
        """The row of the pair file."""
        return {"format": DeepRag.name, **self._asdict(), "question_id": question_id}


class _Value(NamedTuple):
    """The ends below a node: how many, the searches of the best right one, and the fewest searches of a node
    that was not expanded (None: there is none).
    """

    ends: int = 0
    right: int | None = None
    open_from: int | None = None


def pairs_of(tree: Tree, protocol: DeepRag, variant: Variant) -> Iterator[PreferencePair | Skip]:
    """The pairs of a tree, and the reason for each decision without one."""
    if tree.winner is None:
        yield Skip.NO_RIGHT_LEAF
    elif variant is Variant.SENTENCE_WISE:
        yield from _whole_pairs(tree, protocol)
    else:
        yield from _decision_pairs(tree, protocol, path_only=variant is Variant.PATH)


def _decision_pairs(tree: Tree, protocol: DeepRag, *, path_only: bool) -> Iterator[PreferencePair | Skip]:
    values = _values(tree)
    winner = tree.nodes[tree.winner or 0]
    nodes = tree.path(winner) if path_only else tree.nodes
    for node in nodes:
        children = {child.branch: child for child in tree.children(node)}
        if not {Branch.DIRECT, Branch.SEARCH} <= children.keys():
            continue
        better = _better(children, values)
        yield better if isinstance(better, Skip) else _decision(tree, node, protocol, better)


def _better(children: dict[Branch, TreeNode], values: list[_Value]) -> Branch | Skip:
    """The branch that leads to a right answer with fewer searches (a wrong answer loses to every right one).
    On the cheapest right path this is the branch that was taken, unless it is a tie.
    """
    direct, search = (children[branch] for branch in (Branch.DIRECT, Branch.SEARCH))
    if {direct.failure, search.failure} - {"", NO_INFO}:
        return Skip.FAILED
    found = {branch: values[child.id] for branch, child in children.items()}
    costs = {branch: value.right for branch, value in found.items() if value.right is not None}
    if not costs:
        return Skip.BOTH_WRONG if all(value.ends for value in found.values()) else Skip.NO_LEAF
    best = min(costs, key=lambda branch: costs[branch])
    (other,) = (value for branch, value in found.items() if branch is not best)
    if other.right == costs[best]:
        return Skip.TIE
    if other.open_from is not None and other.open_from <= costs[best]:
        return Skip.NOT_EXPANDED
    return best if other.ends else Skip.NO_LEAF


def _decision(tree: Tree, node: TreeNode, protocol: DeepRag, better: Branch) -> PreferencePair:
    asked = node.asked
    assert isinstance(asked, Asked)  # a node with two children has one
    prompt = protocol.turns(tree.question, tree.prefix(node).steps)
    prompt.append(_written(ask_line(asked.sub_question)))
    sides = [_written(f"{SEARCH}\n")], [_written(ANSWER)]
    if better is Branch.SEARCH:
        return PreferencePair(RETRIEVE, prompt, *sides, unfinished=True)
    return PreferencePair(DIRECT, prompt, *sides[::-1], unfinished=True)


def _whole_pairs(tree: Tree, protocol: DeepRag) -> Iterator[PreferencePair | Skip]:
    """The best right trajectory against the best one of each larger number of searches."""
    right = sorted((leaf for leaf in tree.leaves if leaf.right), key=tree.rank)
    worse: dict[int, TreeNode] = {}
    for leaf in right:
        if leaf.retrievals > right[0].retrievals:
            worse.setdefault(leaf.retrievals, leaf)
    if not worse:
        yield Skip.TIE
    turns = [protocol.turns(tree.question, tree.prefix(leaf).steps) for leaf in (right[0], *worse.values())]
    for rejected in turns[1:]:
        yield PreferencePair(WHOLE, turns[0][:1], turns[0][1:], rejected[1:], unfinished=False)


def _values(tree: Tree) -> list[_Value]:
    """The value of each node, from the leaves up (a child has a larger id than its parent)."""
    values = [_Value()] * len(tree.nodes)
    for node in reversed(tree.nodes):
        below = [values[child.id] for child in tree.children(node)]
        own = _Value()
        if node.branch is Branch.FINISH and not node.failure:
            own = _Value(1, node.retrievals if node.right else None)
        elif node.failure == NO_INFO:
            own = _Value(1)
        elif node.lost == "not_expanded":
            own = _Value(open_from=node.retrievals)
        every = [own, *below]
        values[node.id] = _Value(
            sum(value.ends for value in every),
            min((value.right for value in every if value.right is not None), default=None),
            min((value.open_from for value in every if value.open_from is not None), default=None),
        )
    return values


def _written(text: str) -> Turn:
    return {"role": "assistant", "reasoning": text}
