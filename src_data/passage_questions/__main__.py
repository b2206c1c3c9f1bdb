"""Make training questions from a corpus: `python -m src_data.passage_questions corpus=CORPUS out=FILE
evaluation_files=[DEV.jsonl] [key=value ...]`.

The settings are `src_data/passage_questions/config.py`. It prints how many questions of each kind were made,
and how many were left out for which reason.
"""

from __future__ import annotations

import sys

from rich.table import Table

from src_core.config import load_config
from src_core.errors import run_main
from src_data.passage_questions.config import QuestionsConfig
from src_data.passage_questions.make import make_questions
from src_infer.show import report_console


def main() -> None:
    """Read the command line, make the questions, print the counts."""
    config = load_config(QuestionsConfig, None, sys.argv[1:])
    report = make_questions(config)
    table = Table("questions", "kind", title=f"{sum(report.kinds.values()):,} questions in {config.out}")
    for kind, count in sorted(report.kinds.items()):
        table.add_row(f"{count:,}", kind)
    for reason, count in report.dropped.most_common():
        table.add_row(f"{count:,}", f"left out: {reason}")
    console = report_console()
    console.print(table)
    console.print(
        f"{report.passages:,} passages, {report.entities:,} with a definition, {report.facts:,} facts"
    )


if __name__ == "__main__":
    run_main(main)
