"""The runner: kill -9, full disks and failing servers cost no finished row and double none."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers_llm import FakeLLM, item_of, settings_for, step_for
from helpers_runs import Run, finished

from src_core.errors import UserError
from src_core.types import Question, Status, Trajectory
from src_infer.runner import run_all

KILLS = 20
ITEMS = 150
DELAY = 0.004
MOST_REQUESTS = 40  # a question takes five, and a run that is killed loses four of them


def start(settings: Sequence[str], *, file_bytes: int | None = None) -> Run:
    """The real entry point in a process of its own."""
    return Run("src_infer.run", ["configs/infer/cpu.yaml", *settings], file_bytes=file_bytes)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    path = folder / "runs/r/trajectories.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def what_counts(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its clock readings, passages by id."""
    steps = [
        {
            **{key: step[key] for key in step if key != "seconds"},
            "passages": [p["id"] for p in step["passages"]],
        }
        for step in row["steps"]
    ]
    return {**{key: row[key] for key in row if key != "seconds"}, "steps": steps}


async def slow_step(body: dict[str, Any]) -> str:
    await asyncio.sleep(DELAY)
    return step_for(body)


def test_killed_20_times_and_resumed_every_question_is_there_once(tmp_path: Path) -> None:
    draw = random.Random(9)
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir()
    killed.mkdir()

    async def run() -> list[int]:
        seen: list[int] = []
        async with FakeLLM(slow_step) as server, FakeLLM(slow_step) as other:
            straight = start(settings_for(calm, other.url, count=ITEMS, in_flight=4))
            settings = settings_for(killed, server.url, count=ITEMS, in_flight=4)
            for turn in range(KILLS):
                process = start(settings)
                if turn % 5:
                    await server.requests(draw.randrange(1, MOST_REQUESTS))
                else:  # some are killed before the first question, while the run directory is opened
                    await asyncio.sleep(draw.uniform(0, 0.1))
                assert process.returncode is None, "finished before it was killed: give it more items"
                process.kill()
                await process.communicate()
                seen.append(len(rows_of_torn(killed)))
            await straight.communicate()
            last = start(settings)
            _, err = await last.communicate()
            assert last.returncode == 0, err.decode()
        return seen

    seen = asyncio.run(run())
    assert seen == sorted(seen)
    assert 0 < seen[-1] < ITEMS
    expected = {row["question"]["id"]: what_counts(row) for row in rows_of(calm)}
    found = rows_of(killed)
    assert len(found) == len(expected) == ITEMS
    assert {row["question"]["id"]: what_counts(row) for row in found} == expected
    manifest = json.loads((killed / "runs/r/manifest.json").read_text())
    assert manifest["totals"]["all"]["questions"] == ITEMS
    assert manifest["totals"]["all"]["em"] == 1.0


