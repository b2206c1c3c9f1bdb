"""Think blocks of reasoning models, separated from the text that the loop parses, shows and trains on."""

from __future__ import annotations

from typing import NamedTuple

OPEN = "<think>"
CLOSE = "</think>"


class Thinking(NamedTuple):
    """A reply in two parts: the think block and the text after it."""

    think: str
    text: str


def split_think(text: str) -> Thinking:
    """Separate the think block at the start of a reply.

    Some chat templates open the block themselves, so that a reply may begin inside it: everything before the
    first `</think>` is the think block. A block that is not closed (the reply ran out of tokens) leaves an
    empty text, which the parser reports as a failure.
    """
    before, closed, after = text.partition(CLOSE)
    if closed:
        return Thinking(before.replace(OPEN, "", 1).strip(), after.lstrip())
    if text.lstrip().startswith(OPEN):
        return Thinking(text.lstrip().removeprefix(OPEN).strip(), "")
    return Thinking("", text)


def join_think(think: str, text: str, *, compact: bool = False) -> str:
    """A reply with its think block in front, the inverse of `split_think` (a block without text after it
    stays open). The block is on separate lines, as the chat templates of reasoning models write it; `compact`
    writes it on one line, as the tag formats do.
    """
    if not think:
        return text
    if compact:
        return f"{OPEN}{think}{CLOSE}\n{text}" if text else f"{OPEN}{think}"
    return f"{OPEN}\n{think}\n{CLOSE}\n\n{text}" if text else f"{OPEN}\n{think}"
