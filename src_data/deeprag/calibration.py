"""Stage II's preference pairs from explored trees (DeepRAG; reference deeprag.md section 8):

    python -m src_data.deeprag.calibration RUN_DIR [variant=all_node] [balance=drop] [validation_share=0.1]

Writes `pairs.train.jsonl`, `pairs.validation.jsonl` (the form of `src_train.pairs`) and `pairs.json` with the
counts. Settings that are not named are those of the exploration.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from src_core.errors import UserError, run_main
from src_core.jsonl import read_jsonl, rewrite_jsonl, write_atomic
from src_core.protocols.deeprag import DeepRag
from src_core.rundir import ROWS
from src_data.deeprag.config import CalibrationConfig, last_step_config
from src_data.deeprag.pairs import DIRECT, RETRIEVE, Skip, pairs_of
from src_data.deeprag.tree_rows import read_tree_row
from src_data.exporting.export import Side, side_of
from src_infer.show import report_console
from src_tasks.guessable import is_guessable

SIDES: tuple[Side, ...] = ("train", "validation")


@dataclass(slots=True)
class PairCounts:
    """What a run gave: questions, those without a tree, pairs that were found and written by kind, decisions
    without a pair by reason, and the files.
    """

    questions: int = 0
    without_tree: int = 0
    found: Counter[str] = field(default_factory=Counter)
    written: dict[str, Counter[str]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    files: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The content of `pairs.json`."""
        return {
            "questions": self.questions,
            "without_tree": self.without_tree,
            "found": dict(self.found),
            "retrieve_share": _share(self.found),
            "written": {side: dict(counts) for side, counts in self.written.items()},
            "skipped": dict(self.skipped),
            "files": list(self.files),
        }


def make_pairs(run_dir: Path, config: CalibrationConfig) -> PairCounts:
    """Write the files of a run. Raises `UserError` where there are no trees."""
    rows = run_dir / ROWS
    if not rows.is_file():
        raise UserError(f"there are no trees in {run_dir}; explore some first (src_data.deeprag.explore)")
    counts = PairCounts()
    sides: dict[Side, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for row in _pair_rows(rows, config, counts):
        sides[side_of(row["question_id"], config.validation_share)].append(row)
    files = []
    for side, found in sides.items():
        kept = balanced(found, config) if side == "train" else found
        path = run_dir / f"pairs.{side}.jsonl"
        rewrite_jsonl(path, (orjson.dumps(row) for row in kept))
        counts.written[side] = Counter(row["kind"] for row in kept)
        files.append(str(path))
    counts.files = tuple(files)
    write_atomic(run_dir / "pairs.json", orjson.dumps(counts.as_dict(), option=orjson.OPT_INDENT_2))
    return counts


def balanced(rows: Sequence[dict[str, Any]], config: CalibrationConfig) -> list[dict[str, Any]]:
    """The rows in their order, with as many of each kind of decision as `balance` says. Which ones are
    dropped or repeated depends on a hash of seed and row, not on the order.
    """
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in (RETRIEVE, DIRECT)}
    small, large = sorted(kinds.values(), key=len)
    if config.balance == "keep" or not small:
        return list(rows)

    def place(row: dict[str, Any]) -> bytes:
        return hashlib.sha256(f"{config.seed}/".encode() + orjson.dumps(row)).digest()

    if config.balance == "drop":
        kept = {place(row) for row in sorted(large, key=place)[: len(small)]}
        return [row for row in rows if row["kind"] == small[0]["kind"] or place(row) in kept]
    times, rest = divmod(len(large), len(small))
    again = {place(row) for row in sorted(small, key=place)[:rest]}
    repeats = {small[0]["kind"]: times, large[0]["kind"]: 1}
    return [
        row
        for row in rows
        for _ in range(repeats[row["kind"]] + (row["kind"] == small[0]["kind"] and place(row) in again))
    ]


def print_pairs(counts: PairCounts, console: Console) -> None:
    """Print the counts and the files."""
    table = Table(header_style="bold")
    for name in ("pairs", "found", *SIDES):
        table.add_column(name, justify="left" if name == "pairs" else "right")
    for kind in sorted(counts.found):
        row = [counts.found[kind], *(counts.written[side][kind] for side in SIDES)]
        table.add_row(kind, *(f"{number:,}" for number in row))
    console.print(table)
    for reason, number in counts.skipped.most_common():
        console.print(Text(f"{number:,} without a pair: {Skip(reason).meaning}"), soft_wrap=True)
    console.print(Text(f"{counts.questions:,} questions, {counts.without_tree:,} without a tree"))
    console.print(Text(f"written: {', '.join(counts.files)}"), soft_wrap=True)


def _pair_rows(rows: Path, config: CalibrationConfig, counts: PairCounts) -> Iterator[dict[str, Any]]:
    protocol = DeepRag()
    for number, raw in enumerate(read_jsonl(rows), start=1):
        row = read_tree_row(raw, place=f"{rows}, line {number}")
        counts.questions += 1
        if row.tree is None:
            counts.without_tree += 1
            continue
        question = row.trajectory.question
        if config.guessable == "drop" and is_guessable(question.question, question.answers):
            counts.skipped[Skip.GUESSABLE.value] += 1
            continue
        for found in pairs_of(row.tree, protocol, config.variant):
            if isinstance(found, Skip):
                counts.skipped[found.value] += 1
            else:
                counts.found[found.kind] += 1
                yield found.row(question.id)


def _share(found: Counter[str]) -> float | None:
    """The share of retrieve pairs among decisions."""
    both = found[RETRIEVE] + found[DIRECT]
    return round(found[RETRIEVE] / both, 3) if both else None


def main() -> None:
    """Read the command line, write the files, print the counts."""
    if len(sys.argv) < 2 or "=" in sys.argv[1]:
        raise UserError("usage: .venv/bin/python -m src_data.deeprag.calibration RUN_DIR [key=value ...]")
    config = last_step_config(CalibrationConfig, Path(sys.argv[1]), "calibration", sys.argv[2:])
    print_pairs(make_pairs(Path(sys.argv[1]), config), report_console())


if __name__ == "__main__":
    run_main(main)
