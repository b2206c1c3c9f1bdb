"""DeepRAG's data stages: exploration that survives a kill, paths to imitate, pairs of decisions."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from helpers_llm import FakeLLM, write_items
from helpers_runs import Run
from helpers_train import FAMILIES, tokenizer_folder
from helpers_trees import GOLD, RIGHT, Odds, RandomTree, facts, is_right, knows, tree_reply
from rich.console import Console

from src_core.chat_tokenizer import ChatTokenizer
from src_core.config import load_config
from src_core.conversations import read_conversations
from src_core.errors import UserError
from src_core.protocols.deeprag import INSTRUCTION, DeepRag
from src_core.protocols.deeprag_lines import ANSWER, FOLLOW_UP, SEARCH
from src_core.protocols.records import PromptStyle
from src_core.rowfiles import RawRow
from src_core.types import Question, Step, to_json
from src_data.deeprag.calibration import balanced, make_pairs
from src_data.deeprag.config import CalibrationConfig, ExploreConfig, ImitationConfig, ImitationFilter
from src_data.deeprag.explore import questions_of
from src_data.deeprag.imitation import imitate
from src_data.deeprag.pairs import DIRECT, RETRIEVE, PreferencePair, Skip, Variant, pairs_of
from src_data.deeprag.paths import PathChoice, choose_leaf
from src_data.deeprag.question_tree import tree_row
from src_infer.episode import Node
from src_infer.search_record import Failure, SearchMode, Tree
from src_infer.search_tree import TreeLimits, search_tree
from src_tasks.guessable import is_guessable
from src_train.pairs import Pair, encode_pair, parse_pair

PROTOCOL = DeepRag()
GOOD = Odds(longest=3, ends=0.3, direct=0.6, search=0.85, fails=0.05)


def explored(world: RandomTree, mode: SearchMode = SearchMode.ALL, **limits: Any) -> Tree:
    wanted = TreeLimits(**{"max_nodes": 500, **limits})
    return asyncio.run(search_tree("Who?", expander=world, judge=is_right, mode=mode, limits=wanted))


def pairs(tree: Tree, variant: Variant = Variant.PATH) -> list[PreferencePair]:
    return [found for found in pairs_of(tree, PROTOCOL, variant) if not isinstance(found, Skip)]


def trees(count: int, odds: Odds = GOOD) -> Iterator[tuple[RandomTree, Tree]]:
    for seed in range(count):
        world = RandomTree(seed, odds)
        yield world, explored(world)


def branches(pair: PreferencePair) -> str:
    """The branches on the way to the decision of a pair, as letters."""
    steps = PROTOCOL.parse_trajectory(
        "".join(
            turn.get("reasoning", f"Context:\n{turn['content']}\n" if "content" in turn else "")
            for turn in pair.prompt[1:-1]
        )
    ).steps
    return "".join("S" if step.observation else "D" for step in steps)


@pytest.mark.parametrize("variant", [Variant.PATH, Variant.ALL_NODE])
def test_the_sides_of_a_pair_differ_only_behind_its_last_sub_question(variant: Variant) -> None:
    kinds: Counter[str] = Counter()
    for world, tree in trees(80):
        for pair in pairs(tree, variant):
            kinds[pair.kind] += 1
            path = branches(pair)
            asked = world.proposal(path).sub_question
            assert pair.prompt[0] == {"role": "user", "content": PROTOCOL.render_question("Who?")}
            assert pair.prompt[-1] == {"role": "assistant", "reasoning": f"{FOLLOW_UP} {asked}\n"}
            sides = [side[0]["reasoning"] for side in (pair.chosen, pair.rejected)]
            assert sorted(sides) == sorted([f"{SEARCH}\n", ANSWER])
            assert (sides[0] == ANSWER) == (pair.kind == DIRECT)
            best = {letter: world.best(path + letter) for letter in "DS"}
            better, worse = ("D", "S") if pair.kind == DIRECT else ("S", "D")
            assert best[better] is not None  # it leads to a right answer, with fewer searches than the other
            assert best[worse] is None or best[better][0] < best[worse][0]
            read = parse_pair(RawRow("line 1", json.loads(json.dumps(pair.row("q")))))
            assert isinstance(read, Pair), read
            assert read.unfinished
    assert kinds[RETRIEVE] > 10
    assert kinds[DIRECT] > 10


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_tokens_of_a_pair_differ_only_behind_its_last_sub_question(family: str, tmp_path: Path) -> None:
    tokenizer = ChatTokenizer(tokenizer_folder(tmp_path / "model", family))
    texts: list[set[str]] = []
    for world, tree in trees(25):
        for pair in pairs(tree):
            read = parse_pair(RawRow("line 1", json.loads(json.dumps(pair.row("q")))))
            assert isinstance(read, Pair), read
            sides = [side.encoded for side in encode_pair("line 1", read, tokenizer, PromptStyle())]
            shared = next(
                at
                for at, (one, other) in enumerate(zip(*(s.ids for s in sides), strict=False))
                if one != other
            )
            asked = world.proposal(branches(pair)).sub_question
            before = tokenizer.decode(sides[0].ids[:shared].tolist())
            assert before.endswith(f"{FOLLOW_UP} {asked}\n")
            assert before.count(FOLLOW_UP) == len(branches(pair)) + 1 + INSTRUCTION.count(FOLLOW_UP)
            for side in sides:
                assert not side.trainable[:shared].any()
                assert side.trainable[shared:].all()
            texts.append({tokenizer.decode(side.ids[shared:].tolist()) for side in sides})
    assert len(texts) > 10
    assert all(sides == {f"{SEARCH}\n", ANSWER} for sides in texts)


def test_a_decision_without_a_pair_has_its_reason() -> None:
    seen: Counter[Skip] = Counter()
    for world, tree in trees(150):
        found = list(pairs_of(tree, PROTOCOL, Variant.ALL_NODE))
        seen.update(each for each in found if isinstance(each, Skip))
        if found == [Skip.NO_RIGHT_LEAF]:
            assert world.best() is None
    assert {Skip.NO_RIGHT_LEAF, Skip.FAILED, Skip.TIE, Skip.BOTH_WRONG} <= set(seen)


def test_a_tie_gives_no_pair() -> None:
    """Both the direct and the searched answer to the second question lead to one search in all."""

    class Tie(RandomTree):
        def final(self, path: str) -> str:
            return RIGHT if path in ("DS", "SD") else "wrong"

    tree = explored(Tie(1, Odds(longest=2, ends=0.0, fails=0.0)))
    assert next(pairs_of(tree, PROTOCOL, Variant.PATH)) is Skip.TIE
    assert [pair.kind for pair in pairs(tree)] == [RETRIEVE]  # after the direct answer only a search is right


def test_documents_that_hold_no_answer_count_against_the_search() -> None:
    class Empty(RandomTree):
        async def answer_after_search(self, node: Node, sub_question: str) -> Step | Failure:
            found = await super().answer_after_search(node, sub_question)
            return Failure("no_related_info", found.usage, found) if isinstance(found, Step) else found

    easy = Odds(longest=2, ends=0.0, direct=1.0, fails=0.0)
    assert [pair.kind for pair in pairs(explored(Empty(1, easy)))] == [DIRECT, DIRECT]
    hard = explored(Empty(1, easy._replace(direct=0.0)))
    assert list(pairs_of(hard, PROTOCOL, Variant.PATH)) == [Skip.NO_RIGHT_LEAF]


def test_a_child_that_was_not_expanded_far_enough_gives_no_pair() -> None:
    whole = explored(RandomTree(1, Odds(longest=3, ends=0.0, direct=0.0, search=1.0, fails=0.0)))
    cut = explored(RandomTree(1, Odds(longest=3, ends=0.0, direct=0.0, search=1.0, fails=0.0)), max_nodes=20)
    assert len(pairs(whole)) == 3
    assert cut.winner is None  # the only right leaf costs three searches
    first = explored(RandomTree(1, Odds(longest=2, direct=1.0, fails=0.0)), SearchMode.FIRST)
    assert list(pairs_of(first, PROTOCOL, Variant.PATH)) == [Skip.NO_LEAF] * 2


def test_all_nodes_hold_the_decisions_of_the_path() -> None:
    for _, tree in trees(40):
        on_path, everywhere = (
            [pair.row("q") for pair in pairs(tree, v)] for v in (Variant.PATH, Variant.ALL_NODE)
        )
        assert all(row in everywhere for row in on_path)


def test_whole_trajectories_are_compared_by_their_searches() -> None:
    made = 0
    for _, tree in trees(60, Odds(longest=3, direct=0.7, search=0.9, fails=0.0)):
        for pair in pairs(tree, Variant.SENTENCE_WISE):
            made += 1
            searches = [
                sum(turn["role"] == "observation" for turn in side) for side in (pair.chosen, pair.rejected)
            ]
            assert searches[0] < searches[1]
            assert not pair.unfinished
            assert (
                PROTOCOL.check([*pair.prompt, *pair.chosen])
                == PROTOCOL.check([*pair.prompt, *pair.rejected])
                == ""
            )
    assert made > 10


def test_the_chosen_path_has_the_fewest_the_most_or_any_searches() -> None:
    seen: set[int] = set()
    for world, tree in trees(60, Odds(longest=3, direct=0.7, search=0.9, fails=0.0)):
        costs = [leaf.count("S") for leaf in world.right_leaves()]
        if not costs:
            assert choose_leaf(tree, PathChoice.MOST, seed="1") is None
            continue
        found = {choice: choose_leaf(tree, choice, seed="1") for choice in PathChoice}
        searches = {choice: leaf.retrievals for choice, leaf in found.items() if leaf is not None}
        assert searches[PathChoice.LEAST] == min(costs)
        assert searches[PathChoice.MOST] == max(costs)
        assert searches[PathChoice.RANDOM] in costs
        seen.add(searches[PathChoice.RANDOM] - min(costs))
    assert len(seen) > 1


@pytest.mark.parametrize(("balance", "counts"), [("keep", (3, 10)), ("drop", (3, 3)), ("repeat", (10, 10))])
def test_the_kinds_of_decisions_can_be_balanced(balance: Any, counts: tuple[int, int]) -> None:
    rows = [{"kind": DIRECT if n % 4 else RETRIEVE, "n": n} for n in range(1, 14)]
    config = CalibrationConfig(balance=balance)
    made = balanced(rows, config)
    assert Counter(row["kind"] for row in made) == {RETRIEVE: counts[0], DIRECT: counts[1]}
    assert [row["n"] for row in made] == sorted(row["n"] for row in made)
    shuffled = balanced(rows[::-1], config)
    assert sorted(map(str, shuffled)) == sorted(map(str, made))
    assert balanced(rows[:3], config) == rows[:3]  # one kind only


@pytest.mark.parametrize(
    ("question", "golds", "expected"),
    [
        ("Are both bands from Liverpool?", ["no"], True),
        ("Which film is older, Stadium Nuts or Lady For A Day?", ["Lady for a Day"], True),
        ("Who wrote The Lady?", ["A. Lad"], False),  # no whole words
        ("Who wrote C++ Primer (2nd)?", ["C++ (Lippman"], False),  # not a pattern
        ("Where is Dakar?", ["Senegal", "Dakar"], True),  # any alias
        ("Who?", ["..."], False),
    ],
)
def test_a_question_is_guessable_where_its_answer_is_yes_no_or_stands_in_it(
    question: str, golds: list[str], expected: bool
) -> None:
    assert is_guessable(question, golds) is expected


def test_guessable_questions_give_no_pairs_where_they_are_dropped(tmp_path: Path) -> None:
    run = write_rows(tmp_path / "run", 30)
    kept = make_pairs(run, CalibrationConfig())
    rows = [json.loads(line) for line in (run / "trajectories.jsonl").read_text().splitlines()]
    for row in rows[:20]:
        row["question"]["question"] += f" Is it {RIGHT} or not?"
    (run / "trajectories.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert make_pairs(run, CalibrationConfig()).found == kept.found
    dropped = make_pairs(run, CalibrationConfig(guessable="drop"))
    assert dropped.skipped["guessable"] == 20
    assert 0 < dropped.found.total() < kept.found.total()


def write_rows(folder: Path, count: int) -> Path:
    """A run directory of explored random trees."""
    folder.mkdir()
    rows = [
        tree_row(Question(f"q{seed}", "Who?", (RIGHT,)), tree, teacher="random", gold_documents=False)
        for seed, (_, tree) in enumerate(trees(count))
    ]
    rows = [replace(row, question=replace(row.question, question=f"Who {n}?")) for n, row in enumerate(rows)]
    (folder / "trajectories.jsonl").write_bytes(b"".join(to_json(row) + b"\n" for row in rows))
    return folder


def test_imitation_filters_and_exports_what_training_reads(tmp_path: Path) -> None:
    run = write_rows(tmp_path / "run", 30)
    done = imitate(run, ImitationConfig())
    right = sum(RandomTree(seed, GOOD).best() is not None for seed in range(30))
    assert done.filter_report.total.kept == right
    assert done.filter_report.total.reasons["answer_differs"] > 0
    rows = list(read_conversations(done.export.train_file))
    assert (len(rows), {row.format for row in rows}, {row.problem for row in rows}) == (
        right,
        {"deeprag"},
        {""},
    )
    assert "tree" not in (run / "kept.jsonl").read_text()
    most = imitate(run, ImitationConfig(path=PathChoice.MOST))
    assert most.filter_report.total.searches > done.filter_report.total.searches


def test_the_filter_drops_lists_and_ends_without_a_short_answer(tmp_path: Path) -> None:
    run = write_rows(tmp_path / "run", 12)
    lines = (run / "trajectories.jsonl").read_text().splitlines()
    winners = [n for n, line in enumerate(lines) if json.loads(line)["provenance"]["right"]]
    listed, untagged = (json.loads(lines[n]) for n in winners[:2])
    text = json.dumps(listed).replace('"answer ', '"1. answer ')
    for node in untagged["provenance"]["tree"]["nodes"]:
        if node["branch"] == "finish" and node["step"]:
            node["step"]["parse_fixes"] = ["no_short_answer"]
    lines[winners[0]], lines[winners[1]] = text, json.dumps(untagged)
    (run / "trajectories.jsonl").write_text("\n".join(lines) + "\n")
    reasons = imitate(run, ImitationConfig()).filter_report.total.reasons
    assert (reasons["enumerated"], reasons["repaired"]) == (1, 1)
    kept = imitate(run, ImitationConfig(clean=ImitationFilter(allow_enumerations=True, forbidden_repairs=())))
    assert kept.filter_report.total.kept == len(winners)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_loss_leaves_out_the_documents_and_nothing_else(family: str, tmp_path: Path) -> None:
    run = write_rows(tmp_path / "run", 10)
    tokenizer = ChatTokenizer(tokenizer_folder(tmp_path / "model", family))
    searches = 0
    for row in read_conversations(imitate(run, ImitationConfig(path=PathChoice.MOST)).export.train_file):
        encoded = tokenizer.encode(PROTOCOL.lay_out(row.messages))
        start = int(np.flatnonzero(encoded.trainable)[0])
        hidden = tokenizer.decode(encoded.ids[start:][~encoded.trainable[start:]].tolist())
        documents = [turn["content"] for turn in row.messages if turn["role"] == "observation"]
        assert hidden.rstrip() == "".join(f"Context:\n{each}\n" for each in documents).rstrip()
        learnt = tokenizer.decode(encoded.ids[encoded.trainable].tolist())
        written = "".join(turn["reasoning"] for turn in row.messages if turn["role"] == "assistant")
        assert written in learnt
        searches += len(documents)
    assert searches > 3


def test_other_files_and_trees_without_a_choice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no trees"):
        make_pairs(tmp_path, CalibrationConfig())
    (tmp_path / "trajectories.jsonl").write_text('{"question": 3}\n')
    with pytest.raises(UserError, match=r"line 1 is no row of an exploration"):
        make_pairs(tmp_path, CalibrationConfig())
    tree = explored(RandomTree(1, Odds(longest=1, direct=1.0, fails=0.0)), SearchMode.FIRST)
    row = tree_row(Question("q", "Who?", (RIGHT,)), tree, teacher="random", gold_documents=False)
    (tmp_path / "trajectories.jsonl").write_bytes(to_json(row) + b"\n")
    with pytest.raises(UserError, match="explore the questions with mode=all"):
        imitate(tmp_path, ImitationConfig(path=PathChoice.MOST))


ITEMS = 24


def explore_settings(folder: Path, url: str, stage: str, **more: object) -> list[str]:
    questions, corpus = write_items(folder, ITEMS)
    rows = [{**json.loads(line), "gold_ids": ["gold"]} for line in questions.read_text().splitlines()]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with corpus.open("a") as file:
        file.write(json.dumps({"id": "gold", "contents": f"Gold\n{GOLD}"}) + "\n")
    fixed = {
        "runs_dir": folder / "runs",
        "run_name": "r",
        "stage": stage,
        "input_files": f"[{questions}]",
        "runtime.agent.url": url,
        "runtime.reader.url": url,
        "runtime.retriever": f"toy:{corpus}",
        "runtime.top_k": 1,
        "runtime.in_flight": 3,
        "runtime.agent.retry.first_wait": 0.05,
        "runtime.reader.retry.first_wait": 0.05,
        **more,
    }
    return [
        "configs/systems/deeprag/stage1-cpu.yaml",
        "n_sample=-1",
        *(f"{key}={value}" for key, value in fixed.items()),
    ]


def read_rows(folder: Path, name: str = "trajectories.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs/r" / name).read_text().splitlines()]


def timeless(value: Any) -> Any:
    """A row without its times."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key not in ("seconds", "at")}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def is_made_by(path: Path, stage: str) -> bool:
    """Whether the last step of a stage writes this file of a run."""
    names = {"imitation": ("chosen", "kept", "conversations"), "calibration": ("pairs",)}
    return path.name.startswith(names[stage])


