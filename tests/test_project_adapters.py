"""The adapters that come with the project: small, whole, and made for a model that the catalogue names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from src_models.catalog import load_catalog
from src_models.peft_folder import read_peft

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = sorted(path.parent for path in ROOT.glob("adapters/*/adapter_config.json"))
LARGEST = 12_000_000


def test_there_are_some() -> None:
    assert SHIPPED


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_adapter_is_small_and_whole(folder: Path) -> None:
    assert folder.name in load_catalog().models
    assert (folder / "adapter_model.safetensors").stat().st_size < LARGEST
    assert read_peft(folder).rank > 0
    base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert not base.startswith(("/", ".")), "the path of a machine"
    assert "train_small.sh" in (folder / "README.md").read_text()
