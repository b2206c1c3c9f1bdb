"""Labels of sub-questions from explored trees: by hand, on random trees, and of rows that do not fit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers_scores import answered, write_run
from helpers_trees import Odds, RandomTree, is_right
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import UserError
from src_core.types import DirectAnswer, Finish, Search, Status, Step, Trajectory
from src_eval.boundary import boundary_cells, boundary_of
from src_eval.compare import Entry
from src_eval.expected import Expected
from src_eval.scoring import score_run
from src_eval.tree_labels import Decided, decisions_of
from src_infer.search_record import Asked, Branch, SearchMode, Tree, TreeNode
from src_infer.search_tree import TreeLimits, search_tree
from src_tasks.boundary import Cells

QUESTION = answered("Where was Verdi born?", "Le Roncole", "Le Roncole")


def tree() -> Tree:
    """`Who?` is not known; after a search `Where?` is known; after two, nothing was followed to its end."""
    who, where = Asked("Who wrote it?"), Asked("Where was he born?")
    nodes = [
        TreeNode(0, None, Branch.ROOT, 0, 0, asked=who),
        TreeNode(1, 0, Branch.DIRECT, 0, 1, asked=Asked("")),
        TreeNode(2, 0, Branch.SEARCH, 1, 1, asked=where),
        TreeNode(3, 1, Branch.FINISH, 0, 1, right=False, lost="wrong"),
        TreeNode(4, 2, Branch.DIRECT, 1, 2, asked=Asked("")),
        TreeNode(5, 2, Branch.SEARCH, 2, 2, asked=Asked("When?")),
        TreeNode(6, 4, Branch.FINISH, 1, 2, right=True),
        TreeNode(7, 5, Branch.DIRECT, 2, 3, lost="not_expanded"),
        TreeNode(8, 5, Branch.SEARCH, 3, 3, lost="not_expanded"),
    ]
    return Tree("Q?", SearchMode.FIRST, nodes, winner=6)


def played(*steps: tuple[str, str]) -> Trajectory:
    """A row of the method: each step's decision and sub-question."""
    made, decisions = [], []
    for n, (chosen, asked) in enumerate(steps, start=1):
        action = Search(asked) if chosen == "search" else DirectAnswer(asked, "x")
        made.append(Step(n, "", action))
        decisions.append({"n": n, "chosen": chosen, "search": None, "direct": None})
    end = Step(len(steps) + 1, "", Finish("Le Roncole"))
    return replace(QUESTION, steps=(*made, end), provenance={"decisions": decisions})


def explored(folder: Path, rows: list[Trajectory], tags: str = "a") -> Path:
    return write_run(folder, rows, tags=tags)


def decided(tmp_path: Path, row: Trajectory, *, grown: Any = None) -> Decided:
    run = write_run(tmp_path / "run", [row], tags="a")
    trees = explored(tmp_path / "trees", [replace(QUESTION, provenance={"tree": grown or tree()})])
    found = decisions_of(run, [trees])
    assert found is not None
    return found


WHO, WHERE, WHEN = "who wrote it", "Where was he born?", "When?"


@pytest.mark.parametrize(
    ("steps", "cells", "unlabelled"),
    [
        ([("search", WHO), ("direct", WHERE)], Cells(1, 0, 0, 1), 0),
        ([("search", WHO), ("search", WHERE)], Cells(0, 0, 1, 1), 0),
        ([("direct", WHO)], Cells(0, 1, 0, 0), 0),
        ([("direct", WHO), ("search", "Then?")], Cells(0, 1, 0, 0), 1),  # the tree ends there
        ([("search", "Another?"), ("direct", WHERE)], None, 2),
        ([("search", WHO), ("search", "Another?"), ("search", WHEN)], Cells(0, 0, 0, 1), 2),
        ([("search", WHO), ("search", WHERE), ("direct", WHEN)], Cells(0, 0, 1, 1), 1),  # not followed
    ],
)
def test_labels_by_hand(
    steps: list[tuple[str, str]], cells: Cells | None, unlabelled: int, tmp_path: Path
) -> None:
    assert decided(tmp_path, played(*steps)) == Decided([cells] if cells else [], unlabelled)