def by_question(folder: Path) -> dict[str, Any]:
    return {row["question"]["question"]: timeless(row) for row in read_rows(folder)}


async def explore_once(
    folder: Path, stage: str, *, kills: int = 0, both: bool = False, **more: object
) -> str:
    """Explore in a process of its own, killed so many times on the way. Returns what it printed, with its
    notes where `both`.
    """
    folder.mkdir(exist_ok=True)
    async with FakeLLM(tree_reply) as server:
        settings = explore_settings(folder, server.url, stage, **more)
        for _ in range(kills):
            process = Run("src_data.deeprag.explore", settings)
            await server.requests(20)
            assert process.returncode is None
            process.kill()
            await process.communicate()
        last = Run("src_data.deeprag.explore", settings)
        out, err = await last.communicate()
        assert last.returncode == 0, err.decode()
    return (out + err if both else out).decode()


@pytest.mark.parametrize("stage", ["imitation", "calibration"])
def test_an_exploration_that_is_killed_ends_with_the_same_rows(stage: str, tmp_path: Path) -> None:
    asyncio.run(explore_once(tmp_path / "whole", stage))
    asyncio.run(explore_once(tmp_path / "killed", stage, kills=3))
    whole, killed = by_question(tmp_path / "whole"), by_question(tmp_path / "killed")
    assert len(killed) == len(read_rows(tmp_path / "killed")) == ITEMS
    for row in (*whole.values(), *killed.values()):
        row["provenance"].pop("teacher")
    assert killed == whole


