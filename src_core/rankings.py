"""Rankings on disk: the passages of each question, best first, with their scores by name.

A file of rankings is JSONL, one `Ranking` per question; the texts of its passages are in `passages.jsonl` in
the same folder, each passage once, whatever the number of rankings that name it. Candidates of a retriever,
tables of scores and the output of a reranker all have this form, so that they are joined by passage id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from src_core.errors import UserError
from src_core.json_rows import lines
from src_core.jsonl import JsonlWriter, drop_torn_tail, rewrite_jsonl
from src_core.types import Passage, to_json

PASSAGES = "passages.jsonl"


@dataclass(frozen=True, slots=True)
class RankedPassage:
    """A passage of a ranking; `scores` are named after what computed them (`retrieval`, `rerank`, …)."""

    id: str
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The passages of one question, best first. `query` is the text that was searched for; `error` is why
    there is no ranking (a failed search, which the next run repeats), else "".
    """

    id: str
    query: str
    passages: tuple[RankedPassage, ...] = ()
    error: str = ""

    @property
    def ids(self) -> list[str]:
        """The ids of the passages in their order."""
        return [passage.id for passage in self.passages]


Record = TypeVar("Record")
_RANKING = TypeAdapter(Ranking)
_PASSAGE = TypeAdapter(Passage)


def read_rankings(path: Path) -> dict[str, Ranking]:
    """The rankings of a file by question id, without failed ones; of two rows of one question the later
    counts, and an incomplete last line is left out. Raises `UserError` naming file and line.
    """
    found: dict[str, Ranking] = {}
    for row in _records(path, _RANKING):
        if not row.error:
            found[row.id] = row
    return found


def read_passages(path: Path) -> Iterator[Passage]:
    """The passages of a file in their order. Raises `UserError` naming file and line."""
    yield from _records(path, _PASSAGE)


def passages_beside(path: Path) -> dict[str, Passage]:
    """By id, the passages that the rankings in `path` name. Raises `UserError` as `read_passages`."""
    return {passage.id: passage for passage in read_passages(path.parent / PASSAGES)}


def texts_beside(path: Path, rankings: Iterable[Ranking]) -> dict[str, str]:
    """By id, the texts of the passages beside `path`. Raises `UserError` where one that `rankings` name is
    missing there.
    """
    texts = {passage.id: passage.contents for passage in passages_beside(path).values()}
    missing = next((name for ranking in rankings for name in ranking.ids if name not in texts), None)
    if missing is not None:
        raise UserError(
            f"{path.parent / PASSAGES} has no text of the passage {missing[:80]!r}; remove the candidates "
            "beside it and run the stage 'candidates' again"
        )
    return texts


def finish_rankings(path: Path) -> set[str]:
    """Drop a torn tail, failed rows and repetitions from a file that is to be continued. Returns the ids of
    the questions that it holds.
    """
    drop_torn_tail(path)
    if not path.is_file():
        return set()
    held = read_rankings(path)
    if sum(1 for _ in _records(path, _RANKING)) != len(held):
        rewrite_jsonl(path, map(to_json, held.values()))
    return set(held)


class PassageFile:
    """`passages.jsonl` of a folder, to which passages are added, each id once. Raises `UserError` where an id
    comes with another text than before: the corpus was changed, and old and new scores would be mixed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / PASSAGES
        drop_torn_tail(self._path)
        held = read_passages(self._path) if self._path.is_file() else iter(())
        self._known = {passage.id: _digest(passage) for passage in held}
        self._writer = JsonlWriter(self._path)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, passages: Sequence[Passage]) -> None:
        """Write those that the file does not hold yet, without their scores."""
        new: dict[str, bytes] = {}
        for passage in passages:
            digest = _digest(passage)
            if self._known.get(passage.id, digest) != digest:
                raise UserError(
                    f"{self._path} holds another text of the passage {passage.id[:80]!r}: the corpus was "
                    "changed; serve the first one again, or take another run_name"
                )
            if passage.id not in self._known:
                self._known[passage.id] = digest
                new[passage.id] = to_json(Passage(passage.id, passage.title, passage.contents))
        if new:
            self._writer.write_many(list(new.values()))

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def _digest(passage: Passage) -> bytes:
    text = f"{passage.title}\n{passage.contents}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=12).digest()


def _records(path: Path, kind: TypeAdapter[Record]) -> Iterator[Record]:
    """One record per whole line."""
    if not path.is_file():
        raise UserError(f"no such file: {path}; run the stage that writes it, or check the path")
    with path.open("rb") as handle:
        for number, line in enumerate(lines(handle), start=1):
            if not line.endswith(b"\n") or not line.strip():
                continue
            try:
                yield kind.validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                raise UserError(
                    f"{path}, line {number}: {first['msg']}{f' at {place}' if place else ''}; correct or "
                    "remove that line"
                ) from error
