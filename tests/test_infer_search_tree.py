"""The tree search: minimal paths on random trees, limits, failures, and the replay from the record."""

from __future__ import annotations

import asyncio
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import BoundaryError, ContextFullError, ModelError
from src_core.protocols.deeprag import DeepRag
from src_core.protocols.deeprag_lines import ANSWER, FINAL, FOLLOW_UP, LONG, NO_INFO, ask_line
from src_core.protocols.records import ParsedStep
from src_core.types import DirectAnswer, Search, Step, to_json
from src_infer.episode import Node
from src_infer.search_record import (
    Asked,
    Branch,
    Expander,
    Failure,
    ReplayExpander,
    SearchMode,
    Stop,
    Tree,
    answer_of,
    replay_clock,
    tree_from_json,
)
from src_infer.search_tree import Children, TreeLimits, search_tree
from tests.helpers_trees import COST, RIGHT, MergingTree, Odds, RandomTree, is_right

FIRST, ALL = SearchMode.FIRST, SearchMode.ALL
BENCH = Path(__file__).resolve().parents[1] / "scripts/bench"
PLAIN = DeepRag(documents=False)


def run(expander: Any, **more: Any) -> Tree:
    more.setdefault("limits", TreeLimits(max_nodes=2000))
    return asyncio.run(search_tree("Who?", expander=expander, judge=is_right, **more))


def cost(tree: Tree) -> tuple[int, int] | None:
    winner = None if tree.winner is None else tree.nodes[tree.winner]
    return None if winner is None else (winner.retrievals, winner.depth)


def shape(tree: Tree) -> list[Any]:
    """What must not depend on the width or on when children are made: the path that wins."""
    return [] if tree.winner is None else [node.branch for node in tree.path(tree.nodes[tree.winner])]


@pytest.mark.parametrize("children", list(Children))
def test_on_a_thousand_random_trees_the_path_has_the_fewest_retrievals(children: Children) -> None:
    solved = 0
    for seed in range(1000):
        world = RandomTree(seed, Odds(longest=1 + seed % 5))
        tree = run(world, children=children)
        assert cost(tree) == world.best(), seed
        assert tree.stop is (Stop.FOUND if tree.winner else Stop.EXHAUSTED)
        solved += tree.winner is not None
    assert 300 < solved < 900  # neither outcome is rare


class Forgetful(MergingTree):
    """The same world, in which every prefix counts as different."""

    def state(self, node: Node) -> None:  # type: ignore[override]
        return None


def test_following_one_of_equal_states_finds_the_same_path_in_fewer_calls() -> None:
    calls = dict.fromkeys((MergingTree, Forgetful), 0)
    for seed in range(250):
        odds = Odds(longest=1 + seed % 5, direct=0.5, search=0.75)
        for children in Children:
            made = {}
            for kind in calls:
                world = kind(seed, odds)
                tree = run(world, children=children)
                made[kind] = (shape(tree), cost(tree), tree.stop)
                calls[kind] += len(world.calls)
                assert cost(tree) == world.best()
            assert made[MergingTree] == made[Forgetful], seed
    assert calls[MergingTree] < 0.75 * calls[Forgetful]


@given(seed=st.integers(0, 10**6), width=st.integers(2, 7), children=st.sampled_from(list(Children)))
@settings(max_examples=60, deadline=None)
def test_a_wide_search_leaves_out_no_cheaper_path_with_an_equal_state(
    seed: int, width: int, children: Children
) -> None:
    world = MergingTree(seed, Odds(5, direct=0.5, search=0.75))
    tree = run(world, children=children, limits=TreeLimits(max_nodes=2000, width=width))
    assert cost(tree) == world.best()