def test_stage_one_takes_the_cheapest_right_path_of_each_question(tmp_path: Path) -> None:
    printed = asyncio.run(explore_once(tmp_path, "imitation"))
    for row in read_rows(tmp_path):
        item = int(row["question"]["question"].split()[-1].rstrip("?"))
        unknown = sum(not knows(item, fact) for fact in range(1, facts(item) + 1))
        solved = item % 7 != 6 or not unknown
        assert row["provenance"]["right"] == solved
        assert row["provenance"]["tree"]["stop"] == ("found" if solved else "exhausted")
        if solved:
            assert sum(step["action"]["function"] == "search" for step in row["steps"]) == unknown
            assert row["answer"] == f"item-{item}"
    assert "kept" in printed
    made = list(read_conversations(tmp_path / "runs/r/conversations.train.jsonl"))
    assert len(made) == sum(row["provenance"]["right"] for row in read_rows(tmp_path))
    assert not any(row.problem for row in made)


@pytest.mark.parametrize(
    ("stage", "setting"), [("imitation", "export.validation_share=0.4"), ("calibration", "balance=drop")]
)
def test_the_last_step_of_a_stage_can_be_repeated_alone(stage: str, setting: str, tmp_path: Path) -> None:
    name, _, value = setting.partition("=")
    asyncio.run(explore_once(tmp_path, stage, **{f"{stage}.{name}": value}))
    folder = tmp_path / "runs/r"
    made = {path: path.read_bytes() for path in folder.iterdir() if is_made_by(path, stage)}
    assert len(made) > 2
    for path in made:
        path.unlink()

    async def repeat(*settings: str) -> tuple[int | None, str]:
        again = Run(f"src_data.deeprag.{stage}", [str(folder), *settings])
        out, err = await again.communicate()
        return again.returncode, (out + err).decode()

    code, printed = asyncio.run(repeat())
    assert code == 0, printed
    assert {path: path.read_bytes() for path in made} == made
    code, printed = asyncio.run(repeat("balanec=drop"))
    assert code == 2
    assert "balanec" in printed


