"""Labels of sub-questions, from explored trees: does the model's own answer to one lead to a right answer?

A set has golds for its questions only, and a label of the question says little of a sub-question: a method
that searches just what it does not know would look bad. An exploration of the same questions by the same
model (`src_data.deeprag.explore` with `mode: all`) has answered each sub-question both ways. A sub-question
is known where a right leaf hangs below its direct answer, unknown where none does, and without a label where
what hangs there was not followed to its end. A run's decisions are found in the tree as long as it asked the
same sub-questions; those after another one have no label.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from src_core.errors import UserError
from src_core.rundir import ROWS, present_only, question_of
from src_core.served import models_key
from src_core.types import RETRIED
from src_eval.scoring import read_answers, read_manifest
from src_tasks.boundary import Cells, count
from src_tasks.question_text import question_key

Row = dict[str, Any]
DIRECT, SEARCH = "direct", "search"
_BRANCHES = {"direct_answer": DIRECT, "search": SEARCH}
_OPEN = ("not_expanded", "duplicate")
_BROKEN = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class Decided(NamedTuple):
    """The counts of each question with a labelled decision, and the number of decisions without a label."""

    counts: list[Cells]
    unlabelled: int


def decisions_of(run: Path, explorations: Sequence[Path]) -> Decided | None:
    """The decisions of a run with the labels of the first exploration by its model; None where none is by its
    model. Raises `UserError` for a folder that holds no run or no trees.
    """
    manifest = read_manifest(run)
    agent = models_key(manifest.get("servers"), roles=("agent",))
    for folder in explorations:
        if models_key(read_manifest(folder).get("servers"), roles=("agent",)) == agent:
            return _decided(present_only(read_answers(run / ROWS), manifest), _trees(folder), folder)
    return None


def _trees(folder: Path) -> dict[str, Row]:
    found = {}
    for row in read_answers(folder / ROWS):
        tree = (row.get("provenance") or {}).get("tree")
        if isinstance(tree, dict):
            found[question_of(row)] = tree
    if not found:
        raise UserError(f"{folder} holds no search trees; name a run directory of src_data.deeprag.explore")
    return found


def _decided(rows: Iterator[Row], trees: Mapping[str, Row], folder: Path) -> Decided:
    """The last row of a question counts, as in a resumed run."""
    answered = {question_of(row): row for row in rows if row["status"] not in RETRIED}
    counts, unlabelled = [], 0
    for name, row in answered.items():
        made = (row.get("provenance") or {}).get("decisions") or ()
        try:
            labelled = list(_labelled(row, trees[name])) if name in trees else []
        except _BROKEN as error:
            raise UserError(
                f"the tree of question {name} in {folder / ROWS} is not as it was written; "
                "explore that question again"
            ) from error
        unlabelled += len(made) - len(labelled)
        if labelled:
            counts.append(count(labelled))
    return Decided(counts, unlabelled)


def _labelled(row: Row, tree: Row) -> Iterator[tuple[bool, bool]]:
    """(searched, known) of each decision of a row with a label."""
    nodes = tree["nodes"]
    children: dict[tuple[int, str], int] = {}
    for number, node in enumerate(nodes[1:], start=1):
        children[node["parent"], node["branch"]] = number
    known = _known(nodes)
    chosen = {decision["n"]: decision["chosen"] for decision in row["provenance"].get("decisions") or ()}
    at = 0
    for step in row["steps"]:
        action = step["action"]
        branch = _BRANCHES.get(action["function"], "")
        asked = action.get("sub_question") or action.get("query") or ""
        there = (nodes[at].get("asked") or {}).get("sub_question") or ""
        if not branch or step["n"] not in chosen or question_key(asked) != question_key(there):
            return
        direct = children.get((at, DIRECT))
        label = known[direct] if direct is not None else None
        if label is not None:
            yield branch == SEARCH, label
        following = children.get((at, branch))
        if following is None:
            return
        at = following


def _known(nodes: Sequence[Row]) -> list[bool | None]:
    """For each node: whether a right leaf hangs below it; None where none does and something is open."""
    found: list[bool | None] = []
    for node in nodes:
        opened = node.get("lost") in _OPEN
        found.append(True if node.get("right") is True else None if opened else False)
    for number in range(len(nodes) - 1, 0, -1):  # a child stands after its parent
        parent = nodes[number]["parent"]
        if not 0 <= parent < number:
            raise ValueError("a parent does not stand before its child")
        if found[number] is True or (found[number] is None and found[parent] is False):
            found[parent] = found[number]
    return found
