"""The replies of web searches on disk: one SQLite file that several runs share, bounded in days and in bytes.

What is stored are the results of a search and its time, never a key. An entry that is too old, or that cannot
be read, counts as none.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from src_core.errors import UserError
from src_core.types import to_json
from src_retrieval.web.base import Result

_RESULTS = TypeAdapter(list[Result])
_WAIT_SECONDS = 30.0
_TABLE = (
    "CREATE TABLE IF NOT EXISTS searches (key TEXT PRIMARY KEY, at REAL NOT NULL, reply BLOB NOT NULL) "
    "WITHOUT ROWID"
)
_ONE = "SELECT at, reply FROM searches WHERE key = ?"
_HELD = "SELECT COALESCE(SUM(LENGTH(reply)), 0) FROM searches"
_BY_AGE = "SELECT key, LENGTH(reply) FROM searches ORDER BY at"


class Cached(NamedTuple):
    """The results of a search, and when they were fetched (seconds since 1970)."""

    results: list[Result]
    at: float


class SearchCache:
    """Entries live `days`; above `most_bytes` the oldest are removed. Its methods are called from threads."""

    def __init__(
        self, file: Path, *, days: float, most_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        """Raises `UserError` for a file that is no cache or cannot be written."""
        self._file, self._days, self._most, self._clock = file, days, most_bytes, clock
        self._lock = threading.Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))  # queries are for this user alone
            self._store = sqlite3.connect(file, timeout=_WAIT_SECONDS, check_same_thread=False)
            self._store.execute("PRAGMA journal_mode=WAL")
            self._store.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def get(self, key: str) -> Cached | None:
        """The entry of a key that is not too old."""
        oldest = self._clock() - self._days * 86_400
        with self._lock:
            try:
                row = self._store.execute(_ONE, (key,)).fetchone()
            except sqlite3.Error as error:
                raise self._unusable(error) from error
        if row is None or not oldest <= row[0] <= self._clock():
            return None
        try:
            return Cached(_RESULTS.validate_python(orjson.loads(row[1])), float(row[0]))
        except (orjson.JSONDecodeError, ValidationError):
            return None

    def put(self, key: str, results: Sequence[Result]) -> float:
        """Store a search; returns its time."""
        now = self._clock()
        blob = b"[" + b",".join(to_json(result) for result in results) + b"]"
        with self._lock:
            try:
                with self._store:
                    self._store.execute("REPLACE INTO searches VALUES (?, ?, ?)", (key, now, blob))
                    self._store.execute("DELETE FROM searches WHERE at < ?", (now - self._days * 86_400,))
                    self._shrink()
            except sqlite3.Error as error:
                raise self._unusable(error) from error
        return now

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def _shrink(self) -> None:
        """Remove the oldest entries, a tenth more than needed, so that not each new entry removes one."""
        held = self._store.execute(_HELD).fetchone()[0]
        if held <= self._most:
            return
        for key, size in self._store.execute(_BY_AGE).fetchall():
            if held <= 0.9 * self._most:
                break
            self._store.execute("DELETE FROM searches WHERE key = ?", (key,))
            held -= size

    def _unusable(self, error: Exception) -> UserError:
        return UserError(
            f"{self._file} cannot be used as the cache of web searches ({error}); remove it, or set "
            "web.cache to another file"
        )


def search_key(*parts: object) -> str:
    """The key of a search by all that its reply depends on."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()
