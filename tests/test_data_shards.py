"""Chains from several processes: their files become the rows of the run, whatever was interrupted."""

from __future__ import annotations

import asyncio
import json
import pickle
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers_llm import ROOT, FakeLLM, item_of
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from test_data_run import CONFIG, read_and_think, rows, settings_for, start

from src_core.errors import UserError
from src_core.rundir import RunDir
from src_core.types import RETRIED
from src_data import ray_job
from src_data.config import load_data_config
from src_data.construction.build import open_chains
from src_data.construction.construct import chain_key, missing_chains
from src_data.run import mixed_questions, prepare, run
from src_infer import on_ray
from src_infer.shard_maker import Job, Shard, ShardMaker, ShardReport, cut_shards
from src_infer.shards import SHARDS, finished_in_shard, merge_shards, shard_file

FINISHED, FAILED = "finished", "model_error"


class File(NamedTuple):
    """A shard file: the key and status of each row, and how many bytes of it a killed writer left out."""

    rows: list[tuple[int, str]]
    torn: int


ROWS = st.lists(st.tuples(st.integers(0, 6), st.sampled_from([FINISHED, FINISHED, FAILED])), max_size=8)
FILES = st.lists(st.builds(File, ROWS, st.integers(0, 40)), max_size=4)


def row(key: int, status: str, mark: str) -> dict[str, Any]:
    return {
        "question": {"id": f"q{key // 2}"},
        "provenance": {"chain": key % 2},
        "status": status,
        "mark": mark,
    }


def lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def whole(data: bytes) -> list[dict[str, Any]]:
    """The rows of a file that is cut off somewhere; one that lacks only its line break is whole."""
    found = []
    for line in data.splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


