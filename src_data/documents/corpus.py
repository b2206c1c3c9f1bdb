"""A folder of documents, or one document, becomes a corpus file.

    python -m src_data.documents.corpus documents=FOLDER corpus=FILE

A row is `{"id", "contents", "source", "page"}`. The first line of `contents`, the title that models and
people see, is the path of headings with the file and the page of a PDF: `Pump manual > Limits [pump.pdf, page
3]`. The id is a hash of the contents: an edit of a file changes the ids of its changed passages only.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from src_core.config import config_class, load_config
from src_core.errors import UserError, run_main
from src_core.jsonl import rewrite_jsonl
from src_core.terminal import say
from src_core.text import counted
from src_data.documents.blocks import BlockKind
from src_data.documents.chunking import PATH_MARK, Chunk, Chunking, chunks
from src_data.documents.reading import READERS, DocumentError, read_document

_SHOWN = 5


@config_class
class DocumentsConfig:
    """The folder (or file) of documents, the corpus file to write, and how documents are cut."""

    documents: str
    corpus: str
    chunking: Chunking = Chunking()


@dataclass(slots=True)
class DocumentCount:
    """What was read: files that gave passages, passages, files of unknown suffix by suffix, and files that
    could not be read with their reasons. `guessed` are the files that are not in UTF-8, by the encoding in
    which they were read.
    """

    files: int = 0
    passages: int = 0
    other: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    guessed: dict[str, list[str]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The count as sentences."""
        yield f"{counted(self.passages, 'passage')} from {counted(self.files, 'document')}"
        if self.other:
            named = ", ".join(
                f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(self.other.items())
            )
            yield f"left out, of another format: {named} (read are {', '.join(sorted(READERS))})"
        for encoding, files in sorted(self.guessed.items()):
            named = ", ".join(files[:_SHOWN]) + (", …" if len(files) > _SHOWN else "")
            what = counted(len(files), "document")
            yield (
                f"not in UTF-8, read as {encoding}: {what} ({named}); where letters are wrong, save the file "
                "in UTF-8"
            )
        for failure in self.failed[:_SHOWN]:
            yield f"not read: {failure}"
        if len(self.failed) > _SHOWN:
            yield f"not read: {len(self.failed) - _SHOWN} more"


def documents_corpus(config: DocumentsConfig) -> DocumentCount:
    """Write the corpus of a folder. Raises `UserError` where the folder is missing or gives no passage; the
    corpus is then not written.
    """
    root = Path(config.documents)
    if not root.exists():
        raise UserError(f"no such folder: {root}; check the path")
    count = DocumentCount()
    rows = list(_rows(root, config.chunking, count))
    if not rows:
        reasons = "; ".join(count.lines())
        raise UserError(f"{root} gives no passage ({reasons}); check the folder")
    rewrite_jsonl(Path(config.corpus), (orjson.dumps(row) for row in rows))
    return count


def document_files(root: Path) -> list[Path]:
    """The files below a folder in the order of their paths, without hidden ones; a single file is itself."""
    if root.is_file():
        return [root]
    found = (path for path in root.rglob("*") if path.is_file())
    return sorted(
        path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def _rows(root: Path, settings: Chunking, count: DocumentCount) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for path in document_files(root):
        suffix = path.suffix.lower()
        if suffix not in READERS:
            count.other[suffix] = count.other.get(suffix, 0) + 1
            continue
        source = path.name if path == root else path.relative_to(root).as_posix()
        try:
            blocks, guessed = read_document(path)
        except DocumentError as error:
            count.failed.append(f"{source} {error}")
            continue
        except OSError as error:
            count.failed.append(f"{source} {error.strerror}")
            continue
        count.files += 1
        if guessed:
            count.guessed.setdefault(guessed, []).append(source)
        title = next((block.text for block in blocks if block.kind is BlockKind.HEADING), path.stem)
        for chunk in chunks(blocks, settings=settings):
            row = _row(chunk, source=source, title=title)
            if row["id"] not in seen:
                seen.add(row["id"])
                count.passages += 1
                yield row


def _row(chunk: Chunk, *, source: str, title: str) -> dict[str, Any]:
    path = chunk.path if chunk.path[:1] == (title,) else (title, *chunk.path)
    row = {"source": source}
    if chunk.first_page:
        row["page"] = "-".join(str(page) for page in sorted({chunk.first_page, chunk.last_page}))
    at = f"{source}, page {row['page']}" if chunk.first_page else source
    contents = f"{PATH_MARK.join(path)} [{at}]\n{chunk.text}"
    name = hashlib.sha256(contents.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return {"id": name, "contents": contents, **row}


def main() -> None:
    """Read the command line, write the corpus, print the counts."""
    config = load_config(DocumentsConfig, None, sys.argv[1:])
    for line in documents_corpus(config).lines():
        say(line)


if __name__ == "__main__":
    run_main(main)
