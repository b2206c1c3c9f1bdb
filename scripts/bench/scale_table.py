"""The figures of all stages of `scale.py` as one JSON file and as Markdown: `figures.json` and `table.md` in
the folder of a run.

    python scripts/bench/scale_table.py indexes/scale
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import orjson

from src_core.errors import UserError, run_main
from src_core.jsonl import write_atomic

LIBRARY_COLUMNS = (
    ("build, CPU-s", "build_cpu_seconds"),
    ("build, private MB", "build_private_mb"),
    ("bytes", "bytes"),
    ("queries/CPU-s", "queries_per_cpu_second"),
    ("p99 ms", "p99_ms"),
    ("search, private MB", "search_private_mb"),
    ("overlap@10", "overlap_at_10_with_ours"),
)


def main() -> None:
    """Write both files; print the Markdown."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "figures").is_dir():
        raise UserError("give the folder of a run of scripts/bench/scale.sh that has finished a stage")
    folder = Path(sys.argv[1])
    records = sorted((folder / "figures").glob("*.json"))
    figures = {path.stem: orjson.loads(path.read_bytes()) for path in records}
    write_atomic(folder / "figures.json", orjson.dumps(figures, option=orjson.OPT_INDENT_2))
    text = "\n".join(markdown(figures)) + "\n"
    write_atomic(folder / "table.md", text.encode())
    print(text, end="")


def markdown(figures: dict[str, Any]) -> Iterator[str]:
    """The lines of the tables of those stages that have figures."""
    yield from _table(("stage", "seconds", "CPU-seconds"), _stages(figures))
    if "build" in figures:
        yield from _table(("file", "GB"), _files(figures["build"]))
        yield f"Private memory of the build: {figures['build']['private_mb']:,.0f} MB at the peak."
        yield ""
    if "recall" in figures:
        yield from _table(
            ("refine factor", "recall@10", "queries/CPU-s of the index"), _recall(figures["recall"])
        )
    served = _served(figures.get("serve", {}), "all memory")
    served += _served(figures.get("limited", {}), f"{figures.get('limited', {}).get('limit_gb')} GB")
    if served:
        names = (
            "search",
            "memory",
            "start s",
            "private MB",
            "clients",
            "queries/s",
            "queries/CPU-s",
            "p99 ms",
        )
        yield from _table((*names, "page cache MB"), served)
    if "words" in figures:
        names = tuple(title for title, _ in LIBRARY_COLUMNS)
        yield from _table(
            (f"BM25 of {figures['words']['rows']:,} passages", *names), _libraries(figures["words"])
        )


def _table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
    yield ""


def _stages(figures: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(name, found["seconds"], found["cpu_seconds"]) for name, found in figures.items()]


def _files(build: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(name, f"{size / 1e9:.3f}") for name, size in build["bytes"].items() if size >= 1e6]


def _recall(recall: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (name.removeprefix("refine_"), found["recall_at_10"], found["queries_per_cpu_second"])
        for name, found in recall.items()
        if isinstance(found, dict)
    ]


def _served(stage: dict[str, Any], memory: str) -> list[tuple[Any, ...]]:
    rows = []
    for side, found in stage.items():
        if not isinstance(found, dict):
            continue
        for name in (name for name in found if name.startswith("clients_")):
            load = found[name]
            numbers = (load["queries_per_second"], load["queries_per_cpu_second"], load["p99_ms"])
            own = (side, memory, found["start_seconds"], found["private_mb"], name.removeprefix("clients_"))
            rows.append((*own, *numbers, found.get("page_cache_mb", "-")))
    return rows


def _libraries(words: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (name, *(found.get(key, "-") for _, key in LIBRARY_COLUMNS))
        for name, found in words.items()
        if isinstance(found, dict)
    ]


if __name__ == "__main__":
    run_main(main)
