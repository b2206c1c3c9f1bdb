"""The settings and totals of a run, for the list at the top of its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from src_core.text import shorten
from src_eval.report.run_files import ScoredRun
from src_eval.score import outcome_counts
from src_tasks.abstention import counts_text

_DIGESTS = ("identity", "digest", "corpus_sha256", "sha256")
_DIGEST_CHARS = 8


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
        Fact("Answers", _answers(run)),
        Fact("Share of malformed replies", f"{100 * totals.invalid_rate:.1f} %"),
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
    """`world.jsonl, 339 passages, hybrid (flat and bm25), encoder e5-small (digest 18559293)`: what was
    searched in words, and the start of the digest that tells it from another one. Runs made before servers
    named their corpus have its digest instead.
    """
    index = manifest.get("index")
    if not isinstance(index, dict) or not index:
        return ""
    corpus, rows = index.get("corpus"), index.get("rows")
    parts = [
        shorten(corpus, 80) if isinstance(corpus, str) and corpus else _unnamed(index),
        f"{rows:,} passages" if isinstance(rows, int) else "",
        _kind(index),
        *(f"{part} {name}" for part in ("encoder", "reranker") if (name := _named(index.get(part)))),
    ]
    digest = next((index[key] for key in _DIGESTS if isinstance(index.get(key), str)), "")
    shown = ", ".join(part for part in parts if part)
    return f"{shown} (digest {digest[:_DIGEST_CHARS]})" if digest else shown


def _unnamed(index: Mapping[str, Any]) -> str:
    """The retriever where it has no server, else the digest of the corpus."""
    digest, retriever = index.get("corpus_sha256"), index.get("retriever")
    if isinstance(retriever, str):
        return retriever
    return f"corpus {digest[:_DIGEST_CHARS]} (no name on record)" if isinstance(digest, str) else ""


def _kind(index: Mapping[str, Any]) -> str:
    """The kind of the index, of a hybrid also that of both halves."""
    kind, halves = index.get("type"), [index.get("dense"), index.get("sparse")]
    if not isinstance(kind, str):
        return ""
    named = [half for half in halves if isinstance(half, str) and half != kind]
    return f"{kind} ({' and '.join(named)})" if named else kind


def _named(part: Any) -> str:
    """The name of an encoder or a reranker."""
    return str(part.get("name") or part.get("type") or "") if isinstance(part, dict) else ""


def _outcomes(outcomes: Mapping[str, int]) -> str:
    ordered: Sequence[tuple[str, int]] = sorted(outcomes.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in ordered)


def _answers(run: ScoredRun) -> str:
    """The counts of a run with unanswerable questions or abstentions."""
    counts = outcome_counts(run.totals)
    return counts_text(counts) if counts else ""


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
