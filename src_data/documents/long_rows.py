"""Long rows of a corpus file are cut into passages, since an encoder reads the beginning of a text only.

    python -m src_data.documents.long_rows corpus=FILE out=FILE

Prints the file to use: `out`, where a row was cut, else `corpus` itself. The first part of a row keeps its
id, the others are `ID#2`, `ID#3` and so on; a gold id `ID` counts as found with any of them
(`src_tasks.retrieval`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import Field

from src_core.config import Positive, config_class, load_config
from src_core.errors import UserError, run_main
from src_core.jsonl import rewrite_jsonl
from src_core.terminal import answer, say
from src_core.types import Passage
from src_data.documents.blocks import Block, BlockKind
from src_data.documents.chunking import Chunking, chunks
from src_retrieval.toy import corpus_passages

PART = "#"
_PARAGRAPHS = re.compile(r"\n\s*\n+")
_LARGEST = 1 << 31


@config_class
class LongRowsConfig:
    """The corpus, the file to write, the characters from which a row is long (512 tokens of English are about
    2,000), and how it is cut.
    """

    corpus: str
    out: str
    long_chars: Positive = 2_000
    chunking: Chunking = Chunking(passage_chars=1_000)
    largest_bytes: Annotated[int, Field(ge=1)] = _LARGEST


def cut_long_rows(config: LongRowsConfig) -> Path:
    """The corpus to index. Raises `UserError` for a corpus that cannot be read."""
    source = Path(config.corpus)
    if source.stat().st_size > config.largest_bytes:
        say(f"{source} is too large to look for long rows: an encoder reads about 2,000 characters of each")
        return source
    rows, cut = 0, 0
    for passage in corpus_passages(source):
        rows += 1
        cut += len(passage.contents) > config.long_chars
    if not cut:
        return source
    taken = {passage.id for passage in corpus_passages(source)}
    written: list[int] = []
    rewrite_jsonl(Path(config.out), _lines(config, taken, written))
    say(
        f"{cut} of {rows} rows of {source} are longer than {config.long_chars} characters and are cut into "
        f"passages; {len(written)} passages in all"
    )
    return Path(config.out)


def parts(passage: Passage, *, settings: Chunking) -> Iterator[dict[str, Any]]:
    """The rows of one long passage, each under its title."""
    blocks = [Block(BlockKind.TEXT, text) for text in _PARAGRAPHS.split(passage.text) if text.strip()]
    for number, chunk in enumerate(chunks(blocks, settings=settings), start=1):
        name = passage.id if number == 1 else f"{passage.id}{PART}{number}"
        yield {"id": name, "contents": f"{passage.title}\n{chunk.text}" if passage.title else chunk.text}


def _lines(config: LongRowsConfig, taken: set[str], written: list[int]) -> Iterator[bytes]:
    for passage in corpus_passages(Path(config.corpus)):
        if len(passage.contents) <= config.long_chars:
            made = iter([{"id": passage.id, "contents": passage.contents}])
        else:
            made = parts(passage, settings=config.chunking)
        for row in made:
            if row["id"] != passage.id and row["id"] in taken:
                raise UserError(
                    f"{config.corpus}: the row {passage.id!r} is cut into parts, but a row has the id "
                    f"{row['id']!r} already; rename that one"
                )
            written.append(1)
            yield orjson.dumps(row)


def main() -> None:
    """Read the command line, cut, print the file to use."""
    answer(str(cut_long_rows(load_config(LongRowsConfig, None, sys.argv[1:]))))


if __name__ == "__main__":
    run_main(main)
