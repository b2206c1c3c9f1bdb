"""Pieces of SVG for pages without a script; every text is escaped."""

from __future__ import annotations

import html

WIDTH, LEFT, RIGHT = 720, 190, 60
"""The size of a plot, and the room for names on its left and figures on its right."""
LONGEST_NAME = 26


def opened(height: float, label: str) -> str:
    """The start of a plot; `label` says what it shows to those who do not see it."""
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escaped(label)}">'


def label(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    """A text at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'


def escaped(value: str) -> str:
    """A text inside an element or an attribute."""
    return html.escape(value, quote=True)
