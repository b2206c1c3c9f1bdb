"""Run directories refuse, resume and clean; their rows survive kill -9 and are read in flat memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml

from src_core.errors import UserError
from src_core.jsonl import read_jsonl
from src_core.rundir import RunDir
from src_core.same_settings import settings_fingerprint

CONFIG: dict[str, Any] = {"method": "rearag", "top_k": 3, "in_flight": 4, "run_name": "r"}


def row(name: str, status: str = "finished", **more: object) -> bytes:
    return json.dumps({"question": {"id": name}, "status": status, **more}).encode()


def test_a_run_directory_is_resumed_with_the_same_settings_only(tmp_path: Path) -> None:
    RunDir(tmp_path / "r", config=CONFIG).close()
    RunDir(tmp_path / "r", config={**CONFIG, "in_flight": 64}).close()
    with pytest.raises(UserError) as refused:
        RunDir(tmp_path / "r", config={**CONFIG, "top_k": 5})
    message = str(refused.value)
    assert "(top_k)" in message
    for way_out in ("RUN_NAME", "on_existing=clean", "on_existing=resume_anyway"):
        assert way_out in message
    RunDir(tmp_path / "r", config={**CONFIG, "top_k": 5}, on_existing="resume_anyway").close()
    assert yaml.safe_load((tmp_path / "r/config.yaml").read_text())["top_k"] == 5


def test_in_the_script_of_a_system_a_refusal_names_its_knob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scripts/deeprag.sh and its kin pass no settings on."""
    RunDir(tmp_path / "r", config={**CONFIG, "data_digest": "a"}).close()
    monkeypatch.setenv("REARAG_SYSTEM", "deeprag")
    said = r"\(data_digest: other rows to train on\); take another NAME, or delete that folder to start over$"
    with pytest.raises(UserError, match=said):
        RunDir(tmp_path / "r", config={**CONFIG, "data_digest": "b"})


def test_other_weights_to_start_from_are_refused_where_they_are_known(tmp_path: Path) -> None:
    def opened(**more: str) -> None:
        RunDir(tmp_path / "r", config={**CONFIG, **more}).close()

    opened()  # a run of before they were written
    opened(start_digest="a")
    opened(start_digest="a")
    with pytest.raises(UserError, match=r"\(start_digest: other weights to start from\)"):
        opened(start_digest="b")


def test_only_a_larger_number_of_questions_is_no_other_setting(tmp_path: Path) -> None:
    def opened(n: int, top_k: int = 3) -> None:
        RunDir(tmp_path / "r", config={"build_conv": {"n_sample": n, "runtime": {"top_k": top_k}}}).close()

    for n in (3, 5, -1):
        opened(n)
    with pytest.raises(UserError, match=r"\(build_conv\.n_sample\)"):
        opened(5)
    with pytest.raises(UserError, match=r"\(build_conv\.runtime\.top_k\)"):
        opened(-1, top_k=4)


def test_a_used_run_directory_can_be_refused_or_cleaned(tmp_path: Path) -> None:
    path = tmp_path / "r"
    RunDir(path, config=CONFIG, on_existing="fail").close()
    (path / "trajectories.jsonl").write_bytes(row("a") + b"\n")
    (path / "logs/server.log").write_text("running")
    (path / "shards").mkdir()
    with pytest.raises(UserError, match=r"already used; .*RUN_NAME.*on_existing=clean.*on_existing=resume$"):
        RunDir(path, config=CONFIG, on_existing="fail")
    RunDir(path, config={**CONFIG, "top_k": 9}, on_existing="clean").close()
    assert sorted(file.name for file in path.iterdir()) == [".lock", ".rearag-run", "config.yaml", "logs"]
    assert (path / "logs/server.log").read_text() == "running"


def test_a_clean_up_that_was_killed_leaves_no_rows_without_their_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r"
    RunDir(path, config=CONFIG).close()
    (path / "trajectories.jsonl").write_bytes(row("a") + b"\n")
    unlink = Path.unlink

    def killed(file: Path, *, missing_ok: bool = False) -> None:
        unlink(file, missing_ok=missing_ok)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            RunDir(path, config={**CONFIG, "top_k": 9}, on_existing="clean")
    assert (path / "config.yaml").exists()
    with pytest.raises(UserError, match="other settings"):
        RunDir(path, config={**CONFIG, "top_k": 9})


def test_a_run_directory_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    first = RunDir(tmp_path / "r", config=CONFIG)
    with pytest.raises(UserError, match="in use by another process"):
        RunDir(tmp_path / "r", config=CONFIG)
    first.close()
    RunDir(tmp_path / "r", config=CONFIG).close()


