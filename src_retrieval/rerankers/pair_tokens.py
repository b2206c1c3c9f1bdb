"""Pairs as token ids: first the query, then the passage, cut to the rest of the length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError
from src_core.json_file import read_object, whole_number
from src_core.tokenizer_file import open_tokenizer
from src_retrieval.rerankers.base import Pair, RerankOptions

TOKENIZER, CONFIG = "tokenizer.json", "config.json"
NO_LIMIT = 1 << 30
ADVICE = "give the folder of a reranker in hub layout"


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
    """The tokenizer of a model folder. Only the passage is cut (`only_second`); a query above its own limit
    is cut before, since a very long query would leave no room for a passage.
    """

    def __init__(self, folder: Path, options: RerankOptions) -> None:
        path = folder / TOKENIZER
        if not path.is_file():
            raise UserError(f"{folder} has no {TOKENIZER}; give a reranker's folder in hub layout")
        self._tokenizer = open_tokenizer(path)
        self._tokenizer.no_padding()
        config = model_config(folder)
        self.max_length = min(options.max_length, positions(config, folder / CONFIG))
        self._room = self.max_length - self._tokenizer.num_special_tokens_to_add(is_pair=True)
        if self._room < 2:
            raise UserError(f"the model in {folder} has {self.max_length} positions, no pair fits; {ADVICE}")
        self._query_length = min(options.query_max_length, self._room // 2)
        self._pad = _padding(config, folder / CONFIG)

    def encode(self, pairs: Sequence[Pair]) -> list[TokenPair]:
        """Each query is tokenised once for all its passages."""
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


def positions(config: dict[str, Any], path: Path) -> int:
    """The number of positions of the model in tokens; RoBERTa's begin after its padding index."""
    known = whole_number(config, "max_position_embeddings", path=path, advice=ADVICE, default=NO_LIMIT)
    shifted = "roberta" in str(config.get("model_type"))
    return known - _padding(config, path) - 1 if shifted else known


def _padding(config: dict[str, Any], path: Path) -> int:
    return whole_number(config, "pad_token_id", path=path, advice=ADVICE, default=0, least=0)


def model_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model folder. Raises `UserError` when there is none."""
    return read_object(folder / CONFIG, advice=ADVICE)
