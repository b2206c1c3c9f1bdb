"""Text to sentences, for quotes, excerpts and the cutting of documents into passages."""

from __future__ import annotations

import re
from itertools import pairwise

# A full stop ends a sentence where three characters of a word, bracket or quotation are before it, or a
# short word such as "it", but not an initial or an abbreviation. Chinese needs no space after the mark.
_END = re.compile(
    r"(?:(?<=[\w)\]%\"”’]{3})\.|(?<=\s[a-z]{2})(?<!vs|cf|no|ed|al|ca)\.(?!\s+\d)|[!?…])"
    r"[\"”’)\]]*(?=\s+[A-Z0-9À-Þ\"“'(\[])|[。！？]+[」』”）]*"
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text in order, each on one line with its final mark."""
    plain = " ".join(text.split())
    ends = [0, *(match.end() for match in _END.finditer(plain)), len(plain)]
    return [plain[start:end].strip() for start, end in pairwise(ends) if plain[start:end].strip()]
