"""A language model as listwise reranker: it orders a window of passages, which moves from the end of the list
to its head (RankGPT, Sun et al. 2023, arXiv 2304.09542, section 4.2).

How we differ: one user turn holds all passages of a window (there, one turn each, acknowledged by the model),
and the prompt is our own. A reply is a list of numbers; unknown and repeated ones are left out, and passages
that it does not name follow in their old order, as there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from src_retrieval.rerankers.base import Candidates, Reranker, RerankerBackend, RerankOptions
from src_retrieval.rerankers.llm_base import LlmReranker, bounded

_NUMBER = re.compile(r"\d{1,4}")
_TOKENS_PER_PASSAGE = 8


class ListwiseReranker(LlmReranker):
    """The score of a passage is its place in the final order: 1 for the first, falling evenly to 1/n."""

    async def judge(self, lists: Sequence[Candidates]) -> list[list[float]]:
        """See `LlmReranker.judge`; the windows of a list follow each other, lists run side by side."""
        orders = await bounded([partial(self._order, each) for each in lists], self.settings.in_flight)
        found = []
        for order in orders:
            scores = [0.0] * len(order)
            for rank, place in enumerate(order):
                scores[place] = (len(order) - rank) / len(order)
            found.append(scores)
        return found

    async def _order(self, candidates: Candidates) -> list[int]:
        """The places of the passages, best first."""
        order = list(range(len(candidates.passages)))
        for start, stop in windows(len(order), self.settings.window, self.settings.stride):
            here = order[start:stop]
            texts = [candidates.passages[place] for place in here]
            order[start:stop] = [here[at] for at in await self._permutation(candidates.query, texts)]
        return order

    async def _permutation(self, query: str, texts: Sequence[str]) -> list[int]:
        passages = (f"[{number}] {' '.join(self.cut(text).split())}" for number, text in enumerate(texts, 1))
        reply = await self.ask(
            tokens=_TOKENS_PER_PASSAGE * len(texts) + _TOKENS_PER_PASSAGE,
            query=query,
            passages="\n".join(passages),
            count=str(len(texts)),
            form="[2] > [1]" + (" > …" if len(texts) > 2 else ""),
        )
        named = named_places(reply.text, len(texts))
        if not named:
            self.count_unread(reply, "the passages of such a window keep their order")
        return [*named, *(at for at in range(len(texts)) if at not in set(named))]


def windows(count: int, size: int, stride: int) -> list[tuple[int, int]]:
    """The windows of a list, from its end to its head; none for fewer than two passages. The last one begins
    at 0.
    """
    if count < 2:
        return []
    found = []
    stop = count
    while True:
        start = max(0, stop - size)
        found.append((start, stop))
        if start == 0:
            return found
        stop -= min(stride, size - 1)


def named_places(text: str, count: int) -> list[int]:
    """The places (from 0) that a reply names by numbers from 1 to `count`, each once."""
    numbers = (int(found) for found in _NUMBER.findall(text))
    return list(dict.fromkeys(number - 1 for number in numbers if 1 <= number <= count))


class ListwiseBackend(RerankerBackend):
    """`type: llm_listwise`."""

    kinds = ("llm_listwise",)
    asks_llm = True

    def load(self, options: RerankOptions) -> Reranker:
        """See `RerankerBackend.load`."""
        if options.llm is None:
            raise ValueError("load_reranker checks the section rerank.llm")
        return ListwiseReranker(options, options.llm, "listwise")


BACKEND = ListwiseBackend()
