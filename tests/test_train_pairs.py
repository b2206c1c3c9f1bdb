"""What preference pairs and rollouts may look like, and what is said about those that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.chat_tokenizer import ChatTokenizer
from src_core.errors import UserError
from src_core.protocols import load_protocol
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import Layout
from src_core.types import DirectAnswer, Finish, Search, Step
from src_train.config import DataFile
from src_train.packing import ADVANTAGES, OLD_LOGPROBS
from src_train.pairs import read_pairs
from src_train.rollouts import read_rollouts
from src_train.rows import Rows
from tests.helpers_train import FAMILIES, pair_rows, style, tokenizer_folder


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, family: str) -> ChatTokenizer:
    return ChatTokenizer(tokenizer_folder(tmp_path_factory.mktemp("model"), family))


def read(tmp_path: Path, rows: list[Any], encoder: ChatTokenizer, family: str = "qwen", **more: Any) -> Rows:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, Any] = {"max_length": 4000, "drop_long": False, "seed": 1, **more}
    files = [
        DataFile(path=str(path), n=settings.pop("n", -1), format=settings.pop("default_format", "rearag"))
    ]
    return read_pairs(files, encoder, style(family), **settings)


def trained_text(encoder: ChatTokenizer, row: Any) -> str:
    return encoder.decode(row.encoded.ids[row.encoded.trainable].tolist())


def test_only_the_sides_are_trained(tmp_path: Path, encoder: ChatTokenizer, family: str) -> None:
    """The assistant's turns in the prompt are context, and so are observations on either side."""
    row = pair_rows(1)[0]
    assert any(turn["role"] == "assistant" for turn in row["prompt"])
    rows = read(tmp_path, [row], encoder, family)
    assert rows.together == 2
    prompt = encoder.token_ids(encoder.prompt(ReaRag(style(family)).messages(row["prompt"])))
    for side, made in zip(("chosen", "rejected"), rows.rows, strict=True):
        assert made.format == "rearag"
        assert made.encoded.ids[: len(prompt)].tolist() == prompt
        assert not made.encoded.trainable[: len(prompt)].any()
        text = trained_text(encoder, made)
        for turn in row[side]:
            assert (turn.get("reasoning", "\0") in text) == (turn["role"] == "assistant")
            assert turn.get("content", "\0") not in text
        assert row["prompt"][1]["reasoning"] not in text
    whole = encoder.encode(ReaRag(style(family)).lay_out([*row["prompt"], *row["chosen"]]))
    assert np.array_equal(rows.rows[0].encoded.ids, whole.ids)


def test_an_array_and_conversation_rows_read_as_lines_do(
    tmp_path: Path, encoder: ChatTokenizer, family: str
) -> None:
    rows = pair_rows(3)
    lines = read(tmp_path, rows, encoder, family)
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    settings: dict[str, Any] = {"max_length": 4000, "drop_long": False, "seed": 1}
    array = read_pairs([DataFile(path=str(tmp_path / "pairs.json"))], encoder, style(family), **settings)
    nested = [{**row, "chosen": {"format": "rearag", "messages": row["chosen"]}} for row in rows]
    assert array.digest() == lines.digest() == read(tmp_path, nested, encoder, family).digest()


