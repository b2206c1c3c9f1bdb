"""Vectors in a store of its own: a server (PostgreSQL, Qdrant, Milvus), or files that its library keeps.

Each store is one module with a `VectorStore`; what is the same for all of them is here (settings, the record
that lies beside the vectors), in `store_load.py` (filling) and in `store_index.py` (searching, and the
backend that joins them). A vector has the number of its corpus row as its key and the id of its passage
beside it.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from src_core.config import Positive, Seconds, config_class
from src_core.errors import IndexServerError, UserError
from src_core.http_json import RetryPolicy
from src_retrieval.encoders.spec import EncoderIdentity
from src_retrieval.index_server import Repeated
from src_retrieval.results import Facts, FloatArray

T = TypeVar("T")

INSTALL = "bash scripts/setup.sh requirements-backends.txt"
MOST_WORDS = 300
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_ERRNO = re.compile(r"\[Errno -?\d+\] ([\w ]+)")


class Search(StrEnum):
    """How a store searches: `hnsw` by a graph, `flat` by comparing all vectors, which is exact."""

    HNSW = "hnsw"
    FLAT = "flat"


@config_class
class StoreOptions:
    """Where a store is: `address` is that of a server or a folder, empty: the one in the store's variable of
    the environment, else this machine.
    """

    address: str = ""
    request_timeout: Seconds = 60.0
    retry: RetryPolicy = RetryPolicy()


@config_class
class LoadOptions(StoreOptions):
    """The section `shape` of a build: the vectors go into `collection`, `bulk_rows` per request. `replace`
    deletes a collection of that name that a build made from something else.
    """

    collection: str = "passages"
    bulk_rows: Positive = 500
    replace: bool = False

    def facts(self) -> Facts:
        """The settings that determine what is in the store: not how it is filled."""
        own = {field.name for field in fields(LoadOptions)} - {"collection"}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in own}


@config_class
class GraphOptions(LoadOptions):
    """`LoadOptions` of a store with graphs; `hnsw_m` and `hnsw_ef_construction` are its usual values."""

    index: Search = Search.HNSW
    hnsw_m: Positive = 16
    hnsw_ef_construction: Positive = 128


@config_class
class GraphSearchOptions(StoreOptions):
    """The section `searching` of a server: `hnsw_ef` candidates of the graph, at least as many as rows are
    asked for.
    """

    hnsw_ef: Positive = 128


@dataclass(frozen=True, slots=True)
class StoreManifest:
    """The record beside the vectors: what they were made from (`encoder.dim` is their dimension), and how far
    the build has come. `made` is an id that no other build of the collection has.
    """

    made: str
    corpus_sha256: str
    rows: int
    encoder: EncoderIdentity
    settings: Facts
    rows_done: int = 0
    ended: bool = False

    def other(self, wanted: StoreManifest) -> str | None:
        """The first thing in which the vectors are others than `wanted`."""
        for name in ("corpus_sha256", "rows", "encoder", "settings"):
            if getattr(self, name) != getattr(wanted, name):
                return "corpus" if name in ("corpus_sha256", "rows") else name
        return None

    def at(self, rows_done: int, *, ended: bool = False) -> StoreManifest:
        """The same build, after `rows_done` rows."""
        return replace(self, rows_done=rows_done, ended=ended)

    def to_text(self) -> str:
        """As JSON, which every store can keep."""
        return orjson.dumps(self).decode()


def read_text(text: str, where: str) -> StoreManifest:
    """The record of a collection. Raises `UserError` for one that cannot be read."""
    try:
        return TypeAdapter(StoreManifest).validate_json(text)
    except ValidationError as error:
        raise UserError(
            f"the record of {where} cannot be read; delete that collection by adding shape.replace=true to a "
            "new build, or choose another shape.collection"
        ) from error


class StoreErrors(NamedTuple):
    """Makes the errors of one collection. `variable` and `secret` are the variables of the environment with
    the address and with the password or key.
    """

    title: str
    place: str
    collection: str
    variable: str
    secret: str

    def says(self, words: str, *, again: bool = False) -> IndexServerError:
        """An error in the store's own words."""
        text = f"{self.title} at {self.place}, collection {self.collection}: {short(words)}"
        return IndexServerError(text, retryable=again)

    def unreachable(self, reason: str) -> IndexServerError:
        """No answer, or none in time."""
        found = _ERRNO.search(reason)
        why = found[1].strip() if found else short(reason)
        return IndexServerError(
            f"no answer from {self.title} at {self.place} ({why}); start it, or correct {self.variable} or "
            "the setting address",
            retryable=True,
        )

    def not_let_in(self, reason: str) -> IndexServerError:
        """The store wants a name or a key."""
        return IndexServerError(
            f"{self.title} at {self.place} does not let us in ({short(reason)}); set {self.secret}"
        )


