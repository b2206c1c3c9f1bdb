"""A picture of one recorded trajectory: `python -m src_infer.picture runs/NAME [NUMBER] [OUT.svg]`
(NUMBER from 1).
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.text import Text

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.rundir import ROWS
from src_core.types import trajectory_from_json
from src_infer.show import save_svg


def main() -> None:
    """Read one row of a run and write its SVG."""
    if not 2 <= len(sys.argv) <= 4:
        raise UserError("usage: .venv/bin/python -m src_infer.picture runs/NAME [NUMBER] [OUT.svg]")
    rows = Path(sys.argv[1]) / ROWS
    if not rows.is_file():
        raise UserError(f"no {ROWS} in {sys.argv[1]}; name the directory of a finished run")
    lines = rows.read_bytes().splitlines()
    number = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2].isdigit() else 1
    if not 1 <= number <= len(lines):
        raise UserError(f"{rows} has {len(lines)} rows, there is no row {number}; give a smaller number")
    out = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(sys.argv[1]) / f"trajectory-{number}.svg"
    save_svg(trajectory_from_json(lines[number - 1]), out, title=f"ReaRAG, {rows.parent.name}, row {number}")
    Terminal().print(Text(f"written: {out}"))


if __name__ == "__main__":
    run_main(main)
