"""Convert trajectories from other sources: `python -m src_data.convert_trajectories FILE
golds=[QUESTIONS.jsonl] run_name=X`.

Rows of a JSON array or JSONL that hold a question and a trajectory as text, in ReAct notation (FireAct and
similar sets) or Search-R1 tags (`src_data.convert_trajectories`). They become
`runs/<run_name>/trajectories.jsonl`, and are then filtered and exported like constructed trajectories. A text
that cannot be parsed is a row with its problem.

A row without a gold is rejected as `no_gold`; where the publisher of the file checked its answers (FireAct's
rewards), `clean_conv.need_gold=false` accepts them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.text import Text

from src_core.config import dump, load_config, read_yaml
from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.jsonl import LineSpool, rewrite_jsonl
from src_core.protocols import load_protocol
from src_core.rundir import RunDir, was_used
from src_core.runfolder import CONFIG, run_folder
from src_core.types import to_json
from src_data.convert_trajectories.chains import ImportConfig, import_rows, load_golds
from src_data.postprocess import finish_run, print_finished
from src_infer.show import report_console


def main() -> None:
    """Read the command line, convert, filter, export, print the filter report."""
    if len(sys.argv) < 2 or "=" in sys.argv[1]:
        raise UserError("usage: .venv/bin/python -m src_data.convert_trajectories FILE [key=value ...]")
    source = Path(sys.argv[1])
    config = load_config(ImportConfig, None, sys.argv[2:])
    console, err = report_console(), Terminal(stderr=True)
    folder = run_folder(config.runs_dir, config.run_name or f"import-{source.stem}")
    settings = {"file": str(source), **dump(config)}
    used = was_used(folder, config=settings, on_existing=config.on_existing)
    if used:
        require_import_of(folder, source, named=bool(config.run_name))
    golds = load_golds(config, report=lambda bad: err.print(Text(f"bad row: {bad}"), soft_wrap=True))
    protocol = load_protocol(config.protocol, config.style)
    with LineSpool(Path(config.runs_dir)) as rows:  # the whole file is read before anything is replaced
        read = 0
        for row in import_rows(source, config, golds):
            rows.append(to_json(row))
            read += bool(row.steps)
        if not len(rows):
            raise UserError(f"{source} holds no row; give a file with one trajectory per row")
        if not read and used:
            raise UserError(
                f"no row of {source} holds a readable trajectory, so the earlier import in {folder} is "
                "kept; give another file, or take another run_name to see the reasons"
            )
        rundir = RunDir(folder, config=settings, on_existing=config.on_existing)
        try:
            rewrite_jsonl(rundir.rows, rows)
            done = finish_run(folder, clean=config.clean_conv, export=config.export, protocol=protocol)
            rundir.write_manifest({"config": settings, "yield": done.filter_report.as_dict()})
        finally:
            rundir.close()
    print_finished(done, console)


def require_import_of(folder: Path, source: Path, *, named: bool) -> None:
    """Raises `UserError` for the folder of a run that an import did not make, and, where no run name was
    given, for that of another file with the same name: an import replaces its rows.
    """
    before = read_yaml(folder / CONFIG).get("file")
    if before is None:
        raise UserError(f"{folder} is a run that an import did not make; take another run_name")
    if not named and Path(str(before)).absolute() != source.absolute():
        raise UserError(f"{folder} is the import of another file ({before}); set run_name to another name")


if __name__ == "__main__":
    run_main(main)
