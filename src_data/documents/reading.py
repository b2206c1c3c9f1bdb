"""A file becomes blocks: Markdown by markdown-it, HTML by markdownify, DOCX by mammoth, PDF by pypdf.

HTML and DOCX go through Markdown, so that headings and tables are found in one place. A file that cannot be
read is a `DocumentError` with its reason; the corpus counts and names it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

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


class DocumentError(ValueError):
    """A document that cannot be read; the message is a clause without the file's name."""


def read_document(path: Path) -> list[Block]:
    """The blocks of a file, read by its suffix. Raises `DocumentError` for a file that is damaged, encrypted
    or without text, and `KeyError` for a suffix that is not in `READERS`.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise DocumentError(f"larger than {_MOST_BYTES >> 20} MB")
    blocks = READERS[path.suffix.lower()](path)
    if not any(block.text.strip() for block in blocks if block.kind is not BlockKind.HEADING):
        raise DocumentError("holds no text (scanned pages need text recognition first)")
    return blocks


def _markdown(path: Path) -> list[Block]:
    return markdown_blocks(decoded(path.read_bytes()))


def _text(path: Path) -> list[Block]:
    """Paragraphs between blank lines."""
    return _paragraphs(decoded(path.read_bytes()), page=0)


def _html(path: Path) -> list[Block]:
    return markdown_blocks(_html_to_markdown(decoded(path.read_bytes())))


def _docx(path: Path) -> list[Block]:
    try:
        with path.open("rb") as handle:
            html = mammoth.convert_to_html(handle, convert_image=mammoth.images.img_element(lambda _: {}))
    except Exception as error:
        raise DocumentError(f"cannot be read as DOCX ({type(error).__name__})") from error
    return markdown_blocks(_html_to_markdown(html.value))


def _pdf(path: Path) -> list[Block]:
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
    return [block for number, text in enumerate(pages, start=1) for block in _paragraphs(text, page=number)]


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


def decoded(data: bytes) -> str:
    """The text of a file: UTF-8, UTF-16 with its mark, else the encoding that its bytes suggest. Raises
    `DocumentError` for a file of no known text encoding.
    """
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig")):
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                continue
    best = charset_normalizer.from_bytes(data[: 1 << 20]).best()
    if best is None:
        raise DocumentError("is not text")
    return data.decode(best.encoding, "replace")


READERS: dict[str, Callable[[Path], list[Block]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".txt": _text,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
    ".docx": _docx,
}
"""The reader of each suffix."""
