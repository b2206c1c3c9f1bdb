"""What a run says when it cannot go on: no number for a loss, a full disk, a checkpoint of another model."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest

from src_core.errors import UserError
from tests.helpers_train import chains, model_folder, train_settings, write_rows

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from safetensors.torch import load_file, save_file  # noqa: E402

from src_train.run import main  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return model_folder(tmp_path_factory.mktemp("model"))


def test_a_loss_that_is_no_number_names_its_rows(tmp_path: Path, folder: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"not a number at step 1, on .*train\.jsonl:line \d+.* lower"):
        main([str(train_settings(tmp_path, broken))])


def test_a_run_goes_on_when_there_is_space_again(tmp_path: Path, folder: Path) -> None:
    path = str(train_settings(tmp_path, folder))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"no space for .*runs/run.* run the same command again"):
            main([path])
        assert not (tmp_path / "runs/run/model").exists()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert main([path]) == 0
    assert (tmp_path / "runs/run/model/model.safetensors").is_file()


def test_a_checkpoint_of_another_model_is_named(tmp_path: Path, folder: Path) -> None:
    path = str(train_settings(tmp_path, folder))
    assert main([path, "max_steps=2"]) == 0
    run = tmp_path / "runs/run"
    shutil.rmtree(run / "model")
    kept = load_file(run / "checkpoint-2/model.safetensors")
    cut = {name: weight[:8].clone() if weight.ndim > 1 else weight for name, weight in kept.items()}
    save_file(cut, run / "checkpoint-2/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"checkpoint-2 is not a checkpoint of this model: .*size mismatch"):
        main([path, "max_steps=2"])


def test_other_data_or_settings_are_another_run(tmp_path: Path, folder: Path) -> None:
    path = str(train_settings(tmp_path, folder))
    assert main([path, "max_steps=2"]) == 0
    with pytest.raises(UserError, match="learning_rate"):
        main([path, "max_steps=2", "learning_rate=5e-4"])
    write_rows(tmp_path / "train.jsonl", chains(23))
    with pytest.raises(UserError, match="data_digest"):
        main([path, "max_steps=2"])
