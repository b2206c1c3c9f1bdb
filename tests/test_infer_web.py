"""A run that searches the web says in its rows what was searched, where and when."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from helpers_web import KEY, FakeWeb
from rich.console import Console

from src_core.config import load_config
from src_core.errors import UserError
from src_infer.config import InferConfig
from src_infer.metering import WEB_SEARCHES
from src_infer.run import prepare, run

QUIET = Console(quiet=True)


def answered(folder: Path, *, key: str = KEY) -> tuple[dict[str, object], dict[str, object]]:
    """The row and the manifest of one question by naive RAG over the web."""

    async def go() -> Path:
        script = folder / "script.jsonl"
        script.write_text(
            json.dumps({"when": "", "replies": ["Paris"], "cycle": True}) + "\n", encoding="utf-8"
        )
        async with FakeWeb("brave") as server:
            url = f"scripted:{script}"
            overrides = [
                *(f"agent.url={url}", f"reader.url={url}", f"retriever=brave:{server.url}"),
                *("method=naive_rag", "question=What is the capital of France?", f"runs_dir={folder}/runs"),
                *("run_name=web", f"web.cache={folder}/web.sqlite3"),
            ]
            prepared = prepare(load_config(InferConfig, Path("configs/infer/gpu.yaml"), overrides))
            await run(prepared, QUIET, QUIET)
            return prepared.folder

    done = asyncio.run(go())
    row = json.loads((done / "trajectories.jsonl").read_text(encoding="utf-8"))
    manifest = json.loads((done / "manifest.json").read_text(encoding="utf-8"))
    assert all(key.encode() not in file.read_bytes() for file in folder.rglob("*") if file.is_file())
    return row, manifest


def test_a_row_says_what_was_searched_and_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAVE_API_KEY", KEY)
    row, manifest = answered(tmp_path)
    (search,) = row["provenance"][WEB_SEARCHES]  # type: ignore[index]
    assert (search["engine"], search["query"]) == ("brave", "What is the capital of France?")
    assert (search["results"], search["cached"]) == (2, False)
    assert search["address"].startswith("http://127.0.0.1:")
    assert search["at"].startswith("20")
    assert "the web is searched" in str(manifest["not_reproducible"])
    assert manifest["index"]["type"] == "web"  # type: ignore[index]


def test_a_wrong_key_ends_the_run_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAVE_API_KEY", "another-key-of-nobody")
    with pytest.raises(UserError, match="set BRAVE_API_KEY to a key that it knows"):
        answered(tmp_path)
