"""One stage of the benchmark of scale; `scale.sh` runs them in their order.

    python scripts/bench/scale.py STAGE rows=1000000 folder=indexes/scale_1m

A stage that has its record in `folder` is not run again, and one that was interrupted is resumed:
`corpus` and `vectors` after the last saved block, `build` as the builder does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import orjson
from process_memory import Sampler
from scale_config import ScaleConfig, Stage, key, measured
from scale_room import disk_need
from scale_serve import recall, serve, serve_limited
from scale_text import pieces_of, questions_of, write_corpus
from scale_vectors import Exact, make_vectors, queries_of
from scale_words import compare
from synthetic import Clustered

from src_core.config import load_config
from src_core.console import Terminal
from src_core.download import require_room
from src_core.errors import UserError, run_main
from src_core.progress import Steps
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig
from src_retrieval.layout import IndexLayout
from src_retrieval.unpack import corpus_rows
from src_retrieval.vector.base import map_vectors


def main() -> None:
    """Run the stage that is named first."""
    name, *arguments = sys.argv[1:] or [""]
    if name not in STAGES:
        raise UserError(f"no stage is called {name!r}; there are: {', '.join(STAGES)}")
    config = load_config(ScaleConfig, None, arguments)
    steps = Steps(Terminal(stderr=True))
    config.root.mkdir(parents=True, exist_ok=True)
    _require_same(config)
    if config.record(name).is_file():
        steps.console.print(f"{name}: done before, see {config.record(name)}")
        return
    with measured(config, name) as stage:
        STAGES[name](config, stage, steps)


def _require_same(config: ScaleConfig) -> None:
    """Raises `UserError` for a folder that was made with other settings."""
    mark = config.root / "made_with"
    if not mark.is_file():
        mark.write_text(key(config))
    if mark.read_text() != key(config):
        raise UserError(
            f"{config.root} was made with other rows or vectors; name another folder, or delete it"
        )


def room(config: ScaleConfig, stage: Stage, steps: Steps) -> None:
    """Say what the run needs on the disk; end where that is not free."""
    need = disk_need(config)
    parts = ", ".join(f"{name} {size / 1e9:.1f} GB" for name, size in need.items())
    held = sum(path.stat().st_blocks * 512 for path in config.root.rglob("*") if path.is_file())
    total = sum(need.values())
    steps.console.print(f"{config.rows:,} passages need {total / 1e9:.1f} GB on the disk: {parts}")
    require_room(f"a run of {config.rows:,} passages", config.root, max(0, total - held))
    stage.figures |= {"bytes_needed": total, **{f"bytes_of_{name}": size for name, size in need.items()}}


def corpus(config: ScaleConfig, stage: Stage, steps: Steps) -> None:
    """Make the passages."""
    pieces = pieces_of(Path(config.source), sentence_bytes=config.sentence_bytes)
    write_corpus(config.corpus, pieces, config.rows, key=key(config), steps=steps)
    stage.figures |= {"rows": config.rows, "bytes": config.corpus.stat().st_size}


def vectors(config: ScaleConfig, stage: Stage, steps: Steps) -> None:
    """Encode the centres, make the vectors around them, find the exact neighbours of the queries."""
    drawn = _drawn(config, steps)
    exact = Exact(config.root / "exact.npz", queries_of(drawn, config.queries), key=key(config))
    make_vectors(_build_config(config), drawn, exact, config.rows, steps)
    np.save(config.root / "queries.npy", queries_of(drawn, config.queries))
    stage.figures |= {"rows": config.rows, "queries": config.queries, "centres": config.centres}


def build(config: ScaleConfig, stage: Stage, _: Steps) -> None:
    """Build PQ with fp16 vectors, and BM25, in the builder's own process."""
    command = [sys.executable, "-m", "src_retrieval.build", config.index, *config.build_settings()]
    builder = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": str(config.threads)})
    sampler = Sampler(builder.pid, dirty=False)
    if builder.wait():
        raise UserError(
            f"the builder ended with {builder.returncode}; see its message above, then run this again"
        )
    files = [path for path in config.layout.root.rglob("*") if path.is_file()]
    stage.figures["private_mb"] = sampler.peak().anonymous
    stage.figures["bytes"] = {
        str(path.relative_to(config.layout.root)): path.stat().st_size for path in sorted(files)
    }


def words(config: ScaleConfig, stage: Stage, steps: Steps) -> None:
    """Compare our BM25 with two libraries."""
    stage.figures |= compare(config, questions_of(config.questions), steps)


def _drawn(config: ScaleConfig, steps: Steps) -> Clustered:
    """The generator around vectors of real passages, which the builder encodes."""
    chosen, layout = config.root / "centres.jsonl", IndexLayout(config.root / "centres")
    if not chosen.is_file():
        rows = list(corpus_rows(Path(config.source)))
        some = rows[:: max(1, len(rows) // config.centres)][: config.centres]
        lines = (orjson.dumps({"id": row.id, "contents": row.contents}) + b"\n" for row in some)
        chosen.write_bytes(b"".join(lines))
    made = BuildConfig(corpus=str(chosen), index_dir=str(layout.root), type="flat", encoder=config.encoder)
    manifest = build_index(made, steps=steps)
    assert manifest.encoder is not None
    real = map_vectors(layout.vectors, rows=manifest.rows, dim=manifest.encoder.dim)
    return Clustered.around(np.array(real), noise=config.noise)


def _build_config(config: ScaleConfig) -> BuildConfig:
    return load_config(BuildConfig, Path(config.index), config.build_settings())


STAGES: dict[str, Callable[[ScaleConfig, Stage, Steps], Any]] = {
    "room": room,
    "corpus": corpus,
    "vectors": vectors,
    "build": build,
    "recall": recall,
    "serve": serve,
    "limited": serve_limited,
    "words": words,
}


if __name__ == "__main__":
    run_main(main)
