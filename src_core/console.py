"""The consoles of the project and the text of their tables: no markup is read, foreign text is plain.

rich reads square brackets as markup: a question or a folder called `[/b]` would end a command with an error,
and `[link=…]` would be obeyed. Its own texts also let most control characters pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import TextColumn
from rich.segment import Segment
from rich.text import Text

from src_core.terminal import VISIBLE, one_line


class Terminal(Console):
    """Standard output, or standard error with `stderr`, without markup; foreign text in any renderable is
    made `plain`. `narrowest` is the width in columns where the stream is no terminal (rich's default is 80).
    """

    def __init__(self, *, stderr: bool = False, narrowest: int | None = None, **options: Any) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False, **options)
        if narrowest is not None and not self.is_terminal:
            self.width = narrowest

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """rich's segments with `plain` text; each of them keeps its number of characters."""
        if isinstance(renderable, Text):  # before it is laid out, so that columns stay straight
            text = renderable.copy()
            text.plain = text.plain.translate(VISIBLE)
            renderable = text
        for segment in super().render(renderable, options):
            if segment.control or (segment.text.isascii() and segment.text.isprintable()):
                yield segment
            else:
                yield Segment(self._written(segment.text), segment.style)

    def _written(self, text: str) -> str:
        """Plain, with a question mark for each character that the encoding of the stream lacks."""
        return text.translate(VISIBLE).encode(self.encoding, "replace").decode(self.encoding)


def description_column() -> TextColumn:
    """The column of a progress bar that shows its description as text."""
    return TextColumn("{task.description}", markup=False)


def as_cell(text: object, *, style: str = "") -> Text:
    """Foreign text as a cell of a table: `one_line`, never markup."""
    return Text(one_line(str(text)), style=style)
