"""A model's chat template and tokenizer: conversations as token ids, with who wrote each token.

The one tokenizer of the project: training, rollouts and scoring read the same ids. A rendered conversation
is cut into pieces: what the template writes, and what turns hold. Pieces of the template are encoded with
special tokens; pieces of turns are encoded as plain text, so that a special token inside a question, a
passage or a reply stays text. Each piece is encoded by itself and the ids are joined, which is what a
rollout does too (sampled ids, then the ids that the environment inserts).

Trained are the segments that the model writes, from where the template's prompt for that turn ends to the
turn's terminator. Where a template writes no terminator (GLM-4), the model ends a turn by writing the token
that opens the next one, and after the last turn the end-of-text token. How we differ from LongAlign
(reference rearag.md section 7.1): it finds labels by planting marker tokens in the text, which changes the
neighbours' tokenization; here markers only locate the turns, and the text that is encoded has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from src_core.chat_template import ChatTemplate
from src_core.errors import UserError
from src_core.protocols.records import ChatTurn, Message, Segment

_MARK = "\ue000{}\ue001"  # private use: no template and no tokenizer gives it a meaning

_MORE = "\ue002"


class EncodeError(ValueError):
    """A conversation that this template cannot carry; the caller names row and file."""


class Encoded(NamedTuple):
    """One conversation. `ids` (n,) int32 token ids; `trainable` (n,) bool, true where the loss is computed
    (the prediction of that token at position i - 1).
    """

    ids: npt.NDArray[np.int32]
    trainable: npt.NDArray[np.bool_]


class TokenPiece(NamedTuple):
    """The ids of one piece, and whether the model writes them."""

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
                f"no tokenizer.json in {folder}; a fast tokenizer is needed, as the hub lays it out"
            )
        self._folder = folder
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(path))
        self._plain: Tokenizer = Tokenizer.from_file(str(path))
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
                f"the tokenizer in {folder} adds text to every piece that it encodes; token-exact training "
                "needs one that does not (byte-level BPE: GLM-4, Qwen, Llama-3, SmolLM2)"
            )

    @property
    def vocabulary(self) -> int:
        """How many ids the tokenizer can give."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that inference sends to get the turn after `messages`."""
        return self._template.render(messages, generation_prompt=True)

    def token_ids(self, text: str) -> list[int]:
        """The ids of a rendered text, special tokens included; nothing is put in front of it or behind it."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def text_ids(self, text: str) -> list[int]:
        """The ids of plain text, in which special tokens are text too."""
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
        """The special token at the end of `ids`, None where there is none."""
        return ids[-1] if ids and ids[-1] in self.special_ids else None

    def encode(self, turns: Sequence[ChatTurn]) -> Encoded:
        """Ids and loss mask of a whole conversation. Raises `EncodeError` when the template drops or
        rewrites a turn, or when nothing in it is trained.
        """
        pieces = self.pieces(turns)
        if not any(piece.trained for piece in pieces):
            raise EncodeError("the conversation has no turn of the assistant")
        ids = [token for piece in pieces for token in piece.ids]
        trained = [piece.trained for piece in pieces for _ in piece.ids]
        return Encoded(np.asarray(ids, dtype=np.int32), np.asarray(trained, dtype=np.bool_))

    def prompt_ids(self, turns: Sequence[ChatTurn]) -> list[int]:
        """The ids that the next reply follows: a generation prompt, or the assistant's turn that goes on."""
        return [token for piece in self.prompt_pieces(turns) for token in piece.ids]

    def prompt_pieces(self, turns: Sequence[ChatTurn]) -> list[TokenPiece]:
        """As `prompt_ids`, in pieces. Raises `EncodeError`."""
        if not turns or turns[-1].role != "assistant":
            return self._joined(self._texts(turns, generation_prompt=True))
        # The turn goes on: a mark in place of what follows keeps the template from stripping its end.
        more = turns[-1]._replace(segments=(*turns[-1].segments, Segment(_MORE, True)))
        texts = list(self._texts([*turns[:-1], more], generation_prompt=False))
        end = max(at for at, text in enumerate(texts) if text.text == _MORE)
        return self._joined(texts[:end])

    def pieces(self, turns: Sequence[ChatTurn]) -> list[TokenPiece]:
        """A whole conversation in pieces, neighbours of one kind joined."""
        return self._joined(self._texts(turns, generation_prompt=False))

    def _joined(self, texts: Sequence[_Text] | Iterator[_Text]) -> list[TokenPiece]:
        made: list[TokenPiece] = []
        for text in texts:
            ids = self.text_ids(text.text) if text.foreign else self.token_ids(text.text)
            if made and made[-1].trained == text.trained:
                made[-1].ids.extend(ids)
            elif ids:
                made.append(TokenPiece(ids, text.trained))
        return made

    def _texts(self, turns: Sequence[ChatTurn], *, generation_prompt: bool) -> Iterator[_Text]:
        """What the template writes and what the turns hold, in order."""
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
        """What the template writes before turn `at`: what inference sends, then what the model has to
        write.
        """
        if not trained:
            yield _Text(text, False, False)
            return
        messages = [turn.message() for turn in turns]
        whole = self._template.render(messages[: at + 1], generation_prompt=False)
        prompt = self.prompt(messages[:at])
        content = messages[at]["content"].strip()
        if not whole.startswith(prompt) or content not in whole[len(prompt) :]:
            raise EncodeError(
                f"the chat template in {self._folder} writes turn {at + 1} differently from its prompt, so"
                " that training and inference would not see the same text"
            )
        begins = whole[len(prompt) :].partition(content)[0]
        if not text.endswith(begins):
            raise EncodeError(
                f"the chat template in {self._folder} writes turn {at + 1} differently once others follow, so"
                " that training and inference would not see the same text"
            )
        yield _Text(text[: len(text) - len(begins)], False, False)
        yield _Text(begins, True, False)

    def _terminator(self, behind: str, *, last: bool) -> tuple[str, str]:
        """The special token that ends a reply, and the rest of what stands behind the reply."""
        blank = len(behind) - len(behind.lstrip())
        token = next((token for token in self._special if behind[blank:].startswith(token)), None)
        if token is not None:
            return behind[: blank + len(token)], behind[blank + len(token) :]
        if behind.strip() or not self._end or not last:
            raise EncodeError(f"the chat template in {self._folder} puts no special token behind a reply")
        return self._end, ""

    def _located(self, turns: Sequence[ChatTurn], *, generation_prompt: bool) -> tuple[list[str], list[str]]:
        """What the template writes before, between and behind the turns, and what it makes of each turn's
        text (some strip white space around it). Markers in place of the turns show where these are.
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
