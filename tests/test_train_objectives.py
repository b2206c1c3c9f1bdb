"""Runs of every objective: preference pairs and rollouts are packed, cut, killed and resumed like
conversations.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.chat_tokenizer import ChatTokenizer
from src_core.config import load_config
from src_core.errors import UserError
from src_core.trained_prompt import TRAINING
from src_train.config import TrainConfig
from src_train.data import check_config
from tests.helpers_train import (
    killed_run,
    logged,
    model_folder,
    pair_rows,
    python,
    train_settings,
    write_json_rows,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from transformers import AutoModelForCausalLM  # noqa: E402

from src_train.run import main  # noqa: E402

# Updates that are proportional to the gradient: Adam's turn rounding into whole steps.
PLAIN_STEPS = {"optimizer": "sgd", "learning_rate": 0.01, "warmup_ratio": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return model_folder(tmp_path_factory.mktemp("model"))


def dpo_settings(tmp_path: Path, folder: Path, **more: Any) -> str:
    rows = write_json_rows(tmp_path / "pairs.jsonl", pair_rows(24))
    values = {"objective": "dpo", "train": [{"path": str(rows)}], "pack_length": 1200, **more}
    return str(train_settings(tmp_path, folder, **values))


def same_weights(one: Path, other: Path) -> bool:
    states = [AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (one, other)]
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("pack_length", [1200, 0])
def test_dpo_learns_and_a_killed_run_resumes_to_the_last_bit(
    tmp_path: Path, folder: Path, pack_length: int
) -> None:
    """The run goes through its 24 pairs more than once, and is killed where an epoch ends."""
    cut = {"accumulation": 6} if pack_length == 0 else {"accumulation": 3}
    path = dpo_settings(tmp_path, folder, pack_length=pack_length, **cut)
    assert main([path, "run_name=whole"]) == 0
    killed_run(path, "run_name=killed")
    reference = tmp_path / "runs/killed/reference.train.safetensors"
    before = reference.stat().st_mtime_ns
    assert main([path, "run_name=killed"]) == 0
    assert reference.stat().st_mtime_ns == before, "a resumed run reads the reference"
    runs = tmp_path / "runs"
    for name in ("loss", "accuracy", "chosen_reward", "rejected_reward"):
        assert logged(runs / "killed", name) == logged(runs / "whole", name)
    assert same_weights(runs / "whole/model", runs / "killed/model")
    losses = logged(runs / "whole", "loss")
    assert losses[1] == pytest.approx(math.log(2), abs=1e-6), "the model is the reference at first"
    assert losses[6] < losses[1] - 0.01
    assert logged(runs / "whole", "accuracy")[6] > 0.6


def test_dpo_does_not_depend_on_how_a_step_is_cut(tmp_path: Path, folder: Path) -> None:
    """Pairs of a step in one batch, in four accumulated ones, in two processes, and in no pack."""
    path = dpo_settings(tmp_path, folder, **PLAIN_STEPS, max_steps=3, pack_length=0)
    assert main([path, "run_name=four", "accumulation=4"]) == 0
    assert main([path, "run_name=one", "accumulation=1", "batch_size=4"]) == 0
    launched = python(
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "src_train.run"),
        *(path, "run_name=two", "accumulation=2"),
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    four, one, two = (
        [logged(tmp_path / "runs" / name, key) for key in ("loss", "accuracy", "chosen_reward")]
        for name in ("four", "one", "two")
    )
    assert four[0][1] - four[0][3] > 0.01
    for other in (one, two):
        for values, wanted in zip(other, four, strict=True):
            assert list(values.values()) == pytest.approx(list(wanted.values()), rel=1e-4, abs=1e-5)


def test_packs_of_pairs_train_as_pairs_alone_do(tmp_path: Path, folder: Path) -> None:
    """All pairs in one step: whatever the packing, the update is the same."""
    path = dpo_settings(tmp_path, folder, **PLAIN_STEPS, max_steps=1, save_steps=1, accumulation=24)
    assert main([path, "run_name=packed"]) == 0
    assert main([path, "run_name=alone", "pack_length=0"]) == 0
    one, other, start = (
        AutoModelForCausalLM.from_pretrained(at).state_dict()
        for at in (tmp_path / "runs/packed/model", tmp_path / "runs/alone/model", folder)
    )
    assert max(float((one[key] - start[key]).abs().max()) for key in one) > 1e-3
    assert max(float((one[key] - other[key]).abs().max()) for key in one) < 1e-6


def test_the_reference_of_adapters_is_the_start_or_the_base(tmp_path: Path, folder: Path) -> None:
    lora = {"rank": 4, "alpha": 8}
    path = dpo_settings(tmp_path, folder, lora=lora, max_steps=2, learning_rate=2e-2)
    assert main([path, "run_name=first"]) == 0
    adapter = f"lora.start_from={tmp_path / 'runs/first/adapter'}"
    assert main([path, "run_name=start", adapter]) == 0
    assert main([path, "run_name=base", adapter, "reference=base"]) == 0
    first = {name: logged(tmp_path / "runs" / name, "loss")[1] for name in ("first", "start", "base")}
    assert first["first"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["start"] == pytest.approx(math.log(2), abs=1e-6)
    assert abs(first["base"] - math.log(2)) > 1e-4
    record = json.loads((tmp_path / "runs/first/adapter" / TRAINING).read_text())
    assert (record["format"], record["prompt"]["observation_role"]) == ("rearag", "user")


def test_a_reference_of_other_weights_or_a_damaged_one_is_refused(tmp_path: Path, folder: Path) -> None:
    path = dpo_settings(tmp_path, folder, max_steps=2)
    assert main([path]) == 0
    shutil.rmtree(tmp_path / "runs/run/model")
    stored = tmp_path / "runs/run/reference.train.safetensors"
    whole = stored.read_bytes()
    stored.write_bytes(whole[:100])
    with pytest.raises(UserError, match=r"reference\.train\.safetensors is damaged"):
        main([path])
    stored.write_bytes(whole)
    model_folder(folder.parent / "other", seed=5)
    settings = json.loads(Path(path).read_text())
    kept = folder / "model.safetensors"
    original = kept.read_bytes()
    try:
        kept.write_bytes((folder.parent / "other/model.safetensors").read_bytes())
        assert settings["model"] == str(folder)
        with pytest.raises(UserError, match="other weights to start from"):
            main([path])
        with pytest.raises(UserError, match="computed from other rows or other weights"):
            main([path, "on_existing=resume_anyway"])
    finally:
        kept.write_bytes(original)


def test_validation_pairs_are_scored_against_the_reference(tmp_path: Path, folder: Path) -> None:
    held = str(write_json_rows(tmp_path / "held.jsonl", pair_rows(6, seed=7)))
    path = dpo_settings(tmp_path, folder, validation=[{"path": held}], accumulation=12, pack_length=0)
    assert main([path]) == 0
    found = logged(tmp_path / "runs/run", "eval_loss")
    assert 0 < found[6] < found[2] < math.log(2)
    assert 0.6 < logged(tmp_path / "runs/run", "eval_accuracy")[6] <= 1
    assert not logged(tmp_path / "runs/run", "eval_perplexity")


def sampled_rollouts(folder: Path, count: int) -> list[dict[str, Any]]:
    """Rows of the model's own tokens with their log-probabilities; every second one is to be learned, the
    others unlearned.
    """
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    vocabulary = ChatTokenizer(folder).vocabulary
    draw = np.random.default_rng(0)
    rows = []
    for number in range(count):
        ids = draw.integers(5, vocabulary, size=int(draw.integers(12, 40))).tolist()
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
        own = [0.0] + [float(logprobs[at - 1, ids[at]]) for at in range(1, len(ids))]
        mask = [0] * 4 + [1] * 4 + [0] * 2 + [1] * (len(ids) - 10)  # a prompt, and passages in between
        sample = {"ids": ids, "trainable": mask, "logprobs": own, "policy_version": 0}
        rows.append({"samples": [{**sample, "advantages": 1.0 if number % 2 else -1.0}]})
    return rows


def policy_settings(tmp_path: Path, folder: Path, **more: Any) -> str:
    rows = write_json_rows(tmp_path / "rollouts.jsonl", sampled_rollouts(folder, 16))
    values = {"objective": "policy", "train": [{"path": str(rows)}], "pack_length": 600, **more}
    return str(train_settings(tmp_path, folder, **values))


def test_a_file_of_rollouts_is_trained_on_in_minibatches(tmp_path: Path, folder: Path) -> None:
    path = policy_settings(
        tmp_path, folder, pack_length=0, accumulation=4, learning_rate=1e-2, policy={"kl_coef": 0.05}
    )
    assert main([path, "run_name=whole"]) == 0
    killed_run(path, "run_name=killed")
    assert main([path, "run_name=killed"]) == 0
    run = tmp_path / "runs/whole"
    for name in ("loss", "ratio", "clip_share", "kl"):
        assert logged(tmp_path / "runs/killed", name) == logged(run, name)
    ratio, clipped, kl = (logged(run, name) for name in ("ratio", "clip_share", "kl"))
    assert ratio[1] == pytest.approx(1, abs=1e-5)
    assert (clipped[1], kl[1]) == (0, pytest.approx(0, abs=1e-9))
    assert clipped[6] > 0.05
    assert kl[6] > 1e-3
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["data"]["policy_versions"] == [0]
    assert main([path, "run_name=free", "policy.kl_coef=0"]) == 0
    assert not (tmp_path / "runs/free/reference.train.safetensors").exists()
    assert not logged(tmp_path / "runs/free", "kl")


def test_settings_that_do_not_belong_together_are_named(tmp_path: Path, folder: Path) -> None:
    path = Path(dpo_settings(tmp_path, folder))
    for changes, words in (
        (["pack_length=1100"], "below max_length=600 times two"),
        (["loss=sequence"], "loss=sequence has no meaning for dpo"),
        (["train=[{path: a, min_searches: 2}]"], "min_searches is not for objective"),
        (["reference=base"], "set reference=start"),
    ):
        with pytest.raises(UserError, match=words):
            check_config(load_config(TrainConfig, path, changes))
    check_config(load_config(TrainConfig, path, ["objective=sft", "pack_length=600"]))
