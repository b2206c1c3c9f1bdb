"""From a server's reply to a completion: without what it continues and its think block, cut at a stop."""

from __future__ import annotations

from collections.abc import Sequence

from src_core.llm import Completion, Token
from src_core.replies import Reply
from src_core.think import split_think


def completed(reply: Reply, *, begun: str, stop: Sequence[str]) -> Completion:
    """The completion in a reply: without the text that it continues (llama.cpp's reply begins with it, vLLM's
    does not), without its think block, and cut at the first stop string, for servers that do not know or do
    not get them.
    """
    whole = reply.text.removeprefix(begun)
    thinking = split_think(whole)
    ends = [at for mark in stop if mark and (at := thinking.text.find(mark)) >= 0]
    text = thinking.text[: min(ends)] if ends else thinking.text
    length = len(whole) - len(thinking.text) + len(text)
    return Completion(
        text,
        "stop" if ends else reply.finish_reason,
        reply.usage,
        think=reply.think or thinking.think,
        tokens=_tokens(reply, length if ends else None),
    )


def _tokens(reply: Reply, length: int | None) -> tuple[Token, ...]:
    """The reply's tokens, of its first `length` characters where it was cut."""
    kept, at = [], 0
    for token in reply.tokens:
        if length is not None and at >= length:
            break
        kept.append(token)
        at += len(token.text)
    return tuple(kept)
