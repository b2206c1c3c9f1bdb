"""A fake OpenAI-compatible server with slots, for `tree_search.py`: python scripts/bench/fake_slots.py PORT
SLOTS PREFILL DECODE SPEED SAME

A slot does one request at a time and keeps its text; of a prompt only what follows the longest common prefix
with that text is computed. A request takes `uncached / PREFILL + new / DECODE` seconds (tokens per second;
four characters are a token), SPEED times faster than said. Behind `/v1` the free slot with the longest common
prefix takes a request, as in llama.cpp; behind `/random/v1` a slot that is drawn, free or not, as for a
client that draws a replica for each request. `/metrics` counts tokens under llama.cpp's names.

The replies are those of a teacher and a target model in DeepRAG's Stage I (`src_infer.deeprag`). Question K
needs 2 to 5 facts; every second one is asked for in the same words whatever was answered before. An answer
is good or bad by a draw from what the model sees: the target the answers so far, the reader the sub-question.
With SAME 1 a good answer is the same from either, with 0 its words differ. `best` knows the cheapest right
path.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.protocols.deeprag_lines import FINAL, FOLLOW_UP, NO_INFO

RIGHT_DIRECT, RIGHT_SEARCHED, NOTHING_FOUND = 0.5, 0.75, 0.05
_ITEM = re.compile(r"item (\d+)")
_ASKED = re.compile(r"What is fact \d+ of item \d+[^?\n]*\?")
_ANSWERED = re.compile(r"Intermediate answer: the ((?:(?:recalled|found) )?value is (?:good|bad))")


def facts(item: int) -> int:
    """How many sub-questions item `item` takes."""
    return 2 + random.Random(f"facts {item}").randrange(4)


def asked(item: int, answers: Sequence[str]) -> str:
    """The next sub-question."""
    after = "" if len(answers) % 2 else f" after {' and '.join(answers) or 'nothing'}"
    return f"What is fact {len(answers) + 1} of item {item}{after}?"


def recalled(item: int, answers: Sequence[str]) -> str:
    """The answer of the target from its own knowledge."""
    good = random.Random(f"{item} {'/'.join(answers)}").random() < RIGHT_DIRECT
    return "value is good" if good else "recalled value is bad"


def found(sub_question: str, same: bool) -> str:
    """The answer of the reader, "" where the documents hold none."""
    draw = random.Random(sub_question).random()
    if draw > 1 - NOTHING_FOUND:
        return ""
    if draw < RIGHT_SEARCHED:
        return "value is good" if same else "found value is good"
    return "found value is bad"


def best(item: int, *, same: bool, answers: tuple[str, ...] = ()) -> int | None:
    """The fewest searches on the way from these answers to a right answer, by brute force."""
    if len(answers) == facts(item):
        return 0 if is_right(answers) else None
    costs = [best(item, same=same, answers=(*answers, recalled(item, answers)))]
    if read := found(asked(item, answers), same):
        searched = best(item, same=same, answers=(*answers, read))
        costs.append(None if searched is None else searched + 1)
    return min((cost for cost in costs if cost is not None), default=None)


def is_right(answers: Sequence[str]) -> bool:
    """Whether the answer from these answers is right."""
    return all(answer.endswith("good") for answer in answers)


def reply(messages: list[dict[str, str]], stop: Sequence[str], same: bool) -> str:
    """The text that continues the last message."""
    last = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
    everything = "\n".join(message["content"] for message in messages)
    if last == "Answer:":
        read = found(_ASKED.findall(everything)[-1], same)
        return f" the {read}" if read else f" {NO_INFO}"
    item = int(_ITEM.findall(everything)[-1])
    answers = _ANSWERED.findall(last)
    if last.endswith("Intermediate answer:"):
        return f" the {recalled(item, answers)}"
    said = "right" if is_right(answers) else "wrong"
    end = f"The answer to the question about it is {said}.</answer long><answer short>{said}</answer short>"
    if last.endswith("<answer long>"):
        return end
    if len(answers) < facts(item):
        begun = "" if last.endswith(FOLLOW_UP) else FOLLOW_UP
        return f"{begun} {asked(item, answers)}"
    whole = f"{FINAL} <answer long>{end}"
    return whole[: min((at for mark in stop if (at := whole.find(mark)) >= 0), default=len(whole))]


@dataclass
class Slot:
    """A place for one request, with the text of the last one."""

    text: str = ""
    used: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Server:
    """The routes and what they count."""

    def __init__(self, slots: int, prefill: float, decode: float, speed: float, same: bool) -> None:
        self._slots = [Slot() for _ in range(slots)]
        self._free = asyncio.Semaphore(slots)
        self._prefill, self._decode, self._speed = prefill, decode, speed
        self._same = same
        self._draw = random.Random(1)
        self._requests = self._computed = self._written = 0

    async def chat(self, request: web.Request) -> web.Response:
        """Take as long as a model would, then reply."""
        body = orjson.loads(await request.read())
        messages = body["messages"]
        prompt = "\n".join(f"<{message['role']}>{message['content']}" for message in messages)
        text = reply(messages, body.get("stop", ()), self._same)
        if request.path.startswith("/random/"):
            cached = await self._serve(self._draw.choice(self._slots), prompt, text)
        else:
            async with self._free:
                free = [slot for slot in self._slots if not slot.lock.locked()]
                slot = max(free, key=lambda each: (_common(each.text, prompt), -each.used))
                cached = await self._serve(slot, prompt, text)
        payload = {
            "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": len(prompt) // 4,
                "completion_tokens": len(text) // 4,
                "prompt_tokens_details": {"cached_tokens": cached},
            },
        }
        return web.Response(body=orjson.dumps(payload), content_type="application/json")

    async def _serve(self, slot: Slot, prompt: str, text: str) -> int:
        """The number of cached tokens."""
        async with slot.lock:
            cached = _common(slot.text, prompt) // 4
            uncached, new = len(prompt) // 4 - cached, len(text) // 4 + 1
            self._requests += 1
            slot.text, slot.used = prompt + text, self._requests
            await asyncio.sleep((uncached / self._prefill + new / self._decode) / self._speed)
            self._computed += uncached
            self._written += new
        return cached

    async def metrics(self, _: web.Request) -> web.Response:
        """The counters."""
        names = {"prompt_tokens_total": self._computed, "tokens_predicted_total": self._written}
        return web.Response(text="".join(f"llamacpp:{name} {value}\n" for name, value in names.items()))


async def models(_: web.Request) -> web.Response:
    """The one model."""
    return web.json_response({"data": [{"id": "fake"}]})


def _common(one: str, other: str) -> int:
    """The number of characters at the beginning that are the same."""
    most = min(len(one), len(other))
    return next((at for at in range(most) if one[at] != other[at]), most)


def main() -> None:
    """Serve on the port."""
    port, slots, prefill, decode, speed, same = (int(word) for word in sys.argv[1:])
    server = Server(slots, prefill, decode, speed, same == 1)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_get("/metrics", server.metrics)
    for base in ("", "/random"):
        app.router.add_get(f"{base}/v1/models", models)
        app.router.add_post(f"{base}/v1/chat/completions", server.chat)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main()