def short(words: str) -> str:
    """One line, of bounded length."""
    return " ".join(words.split())[:MOST_WORDS]


class VectorStore(ABC):
    """One collection of a store. Used by one thread at a time, not always the one that made it. Each call may
    be repeated; it raises an exception of `raised`, of which `explain` makes an `IndexServerError`.
    """

    title: ClassVar[str]
    errors: StoreErrors
    raised: tuple[type[Exception], ...]

    @abstractmethod
    def explain(self, error: Exception) -> IndexServerError:
        """What an exception of `raised` means."""

    @abstractmethod
    def version(self) -> str:
        """The name and version of the server or library."""

    @abstractmethod
    def count(self) -> int | None:
        """The number of vectors; None where there is no such collection."""

    @abstractmethod
    def manifest(self) -> str | None:
        """The record beside the vectors; None where there is none."""

    @abstractmethod
    def create(self, dim: int, manifest: str, shape: Any) -> None:
        """Make the empty collection, never without the record. `shape` is a `LoadOptions`."""

    @abstractmethod
    def write_manifest(self, text: str) -> None:
        """Replace the record."""

    @abstractmethod
    def drop(self) -> None:
        """Delete the collection and its record, as far as they are there."""

    @abstractmethod
    def add(self, start: int, ids: Sequence[str], vectors: FloatArray) -> None:
        """Write the rows from `start` on. Those among them that an interrupted build left are replaced."""

    @abstractmethod
    def finish(self, shape: Any) -> None:
        """Make what the search needs (the graph), and wait until it is there."""

    @abstractmethod
    def search(
        self, vectors: FloatArray, k: int, searching: Any, among: Sequence[int] | None = None
    ) -> list[list[tuple[int, float]]]:
        """The `k` best rows for each of float32 [queries, dim] with their inner products, only those `among`
        where that is given; exact then.
        """

    @abstractmethod
    def close(self) -> None:
        """Let the connection or the files go."""


class StoreCalls:
    """Calls of one store, repeated where that may help. Each raises `IndexServerError`."""

    def __init__(self, store: VectorStore, policy: RetryPolicy) -> None:
        self.store, self._repeated = store, Repeated(policy)

    def __call__(self, call: Callable[[], T]) -> T:
        """The result of `call`, a call of the store."""
        return self._repeated(lambda: self._once(call))

    def _once(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except self.store.raised as error:
            raise self.store.explain(error) from error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            form = f"an answer in another form than that of {self.store.title} ({error!r:.100})"
            raise self.store.errors.says(form) from error


def checked_name(name: str) -> str:
    """A name of a collection. Raises `UserError` for one that not every store can have."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r:.100} is no name of a collection; use at most 48 small letters, digits and '_' in "
            "shape.collection, a letter first"
        )
    return name


def address_of(options: StoreOptions, variable: str, default: str) -> str:
    """The address in the settings, else in the environment, else `default`."""
    return options.address.strip() or os.environ.get(variable, "").strip() or default


def not_installed(what: str) -> UserError:
    """The client of a store is not there."""
    return UserError(f"the client of {what} is not installed; install it: {INSTALL}")
