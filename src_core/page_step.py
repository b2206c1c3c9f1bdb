"""A step as the pages hold it: report, live page and data viewer draw it with `page/parts.js`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from src_core.types import DirectAnswer, Passage, Search, Step, Usage


def page_step(step: Step, passages: Sequence[Any] = ()) -> dict[str, Any]:
    """The fields of a step. What is empty is left out, and so is the reply where thought and action say it
    all. `passages` are in the form of the page; `parts.js` draws `{id, title, text, scores}`.
    """
    action = step.action
    fields = {
        "sub_question": action.sub_question if isinstance(action, DirectAnswer) else "",
        "think": step.think,
        "observation": step.observation,
        "conclusion": step.conclusion,
        "passages": list(passages),
        "reply": step.reply if step.parse_fixes or step.parse_failures else "",
        "parse_fixes": list(step.parse_fixes),
        "parse_failures": step.parse_failures,
        "repeated": step.repeated,
        "usage": page_usage(step.usage) if step.usage.calls else [],
        "seconds": page_number(step.seconds),
    }
    return {
        "n": step.n,
        "thought": step.thought,
        "function": action.function,
        "argument": action.query if isinstance(action, Search) else action.answer,
        **{name: value for name, value in fields.items() if value},
    }


def page_scores(passage: Passage) -> dict[str, float]:
    """The scores of a passage by name, without those that are no number."""
    rounded = {name: page_number(score) for name, score in passage.scores.items()}
    return {name: score for name, score in rounded.items() if score is not None}


def page_usage(usage: Usage) -> list[int]:
    """`[calls, prompt tokens, completion tokens]`."""
    return [usage.calls, usage.prompt_tokens, usage.completion_tokens]


def page_number(value: float | None) -> float | None:
    """Four decimals are enough to look at; None for what is not finite, which JSON does not know."""
    return round(value, 4) if value is not None and math.isfinite(value) else None
