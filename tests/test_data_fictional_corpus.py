"""An invented world: unique names, passages that say what the links are, questions of three hops."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from src_core.errors import UserError
from src_data.fictional_corpus.config import FictionConfig
from src_data.fictional_corpus.make import Fiction, make_corpus
from src_data.passage_questions.config import QuestionsConfig
from src_data.passage_questions.make import make_questions
from src_data.passage_questions.world import Row, World, name_key
from src_retrieval.toy import corpus_passages

SCALE = 0.4
SLOTS = {
    "birthplace": "birthplace", "place of death": "deathplace", "teacher": "teacher", "parent": "parent",
    "spouse": "spouse", "uncle or aunt": "uncle", "composer": "composer", "librettist": "librettist",
    "director": "director", "discoverer": "astronomer", "county": "county", "founder": "founder",
    "painter": "painter",
}  # fmt: skip
"""Relations that patterns read, and the slots of `things.yaml` that they are."""


@pytest.fixture(scope="module")
def fiction() -> Fiction:
    return Fiction(FictionConfig(scale=SCALE))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fiction") / "corpus.jsonl"
    make_corpus(FictionConfig(out=str(path), scale=SCALE))
    return path


def test_no_two_things_have_the_same_name(fiction: Fiction) -> None:
    names = [name_key(thing.name) for thing in fiction.things]
    assert len(set(names)) == len(names) > 600


def test_no_name_is_one_of_the_sample_world(fiction: Fiction) -> None:
    sample = {name_key(each.title) for each in corpus_passages(Path("data/sample_world/corpus.jsonl"))}
    assert len(sample) > 300
    assert not sample & {name_key(thing.name) for thing in fiction.things}


def test_passages_say_what_the_links_are(fiction: Fiction) -> None:
    """Each relation that the question maker reads has the value that the world has."""
    things = {thing.name: thing for thing in fiction.things}
    rows = [Row(str(at), thing.name, fiction.passage(thing)) for at, thing in enumerate(fiction.things)]
    world = World(rows, blocked_ids=(), blocked=(), unique_names=True)
    assert len(world.entities) > 0.9 * len(rows)
    read: Counter[str] = Counter()
    for fact in world.all_facts():
        slot = SLOTS.get(fact.relation.name)
        thing = things[fact.entity.title]
        if slot is None or slot not in thing.slots:
            continue
        read[slot] += 1
        linked = world.entity_of(fact)
        assert linked is not None, fact
        assert linked.title == thing.slots[slot].name, fact
    assert set(read) == set(SLOTS.values())
    assert sum(read.values()) > 500


def test_years_allow_the_links(fiction: Fiction) -> None:
    for thing in fiction.things:
        if thing.is_person:
            for slot, least in (("teacher", 18), ("parent", 22), ("uncle", 20)):
                if slot in thing.slots:
                    assert thing.year - thing.slots[slot].year >= least
            if "spouse" in thing.slots:
                assert thing.slots["spouse"].woman != thing.woman
                assert thing.slots["spouse"].slots["spouse"] is thing
            assert thing.year < int(thing.words["died"][-4:]) <= 2020
        for slot in ("composer", "director", "painter", "astronomer"):
            if slot in thing.slots and not (thing.kind in ("film", "song") and slot == "composer"):
                assert 22 <= thing.year - thing.slots[slot].year <= 65
                assert thing.year <= int(thing.slots[slot].words["died"][-4:])


def test_the_seed_decides(corpus: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.jsonl", tmp_path / "other.jsonl"
    make_corpus(FictionConfig(out=str(again), scale=SCALE))
    make_corpus(FictionConfig(out=str(other), scale=SCALE, seed=2))
    assert again.read_bytes() == corpus.read_bytes() != other.read_bytes()


def test_an_existing_corpus_is_kept(corpus: Path) -> None:
    with pytest.raises(UserError, match="exists"):
        make_corpus(FictionConfig(out=str(corpus)))


def test_too_large_a_world_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not enough names"):
        make_corpus(FictionConfig(out=str(tmp_path / "large.jsonl"), scale=20))


def test_it_has_questions_of_three_hops(corpus: Path, tmp_path: Path) -> None:
    """More of them where a name is certain."""
    made = {}
    for unique in (True, False):
        out = tmp_path / f"questions-{unique}.jsonl"
        config = QuestionsConfig(corpus=str(corpus), out=str(out), unique_names=unique, per_path=12)
        made[unique] = make_questions(config).kinds["bridge 3"]
    assert made[True] > made[False]
    assert made[True] > 100
    rows = [json.loads(line) for line in (tmp_path / "questions-True.jsonl").read_text().splitlines()]
    texts = {each.title: each.text for each in corpus_passages(corpus)}
    for row in rows:
        if row["type"] == "bridge 3":
            assert len(row["gold_ids"]) == len(row["decomposition"]) == 3
            for hop in row["decomposition"]:
                assert hop["sentence"] in texts[hop["title"]]
