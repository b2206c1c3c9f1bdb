"""Lines of a training run where there is no terminal: never a long silence."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers_wait import until
from rich.console import Console

from src_core.chat_tokenizer import ChatTokenizer
from src_core.config import load_config
from src_core.progress import PLAIN_EVERY
from src_train.config import TrainConfig
from src_train.data import read_data
from tests.helpers_train import chains, model_folder, pair_rows, tokenizer_folder, train_settings, write_rows

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from src_train.progress import TrainingProgress  # noqa: E402
from src_train.reference import with_reference  # noqa: E402
from src_train.speed import Cost  # noqa: E402
from src_train.train_metrics import TrainingLog  # noqa: E402

EVERY, SLOW = 0.05, 0.3


def plain_console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=200, force_terminal=False), out


def lines(out: io.StringIO) -> list[str]:
    return [line for line in out.getvalue().splitlines() if line.strip()]


def test_a_line_comes_at_least_every_twenty_seconds() -> None:
    """`StepProgress` looks four times per interval whether a line is due."""
    assert PLAIN_EVERY * 1.25 < 20


def new_log(tmp_path: Path) -> TrainingLog:
    return TrainingLog(
        tmp_path / "log.jsonl", cost=Cost(1, 1, 1), matrix_rate=1.0, per_token=(1, 1), minutes=0, devices=1
    )


def test_a_long_step_and_a_long_evaluation_are_shown(tmp_path: Path) -> None:
    console, out = plain_console()
    progress = TrainingProgress(new_log(tmp_path), console=console, every=EVERY)
    args, state = SimpleNamespace(device=torch.device("cpu")), SimpleNamespace(max_steps=8, global_step=2)
    progress.on_train_begin(args, state)
    until(lambda: len(lines(out)) >= 2)  # during the first step
    before = lines(out)
    assert len(before) >= 2
    assert all(line.startswith("2/8 steps") for line in before)
    progress.on_validation(1, 4)  # before the first step, when there are no figures
    until(lambda: "validating 1/4" in out.getvalue())
    assert ", ," not in out.getvalue()
    progress.on_validation(4, 4)
    before, said = lines(out), out.getvalue().count("validating 1/4")
    state.global_step = 3
    progress.on_step_end(args, state)
    progress.on_log(args, state, logs={"loss": 1.25, "accuracy": 0.5})
    progress.on_validation(1, 4)
    until(lambda: out.getvalue().count("validating 1/4") >= said + 2)
    validating = [line for line in lines(out)[len(before) :] if "validating 1/4" in line]
    assert len(validating) >= 2
    assert "loss 1.2500, accuracy 0.500" in validating[-1]
    progress.on_validation(4, 4)
    progress.on_log(args, state, logs={"eval_loss": 2.0})
    state.global_step = 8
    progress.on_step_end(args, state)
    progress.on_log(args, state, logs={"loss": 1.0})
    last = lines(out)[-1]
    assert last.startswith("8/8 steps")
    assert "loss 1.0000, validation 2.0000" in last
    assert "validating" not in last
    progress.stop()
    ended = len(lines(out))
    time.sleep(2 * EVERY)
    assert len(lines(out)) == ended


class SlowTokenizer(ChatTokenizer):
    """A row takes as long as thousands do."""

    def encode(self, messages: Any, **settings: Any) -> Any:
        time.sleep(SLOW)
        return super().encode(messages, **settings)


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_reading_is_shown(tmp_path: Path, objective: str) -> None:
    folder = tokenizer_folder(tmp_path / "model", "qwen")
    path = train_settings(tmp_path, folder, objective=objective, pack_length=1200)
    write_rows(tmp_path / "train.jsonl", chains(2))
    if objective == "dpo":
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pair_rows(2)))
    config = load_config(TrainConfig, path)
    console, out = plain_console()
    data = read_data(config, SlowTokenizer(folder), console=console, every=EVERY)
    assert len(data.train.rows) == (2 if objective == "sft" else 4)
    found = lines(out)
    assert len(found) >= 3
    assert {line.split(",")[0] for line in found} >= {"rows read", "1 rows read"}


def test_computing_the_reference_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import PartialState

    from src_train import reference
    from src_train.model import load_model

    folder = model_folder(tmp_path / "model")
    path = train_settings(tmp_path, folder, objective="dpo", pack_length=0)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pair_rows(2)))
    config = load_config(TrainConfig, path)
    console, out = plain_console()
    data = read_data(config, ChatTokenizer(folder), console=console)
    compute = reference._of_pack

    def slow(*args: Any) -> Any:
        time.sleep(SLOW)
        return compute(*args)

    monkeypatch.setattr(reference, "_of_pack", slow)
    made = with_reference(
        data,
        load_model(folder, config),
        config,
        folder=tmp_path,
        state=PartialState(),
        console=console,
        every=EVERY,
    )
    assert all("ref_logprobs" in row.values for row in made.train.rows)
    assert len([line for line in lines(out) if "train sequences under the reference" in line]) >= 3
