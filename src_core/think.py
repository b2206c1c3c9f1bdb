"""Think blocks of reasoning models, kept apart from what the loop parses, shows and trains on."""

from __future__ import annotations

from typing import NamedTuple

OPEN = "<think>"
CLOSE = "</think>"


class Thinking(NamedTuple):
    """A reply in two parts: what the model thought to itself, and what it said."""

    think: str
    said: str


def split_think(text: str) -> Thinking:
    """Separate the think block at the head of a reply.

    Some chat templates open the block themselves, so that a reply may begin inside it: everything before a
    first `</think>` is thought. A block that was opened and never closed (the reply ran out of tokens) leaves
    nothing said, which the parser then reports, rather than half a thought taken for an answer.
    """
    before, closed, after = text.partition(CLOSE)
    if closed:
        return Thinking(before.replace(OPEN, "", 1).strip(), after.lstrip())
    if text.lstrip().startswith(OPEN):
        return Thinking(text.lstrip().removeprefix(OPEN).strip(), "")
    return Thinking("", text)


def join_think(think: str, said: str, *, compact: bool = False) -> str:
    """A reply with its think block in front: `split_think` undone (a block without anything said stays open).
    The block has lines of its own, as the chat templates of reasoning models write it; `compact` writes it on
    one line, as the tag formats do.
    """
    if not think:
        return said
    if compact:
        return f"{OPEN}{think}{CLOSE}\n{said}" if said else f"{OPEN}{think}"
    return f"{OPEN}\n{think}\n{CLOSE}\n\n{said}" if said else f"{OPEN}\n{think}"