def test_a_duplicate_is_on_record_and_the_whole_tree_has_none() -> None:
    odds = Odds(longest=3, ends=0.0, direct=0.3, search=0.9, fails=0.0)
    seen = 0
    for seed in range(40):
        tree = run(MergingTree(seed, odds))
        states = [
            MergingTree(seed, odds).state(tree.prefix(node))
            for node in tree.nodes
            if node.asked is not None and not isinstance(node.asked, Failure)
        ]
        assert len(states) == len(set(states))
        for node in tree.nodes:
            if node.lost == "duplicate":
                seen += 1
                assert node.step is not None
                assert not tree.children(node)
        whole = run(MergingTree(seed, odds), mode=ALL)
        assert len(whole.leaves) == 2**3
        assert "duplicate" not in {node.lost for node in whole.nodes}
    assert seen > 20


@given(
    seed=st.integers(0, 10**6),
    longest=st.integers(1, 5),
    width=st.integers(2, 7),
    fails=st.sampled_from([0.0, 0.1, 0.4]),
)
@settings(max_examples=60, deadline=None)
def test_width_mode_and_lazy_children_give_the_same_path(
    seed: int, longest: int, width: int, fails: float
) -> None:
    odds = Odds(longest, direct=0.6, search=0.8, fails=fails)
    plain = run(RandomTree(seed, odds))
    wide = TreeLimits(max_nodes=2000, width=width)
    for more in (
        {"limits": wide},
        {"children": Children.AS_NEEDED},
        {"mode": ALL},
        {"mode": ALL, "limits": wide},
    ):
        other = run(RandomTree(seed, odds), **more)
        assert shape(other) == shape(plain)
        assert cost(other) == RandomTree(seed, odds).best()


def test_the_first_right_leaf_ends_the_search_and_costs_never_fall() -> None:
    """The queue gives costs in rising order, so that the first right leaf cannot be beaten."""
    for seed in range(100):
        tree = run(RandomTree(seed))
        costs = [
            (tree.nodes[id_].retrievals, tree.nodes[id_].depth, id_)
            for entry in tree.log
            for id_ in entry.nodes
        ]
        assert costs == sorted(costs)
        right = [leaf for leaf in tree.leaves if leaf.right]
        assert [leaf.id for leaf in right] == ([] if tree.winner is None else [tree.winner])


def test_all_leaves_are_kept_and_each_loser_has_its_reason() -> None:
    seen: set[str] = set()
    for seed in range(60):
        world = RandomTree(seed, Odds(direct=0.7, search=0.9))
        tree = run(world, mode=ALL)
        assert tree.stop is Stop.EXHAUSTED
        right = {leaf.id for leaf in tree.leaves if leaf.right}
        assert len(right) == len(list(world.right_leaves()))
        for node in tree.nodes:
            ends = not tree.children(node) and node.id != tree.winner
            assert bool(node.lost) == ends
            seen.add(node.lost)
            if node.id in right and node.id != tree.winner:
                assert node.lost in ("more_retrievals", "more_steps", "later")
                assert tree.rank(node) > tree.rank(tree.nodes[tree.winner or 0])
    assert {"wrong", "more_retrievals", "more_steps", "empty", "malformed"} <= seen


def test_lazy_children_save_calls_and_never_make_more() -> None:
    calls = dict.fromkeys(Children, 0)
    for seed in range(200):
        made = {}
        for children in Children:
            world = RandomTree(seed, Odds(direct=0.7, search=0.9, fails=0.0))
            run(world, children=children)
            made[children] = len(world.calls)
            calls[children] += made[children]
        assert made[Children.AS_NEEDED] <= made[Children.AT_ONCE]
    assert calls[Children.AS_NEEDED] < 0.9 * calls[Children.AT_ONCE]


def test_both_children_are_made_at_once_and_a_wide_round_all_together() -> None:
    world = RandomTree(3, Odds(fails=0.0, ends=0.0))
    run(world, mode=ALL)
    assert world.most == 2
    world = RandomTree(3, Odds(fails=0.0, ends=0.0))
    run(world, mode=ALL, limits=TreeLimits(max_nodes=2000, width=8))
    assert world.most == 16


