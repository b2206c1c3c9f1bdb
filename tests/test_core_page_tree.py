"""Search trees as data of a page: whole trees, the decisions of one path, and rows of another shape."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from helpers_trees import Odds, RandomTree, is_right
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.page_tree import DEEPEST, ENDS, LARGEST, LOST, PageTree, page_tree
from src_core.types import (
    DirectAnswer,
    Finish,
    Question,
    Search,
    Status,
    Step,
    Trajectory,
    to_json,
    trajectory_from_json,
)
from src_infer.search_record import SearchMode, Stop, Tree
from src_infer.search_tree import TreeLimits, search_tree


def row(steps: tuple[Step, ...] = (), answer: str = "", **provenance: Any) -> Trajectory:
    made = Trajectory(Question("q", "Q?"), steps, answer, Status.FINISHED, provenance=provenance)
    return trajectory_from_json(to_json(made))


def drawn(made: Trajectory) -> PageTree:
    tree = page_tree(made)
    assert tree is not None
    assert "problem" not in tree, tree
    return tree


def grown(seed: int, mode: SearchMode = SearchMode.ALL, **limits: Any) -> Tree:
    work = search_tree(
        "Q?", expander=RandomTree(seed, Odds()), judge=is_right, mode=mode, limits=TreeLimits(**limits)
    )
    return asyncio.run(work)


@given(st.integers(0, 400), st.sampled_from(SearchMode))
@settings(max_examples=40, deadline=None)
def test_a_searched_tree_shows_its_nodes_its_winner_and_why_others_lost(seed: int, mode: SearchMode) -> None:
    tree = grown(seed, mode)
    shown = drawn(row(tree=tree))
    nodes = shown["nodes"]
    assert [node["branch"] for node in nodes] == [node.branch.value for node in tree.nodes]
    assert [node["parent"] for node in nodes[1:]] == [node.parent for node in tree.nodes[1:]]
    won = {at for at, node in enumerate(nodes) if node.get("won")}
    assert won == ({n.id for n in tree.path(tree.nodes[tree.winner])} if tree.winner is not None else set())
    inner = {node.parent for node in tree.nodes}
    for node, own in zip(nodes, tree.nodes, strict=True):
        assert bool(node.get("lost")) == (own.id not in inner and own.id != tree.winner)
        assert own.lost != "wrong" or node["lost"] == "wrong answer"
        if own.id and own.branch != "finish":
            assert node["text"].startswith("What is ")
    assert (shown["hidden"], shown["end"]) == (0, ENDS[tree.stop])


def test_all_ends_and_reasons_have_words() -> None:
    assert {stop.value for stop in Stop} == ENDS.keys()
    reasons = {
        node.lost
        for seed in range(200)
        for mode in SearchMode
        for node in grown(seed, mode).nodes
        if node.lost
    } - {"empty"}  # a code of the helper
    assert {"wrong", "more_retrievals", "later", "not_expanded", "malformed"} <= reasons <= LOST.keys()


def test_a_large_tree_is_cut_and_says_by_how_much() -> None:
    tree = orjson.loads(to_json(grown(1)))
    first = tree["nodes"][1]
    tree["nodes"] = [tree["nodes"][0], *({**first, "id": at, "parent": 0} for at in range(1, 1000))]
    tree["winner"] = None
    wide = drawn(row(tree=tree))
    assert (len(wide["nodes"]), wide["hidden"]) == (LARGEST, 1000 - LARGEST)
    tree["nodes"] = [{**node, "parent": at - 1 if at else None} for at, node in enumerate(tree["nodes"])]
    deep = drawn(row(tree=tree))
    assert (len(deep["nodes"]), deep["hidden"]) == (DEEPEST + 1, 1000 - DEEPEST - 1)
    assert all(node["parent"] == at - 1 for at, node in enumerate(deep["nodes"]))


BAD: list[Any] = [
    "text", 7, [], {}, {"nodes": 3}, {"nodes": [7]}, {"nodes": [{}]}, {"nodes": []},
    {"nodes": [], "winner": 0},
    {"nodes": [{"branch": "root", "retrievals": "x"}]},
    {"nodes": [{"branch": "<b>", "retrievals": 0}]},
    {"nodes": [{"branch": "root", "retrievals": 0}, {"branch": "direct", "parent": 1, "retrievals": 0}]},
    {"nodes": [{"branch": "root", "retrievals": 0}, {"branch": "direct", "parent": True, "retrievals": 0}]},
    {"nodes": [{"branch": "root", "retrievals": 0, "step": 4}]},
    {"nodes": [{"branch": "root", "retrievals": 0}], "winner": 9},
]  # fmt: skip


@pytest.mark.parametrize("tree", BAD, ids=str)
def test_a_tree_of_another_shape_is_a_problem_and_no_crash(tree: Any) -> None:
    found = page_tree(row(tree=tree))
    assert found is not None
    assert found["problem"].startswith("the tree of this row cannot be read")


KEYS = st.sampled_from(["nodes", "parent", "branch", "winner", "step", "action", "asked", "retrievals"])
PLAIN = st.none() | st.booleans() | st.integers(-9, 9) | st.text()
JSON = st.recursive(PLAIN, lambda x: st.lists(x) | st.dictionaries(KEYS, x), max_leaves=12)


@settings(deadline=None)
@given(JSON)
def test_whatever_a_row_holds_is_drawn_or_a_problem(value: Any) -> None:
    for key in ("tree", "decisions"):
        found = page_tree(row(**{key: value}))
        assert found is None or "problem" in found or found["nodes"]


STEPS = (
    Step(1, "", DirectAnswer("Who wrote Aida?", "Verdi")),
    Step(2, "", Search("Where was Verdi born?"), conclusion="Le Roncole"),
    Step(3, "", DirectAnswer("Who wrote Aida?", "Verdi"), repeated=True),
    Step(4, "He was born there.", Finish("Le Roncole")),
)
DECISIONS = [
    {"n": 1, "chosen": "direct", "search": -2.5, "direct": -0.25},
    {"n": 2, "chosen": "search", "search": None, "direct": None},
]


def test_decisions_show_what_was_not_taken() -> None:
    nodes = drawn(row(STEPS, "Le Roncole", decisions=DECISIONS))["nodes"]
    shape = [(node["parent"], node["branch"], bool(node.get("won"))) for node in nodes]
    assert shape == [
        (-1, "root", True),
        (0, "direct", True),
        (0, "search", False),
        (1, "direct", False),
        (1, "search", True),
        (4, "direct", True),  # repeated, nothing was decided
        (5, "finish", True),
    ]
    assert (nodes[1]["score"], nodes[2]["score"], nodes[2]["lost"]) == (-0.25, -2.5, "not taken")
    assert "score" not in nodes[4]
    assert (nodes[4]["answer"], nodes[6]["answer"], nodes[6]["searches"]) == ("Le Roncole", "Le Roncole", 1)


def test_two_equal_decisions_stand_one_below_the_other() -> None:
    same = tuple(Step(n, "", DirectAnswer("Q?", "A")) for n in (1, 2, 3))
    made = [{"n": n, "chosen": "direct", "search": None, "direct": None} for n in (1, 2, 3)]
    assert [node["parent"] for node in drawn(row(same, "A", decisions=made))["nodes"]] == [
        -1, 0, 0, 1, 1, 3, 3, 5,
    ]  # fmt: skip


def test_a_row_that_a_limit_ended_has_the_readers_answer_and_others_have_no_tree() -> None:
    nodes = drawn(row(STEPS[:2], "by the reader", decisions=DECISIONS))["nodes"]
    assert (nodes[-1]["branch"], nodes[-1]["answer"]) == ("finish", "by the reader")
    assert page_tree(row(STEPS, "x")) is None
    assert page_tree(row(STEPS, "x", decisions=[])) is None
