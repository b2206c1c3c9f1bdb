"""A conversation as token ids with a loss mask: the text is what inference sends, the loss is on what the
model would have written (reference section 7).

The chat template is rendered by `src_core.chat_template`, as for a completion endpoint. For each assistant
turn the template is asked for the prompt that inference would send before it; what the whole conversation
has beyond that prompt, up to and including the turn's terminator, are targets. Where a template writes no
terminator (GLM-4), the model ends a turn by writing the token that opens the next one, so that token is a
target, and after the last turn the end-of-text token. How we differ from LongAlign (reference section 7.1):
it finds labels by planting marker tokens in the text, which changes the neighbours' tokenization; here the
text is left alone and characters are mapped to tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from src_core.chat_template import ChatTemplate
from src_core.errors import UserError
from src_core.llm import Message


class EncodeError(ValueError):
    """A conversation that this template cannot carry; the caller names row and file."""


class Encoded(NamedTuple):
    """One conversation. `ids` (n,) int32 token ids; `trainable` (n,) bool, true where the loss is computed
    (the prediction of that token at position i - 1).
    """

    ids: npt.NDArray[np.int32]
    trainable: npt.NDArray[np.bool_]


class Span(NamedTuple):
    """A half-open stretch of characters."""

    start: int
    end: int


class ChatTokenizer:
    """Chat template and tokenizer of one model folder. `template` names another folder or a Jinja file for
    the chat template, for base models whose tokenizer has none. Raises `UserError` when a file is missing
    or broken.
    """

    def __init__(self, folder: Path, *, template: Path | None = None) -> None:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(
                f"no tokenizer.json in {folder}; training needs a fast tokenizer, as the hub lays it out"
            )
        self._folder = folder
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(path))
        self._template = ChatTemplate(folder, template=template)
        self._special = tuple(
            sorted(
                (
                    token.content
                    for token in self._tokenizer.get_added_tokens_decoder().values()
                    if token.special
                ),
                key=len,
                reverse=True,
            )
        )
        self._end = self._template.token("eos_token")

    @property
    def vocabulary(self) -> int:
        """How many ids the tokenizer can give."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that inference sends to get the turn after `messages`."""
        return self._template.render(messages, generation_prompt=True)

    def token_ids(self, text: str) -> list[int]:
        """The ids of a rendered text; nothing is put in front of it or behind it."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """Ids and targets of a whole conversation. Raises `EncodeError` when the template drops or rewrites a
        turn, or when a token would be half prompt and half reply.
        """
        text, spans = self.target_spans(messages)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        targets = np.zeros(len(offsets), dtype=np.bool_)
        for span in spans:
            inside = (
                (offsets[:, 0] >= span.start) & (offsets[:, 1] <= span.end) & (offsets[:, 1] > span.start)
            )
            across = (offsets[:, 0] < span.end) & (offsets[:, 1] > span.start) & ~inside
            if across.any() or not inside.any():
                raise EncodeError(
                    f"a token reaches over the border of the reply {text[span.start : span.end][:40]!r}"
                )
            targets |= inside
        return Encoded(np.asarray(encoding.ids, dtype=np.int32), targets)

    def target_spans(self, messages: Sequence[Message]) -> tuple[str, list[Span]]:
        """The rendered conversation and where the assistant's turns stand in it, terminators included."""
        text = self._render(messages)
        self._check_turns(messages, text)
        spans: list[Span] = []
        for at, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            start = len(self._prefix(text, self.prompt(messages[:at]), at))
            end = len(self._prefix(text, self._render(messages[: at + 1]), at))
            text, end = self._with_terminator(text, Span(start, end), message["content"])
            spans.append(Span(start, end))
        if not spans:
            raise EncodeError("the conversation has no turn of the assistant")
        return text, spans

    def _render(self, messages: Sequence[Message]) -> str:
        return self._template.render(messages, generation_prompt=False)

    def _prefix(self, text: str, prefix: str, at: int) -> str:
        if not text.startswith(prefix):
            raise EncodeError(
                f"the chat template in {self._folder} writes turn {at + 1} differently once others"
                " follow, so that training and inference would not see the same text"
            )
        return prefix

    def _check_turns(self, messages: Sequence[Message], text: str) -> None:
        """Some templates leave out a role that they do not know, without a word."""
        at = 0
        for number, message in enumerate(messages, start=1):
            found = text.find(message["content"].strip(), at)
            if found < 0:
                raise EncodeError(
                    f"the chat template in {self._folder} drops or changes turn {number}, of role"
                    f" {message['role']!r}"
                )
            at = found + len(message["content"].strip())

    def _with_terminator(self, text: str, span: Span, content: str) -> tuple[str, int]:
        """The text and the end of the target: behind the special token that follows the reply."""
        reply_end = text.index(content.strip(), span.start) + len(content.strip())
        rest = text[reply_end:]
        blank = len(rest) - len(rest.lstrip())
        token = next((token for token in self._special if rest[blank:].startswith(token)), None)
        if token is not None:
            return text, reply_end + blank + len(token)
        if rest.strip() or not self._end:
            raise EncodeError(f"the chat template in {self._folder} puts no special token behind a reply")
        return text[:reply_end] + self._end, reply_end + len(self._end)