def test_a_failed_reply_is_recorded_and_its_sibling_goes_on() -> None:
    class Half(RandomTree):
        async def answer_directly(self, node: Node, sub_question: str) -> Step | Failure:
            return Failure("empty", COST)

    tree = run(Half(1, Odds(longest=2, ends=0.0, search=1.0, fails=0.0)))
    assert shape(tree) == [Branch.ROOT, Branch.SEARCH, Branch.SEARCH, Branch.FINISH]
    dead = [node for node in tree.nodes if node.branch is Branch.DIRECT]
    assert [(node.failure, node.lost, node.usage) for node in dead] == [("empty", "empty", COST)] * 2
    assert tree.usage.calls == 3 + 4 + 1


def test_a_full_context_ends_the_branch_only() -> None:
    class Narrow(RandomTree):
        async def answer_after_search(self, node: Node, sub_question: str) -> Step | Failure:
            raise ContextFullError("too long")

    tree = run(Narrow(1, Odds(longest=2, direct=1.0, fails=0.0)), mode=ALL)
    assert {node.failure for node in tree.nodes if node.branch is Branch.SEARCH} == {"context_full"}
    assert tree.winner is not None


def test_a_failed_server_raises_its_own_error_at_every_call() -> None:
    whole = RandomTree(5)
    run(whole, mode=ALL)
    for calls in range(1, len(whole.calls) + 1):
        with pytest.raises(BoundaryError) as failed:
            run(RandomTree(5, broken=calls), mode=ALL, limits=TreeLimits(max_nodes=2000, width=3))
        assert type(failed.value) is ModelError


def test_the_limit_of_steps_forces_an_answer_without_a_proposal() -> None:
    world = RandomTree(2, Odds(longest=9, ends=0.0, direct=1.0, fails=0.0))
    tree = run(world, limits=TreeLimits(max_steps=3))
    assert cost(tree) == (0, 3)
    assert "propose DDD" not in world.calls
    assert tree.nodes[tree.nodes[tree.winner or 0].parent or 0].asked is None


@pytest.mark.parametrize(
    ("limits", "stop"),
    [
        (TreeLimits(max_nodes=9), Stop.NODES),
        (TreeLimits(max_nodes=2000, max_tokens=100), Stop.TOKENS),
        (TreeLimits(max_nodes=2000, max_seconds=5.0), Stop.SECONDS),
    ],
)
def test_each_limit_ends_the_search_with_its_name(limits: TreeLimits, stop: Stop) -> None:
    ticks = iter(range(10_000))
    world = RandomTree(4, Odds(longest=9, ends=0.0, direct=0.0, search=0.0, fails=0.0))
    tree = run(world, limits=replace(limits, max_steps=9), mode=ALL, clock=lambda: float(next(ticks)))
    assert (tree.stop, tree.winner) == (stop, None)
    assert len(tree.nodes) <= limits.max_nodes + 1
    assert {node.lost for node in tree.nodes} == {"", "not_expanded"}


@given(
    seed=st.integers(0, 10**6),
    mode=st.sampled_from(list(SearchMode)),
    children=st.sampled_from(list(Children)),
    width=st.integers(1, 4),
    seconds=st.sampled_from([0.0, 4.0]),
    world=st.sampled_from([RandomTree, MergingTree]),
)
@settings(max_examples=100, deadline=None)
def test_a_search_is_replayed_from_its_record(
    seed: int, mode: SearchMode, children: Children, width: int, seconds: float, world: type[RandomTree]
) -> None:
    ticks = iter(range(10_000))
    asked: dict[str, Any] = {
        "mode": mode,
        "children": children,
        "limits": TreeLimits(max_nodes=40, width=width, max_seconds=seconds),
    }
    tree = run(world(seed), clock=lambda: float(next(ticks)), **asked)
    read = tree_from_json(orjson.loads(to_json(tree)))
    assert read == tree
    again = run(ReplayExpander(read), clock=replay_clock(read), **asked)
    assert again == tree


