"""Pairs as token ids: the query in front, the passage cut to what the query leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from src_core.errors import UserError
from src_retrieval.rerankers.base import Pair, RerankOptions

TOKENIZER, CONFIG = "tokenizer.json", "config.json"
NO_LIMIT = 1 << 30


class TokenPair(NamedTuple):
    """Ids of one pair with its special tokens, and the segment that each belongs to."""

    ids: list[int]
    types: list[int]


class PairBatch(NamedTuple):
    """Padded int64 [pairs, tokens]."""

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    types: NDArray[np.int64]


class PairTokenizer:
    """The tokenizer of a model folder. What is cut is the passage only (`only_second`); a query longer than
    its own limit is cut before, or a hostile one would leave no room for any passage.
    """

    def __init__(self, folder: Path, options: RerankOptions) -> None:
        from tokenizers import Tokenizer

        path = folder / TOKENIZER
        if not path.is_file():
            raise UserError(f"{folder} has no {TOKENIZER}; give a reranker's folder in hub layout")
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        config = model_config(folder)
        self.max_length = min(options.max_length, positions(config))
        self._room = self.max_length - self._tokenizer.num_special_tokens_to_add(is_pair=True)
        self._query_length = min(options.query_max_length, self._room // 2)
        self._pad = int(config.get("pad_token_id") or 0)

    def encode(self, pairs: Sequence[Pair]) -> list[TokenPair]:
        """Each query is split once, however many passages it stands before."""
        texts = list(dict.fromkeys(pair.query for pair in pairs))
        queries = dict(zip(texts, self._split(texts, self._query_length), strict=True))
        passages = self._split([pair.passage for pair in pairs], self._room)
        self._tokenizer.no_truncation()
        found = []
        for pair, passage in zip(pairs, passages, strict=True):
            query = queries[pair.query]
            passage.truncate(min(len(passage.ids), self._room - len(query.ids)))
            joined = self._tokenizer.post_process(query, passage)
            found.append(TokenPair(joined.ids, joined.type_ids))
        return found

    def batch(self, pairs: Sequence[TokenPair]) -> PairBatch:
        """Padded to the longest."""
        shape = (len(pairs), max(len(pair.ids) for pair in pairs))
        ids = np.full(shape, self._pad, dtype=np.int64)
        mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for at, pair in enumerate(pairs):
            ids[at, : len(pair.ids)] = pair.ids
            types[at, : len(pair.ids)] = pair.types
            mask[at, : len(pair.ids)] = 1
        return PairBatch(ids, mask, types)

    def _split(self, texts: list[str], most: int) -> list[Any]:
        """Encodings without special tokens, at most `most` tokens each."""
        self._tokenizer.enable_truncation(most)
        found: list[Any] = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return found


def positions(config: dict[str, Any]) -> int:
    """Tokens that a model has positions for; RoBERTa's begin behind its padding."""
    known = int(config.get("max_position_embeddings") or NO_LIMIT)
    shifted = "roberta" in str(config.get("model_type"))
    return known - int(config.get("pad_token_id") or 0) - 1 if shifted else known


def model_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model folder. Raises `UserError` when there is none."""
    path = folder / CONFIG
    try:
        values = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UserError(f"{path} cannot be read; give a reranker's folder in hub layout") from error
    return values if isinstance(values, dict) else {}