def write_files(folder: Path, files: Sequence[File]) -> list[dict[str, Any]]:
    """Write the shard files; returns their whole rows in order."""
    found: list[dict[str, Any]] = []
    for number, file in enumerate(files):
        made = [row(key, status, f"{number}.{place}") for place, (key, status) in enumerate(file.rows)]
        data = lines(made)
        data = data[: max(len(data) - file.torn, 0)]
        path = shard_file(folder, number // 2, f"maker{number}")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        found += whole(data)
    return found


def first_good(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each key its first row, a failed one only where there is no other."""
    found: dict[str, dict[str, Any]] = {}
    for each in sorted(rows, key=lambda each: each["status"] in RETRIED):
        found.setdefault(chain_key(each), each)
    return found


@settings(max_examples=60, deadline=None)
@given(there=ROWS, files=FILES, torn=st.integers(0, 40), again=st.booleans())
def test_every_chain_is_there_once(
    there: list[tuple[int, str]], files: list[File], torn: int, again: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        rundir = RunDir(Path(name) / "r", config={})
        data = lines([row(key, status, f"there.{place}") for place, (key, status) in enumerate(there)])
        data = data[: max(len(data) - torn, 0)]
        rundir.rows.write_bytes(data)
        # A torn tail of the rows is dropped whole, and what failed in an earlier run is made again.
        held = [each for each in whole(data[: data.rfind(b"\n") + 1]) if each["status"] == FINISHED]
        made = write_files(rundir.path, files)
        expected = first_good([*held, *made]) if files else None
        merge_shards(rundir, key=chain_key)
        if again:  # killed before the files were deleted
            write_files(rundir.path, files)
            merge_shards(rundir, key=chain_key)
        rundir.close()
        assert not (rundir.path / SHARDS).exists()
        if expected is None:
            assert rundir.rows.read_bytes() == data
            return
        kept = [json.loads(line) for line in rundir.rows.read_bytes().splitlines()]
        assert len(kept) == len(expected)
        assert {chain_key(each): each for each in kept} == expected


def test_a_file_that_grows_meanwhile_is_left_for_the_next_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rundir = RunDir(tmp_path / "r", config={})
    write_files(rundir.path, [File([(0, FINISHED)], 0)])
    path = next((rundir.path / SHARDS).iterdir())
    ids = rundir.finished_ids

    def finished_ids(**more: Any) -> set[str]:
        path.write_bytes(path.read_bytes() + lines([row(1, FINISHED, "late")])[:-9])
        return ids(**more)

    monkeypatch.setattr(rundir, "finished_ids", finished_ids)
    assert merge_shards(rundir, key=chain_key) == 1
    monkeypatch.undo()
    path.write_bytes(lines([row(0, FINISHED, "0.0"), row(1, FINISHED, "late")]))
    assert merge_shards(rundir, key=chain_key) == 1
    assert not path.exists()
    assert len(rundir.finished_ids(retry_statuses=RETRIED, key=chain_key)) == 2
    rundir.close()


def prepared(tmp_path: Path, url: str, *, count: int, **more: object) -> tuple[list[str], Job, list[Shard]]:
    """The settings of a run, and its shards of five chains."""
    arguments = settings_for(tmp_path, url, count=count, **more)
    config, _ = load_data_config(Path(ROOT) / CONFIG, arguments)
    mixture = mixed_questions(config.build_conv)
    chains = missing_chains(mixture, done=set(), n_chains=1, on_done=lambda: None)
    build = config.build_conv
    job = Job(
        root=str(ROOT),
        run_dir=str(tmp_path / "runs/r"),
        in_flight=build.runtime.in_flight,
        prompts_digest="",
        opened=partial(open_chains, build),
        key=chain_key,
    )
    return arguments, job, list(cut_shards((chain.piece() for chain in chains), 5))


def test_a_plain_run_takes_over_the_shards_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the maker changes the folder of its process

    async def scene() -> None:
        async with FakeLLM(read_and_think) as server:
            arguments, job, shards = prepared(tmp_path, server.url, count=20)
            assert [len(shard["keys"]) for shard in shards] == [5, 5, 5, 5]
            job = pickle.loads(pickle.dumps(job))  # noqa: S301 - as on its way to an actor
            maker = await asyncio.to_thread(ShardMaker, job)
            reports = await asyncio.gather(*(asyncio.to_thread(maker, shard) for shard in shards[:2]))
            assert [ShardReport(**report).made for report in reports] == [5, 5]
            assert server.most_open <= job.in_flight
            run_dir = Path(job.run_dir)
            path = next((run_dir / SHARDS).glob("000001-*"))
            path.write_bytes(path.read_bytes()[:-20])  # killed while it wrote
            assert len(finished_in_shard(run_dir, 1, key=chain_key)) == 4
            again = ShardReport(**await asyncio.to_thread(maker, shards[1]))
            assert (again.made, again.held, again.failed) == (1, 4, 0)
            assert len(list((run_dir / SHARDS).glob("000001-*"))) == 2
            await asyncio.to_thread(maker.close)
            made = {item_of({"messages": [{"content": line.decode()}]}) for line in _questions(shards[:2])}
            server.bodies.clear()
            process = start(arguments)
            _, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            assert not made & {item_of(body) for body in server.bodies}

    asyncio.run(scene())
    keys = [chain_key(each) for each in rows(tmp_path)]
    assert len(keys) == len(set(keys)) == 20
    assert not (tmp_path / "runs/r" / SHARDS).exists()


def _questions(shards: Sequence[Shard]) -> list[bytes]:
    return [line for shard in shards for line in shard["work"]]


def test_what_a_person_must_mend_and_what_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)

    async def full(*_: Any, **__: Any) -> None:
        raise UserError("could not write x: No space left on device")

    async def scene() -> None:
        async with FakeLLM(read_and_think) as server:
            _, job, shards = prepared(
                tmp_path, server.url, count=5, build_conv__runtime__agent__retry__attempts=1
            )
            maker = await asyncio.to_thread(ShardMaker, job)
            server.refuse = True
            failed = ShardReport(**await asyncio.to_thread(maker, shards[0]))
            assert (failed.made, failed.failed) == (5, 5)
            server.refuse = False
            done = ShardReport(**await asyncio.to_thread(maker, shards[0]))
            assert (done.made, done.failed, done.held) == (5, 0, 0)
            monkeypatch.setattr("src_infer.shard_maker.run_all", full)
            (tmp_path / "runs/r" / SHARDS).rename(tmp_path / "elsewhere")
            report = ShardReport(**await asyncio.to_thread(maker, shards[0]))
            assert "No space left" in report.error
            await asyncio.to_thread(maker.close)

    asyncio.run(scene())


def test_other_prompts_on_a_node_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    _, job, _ = prepared(tmp_path, "http://127.0.0.1:9/v1", count=1)
    with pytest.raises(UserError, match="the prompts have changed"):
        ShardMaker(replace(job, prompts_digest="0" * 16))


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("ray.actor=3", "unknown setting actor"),
        ("ray.per_shard=0", "setting 'per_shard' is wrong"),
        ("ray.actors=3", "ray is not installed; bash scripts/setup.sh requirements-ray.txt"),
    ],
)
def test_mistakes_of_the_job_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, argument: str, words: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["ray_job", CONFIG, argument])
    with pytest.raises(UserError, match=words):
        ray_job.main()


@pytest.mark.parametrize("shared", [True, False])
def test_the_job_around_its_makers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    """All of a job but Ray. A node whose disk is not the driver's must not pass for a success."""
    monkeypatch.chdir(ROOT)

    async def on_this_machine(
        shards: list[Shard], job: Job, *, on_report: Callable[..., None], **_: Any
    ) -> int:
        job = job if shared else replace(job, run_dir=str(tmp_path / "own"))
        maker = await asyncio.to_thread(ShardMaker, job)
        for shard in shards:
            on_report(ShardReport(**await asyncio.to_thread(maker, shard)))
        await asyncio.to_thread(maker.close)
        return 1

    async def run_job() -> int:
        async with FakeLLM(read_and_think) as server:
            arguments, _, _ = prepared(tmp_path, server.url, count=12)
            config, _ = load_data_config(Path(ROOT) / CONFIG, arguments)
            job = ray_job.RayMaker(on_ray.RayConfig(per_shard=5))
            quiet = Console(quiet=True)
            return await run(prepare(config), quiet, quiet, maker=job)

    monkeypatch.setattr(on_ray, "_on_ray", on_this_machine)
    if not shared:
        with pytest.raises(UserError, match="12 trajectories did not reach"):
            asyncio.run(run_job())
        return
    assert asyncio.run(run_job()) == 0
    assert len({chain_key(each) for each in rows(tmp_path)}) == 12
    manifest = json.loads((tmp_path / "runs/r/manifest.json").read_text())
    assert (manifest["ray"]["shards"], manifest["ray"]["per_shard"]) == (3, 5)
