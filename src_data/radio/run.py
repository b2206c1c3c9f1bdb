"""RADIO's data stages: `python -m src_data.radio.run STAGE CONFIG.yaml [key=value …]` (called by `bash
scripts/radio.sh`).

    rationales   a model explains the gold answer of each training question
    candidates   the retriever's best passages of the training and of the evaluation questions
    scores       each candidate's similarity to the rationale, beside the retriever's score
    blend        both scores mixed, groups drawn from them: training rows for a reranker
    rank         every reranker scores the candidates of the evaluation questions
    mmlu         candidates of multiple-choice questions, and every reranker's scores of them

Each stage reads what the earlier ones wrote in `runs/<run_name>/` (`files`), resumes after an interruption,
and prints what it counted. Exit status 1 when a model or search call failed for good; the same command tries
those again. With `--check` a stage only reports errors in settings and question files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from src_core.caller import named_run
from src_core.config import load_config
from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_data.radio import rank_stages, server_stages, table_stages
from src_data.radio.config import RadioConfig
from src_data.radio.files import held
from src_data.radio.stage import Stage, evaluation_questions, training_questions

CHECK = "--check"
STAGES: dict[str, Callable[[Stage], int]] = {
    "rationales": server_stages.write_rationales,
    "candidates": server_stages.collect_candidates,
    "scores": table_stages.score,
    "blend": table_stages.blend,
    "rank": rank_stages.rank_all,
    "mmlu": rank_stages.mmlu,
}


def main() -> int:
    """Read the command line and run one stage."""
    given = [argument for argument in sys.argv[1:] if argument != CHECK]
    if len(given) < 2 or given[0] not in STAGES or "=" in given[1]:
        names = " | ".join(STAGES)
        raise UserError(f"usage: .venv/bin/python -m src_data.radio.run {names} CONFIG.yaml [key=value ...]")
    config = load_config(RadioConfig, Path(given[1]), given[2:])
    out, err = Terminal(narrowest=120), Terminal(stderr=True)
    stage = Stage(config, config.folder, training_questions(config, err), out, err)
    if CHECK in sys.argv:
        evaluation_questions(config)
        return 0
    try:
        with held(config.folder):
            return STAGES[given[0]](stage)
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt(named_run(config.run_name)) from stopped


if __name__ == "__main__":
    run_main(main)
