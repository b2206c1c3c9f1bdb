"""Text of prompts and errors: filling slots, cutting at a word, the nearest of known names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def fill(template: str, **slots: str) -> str:
    """Replace each `{name}` by its value in one pass, so that slots inside a value are not replaced."""
    parts = [template]
    for name, value in slots.items():
        parts = [piece for part in parts for piece in _split(part, "{" + name + "}", value)]
    return "".join(parts)


def shorten(text: str, max_chars: int) -> str:
    """`text` on one line, cut at the last word that fits into `max_chars` characters, with a trailing
    ellipsis.
    """
    plain = " ".join(text.split())
    if len(plain) <= max_chars:
        return plain
    return plain[: max(max_chars - 2, 0)].rsplit(" ", 1)[0] + " …"


def did_you_mean(name: str, known: Iterable[str], *, before: str = "") -> str:
    """`did you mean X? ` for the known name that is nearest to `name`, written after `before`; "" where none
    is near. Of a short name half of the letters have to agree, of others three in five.
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5 if len(name) <= 3 else 0.6)
    return f"did you mean {before}{near[0]}? " if near else ""


def whole_text(text: str) -> str:
    """`text` with each half of a character replaced by U+FFFD: no file, terminal or tokenizer takes one."""
    return (
        text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    )


class _Done(str):
    """A filled-in slot, which is not split again."""

    __slots__ = ()


def _split(part: str, slot: str, value: str) -> list[str]:
    if isinstance(part, _Done):
        return [part]
    pieces: list[str] = []
    for index, piece in enumerate(part.split(slot)):
        if index:
            pieces.append(_Done(value))
        pieces.append(piece)
    return pieces