def test_n_draws_the_same_pairs_every_time(tmp_path: Path, encoder: ChatTokenizer, family: str) -> None:
    rows = pair_rows(12)
    drawn = [
        [row.place for row in read(tmp_path, rows, encoder, family, n=4, seed=seed).rows]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 8


def test_a_pair_is_dropped_whole(tmp_path: Path, encoder: ChatTokenizer, family: str) -> None:
    rows = pair_rows(6)
    lengths = read(tmp_path, rows, encoder, family).lengths()
    limit = sorted(max(pair) for pair in zip(lengths[0::2], lengths[1::2], strict=True))[3]
    kept = read(tmp_path, rows, encoder, family, max_length=limit, drop_long=True)
    assert len(kept.rows) == 8
    assert len(kept.too_long) == 2
    assert [row.place for row in kept.rows[0::2]] == [row.place for row in kept.rows[1::2]]
    with pytest.raises(UserError, match=r"pairs\.jsonl:line \d has \d+ tokens, more than max_length"):
        read(tmp_path, rows, encoder, family, max_length=limit)


def test_the_sides_of_a_pair_are_packed_together(tmp_path: Path, encoder: ChatTokenizer, family: str) -> None:
    rows = read(tmp_path, pair_rows(9), encoder, family)
    for capacity in (0, 1000):
        packs = rows.packs(capacity)
        assert sorted(at for one in packs for at in one) == list(range(18))
        for one in packs:
            assert one[1::2] == [at + 1 for at in one[0::2]]
            assert all(at % 2 == 0 for at in one[0::2])


def test_a_side_may_continue_the_turn_of_its_prompt(
    tmp_path: Path, encoder: ChatTokenizer, family: str
) -> None:
    """In a format with one growing turn the prompt ends inside the assistant's turn, behind an observation or
    behind what the model wrote.
    """
    protocol = load_protocol(GROWING, style(family))
    assert protocol.layout is Layout.GROWING_TURN
    known = Step(1, "", DirectAnswer("Which race?", "The first."), observation=None)
    found = Step(2, "", Search("Who won it?"), observation="Ann Lee won.")
    ends = [Step(3, "", Finish(answer), observation=None) for answer in ("Ann Lee", "Bob")]
    right, wrong = (protocol.turns("Who won?", [known, found, end]) for end in ends)
    shapes = [
        (right[:4], right[4:], wrong[4:], "The first."),  # SAY Ann Lee against SAY Bob
        (right[:2], right[2:3], protocol.turns("Who won?", [ends[0]])[1:], "The first."),  # FIND against SAY
    ]
    for prompt, chosen, rejected, context in shapes:
        row = {"format": protocol.name, "prompt": prompt, "chosen": chosen, "rejected": rejected}
        rows = read(tmp_path, [row], encoder, family)
        ids = encoder.prompt_ids(protocol.lay_out(prompt))
        for side, made in zip((chosen, rejected), rows.rows, strict=True):
            assert made.encoded.ids.tolist()[: len(ids)] == ids
            assert not made.encoded.trainable[: len(ids)].any()
            text = trained_text(encoder, made)
            assert side[-1]["reasoning"].strip() in text
            assert context not in text
            assert context in encoder.decode(ids)


def decision_row() -> dict[str, Any]:
    """A pair of DeepRAG: after the second sub-question, a search against an answer."""
    protocol = load_protocol("deeprag")
    documents = "[1] Title: Ann Lee Text: Ann Lee won the race."
    found = Step(1, "", Search("Who won the race?"), observation=documents, conclusion="Ann Lee")
    asked = {"role": "assistant", "reasoning": "Follow up: When was Ann Lee born?\n"}
    sides = ("Let's search the question in Wikipedia.\n", "Intermediate answer:")
    chosen, rejected = ([{"role": "assistant", "reasoning": side}] for side in sides)
    prompt = [*protocol.turns("When was the winner born?", [found]), asked]
    row = {"format": "deeprag", "prompt": prompt, "chosen": chosen, "rejected": rejected}
    return {**row, "unfinished": True}


def test_an_unfinished_side_is_trained_without_an_end(
    tmp_path: Path, encoder: ChatTokenizer, family: str
) -> None:
    """The loss covers the decision only, whose tokens are those of the whole trajectory."""
    row = decision_row()
    rows = read(tmp_path, [row], encoder, family)
    texts = [trained_text(encoder, one) for one in rows.rows]
    assert texts == [row[side][0]["reasoning"] for side in ("chosen", "rejected")]
    ids = [one.encoded.ids.tolist() for one in rows.rows]
    shared = encoder.prompt_ids(load_protocol("deeprag", style(family)).lay_out(row["prompt"]))
    assert ids[0][: len(shared)] == ids[1][: len(shared)] == shared
    for one, text in zip(ids, texts, strict=True):
        assert encoder.decode(one[len(shared) :]) == text
    assert encoder.decode(shared).endswith("Follow up: When was Ann Lee born?\n")
    assert "Ann Lee won the race." in encoder.decode(shared)


def test_a_finished_side_ends_the_turn(tmp_path: Path, encoder: ChatTokenizer, family: str) -> None:
    row = {**decision_row(), "unfinished": False}
    for side, one in zip(("chosen", "rejected"), read(tmp_path, [row], encoder, family).rows, strict=True):
        text, written = trained_text(encoder, one), row[side][0]["reasoning"]
        assert text.rstrip().startswith(written.rstrip())
        assert len(text) > len(written)


def test_a_side_is_one_turn_where_each_step_is_asked_anew(
    tmp_path: Path, encoder: ChatTokenizer, family: str
) -> None:
    file = tmp_path / "anew.py"
    file.write_text(ANEW.replace("anew", f"anew_{family}"))
    row = pair_rows(1)[0]
    short = {**row, "format": f"anew_{family}", "chosen": row["chosen"][:1], "rejected": row["rejected"][:1]}
    rows = read(tmp_path, [short], encoder, family, default_format=str(file))
    for side, made in zip(("chosen", "rejected"), rows.rows, strict=True):
        assert short[side][0]["reasoning"] in trained_text(encoder, made)
        assert "So far: 3 turns." in encoder.decode(made.encoded.ids.tolist())
    with pytest.raises(UserError, match="has one prompt per step, so a side is"):
        read(tmp_path, [{**row, "format": f"anew_{family}"}], encoder, family)
    with pytest.raises(UserError, match="a row names the file"):
        read(tmp_path, [{**row, "format": str(file)}], encoder, family)


GROWING = "tests/data/toy_protocol.py"
ANEW = """
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import Layout

class FORMAT(ReaRag):
    name = "anew"
    layout = Layout.HISTORY_IN_USER_TURN

    def render_history(self, turns):
        return f"So far: {len(turns)} turns."
"""
GOOD = pair_rows(1)[0]
BAD = {
    "formats": (
        {**GOOD, "chosen": {"format": "react", "messages": GOOD["chosen"]}},
        "different formats: react, rearag",
    ),
    "unknown": ({**GOOD, "format": "klingon"}, "klingon"),
    "no_format": ({**GOOD, "format": None}, "it has no format"),
    "same": ({**GOOD, "rejected": GOOD["chosen"]}, "chosen and rejected are the same"),
    "nobody": ({**GOOD, "chosen": [{"role": "user", "content": "Q"}]}, "chosen has no turn of the assistant"),
    "begins": (
        {**GOOD, "rejected": [{"role": "observation", "content": "O"}, *GOOD["rejected"]]},
        "rejected begins with a turn of the observation",
    ),
    "no_prompt": ({**GOOD, "prompt": []}, "prompt is not a list of turns"),
    "text": ({**GOOD, "chosen": "yes"}, "chosen is not a list of turns"),
    "turn": (
        {**GOOD, "chosen": [{"role": "assistant", "content": "x"}]},
        "prompt and chosen: turn 4, of the assistant, has no reasoning",
    ),
    "flag": ({**GOOD, "unfinished": "no"}, "unfinished is 'no', not true or false"),
    "open": (
        {**GOOD, "unfinished": True, "chosen": [*GOOD["chosen"], {"role": "observation", "content": "O"}]},
        "chosen is unfinished, but does not end with a turn of the assistant",
    ),
    "no_object": ([1], "it is not an object"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_a_bad_pair_is_named(tmp_path: Path, encoder: ChatTokenizer, family: str, kind: str) -> None:
    row, words = BAD[kind]
    with pytest.raises(UserError, match=rf"pairs\.jsonl:line 2 cannot be trained on: .*{words}"):
        read(tmp_path, [GOOD, row], encoder, family)


def test_a_template_that_rewrites_the_prompt_is_refused(tmp_path: Path) -> None:
    """Templates that drop thoughts of earlier turns do so: the sides would not share the prompt."""
    folder = tokenizer_folder(tmp_path / "model", "qwen")
    template = folder / "chat_template.jinja"
    opening = "{%- if messages|length == 4 %}<|im_start|>system\nlast<|im_end|>\n{% endif %}"
    template.write_text(opening + template.read_text())
    short = {**GOOD, "chosen": GOOD["chosen"][:1], "rejected": GOOD["rejected"][:1]}
    with pytest.raises(
        UserError, match=r"line 1.*(does not share the prompt|differently from its prompt|drops or changes)"
    ):
        read(tmp_path, [short], ChatTokenizer(folder))


SAMPLE: dict[str, Any] = {
    "ids": [5, 6, 7, 8],
    "trainable": [0, 1, 0, 1],
    "logprobs": [None, -0.5, None, -1.0],
    "advantages": 0.25,
    "policy_version": 3,
}


def rollouts(tmp_path: Path, rows: list[Any], **more: Any) -> Rows:
    path = tmp_path / "rollouts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, Any] = {"max_length": 100, "drop_long": False, "seed": 1, **more}
    return read_rollouts([DataFile(path=str(path))], 50, **settings)


def test_rollouts_are_rows_with_values(tmp_path: Path) -> None:
    each = {**SAMPLE, "advantages": [9, 1, 9, -1], "logprobs": [-9, -0.5, -9, -1.0]}
    rows = rollouts(tmp_path, [{"samples": [SAMPLE, each]}, {"samples": [SAMPLE]}])
    assert [row.place.rpartition("/")[2] for row in rows.rows] == [
        "rollouts.jsonl:line 1 sample 1",
        "rollouts.jsonl:line 1 sample 2",
        "rollouts.jsonl:line 2 sample 1",
    ]
    first, second, third = rows.rows
    assert first.encoded.trainable.tolist() == [False, True, False, True]
    assert first.values[ADVANTAGES].tolist() == [0, 0.25, 0, 0.25]
    assert second.values[ADVANTAGES].tolist() == [0, 1, 0, -1]
    assert second.values[OLD_LOGPROBS].tolist() == first.values[OLD_LOGPROBS].tolist() == [0, -0.5, 0, -1]
    assert third.policy_version == 3
    assert rows._replace(rows=[first]).digest() != rows._replace(rows=[second]).digest()


WRONG = {
    "no_mask": ({"trainable": None}, "trainable is not a list of 4 values"),
    "short_mask": ({"trainable": [0, 1]}, "trainable is not a list of 4 values"),
    "mask_of_text": ({"trainable": [0, "1", 0, 1]}, "trainable is not a list of 4 values"),
    "nothing": ({"trainable": [0, 0, 0, 0]}, "no token is trainable"),
    "first": ({"trainable": [1, 0, 0, 1]}, "marks the first token"),
    "ids": ({"ids": [5, 6, 7, 50]}, "outside the tokenizer's 50: 5 to 50"),
    "text": ({"ids": "text"}, "ids is not a list"),
    "no_ids": ({"ids": []}, "ids is not a list"),
    "no_logprobs": ({"logprobs": None}, "logprobs is not a list of 4 values"),
    "a_null": ({"logprobs": [None, None, None, -1]}, "logprobs has None for trainable token 2"),
    "positive": ({"logprobs": [0, 0.5, 0, -1]}, "logprobs has a positive value, 0.5"),
    "huge": ({"advantages": 1e39}, "advantages has 1e.39 for trainable token 2"),
    "no_advantage": ({"advantages": None}, "advantages has None"),
    "short": ({"advantages": [1, 2]}, "advantages is not a list of 4 values"),
    "version": ({"policy_version": None}, "has no policy_version"),
}


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_a_bad_sample_is_named(tmp_path: Path, kind: str) -> None:
    change, words = WRONG[kind]
    rows = [{"samples": [SAMPLE]}, {"samples": [SAMPLE, {**SAMPLE, **change}]}]
    with pytest.raises(UserError, match=rf"rollouts\.jsonl:line 2 sample 2 cannot be trained on: .*{words}"):
        rollouts(tmp_path, rows)


def test_a_row_without_samples_is_named(tmp_path: Path) -> None:
    for row in ({"samples": []}, {"ids": [1]}, [1]):
        with pytest.raises(UserError, match=r"rollouts\.jsonl:line 1 cannot be trained on: it has no list"):
            rollouts(tmp_path, [row])
    with pytest.raises(UserError, match=r"line 1 sample 1 cannot be trained on: it is not an object"):
        rollouts(tmp_path, [{"samples": [None]}])
    with pytest.raises(UserError, match="has 4 tokens, more than max_length=3"):
        rollouts(tmp_path, [{"samples": [SAMPLE]}], max_length=3)
