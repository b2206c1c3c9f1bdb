"""ACC_L: a language model compares an answer with the reference (reference section 9.2).

The paper's rubric rates 1, 2 or 3 as `[[rating]]`; the score is (rating - 1) / 2. We differ in showing the
judge the question too, and in a strict yes/no variant. Predictions are hostile input: they are fenced by a
line that they cannot contain, and a verdict is read from the reply only, where the last one counts. A reply
without a verdict is requested once more; a case without a verdict in both replies has no score.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import orjson

from src_core.config import InFlight, config_class, dump
from src_core.errors import UserError
from src_core.llm import ChatModel, Completion, Endpoint, Sampling
from src_core.protocols.records import Message
from src_core.served import identity_of
from src_core.types import NO_USAGE, Usage


class Rubric(StrEnum):
    """The scale of a judge: the three levels of the paper, or yes and no."""

    LEVELS = "judge_rubric"
    STRICT = "judge_strict"


@config_class
class JudgeConfig:
    """The judge's model and settings. `endpoint` is any OpenAI-compatible server (or `scripted:FILE`); the
    environment variable REARAG_TOKEN is its key. Verdicts are stored in `cache`, shared by all runs.
    """

    endpoint: Endpoint = Endpoint(url="http://127.0.0.1:9894/v1")
    rubric: Rubric = Rubric.LEVELS
    sampling: Sampling = Sampling(max_tokens=512, temperature=0.0, top_p=1.0)
    in_flight: InFlight = 16
    cache: str = "runs/judge_cache.jsonl"


PROMPTS = Path("configs/prompts/judge")
MAX_PREDICTION = 4_000  # characters; a longer prediction is not a short answer
_KEPT_REPLY = 2_000
_SLOT = re.compile(r"\{(question|golds|prediction|fence)\}")
_MARKED = re.compile(r"\[\[\s*(\w+)\s*\]\]")
# A verdict without brackets counts only alone on the last line.
_LAST_LINE = re.compile(
    r"(?:(?:final )?(?:rating|verdict|score)\s*[:=]\s*)?\[?(\w+)\]?\s*(?:/\s*3)?\.?", re.I
)
_VALUES: dict[Rubric, dict[str, float]] = {
    Rubric.LEVELS: {"1": 0.0, "2": 0.5, "3": 1.0},
    Rubric.STRICT: {"yes": 1.0, "no": 0.0},
}
_AGAIN = "Give only the verdict in double square brackets: {values}"


class Case(NamedTuple):
    """A case for the judge: a question, its gold aliases, and the predicted answer."""

    question: str
    golds: tuple[str, ...]
    prediction: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's verdict: `score` in [0, 1], or None where two replies held no verdict; the last reply; token
    usage.
    """

    score: float | None
    reply: str
    usage: Usage


class Agreement(NamedTuple):
    """How often two ratings of answers as right or wrong agree, and Cohen's kappa (None where chance
    agreement is 1).
    """

    both: int
    first_only: int
    second_only: int
    neither: int
    kappa: float | None


class Judge:
    """Judges cases with a model, a rubric and decoding parameters."""

    def __init__(self, model: ChatModel, *, rubric: Rubric, sampling: Sampling) -> None:
        self._model = model
        self._rubric = rubric
        self._sampling = sampling
        self._template = load_template(rubric)

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    def key(self, case: Case) -> str:
        """Content hash of everything that determines the verdict: prompt, model (what its server reports of
        it, too), decoding and case.
        """
        known = identity_of(self._model.facts)
        parts = [self._template, self._model.name, dump(self._sampling), *case, *([known] if known else [])]
        blob = orjson.dumps(_encodable(parts), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(blob).hexdigest()[:24]

    async def ask(self, case: Case) -> Verdict:
        """The verdict on a case, after at most two replies. Raises `ModelError`."""
        messages: list[Message] = [{"role": "user", "content": render(self._template, case)}]
        usage = NO_USAGE
        reply = Completion("", "", NO_USAGE)
        for _ in range(2):
            reply = await self._model.chat(messages, sampling=self._sampling)
            usage += reply.usage
            score = read_verdict(reply, self._rubric)
            if score is not None:
                return Verdict(score, reply.text[-_KEPT_REPLY:], usage)
            values = " or ".join(f"[[{value}]]" for value in _VALUES[self._rubric])
            messages += [
                {"role": "assistant", "content": reply.text[:_KEPT_REPLY] or "(nothing)"},
                {"role": "user", "content": _AGAIN.replace("{values}", values)},
            ]
        return Verdict(None, reply.text[-_KEPT_REPLY:], usage)


def load_template(rubric: Rubric) -> str:
    """The judge's prompt. Raises `UserError` when its file is missing or lacks a slot."""
    path = PROMPTS / f"{rubric.value}.txt"
    if not path.is_file():
        raise UserError(f"no such prompt: {path}; restore it, or run from the repository's folder")
    text = path.read_text(encoding="utf-8").rstrip("\n")
    missing = {"question", "golds", "prediction", "fence"} - set(_SLOT.findall(text))
    if missing:
        raise UserError(
            f"{path} has no slot {{{sorted(missing)[0]}}}, so the judge would not see its value; add it"
        )
    return text


def render(template: str, case: Case) -> str:
    """The prompt for a case: slots are filled in one pass, so that no text of the case is scanned for slots,
    and the fence is derived from the prediction, which therefore cannot hold it.
    """
    prediction = case.prediction[:MAX_PREDICTION]
    digest = hashlib.sha256(prediction.encode("utf-8", "surrogatepass")).hexdigest()
    slots = {
        "question": case.question,
        "golds": "\n".join(f"- {gold}" for gold in case.golds),
        "prediction": prediction,
        "fence": f"=== {digest[:16]} ===",
    }
    return _SLOT.sub(lambda slot: slots[slot[1]], template)


def read_verdict(reply: Completion, rubric: Rubric) -> float | None:
    """The last verdict of a reply: `[[2]]`, or alone on its last line; None where the reply was cut off, or
    where the last bracketed word is not a verdict of this rubric.
    """
    if reply.finish_reason == "length":
        return None
    marked = _MARKED.findall(reply.text)
    if marked:
        return _VALUES[rubric].get(marked[-1].lower())
    lines = [line.strip().strip("*_` ") for line in reply.text.splitlines() if line.strip()]
    last = _LAST_LINE.fullmatch(lines[-1]) if lines else None
    return _VALUES[rubric].get(last[1].lower()) if last else None


def agreement(first: Sequence[bool], second: Sequence[bool]) -> Agreement:
    """Confusion counts and Cohen's (1960) kappa of two ratings of the same answers."""
    pairs = list(zip(first, second, strict=True))
    both = sum(a and b for a, b in pairs)
    first_only = sum(a and not b for a, b in pairs)
    second_only = sum(b and not a for a, b in pairs)
    n = len(pairs)
    neither = n - both - first_only - second_only
    kappa = None
    if n:
        ours, theirs = (both + first_only) / n, (both + second_only) / n
        chance = ours * theirs + (1 - ours) * (1 - theirs)
        kappa = ((both + neither) / n - chance) / (1 - chance) if chance < 1 else None
    return Agreement(both, first_only, second_only, neither, kappa)


def _encodable(parts: Sequence[object]) -> object:
    """JSON cannot express lone surrogates, which a model can emit: hash their escaped form."""
    try:
        orjson.dumps(parts)
    except TypeError:
        return repr(parts).encode("utf-8", "backslashreplace").decode()
    return parts
