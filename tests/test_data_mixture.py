"""Mixtures: samples, duplicates, decontamination, counts."""

from __future__ import annotations

import io
import random
import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from helpers_data_rows import HOTPOTQA, IIRC, MUSIQUE, written
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from src_core.config import dump, load_config
from src_core.errors import UserError
from src_data.sampling.decontaminate import (
    EvaluationIndex,
    Overlap,
    content_words,
    is_near_copy,
)
from src_data.sampling.mix_report import REASONS, SourceCount
from src_data.sampling.mixture import MixConfig, Mixture, mix, mix_for_run
from src_tasks.question_text import question_key, words_of
from src_tasks.readers.sources import BadRow

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
LONG = (
    "Which of the two painters who lived beside the old mill of Marrow County was the teacher "
    "of the woman that later drew the map of Oost?"
)
MORE = (
    " Name also her neighbour, whose brother built ships, sailed north, wrote letters home and died at sea."
)
# Words that no template below uses.
names = st.lists(
    st.text("bcdfghjklmnpqrstvwxz", min_size=4, max_size=9), min_size=1, max_size=3, unique=True
).map(lambda parts: " ".join(part.capitalize() for part in parts))
words = st.sampled_from(
    ["who", "when", "what", "is", "the", "of", "river", "mill", "painter", "born", "Oost"]
)
questions = st.lists(words, min_size=1, max_size=18).map(" ".join)
TEMPLATES = [
    "What is the date of birth of {}?",
    "Who is {}?",
    "Where was {} born?",
    "Who is the mother of the director of film {}?",
    "when did {} come out",
    "Which county shares a border with the county where the biggest city in the state where {} is located?",
    "Which of the two films, judged by the day on which each was first shown in the country where it was "
    "made, is the older one, {} or the one that Orla Venn made?",
]


def indexed(*evaluation: str) -> EvaluationIndex:
    index = EvaluationIndex()
    for text in evaluation:
        index.add(text)
    return index


def reason(text: str, *evaluation: str) -> Overlap | None:
    match = indexed(*evaluation).match(text)
    return match.reason if match else None


def mixed(*sources: Any, **values: Any) -> Mixture:
    return mix(MixConfig(sources=sources, **values), report=lambda _: None)


def texts(mixture: Mixture) -> list[str]:
    return [question.question for question in mixture]


def plain(items: Sequence[str]) -> list[dict[str, str]]:
    return [{"question": text, "answer": "x"} for text in items]


# --- the rules of decontamination ---


@pytest.mark.parametrize(
    ("text", "evaluation", "expected"),
    [
        ("who painted the  Quill-Mill", "Who painted “Quill Mill”?", Overlap.SAME),
        ("Who painted Caf\u00e9 Oost?", "Who painted Cafe\u0301 Oost?", Overlap.SAME),
        ("Which county is Oost in?", "What county is Oost in?", Overlap.NEAR),
        ("What is Orla Venn's date of birth?", "What is the date of birth of Orla Venn?", Overlap.NEAR),
        ("Is Oost older than Marrow?", "Is Marrow older than Oost?", Overlap.NEAR),
        (f"Tell me this: {LONG} Answer in one word.", LONG, Overlap.NGRAM),
        (LONG.replace("Oost", "Ilse"), LONG, None),
        (f"{LONG} {LONG.replace('mill', 'barn')}", f"{LONG} And who bought it?", None),
        ((LONG + MORE).replace("Oost", "Ilse"), LONG + MORE, Overlap.NGRAM),
        ("What is the date of birth of Ivo Lint?", "What is the date of birth of Orla Venn?", None),
        ("Where was Orla Venn born?", "When was Orla Venn born?", None),
        ("Where was the wife of Ivo Lint born?", "Where was Ivo Lint born?", None),
        ("Who is not a painter?", "Who is a painter?", None),
        (
            "Where was the director of film Star 80 born?",
            "Where was the director of film Tell Star born?",
            None,
        ),
    ],
)
def test_what_gives_a_question_away(text: str, evaluation: str, expected: Overlap | None) -> None:
    assert reason(text, evaluation) is expected
    assert reason(evaluation, text) is expected


@settings(deadline=None)
@given(names, names, st.sampled_from(TEMPLATES))
def test_questions_from_one_template_stay(one: str, other: str, template: str) -> None:
    if set(one.lower().split()) & set(other.lower().split()):
        return
    assert reason(template.format(one), template.format(other)) is None


@settings(deadline=None)
@given(names, st.sampled_from(TEMPLATES), st.randoms(use_true_random=False))
def test_copies_are_found_however_they_are_spelt(name: str, template: str, rng: random.Random) -> None:
    text = template.format(name)
    loose = [word.upper() if rng.random() < 0.3 else word for word in text.rstrip("?").split(" ")]
    loose = [word + rng.choice(["", ",", "!", "…", "\u00a0", "  "]) for word in loose]
    loose.insert(rng.randrange(len(loose)), rng.choice(["the", "a", "—"]))
    assert reason(" ".join(loose), text) is Overlap.SAME


