"""A fake OpenAI-compatible server as slow as a real one: python scripts/bench/fake_llm.py PORT [SLOTS]

With SLOTS it works on so many requests at once, and the others wait. `/items` lists the items that it was
asked about. Used by `runner.py`, `construct.py` and `replicas.py`. A question is `What is item K?`; the
reasoning takes `searches(K)` searches and a `finish`. The time of each reply is drawn from a lognormal
distribution, seeded by item, kind and number of the reply, so that the sum of the latencies of a run is known
exactly.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import socket
import sys
from pathlib import Path

import orjson
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.protocols.rearag import render_step
from src_core.types import Finish, Search

MEDIAN_SECONDS = {"step": 0.8, "read": 0.35, "final": 0.25}
SIGMA = 0.6
THOUGHT = "The last observation gives one part of the answer, and the next part is still missing. " * 2
SLOTS, ITEMS = web.AppKey("slots", asyncio.Semaphore), web.AppKey("items", set[int])
_ITEM = re.compile(r"item (\d+)")
_FACT = re.compile(r"fact (\d+) of item")


def searches(item: int) -> int:
    """How many searches item `item` takes: 2 to 5."""
    return 2 + random.Random(f"searches {item}").randrange(4)


def latency(item: int, kind: str, n: int) -> float:
    """Seconds that one reply takes."""
    return random.Random(f"{item} {kind} {n}").lognormvariate(math.log(MEDIAN_SECONDS[kind]), SIGMA)


def latencies(item: int) -> list[float]:
    """The latencies of all calls of one question, in order."""
    found = []
    for n in range(1, searches(item) + 1):
        found += [latency(item, "step", n), latency(item, "read", n)]
    return [*found, latency(item, "step", searches(item) + 1), latency(item, "final", 1)]


def reply(messages: list[dict[str, str]]) -> tuple[str, float]:
    """The text for a conversation, and the seconds it takes."""
    last = messages[-1]["content"]
    if "Search query: " in last:
        item = int(_ITEM.findall(last)[-1])
        return f"item-{item}", latency(item, "final", 1)
    asked = next(message["content"] for message in messages if message["role"] == "user")
    if "Reasoning process" not in asked:
        item, n = int(_ITEM.findall(asked)[-1]), int(_FACT.findall(asked)[-1])
        return f"Fact {n} is a short sentence about the item {item}.", latency(item, "read", n)
    item = int(_ITEM.findall(asked)[-1])
    n = sum(message["role"] == "assistant" for message in messages) + 1
    if n <= searches(item):
        text = render_step(n, THOUGHT, Search(f"What is fact {n} of item {item}?"))
    else:
        text = render_step(n, THOUGHT, Finish(f"item-{item}"))
    return text, latency(item, "step", n)


async def chat(request: web.Request) -> web.Response:
    """Sleep as long as a model would write, then reply."""
    body = orjson.loads(await request.read())
    text, seconds = reply(body["messages"])
    request.app[ITEMS].add(int(_ITEM.findall(body["messages"][-1]["content"])[-1]))
    async with request.app[SLOTS]:
        await asyncio.sleep(seconds)
    prompt = sum(len(message["content"]) for message in body["messages"]) // 4
    payload = {
        "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": len(text) // 4},
    }
    return web.Response(body=orjson.dumps(payload), content_type="application/json")


async def items(request: web.Request) -> web.Response:
    """The items of all requests so far."""
    return web.json_response(sorted(request.app[ITEMS]))


async def models(_: web.Request) -> web.Response:
    """The one model."""
    return web.json_response({"data": [{"id": "fake"}]})


def main() -> None:
    """Serve on a port that several of these processes share."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app[SLOTS] = asyncio.Semaphore(int(sys.argv[2]) if len(sys.argv) > 2 else 1 << 20)
    app[ITEMS] = set()
    app.router.add_get("/items", items)
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", chat)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    web.run_app(app, sock=listener, access_log=None, print=None, backlog=1024)


if __name__ == "__main__":
    main()
