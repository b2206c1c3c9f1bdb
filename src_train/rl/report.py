"""The page of a run: curves of its log, and the rollouts of the steps that were kept, so that a collapse of
the reasoning is seen before the score falls.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from src_core.html_page import fill_page
from src_core.jsonl import read_jsonl, write_atomic
from src_core.page_step import page_step
from src_core.types import Step
from src_train.rl.attempts import parse_attempt

PAGE = "report.html"
CURVES = (
    *("reward", "outcome", "process", "searches", "answered", "malformed", "valid_steps", "cut"),
    *("mask_rate", "sampled_per_rollout", "logprob", "logprob_correct", "kl", "clip_share", "mismatch"),
    *("judge_relevance", "judge_agreement", "judge_unrated"),
    *("gradient_norm", "used_groups", "trained_tokens", "seconds_rollouts", "seconds_update"),
)
MOST_PER_STEP = 64
_PARTS = Path(__file__).resolve().parent / "page"


def write_report(folder: Path, *, log: Path, rollouts: Path, title: str) -> None:
    """Write the page; without a log there is none. Rewards are those of the log: a judge's verdicts are in no
    other place.
    """
    if not log.is_file():
        return
    lines = list(read_jsonl(log, torn_tail_ok=True))
    curves = [(name, points) for name in CURVES if len(points := _points(lines, name)) > 1]
    files = sorted(rollouts.glob("step-*.jsonl"))
    scores = {line["step"]: line.get("scores", {}) for line in lines}
    numbered = [(int(path.stem.rpartition("-")[2]), path) for path in files]
    kept = [(number, _rollouts(path, scores.get(number, {}))) for number, path in numbered]
    data = {"steps": len(lines), "curves": curves, "kept": kept}
    template, style, script = ((_PARTS / f"rl.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    write_atomic(folder / PAGE, fill_page(template, title=title, style=style, script=script, data=data))


def _points(lines: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    found = ((line["step"], line.get(name)) for line in lines)
    return [(step, value) for step, value in found if isinstance(value, int | float) and math.isfinite(value)]


def _rollouts(path: Path, scores: dict[str, Any]) -> list[dict[str, Any]]:
    """The rollouts of one step as data of the page, with their reward and ending in `scores`."""
    made = []
    for row in read_jsonl(path, torn_tail_ok=True):
        attempt = parse_attempt(row)
        if attempt is None:
            continue
        done = attempt.trajectory
        reward, ending = scores.get(attempt.row_key, (None, done.status.value))
        made.append(
            {
                "id": done.question.id,
                "question": done.question.question,
                "golds": list(done.question.answers),
                "ending": ending,
                "reward": "none" if reward is None else f"{reward:.2f}",
                "steps": [page_step(step, _titles(step)) for step in done.steps],
            }
        )
    return made[:MOST_PER_STEP]


def _titles(step: Step) -> list[dict[str, str]]:
    return [{"id": passage.id, "title": passage.title} for passage in step.passages]