@settings(deadline=None)
@given(st.lists(questions, max_size=8), questions)
def test_the_index_agrees_with_comparing_all_pairs(evaluation: list[str], text: str) -> None:
    found = indexed(*evaluation).match(text)
    mine = content_words(words_of(text))
    same = [other for other in evaluation if question_key(other) == question_key(text)]
    near = [other for other in evaluation if is_near_copy(mine, content_words(words_of(other)))]
    if found is None:
        assert not same
        assert not near
    else:
        assert found.evaluation in evaluation
        assert (found.reason is Overlap.SAME) == bool(same)
        assert found.reason is not Overlap.NEAR or found.evaluation in near


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_has_a_key_and_equals_itself(text: str) -> None:
    assert question_key(question_key(text)) == question_key(text)
    assert reason(text, text) is Overlap.SAME


# --- mixtures ---


@settings(max_examples=40, deadline=None)
@given(
    sets=st.lists(st.lists(questions, min_size=1, max_size=12), min_size=1, max_size=3),
    evaluation=st.lists(questions, max_size=4),
    limits=st.lists(st.integers(-1, 6), min_size=3, max_size=3),
    seed=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_what_holds_for_every_mixture(
    sets: list[list[str]], evaluation: list[str], limits: list[int], seed: int, shuffle: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [
            {"path": written(folder, plain(items), f"set{at}.jsonl"), "n": limits[at]}
            for at, items in enumerate(sets)
        ]
        held_out = [written(folder, plain(evaluation), "evaluation.jsonl")] if evaluation else []
        try:
            mixture = mixed(*sources, evaluation=held_out, seed=seed, shuffle=shuffle)
        except UserError as refused:
            assert "no question is left" in str(refused)
            return
    keys = [question_key(text) for text in texts(mixture)]
    assert len(set(keys)) == len(keys) == len(mixture)
    assert not set(keys) & {question_key(text) for text in evaluation}
    index = indexed(*evaluation)
    assert not any(index.match(text) for text in texts(mixture))
    for source, limit, items in zip(mixture.report.sources, limits, sets, strict=False):
        assert source.rows == len(items) == source.usable + sum(source.dropped.values())
        assert source.taken == (source.usable if limit < 0 else min(limit, source.usable))
    assert sum(source.taken for source in mixture.report.sources) == len(mixture)


MANY = [f"Who is number {n} of the painters?" for n in range(200)]


def test_the_sample_is_spread_seeded_and_independent_of_the_order(tmp_path: Path) -> None:
    path = written(tmp_path, plain(MANY))
    turned = written(tmp_path, plain(MANY[::-1]), "turned.jsonl")
    twenty = texts(mixed({"path": path, "n": 20}))
    assert twenty == texts(mixed({"path": path, "n": 20})) == texts(mixed({"path": turned, "n": 20}))
    assert set(twenty) != set(MANY[:20])
    assert set(twenty) < set(texts(mixed({"path": path, "n": 50})))
    assert set(twenty) != set(texts(mixed({"path": path, "n": 20}, seed=1)))
    assert set(texts(mixed(path))) == set(MANY)
    head = sum(MANY.index(text) < 100 for text in texts(mixed({"path": path, "n": 100})))
    assert 30 < head < 70


def test_without_shuffling_the_order_of_the_files_is_kept(tmp_path: Path) -> None:
    first = written(tmp_path, plain(MANY[100:]), "a.jsonl")
    second = written(tmp_path, plain(MANY[:100]), "b.jsonl")
    assert texts(mixed(first, second, shuffle=False)) == MANY[100:] + MANY[:100]
    some = texts(mixed({"path": first, "n": 10}, {"path": second, "n": 10}, shuffle=False))
    places = [(MANY[100:] + MANY[:100]).index(text) for text in some]
    assert places == sorted(places)
    assert texts(mixed(first, second)) != MANY[100:] + MANY[:100]


def test_a_later_set_loses_only_what_was_taken_before(tmp_path: Path) -> None:
    first = written(tmp_path, plain(MANY), "a.jsonl")
    second = written(tmp_path, plain([text.upper() for text in MANY]), "b.jsonl")
    mixture = mixed({"path": first, "n": 50}, second)
    counts = mixture.report.sources[1]
    assert (counts.dropped["in_earlier_set"], counts.taken) == (50, 150)


def test_everything_that_is_left_out_is_counted(tmp_path: Path) -> None:
    rows = [
        *plain(["Who runs Oost?", "Who runs oost", "When was Ivo Lint born?", "Who painted it?"]),
        *plain([LONG, "Ivo Lint was born when?", "Is it so?"]),
        {"question": "", "answer": "x"},
        b"{broken",
    ]
    source = written(tmp_path, rows, "mine.jsonl")
    earlier = written(tmp_path, plain(["who painted it?"]), "earlier.jsonl")
    evaluation = written(tmp_path, plain([f"Say: {LONG}", "When was Ivo Lint born"]), "evaluation.jsonl")
    told: list[BadRow] = []
    config = MixConfig(sources=(earlier, source), evaluation=(evaluation,), on_bad_row="skip")
    mixture = mix(config, report=told.append)
    assert sorted(texts(mixture)) == ["Is it so?", "Who runs Oost?", "who painted it?"]
    assert mixture.report.sources[1].dropped == {
        "malformed": 2,
        "unanswerable": 0,
        "repeated": 1,
        "other_answers": 0,
        "in_earlier_set": 1,
        "same_question": 1,
        "shared_ngram": 1,
        "near_copy": 1,
    }
    assert [row.place for row in told] == ["line 8", "line 9"]
    assert mixture.report.bad_rows == [str(row) for row in told]
    assert mixture.report.evaluation_questions == 2
    assert {example["reason"]: example["question"] for example in mixture.report.examples} == {
        "same_question": "When was Ivo Lint born?",
        "shared_ngram": LONG,
        "near_copy": "Ivo Lint was born when?",
    }


def test_a_repeated_question_with_other_answers_is_told(tmp_path: Path) -> None:
    rows = [{"question": "Who ran Oost?", "answers": answers} for answers in (["Ilse"], ["Ivo"], ["ilse"])]
    report = mixed(written(tmp_path, rows, "mine.jsonl")).report
    assert (report.sources[0].dropped["other_answers"], report.sources[0].dropped["repeated"]) == (1, 1)
    assert (
        "1 row with other answers to an earlier question of the file left out: the first is kept"
        in report.note()
    )


def test_the_report_as_a_table_and_json(tmp_path: Path) -> None:
    path = written(tmp_path, plain(["Who runs Oost?", "Who runs oost", "Who else?"]), "mine.jsonl")
    other = written(tmp_path, plain(["Is it so?"]), "other.jsonl")
    report = mixed({"path": path, "n": 1, "name": "ours"}, other).report
    console = Console(width=130, record=True, file=io.StringIO())
    console.print(report.table())
    lines = [re.sub(r"[┃│|]", " ", line).split() for line in console.export_text().splitlines()]
    assert ["set", "wanted", "rows", "repeated", "usable", "taken"] in lines
    assert ["ours", "1", "3", "1", "2", "1"] in lines
    assert ["other", "all", "1", "0", "1", "1"] in lines
    assert ["sum", "4", "1", "3", "2"] in lines
    assert report.note().startswith(
        "No evaluation questions were named to keep apart (evaluation_files). The "
    )
    assert "one of 2 evaluation questions" in replace(report, evaluation_questions=2).note()
    value = orjson.loads(report.json())
    assert value["sources"][0]["dropped"]["repeated"] == 1
    assert (value["seed"], value["ngram"]) == (0, 13)


@pytest.mark.parametrize(("sets", "name"), [("ab", "a + b"), ("aba", "a + b"), ("abcdef", "")])
def test_a_file_of_several_sets_is_named_after_all_of_them(tmp_path: Path, sets: str, name: str) -> None:
    rows = [{"question": f"Who is {n}?", "answer": "x", "dataset": each} for n, each in enumerate(sets)]
    path = written(tmp_path, rows)
    (source,) = mixed(path).report.sources
    assert source.name == (name or path)


def test_every_reason_has_its_column() -> None:
    assert set(map(str, Overlap)) <= set(SourceCount(path="", asked=0).dropped) == set(map(str, REASONS))


def test_unanswerable_questions_are_left_out_and_annotations_stay(tmp_path: Path) -> None:
    mixture = mixed(
        written(tmp_path, [IIRC], "iirc.json"),
        written(tmp_path, [MUSIQUE, MUSIQUE | {"question": "Who else?", "answerable": False}], "m.jsonl"),
        written(tmp_path, [HOTPOTQA], "h.json"),
    )
    assert [source.dropped["unanswerable"] for source in mixture.report.sources] == [1, 1, 0]
    again = list(mixture)
    assert again == list(mixture)
    (musique,) = [question for question in again if question.meta["dataset"] == "musique"]
    assert len(musique.supporting) == len(musique.meta["decomposition"]) == 2
    assert isinstance(musique.answers, tuple)


def test_evaluation_files_need_no_answers(tmp_path: Path) -> None:
    blind = written(tmp_path, [{key: HOTPOTQA[key] for key in ("_id", "question", "context")}], "test.json")
    source = written(tmp_path, [HOTPOTQA, HOTPOTQA | {"question": "Who else?"}], "train.json")
    assert texts(mixed(source, evaluation=(blind,))) == ["Who else?"]


def test_a_malformed_row_ends_the_mixture_unless_skipped(tmp_path: Path) -> None:
    good = written(tmp_path, plain(["Who runs Oost?"]), "good.jsonl")
    bad = written(tmp_path, [*plain(["Who else?"]), {"question": "Who now?"}], "bad.jsonl")
    with pytest.raises(UserError, match=r"bad\.jsonl, line 2: no gold answer"):
        mixed(good, bad)
    wordless = written(tmp_path, [*plain(["Who else?"]), {"question": "?", "answer": ""}], "wordless.jsonl")
    with pytest.raises(UserError, match=r"wordless\.jsonl, line 2: 'question' holds no word"):
        mixed(good, evaluation=(wordless,))


def test_a_mixture_with_nothing_left_says_why(tmp_path: Path) -> None:
    path = written(tmp_path, plain(["Who runs Oost?"]))
    with pytest.raises(UserError, match="no question is left") as refused:
        mixed(path, evaluation=(path,))
    assert "evaluated: same" in str(refused.value)


def test_settings_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text(
        "seed: 3\nsources:\n  - a.json\n  - {path: b.tsv, format: popqa, n: 5}\nevaluation: [dev.jsonl]\n",
        encoding="utf-8",
    )
    config = load_config(MixConfig, path, ["on_bad_row=skip"])
    assert [source.path for source in config.sources] == ["a.json", "b.tsv"]
    assert MixConfig(**dump(config)) == config


@pytest.mark.parametrize(
    "values", [{"sources": ()}, {"sources": ("a",), "ngram": 1}, {"sources": ({"path": "a", "pth": 1},)}]
)
def test_settings_that_make_no_sense(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MixConfig(**values)


@pytest.mark.published
def test_the_shared_training_files_against_their_development_files() -> None:
    train = sorted(str(path) for path in SHARED.glob("*.train.jsonl"))
    dev = tuple(sorted(str(path) for path in SHARED.glob("*.dev.jsonl")))
    mixture = mixed(*train, evaluation=dev)
    dropped = sum(sum(source.dropped.values()) for source in mixture.report.sources)
    assert len(mixture) + dropped == sum(Path(path).read_bytes().count(b"\n") for path in train)
    assert dropped <= 10, mixture.report.examples


KINDS = [("single", 1)] * 3 + [("bridge", 2)] * 9 + [("bridge", 3)] * 2 + [("unanswerable", 0)] * 2


@given(st.permutations(range(len(KINDS))), st.integers(0, 99), st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_groups_of_questions_take_turns(order: list[int], seed: int, shuffle: bool) -> None:
    rows = [
        {"question": f"Who built {'mill ' * n} of Oost?", "answers": ["x"], "type": kind, "hops": hops}
        for n, (kind, hops) in enumerate(KINDS)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "q.jsonl"
        path.write_bytes(b"".join(orjson.dumps(rows[n]) + b"\n" for n in order))
        config = MixConfig(sources=({"path": str(path)},), seed=seed, shuffle=shuffle)
        plain, turns = (list(mix(replace(config, in_turns=each), report=print)) for each in (False, True))
    assert [q.group for q in turns[:4]] == ["single", "bridge 2-hop", "bridge 3-hop", "unanswerable"]
    assert [q.group for q in turns[8:10]] == ["single", "bridge 2-hop"]  # two groups have no third question
    for group in {question.group for question in plain}:
        assert [q for q in turns if q.group == group] == [q for q in plain if q.group == group]


def test_a_run_says_how_many_of_the_mixture_it_asks(tmp_path: Path) -> None:
    rows = [{"question": f"Who built mill {n} of Oost?", "answers": ["x"]} for n in ("one", "two", "six")]
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    config = MixConfig(sources=({"path": str(path)},))
    for wanted, asked in ((2, 2), (-1, 3), (3, 3), (9, 3)):
        out = io.StringIO()
        assert len(mix_for_run(config, n_sample=wanted, err=Console(file=out, width=200))) == asked
        assert ("2 of these 3 are asked (N_SAMPLES" in out.getvalue()) is (asked == 2)
    assert list(mix_for_run(config, n_sample=2, err=None)) == list(mix(config, report=print))[:2]
    out = io.StringIO()
    several = mix_for_run(config, n_sample=1, err=Console(file=out, width=200), rounds=2)
    assert list(several) == list(mix(config, report=print))[:2]
    assert "1 of these 3 are asked" in out.getvalue()
    assert "up to 2 if these give too few training rows" in out.getvalue()