def test_a_replay_that_takes_another_way_is_an_error() -> None:
    tree = run(RandomTree(1, Odds(direct=1.0, fails=0.0)))
    with pytest.raises(KeyError):
        run(ReplayExpander(tree), mode=ALL)


def test_a_question_that_is_finished_at_once_has_a_leaf_below_the_root() -> None:
    tree = run(RandomTree(1, Odds(longest=0, fails=0.0)))
    assert [node.branch for node in tree.nodes] == [Branch.ROOT, Branch.FINISH]
    assert answer_of(tree.nodes[1]) != RIGHT
    best = tree.best()
    assert best is not None
    assert (tree.winner, best.id, best.lost) == (None, 1, "wrong")


def test_the_order_of_the_release_takes_a_search_too_many_now_and_then() -> None:
    """What `scripts/bench/tree_search.py` compares with: the reference has 6 to 31 % of its paths."""
    search = runpy.run_path(str(BENCH / "release_tree.py"))["release_search"]
    longer = found = 0
    for seed in range(300):
        world = RandomTree(seed, Odds(longest=2 + seed % 4, ends=0.0, direct=0.6, search=0.8, fails=0.0))
        theirs = asyncio.run(search("Who?", new_expander=lambda w=world: w, judge=is_right, max_steps=9))
        best = world.best()
        assert (theirs is None) == (best is None)
        if best is not None:
            found += 1
            longer += theirs > best[0]
            assert theirs - best[0] in (0, 1)
    assert 0.06 < longer / found < 0.31


def test_the_world_of_the_fake_server_has_the_cheapest_path_that_its_replies_lead_to() -> None:
    fake = runpy.run_path(str(BENCH / "fake_slots.py"))

    class World(Expander):
        """Asks the fake server's replies, with the transcript of Stage I."""

        async def propose(self, node: Node) -> Asked | Failure:
            text = self.reply(node, "" if node.steps else FOLLOW_UP)
            return Asked("" if text.startswith(FINAL) else text.removeprefix(FOLLOW_UP).strip())

        async def answer_directly(self, node: Node, sub_question: str) -> Step | Failure:
            text = self.reply(node, f"{ask_line(sub_question)}{ANSWER}")
            return Step(1, "", DirectAnswer(sub_question, text.strip()))

        async def answer_after_search(self, node: Node, sub_question: str) -> Step | Failure:
            messages = [
                {"role": "user", "content": sub_question},
                {"role": "assistant", "content": "Answer:"},
            ]
            text = fake["reply"](messages, (), same).strip()
            return (
                Failure("no_related_info")
                if text == NO_INFO
                else Step(1, "", Search(sub_question), conclusion=text)
            )

        async def finish(self, node: Node) -> Step | Failure:
            parsed = PLAIN.parse(f"{FINAL} {LONG}{self.reply(node, f'{FINAL} {LONG}')}")
            assert isinstance(parsed, ParsedStep)
            return Step(1, parsed.thought, parsed.action)

        def state(self, node: Node) -> str:
            return self.written(node)

        def written(self, node: Node) -> str:
            return "".join(turn["reasoning"] for turn in PLAIN.turns(node.question, node.steps)[1:])

        def reply(self, node: Node, begun: str) -> str:
            written = self.written(node) + begun
            messages = [{"role": "user", "content": f"Question: {node.question}"}]
            return fake["reply"]([*messages, {"role": "assistant", "content": written}], (LONG,), same)

    for same in (True, False):
        for item in range(40):
            search = search_tree(f"What is item {item}?", expander=World(), judge=is_right)
            tree = asyncio.run(search)
            won = None if tree.winner is None else tree.nodes[tree.winner].retrievals
            assert won == fake["best"](item, same=same)