def test_stage_two_prints_its_pairs(tmp_path: Path) -> None:
    printed = asyncio.run(explore_once(tmp_path, "calibration", **{"calibration.validation_share": 0.2}))
    counts = json.loads((tmp_path / "runs/r/pairs.json").read_text())
    assert counts["questions"] == ITEMS
    assert RETRIEVE in printed
    assert DIRECT in printed
    for side in ("train", "validation"):
        rows = read_rows(tmp_path, f"pairs.{side}.jsonl")
        assert Counter(row["kind"] for row in rows) == counts["written"][side]
        for row in rows:
            asked = re.findall(r"fact (\d+) of item (\d+)", row["prompt"][-1]["reasoning"])
            fact, item = map(int, asked[0])
            assert row["kind"] == (DIRECT if knows(item, fact) else RETRIEVE)


def test_stage_two_explores_no_guessable_question_where_they_are_dropped(tmp_path: Path) -> None:
    questions, _ = write_items(tmp_path, ITEMS)
    rows = [json.loads(line) for line in questions.read_text().splitlines()]
    for row in rows[::2]:
        row["answers"] = ["yes"]
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = {"calibration.guessable": "drop", "input_files": f"[{mixed}]", "n_sample": 5}
    asyncio.run(explore_once(tmp_path, "calibration", **more))
    explored = read_rows(tmp_path)
    assert len(explored) == 5
    assert all(row["question"]["answers"] != ["yes"] for row in explored)


