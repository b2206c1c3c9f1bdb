"""What every HTTP server of ours refuses, and what it survives: the real server on a real socket."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from helpers_http import HALF, HELLO, MAX_BODY, App, asked, opened, request, running, status

from src_core.access_token import read_token
from src_core.errors import UserError
from src_core.http_guard import hostname
from src_core.http_server import bind, require_token
from src_core.http_serving import NowAndThen

GOOD = request(body=b"12345")


async def statuses(sent: list[bytes], token: str | None = None, host: str = "127.0.0.1") -> list[int]:
    async with running(App(), token=token, host=host, hosts=("known.example",)) as at:
        return [status(await asked(at.port, data)) for data in sent]


FOREIGN = [
    {"Host": "rebind.test"},
    {"Host": "rebind.test:9892", "Origin": "http://rebind.test:9892"},
    {"Host": "127.0.0.1.rebind.test"},
    {"Host": "localhost.rebind.test"},
    {"Host": "rebind.test.localhost"},
    {"Host": "localhost@rebind.test"},
    {"Host": "10.1.2.3"},
    {"Host": ""},
    {"Host": "rebind.test", "X-Forwarded-Host": "localhost"},
    {"Host": "rebind.test", "Forwarded": "host=localhost"},
    {"Origin": "http://rebind.test"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


def test_foreign_names_and_pages_are_refused() -> None:
    assert asyncio.run(statuses([request(body=b"x", **headers) for headers in FOREIGN])) == [403] * len(
        FOREIGN
    )
    health = [request("/health", method="GET", **headers) for headers in FOREIGN if "Host" in headers]
    assert set(asyncio.run(statuses(health))) == {403}


def test_own_names_are_served() -> None:
    names = ["localhost", "LOCALHOST:9892", "127.0.0.1:1", "[::1]:5", "known.example", socket.gethostname()]
    sent = [request(body=b"x", Host=name) for name in names]
    sent += [request(body=b"x", Origin="http://localhost"), request(body=b"x", Sec_Fetch_Site="none")]
    assert set(asyncio.run(statuses(sent))) == {200}
    assert asyncio.run(statuses([request("/health", method="HEAD")])) == [200]


def test_on_all_addresses_the_one_that_was_reached_is_a_name() -> None:
    sent = [request(body=b"x", Host="127.0.0.1"), request(body=b"x", Host="0.0.0.0:80")]
    assert asyncio.run(statuses(sent, host="0.0.0.0")) == [200, 200]
    assert hostname("[fe80::1]:80") == "fe80::1"
    assert hostname("Node.") == "node"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "secret",
        "Bearer",
        "Bearer wrong",
        "bearer s3cret",
        "Bearer s3cret ,x",
        "Bearer schl\xfcssel",
        "\xff" * 9,
    ],
)
def test_another_token_is_401_in_any_bytes(given: str) -> None:
    sent = [request(body=b"x", Authorization=given), request("/health", method="GET", Authorization=given)]
    assert asyncio.run(statuses(sent, token="s3cret")) == [401, 200]
    assert asyncio.run(statuses([request(Authorization="Bearer s3cret")], token="s3cret")) == [200]


@pytest.mark.parametrize("token", ["a\nb", "a\r\nX: 1", "schlüssel", "ключ", "a b", "a\x00", "\udcff"])
def test_a_token_that_no_header_can_carry_is_refused(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"REARAG_TOKEN": token})
    with pytest.raises(UserError, match="REARAG_TOKEN has a space, a line end or a character beyond ASCII"):
        read_token()
    monkeypatch.setattr(os, "environ", {"REARAG_TOKEN": "fine-~!"})
    assert read_token() == "fine-~!"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "0", "::ffff:10.0.0.1"])
def test_an_address_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(UserError, match="opens this server to the network, and there is no token"):
        require_token(host, None, allow=False, setting="allow=true")
    require_token(host, "token", allow=False, setting="")
    require_token(host, None, allow=True, setting="")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "::ffff:127.0.0.1", "no.such.host.invalid"]
)
def test_loopback_needs_none(host: str) -> None:
    require_token(host, None, allow=False, setting="")


@pytest.mark.parametrize(
    ("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 70_000), ("a" * 70, 0)]
)
def test_an_address_that_cannot_be_bound_is_one_sentence(host: str, port: int) -> None:
    with pytest.raises(UserError, match=r"cannot listen on .*; correct host or port"):
        bind(host, port)


def test_health_answers_while_every_place_is_taken_by_half_a_body() -> None:
    async def play() -> list[int]:
        async with running(App(), max_connections=8, body_seconds=30) as at:
            held = [await opened(at.port, HALF) for _ in range(8)]
            await asyncio.sleep(0.1)
            seen = [status(await asked(at.port, HELLO)), status(await asked(at.port, GOOD))]
            await asyncio.sleep(2.2)  # now the oldest make room
            seen += [status(await asked(at.port, HELLO)), status(await asked(at.port, GOOD))]
            for _, writer in held:
                writer.close()
            return seen

    assert asyncio.run(play()) == [200, 503, 200, 200]


def test_health_answers_while_every_place_is_busy() -> None:
    async def play() -> list[int]:
        app = App()
        app.gate.clear()
        async with running(app, max_connections=8) as at:
            busy = [asyncio.create_task(asked(at.port, GOOD)) for _ in range(8)]
            await asyncio.sleep(0.2)
            seen = [status(await asked(at.port, HELLO)), status(await asked(at.port, GOOD))]
            app.gate.set()
            return seen + [status(reply) for reply in await asyncio.gather(*busy)]

    assert asyncio.run(play()) == [200, 503] + [200] * 8


def test_half_a_body_is_408_and_reaches_no_app() -> None:
    async def play() -> tuple[int, float, int]:
        async with running(App(), body_seconds=0.3) as at:
            begun = time.monotonic()
            reply = await asked(at.port, HALF)
            return status(reply), time.monotonic() - begun, at.app.calls

    code, seconds, calls = asyncio.run(play())
    assert (code, calls) == (408, 0)
    assert 0.2 < seconds < 3


def test_a_body_that_trickles_is_408() -> None:
    async def play() -> int:
        async with running(App(), body_seconds=0.5) as at:
            reader, writer = await opened(at.port, HALF)
            reading = asyncio.create_task(reader.read(100))
            while not reading.done():
                writer.write(b"x")
                await asyncio.sleep(0.05)
            return status(reading.result())

    assert asyncio.run(play()) == 408


@pytest.mark.parametrize("data", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_silent_connection_and_a_slow_head_are_closed(data: bytes) -> None:
    async def play() -> tuple[bytes, float]:
        async with running(App(), header_seconds=1.0) as at:
            begun = time.monotonic()
            reader, writer = await opened(at.port, data)
            while not reader.at_eof() and time.monotonic() - begun < 8:
                with_byte = asyncio.create_task(reader.read(1000))
                done, _ = await asyncio.wait({with_byte}, timeout=0.2)
                if done:
                    return with_byte.result(), time.monotonic() - begun
                with_byte.cancel()
                if data:
                    writer.write(b"x")  # slowly, for ever
            return b"", time.monotonic() - begun

    reply, seconds = asyncio.run(play())
    assert status(reply) == 408
    assert 0.9 < seconds < 5


def test_a_long_body_is_413_at_once_and_the_limit_is_exact() -> None:
    sent = [
        request(body=b" " * MAX_BODY),
        request(body=b" " * (MAX_BODY + 1)),
        request(body=b"x" * 5_000_000),
    ]
    chunk = b"%x\r\n%b\r\n" % (MAX_BODY + 1, b" " * (MAX_BODY + 1))
    chunked = request(Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"") + chunk
    assert asyncio.run(statuses([*sent, chunked])) == [200, 413, 413, 413]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: rebind.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=range(10),
)
def test_what_is_no_request_is_4xx_and_the_server_goes_on(data: bytes) -> None:
    async def play() -> tuple[int, int]:
        async with running(App(), header_seconds=1.0) as at:
            return status(await asked(at.port, data)), status(await asked(at.port, GOOD))

    first, after = asyncio.run(play())
    assert first in (0, 400, 403, 408)
    assert after == 200


def test_two_hundred_clients_are_answered_at_once() -> None:
    async def play() -> list[bytes]:
        async with running(App()) as at:
            sent = [request(body=b"x" * size) for size in range(200)]
            return await asyncio.gather(*(asked(at.port, data) for data in sent))

    replies = asyncio.run(play())
    assert [status(reply) for reply in replies] == [200] * 200
    bodies = [reply.partition(b"\r\n\r\n")[2].split(b"\r\n") for reply in replies]
    assert all(str(size).encode() in body for size, body in enumerate(bodies))


@contextmanager
def open_files(soft: int) -> Iterator[None]:
    """A soft limit that the server cannot raise: the room between soft and hard is hidden from it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


