"""The settings of the shipped runs: what a model reads in its rollouts is what it will read in inference."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.config import load_config
from src_data.config import DataConfig
from src_infer.config import InferConfig, RuntimeConfig
from src_train.rl.config import RlConfig


def seen(config: RuntimeConfig) -> dict[str, object]:
    """What decides on the text that the model reads: format, prompt, and what is shown of passages."""
    return {
        "protocol": config.protocol,
        "prompt": config.prompt,
        "top_k": config.top_k,
        "view": config.view,
        "only_named": config.only_named,
        "repeat_passages": config.repeat_passages,
    }


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        ("rearag/rl-smollm2-135m-cpu.yaml", "../infer/small.yaml"),
        ("r3rag/rl.yaml", "r3rag/infer.yaml"),
        ("r3rag/rl-cpu.yaml", "r3rag/infer-cpu.yaml"),
        ("r3rag/rl-laptop.yaml", "r3rag/infer-cpu.yaml"),
        ("deeprag/rl.yaml", "deeprag/infer.yaml"),
        ("deeprag/rl-cpu.yaml", "deeprag/infer-cpu.yaml"),
    ],
)
def test_rollouts_show_what_inference_shows(trained: str, asked: str) -> None:
    systems = Path("configs/systems")
    rollouts = load_config(RlConfig, systems / trained).runtime
    assert seen(rollouts) == seen(load_config(InferConfig, systems / asked))


@pytest.mark.parametrize("suffix", ["", "-cpu"])
def test_the_cold_start_of_r3rag_shows_as_many_and_as_long_passages(suffix: str) -> None:
    """The release has at most three of them in its chains, two in RL, and three or five in its evaluation."""
    chains = load_config(DataConfig, Path(f"configs/systems/r3rag/coldstart{suffix}.yaml")).build_conv.runtime
    rollouts = load_config(RlConfig, Path(f"configs/systems/r3rag/rl{suffix}.yaml")).runtime
    assert (chains.protocol, chains.top_k, chains.view) == (rollouts.protocol, rollouts.top_k, rollouts.view)
