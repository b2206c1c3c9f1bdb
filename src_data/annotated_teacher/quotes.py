"""The sentence of a passage that a thought quotes, from the part that was shown, cut to a maximal length."""

from __future__ import annotations

from collections.abc import Sequence

from src_core.sentences import split_sentences
from src_core.text import shorten
from src_core.types import Passage
from src_data.annotated_teacher.mentions import find_mention, shown_part
from src_tasks.answer_tokens import tokens
from src_tasks.answers import normalize_answer

_QUOTE_CHARS = 200
_VALUE_QUOTE_CHARS = 130


def answer_quote(passage: Passage, answers: Sequence[str], observed: str) -> str:
    """The first sentence that `observed` shows of a passage and that mentions one of `answers`, or ""."""
    return next((quote for quote in _quotes(passage, observed) if find_mention(quote, answers)), "")


def nearest_quote(passage: Passage, asked: str, observed: str) -> str:
    """The sentence, in the part of a passage that `observed` shows, that shares most words with the question
    (words of the title do not count); the first of several, "" where nothing is shown.
    """
    words = {*normalize_answer(asked).split()} - {*normalize_answer(passage.title).split()}
    shared = {quote: len(words & {*normalize_answer(quote).split()}) for quote in _quotes(passage, observed)}
    return max(shared, key=shared.__getitem__, default="")


def value_quote(passage: Passage, answers: Sequence[str], observed: str, *, near: str) -> str:
    """The shown sentence of a passage that is most like `near`, of those that mention one of `answers` (of
    all where the passage itself is the answer), cut to the words around the value; "" where none is shown.
    """
    shown = [text.rstrip(" .…") for text in split_sentences(shown_part(passage, observed))]
    mentioning = [text for text in shown if find_mention(text, answers)] or (
        shown if find_mention(passage.title, answers) else []
    )
    wanted = set(tokens(near))
    best = max(mentioning, key=lambda text: len(wanted & set(tokens(text))), default="")
    return _around(best, answers)


def _around(sentence: str, answers: Sequence[str]) -> str:
    """At most `_VALUE_QUOTE_CHARS` characters of a sentence, in whole words, with the value in them."""
    if len(sentence) <= _VALUE_QUOTE_CHARS:
        return sentence
    places = [at for answer in answers if (at := sentence.lower().find(answer.lower())) >= 0]
    start = max(0, min(places, default=0) - _VALUE_QUOTE_CHARS // 2)
    if start:
        start = sentence.find(" ", start) + 1
    cut = shorten(sentence[start:], _VALUE_QUOTE_CHARS)
    return f"… {cut}" if start else cut


def _quotes(passage: Passage, observed: str) -> list[str]:
    whole = (shorten(sentence, _QUOTE_CHARS) for sentence in split_sentences(shown_part(passage, observed)))
    return [sentence.rstrip(" .…") for sentence in whole]