def test_what_was_left_out_as_a_duplicate_has_no_label(tmp_path: Path) -> None:
    grown = tree()
    grown.nodes = grown.nodes[:3]
    grown.nodes[1].lost = "duplicate"
    assert decided(tmp_path, played(("search", WHO)), grown=grown) == Decided([], 1)


@given(st.integers(0, 500))
@settings(max_examples=30, deadline=None)
def test_on_a_whole_tree_who_searches_just_what_is_unknown_decides_as_the_labels(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    expander = RandomTree(seed, Odds(fails=0.0, longest=3))
    work = search_tree("Q?", expander=expander, judge=is_right, mode=SearchMode.ALL, limits=TreeLimits())
    grown = asyncio.run(work)
    steps, path = [], ""
    while asked := grown_question(expander, path):
        known = next(expander.right_leaves(path + "D"), None) is not None
        steps.append(("direct" if known else "search", asked))
        path += "D" if known else "S"
    found = decided(tmp_path_factory.mktemp("run"), played(*steps), grown=grown)
    (cells,) = found.counts
    assert cells.wrong_direct == cells.needless_search == found.unlabelled == 0
    assert cells.right_direct == sum(chosen == "direct" for chosen, _ in steps)
    assert cells.total == len(steps) >= 1


def grown_question(expander: RandomTree, path: str) -> str:
    proposal = expander.proposal(path)
    assert isinstance(proposal, Asked)
    return proposal.sub_question


def test_the_exploration_has_to_be_of_the_same_model_and_to_hold_trees(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [played(("search", WHO))], tags="a")
    made = [replace(QUESTION, provenance={"tree": tree()})]
    other, same = explored(tmp_path / "other", made, "b"), explored(tmp_path / "same", made)
    assert decisions_of(run, []) is decisions_of(run, [other]) is None
    assert decisions_of(run, [other, same]) == Decided([Cells(0, 0, 0, 1)], 0)
    plain = write_run(tmp_path / "plain", [QUESTION], tags="a")
    with pytest.raises(UserError, match="plain holds no search trees"):
        decisions_of(run, [plain])
    assert decisions_of(plain, [same]) == Decided([], 0)  # a method without decisions
    failed = write_run(
        tmp_path / "f", [replace(played(("search", WHO)), status=Status.MODEL_ERROR)], tags="a"
    )
    assert decisions_of(failed, [same]) == Decided([], 0)


@pytest.mark.parametrize(
    "broken",
    [{"nodes": 4}, {"nodes": [{"asked": 3}]}, {}, {"nodes": [{}, {"parent": 1, "branch": "direct"}]}],
)
def test_a_tree_that_cannot_be_read_is_named(broken: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"the tree of question {QUESTION.question.id} in .*explore that"):
        decided(tmp_path, played(("search", WHO)), grown=broken or {"x": 1})


def test_the_table_has_the_sub_questions_and_says_what_is_left_out(tmp_path: Path) -> None:
    run = score_run(write_run(tmp_path / "run", [played(("search", WHO), ("direct", "Else?"))], tags="a"))
    entry = Entry("set", "adaptive", "deeprag", run)
    found = boundary_of(
        [entry],
        never=(),
        expected=Expected(),
        decided={("set", "adaptive"): Decided([Cells(1, 0, 0, 1)] * 25, 7)},
    )
    table = boundary_cells(found, never=())
    assert [row.cells[2:4] for row in table.rows] == [["sub-question", "50"]]
    assert table.rows[0].cells[7] == "1.000 [1.000, 1.000]"
    notes = "\n".join(table.notes)
    assert "set, adaptive: 7 decisions are left out" in notes
    assert "in an explored tree of the same model" in notes
    foreign = boundary_of([entry], never=(), expected=Expected(), decided={("set", "adaptive"): None})
    assert foreign.unlabelled == ["set, adaptive: sub-questions"]
