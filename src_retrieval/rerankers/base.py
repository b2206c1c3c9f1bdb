"""The base type of a reranker, its options, and the code that all rerankers share: batches of pairs by token
budget.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from src_core.config import Count, InFlight, Positive, config_class
from src_core.llm import Endpoint
from src_retrieval.encoders.base import Device
from src_retrieval.results import FloatArray


class Pair(NamedTuple):
    """The input of a reranker: a query and the `contents` of a passage."""

    query: str
    passage: str


class Candidates(NamedTuple):
    """The passages (their `contents`) of one query, in the order of the search."""

    query: str
    passages: Sequence[str]


class RerankPrecision(StrEnum):
    """The weights of a folder to run. `auto`: an ONNX file where there is one (int8 before fp32), else
    torch.
    """

    AUTO = "auto"
    INT8 = "int8"
    FP32 = "fp32"
    TORCH = "torch"


@config_class
class LlmOptions:
    """The section `rerank.llm`: a language model as reranker. Of a passage it reads `passage_chars`
    characters; `in_flight` requests are sent at once. `window` and `stride` are the passages that a listwise
    one orders at once, and how far the window moves (RankGPT's are 20 and 10).
    """

    endpoint: Endpoint = Endpoint()
    passage_chars: Positive = 1_200
    in_flight: InFlight = 16
    window: Annotated[int, Field(ge=2)] = 20
    stride: Positive = 10


@config_class
class RerankOptions:
    """The section `rerank` of a server. `type` is a module of `rerankers/`, `model` a folder in hub layout, a
    hub name or a registry name; a language model is described in `llm` instead. `top_n` candidates are
    retrieved (or the requested number, if that is larger), all are scored, the best are returned.

    `max_length` (tokens of a pair) and `use_fp16` (on a GPU) are FlashRAG's `rerank_max_length` and
    `rerank_use_fp16`. Instead of its `rerank_batch_size`, `batch_tokens` bounds the padded tokens of a batch.
    A query is cut to `query_max_length` tokens, a passage to the rest. `retrieval_weight` is the share of the
    retriever's scores in the order, both scaled over the candidates of a query (`src_retrieval.fusion`): a
    reranker of few training rows mistakes what the retriever knows. `sigmoid` maps the raw score (a logit,
    for most models) to 0 to 1, which changes no order. `max_batch` queries are reranked together; `family` is
    for a bi-encoder whose folder does not name its family; `threads` 0 means all physical cores.
    """

    model: str = ""
    type: str = "cross_encoder"
    llm: LlmOptions | None = None
    top_n: Annotated[int, Field(ge=1)] = 20
    max_length: Annotated[int, Field(ge=16)] = 512
    query_max_length: Annotated[int, Field(ge=1)] = 128
    batch_tokens: Annotated[int, Field(ge=1)] = 16_384
    max_batch: Annotated[int, Field(ge=1)] = 8
    sigmoid: bool = False
    retrieval_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    precision: RerankPrecision = RerankPrecision.AUTO
    device: Device = Device.AUTO
    use_fp16: bool = True
    threads: Count = 0
    family: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class RerankerIdentity:
    """The values that determine the scores: the weights and the settings of the reranker."""

    type: str
    name: str
    precision: str
    sha256: str
    max_length: int
    query_max_length: int
    sigmoid: bool


class Reranker(ABC):
    """Scores pairs of a query and a passage. Used by one thread at a time. `local`: whether it computes in
    this process, so that a first call makes the next ones faster; a call of others may cost money.
    """

    identity: RerankerIdentity
    local: bool = True

    @abstractmethod
    def score(self, pairs: Sequence[Pair]) -> FloatArray:
        """float32 [pairs], higher is better. The score of a pair depends neither on the other queries in
        `pairs` nor on their order, except for rounding. Consecutive pairs of one query are its candidates.
        """

    def score_lists(self, lists: Sequence[Candidates]) -> list[FloatArray]:
        """float32 [passages] for the candidates of each query, batched together."""
        if not lists:
            return []
        pairs = [Pair(query, passage) for query, passages in lists for passage in passages]
        scores = self.score(pairs) if pairs else np.zeros(0, dtype=np.float32)
        ends = np.cumsum([len(each.passages) for each in lists])
        return np.split(scores, ends[:-1])

    def count_tokens(self, pairs: Sequence[Pair]) -> int | None:
        """The tokens that `score` reads of these pairs; None where it does not count them."""
        del pairs
        return None

    def close(self) -> None:  # noqa: B027 - most rerankers hold nothing
        """Release connections."""


class RerankerBackend(ABC):
    """Loads the rerankers of its `kinds` (values of `rerank.type`). `asks_llm`: they are described by the
    section `llm`, not by a model.
    """

    kinds: tuple[str, ...]
    asks_llm: bool = False

    @abstractmethod
    def load(self, options: RerankOptions) -> Reranker:
        """Load a reranker. Raises `UserError` when the model is not available or not a reranker."""


def in_token_batches(
    lengths: Sequence[int], budget: int, score: Callable[[list[int]], FloatArray]
) -> FloatArray:
    """Scores by batches of similar length, at most `budget` padded tokens each, in the original order."""
    out = np.empty(len(lengths), dtype=np.float32)
    for chosen in token_batches(lengths, budget):
        out[chosen] = score(chosen)
    return out


def token_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices into `lengths`, longest first, so that memory, if it is too small, runs out in the first batch.
    A single pair above the budget is a separate batch.
    """
    order = sorted(range(len(lengths)), key=lambda at: -lengths[at])
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def list_by_list(
    lists: Sequence[Candidates], score: Callable[[Sequence[Pair]], FloatArray]
) -> list[FloatArray]:
    """`Reranker.score_lists` for weights as in `query_by_query`: two callers may send the same query."""
    pairs = [[Pair(query, passage) for passage in passages] for query, passages in lists]
    return [score(each) if each else np.zeros(0, dtype=np.float32) for each in pairs]


def query_by_query(pairs: Sequence[Pair], score: Callable[[Sequence[Pair]], FloatArray]) -> FloatArray:
    """Scores that do not depend on the other queries: for weights whose activations are quantised with one
    scale per batch. Consecutive pairs of one query go together.
    """
    out = np.empty(len(pairs), dtype=np.float32)
    start = 0
    while start < len(pairs):
        stop = start + 1
        while stop < len(pairs) and pairs[stop].query == pairs[start].query:
            stop += 1
        out[start:stop] = score(pairs[start:stop])
        start = stop
    return out


def sigmoid(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), without overflow."""
    half: FloatArray = np.float32(0.5) * (np.float32(1.0) + np.tanh(np.float32(0.5) * logits))
    return half
