"""Random trees for tests of the tree search: an expander whose replies follow from a seed, and the best leaf
found by brute force.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from src_core.errors import ModelError
from src_core.types import DirectAnswer, Finish, Passage, Search, Step, Usage
from src_infer.episode import Node
from src_infer.search_record import Asked, Expander, Failure

COST = Usage(1, 10, 2)
RIGHT, WRONG = "right", "wrong"


class Odds(NamedTuple):
    """Chances: that a path ends after a step, that a direct and a retrieved answer is right, that a reply is
    no step. `longest`: sub-questions after which a path ends.
    """

    longest: int = 4
    ends: float = 0.2
    direct: float = 0.4
    search: float = 0.65
    fails: float = 0.1


def is_right(answer: str) -> bool:
    return answer == RIGHT


class RandomTree(Expander):
    """All replies follow from the seed and the place in the tree. `calls` lists what was asked; `broken` is
    a call (its number) at which the server fails.
    """

    def __init__(self, seed: int, odds: Odds | None = None, *, broken: int | None = None) -> None:
        self.seed = seed
        self.odds = odds or Odds()
        self.broken = broken
        self.calls: list[str] = []
        self.now = self.most = 0

    async def propose(self, node: Node) -> Asked | Failure:
        path = path_of(node)
        await self._call(f"propose {path}")
        return self.proposal(path)

    async def answer_directly(self, node: Node, sub_question: str) -> Step | Failure:
        return await self._answer(node, sub_question, "D")

    async def answer_after_search(self, node: Node, sub_question: str) -> Step | Failure:
        return await self._answer(node, sub_question, "S")

    async def finish(self, node: Node) -> Step | Failure:
        path = path_of(node)
        await self._call(f"finish {path}")
        if self.fails(path + "F"):
            return Failure("malformed", COST)
        return Step(len(node.steps) + 1, "", Finish(self.final(path)), usage=COST)

    def proposal(self, path: str) -> Asked | Failure:
        if self.fails(path + "P"):
            return Failure("empty", COST)
        ends = len(path) >= self.odds.longest or (path and self.draw(path + "E") < self.odds.ends)
        return Asked("" if ends else f"What is {path or 'first'}?", COST)

    def final(self, path: str) -> str:
        good = all(
            self.draw(path[: at + 1]) < (self.odds.direct if path[at] == "D" else self.odds.search)
            for at in range(len(path))
        )
        return RIGHT if good and path else WRONG

    def fails(self, place: str) -> bool:
        return self.draw(place + "!") < self.odds.fails

    def draw(self, place: str) -> float:
        digest = hashlib.blake2b(f"{self.seed}/{place}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") / 2**32

    def best(self, path: str = "") -> tuple[int, int] | None:
        """Retrievals and steps of the best right leaf below `path`, by brute force."""
        return min(((leaf.count("S"), len(leaf)) for leaf in self.right_leaves(path)), default=None)

    def right_leaves(self, path: str = "") -> Iterator[str]:
        proposal = self.proposal(path)
        if isinstance(proposal, Failure):
            return
        if not proposal.sub_question:
            if not self.fails(path + "F") and self.final(path) == RIGHT:
                yield path
            return
        for letter in "DS":
            if not self.fails(path + letter):
                yield from self.right_leaves(path + letter)

    async def _answer(self, node: Node, sub_question: str, letter: str) -> Step | Failure:
        path = path_of(node) + letter
        await self._call(f"answer {path}")
        if self.fails(path):
            return Failure("empty", COST)
        if letter == "D":
            return Step(len(path), "", DirectAnswer(sub_question, f"answer {path}"), usage=COST)
        found = (Passage(f"p{path}", "A title", f"A title\nText of {path}."),)
        return Step(
            len(path), "", Search(sub_question), f"Text of {path}.", found,
            conclusion=f"answer {path}", usage=COST,
        )  # fmt: skip

    async def _call(self, what: str) -> None:
        self.calls.append(what)
        number = len(self.calls)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if number == self.broken:
            raise ModelError("the server is gone", retryable=True)


def path_of(node: Node) -> str:
    """The branches on the path to a node, as letters."""
    return "".join("S" if isinstance(step.action, Search) else "D" for step in node.steps)
