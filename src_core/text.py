"""Text of prompts: filling slots, passages as numbered lines, cutting at a word."""

from __future__ import annotations

from collections.abc import Sequence

from src_core.types import Passage

NO_PASSAGE = "(no passage was found)"


def fill(template: str, **slots: str) -> str:
    """Replace each `{name}` by its value in one pass, so that slots inside a value are not replaced."""
    parts = [template]
    for name, value in slots.items():
        parts = [piece for part in parts for piece in _split(part, "{" + name + "}", value)]
    return "".join(parts)


def passage_block(passages: Sequence[Passage], *, max_chars: int) -> str:
    """Numbered passages, `[1] Title: text`, each cut to `max_chars` characters at a word."""
    return "\n".join(passage_lines(passages, max_chars=max_chars)) or NO_PASSAGE


def passage_lines(passages: Sequence[Passage], *, max_chars: int) -> list[str]:
    """The lines of a `passage_block`."""
    lines = []
    for number, passage in enumerate(passages, start=1):
        title = f"{passage.title}: " if passage.title else ""
        lines.append(f"[{number}] {title}{shorten(passage.text, max_chars)}")
    return lines


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
