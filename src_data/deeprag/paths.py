"""The path of an explored tree that is imitated (DeepRAG, Stage I)."""

from __future__ import annotations

import random
from enum import StrEnum

from src_infer.search_record import Tree, TreeNode


class PathChoice(StrEnum):
    """The right path with the fewest searches (the paper's), the most, or any. The paper finds `least` best
    (44.6 against 41.1 and 40.6 on average); DecEx-RAG (arXiv 2510.05691) finds the opposite order. `most` and
    `random` need a tree that was expanded to the end (`mode: all`).
    """

    LEAST = "least"
    MOST = "most"
    RANDOM = "random"


def choose_leaf(tree: Tree, choice: PathChoice, *, seed: str) -> TreeNode | None:
    """The leaf of the path to imitate; None where no leaf is right. `seed` decides a random choice."""
    right = sorted((leaf for leaf in tree.leaves if leaf.right), key=tree.rank)
    if not right or choice is PathChoice.LEAST:
        return right[0] if right else None
    if choice is PathChoice.MOST:
        return max(right, key=lambda leaf: (leaf.retrievals, -leaf.depth, -leaf.id))
    return random.Random(seed).choice(right)
