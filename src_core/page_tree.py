"""A search tree as data of a page: report and live page draw it with `page/parts.js`.

A row of an exploration holds a whole tree (`provenance.tree`, `src_infer.search_record`). A row of DeepRAG's
method holds the decisions on its one path (`provenance.decisions`), shown as a tree whose other branches were
not taken. Both were written by this project around the words of models; what has another shape is shown as a
problem, and what is very large is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from src_core.page_step import page_number
from src_core.types import DirectAnswer, Finish, Search, Step, Trajectory

LARGEST, DEEPEST = 400, 40
"""Nodes that are shown, and their depth."""
BRANCHES = ("root", "direct", "search", "finish")
ENDS = {
    "found": "ended with a right answer that nothing left could beat",
    "exhausted": "every branch was followed to its end",
    "nodes": "ended at the limit of nodes",
    "tokens": "ended at the limit of tokens",
    "seconds": "ended at the limit of seconds",
}
LOST = {
    "wrong": "wrong answer",
    "more_retrievals": "right, but with more searches than the best",
    "more_steps": "right, but with more sub-questions than the best",
    "later": "right at the same cost, but found later",
    "not_expanded": "not followed: it could not beat the best, or a limit came first",
    "duplicate": "not followed: it reads as a node with fewer searches",
    "malformed": "the reply could not be read",
    "no_related_info": "the documents hold no answer",
    "context_full": "the text no longer fits the model's context",
    "not_taken": "not taken",
}


class PageNode(TypedDict, total=False):
    """One node; `parent` is a place in the list (-1: none), always before the node itself. `text` is what was
    asked or concluded, `answer` what came of it, `lost` why it is not the result, `score` the log-probability
    of the decision.
    """

    parent: int
    branch: str
    text: str
    answer: str
    lost: str
    searches: int
    right: bool
    won: bool
    score: float


class PageTree(TypedDict, total=False):
    """The nodes in their order, the number of nodes that are left out, and how the search ended; `problem`
    where the tree cannot be read.
    """

    nodes: list[PageNode]
    hidden: int
    end: str
    problem: str


def page_tree(trajectory: Trajectory) -> PageTree | None:
    """The tree of a row; None for a row without one."""
    provenance = trajectory.provenance
    try:
        if provenance.get("tree") is not None:
            return _searched(provenance["tree"])
        if provenance.get("decisions"):
            return _decided(trajectory, provenance["decisions"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return {"problem": f"the tree of this row cannot be read ({type(error).__name__})"}
    return None


def _searched(tree: Mapping[str, Any]) -> PageTree:
    """A tree in JSON data, as `src_core.types.to_json` wrote it."""
    rows = list(tree["nodes"])
    if not rows:
        raise ValueError("a tree has a root")
    on_way = _way(rows, tree.get("winner"))
    places: dict[int, int] = {}
    depths: dict[int, int] = {}
    nodes: list[PageNode] = []
    for number, row in enumerate(rows):
        parent = -1 if number == 0 else _index(row["parent"], number)
        depths[number] = 0 if number == 0 else depths[parent] + 1
        if depths[number] > DEEPEST or len(nodes) >= LARGEST or (number and parent not in places):
            continue
        places[number] = len(nodes)
        nodes.append(_node(row, rows[parent] if number else None, places.get(parent, -1), number in on_way))
    return {"nodes": nodes, "hidden": len(rows) - len(nodes), "end": _words(tree.get("stop"), ENDS)}


def _index(value: Any, below: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < below:
        raise ValueError("a parent does not stand before its child")
    return value


def _way(rows: Sequence[Mapping[str, Any]], winner: Any) -> set[int]:
    """The nodes from the root to the winner."""
    found: set[int] = set()
    at = None if winner is None else _index(winner, len(rows))
    while at is not None:
        found.add(at)
        at = _index(rows[at]["parent"], at) if at else None
    return found


def _node(row: Mapping[str, Any], parent: Mapping[str, Any] | None, place: int, won: bool) -> PageNode:
    branch = str(row["branch"])
    if branch not in BRANCHES:
        raise ValueError("a branch of no known kind")
    asked = (parent or {}).get("asked") or {}
    text, answer = _said(row.get("step") or {}, str(asked.get("sub_question") or ""))
    node = PageNode(parent=place, branch=branch, text=text, answer=answer)
    node["searches"] = int(row["retrievals"])
    if row.get("lost"):
        node["lost"] = _words(row["lost"], LOST)
    if isinstance(row.get("right"), bool):
        node["right"] = row["right"]
    if won:
        node["won"] = True
    return node


def _said(step: Mapping[str, Any], asked: str) -> tuple[str, str]:
    """The sub-question and its answer, or the last thought and the final answer."""
    action = step.get("action") or {}
    if action.get("function") == "finish":
        return str(step.get("thought") or ""), str(action.get("answer") or "")
    asked = str(action.get("sub_question") or action.get("query") or asked)
    return asked, str(action.get("answer") or step.get("conclusion") or "")


def _decided(trajectory: Trajectory, decisions: Sequence[Mapping[str, Any]]) -> PageTree:
    """The one path of a method that decides, with the branch that it did not take beside each step."""
    made = {int(decision["n"]): decision for decision in decisions}
    nodes: list[PageNode] = [PageNode(parent=-1, branch="root", text="", answer="", searches=0, won=True)]
    at = searches = 0
    for step in trajectory.steps[:DEEPEST]:
        searches += isinstance(step.action, Search) and not step.repeated
        decision = made.get(step.n)
        taken = _taken(step, at, searches)
        if decision is None:
            nodes.append(taken)
            at = len(nodes) - 1
            continue
        other = "direct" if taken["branch"] == "search" else "search"
        left = PageNode(parent=at, branch=other, text=taken["text"], answer="", lost=LOST["not_taken"])
        for node in (taken, left):
            score = page_number(decision.get(node["branch"]))
            if score is not None:
                node["score"] = score
        nodes += [left, taken] if other == "direct" else [taken, left]
        at = len(nodes) - (1 if other == "direct" else 2)
    if trajectory.answer and nodes[at]["branch"] != "finish":
        nodes.append(
            PageNode(
                parent=at, branch="finish", text="", answer=trajectory.answer, searches=searches, won=True
            )
        )
    return {"nodes": nodes, "hidden": max(len(trajectory.steps) - DEEPEST, 0), "end": ""}


def _taken(step: Step, parent: int, searches: int) -> PageNode:
    match step.action:
        case Finish(answer=answer):
            branch, text = "finish", step.thought
        case Search(query=text):
            branch, answer = "search", step.conclusion
        case DirectAnswer(sub_question=text, answer=answer):
            branch = "direct"
    return PageNode(parent=parent, branch=branch, text=text, answer=answer, searches=searches, won=True)


def _words(code: Any, known: Mapping[str, str]) -> str:
    return known.get(str(code), str(code).replace("_", " "))
