"""Language models as rerankers: yes or no for each passage, and windows of passages that they order."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import ModelError, UserError
from src_core.http_json import RetryPolicy
from src_core.llm import Endpoint, Token
from src_retrieval.rerankers import load_reranker
from src_retrieval.rerankers.base import Candidates, LlmOptions, Pair, Reranker, RerankOptions
from src_retrieval.rerankers.llm_listwise import named_places, windows
from src_retrieval.rerankers.llm_pointwise import UNREAD, log_odds
from tests.helpers_llm import FakeLLM, Handler

NO_WAIT = RetryPolicy(attempts=1, first_wait=0.0, longest_wait=0.0)


def script(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"scripted:{path}"


def reranker(url: str, kind: str, **more: Any) -> Reranker:
    return load_reranker(
        RerankOptions(type=kind, llm=LlmOptions(endpoint=Endpoint(url=url, retry=NO_WAIT), **more))
    )


@contextmanager
def served(handler: Handler) -> Iterator[FakeLLM]:
    """A server in a thread of its own, as the reranker blocks the thread that asks it."""
    loop, server = asyncio.new_event_loop(), FakeLLM(handler)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def judged(**likeliest: float) -> dict[str, Any]:
    return {"replies": ["Yes"], "cycle": True, "likeliest": likeliest}


def test_pointwise_scores_are_the_log_odds_of_yes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = script(
        tmp_path / "script.jsonl",
        {"when": "apples are red", **judged(Yes=0.6, yes=0.2, No=0.1)},
        {"when": "sky", **judged(No=0.9, Yes=0.05)},
        {"when": "noise", **judged(maybe=0.5, The=0.3)},
    )
    made = reranker(url, "llm_pointwise")
    with caplog.at_level(logging.WARNING):
        scores = made.score([Pair("red?", "the sky"), Pair("red?", "apples are red"), Pair("red?", "noise")])
    assert scores.tolist() == pytest.approx([math.log(0.05 / 0.9), math.log(0.8 / 0.1), UNREAD])
    assert "ranks last" in caplog.text
    squeezed = load_reranker(
        RerankOptions(type="llm_pointwise", sigmoid=True, llm=LlmOptions(endpoint=Endpoint(url=url)))
    )
    assert squeezed.score([Pair("red?", "apples are red")])[0] == pytest.approx(0.8 / 0.9, abs=1e-5)


def test_each_distinct_pair_is_asked_once_and_the_passage_is_cut(tmp_path: Path) -> None:
    made: Any = reranker(
        script(tmp_path / "script.jsonl", {"when": "", **judged(Yes=0.5, No=0.5)}),
        "llm_pointwise",
        passage_chars=10,
    )
    lists = [
        Candidates("q", ["a" * 50, "b"]),
        Candidates("q", ["b"]),
        Candidates("p", []),
        Candidates("p", ["b"]),
    ]
    found = made.score_lists(lists)
    assert [len(scores) for scores in found] == [2, 1, 0, 1]
    asked = [call[-1]["content"] for call in made._model.calls]
    assert len(asked) == 3
    assert "a" * 10 in asked[0]
    assert "a" * 11 not in asked[0]
    assert made.score([]).shape == (0,)


def test_a_passage_fills_no_slot_of_the_prompt(tmp_path: Path) -> None:
    made: Any = reranker(script(tmp_path / "s.jsonl", {"when": "", **judged(Yes=0.5)}), "llm_pointwise")
    made.score([Pair("{passage}", "{query} {0}")])
    text = made._model.calls[0][-1]["content"]
    assert "Query: {passage}\n" in text
    assert "\n{query} {0}\n" in text


def test_log_odds_by_hand() -> None:
    assert log_odds(Token("Yes", -0.1, ((" YES", math.log(0.5)), ("no.", math.log(0.25))))) == pytest.approx(
        math.log(2)
    )
    only = log_odds(Token("No", -0.1, (("No", math.log(0.9)), ("x", math.log(0.01)))))
    assert only == pytest.approx(math.log(0.01 / 0.9))
    assert log_odds(Token("a", -0.1, (("a", -0.1), ("nothing", -1.0)))) is None
    assert math.isfinite(log_odds(Token("Yes", 0.0, (("Yes", 0.0), ("No", -9999.0)))) or math.nan)


def test_a_server_without_log_probabilities_is_named() -> None:
    async def handler(_: dict[str, Any]) -> str:
        return "Yes"

    with served(handler) as server:
        made = reranker(server.url, "llm_pointwise")
        with pytest.raises(ModelError, match=r"no log-probabilities.*llm_listwise"):
            made.score([Pair("q", "a")])
        made.close()
        made.close()  # the second time is nothing
        assert server.bodies[0]["top_logprobs"] == 20
        assert server.bodies[0]["max_tokens"] == 1


@pytest.mark.parametrize("kind", ["llm_pointwise", "llm_listwise"])
def test_a_failing_server_is_an_error_and_not_a_score(kind: str) -> None:
    async def handler(_: dict[str, Any]) -> web.Response:
        return web.json_response({"error": {"message": "out of memory"}}, status=500)

    with served(handler) as server:
        made = reranker(server.url, kind)
        with pytest.raises(ModelError, match="out of memory"):
            made.score([Pair("q", "a"), Pair("q", "b")])
        made.close()
    with pytest.raises(UserError, match=r"model does not answer.*rerank\.llm\.endpoint"):
        reranker("http://127.0.0.1:9/v1", kind)


NUMBERED = re.compile(r"^\[(\d+)\] (\d+)", re.MULTILINE)


async def sorter(body: dict[str, Any]) -> str:
    """A model that orders passages, which are numbers, rightly."""
    rows = NUMBERED.findall(body["messages"][-1]["content"])
    return " > ".join(f"[{number}]" for number, value in sorted(rows, key=lambda row: -int(row[1])))


def test_listwise_windows_bring_the_best_to_the_front() -> None:
    with served(sorter) as server:
        made = reranker(server.url, "llm_listwise", window=4, stride=2)
        values = [3, 1, 4, 15, 9, 2, 6, 5, 35, 8]
        (scores,) = made.score_lists([Candidates("q", [str(value) for value in values])])
        order = sorted(range(10), key=lambda at: -scores[at])
        assert [values[at] for at in order][:2] == [35, 15]  # a stride of two carries two to the head
        assert sorted(scores.tolist()) == pytest.approx([at / 10 for at in range(1, 11)])
        assert len(server.bodies) == len(windows(10, 4, 2))
        lists = [Candidates("q", ["1", "2"]), Candidates("q", ["7", "8", "9"]), Candidates("q", ["5"])]
        found = made.score_lists(lists)
        assert [scores.tolist() for scores in found] == [
            pytest.approx([0.5, 1.0]),
            pytest.approx([1 / 3, 2 / 3, 1.0]),
            [1.0],
        ]
        made.close()


def test_windows_by_hand() -> None:
    assert windows(30, 20, 10) == [(10, 30), (0, 20)]
    assert windows(20, 20, 10) == [(0, 20)]
    assert windows(25, 20, 10) == [(5, 25), (0, 15)]
    assert windows(2, 20, 10) == [(0, 2)]
    assert windows(1, 20, 10) == windows(0, 20, 10) == []


@given(st.integers(0, 200), st.integers(2, 30), st.integers(1, 40))
@settings(deadline=None)
def test_windows_overlap_and_cover_the_list(count: int, size: int, stride: int) -> None:
    found = windows(count, size, stride)
    if count < 2:
        assert found == []
        return
    assert found[0][1] == count
    assert found[-1][0] == 0
    for (start, _), (_, stop) in itertools.pairwise(found):
        assert start < stop  # what was best behind can move on
    assert all(0 <= start < stop <= start + size for start, stop in found)


@given(st.text(alphabet="0123456789[]> ,a\n", max_size=80), st.integers(1, 12))
@settings(deadline=None)
def test_a_reply_names_places_once_and_in_bounds(text: str, count: int) -> None:
    found = named_places(text, count)
    assert len(set(found)) == len(found)
    assert all(0 <= place < count for place in found)


def test_a_reply_that_names_some_leaves_the_others_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert named_places("I think [3] > [1] > [3] > [9] > 0", 3) == [2, 0]
    url = script(
        tmp_path / "script.jsonl",
        {"when": "Query: some", "replies": ["[3] > [17]"]},
        {"when": "Query: none", "replies": ["I cannot do that."]},
    )
    made = reranker(url, "llm_listwise")
    (scores,) = made.score_lists([Candidates("some", ["a", "b", "c"])])
    assert scores.tolist() == pytest.approx([2 / 3, 1 / 3, 1.0])
    with caplog.at_level(logging.WARNING):
        (scores,) = made.score_lists([Candidates("none", ["a", "b"])])
    assert scores.tolist() == [1.0, 0.5]
    assert "keep their order" in caplog.text


def test_the_identity_follows_the_model_and_what_it_reads(tmp_path: Path) -> None:
    url = script(tmp_path / "a.jsonl", {"when": "", **judged(Yes=0.5)})
    first = reranker(url, "llm_pointwise").identity
    assert first == reranker(url, "llm_pointwise", in_flight=3).identity
    assert first.sha256 != reranker(url, "llm_pointwise", passage_chars=9).identity.sha256
    assert first.sha256 != reranker(url, "llm_listwise").identity.sha256
    other = script(tmp_path / "b.jsonl", {"when": "", **judged(Yes=0.6)})
    assert first.sha256 != reranker(other, "llm_pointwise").identity.sha256


def test_settings_that_do_not_go_together_are_named() -> None:
    for options in (
        RerankOptions(type="llm_pointwise"),
        RerankOptions(type="llm_listwise", model="x", llm=LlmOptions()),
    ):
        with pytest.raises(UserError, match=r"needs the section rerank\.llm and no rerank\.model"):
            load_reranker(options)
    for options in (RerankOptions(), RerankOptions(model="x", llm=LlmOptions())):
        with pytest.raises(UserError, match=r"needs rerank\.model and no rerank\.llm"):
            load_reranker(options)
