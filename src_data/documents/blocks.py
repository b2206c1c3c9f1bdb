"""The blocks of a document, whatever file it came from, and the reading of Markdown into blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token


class BlockKind(StrEnum):
    """What a block is: a heading opens a section, a table is cut at its rows, text at its sentences, code at
    its lines.
    """

    HEADING = "heading"
    TEXT = "text"
    TABLE = "table"
    CODE = "code"


class Block(NamedTuple):
    """One block. `level` is the depth of a heading (1 is the highest), `page` the page of a PDF, counted from
    1 (0: the format has no pages).
    """

    kind: BlockKind
    text: str
    level: int = 0
    page: int = 0


_KINDS = {
    "paragraph_open": BlockKind.TEXT,
    "heading_open": BlockKind.HEADING,
    "table_open": BlockKind.TABLE,
    "fence": BlockKind.CODE,
    "code_block": BlockKind.CODE,
    "html_block": BlockKind.TEXT,
}
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"(\*\*|__|~~|(?<!\w)[*_]|[*_](?!\w))")
_TAG = re.compile(r"<[^>\n]{1,200}>")
_RULE = re.compile(r"^[\s|:\-]+$")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_NO_INLINE = [
    "heading",
    "paragraph",
    "table",
    "fence",
    "code",
    "list",
    "blockquote",
    "lheading",
    "html_block",
]


def markdown_blocks(text: str) -> list[Block]:
    """The blocks of a Markdown text in order; the front matter (YAML between `---`) is left out."""
    body = _FRONT_MATTER.sub("", text.replace("\r\n", "\n"), count=1)
    lines = body.split("\n")
    return [block for block in _blocks(_parser().parse(body), lines) if block.text]


def _parser() -> MarkdownIt:
    # Inline marks are removed below; nesting is bounded, so that a hostile file cannot fill the stack.
    return MarkdownIt("commonmark", {"maxNesting": 50}).enable("table").disable("inline")


def _blocks(tokens: Sequence[Token], lines: Sequence[str]) -> Iterator[Block]:
    done = 0
    for token in tokens:
        kind = _KINDS.get(token.type)
        if kind is None or token.map is None or token.map[0] < done:
            continue
        start, done = token.map
        part = lines[start:done]
        if kind is BlockKind.HEADING:
            title = plain_text(" ".join(line.strip().strip("#").strip("=-").strip() for line in part))
            yield Block(kind, title, level=int(token.tag[1:]))
        elif kind is BlockKind.TABLE:
            yield Block(kind, "\n".join(plain_text(row) for row in part if not _RULE.match(row)))
        elif kind is BlockKind.CODE:
            yield Block(kind, token.content.rstrip("\n"))
        else:
            yield Block(kind, plain_text(" ".join(line.strip(" >\t") for line in part)))


def plain_text(line: str) -> str:
    """A line of Markdown without its marks: links become their words, emphasis and tags are removed."""
    words = _TAG.sub(" ", _LINK.sub(r"\1", line))
    return " ".join(_MARKS.sub("", words).split())
