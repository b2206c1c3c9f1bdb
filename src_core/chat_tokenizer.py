"""A model's chat template and tokenizer: conversations as token ids, with a mask of the tokens that the model
writes.

The project has this one tokenizer: training, rollouts and scoring use the same ids. A rendered conversation
is cut into pieces: text of the template and text of the turns. Pieces of the template are encoded with
special tokens; pieces of turns are encoded as plain text, so that a special token inside a question, a
passage or a reply stays text. Each piece is encoded separately and the ids are concatenated; a rollout does
the same (sampled ids, then the ids that the environment inserts).

The loss covers the segments that the model writes, from the end of the template's prompt for that turn to the
turn's terminator. Where a template writes no terminator (GLM-4), the model ends a turn by writing the token
that opens the next turn, and the last turn by the end-of-text token. How we differ from LongAlign (reference
rearag.md section 7.1): it finds labels by inserting marker tokens into the text, which changes the
tokenization around them; here markers only locate the turns, and the encoded text contains none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from src_core.chat_template import ChatTemplate
from src_core.errors import UserError
from src_core.protocols.records import ChatTurn, Message, Segment
from src_core.tokenizer_file import open_tokenizer

_MARK = "\ue000{}\ue001"  # private-use characters: no template and no tokenizer gives them a meaning

_MORE = "\ue002"


class EncodeError(ValueError):
    """A conversation that this template cannot represent; the caller adds row and file to the message."""


class Encoded(NamedTuple):
    """One conversation. `ids` (n,) int32 token ids; `trainable` (n,) bool, true where the loss is computed
    (token i is predicted at position i - 1).
    """

    ids: npt.NDArray[np.int32]
    trainable: npt.NDArray[np.bool_]


class TokenPiece(NamedTuple):
    """The token ids of one piece, and whether the model writes them."""

    ids: list[int]
    trained: bool


class _Text(NamedTuple):
    """One piece as text; `foreign` text is encoded without special tokens."""

    text: str
    trained: bool
    foreign: bool


class ChatTokenizer:
    """Chat template and tokenizer of one model folder. `template` names another folder or a Jinja file for
    the chat template, for base models whose tokenizer has none. Raises `UserError` when a file is missing
    or broken.
    """

    def __init__(self, folder: Path, *, template: Path | None = None) -> None:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise UserError(
                f"no tokenizer.json in {folder}; give a folder in the hub's file layout with a fast tokenizer"
            )
        self._folder = folder
        self._tokenizer = open_tokenizer(path)
        self._plain = open_tokenizer(path)
        self._plain.encode_special_tokens = True
        self._template = ChatTemplate(folder, template=template)
        added = self._tokenizer.get_added_tokens_decoder().values()
        special = (token.content for token in added if token.special)
        self._special = tuple(sorted(special, key=len, reverse=True))
        self._end = self._template.token("eos_token")
        numbers = (self._tokenizer.token_to_id(token) for token in self._special)
        self.special_ids = frozenset(number for number in numbers if number is not None)
        if self.decode([*self.text_ids("one"), *self.text_ids("two")]) != "onetwo":
            raise UserError(
                f"the tokenizer in {folder} adds text to every piece that it encodes, so "
                "token-exact training "
                "is not possible; use a byte-level BPE tokenizer (GLM-4, Qwen, Llama-3, SmolLM2)"
            )

    @property
    def vocabulary(self) -> int:
        """The number of ids that the tokenizer can return."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that inference sends to get the turn after `messages`."""
        return self._template.render(messages, generation_prompt=True)

    def token_ids(self, text: str) -> list[int]:
        """The ids of a rendered text, special tokens included; no token is added at the start or the end."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def text_ids(self, text: str) -> list[int]:
        """The ids of plain text; special tokens in it are encoded as text. Raises `EncodeError` for text
        that is no Unicode.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise EncodeError("the text holds half a character (a lone surrogate)") from error
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids if text else []
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def reply_text(self, ids: Sequence[int]) -> str:
        """The text of a sampled reply, without the special tokens at its end."""
        end = len(ids)
        while end and ids[end - 1] in self.special_ids:
            end -= 1
        return self.decode(ids[:end])

    def terminator(self, ids: Sequence[int]) -> int | None:
        """The special token at the end of `ids`, or None."""
        return ids[-1] if ids and ids[-1] in self.special_ids else None

    def encode(self, turns: Sequence[ChatTurn], *, unfinished: bool = False) -> Encoded:
        """Ids and loss mask of a whole conversation, or up to the end of its last text where that turn is
        `unfinished`. Raises `EncodeError` when the template drops or rewrites a turn, or when no token is
        trained.
        """
        pieces = self.prompt_pieces(turns) if unfinished else self.pieces(turns)
        if not any(piece.trained for piece in pieces):
            raise EncodeError("the conversation has no turn of the assistant")
        ids = [token for piece in pieces for token in piece.ids]
        trained = [piece.trained for piece in pieces for _ in piece.ids]
        return Encoded(np.asarray(ids, dtype=np.int32), np.asarray(trained, dtype=np.bool_))

    def prompt_ids(self, turns: Sequence[ChatTurn]) -> list[int]:
        """The ids before the next reply: up to the generation prompt, or up to the end of an unfinished
        assistant turn.
        """
        return [token for piece in self.prompt_pieces(turns) for token in piece.ids]

    def prompt_pieces(self, turns: Sequence[ChatTurn]) -> list[TokenPiece]:
        """As `prompt_ids`, in pieces. Raises `EncodeError`."""
        if not turns or turns[-1].role != "assistant":
            return self._joined(self._texts(turns, generation_prompt=True))
        # The turn is unfinished: a marker after it keeps the template from stripping its trailing white
        # space.
        more = turns[-1]._replace(segments=(*turns[-1].segments, Segment(_MORE, True)))
        texts = list(self._texts([*turns[:-1], more], generation_prompt=False))
        end = max(at for at, text in enumerate(texts) if text.text == _MORE)
        return self._joined(texts[:end])

    def pieces(self, turns: Sequence[ChatTurn]) -> list[TokenPiece]:
        """A whole conversation in pieces; adjacent pieces of one kind are joined."""
        return self._joined(self._texts(turns, generation_prompt=False))

    def _joined(self, texts: Sequence[_Text] | Iterator[_Text]) -> list[TokenPiece]:
        pieces: list[TokenPiece] = []
        for text in texts:
            ids = self.text_ids(text.text) if text.foreign else self.token_ids(text.text)
            if pieces and pieces[-1].trained == text.trained:
                pieces[-1].ids.extend(ids)
            elif ids:
                pieces.append(TokenPiece(ids, text.trained))
        return pieces

    def _texts(self, turns: Sequence[ChatTurn], *, generation_prompt: bool) -> Iterator[_Text]:
        """The text of the template and of the turns, in order."""
        between, contents = self._located(turns, generation_prompt=generation_prompt)
        for at, turn in enumerate(turns):
            trained = turn.segments[0].trained
            yield from self._before(between[at], turns, at, trained=trained)
            yield from _segments(turn, contents[at])
            if turn.segments[-1].trained:
                terminator, rest = self._terminator(between[at + 1], last=at == len(turns) - 1)
                between[at + 1] = rest
                yield _Text(terminator, True, False)
        yield _Text(between[-1], False, False)

    def _before(self, text: str, turns: Sequence[ChatTurn], at: int, *, trained: bool) -> Iterator[_Text]:
        """The template's text before turn `at`: first what inference sends, then what the model has to
        write.
        """
        if not trained:
            yield _Text(text, False, False)
            return
        # A mark in place of the reply shows where it begins, whatever it says (it may be empty).
        before = [turn.message() for turn in turns[:at]]
        marked = {"role": turns[at].role, "content": _MARK.format(at)}
        whole = self._template.render([*before, marked], generation_prompt=False)
        prompt = self.prompt(before)
        begins, found, _ = whole[len(prompt) :].partition(marked["content"])
        if not whole.startswith(prompt) or not found:
            raise EncodeError(
                f"the chat template in {self._folder} writes turn {at + 1} differently from its prompt, so"
                " that training and inference would not see the same text"
            )
        if not text.endswith(begins):
            raise EncodeError(
                f"the chat template in {self._folder} writes turn {at + 1} differently once others follow, so"
                " that training and inference would not see the same text"
            )
        yield _Text(text[: len(text) - len(begins)], False, False)
        yield _Text(begins, True, False)

    def _terminator(self, behind: str, *, last: bool) -> tuple[str, str]:
        """The special token that ends a reply, and the rest of the text after the reply."""
        blank = len(behind) - len(behind.lstrip())
        token = next((token for token in self._special if behind[blank:].startswith(token)), None)
        if token is not None:
            return behind[: blank + len(token)], behind[blank + len(token) :]
        if behind.strip() or not self._end or not last:
            raise EncodeError(f"the chat template in {self._folder} puts no special token after a reply")
        return self._end, ""

    def _located(self, turns: Sequence[ChatTurn], *, generation_prompt: bool) -> tuple[list[str], list[str]]:
        """The template's text before, between and after the turns, and each turn's text as the template
        renders it (some templates strip white space around it). The turns are located by markers rendered in
        their place.
        """
        marked = [{"role": turn.role, "content": _MARK.format(at)} for at, turn in enumerate(turns)]
        rest = self._template.render(marked, generation_prompt=generation_prompt)
        between: list[str] = []
        for at, turn in enumerate(turns):
            before, found, rest = rest.partition(_MARK.format(at))
            if not found:
                raise self._changed(at, turn)
            between.append(before)
        between.append(rest)
        real = self._template.render([turn.message() for turn in turns], generation_prompt=generation_prompt)
        contents: list[str] = []
        for at, turn in enumerate(turns):
            real = real.removeprefix(between[at])
            text = turn.content
            forms = (text, text.strip(), text.lstrip(), text.rstrip())
            written = next((form for form in forms if real.startswith(form + between[at + 1])), None)
            if written is None:
                raise self._changed(at, turn)
            contents.append(written)
            real = real.removeprefix(written)
        return between, contents

    def _changed(self, at: int, turn: ChatTurn) -> EncodeError:
        return EncodeError(
            f"the chat template in {self._folder} drops or changes turn {at + 1}, of role {turn.role!r}"
        )


def _segments(turn: ChatTurn, written: str) -> Iterator[_Text]:
    """The segments of a turn, without the white space around the turn where it was not `written`."""
    whole = turn.content
    start = whole.find(written)
    end, at = start + len(written), 0
    for segment in turn.segments:
        inside = segment.text[max(0, start - at) : max(0, end - at)]
        at += len(segment.text)
        yield _Text(inside, segment.trained, True)
