"""The first pass of a BM25 build: the words of all passages, on disk, in the order of the passages.

The files only grow at their ends, and a record says how far they count. A build that was killed cuts them to
that and goes on with the next passage; of 21 million passages at most `PASSAGES_PER_SAVE` are read twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from src_core.jsonl import write_atomic
from src_core.progress import Steps
from src_retrieval.sparse.base import Texts

DOCS_PER_CHUNK = 2_000
PASSAGES_PER_SAVE = 200_000
TOKEN_MASK = (1 << 32) - 1
NUMBER = 4
COLUMNS = ("tokens", "tf", "sizes", "lengths")
"""Files of int32: of each pair of a word and a passage the word and how often it occurs; of each passage its
pairs and its length.
"""
WORDS, RECORD = "postings.words", "postings.json"


class Divided(NamedTuple):
    """The words of a text, and its length in the words of bm25s alone: by it long passages are scored lower,
    and a name in Chinese letters does not make an English passage ten words longer.
    """

    words: list[str]
    length: int


Divide = Callable[[Sequence[str]], list[list[Divided]]]
"""Passages to the words of each field: one list for each field, with one element for each passage."""


class Mark(NamedTuple):
    """How much of the files of a field counts: passages, pairs, and bytes of the file of words."""

    passages: int = 0
    pairs: int = 0
    letters: int = 0


class Field:
    """The files of one field in `folder`, cut to `mark` and open for what follows. `vocabulary` holds the
    number of each word.
    """

    def __init__(self, folder: Path, mark: Mark) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._passages, self._pairs = mark.passages, mark.pairs
        sizes = _sizes(mark)
        self._files = {name: _cut(folder / name, size) for name, size in sizes.items()}
        known = (folder / WORDS).read_bytes()
        self.vocabulary: dict[str, int] = {
            orjson.loads(word): at for at, word in enumerate(known.splitlines())
        }

    @property
    def pairs(self) -> int:
        """The number of pairs of a word and a passage."""
        return self._pairs

    def add(self, documents: Sequence[Divided]) -> None:
        """Append the words of the next passages."""
        vocabulary = self.vocabulary
        words = [word for text in documents for word in text.words]
        fresh = list(dict.fromkeys(word for word in words if word not in vocabulary))
        vocabulary.update(zip(fresh, range(len(vocabulary), len(vocabulary) + len(fresh)), strict=True))
        flat = [vocabulary[word] for word in words]
        counts = [len(text.words) for text in documents]
        local = np.repeat(np.arange(len(documents), dtype=np.int64), counts)
        pairs, times = np.unique((local << 32) | np.array(flat, dtype=np.int64), return_counts=True)
        columns = {
            "tokens": pairs & TOKEN_MASK,
            "tf": times,
            "sizes": np.bincount(pairs >> 32, minlength=len(documents)),
            "lengths": np.array([text.length for text in documents]),
        }
        for name, column in columns.items():
            self._files[_file(name)].write(column.astype(np.int32).tobytes())
        self._files[WORDS].write(b"".join(orjson.dumps(word) + b"\n" for word in fresh))
        self._passages, self._pairs = self._passages + len(documents), self._pairs + len(pairs)

    def save(self) -> Mark:
        """Bring what was added to the disk."""
        for handle in self._files.values():
            handle.flush()
            os.fsync(handle.fileno())
        return Mark(self._passages, self._pairs, self._files[WORDS].tell())

    def column(self, name: str) -> NDArray[np.int32]:
        """One of `COLUMNS`, mapped; after `close`. Not for an empty one."""
        return np.memmap(self.folder / _file(name), dtype=np.int32, mode="r")

    def close(self) -> None:
        """No more is added."""
        for handle in self._files.values():
            handle.close()

    def remove(self) -> None:
        """Remove the files."""
        for name in self._files:
            (self.folder / name).unlink()


def collect(
    folders: Sequence[Path], record: Path, divide: Divide, texts: Texts, count: int, steps: Steps
) -> list[Field]:
    """Go through the passages, or through those that an interrupted build left, and write the files of each
    field into its folder. `record` says how far they count.
    """
    marks = _saved(record, folders)
    fields = [Field(folder, mark) for folder, mark in zip(folders, marks, strict=True)]
    done = unsaved = marks[0].passages
    with steps("passages split into words", total=count, done=done) as progress:
        for start in range(done, count, DOCS_PER_CHUNK):
            chunk = texts(start, min(start + DOCS_PER_CHUNK, count))
            for field, documents in zip(fields, divide(chunk), strict=True):
                field.add(documents)
            progress.advance(len(chunk))
            if start + len(chunk) - unsaved >= PASSAGES_PER_SAVE:
                _save(record, fields)
                unsaved = start + len(chunk)
    _save(record, fields)
    for field in fields:
        field.close()
    return fields


def _save(record: Path, fields: Sequence[Field]) -> None:
    write_atomic(record, orjson.dumps([[*field.save()] for field in fields]))


def _saved(record: Path, folders: Sequence[Path]) -> list[Mark]:
    """How much of each field counts; nothing where one of the files is shorter than its record."""
    try:
        marks = [Mark(*map(int, numbers)) for numbers in orjson.loads(record.read_bytes())]
    except (OSError, ValueError, TypeError):
        marks = []
    whole = len(marks) == len(folders) and len({mark.passages for mark in marks}) == 1
    if whole and all(_holds(folder, mark) for folder, mark in zip(folders, marks, strict=True)):
        return marks
    return [Mark() for _ in folders]


def _holds(folder: Path, mark: Mark) -> bool:
    paths = {folder / name: size for name, size in _sizes(mark).items()}
    return all(path.is_file() and path.stat().st_size >= size for path, size in paths.items())


def _sizes(mark: Mark) -> dict[str, int]:
    """Bytes of each file."""
    pairs, passages = mark.pairs * NUMBER, mark.passages * NUMBER
    columns = dict(zip(map(_file, COLUMNS), (pairs, pairs, passages, passages), strict=True))
    return {**columns, WORDS: mark.letters}


def _file(column: str) -> str:
    return f"postings.{column}"


def _cut(path: Path, size: int) -> BinaryIO:
    handle = path.open("r+b" if size else "wb")
    handle.truncate(size)
    handle.seek(size)
    return handle
