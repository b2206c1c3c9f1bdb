"""Pieces of SVG for pages without a script; every text is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, LEFT, RIGHT = 720, 190, 60
"""The size of a plot, and the room for names on its left and figures on its right."""
LONGEST_NAME = 26
CHAR, LINE = 7.0, 14.0
"""The size that a character of 12 px takes at most, and the height of its line."""
_TICKS = 6


class Tick(NamedTuple):
    """A place on an axis, in the unit of the axis, and what stands there."""

    value: float
    text: str


class Box(NamedTuple):
    """A rectangle of a plot, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Box) -> bool:
        """Whether both share a place."""
        across = self.x < other.x + other.width and other.x < self.x + self.width
        return across and self.y < other.y + other.height and other.y < self.y + self.height


def opened(height: float, label: str) -> str:
    """The start of a plot; `label` says what it shows to those who do not see it."""
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escaped(label)}">'


def label(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    """A text at a place."""
    of_kind = f" class={kind}" if kind else ""
    return f'<text{of_kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'


def ticks(most: float) -> list[Tick]:
    """Round values from 0 up to `most` (above 0), at most seven, each written with the decimals that tell it
    from the others.
    """
    size = 10.0 ** math.floor(math.log10(most / _TICKS))
    step = next(size * times for times in (1, 2, 5, 10) if size * times * _TICKS >= most * 0.999999)
    decimals = max(0, -math.floor(math.log10(step * 1.000001)))
    count = math.floor(most / step * 1.000001)
    return [Tick(at * step, f"{at * step:.{decimals}f}") for at in range(count + 1)]


def place_apart(x: float, y: float, width: float, taken: Sequence[Box], within: Box) -> Box:
    """Room for a label of one line beside the point (`x`, `y`): as near as possible to it inside `within`,
    away from what is `taken`; where all is taken, straight beside it.
    """
    first = Box(x + 10, y - LINE / 2, width, LINE)
    for far in range(12):
        gap = 10.0 + 0.6 * LINE * far
        for side, down in ((1, 0), (-1, 0), (1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1)):
            left = x + gap if side > 0 else x - gap - width if side else x - width / 2
            box = Box(left, y - LINE / 2 + down * gap, width, LINE)
            if _inside(box, within) and not any(map(box.meets, taken)):
                return box
    return first


def escaped(value: str) -> str:
    """A text inside an element or an attribute."""
    return html.escape(value, quote=True)


def _inside(box: Box, outer: Box) -> bool:
    across = outer.x <= box.x and box.x + box.width <= outer.x + outer.width
    return across and outer.y <= box.y and box.y + box.height <= outer.y + outer.height
