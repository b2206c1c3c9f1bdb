"""The training half of the second way of docs/architecture.md is what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_ways import watched, way

from tests.helpers_train import model_folder, train_settings

pytest.importorskip("torch")
pytestmark = pytest.mark.training

from src_train.run import main  # noqa: E402


def test_conversations_become_a_model_as_the_page_says(tmp_path: Path) -> None:
    calls = way("One question set, ")
    calls = calls[calls.index("src_train.run:main") :]
    path = train_settings(tmp_path, model_folder(tmp_path / "model"), max_steps=1, save_steps=1)
    with watched(calls) as entered:
        assert main([str(path)]) == 0
    assert (tmp_path / "runs/run/model/training.json").is_file()
    assert entered.order == calls
