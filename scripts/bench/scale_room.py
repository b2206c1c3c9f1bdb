"""The disk that a run of the benchmark of scale needs, from what it would write."""

from __future__ import annotations

from pathlib import Path

import orjson
from scale_config import ScaleConfig
from scale_text import BLOCK, Pieces, block, passage_bytes, pieces_of

from src_retrieval.encoders.base import EncoderOptions
from src_retrieval.encoders.load import load_encoder
from src_retrieval.sparse.bm25_build import disk_need as words_need
from src_retrieval.sparse.bm25_build import tokenise
from src_retrieval.vector.faiss_build import DenseOptions, need_of
from src_retrieval.vector.faiss_index import DenseType
from src_retrieval.vector_files import row_bytes

ROW_TABLES = 3 * 8
"""Of a passage: where it begins, its hashed id, and the row of that hash."""


def disk_need(config: ScaleConfig) -> dict[str, int]:
    """Bytes by part, at their peak."""
    pieces = pieces_of(Path(config.source), sentence_bytes=config.sentence_bytes)
    dim = load_encoder(config.encoder, EncoderOptions()).identity.dim
    rows = config.rows
    return {
        "corpus": int(rows * (passage_bytes(pieces) + ROW_TABLES)),
        "vectors": rows * row_bytes(dim, half=True),
        "codes": need_of(DenseType.PQ, rows=rows, dim=dim, options=DenseOptions()).disk,
        "words": words_need(lambda start, stop: _contents(pieces, start, stop), rows, tokenise),
        "centres": config.centres * (row_bytes(dim, half=False) + 1_000),
    }


def _contents(pieces: Pieces, start: int, stop: int) -> list[str]:
    return [orjson.loads(line)["contents"] for line in block(pieces, start // BLOCK, start, stop - start)]
