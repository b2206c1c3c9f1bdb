"""The knowledge boundary: whether a decision not to search agrees with what the model knows (DeepRAG, section
5.3 and its Table of boundary figures; reference deeprag.md sections 11.2 and 13.4).

The positive class is "answer from own knowledge": a decision is positive where nothing is searched, the label
is positive where the model answers rightly without a search. The published rows follow from these classes: a
method that always searches has F1 0, a balanced accuracy of 0.5 and, as accuracy, the share of questions that
the model does not know (0.718). Each row of the paper is that of whole counts over 1,000 questions, of which
282 are known: DRAGIN (.007, .709, .495, -.045) is 1, 10, 281, 708.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple


class Cells(NamedTuple):
    """Counts of decisions by what was decided and whether the answer is known: `right_direct` (not searched,
    known), `wrong_direct` (not searched, unknown), `needless_search` (searched, known), `right_search`
    (searched, unknown).
    """

    right_direct: int = 0
    wrong_direct: int = 0
    needless_search: int = 0
    right_search: int = 0

    @property
    def total(self) -> int:
        """All decisions."""
        return sum(self)


class BoundaryFigures(NamedTuple):
    """F1 of the positive class, accuracy, balanced accuracy (the mean recall of both classes), and Matthews'
    correlation coefficient.
    """

    f1: float
    accuracy: float
    balanced_accuracy: float
    mcc: float


def count(decisions: Iterable[tuple[bool, bool]]) -> Cells:
    """The cells of decisions, each (searched, known)."""
    counts = [0, 0, 0, 0]
    for searched, known in decisions:
        counts[2 * searched + (not known)] += 1
    return Cells(*counts)


def boundary_figures(cells: Cells) -> BoundaryFigures:
    """The figures of cells. Where one class is never decided or never the label, MCC is 0, as published; F1
    without a positive of either kind is 0; the recall of a label that does not occur is left out of the
    balanced accuracy. Raises `ValueError` without a decision.
    """
    tp, fp, fn, tn = cells
    if not cells.total:
        raise ValueError("the figures of a boundary need at least one decision")
    recalls = [right / (right + wrong) for right, wrong in ((tp, fn), (tn, fp)) if right + wrong]
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return BoundaryFigures(
        f1=2 * tp / (2 * tp + fp + fn) if tp else 0.0,
        accuracy=(tp + tn) / cells.total,
        balanced_accuracy=sum(recalls) / len(recalls),
        mcc=(tp * tn - fp * fn) / math.sqrt(spread) if spread else 0.0,
    )


def degenerate(cells: Cells) -> str:
    """Why the figures say nothing of a boundary, "" where they do."""
    tp, fp, fn, tn = cells
    if not tp + fp:
        return "it always searches"
    if not fn + tn:
        return "it never searches"
    if not tp + fn:
        return "no answer is known without a search"
    return "" if fp + tn else "every answer is known without a search"
