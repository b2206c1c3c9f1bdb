"""Show chains: `python -m src_data.view PATH [key=value …]` (called by `bash scripts/view_data.sh`).

PATH is a run directory, `kept.jsonl`, `rejected.jsonl`, `trajectories.jsonl`, `conversations.json` or any
published conversation file. Prints one conversation in colour; with `html=FILE` writes a page of many.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.console import Console
from rich.text import Text

from src_core.config import Seed, config_class, load_config
from src_core.errors import UserError, run_main
from src_core.terminal import plain
from src_data.filters.filter_report import source_of, teacher_of
from src_data.filters.outcomes import explained, nearest_of
from src_data.viewing.chain_files import Entry, read_entries
from src_data.viewing.view_page import write_page
from src_infer.show import report_console, trajectory_lines


@config_class
class ViewConfig:
    """The selection of chains: `id` (of the question), `text` (anywhere in the question), `reason` (`kept` or
    a reason of the yield table), `source`, `teacher`; "" accepts any. `n` of the matching ones are shown: the
    first ones, or a random sample with `seed` when it is not 0; `n` 0 prints one and puts up to 1,000 on a
    page.
    """

    id: str = ""
    text: str = ""
    reason: str = ""
    source: str = ""
    teacher: str = ""
    n: Annotated[int, Field(ge=0)] = 0
    seed: Seed = 0
    html: str = ""
    title: str = ""


def main() -> None:
    """Read the command line; print or write."""
    if len(sys.argv) < 2 or "=" in sys.argv[1]:
        raise UserError("usage: .venv/bin/python -m src_data.view PATH [key=value ...]")
    path = Path(sys.argv[1])
    config = load_config(ViewConfig, None, sys.argv[2:])
    found = choose(read_entries(path), config, n=config.n or (1000 if config.html else 1))
    if not found:
        raise _no_match(path, config)
    console = report_console()
    if config.html:
        n = write_page(Path(config.html), found, title=config.title or path.resolve().name)
        console.print(Text(f"written: {config.html} ({n:,} conversations)"), soft_wrap=True)
        return
    for entry in found:
        print_entry(entry, console)


def choose(entries: Iterator[Entry], config: ViewConfig, *, n: int) -> list[Entry]:
    """The first `n` matching entries, or `n` of them drawn at random in their order; at most `n` are in
    memory.
    """
    fitting = (entry for entry in entries if fits(entry, config))
    if not config.seed:
        return list(islice(fitting, n))
    draw = random.Random(config.seed)
    held: list[tuple[int, Entry]] = []
    for number, entry in enumerate(fitting):  # reservoir sampling
        at = number if number < n else draw.randrange(number + 1)
        if at < n:
            held[at : at + 1] = [(number, entry)]
    return [entry for _, entry in sorted(held, key=lambda pair: pair[0])]


def outcome_of(entry: Entry) -> str:
    """`kept`, a reason, or "" where no filter has run."""
    result = entry.result
    return ("kept" if result.kept else result.reason) if result else ""


def _no_match(path: Path, config: ViewConfig) -> UserError:
    """What to ask for instead: another reason where the asked one does not occur, else less."""
    present = Counter(map(outcome_of, read_entries(path))) if config.reason else Counter[str]()
    del present[""]
    if not config.reason or config.reason in present:
        return UserError(f"no trajectory in {path} matches; use fewer conditions")
    nearest = nearest_of(config.reason, present)
    return UserError(f"no trajectory in {path} has reason={config.reason}; {nearest}; choose one of these")


def fits(entry: Entry, config: ViewConfig) -> bool:
    """Whether an entry meets every condition."""
    question = entry.chain.question if entry.chain else None
    return (
        (not config.id or (question is not None and question.id == config.id))
        and (not config.text or (question is not None and config.text.lower() in question.question.lower()))
        and (not config.reason or outcome_of(entry) == config.reason)
        and (not config.source or source_of(entry.chain) == config.source)
        and (not config.teacher or teacher_of(entry.chain) == config.teacher)
    )


def print_entry(entry: Entry, console: Console) -> None:
    """Print one conversation in colour, with its origin and its result; control characters are not
    interpreted.
    """
    console.rule(style="dim")
    if entry.chain is None:
        console.print(_line(f"Unreadable ({entry.place}): ", "bold red", entry.raw))
    else:
        origin = f"{source_of(entry.chain)}, by {teacher_of(entry.chain)}, {entry.place}"
        console.print(_line("From: ", "dim", origin))
        for line in trajectory_lines(entry.chain):
            console.print(line)
    result = entry.result
    if result and result.kept:
        known = entry.chain is not None and entry.chain.question.answers
        score = f"F1 {result.f1:.2f}" if known else "no gold known"
        console.print(_line("Kept", "bold green", f" ({score})"))
    elif result:
        detail = f" ({result.detail})" if result.detail else ""
        console.print(_line(f"Refused: {explained(result.reason)}", "bold red", detail))


def _line(label: str, style: str, body: str) -> Text:
    return Text.assemble((label, style), plain(body))


if __name__ == "__main__":
    run_main(main)
