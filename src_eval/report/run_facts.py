"""The settings and totals of a run, for the list at the top of its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from src_eval.report.run_files import ScoredRun


class Fact(NamedTuple):
    """One line of the list."""

    label: str
    value: str


def run_facts(run: ScoredRun) -> list[Fact]:
    """Facts from the manifest and the scores; missing facts are left out."""
    manifest, totals = run.manifest, run.totals
    usage = [trajectory.usage for trajectory in run.trajectories]
    prompt, completion = sum(u.prompt_tokens for u in usage), sum(u.completion_tokens for u in usage)
    facts = [
        Fact("Method", totals.method),
        Fact("Model", _models(manifest) or totals.model),
        Fact("Questions", f"{totals.questions:,} of {totals.dataset}" if totals.dataset else ""),
        Fact("Left out", _left_out(totals.left_out)),
        Fact("Index", _index(manifest)),
        Fact("Outcomes", _outcomes(totals.outcomes)),
        Fact("Malformed replies", f"{100 * totals.invalid_rate:.1f} %"),
        Fact("Tokens", f"{prompt:,} read, {completion:,} written, {sum(u.calls for u in usage):,} calls"),
        Fact("Wall time", _duration(manifest.get("wall_seconds"))),
        Fact("Started", str(manifest.get("started", ""))),
        Fact("Code", _code(manifest.get("code"))),
        Fact("Machine", _machine(manifest)),
    ]
    if not manifest:
        facts.append(Fact("Manifest", "none: the run was not finished"))
    return [fact for fact in facts if fact.value]


def _left_out(rows: int) -> str:
    return f"{rows:,} rows of questions that the run no longer has" if rows else ""


def _models(manifest: Mapping[str, Any]) -> str:
    models = manifest.get("models")
    return ", ".join(dict.fromkeys(map(str, models))) if isinstance(models, list) else ""


def _index(manifest: Mapping[str, Any]) -> str:
    index = manifest.get("index")
    if not isinstance(index, dict):
        return ""
    return ", ".join(f"{key} {value}" for key, value in index.items() if isinstance(value, str | int | float))


def _outcomes(outcomes: Mapping[str, int]) -> str:
    ordered: Sequence[tuple[str, int]] = sorted(outcomes.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in ordered)


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
    )


def _code(code: Any) -> str:
    if not isinstance(code, dict) or not code.get("commit"):
        return ""
    return str(code["commit"])[:12] + (", with changes" if code.get("dirty") else "")


def _machine(manifest: Mapping[str, Any]) -> str:
    machine, packages = manifest.get("machine"), manifest.get("packages")
    parts = []
    if isinstance(machine, dict):
        parts.append(f"{machine.get('cores')} cores, {machine.get('platform')} {machine.get('machine')}")
    if isinstance(packages, dict) and packages.get("python"):
        parts.append(f"Python {packages['python']}")
    return ", ".join(parts)
