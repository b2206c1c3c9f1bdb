"""Stage I's training data from explored trees (DeepRAG; reference deeprag.md section 7):

    python -m src_data.deeprag.imitation RUN_DIR [path=most] [clean.min_f1=0.8] [export.validation_share=0.1]

One right path per question goes through the filters and the export of data construction, so that rejected
rows, counts by reason and provenance are those of `src_data.postprocess`. Settings that are not named are
those of the exploration. `chosen.jsonl` holds the paths.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from src_core.errors import UserError, run_main
from src_core.jsonl import read_jsonl, rewrite_jsonl
from src_core.protocols.deeprag import DeepRag
from src_core.rundir import ROWS
from src_core.types import Trajectory, to_json
from src_data.deeprag.config import ImitationConfig, last_step_config
from src_data.deeprag.paths import PathChoice, choose_leaf
from src_data.deeprag.tree_rows import read_tree_row
from src_data.postprocess import Finished, finish_run, print_finished
from src_infer.search_record import SearchMode, answer_of
from src_infer.show import report_console


def imitate(run_dir: Path, config: ImitationConfig) -> Finished:
    """Choose, filter and export. Raises `UserError` where there are no trees, or where they hold only the
    cheapest path and another is wanted.
    """
    rows = run_dir / ROWS
    if not rows.is_file():
        raise UserError(f"there are no trees in {run_dir}; explore some first (src_data.deeprag.explore)")
    rewrite_jsonl(run_dir / config.clean.input_file, _chosen(rows, config))
    return finish_run(run_dir, clean=config.clean, export=config.export, protocol=DeepRag())


def _chosen(rows: Path, config: ImitationConfig) -> Iterator[bytes]:
    """The rows with the chosen path, without the tree. A row without a right leaf keeps its best path, which
    the filter rejects.
    """
    for number, raw in enumerate(read_jsonl(rows), start=1):
        row = read_tree_row(raw, place=f"{rows}, line {number}")
        chain = row.trajectory
        if row.tree is not None:
            if config.path is not PathChoice.LEAST and row.tree.mode is SearchMode.FIRST:
                raise UserError(
                    f"{rows} holds trees that end at their cheapest right path, so path={config.path} has no "
                    "choice; use path=least, or explore the questions with mode=all"
                )
            leaf = choose_leaf(row.tree, config.path, seed=f"{config.seed}/{chain.question.id}")
            if leaf is not None:
                chain = replace(chain, steps=row.tree.prefix(leaf).steps, answer=answer_of(leaf))
        yield to_json(_without_tree(chain))


def _without_tree(chain: Trajectory) -> Trajectory:
    return replace(chain, provenance={k: v for k, v in chain.provenance.items() if k != "tree"})


def main() -> None:
    """Read the command line, write the files, print the table."""
    if len(sys.argv) < 2 or "=" in sys.argv[1]:
        raise UserError("usage: .venv/bin/python -m src_data.deeprag.imitation RUN_DIR [key=value ...]")
    config = last_step_config(ImitationConfig, Path(sys.argv[1]), "imitation", sys.argv[2:])
    print_finished(imitate(Path(sys.argv[1]), config), report_console())


if __name__ == "__main__":
    run_main(main)
