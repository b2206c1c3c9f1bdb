"""A file becomes blocks: Markdown by markdown-it, HTML by markdownify, DOCX by mammoth, PDF by pypdf.

HTML and DOCX go through Markdown, so that headings and tables are found in one place. A file that cannot be
read is a `DocumentError` with its reason; the corpus counts and names it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import charset_normalizer
import mammoth  # type: ignore[import-untyped]
import pypdf
from bs4 import BeautifulSoup
from markdownify import MarkdownConverter

from src_data.documents.blocks import Block, BlockKind, markdown_blocks

_BLANK = re.compile(r"\n\s*\n+")
_HYPHEN = re.compile(r"(\w)-\n(?=[a-zà-ÿ])")
_BREAK = re.compile(r"(?<![.!?:;。！？])\n(?=\S)")
_HIDDEN = ("script", "style", "noscript", "template", "svg", "nav", "footer", "head")
_MOST_BYTES = 1 << 28
_WESTERN = "cp1252"  # Windows-1252, of which Latin-1 is a part
_OTHER_SCRIPT = 0.35
"""The share of bytes beyond ASCII above which a text is not in Latin letters: accented letters are
the smaller part of a text in a Western language, and nearly all letters of one in a Greek or Cyrillic code
page. Chosen between the two, not measured.
"""
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_NOT_WESTERN = re.compile(r"[^\W\d_][¡¢£¬¯¹³¼¾¿][^\W\d_]")
"""A sign inside a word, which is a letter in another code page."""


class DocumentError(ValueError):
    """A document that cannot be read; the message is a clause without the file's name."""


class Document(NamedTuple):
    """The blocks of a file, and the encoding that was guessed, "" where it is known."""

    blocks: list[Block]
    guessed: str = ""


class Decoded(NamedTuple):
    """A text, and the encoding that was guessed, "" where it is known."""

    text: str
    guessed: str = ""


def read_document(path: Path) -> Document:
    """A file, read by its suffix. Raises `DocumentError` for a file that is damaged, encrypted
    or without text, and `KeyError` for a suffix that is not in `READERS`.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise DocumentError(f"larger than {_MOST_BYTES >> 20} MB")
    document = READERS[path.suffix.lower()](path)
    if not any(block.text.strip() for block in document.blocks if block.kind is not BlockKind.HEADING):
        raise DocumentError("holds no text (scanned pages need text recognition first)")
    return document


def _markdown(path: Path) -> Document:
    text, guessed = decoded(path.read_bytes())
    return Document(markdown_blocks(text), guessed)


def _text(path: Path) -> Document:
    """Paragraphs between blank lines."""
    text, guessed = decoded(path.read_bytes())
    return Document(_paragraphs(text, page=0), guessed)


def _html(path: Path) -> Document:
    text, guessed = decoded(path.read_bytes())
    return Document(markdown_blocks(_html_to_markdown(text)), guessed)


def _docx(path: Path) -> Document:
    try:
        with path.open("rb") as handle:
            html = mammoth.convert_to_html(handle, convert_image=mammoth.images.img_element(lambda _: {}))
    except Exception as error:
        raise DocumentError(f"cannot be read as DOCX ({type(error).__name__})") from error
    return Document(markdown_blocks(_html_to_markdown(html.value)))


def _pdf(path: Path) -> Document:
    """The paragraphs of each page; a word that is hyphenated at a line's end is joined."""
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentError("is encrypted; save it without a password")
        pages = [page.extract_text() or "" for page in reader.pages]
    except DocumentError:
        raise
    except Exception as error:
        raise DocumentError(f"cannot be read as PDF ({type(error).__name__})") from error
    numbered = enumerate(pages, start=1)
    return Document([block for number, text in numbered for block in _paragraphs(text, page=number)])


def _paragraphs(text: str, *, page: int) -> list[Block]:
    parts = _BLANK.split(_HYPHEN.sub(r"\1", text.replace("\r\n", "\n")))
    joined = (" ".join(_BREAK.sub(" ", part).split()) for part in parts)
    return [Block(BlockKind.TEXT, part, page=page) for part in joined if part]


def _html_to_markdown(html: str) -> str:
    """HTML as Markdown: headings with #, tables with |, without scripts, styles, navigation and images."""
    try:
        page = BeautifulSoup(html, "html.parser")
        title = page.title.get_text(" ", strip=True) if page.title else ""
        for hidden in page.find_all(_HIDDEN):
            hidden.decompose()
        text: str = MarkdownConverter(heading_style="ATX", strip=["img"]).convert_soup(page)
    except RecursionError as error:
        raise DocumentError("is nested too deep") from error
    return f"# {title}\n\n{text}" if title and not re.search(r"^# ", text, re.MULTILINE) else text


def decoded(data: bytes) -> Decoded:
    """The text of a file: UTF-8, UTF-16 with its mark, else Windows-1252 unless the bytes speak against it (a
    detector takes the few such letters of a short text for any code page). Raises `DocumentError` for a file
    of no known text encoding.
    """
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig")):
        if data.startswith(mark) and (mark or b"\0" not in data):
            try:
                return Decoded(data.decode(encoding))
            except UnicodeDecodeError:
                continue
    if (western := _western(data)) is not None:
        return Decoded(western, _WESTERN)
    best = charset_normalizer.from_bytes(data[: 1 << 20]).best()
    if best is None:
        raise DocumentError("is not text")
    return Decoded(data.decode(best.encoding, "replace"), best.encoding)


def _western(data: bytes) -> str | None:
    """The text in Windows-1252, None where it is hardly that."""
    beyond = sum(byte > 0x7F for byte in data[: 1 << 20])
    if _BINARY.search(data) or beyond > _OTHER_SCRIPT * len(data[: 1 << 20]):
        return None
    try:
        text = data.decode(_WESTERN)
    except UnicodeDecodeError:
        return None
    return None if _NOT_WESTERN.search(text) else text


READERS: dict[str, Callable[[Path], Document]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".txt": _text,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
    ".docx": _docx,
}
"""The reader of each suffix."""
