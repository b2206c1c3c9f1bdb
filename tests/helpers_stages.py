"""What each stage of scripts/test.sh ran, and what no stage ran.

As a pytest plugin (conftest.py loads it) it skips what the environment cannot run, and writes one JSON line
per test into `--stage-report FILE`; the file has the name of the stage. As a script it prints the totals:

    python tests/helpers_stages.py FOLDER SECONDS
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT.parent / "shared" / "data"
"""Question files as their publishers give them: large, and not ours to keep in this repository."""
TORCH = ("torch", "transformers", "accelerate", "peft")


def installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in packages)


class Need(NamedTuple):
    is_met: Callable[[], bool]
    otherwise: str
    """The reason of the skip: what is missing and how one gets it."""


NEEDS = {
    "training": Need(
        lambda: installed(*TORCH), "no torch here: VENV=.venv-test-train bash scripts/test.sh tests/…"
    ),
    "ray": Need(lambda: installed("ray"), "no Ray here: VENV=.venv-test-ray bash scripts/test.sh tests/…"),
    "browser": Need(lambda: bool(shutil.which("chromium")), "there is no chromium: apt-get install chromium"),
    "published": Need(PUBLISHED.is_dir, f"the publishers' files are not in {PUBLISHED}"),
    "elasticsearch": Need(
        lambda: bool(os.environ.get("ELASTICSEARCH_HOME") or os.environ.get("ELASTICSEARCH_URL")),
        "ELASTICSEARCH_HOME names no folder of an Elasticsearch",
    ),
    "vllm": Need(lambda: bool(os.environ.get("REARAG_VLLM_URL")), "REARAG_VLLM_URL names no vLLM server"),
}
"""Marker -> what its tests need."""
APART = ("vllm", "gpu", "ray", "training", "slow")
"""Markers of the tests that the usual suite leaves to another stage, or to another machine."""
RESULTS = ("passed", "failed", "skipped")
ALL_TRAINING = re.compile(r"^pytestmark = pytest\.mark\.training$", re.MULTILINE)
"""The line of a file that can be imported only where torch is."""


class Event(NamedTuple):
    """One test, or one file that could not be collected or was left to another stage."""

    test: str
    outcome: str
    """passed, failed, skipped or left (selected by another stage); `done` closes a stage."""
    why: str = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stage-report", type=Path, metavar="FILE", help="one JSON line per test; FILE is made")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--stage-report"):
        config.pluginmanager.register(Report(config), "stage-report")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file of training tests is not even imported by a stage that leaves them to another one."""
    if "not training" not in config.option.markexpr or not is_all_training(collection_path):
        return None  # others may still ignore it
    report = config.pluginmanager.get_plugin("stage-report")
    if report:
        name = collection_path.relative_to(config.rootpath).as_posix()
        report.write(Event(name, "left", report.markers["training"]))
    return True


def is_all_training(path: Path) -> bool:
    return path.suffix == ".py" and bool(ALL_TRAINING.search(path.read_text(encoding="utf-8")))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, need in NEEDS.items():
        if item.get_closest_marker(name) and not need.is_met():
            pytest.skip(need.otherwise)


class Report:
    """Writes the outcome of each test when it is known."""

    def __init__(self, config: pytest.Config) -> None:
        # Absolute: a test that changes the working folder is still inside it when its outcome is known.
        self.path: Path = config.getoption("--stage-report").absolute()
        self.path.unlink(missing_ok=True)
        lines: list[str] = config.getini("markers")
        self.markers = {line.partition(":")[0]: line for line in lines}

    def write(self, event: Event) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event._asdict()) + "\n")

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            name = next((name for name in APART if item.get_closest_marker(name)), "")
            if name:
                self.write(Event(item.nodeid, "left", self.markers[name]))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self.write(Event(report.nodeid, report.outcome, reason_of(report)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self.write(Event(report.nodeid, report.outcome, reason_of(report)))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self.write(Event("", "done"))


def reason_of(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Why a test was skipped: the third part of what pytest keeps of a skip."""
    found: Any = report.longrepr
    return str(found[2]).removeprefix("Skipped: ") if report.skipped and isinstance(found, tuple) else ""


def read_report(path: Path) -> list[Event]:
    return [Event(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def totals(stages: dict[str, list[Event]], seconds: float) -> list[str]:
    """The last lines of scripts/test.sh: a line per stage, each test without a result and why, the total."""
    lines = ["== tests by stage"]
    count: Counter[str] = Counter()
    for name, events in stages.items():
        here = Counter(outcomes(events).values())
        count += here
        numbers = " ".join(f"{here[result]:>6} {result}" for result in RESULTS)
        ended = any(event.outcome == "done" for event in events)
        lines.append(f"{name:<10} {numbers}{'' if ended else ', and it did not end'}")
    every = [event for events in stages.values() for event in events]
    lines += [f"skipped: {event.test}: {event.why}" for event in every if event.outcome == "skipped"]
    lines += not_run(every)
    failed = f"{count['failed']} failed, " if count["failed"] else ""
    return [*lines, f"{failed}{count['passed']} passed, {count['skipped']} skipped in {seconds:.2f}s"]


def outcomes(events: Iterable[Event]) -> dict[str, str]:
    """One outcome per test: a test whose clean-up failed has failed."""
    found: dict[str, str] = {}
    for event in events:
        if event.outcome in RESULTS and found.get(event.test) != "failed":
            found[event.test] = event.outcome
    return found


def not_run(events: Sequence[Event]) -> list[str]:
    """One line per marker whose tests no stage of this call ran."""
    run = {name for test in outcomes(events) for name in (test, test.partition("::")[0])}
    left: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        if event.outcome == "left" and event.test not in run:
            left[event.why].add(event.test)
    return [
        f"not run here: {len(tests)} {'tests' if any('::' in name for name in tests) else 'files'} of {why}"
        for why, tests in sorted(left.items())
    ]


def main(folder: str, seconds: str) -> None:
    paths = sorted(Path(folder).glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    stages = {path.stem: read_report(path) for path in paths}
    sys.stdout.write("\n".join(totals(stages, float(seconds))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
