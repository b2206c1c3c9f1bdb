"""A model that was trained with one prompt is not asked with another without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from src_core.config import dump, load_config
from src_core.errors import UserError
from src_core.protocols.deeprag import DeepRag
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_core.protocols.search_r1 import SearchR1
from src_core.trained_prompt import TRAINING, require_trained_prompt
from src_infer.config import InferConfig
from src_infer.runtime import make_protocol

STYLE = PromptStyle(observation_role="user", observation_template="Observation {n}: {observation}")


def folder(tmp_path: Path, record: Any) -> Path:
    tmp_path.mkdir(exist_ok=True)
    text = record if isinstance(record, str) else json.dumps(record)
    (tmp_path / TRAINING).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_same_prompt_and_no_record_pass(tmp_path: Path) -> None:
    require_trained_prompt(tmp_path, ReaRag(STYLE))
    made = folder(tmp_path, {"format": "rearag", "prompt": dump(STYLE)})
    require_trained_prompt(made, ReaRag(STYLE))
    spelt_out = PromptStyle(
        user_template=ReaRag.user_template,
        observation_role="user",
        observation_template="Observation {n}: {observation}",
    )
    require_trained_prompt(made, ReaRag(spelt_out))
    require_trained_prompt(folder(tmp_path / "b", {"prompt": dump(spelt_out)}), ReaRag(STYLE))
    gguf = tmp_path.with_suffix(".gguf")
    gguf.write_bytes(b"GGUF")
    with pytest.raises(UserError, match="observation_role"):
        require_trained_prompt(gguf, ReaRag())


@pytest.mark.parametrize(
    ("style", "match"),
    [
        (PromptStyle(), "was trained with observation_role 'user', this run asks with 'observation'"),
        (PromptStyle(observation_role="user"), "observation_template"),
        (PromptStyle(system="Be brief.", observation_role="user"), "system"),
    ],
)
def test_another_prompt_is_refused(style: PromptStyle, match: str, tmp_path: Path) -> None:
    made = folder(tmp_path, {"format": "rearag", "prompt": dump(STYLE)})
    with pytest.raises(UserError, match=match):
        require_trained_prompt(made, ReaRag(style))


def test_a_role_that_a_format_does_not_use_may_differ(tmp_path: Path) -> None:
    made = folder(tmp_path, {"format": "deeprag", "prompt": dump(PromptStyle())})
    require_trained_prompt(made, DeepRag(PromptStyle(observation_role="user")))
    with pytest.raises(UserError, match="observation_template"):
        require_trained_prompt(made, DeepRag(PromptStyle(observation_template="{observation}")))


def test_another_format_is_refused(tmp_path: Path) -> None:
    made = folder(tmp_path, {"format": "rearag", "prompt": {}})
    with pytest.raises(UserError, match="set protocol=rearag"):
        require_trained_prompt(made, SearchR1())


@pytest.mark.parametrize("record", ["{", "[]", {"prompt": 1}, {"prompt": {"sytem": ""}}])
def test_a_damaged_record_is_named(record: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training\.json"):
        require_trained_prompt(folder(tmp_path, record), ReaRag(STYLE))


@pytest.mark.parametrize("adapter", ["smollm2-135m", "qwen2.5-coder-0.5b"])
def test_the_profile_of_the_shipped_adapters_asks_as_they_were_trained(adapter: str) -> None:
    trained = f"trained=adapters/{adapter}"
    make_protocol(load_config(InferConfig, Path("configs/infer/small.yaml"), [trained]))
    with pytest.raises(UserError, match="was trained with"):
        make_protocol(load_config(InferConfig, Path("configs/infer/cpu.yaml"), [trained]))


def test_a_folder_that_is_not_there_is_no_folder_without_a_record(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .* of a trained model"):
        require_trained_prompt(tmp_path / "misspelt", ReaRag(STYLE))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (["protocol=chat"], "the format chat has no steps"),
        (["protocol=react", "constrain=grammar"], "the format react has no grammar; set constrain=off"),
        (["prompt.user_template=Well?"], r"prompt\.user_template has no \{question\}"),
        (["prompt.observation_template=x"], r"observation_template has no \{observation\}"),
        (["protocol=search_r1", "constrain=json_schema"], "the format search_r1 has no json_schema"),
    ],
)
def test_a_format_that_cannot_do_what_is_asked_is_refused(settings: list[str], match: str) -> None:
    with pytest.raises(UserError, match=match):
        make_protocol(load_config(InferConfig, None, settings))
