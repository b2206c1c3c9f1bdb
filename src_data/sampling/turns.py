"""Questions of several groups in turns, so that the first few are of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import TypeVar

from src_core.types import Question

Item = TypeVar("Item")


def in_turns(items: Iterable[Item], question_of: Callable[[Item], Question]) -> list[Item]:
    """The items, one of each group of questions (`Question.group`) after the other. In a turn the groups
    with the fewest hops come first (`meta["hops"]`; unknown or none: last), then those that are met first;
    within a group the order stays.
    """
    groups: dict[str, list[Item]] = {}
    hops: dict[str, float] = {}
    for item in items:
        question = question_of(item)
        groups.setdefault(question.group, []).append(item)
        hops.setdefault(question.group, _hops(question))
    ordered = [groups[name] for name in sorted(groups, key=hops.__getitem__)]
    return [item for turn in zip_longest(*ordered, fillvalue=None) for item in turn if item is not None]


def _hops(question: Question) -> float:
    hops = question.meta.get("hops")
    return hops if isinstance(hops, int) and hops > 0 else float("inf")
