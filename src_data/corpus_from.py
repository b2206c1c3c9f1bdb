"""Builds one corpus for an index from the passages in question files.

    bash scripts/make_corpus.sh corpus=data/mine/corpus.jsonl hotpot_train_v1.1.json musique_ans_train.jsonl

The paper retrieves from the documents of its questions, gold ones and distractors; this module builds that
corpus. A passage is one row `{"id", "contents"}`, its id the content hash that `Question.supporting` of the
same rows names. The same passage of several rows or sets is written once. Memory holds one row and one 8-byte
hash (a Python integer) per passage; the file gets its name when it is complete.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import orjson
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from src_core.config import config_class, load_config
from src_core.console import Terminal, description_column
from src_core.errors import UserError, run_main
from src_tasks.readers.rows import SourceRow
from src_tasks.readers.sources import BadRow, OnBadRow, SourceSetting, read_source

TELL_EVERY = 100


@config_class
class CorpusConfig:
    """The file of the corpus and the question sets that it is built from."""

    corpus: str
    sources: tuple[SourceSetting, ...]
    on_bad_row: OnBadRow = OnBadRow.FAIL
    overwrite: bool = False


@dataclasses.dataclass(slots=True)
class CorpusCount:
    """Counts of the corpus: `passages` in all rows, `written` distinct passages, `gold` distinct passages
    that a question names as supporting.
    """

    rows: int = 0
    malformed: int = 0
    passages: int = 0
    written: int = 0
    gold: int = 0

    def __str__(self) -> str:
        return (
            f"{self.written} different passages ({self.gold} gold) of {self.passages} in {self.rows} rows; "
            f"{self.malformed} malformed rows"
        )


def make_corpus(config: CorpusConfig, *, console: Console) -> CorpusCount:
    """Write the corpus and return the counts. Raises `UserError` for a file that exists already, for a source
    whose rows have no passages, and for a malformed row with `on_bad_row` `fail`; the file is then not
    written.
    """
    path = Path(config.corpus)
    _check(config, path)
    with _whole_file(path) as handle, _progress(console) as progress:
        writer = _Writer(handle, console)
        task = progress.add_task("", total=None)
        for source in config.sources:
            before = writer.count.passages
            rows = read_source(source, report=writer.note, on_bad_row=config.on_bad_row)
            for number, row in enumerate(rows):
                writer.add(row)
                if number % TELL_EVERY == 0:
                    progress.update(task, description=f"{Path(source.path).name}: {writer.count}")
            if writer.count.passages == before:
                raise UserError(f"the rows of {source.path} come without passages; leave it out")
    console.print(f"corpus ready in {path}: {writer.count}", soft_wrap=True)
    return writer.count


class _Writer:
    """Appends new passages and counts them."""

    def __init__(self, handle: BinaryIO, console: Console) -> None:
        self.count = CorpusCount()
        self._handle = handle
        self._console = console
        self._seen: set[int] = set()
        self._gold: set[int] = set()

    def add(self, row: SourceRow) -> None:
        """Write the passages of a row that are not yet in the file."""
        self.count.rows += 1
        gold = frozenset(row.question.supporting)
        for passage in row.passages:
            self.count.passages += 1
            key = int(passage.id[1:], 16)
            if key not in self._seen:
                self._seen.add(key)
                self._handle.write(orjson.dumps({"id": passage.id, "contents": passage.contents}) + b"\n")
            if passage.id in gold:
                self._gold.add(key)
        self.count.written, self.count.gold = len(self._seen), len(self._gold)

    def note(self, bad: BadRow) -> None:
        """Report a malformed row and count it."""
        self.count.malformed += 1
        self._console.print(f"malformed: {bad}", soft_wrap=True)


def _check(config: CorpusConfig, path: Path) -> None:
    if not config.sources:
        raise UserError("no question file is named; name at least one")
    if any(Path(source.path).resolve() == path.resolve() for source in config.sources):
        raise UserError(f"{path} is one of the sources; choose another name for the corpus")
    if path.exists() and not config.overwrite:
        raise UserError(f"{path} exists; choose another name or set overwrite=true")


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is renamed to `path` at the end, and removed when anything fails before."""
    partial = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"could not write {path}: {error.strerror}; free some space or choose another folder"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _progress(console: Console) -> Progress:
    return Progress(SpinnerColumn(), description_column(), TimeElapsedColumn(), console=console)


def main() -> None:
    """`python -m src_data.corpus_from corpus=FILE [FILE ...] [key=value ...]`: bare arguments are question
    files.
    """
    files = [argument for argument in sys.argv[1:] if "=" not in argument]
    settings = [argument for argument in sys.argv[1:] if "=" in argument]
    if files:
        settings.append(f"sources={orjson.dumps(files).decode()}")
    make_corpus(load_config(CorpusConfig, None, settings), console=Terminal(stderr=True))


if __name__ == "__main__":
    run_main(main)
