"""A corpus of any size: short passages, each a title and two sentences of real ones, drawn block by block.

Words, lengths and repetitions are those of real text; the number of distinct words is bounded by the source.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from src_core.errors import UserError
from src_core.jsonl import read_jsonl, write_atomic
from src_core.progress import Steps
from src_core.sentences import split_sentences
from src_retrieval.unpack import corpus_rows

BLOCK = 20_000
TITLE_BYTES = 80


class Pieces(NamedTuple):
    """Texts as they are in JSON, without the quotes: uint8 texts would cost a conversion per passage."""

    titles: list[bytes]
    sentences: list[bytes]


def pieces_of(source: Path, *, sentence_bytes: int) -> Pieces:
    """The titles and the sentences of a corpus, without the long ones. Raises `UserError` where it has
    none.
    """
    titles, sentences = [], []
    for row in corpus_rows(source):
        title, _, text = row.contents.partition("\n")
        titles.append(_escaped(title))
        sentences += [_escaped(sentence) for sentence in split_sentences(text)]
    found = Pieces(
        [title for title in titles if 0 < len(title) <= TITLE_BYTES],
        [sentence for sentence in sentences if 0 < len(sentence) <= sentence_bytes],
    )
    if not found.titles or not found.sentences:
        raise UserError(f"{source} holds no titled passages with sentences of at most {sentence_bytes} bytes")
    return found


def passage_bytes(pieces: Pieces) -> float:
    """The mean length of a line of the corpus that is made from `pieces`."""
    lines = list(block(pieces, 0, 0, min(2_000, BLOCK)))
    return sum(map(len, lines)) / len(lines) + 8  # the numbers of later passages are longer


def block(pieces: Pieces, number: int, first: int, count: int) -> Iterator[bytes]:
    """The lines of block `number`, whose first passage has the id `first`."""
    rng = np.random.default_rng((1, number))
    titles = rng.integers(len(pieces.titles), size=count).tolist()
    chosen: NDArray[np.int64] = rng.integers(len(pieces.sentences), size=(count, 2))
    for at, (title, (one, other)) in enumerate(zip(titles, chosen.tolist(), strict=True), start=first):
        text = (pieces.titles[title], pieces.sentences[one], pieces.sentences[other])
        yield b'{"id": "%d", "contents": "%b\\n%b %b"}\n' % (at, *text)


def write_corpus(path: Path, pieces: Pieces, rows: int, *, key: str, steps: Steps) -> None:
    """Write the passages, or those that an interrupted call left to do. `key` names what they are made
    with.
    """
    partial, record = path.with_suffix(".partial"), path.with_suffix(".progress")
    done = _done(partial, record, key)
    with (
        partial.open("r+b" if done.rows else "wb") as out,
        steps("passages", total=rows, done=done.rows) as bar,
    ):
        out.truncate(done.size)
        out.seek(done.size)
        for start in range(done.rows, rows, BLOCK):
            count = min(BLOCK, rows - start)
            out.write(b"".join(block(pieces, start // BLOCK, start, count)))
            bar.advance(count)
            if (start // BLOCK) % 25 == 0:
                out.flush()
                os.fsync(out.fileno())
                write_atomic(record, orjson.dumps({"key": key, "rows": start + count, "size": out.tell()}))
    partial.replace(path)
    record.unlink(missing_ok=True)


def questions_of(paths: tuple[str, ...]) -> list[str]:
    """The questions of some files. Raises `UserError` for none."""
    found = [str(row["question"]) for path in paths for row in read_jsonl(Path(path))]
    if not found:
        raise UserError(f"no question in {', '.join(paths)}; set questions to files with rows that have one")
    return found


class _Done(NamedTuple):
    rows: int = 0
    size: int = 0


def _done(partial: Path, record: Path, key: str) -> _Done:
    try:
        saved = orjson.loads(record.read_bytes())
        if saved["key"] == key and partial.stat().st_size >= saved["size"]:
            return _Done(int(saved["rows"]), int(saved["size"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return _Done()


def _escaped(text: str) -> bytes:
    return orjson.dumps(" ".join(text.split()))[1:-1]
