"""A language model as the judge of a rollout: the relevance of each search, and whether the answer is right
(R3-RAG, reference r3rag.md sections 1.10 and 10).

How we differ from the release: a reply without a rating is no rating (there the run crashes), a judge that
does not answer is waited for (there long analyses are paid for), documents are cut one by one, and what the
judge reads is fenced by a line that the text cannot contain. Ratings are cached by their content.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType

import orjson

from src_core.config import InFlight, Positive, Seconds, config_class, dump
from src_core.errors import ModelError, ServerGoneError, UserError
from src_core.jsonl import JsonlWriter, read_jsonl
from src_core.llm import ChatModel, Endpoint, Sampling
from src_core.served import identity_of
from src_core.terminal import one_line, say
from src_core.types import Search, Step, Trajectory
from src_tasks.judge import PROMPTS, Case, Judge, Rubric
from src_tasks.reward_rules import RewardConfig, Verdicts, answer_of, rates_searches, right_by_metric

_RATING = re.compile(r"^\W*relevance\W*[:=]\W*([01](?:\.\d+)?)\W*$", re.IGNORECASE | re.MULTILINE)
_SLOT = re.compile(r"\{(question|analysis|query|documents|fence)\}")
_ANALYSIS = 2_000


@config_class
class RewardJudgeConfig:
    """The judge of a run. `endpoint`: any OpenAI-compatible server; the key of one that is not ours is in the
    variable `key_env` of the environment (Gemini: its compatible endpoint with `engine: openai`), never in a
    file. `answers`: it also decides on answers that no metric finds right. Of each passage it reads
    `passage_chars` characters. A judge that does not answer is asked again every `pause_seconds`; training
    waits for it. `cache`: file of ratings, shared by runs.
    """

    endpoint: Endpoint = Endpoint(url="http://127.0.0.1:9894/v1")
    sampling: Sampling = Sampling(max_tokens=64, temperature=0.0, top_p=1.0)
    answers: bool = False
    passage_chars: Positive = 512
    in_flight: InFlight = 16
    pause_seconds: Seconds = 30.0
    cache: str = "runs/reward_judge_cache.jsonl"


class RewardJudge:
    """Judges trajectories; a context manager that holds the cache open."""

    def __init__(self, model: ChatModel, config: RewardJudgeConfig) -> None:
        self._model, self._config = model, config
        self._answers = Judge(model, rubric=Rubric.STRICT, sampling=config.sampling)
        self._template = (PROMPTS / "relevance.txt").read_text(encoding="utf-8").rstrip("\n")
        self._slots = asyncio.Semaphore(config.in_flight)
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._known = _read(Path(config.cache))
        self._file = JsonlWriter(Path(config.cache), durable=False)
        self.pauses = 0

    def __enter__(self) -> RewardJudge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._file.close()

    async def verdicts(self, done: Trajectory, reward: RewardConfig) -> Verdicts:
        """The relevance of each search where `reward` pays for it, and whether an answer is right that the
        metric of `reward` does not find right. Waits while the judge does not answer; raises `UserError` for
        one that refuses to.
        """
        rated_steps = done.steps if rates_searches(reward) else ()
        searches = [step for step in rated_steps if isinstance(step.action, Search)]
        rated = await asyncio.gather(*(self._relevance(done.question.question, step) for step in searches))
        asked = bool(self._config.answers and answer_of(done)) and not right_by_metric(done, reward)
        right = await self._right(done) if asked else None
        return Verdicts(tuple(rated), right, unsure=asked and right is None)

    async def _relevance(self, question: str, step: Step) -> float | None:
        if step.repeated:
            return 0.0  # nothing was searched
        prompt = relevance_prompt(self._template, question, step, passage_chars=self._config.passage_chars)
        key = self._key(prompt)

        async def ask() -> float | None:
            reply = await self._model.chat(
                [{"role": "user", "content": prompt}], sampling=self._config.sampling
            )
            return read_rating(reply.text)

        return await self._cached(key, ask)

    async def _right(self, done: Trajectory) -> bool | None:
        case = Case(done.question.question, done.question.answers, answer_of(done))

        async def ask() -> float | None:
            return (await self._answers.ask(case)).score

        found = await self._cached(self._answers.key(case), ask)
        return None if found is None else found == 1.0

    async def _cached(self, key: str, ask: Callable[[], Awaitable[float | None]]) -> float | None:
        """A known rating, else that of `ask`. A reply without one is not kept: the next run asks again."""
        async with self._asking[key]:  # rollouts of a group often share their first search
            if key in self._known:
                return self._known[key]
            async with self._slots:
                found = await self._patiently(ask)
            if found is not None:
                self._known[key] = found
                self._file.write(orjson.dumps({"key": key, "value": found}))
            return found

    async def _patiently(self, ask: Callable[[], Awaitable[float | None]]) -> float | None:
        while True:
            try:
                return await ask()
            except (ModelError, ServerGoneError) as error:
                if isinstance(error, ModelError) and 400 <= error.status < 500 and not error.retryable:
                    raise UserError(
                        f"the judge refuses: {one_line(str(error))}; correct judge.endpoint or its key"
                    ) from error
                self.pauses += 1
                say(
                    f"training waits: the judge does not answer ({one_line(str(error))}); it is asked again "
                    f"in {self._config.pause_seconds:g} s"
                )
            await asyncio.sleep(self._config.pause_seconds)

    def _key(self, prompt: str) -> str:
        parts = [prompt, self._model.name, dump(self._config.sampling), identity_of(self._model.facts)]
        text = repr(parts).encode("utf-8", "backslashreplace")
        return hashlib.sha256(text).hexdigest()[:24]


def relevance_prompt(template: str, question: str, step: Step, *, passage_chars: int) -> str:
    """The prompt for one search. Slots are filled in one pass, and the fence is derived from the text, which
    therefore cannot hold it.
    """
    query = step.action.query if isinstance(step.action, Search) else ""
    texts = {
        "question": question,
        "analysis": step.thought[:_ANALYSIS],
        "query": query,
        "documents": "\n".join(f"- {passage.contents[:passage_chars]}" for passage in step.passages)
        or "(none)",
    }
    digest = hashlib.sha256(repr(texts).encode("utf-8", "backslashreplace")).hexdigest()
    slots = {**texts, "fence": f"=== {digest[:16]} ==="}
    return _SLOT.sub(lambda slot: slots[slot[1]], template)


def read_rating(text: str) -> float | None:
    """The last labelled rating of a reply, None where there is none or it is above 1."""
    found = _RATING.findall(text)
    value = float(found[-1]) if found else -1.0
    return value if 0.0 <= value <= 1.0 else None


def ratings_agree(rated: Sequence[float], gold: Sequence[float], *, least: float = 0.6) -> float | None:
    """The share of searches for which the judge (`least` or more) and the gold passages (one that was missing
    was found) say the same; None without searches.
    """
    same = [(one >= least) == (other > 0) for one, other in zip(rated, gold, strict=True)]
    return sum(same) / len(same) if same else None


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    rows = read_jsonl(path, torn_tail_ok=True)
    return {str(row["key"]): float(row["value"]) for row in rows if "key" in row and "value" in row}