def rows_of_torn(folder: Path) -> list[bytes]:
    path = folder / "runs/r/trajectories.jsonl"
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def test_questions_that_failed_are_tried_again_and_only_those(tmp_path: Path) -> None:
    broken = {3, 5}

    async def sometimes(body: dict[str, Any]) -> str | web.Response:
        return web.Response(status=400, text="broken") if item_of(body) in broken else step_for(body)

    async def run() -> None:
        async with FakeLLM(sometimes) as server:
            settings = settings_for(tmp_path, server.url, count=8, in_flight=2)
            first = start(settings)
            await first.communicate()
            assert first.returncode == 1
            assert sorted(row["status"] for row in rows_of(tmp_path)).count("model_error") == 2
            broken.clear()
            server.bodies.clear()
            second = start(settings)
            _, err = await second.communicate()
            assert second.returncode == 0, err.decode()
            assert "6 of 8 are done" in err.decode()
            assert {item_of(body) for body in server.bodies} == {3, 5}

    asyncio.run(run())
    assert [row["status"] for row in rows_of(tmp_path)] == ["finished"] * 8
    failed = (tmp_path / "runs/r/failed.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in failed] == ["model_error"] * 2


def test_a_model_server_that_dies_ends_the_run_in_one_sentence_and_the_same_command_resumes(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with FakeLLM(slow_step) as server:
            settings = settings_for(tmp_path, server.url, count=60, in_flight=4)
            settings += [f"{role}.retry.first_wait=0.1" for role in ("agent", "reader")]
            first = start(settings)
            await server.requests(60)
        _, err = await first.communicate()
        last = err.decode().splitlines()[-1]
        assert first.returncode == 2, err.decode()
        assert last.startswith(f"error: the server at {server.url} died: it answered before, and the last ")
        assert last.endswith("start it again, then run the same command again to resume, with run_name=r")
        assert "Traceback" not in err.decode()
        kept = len(rows_of(tmp_path))
        assert 0 < kept < 60
        assert {row["status"] for row in rows_of(tmp_path)} == {"finished"}
        async with FakeLLM(slow_step, port=server.port):
            again = start(settings)
            _, err = await again.communicate()
        assert again.returncode == 0, err.decode()
        assert f"{kept} of 60 are done" in err.decode()

    asyncio.run(run())
    assert len({row["question"]["id"] for row in rows_of(tmp_path)}) == len(rows_of(tmp_path)) == 60


def test_a_retriever_that_dies_ends_the_run_in_one_sentence(tmp_path: Path) -> None:
    async def run() -> None:
        asked = asyncio.Event()
        searches = 0

        async def search(request: web.Request) -> web.Response:
            nonlocal searches
            searches += 1
            if searches == 10:
                asked.set()
            return web.json_response([[{"id": "p", "contents": "T\nText."}], [1.0]])

        async def health(_: web.Request) -> web.Response:
            return web.json_response({"status": "ok", "index": {}})

        app = web.Application()
        app.router.add_post("/search", search)
        app.router.add_get("/health", health)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with FakeLLM(slow_step) as server:
            settings = settings_for(tmp_path, server.url, count=60, in_flight=4, retriever=url)
            process = start([*settings, "retriever_retry.first_wait=0"])
            await asked.wait()
            await runner.cleanup()
            _, err = await process.communicate()
        last = err.decode().splitlines()[-1]
        assert process.returncode == 2, err.decode()
        assert last.startswith(f"error: the server at {url} died")
        assert len(rows_of(tmp_path)) < 60

    asyncio.run(run())


def test_more_in_flight_than_open_files_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "http://127.0.0.1:1/v1", count=2, in_flight=99_000_000)
    done = finished("src_infer.run", "configs/infer/cpu.yaml", *settings)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert "in_flight" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_ends_in_one_sentence_and_can_be_resumed(tmp_path: Path) -> None:
    async def run() -> None:
        async with FakeLLM(slow_step) as server:
            settings = settings_for(tmp_path, server.url, count=40, in_flight=4)
            full = start(settings, file_bytes=12_000)
            _, err = await full.communicate()
            lines = err.decode().splitlines()
            assert full.returncode == 2
            assert lines[-1].startswith("error: could not write")
            assert lines[-1].endswith("run this again")
            assert "Traceback" not in err.decode()
            kept = len(rows_of(tmp_path))
            assert 0 < kept < 40
            again = start(settings)
            _, err = await again.communicate()
            assert again.returncode == 0, err.decode()
            assert f"{kept} of 40 are done" in err.decode()

    asyncio.run(run())
    assert len({row["question"]["id"] for row in rows_of(tmp_path)}) == len(rows_of(tmp_path)) == 40


def test_an_interrupt_keeps_what_was_finished(tmp_path: Path) -> None:
    async def run() -> None:
        async with FakeLLM(slow_step) as server:
            process = start(settings_for(tmp_path, server.url, count=300, in_flight=4))
            while len(rows_of_torn(tmp_path)) < 5:
                server.asked.clear()
                await server.asked.wait()
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
            assert process.returncode == 130
            assert err.decode().splitlines()[-1].startswith("interrupted: finished rows are saved")
            assert "Traceback" not in err.decode()

    asyncio.run(run())
    assert 5 <= len(rows_of(tmp_path)) < 300


def question(k: int) -> Question:
    return Question(str(k), f"q{k}")


def test_no_more_questions_are_open_than_in_flight(tmp_path: Path) -> None:
    open_now = most = 0

    async def answer(asked: Question) -> Trajectory:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        for _ in range(int(asked.id) % 5):
            await asyncio.sleep(0)
        open_now -= 1
        return Trajectory(asked, (), "a", Status.FINISHED)

    on_disk: list[int] = []
    path = tmp_path / "rows.jsonl"

    def on_row(row: Trajectory) -> None:
        on_disk.append(path.read_bytes().count(f'"id":"{row.question.id}"'.encode()))

    asyncio.run(run_all(map(question, range(100)), answer=answer, in_flight=7, rows=path, on_row=on_row))
    assert most == 7
    assert on_disk == [1] * 100  # each row was on disk when it was reported


def test_a_programming_error_ends_the_run_loudly_and_keeps_finished_rows(tmp_path: Path) -> None:
    async def answer(asked: Question) -> Trajectory:
        if asked.id == "20":
            raise KeyError("a bug")
        return Trajectory(asked, (), "a", Status.FINISHED)

    path = tmp_path / "rows.jsonl"
    with pytest.raises(KeyError, match="a bug"):
        asyncio.run(
            run_all(map(question, range(50)), answer=answer, in_flight=1, rows=path, on_row=lambda _: None)
        )
    assert path.read_bytes().count(b"\n") == 20


def test_a_write_that_fails_is_a_user_error_not_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(asked: Question) -> Trajectory:
        return Trajectory(asked, (), "a", Status.FINISHED)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("src_core.jsonl.os.write", full)
    with pytest.raises(UserError, match="No space left"):
        asyncio.run(
            run_all(
                map(question, range(50)),
                answer=answer,
                in_flight=4,
                rows=tmp_path / "rows.jsonl",
                on_row=lambda _: None,
            )
        )
