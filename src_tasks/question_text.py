"""When two texts ask the same question: what data construction compares questions by, training against
evaluation, and chains against golds.

Not for answers (`src_tasks.answers`), where possessives and hyphens count: this is laxer, since two different
questions of one set are hardly ever this close.
"""

from __future__ import annotations

import re
import unicodedata

_ARTICLES = frozenset({"a", "an", "the"})
_POSSESSIVE = re.compile(r"['’`´]s\b")


class _Punctuation(dict[int, str | None]):
    """A translation table that fills itself: hyphens and slashes part words, other punctuation is dropped."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        kind = unicodedata.category(char)
        found: str | None = char
        if kind == "Pd" or char in "/\\":
            found = " "
        elif kind[0] in "PS":
            found = None
        self[code] = found
        return found


_TABLE = _Punctuation()


def words_of(text: str) -> list[str]:
    """The normalised words of a question, articles left out (unless nothing else is there)."""
    plain = _POSSESSIVE.sub("", unicodedata.normalize("NFKC", text).casefold())
    words = plain.translate(_TABLE).split()
    return [word for word in words if word not in _ARTICLES] or words


def question_key(text: str) -> str:
    """What two spellings of one question have in common."""
    return " ".join(words_of(text))