def test_a_run_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create"):
        RunDir(tmp_path / "file" / "r", config=CONFIG)


def test_finished_ids_drop_the_torn_the_doubled_and_the_failed(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "r", config=CONFIG)
    assert run.finished_ids(retry_statuses=frozenset()) == set()
    lines = [row("a", n=1), row("b", "model_error"), row("a", n=2), row("c", "retriever_error"), row("d")]
    run.rows.write_bytes(b"\n".join(lines) + b"\n" + b'{"question": {"id": "e"')
    assert run.finished_ids(retry_statuses=frozenset({"model_error", "retriever_error"})) == {"a", "d"}
    assert (
        run.rows.read_bytes()
        == row("a", n=1).replace(b" ", b"") + b"\n" + row("d").replace(b" ", b"") + b"\n"
    )
    assert [r["question"]["id"] for r in read_jsonl(tmp_path / "r/failed.jsonl")] == ["b", "c"]
    before = run.rows.stat().st_mtime_ns
    assert run.finished_ids(retry_statuses=frozenset({"model_error"})) == {"a", "d"}
    assert run.rows.stat().st_mtime_ns == before  # nothing to mend: not written again
    run.rows.write_bytes(row("a") + b"\nnonsense\n" + row("b") + b"\n")
    with pytest.raises(UserError, match="line 2"):
        run.finished_ids(retry_statuses=frozenset())
    run.close()


def test_a_key_tells_several_rows_of_one_question_apart(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "r", config=CONFIG)
    chains = [("a", 0), ("a", 1), ("b", 0), ("a", 1)]
    lines = [row(name, provenance={"chain": chain}) for name, chain in chains]
    run.rows.write_bytes(b"\n".join([*lines, row("b", "model_error", provenance={"chain": 1})]) + b"\n")

    def chain_of(row: dict[str, Any]) -> str:
        return f"{row['question']['id']}/{row['provenance']['chain']}"

    found = run.finished_ids(retry_statuses=frozenset({"model_error"}), key=chain_of)
    assert found == {"a/0", "a/1", "b/0"}
    assert [chain_of(r) for r in read_jsonl(run.rows)] == ["a/0", "a/1", "b/0"]
    assert [chain_of(r) for r in read_jsonl(tmp_path / "r/failed.jsonl")] == ["b/1"]
    run.close()


def test_rows_are_read_one_at_a_time(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "r", config=CONFIG)
    filler = "x" * 2000
    with run.rows.open("wb") as file:
        for k in range(10_000):  # 20 MB: every id four times, half of them failed
            file.write(row(str(k // 4), "model_error" if k % 2 else "finished", filler=filler) + b"\n")
    tracemalloc.start()
    assert len(run.finished_ids(retry_statuses=frozenset({"model_error"}))) == 2500
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000
    assert sum(1 for _ in read_jsonl(run.rows)) == 2500
    assert sum(1 for _ in read_jsonl(tmp_path / "r/failed.jsonl")) == 5000
    run.close()


def test_an_interruption_while_rows_are_sorted_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "r", config=CONFIG)
    before = b"\n".join([row("a"), row("b", "model_error"), row("a"), row("c")]) + b"\n"
    run.rows.write_bytes(before)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run.finished_ids(retry_statuses=frozenset({"model_error"}))
    assert run.rows.read_bytes() == before
    assert run.finished_ids(retry_statuses=frozenset({"model_error"})) == {"a", "c"}
    assert {r["question"]["id"] for r in read_jsonl(tmp_path / "r/failed.jsonl")} == {"b"}
    run.close()


def test_the_manifest_says_what_the_run_was_made_with(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "r", config=CONFIG)
    run.write_manifest({"totals": 1})
    run.close()
    manifest = json.loads((tmp_path / "r/manifest.json").read_text())
    assert set(manifest) == {"totals", "code", "packages", "machine"}
    assert set(manifest["code"]) == {"commit", "dirty"}
    assert {"python", "pydantic", "aiohttp"} <= set(manifest["packages"])
    assert set(manifest["machine"]) == {"platform", "machine", "cores"}


def test_the_fingerprint_ignores_order_and_free_settings() -> None:
    assert settings_fingerprint({"a": 1, "b": 2}) == settings_fingerprint({"b": 2, "a": 1, "in_flight": 9})
    assert settings_fingerprint({"a": 1}) != settings_fingerprint({"a": 2})
