"""Make a corpus about an invented world: `python -m src_data.fictional_corpus out=CORPUS.jsonl [scale=2]
[seed=3]`. The settings are `src_data/fictional_corpus/config.py`.
"""

from __future__ import annotations

import sys

from src_core.config import load_config
from src_core.errors import run_main
from src_core.terminal import answer
from src_data.fictional_corpus.config import FictionConfig
from src_data.fictional_corpus.make import make_corpus


def main() -> None:
    """Read the command line, write the corpus."""
    config = load_config(FictionConfig, None, sys.argv[1:])
    answer(f"{make_corpus(config):,} passages in {config.out}")


if __name__ == "__main__":
    run_main(main)
