"""Every YAML that is shipped loads into its class and begins with the command that runs it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from src_core.config import dump, load_config, read_yaml
from src_core.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
# Which class reads a file: by the beginning of its path under configs/.
CLASSES = {
    "infer/": "src_infer.config:InferConfig",
    "retriever": "src_retrieval.server:ServerConfig",
    "index": "src_retrieval.build_plan:BuildConfig",
    "train/": "src_train.config:TrainConfig",
    "systems/radio/finetune": "src_train.rerank_config:RerankConfig",
    "systems/radio/data": "src_data.radio.config:RadioConfig",
    "systems/radio/rerank": "src_retrieval.server:ServerConfig",
    "systems/radio/multihop": "src_eval.config:EvalConfig",
    "eval/": "src_eval.config:EvalConfig",
    "expected": "src_eval.expected:Expected",
    "systems/deeprag/stage": "src_data.deeprag.config:ExploreConfig",
    "systems/deeprag/infer": "src_infer.config:InferConfig",
    "systems/deeprag/eval": "src_eval.config:EvalConfig",
    "systems/deeprag/train": "src_train.config:TrainConfig",
    "systems/deeprag/index": "src_retrieval.build_plan:BuildConfig",
    "systems/deeprag/retriever": "src_retrieval.server:ServerConfig",
    "systems/deeprag/rl": "src_train.rl.config:RlConfig",
    "systems/r3rag/coldstart": "src_data.config:DataConfig",
    "systems/r3rag/infer": "src_infer.config:InferConfig",
    "systems/r3rag/eval": "src_eval.config:EvalConfig",
    "systems/r3rag/train": "src_train.config:TrainConfig",
    "systems/r3rag/rl": "src_train.rl.config:RlConfig",
    "systems/rearag/rl": "src_train.rl.config:RlConfig",
}
# Read by a loader of its own.
LOADERS = {
    "models.yaml": "src_models.catalog:load_catalog",
    "corpora.yaml": "src_retrieval.get_corpus:read_catalogue",
}
FILES = sorted((ROOT / "configs").rglob("*.yaml"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "configs").as_posix()


def class_for(path: Path) -> Any:
    """The config class of a shipped file."""
    found = [target for start, target in CLASSES.items() if name_of(path).startswith(start)]
    assert found, f"say in this test which class reads configs/{name_of(path)}"
    return find(found[0])


def find(target: str) -> Any:
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def test_there_are_files_to_check() -> None:
    assert {"infer/cpu.yaml", "infer/gpu.yaml", "models.yaml"} <= {name_of(path) for path in FILES}


TYPED = [path for path in FILES if name_of(path) not in LOADERS]


@pytest.mark.parametrize("path", TYPED, ids=name_of)
def test_a_shipped_file_loads_and_survives_dump(path: Path) -> None:
    config = load_config(class_for(path), path)
    assert class_for(path)(**dump(config)) == config


@pytest.mark.parametrize("path", TYPED, ids=name_of)
def test_a_misspelt_key_in_a_copy_is_named_with_the_right_one(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.yaml"
    key = next(name for name in read_yaml(path) if len(name) > 4)
    wrong = key[:2] + key[3] + key[2] + key[4:] + "x"
    copy.write_text(path.read_text(encoding="utf-8").replace(f"\n{key}:", f"\n{wrong}:", 1), encoding="utf-8")
    with pytest.raises(UserError) as refused:
        load_config(class_for(path), copy)
    assert f"unknown setting {wrong}" in str(refused.value)
    assert f"did you mean {key}?" in str(refused.value)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_shipped_file_begins_with_its_command(path: Path) -> None:
    head = "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:2])
    assert head.startswith("#")
    assert "bash " in head or "python -m " in head


@pytest.mark.parametrize("name", LOADERS)
def test_files_with_their_own_loader_load(name: str) -> None:
    assert find(LOADERS[name])(ROOT / "configs" / name)


@pytest.mark.parametrize("path", sorted((ROOT / "configs/infer").glob("*.yaml")), ids=name_of)
def test_the_prompts_and_questions_of_a_run_exist(path: Path) -> None:
    config = load_config(class_for(path), path)
    assert (ROOT / config.questions).is_file()
    assert config.prompt.style().system or path.stem == "small"  # which was trained without one


@pytest.mark.parametrize("path", sorted((ROOT / "configs/eval").glob("*.yaml")), ids=name_of)
def test_an_evaluation_names_runs_that_exist(path: Path) -> None:
    config = load_config(class_for(path), path)
    assert (ROOT / config.infer).is_file()
    assert config.name == path.stem
    config.require_names()
    assert config.baseline_name() in [line.name for line in config.lines]
    shipped = [dataset for dataset in config.datasets if not dataset.path.startswith("../")]
    assert all((ROOT / dataset.path).is_file() for dataset in shipped)
