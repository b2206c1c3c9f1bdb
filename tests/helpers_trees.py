"""Random trees for tests of the tree search: an expander whose replies follow from a seed, and the best leaf
found by brute force.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from src_core.errors import ModelError
from src_core.types import DirectAnswer, Finish, Passage, Search, Step, Usage
from src_infer.episode import Node
from src_infer.search_record import Asked, Expander, Failure

COST = Usage(1, 10, 2)
RIGHT, WRONG = "right", "wrong"
GOLD = "The passage that no query finds."


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
        answer = self.final(path)
        return Step(len(node.steps) + 1, f"It is {answer}.", Finish(answer), usage=COST)

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


class MergingTree(RandomTree):
    """As `RandomTree`, but half of the answers are the same from either side, and all that follows depends on
    the answers alone.
    """

    def state(self, node: Node) -> str:
        return self.answers(path_of(node))

    def answers(self, path: str) -> str:
        """The path, with X where both sides say the same."""
        found = ""
        for letter in path:
            found += "X" if super().draw(found + "=") < 0.5 else letter
        return found

    def draw(self, place: str) -> float:
        path = re.match("[DS]*", place)
        assert path is not None
        return super().draw(self.answers(path[0]) + place[path.end() :])

    def final(self, path: str) -> str:
        chance = {"D": self.odds.direct, "S": self.odds.search, "X": self.odds.search}
        said = self.answers(path)
        good = all(
            RandomTree.draw(self, said[:at] + "?" + letter) < chance[letter] for at, letter in enumerate(said)
        )
        return RIGHT if good and path else WRONG


def path_of(node: Node) -> str:
    """The branches on the path to a node, as letters."""
    return "".join("S" if isinstance(step.action, Search) else "D" for step in node.steps)


def facts(item: int) -> int:
    """How many sub-questions item `item` takes."""
    return item % 3 + 1


def knows(item: int, fact: int) -> bool:
    """Whether the model knows a fact without a search."""
    return (item + fact) % 2 == 0


async def tree_reply(body: dict[str, Any]) -> str:
    """The reply of a teacher or a student in a role of DeepRAG that is asked about `item K` (of
    `helpers_llm.write_items`). A search finds every fact but those of items 6, 13, 20, …, which only `GOLD`
    holds.
    """
    last = body["messages"][-1]
    written = last["content"] if last["role"] == "assistant" else ""
    item = int(re.findall(r"item (\d+)", str(body["messages"]))[-1])
    await asyncio.sleep(0.002 * (item % 4))
    *before, now = written.split("Follow up:")
    if written == "Answer:" or ("Context:" in now and now.endswith("Intermediate answer:")):
        return _found(body, item)
    answered = written.count("Intermediate answer: ")
    if now.endswith("Intermediate answer:"):
        said = "fact" if knows(item, answered + 1) else "guess"
        return f" {said} {answered + 1}"
    answer = f"item-{item}" if "guess" not in written and answered == facts(item) else "another"
    if now.endswith("<answer long>"):
        return f"It is {answer}.</answer long><answer short>{answer}</answer short>"
    if answered == facts(item):
        end = f"<answer long>It is {answer}.</answer long><answer short>{answer}</answer short>"
        return f"So the final answer is: {end}"
    asked = f" What is fact {answered + 1} of item {item}?"
    return asked if before and not now else f"Follow up:{asked}"


def _found(body: dict[str, Any], item: int) -> str:
    asked = re.findall(r"fact (\d+) of item", str(body["messages"]))[-1]
    nothing = item % 7 == 6 and GOLD not in str(body["messages"])
    return " [No related Info]" if nothing else f" fact {asked}"
