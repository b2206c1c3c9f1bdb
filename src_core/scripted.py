"""The scripted model: a `ChatModel` selected by `url: scripted:FILE`; a request for which no reply is left is
an error.

The file is JSONL. Each row is `{"when": TEXT, "replies": [TEXT, …]}`: the first row whose `when` occurs in
the last message that the user or the observation sent, or anywhere in the conversation with `"anywhere":
true`, answers with its next reply. `"cycle": true` starts over at the end. Token counts are white-space
words, so that usage is non-zero and exact. `"unsure": [WORD, …]` gives the row's replies log-probabilities
where they are requested: these words have probability 0.05, all others 0.95. `"likeliest": {TOKEN:
PROBABILITY, …}` are the most likely tokens at the first word.

With a tokenizer it also takes and returns token ids: `when` is searched in the whole decoded prompt, special
tokens in a reply are tokens, a stop string ends the reply and is part of it. `"likely": [TEXT, …]` are the
continuations that `score_tokens` scores as likely; all others are unlikely.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src_core.errors import ModelError, UserError
from src_core.jsonl import read_jsonl
from src_core.llm import Completion, Sampling, Token
from src_core.llm_tokens import TokenCompletion, TokenSampling
from src_core.protocols.records import Constraint, Message
from src_core.served import Facts, content_digest
from src_core.think import split_think
from src_core.types import Usage

if TYPE_CHECKING:  # numpy, which most scripts do not need
    from src_core.chat_tokenizer import ChatTokenizer

MAX_STOPS = 4
"""The maximal number of stop strings of the chat API; servers refuse a request with more."""
_WORD = re.compile(r"\s*\S+")
_LIKELY, _UNLIKELY = math.log(0.95), math.log(0.05)


class ScriptedModel:
    """Deterministic replies from a file; `calls` holds every request, for tests."""

    def __init__(self, path: Path, *, tokenizer: ChatTokenizer | None = None) -> None:
        self._rows = list(read_jsonl(path))
        for number, row in enumerate(self._rows, start=1):
            replies = row.get("replies")
            texts = isinstance(replies, list) and all(isinstance(reply, str) for reply in replies)
            if not isinstance(row.get("when"), str) or not texts:
                raise UserError(
                    f"{path}, row {number}: add what is missing of 'when' (text) and 'replies' "
                    "(list of texts)"
                )
        self._name = f"scripted:{path.name}"
        self._facts: Facts = {"model": self._name, "sha256": content_digest(path)}
        self._tokenizer = tokenizer
        self._used = [0] * len(self._rows)
        self.calls: list[list[Message]] = []

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,  # noqa: ARG002 - an argument of the interface; a script does not use it
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,  # noqa: ARG002
        logprobs: int = 0,
    ) -> Completion:
        """The next scripted reply, cut at the first stop string as a server does; more than `MAX_STOPS` are
        refused, as by a server.
        """
        if len(stop) > MAX_STOPS:
            raise ModelError(
                f"{self._name}: HTTP 400: {len(stop)} stop strings, at most {MAX_STOPS} are taken"
            )
        self.calls.append([dict(message) for message in messages])
        everything = "\n".join(message["content"] for message in messages)
        last = messages[-1]["content"]
        row, text = self._next(everything, last)
        for mark in stop:
            text = text.split(mark, 1)[0]
        usage = Usage(1, len(everything.split()), len(text.split()))
        thinking = split_think(text)
        tokens = _tokens(text, row) if logprobs else ()
        return Completion(thinking.text, "stop", usage, think=thinking.think, tokens=tokens)

    async def generate_tokens(self, prompt: Sequence[int], *, sampling: TokenSampling) -> TokenCompletion:
        """The next scripted reply as token ids (see `llm_tokens.TokenModel`)."""
        asked = self._with_tokenizer().decode(prompt)
        _, text = self._next(asked, asked)
        ends = [text.find(mark) + len(mark) for mark in sampling.stop if mark in text]
        ids = self._with_tokenizer().token_ids(text[: min(ends)] if ends else text)
        reason = "length" if len(ids) > sampling.max_tokens else "stop"
        kept = tuple(ids[: sampling.max_tokens])
        return TokenCompletion(kept, (_LIKELY,) * len(kept), reason, Usage(1, len(prompt), len(kept)))

    async def score_tokens(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
        """The scripted log-probabilities of a continuation (see `llm_tokens.TokenModel`)."""
        asked, text = (self._with_tokenizer().decode(ids) for ids in (prompt, continuation))
        likely = any(text in row.get("likely", ()) for row in self._rows if row["when"] in asked)
        return [_LIKELY if likely else _UNLIKELY] * len(continuation)

    def _next(self, everything: str, last: str) -> tuple[dict[str, Any], str]:
        """The row that matches, and its next reply."""
        for index, row in enumerate(self._rows):
            if row["when"] not in (everything if row.get("anywhere") else last):
                continue
            replies: list[str] = row["replies"]
            at = self._used[index]
            if at >= len(replies):
                if not row.get("cycle"):
                    continue
                at %= len(replies)
            self._used[index] += 1
            return row, replies[at]
        raise ModelError(f"the script has no reply left for: {last[-120:]!r}")

    def _with_tokenizer(self) -> ChatTokenizer:
        if self._tokenizer is None:
            raise UserError("a scripted model has no token ids; set `tokenizer` to a tokenizer folder")
        return self._tokenizer

    @property
    def name(self) -> str:
        """The script's file name."""
        return self._name

    @property
    def facts(self) -> Facts:
        """The script's name and the digest of its content."""
        return self._facts

    def watch(self, on_reply: Callable[[str], None], on_facts: Callable[[Facts], None]) -> None:
        """A script names no model in its replies, and does not change."""

    async def ready(self) -> None:
        """A script is always ready."""

    async def close(self) -> None:
        """There is nothing to release."""


def _tokens(text: str, row: dict[str, Any]) -> tuple[Token, ...]:
    """The words of a reply with the log-probabilities of its row; () where the row has none."""
    if not {"unsure", "likeliest"} & row.keys():
        return ()
    unsure, likeliest = row.get("unsure", ()), row.get("likeliest", {})
    tokens = [
        Token(word, _UNLIKELY if word.strip(" \n.,?!") in unsure else _LIKELY) for word in _WORD.findall(text)
    ]
    first = tuple((token, math.log(probability)) for token, probability in likeliest.items())
    return tuple([tokens[0]._replace(likeliest=first), *tokens[1:]] if tokens else ())
