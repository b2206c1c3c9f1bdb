"""The stages after construction or conversion: filter, export, count.

`python -m src_data.postprocess RUN_DIR [key=value …]` repeats them for a run with other settings, for example
`clean_conv.min_f1=0.8` or `export.validation_share=0.1`; no trajectory is constructed again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from src_core.caller import commands_seen, seen
from src_core.config import config_class, load_config
from src_core.errors import UserError, run_main
from src_core.protocols import load_protocol
from src_core.protocols.base import Protocol
from src_core.protocols.records import PromptStyle
from src_data.exporting.export import ExportConfig, ExportReport, export_run
from src_data.filters.filter_report import (
    REPORT,
    FilterReport,
    advice,
    build_report,
    kept_sentence,
    outcome_lines,
    report_table,
    save_report,
)
from src_data.filters.filter_run import FilterPaths, filter_run
from src_data.filters.filter_trajectory import FilterConfig
from src_data.filters.outcomes import EXPLAINED
from src_infer.show import report_console


@config_class
class FinishConfig:
    """The sections of `src_data/data_config.yaml` that need no teacher, and the prompt style of
    conversations.
    """

    clean_conv: FilterConfig = FilterConfig()
    export: ExportConfig = ExportConfig()
    protocol: str = "rearag"
    style: PromptStyle = PromptStyle()


class Finished(NamedTuple):
    """The written files and the counts."""

    paths: FilterPaths
    export: ExportReport
    filter_report: FilterReport


def finish_run(run_dir: Path, *, clean: FilterConfig, export: ExportConfig, protocol: Protocol) -> Finished:
    """Filter a run's trajectories, export the kept ones, write `yield.json` and `yield.md`. Raises
    `UserError` when there are no trajectories or no space.
    """
    paths = filter_run(run_dir, clean, protocol)
    report = export_run(paths, export, protocol)
    filter_report = build_report(paths.kept, paths.rejected)
    save_report(filter_report, paths.kept.parent)
    return Finished(paths, report, filter_report)


def print_finished(done: Finished, console: Console) -> None:
    """Print the filter report and the paths of the files."""
    console.print(report_table(done.filter_report))
    for meaning in outcome_lines(done.filter_report):
        console.print(Text(meaning), soft_wrap=True)
    if done.filter_report.total.reasons:
        console.print(Text(EXPLAINED), soft_wrap=True)
    export = done.export
    general = f" and {export.general_train:,} general" if export.general else ""
    noun = "conversation" if (export.train, general) == (1, "") else "conversations"
    sides = f"{export.train:,}{general} {noun} to train on, {export.validation:,} to validate with"
    console.print(Text(f"{kept_sentence(done.filter_report)}; {sides}"), soft_wrap=True)
    if export.reader:
        console.print(Text(f"{export.reader:,} rows for the reader's role among them"), soft_wrap=True)
    for count in export.general:
        skipped = ", ".join(f"{n:,} {problem}" for problem, n in sorted(count.skipped.items()))
        line = f"{count.path}: {count.taken:,} of {count.usable:,} taken" + (
            f"; {skipped}" if skipped else ""
        )
        console.print(Text(line), soft_wrap=True)
    folder = done.paths.rejected.parent
    for line in advice(done.filter_report, folder):
        console.print(Text(commands_seen(line)), soft_wrap=True)
    files = (
        f"{seen(export.conversations)}, {seen(done.paths.rejected)} and the report {seen(folder / REPORT)}"
    )
    console.print(Text(f"written: {files}"), soft_wrap=True)
    console.print(Text(f"to read them: bash {seen('scripts/view_data.sh')} {seen(folder)}"), soft_wrap=True)


def main() -> None:
    """Read the command line, run the stages, print the table."""
    if len(sys.argv) < 2 or "=" in sys.argv[1] or sys.argv[1].startswith("-"):
        raise UserError("usage: .venv/bin/python -m src_data.postprocess RUN_DIR [key=value ...]")
    config = load_config(FinishConfig, None, sys.argv[2:])
    protocol = load_protocol(config.protocol, config.style)
    done = finish_run(Path(sys.argv[1]), clean=config.clean_conv, export=config.export, protocol=protocol)
    print_finished(done, report_console())


if __name__ == "__main__":
    run_main(main)
