"""The blend of two scores and the sampling of groups from it (RADIO, reference radio_flashrag.md, section
1.4). Pure functions.

How we differ from the release: scores are joined by passage id, not by text; a constant list is scaled to
zeros (0/0 there); ties keep the order of the retriever; a short list gives shorter groups (an index error
there).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

SHIFT = tuple(3 + k * (k + 1) // 2 for k in range(6))
"""The ranks of the negatives, from 0: 3, 4, 6, 9, 13, 18. Ranks 1 and 2 are skipped as likely answers."""
FIRST_NEGATIVE = SHIFT[0]
TOP = 20
"""Groups are drawn from the best 20."""
BLOCK = 5


class Sampler(StrEnum):
    """How groups are drawn from a blended list.

    `shift` (published): rank 0 against the ranks of `SHIFT`. `iteration`: within blocks of five ranks, each
    of the first four in turn against the later ones of its block. `shift_all_neg`: rank 0 against all ranks
    from 3 on.
    """

    SHIFT = "shift"
    ITERATION = "iteration"
    SHIFT_ALL_NEG = "shift_all_neg"


class Picked(NamedTuple):
    """One group: positions in the blended list."""

    positives: tuple[int, ...]
    negatives: tuple[int, ...]


def order_of(scores: Sequence[float]) -> list[int]:
    """The positions by descending score; ties keep their order (the retriever's)."""
    return sorted(range(len(scores)), key=lambda at: -scores[at])


def groups_of(length: int, sampler: Sampler) -> list[Picked]:
    """The groups of a list of `length` passages, best first; none where there is no negative. Ranks beyond
    the end are clamped to the last one, each rank once.
    """
    length = min(length, TOP)
    if sampler is Sampler.ITERATION:
        return [
            Picked((at,), tuple(range(at + 1, end)))
            for start in range(0, length, BLOCK)
            for end in [min(start + BLOCK, length)]
            for at in range(start, end - 1)
        ]
    if length <= FIRST_NEGATIVE:
        return []
    ranks = SHIFT if sampler is Sampler.SHIFT else range(FIRST_NEGATIVE, TOP)
    return [Picked((0,), tuple(dict.fromkeys(min(rank, length - 1) for rank in ranks)))]


def gold_groups(is_gold: Sequence[bool], sampler: Sampler) -> list[Picked]:
    """As `groups_of`, with the known gold passages as the positives of each group, and the negatives drawn
    from the other passages as if a gold one stood before them. Empty without a gold passage.
    """
    golds = tuple(at for at, gold in enumerate(is_gold) if gold)
    others = [at for at, gold in enumerate(is_gold) if not gold]
    if not golds:
        return []
    listed = [golds[0], *others]  # rank 0 is the positive, as in a blended list
    picked = groups_of(len(listed), sampler)
    if sampler is Sampler.ITERATION:
        picked = [group for group in picked if group.positives == (0,)]
    return [Picked(golds, tuple(listed[at] for at in group.negatives)) for group in picked]
