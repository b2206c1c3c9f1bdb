"""Importing does nothing: no output, no network, no GPU package; and imports go one way between the rooms."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = sorted(path.name for path in ROOT.glob("src_*") if (path / "__init__.py").is_file())
MODULES = sorted(
    module.name for room in ROOMS for module in pkgutil.walk_packages([str(ROOT / room)], prefix=f"{room}.")
)
# Modules that exist for one heavy package, which a machine may lack: they are imported where it is used.
BEHIND_A_PACKAGE = frozenset(
    {"src_retrieval.torch_encoder", "src_retrieval.onnx_encoder"}
    | {
        f"src_train.{name}"
        for name in ("attention", "loss", "model", "progress", "run", "speed", "train_metrics", "trainer")
    }
)
MAY_IMPORT = {
    "src_core": {"src_core"},
    "src_tasks": {"src_core", "src_tasks"},
    "src_models": {"src_core", "src_models"},
    "src_retrieval": {"src_core", "src_models", "src_retrieval"},
    "src_infer": {"src_core", "src_tasks", "src_retrieval", "src_infer"},
    "src_data": {"src_core", "src_tasks", "src_retrieval", "src_infer", "src_data"},
    "src_train": {"src_core", "src_models", "src_train"},
    "src_eval": {"src_core", "src_tasks", "src_eval"},
    "src_demo": {"src_core", "src_tasks", "src_infer", "src_demo"},
}
HEAVY = ("torch", "transformers", "vllm", "faiss", "onnxruntime", "xllamacpp", "datasets", "numpy", "ray")
FORBIDDEN_CALLS = frozenset({"eval", "exec", "compile", "__import__"})
FORBIDDEN_MODULES = frozenset({"pickle", "cPickle", "dill", "shelve", "marshal", "joblib"})

IMPORT_ALL = """
import importlib, os, socket, sys

def refuse(*_, **__):
    raise AssertionError("the network was touched at import")

socket.socket.connect = socket.socket.bind = socket.getaddrinfo = socket.create_connection = refuse
before = set(os.listdir("."))
for name in sys.argv[1].split(","):
    importlib.import_module(name)
assert set(os.listdir(".")) == before, "a file was written at import"
heavy = [name for name in sys.argv[2].split(",") if name and name in sys.modules]
assert not heavy, f"imported: {heavy}"
"""


def import_all(modules: list[str], *, without: tuple[str, ...], cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_ALL, ",".join(modules), ",".join(without)],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "HOME": str(cwd)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_there_are_modules_to_check() -> None:
    assert {"src_core", "src_infer"} <= set(ROOMS)
    assert len(MODULES) > 20


def test_every_module_imports_without_settings_network_or_output(tmp_path: Path) -> None:
    ours = [name for name in MODULES if name not in BEHIND_A_PACKAGE]
    import_all(ours, without=("torch", "vllm", "ray"), cwd=tmp_path)


def test_the_loop_and_its_vocabulary_import_nothing_heavy(tmp_path: Path) -> None:
    ours = [name for name in MODULES if name.startswith(("src_core", "src_infer"))]
    ours.remove("src_core.chat_tokenizer")  # arrays of token ids
    import_all(ours, without=HEAVY, cwd=tmp_path)


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    """The top-level names of all imports, also those inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    assert room in MAY_IMPORT, f"say in this test which rooms {room} may import"
    for path in sources(room):
        rooms = {
            name for name in imported(ast.parse(path.read_text(encoding="utf-8"))) if name.startswith("src_")
        }
        assert rooms <= MAY_IMPORT[room], f"{path.relative_to(ROOT)} imports {rooms - MAY_IMPORT[room]}"


def test_the_rooms_of_src_data_import_no_command() -> None:
    """What a person calls stands above the rooms that do the work (`src_data/__init__.py`)."""
    top = {f"src_data.{path.stem}" for path in (ROOT / "src_data").glob("*.py")} - {"src_data.config"}
    for path in sorted((ROOT / "src_data").glob("*/*.py")):
        if path.name == "__main__.py":  # a command too
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not used & top, path


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_is_evaluated_or_unpickled(room: str) -> None:
    for path in sources(room):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not imported(tree) & FORBIDDEN_MODULES, path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in FORBIDDEN_CALLS, f"{path}:{node.lineno}"
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), f"{path}:{node.lineno}"
                assert node.value.value is False, f"{path}:{node.lineno}"
