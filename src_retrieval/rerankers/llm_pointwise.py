"""A language model as pointwise reranker: does the passage help, yes or no?

The score is the log-odds of the two answers at the first token, log P(yes) - log P(no), summed over spellings
(Liang et al. 2022, "Holistic evaluation of language models"; monoT5 and Qwen3-Reranker do the same with their
own prompts). The server has to return log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from src_core.errors import ModelError
from src_core.llm import Token
from src_retrieval.rerankers.base import Candidates, Pair, Reranker, RerankerBackend, RerankOptions
from src_retrieval.rerankers.llm_base import LlmReranker, bounded

LIKELIEST = 20
"""Tokens per position: the most that servers return."""
UNREAD = -100.0
"""The score where neither answer is among the likely tokens: below each passage that was judged."""


class PointwiseReranker(LlmReranker):
    """One request per distinct pair."""

    async def judge(self, lists: Sequence[Candidates]) -> list[list[float]]:
        """See `LlmReranker.judge`."""
        pairs = list(dict.fromkeys(Pair(query, text) for query, texts in lists for text in texts))
        scores = await bounded([partial(self._one, pair) for pair in pairs], self.settings.in_flight)
        known = dict(zip(pairs, scores, strict=True))
        return [[known[Pair(query, text)] for text in texts] for query, texts in lists]

    async def _one(self, pair: Pair) -> float:
        reply = await self.ask(tokens=1, logprobs=LIKELIEST, query=pair.query, passage=self.cut(pair.passage))
        if not reply.tokens or not reply.tokens[0].likeliest:
            raise ModelError(
                f"{self.identity.name} returns no log-probabilities, which rerank.type=llm_pointwise needs; "
                "take llm_listwise, or another server"
            )
        odds = log_odds(reply.tokens[0])
        if odds is None:
            self.count_unread(reply, "a passage without Yes or No ranks last")
        return UNREAD if odds is None else odds


def log_odds(token: Token) -> float | None:
    """log P(yes) - log P(no) at a position. An answer that is not among the likely tokens counts as likely as
    the least likely of them; None where both are missing.
    """
    sums = {"yes": 0.0, "no": 0.0}
    for text, logprob in token.likeliest:
        word = text.strip(" \n\t.,:*\"'\u2581\u0120").lower()
        if word in sums:
            sums[word] += math.exp(min(logprob, 0.0))
    if not any(sums.values()):
        return None
    least = math.exp(min(logprob for _, logprob in token.likeliest))
    yes, no = (max(value or least, 1e-30) for value in sums.values())
    return math.log(yes) - math.log(no)


class PointwiseBackend(RerankerBackend):
    """`type: llm_pointwise`."""

    kinds = ("llm_pointwise",)
    asks_llm = True

    def load(self, options: RerankOptions) -> Reranker:
        """See `RerankerBackend.load`."""
        if options.llm is None:
            raise ValueError("load_reranker checks the section rerank.llm")
        return PointwiseReranker(options, options.llm, "pointwise")


BACKEND = PointwiseBackend()