FEW: dict[str, object] = {"n_sample": 5, "min_rows": 7, "max_rounds": 4}


@pytest.mark.parametrize("kills", [0, 2])
def test_with_too_few_training_rows_further_questions_are_explored(kills: int, tmp_path: Path) -> None:
    printed = asyncio.run(explore_once(tmp_path, "imitation", kills=kills, both=True, **FEW))
    asked = json.loads((tmp_path / "runs/r/manifest.json").read_text())["question_ids"]
    assert len(asked) == 10
    assert {row["question"]["id"] for row in read_rows(tmp_path)} == set(asked)
    made = read_rows(tmp_path, "conversations.train.jsonl")
    assert len(made) == sum(row["provenance"]["right"] for row in read_rows(tmp_path)) >= 7
    assert "fewer than min_rows=7; 5 further questions (round 2 of at most 4)" in printed or kills
    more = {"on_existing": "resume_anyway", **FEW}  # the server has another port
    again = asyncio.run(explore_once(tmp_path, "imitation", both=True, **more))
    assert json.loads((tmp_path / "runs/r/manifest.json").read_text())["question_ids"] == asked
    assert "further questions" not in again


def test_the_rounds_of_an_exploration_end(tmp_path: Path) -> None:
    most = {"n_sample": 2, "min_rows": 99, "max_rounds": 3}
    printed = asyncio.run(explore_once(tmp_path / "rounds", "calibration", both=True, **most))
    assert len(read_rows(tmp_path / "rounds")) == 6
    assert "take a larger n_sample (N_SAMPLES) or max_rounds" in printed
    printed = asyncio.run(explore_once(tmp_path / "all", "imitation", both=True, **{**most, "n_sample": 20}))
    assert len(read_rows(tmp_path / "all")) == ITEMS
    assert "there are no further ones; add question sets" in printed