FLOOD = """
import asyncio, resource, sys
sys.path.insert(0, "tests")
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
import logging; logging.basicConfig(level=logging.INFO)
from helpers_http import App, running
async def main():
    async with running(App(), header_seconds=30) as at:
        print(at.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


def test_more_connections_than_open_files_are_one_line_of_log_and_health_answers() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FLOOD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin and process.stdout
    port = int(process.stdout.readline())

    async def play() -> list[int]:
        held = [await opened(port, data) for data in [b"", b"GET /"] * 150]
        await asyncio.sleep(2.5)
        seen = [status(await asked(port, HELLO)) for _ in range(3)]
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.5)
        return [*seen, status(await asked(port, HELLO)), status(await asked(port, GOOD))]

    try:
        assert asyncio.run(play()) == [200] * 5
    finally:
        process.stdin.close()
        process.wait(timeout=20)
    log = process.stderr.read() if process.stderr else ""
    assert "leaves room for" in log
    assert "Traceback" not in log
    assert len(log) < 3_000


def test_a_soft_limit_of_open_files_is_raised() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    async def play() -> int:
        async with running(App()):
            return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    with open_files(256):
        assert asyncio.run(play()) == min(hard, 1 << 20)


def test_a_client_that_reads_nothing_holds_no_place() -> None:
    async def play() -> list[int]:
        async with running(App(b"x" * 30_000_000), max_connections=4, send_seconds=0.5) as at:
            held = [socket.create_connection(("127.0.0.1", at.port)) for _ in range(4)]
            for each in held:
                each.sendall(GOOD)
            await asyncio.sleep(1.0)
            seen = [status(await asked(at.port, HELLO)), status(await asked(at.port, GOOD))]
            await asyncio.sleep(2.0)
            count = len(at.server.server_state.connections)
            for each in held:
                each.close()
            return [*seen, count]

    first, second, left = asyncio.run(play())
    assert (first, second) == (200, 200)
    assert left <= 1


def test_bodies_and_replies_in_memory_are_bounded() -> None:
    async def play() -> Counter[int]:
        app = App()
        app.gate.clear()
        async with running(app, max_held_bytes=200_000) as at:
            asking = [asyncio.create_task(asked(at.port, request(body=b"x" * 50_000))) for _ in range(20)]
            await asyncio.sleep(0.5)
            app.gate.set()
            return Counter(status(reply) for reply in await asyncio.gather(*asking))

    seen = asyncio.run(play())
    assert set(seen) == {200, 503}
    assert seen[200] >= 4


def test_the_end_answers_what_is_in_flight_and_waits_for_no_half_body() -> None:
    async def play() -> tuple[list[int], float]:
        app = App()
        app.gate.clear()
        async with running(app, grace=1, body_seconds=30) as at:
            asking = [asyncio.create_task(asked(at.port, data)) for data in (HALF, GOOD, GOOD)]
            idle = await opened(at.port, b"GET /hea")
            await asyncio.sleep(0.2)
            begun = time.monotonic()
            at.server.should_exit = True
            await asyncio.sleep(0.5)
            half = status(await asking[0])
            replies = [half, *(status(reply) for reply in await asyncio.gather(*asking[1:]))]
            idle[1].close()
        return replies, time.monotonic() - begun

    replies, seconds = asyncio.run(play())
    assert replies == [503, 503, 503]  # the last two were not answered within the grace of 1 s
    assert seconds < 4


def test_the_end_gives_a_request_its_answer_within_the_grace() -> None:
    async def play() -> list[int]:
        app = App()
        app.gate.clear()
        async with running(app, grace=5) as at:
            asking = [asyncio.create_task(asked(at.port, GOOD)) for _ in range(3)]
            await asyncio.sleep(0.2)
            at.server.should_exit = True
            await asyncio.sleep(0.3)
            app.gate.set()
            return [status(reply) for reply in await asyncio.gather(*asking)]

    assert asyncio.run(play()) == [200] * 3


def test_a_line_of_log_comes_now_and_then() -> None:
    filtered = NowAndThen()
    record = logging.LogRecord("x", logging.WARNING, "", 0, "Invalid HTTP request received.", (), None)
    assert [filtered.filter(record) for _ in range(3)] == [True, False, False]
    failed = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), (ValueError, ValueError(), None))
    assert [filtered.filter(failed) for _ in range(2)] == [True, True]
