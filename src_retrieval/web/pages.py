"""Results of a web search become passages: plain text of bounded length, cut at sentences.

Titles, snippets and pages are written by anybody: HTML is taken out (with what scripts and styles hold),
control characters and bidirectional overrides are made visible (`src_core.terminal`), and an address that is
not one of a web page drops the result.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from src_core.sentences import split_sentences
from src_core.terminal import plain
from src_core.types import Passage
from src_retrieval.web.base import Result

MOST_CHARS = 200_000
"""Characters of a page that are read."""
MOST_URL, MOST_TITLE = 2_000, 300
_HIDDEN = frozenset({"script", "style", "noscript", "template", "svg", "head", "title", "iframe"})
_INLINE = frozenset({"b", "i", "em", "strong", "span", "mark", "a"})
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})(?![a-zA-Z0-9])[^<>]{0,2000}>")
_HUGE_CODE = re.compile(r"&#[xX]?[0-9a-fA-F]{9,};?")
"""A character code of so many digits is none, and the standard library cannot read one of thousands."""


def passages_of(results: Sequence[Result], *, passage_chars: int) -> list[Passage]:
    """The passages of all results, in the order of the results and of their texts. The id is the page's
    address with the number of the passage; `scores["retrieval"]` is one by the rank of the result.
    """
    found: dict[str, Passage] = {}
    for rank, result in enumerate(results, start=1):
        url = result.url.strip()
        if not _is_page(url):
            continue
        title = one_paragraph(result.title)[:MOST_TITLE] or urlsplit(url).netloc
        for number, text in enumerate(_pieces(result, passage_chars)):
            id_ = f"{url}#{number}"
            found.setdefault(id_, Passage(id_, title, f"{title}\n{text}", {"retrieval": 1 / rank}))
    return list(found.values())


def one_paragraph(text: str) -> str:
    """A text of others without HTML, on one line."""
    return " ".join(plain(_visible(text[:MOST_CHARS])).split())


def _visible(text: str) -> str:
    """What a reader of a page would see. In linear time, which the HTML parser of the standard library does
    not keep for tags and comments that never end.
    """
    parts: list[str] = []
    at = 0
    while (start := text.find("<", at)) >= 0:
        parts.append(text[at:start])
        if text.startswith("<!--", start):
            at = _after("-->", text, start)
            continue
        tag = _TAG.match(text, start)
        if tag is None:
            parts.append("<")
            at = start + 1
            continue
        name = tag[2].lower()
        at = tag.end()
        parts.append("" if name in _INLINE else " ")
        if name in _HIDDEN and not tag[1]:
            closing = re.compile(f"</{name}[^<>]*>", re.IGNORECASE).search(text, at)
            at = closing.end() if closing else len(text)
    return html.unescape(_HUGE_CODE.sub("\N{REPLACEMENT CHARACTER}", "".join([*parts, text[at:]])))


def _after(mark: str, text: str, start: int) -> int:
    found = text.find(mark, start)
    return found + len(mark) if found >= 0 else len(text)


def _is_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are not closed
        return False
    printable = url.isprintable() and " " not in url and len(url) <= MOST_URL
    return (
        printable and parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    )


def _pieces(result: Result, most: int) -> Iterator[str]:
    """The texts of a result: those of its page where they are there, else its snippets in one."""
    text = one_paragraph(result.page) or " … ".join(filter(None, map(one_paragraph, result.snippets)))
    held = ""
    for sentence in split_sentences(text):
        if held and len(held) + 1 + len(sentence) > most:
            yield held
            held = ""
        held = f"{held} {sentence}".strip()
        while len(held) > most:  # a sentence of such length is cut at a space
            at = held.rfind(" ", most // 2, most + 1)
            at = at if at > 0 else most
            yield held[:at].rstrip()
            held = held[at:].lstrip()
    if held:
        yield held
