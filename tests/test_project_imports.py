"""Importing does nothing: no output, no network, no GPU package; and nothing is evaluated, unpickled or
imported by name.
"""

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
    {
        f"src_train.{name}"
        for name in (
            "trainer_arguments",
            "attention",
            "logprobs",
            "losses",
            "model",
            "objectives",
            "processes",
            "progress",
            "reference",
            "rerank",
            "rerank_model",
            "rerank_result",
            "rerank_rows",
            "rerank_trainer",
            "result",
            "resumable",
            "rl.__main__",
            "rl.checkpoint",
            "rl.learner",
            "rl.local_model",
            "rl.loop",
            "rl.serving",
            "rl.verl_estimator",
            "run",
            "speed",
            "train_metrics",
            "trainer",
        )
    }
)
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
    for arrays in ("src_core.chat_tokenizer", "src_infer.rollout"):  # of token ids
        ours.remove(arrays)
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


def test_imports_by_name_are_those_of_plugins_alone() -> None:
    """`pyproject.toml` has the contracts between rooms (`lint-imports`); an import by name would hide from
    them.
    """
    by_name = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in sources(room)
        if "import_module" in path.read_text(encoding="utf-8")
    }
    assert by_name == {"src_core/plugins.py"}


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


def test_no_server_of_the_retriever_is_imported_by_anybody() -> None:
    """`app` serves and `server` is the entry point; the loop sees the client, the toy, rankings on disk and
    the web, RADIO's data also the scores of given passages, and training the code that the server's rerankers
    run.
    """
    for room in ROOMS:
        for path in sources(room):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            used = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
            assert "src_retrieval.server" not in used, path
            assert "src_retrieval.app" not in used or path.name == "server.py", path
            if room != "src_retrieval":
                theirs = {name for name in used if name and name.startswith("src_retrieval")}
                if room == "src_train":
                    theirs = {name for name in theirs if not name.startswith("src_retrieval.rerankers")}
                seen = {"src_retrieval.client", "src_retrieval.toy", "src_retrieval.ranked"}
                seen |= {"src_retrieval.web", "src_retrieval.web.retriever"}
                if path.parent.name == "radio":
                    seen.add("src_retrieval.scoring")
                assert theirs <= seen, path
