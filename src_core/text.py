"""Text of prompts: filling slots, cutting at a word."""

from __future__ import annotations


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
