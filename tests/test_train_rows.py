"""What training data may look like, and what is said about data that it cannot use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.chat_tokenizer import ChatTokenizer, Encoded
from src_core.errors import UserError
from src_core.protocols.records import PromptStyle
from src_train.checks import coloured
from src_train.config import DataFile
from src_train.packing import IGNORED, collate, join, loss_weights, pack
from src_train.rows import Rows, dropped_note, length_report, read_rows
from tests.helpers_train import chains, style, tokenizer_folder, write_rows

GENERAL = [{"role": "user", "content": "Hi."}, {"role": "assistant", "reasoning": "Hello there."}]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer(tokenizer_folder(tmp_path_factory.mktemp("model"), "qwen"))


def read(
    path: Path,
    encoder: ChatTokenizer,
    *,
    max_length: int = 4000,
    drop: bool = False,
    prompt: PromptStyle | None = None,
) -> Rows:
    made = style("qwen") if prompt is None else prompt
    return read_rows([DataFile(path=str(path))], encoder, made, max_length=max_length, drop_long=drop, seed=1)


def test_chains_and_general_rows_are_read_in_order(tmp_path: Path, encoder: ChatTokenizer) -> None:
    rows = read(write_rows(tmp_path / "rows.jsonl", [*chains(3), GENERAL], plain=1), encoder)
    assert len(rows.rows) == 4
    assert [row.format for row in rows.rows] == ["rearag"] * 3 + ["chat"]
    assert rows.rows[3].place.endswith("rows.jsonl:line 4")
    assert rows.rows[3].encoded.trainable.sum() < rows.rows[0].encoded.trainable.sum()
    report = length_report(rows)
    assert (report.rows, report.tokens, report.dropped) == (4, sum(rows.lengths()), 0)
    assert 0 < report.trained < report.tokens


def test_a_published_array_reads_as_lines_do(tmp_path: Path, encoder: ChatTokenizer) -> None:
    made = chains(4)
    (tmp_path / "a.json").write_text(json.dumps([{"messages": row} for row in made]))
    lines = read(write_rows(tmp_path / "b.jsonl", made), encoder)
    assert read(tmp_path / "a.json", encoder).digest() == lines.digest()


def test_the_loops_system_turn_is_not_put_before_general_rows(tmp_path: Path, encoder: ChatTokenizer) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [chains(1)[0], GENERAL], plain=1)
    with_system = read(path, encoder, prompt=style("qwen", system="Search step by step."))
    texts = [encoder.decode(row.encoded.ids.tolist()) for row in with_system.rows]
    assert "Search step by step." in texts[0]
    assert "Search step by step." not in texts[1]


def test_n_draws_the_same_rows_every_time(tmp_path: Path, encoder: ChatTokenizer) -> None:
    path = write_rows(tmp_path / "rows.jsonl", chains(20))

    def drawn(seed: int) -> list[str]:
        files = [DataFile(path=str(path), n=5)]
        made = read_rows(files, encoder, style("qwen"), max_length=4000, drop_long=False, seed=seed)
        return [row.place for row in made.rows]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(drawn(1)) == 5


BAD = {
    "no_reasoning": (
        [{"role": "user", "content": "Q"}, {"role": "assistant"}],
        "turn 2, of the assistant, has no",
    ),
    "content_instead": (
        [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
        "turn 2, of the assistant, has no reasoning",
    ),
    "unknown_role": (
        [{"role": "user", "content": "Q"}, {"role": "tool", "content": "A"}],
        "turn 2 has the unknown role 'tool'",
    ),
    "nobody_answers": ([{"role": "user", "content": "Q"}], "no turn of the assistant"),
    "blank": ([{"role": "user", "content": "  "}, *GENERAL[1:]], "turn 1, of the user, has no content"),
    "nothing": ([], "no list of messages"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_a_bad_row_is_named(tmp_path: Path, encoder: ChatTokenizer, kind: str) -> None:
    messages, words = BAD[kind]
    path = write_rows(tmp_path / "rows.jsonl", [chains(1)[0], messages], plain=1)
    with pytest.raises(
        UserError, match=rf"line 2 cannot be trained on: no conversation of the format chat: {words}"
    ):
        read(path, encoder)


def test_a_damaged_chain_is_an_error_and_never_general_data(tmp_path: Path, encoder: ChatTokenizer) -> None:
    broken = [dict(turn) for turn in chains(1)[0]]
    broken[1]["reasoning"] = broken[1]["reasoning"].replace("Action 1", "Then")
    path = write_rows(tmp_path / "rows.jsonl", [chains(1)[0], broken])
    with pytest.raises(UserError, match=r"line 2 .* format rearag: turn 2: cannot be read \(no_action\)"):
        read(path, encoder)


def test_plain_rows_of_a_file_that_is_said_to_hold_chains_are_named(
    tmp_path: Path, encoder: ChatTokenizer
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [GENERAL])
    with pytest.raises(UserError, match="set format: chat for a file of plain conversations"):
        read(path, encoder)


def test_a_row_that_is_no_json_is_named(tmp_path: Path, encoder: ChatTokenizer) -> None:
    path = write_rows(tmp_path / "rows.jsonl", chains(1))
    path.write_text(path.read_text() + '{"messages": [\n')
    with pytest.raises(
        UserError, match=r"line 2 cannot be trained on: no conversation of the format rearag: not valid JSON"
    ):
        read(path, encoder)


def test_a_role_that_the_template_lacks_is_named(tmp_path: Path, encoder: ChatTokenizer) -> None:
    path = write_rows(tmp_path / "rows.jsonl", chains(1))
    with pytest.raises(UserError, match="ChatML has no role observation"):
        read(path, encoder, prompt=PromptStyle(observation_role="observation"))


def test_long_rows_end_the_run_or_are_left_out_by_name(tmp_path: Path, encoder: ChatTokenizer) -> None:
    path = write_rows(tmp_path / "rows.jsonl", chains(8))
    lengths = read(path, encoder).lengths()
    limit = sorted(lengths)[3]
    first = next(n for n, length in enumerate(lengths, start=1) if length > limit)
    with pytest.raises(
        UserError, match=rf"rows\.jsonl:line {first} has {lengths[first - 1]} tokens, more than"
    ):
        read(path, encoder, max_length=limit)
    dropped = read(path, encoder, max_length=limit, drop=True)
    assert sorted(dropped.lengths()) == [length for length in sorted(lengths) if length <= limit]
    assert f"line {first} ({lengths[first - 1]})" in dropped_note(dropped, limit)
    assert dropped_note(read(path, encoder), 4000) == ""


def test_nothing_to_train_on_is_an_error(tmp_path: Path, encoder: ChatTokenizer) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UserError, match=r"nothing to train on in .*empty\.jsonl"):
        read(tmp_path / "empty.jsonl", encoder)
    with pytest.raises(UserError, match="name files"):
        read_rows([], encoder, style("qwen"), max_length=9, drop_long=True, seed=1)
    with pytest.raises(UserError, match=r"none\.jsonl"):
        read(tmp_path / "none.jsonl", encoder)


def test_the_shown_row_marks_the_trained_tokens(tmp_path: Path, encoder: ChatTokenizer) -> None:
    row = read(write_rows(tmp_path / "rows.jsonl", [GENERAL], plain=1), encoder).rows[0]
    text = coloured(row.encoded, encoder)
    trained = [text.plain[span.start : span.end] for span in text.spans if "green" in str(span.style)]
    assert trained == ["Hello there.<|im_end|>"]


def rows_of(lengths: Sequence[int]) -> list[Encoded]:
    draw = np.random.default_rng(0)
    return [
        Encoded(draw.integers(3, 90, size=length).astype(np.int32), draw.random(length) < 0.4)
        for length in lengths
    ]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_packs_hold_every_row_once_and_no_more_than_fits(lengths: list[int]) -> None:
    packs = pack(lengths, 64)
    assert sorted(row for one in packs for row in one) == list(range(len(lengths)))
    assert all(sum(lengths[row] for row in one) <= 64 for one in packs)
    assert len([one for one in packs if 2 * sum(lengths[row] for row in one) <= 64]) <= 1


def test_best_fit_wastes_little() -> None:
    lengths = np.random.default_rng(1).lognormal(6, 0.6, size=3000).astype(int).clip(20, 4096).tolist()
    assert len(pack(lengths, 4096)) * 4096 < 1.02 * sum(lengths)
    with pytest.raises(ValueError, match="row 0 has 9 tokens"):
        pack([9], 8)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.booleans())
def test_a_joined_row_keeps_ids_and_starts_positions_anew(lengths: list[int], per_sequence: bool) -> None:
    rows = rows_of(lengths)
    joined = join(rows, per_sequence=per_sequence)
    at = 0
    for row in rows:
        part = slice(at, at + len(row.ids))
        assert joined["input_ids"][part].tolist() == row.ids.tolist()
        assert joined["position_ids"][part].tolist() == list(range(len(row.ids)))
        assert joined["labels"][at] == IGNORED  # nothing comes before a row's first token
        trained = joined["labels"][part] != IGNORED
        assert trained[1:].tolist() == row.trainable[1:].tolist()
        assert (joined["weights"][part] > 0).tolist() == trained.tolist()
        at = part.stop


def test_padding_is_a_row_that_is_not_trained() -> None:
    short, long = (join([row], per_sequence=False) for row in rows_of([3, 5]))
    batch = collate([short, long], pad_id=7)
    assert batch["input_ids"][0].tolist() == [*short["input_ids"].tolist(), 7, 7]
    assert batch["position_ids"][0].tolist() == [0, 1, 2, 0, 1]
    assert batch["labels"][0, 3:].tolist() == [IGNORED, IGNORED]
    assert batch["weights"][0, 3:].tolist() == [0, 0]
    assert batch["row_numbers"].tolist() == [[0, 0, 0, -1, -1], [1, 1, 1, 1, 1]]


def test_weights_of_a_row_sum_to_one_with_longaligns_rule() -> None:
    row = Encoded(np.arange(5, dtype=np.int32), np.array([True, True, False, True, True]))
    assert loss_weights(row, per_sequence=False).tolist() == [0, 1, 0, 1, 1]
    assert loss_weights(row, per_sequence=True).sum() == pytest.approx(1)