@pytest.mark.parametrize("stage", ["imitation", "calibration"])
def test_a_run_starts_over(stage: str, tmp_path: Path) -> None:
    once = {"max_rounds": 1}  # asks no further questions
    asyncio.run(explore_once(tmp_path, stage, n_sample=3, **once))
    asyncio.run(explore_once(tmp_path, stage, n_sample=2, on_existing="clean", **once))
    assert len(read_rows(tmp_path)) == 2


@pytest.mark.parametrize(("stage", "singles"), [(1, 2), (2, 2)])
def test_six_questions_of_the_sample_world_are_of_all_kinds(
    stage: int, singles: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A 0.5B finds next to no right path for questions of two hops alone."""
    config = load_config(
        ExploreConfig, Path(f"configs/systems/deeprag/stage{stage}-cpu.yaml"), ["n_sample=6"]
    )
    asked = [question.group for question in questions_of(config, Console(stderr=True, width=200))]
    assert asked.count("single") >= 5
    assert asked[:6].count("single") == singles
    assert "unanswerable" not in asked
    assert {"bridge 2-hop", "bridge 3-hop"} < set(asked[:6])
    assert len(asked) == 24
    said = capsys.readouterr().err
    assert "5 of 84 questions are left out, as no path gives their answer" in said
    assert "up to 24 if these give too few training rows" in said


def test_questions_without_an_answer_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "Who was it?", "answers": ["noanswer"]}\n')
    settings = [f"input_files=[{path}]"]
    config = load_config(ExploreConfig, Path("configs/systems/deeprag/stage1-cpu.yaml"), settings)
    with pytest.raises(
        UserError, match=r"no question is left to explore \(no path gives .*add question sets"
    ):
        questions_of(config, Console(quiet=True))


@pytest.mark.parametrize("allowed", [False, True])
def test_gold_documents_help_only_when_asked_for_and_are_on_record(allowed: bool, tmp_path: Path) -> None:
    asyncio.run(explore_once(tmp_path, "imitation", gold_documents=str(allowed).lower()))
    notes = [row["provenance"] for row in read_rows(tmp_path)]
    assert sum(note["gold_documents"] for note in notes) == (3 if allowed else 0)
    assert sum(note["right"] for note in notes) == (ITEMS if allowed else ITEMS - 3)


def test_a_question_whose_server_fails_has_no_tree_and_is_explored_again(tmp_path: Path) -> None:
    down = True

    async def reply(body: dict[str, Any]) -> str | web.Response:
        failing = down and "item 5?" in str(body) and "fact 2" in str(body)
        return web.Response(status=500, text="broken") if failing else await tree_reply(body)

    async def run() -> None:
        nonlocal down
        async with FakeLLM(reply) as server:
            more = {"runtime.agent.retry.attempts": 1, "runtime.reader.retry.attempts": 1}
            settings = explore_settings(tmp_path, server.url, "imitation", **more)
            first = Run("src_data.deeprag.explore", settings)
            await first.communicate()
            assert first.returncode == 1
            (failed,) = [row for row in read_rows(tmp_path) if row["status"] != "finished"]
            assert failed["status"] == "model_error"
            assert "tree" not in failed["provenance"]
            assert failed["usage"]["calls"] > 0
            down = False
            again = Run("src_data.deeprag.explore", settings)
            await again.communicate()
            assert again.returncode == 0

    asyncio.run(run())
    rows = read_rows(tmp_path)
    assert {row["status"] for row in rows} == {"finished"}
    assert len({row["question"]["id"] for row in rows}) == len(rows) == ITEMS
