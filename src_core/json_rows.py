"""JSON values out of a stream of bytes, one at a time: lines, and the items of an array.

A value that is nested too deep, or is no JSON, is a problem with its place; memory holds one value of at
most `MAX_ROW` bytes, whatever the file holds. Every value is parsed by orjson, so that a row means the same
in a line and in an array.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import orjson

MAX_DEPTH = 100
"""Levels of lists and objects in a row: published layouts have up to 20, orjson writes at most 254."""
MAX_ROW = 1 << 26
"""Bytes of a row (64 MiB)."""
MAX_BRACKETS = 1_000_000
"""Opening brackets of a row: two bytes of an empty object take 64 in memory."""
NOT_UTF8 = "not valid UTF-8; a file in Latin-1 is converted with: iconv -f latin1 -t utf8 FILE > NEW_FILE"
_CHUNK = 1 << 18
_NO_ROWS = "it holds neither a JSON array of rows nor one row per line"
_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb'[^,:\[\]{}" \t\r\n]++')
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# The next bracket that is not within a string.
_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+[\[\]{}]', re.DOTALL)
_OPENING = frozenset(b"[{")


class JsonError(ValueError):
    """The file around the rows is no JSON; the message is a clause without the file's name."""


class Parsed(NamedTuple):
    """A value, or the problem that explains why there is none."""

    value: Any
    problem: str = ""


def parsed(text: bytes) -> Parsed:
    """The JSON value of `text`."""
    if len(text) > MAX_ROW:
        return Parsed(None, f"longer than {MAX_ROW >> 20} MiB")
    brackets = text.count(b"[") + text.count(b"{")
    if brackets > MAX_BRACKETS:
        return Parsed(None, f"more than {MAX_BRACKETS:,} brackets in one row")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Parsed(None, f"not valid JSON ({error if _is_utf8(text) else NOT_UTF8})")
    if brackets > MAX_DEPTH and is_too_deep(value):
        return Parsed(None, f"nested deeper than {MAX_DEPTH} levels")
    return Parsed(value)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_too_deep(value: Any) -> bool:
    """Whether a value is nested deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def shown_keys(names: Iterable[Any]) -> str:
    """The keys of a row for a message: at most 12, each cut to 40 characters, without control characters."""
    held = [f"{str(name)!r:.40}" for name in names]
    return ", ".join(held[:12]) + (", …" if len(held) > 12 else "") if held else "none"


def lines(handle: BinaryIO) -> Iterator[bytes]:
    """The lines of a file with their ends. One that is longer than `MAX_ROW` is cut to `MAX_ROW` + 1 bytes,
    which `parsed` refuses.
    """
    for line in iter(partial(handle.readline, MAX_ROW + 1), b""):
        yield line
        rest = line
        while len(rest) > MAX_ROW and not rest.endswith(b"\n"):
            rest = handle.readline(MAX_ROW + 1)


def items(handle: BinaryIO) -> Iterator[Parsed]:
    """The items of a JSON array, or of the first array of objects directly inside a JSON object, whose other
    values are skipped. Raises `JsonError` for anything else, and where the file ends too early.
    """
    text = _Text(handle)
    if text.peek() == b"[":
        yield from _array(text)
    elif text.peek() == b"{":
        yield from _array_inside(text)
    else:
        raise JsonError(_NO_ROWS)
    if text.peek():
        raise JsonError("something follows the end of the array")


def _array_inside(text: _Text) -> Iterator[Parsed]:
    found = empty = False
    text.take(b"{")
    while text.peek() != b"}":
        _skip(text)
        text.take(b":")
        if found or text.peek() != b"[":
            _skip(text)
        else:
            values = _array(text)
            first = next(values, None)
            found = first is not None and (first.problem != "" or isinstance(first.value, dict))
            empty = empty or first is None
            if first is not None and found:
                yield first
            for value in values:
                if found:
                    yield value
        if text.peek() != b"}":
            text.take(b",")
    text.take(b"}")
    if not found and not empty:
        raise JsonError(_NO_ROWS)


def _skip(text: _Text) -> None:
    """Go past a key or value beside the array."""
    problem = parsed(text.value()).problem
    if problem:
        raise JsonError(problem)


def _array(text: _Text) -> Iterator[Parsed]:
    text.take(b"[")
    number = 0
    while text.peek() != b"]":
        if number:
            text.take(b",")
        number += 1
        try:
            item = text.value()
        except JsonError as error:
            raise JsonError(f"row {number}: {error}") from error
        yield parsed(item)
    text.take(b"]")


class _Text:
    """The bytes of a file from a position on; what lies before it is dropped."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._data = b""
        self._at = 0

    def peek(self) -> bytes:
        """The next byte that is no white space, b"" at the end of the file."""
        while True:
            self._at = _end(_SPACE, self._data, self._at)
            if self._at < len(self._data):
                return self._data[self._at : self._at + 1]
            if not self._more():
                return b""

    def take(self, wanted: bytes) -> None:
        """Go past the byte `wanted`. Raises `JsonError` for any other."""
        found = self.peek()
        if found != wanted:
            raise JsonError(f"expected {wanted.decode()!r}, found {_shown(found)}")
        self._at += 1

    def value(self) -> bytes:
        """The bytes of the next value. Brackets are paired whatever their kind: parsing them is the caller's
        part. Raises `JsonError` where there is no value, or no end of it.
        """
        first = self.peek()
        if first in (b"[", b"{"):
            end = self._end_of_container()
        else:
            end = self._end_of_scalar(_STRING if first == b'"' else _SCALAR)
        begun, self._at = self._at, end
        return self._data[begun:end]

    def _end_of_container(self) -> int:
        at, depth = self._at, 0
        while True:
            match = _BRACKET.match(self._data, at)
            if match is None:
                at -= self._grow()
                continue
            at = match.end()
            depth += 1 if self._data[at - 1] in _OPENING else -1
            if not depth:
                return at

    def _end_of_scalar(self, pattern: re.Pattern[bytes]) -> int:
        while True:
            match = pattern.match(self._data, self._at)
            if match and (pattern is _STRING or match.end() < len(self._data)):
                return match.end()
            if not match and pattern is _SCALAR:
                raise JsonError(f"expected a value, found {_shown(self.peek())}")
            self._grow()

    def _grow(self) -> int:
        """Read on within a value. Returns the number of bytes that were dropped before it."""
        if len(self._data) - self._at > MAX_ROW:
            raise JsonError(f"longer than {MAX_ROW >> 20} MiB")
        dropped = self._at
        if not self._more():
            raise JsonError("the file ends within it")
        return dropped

    def _more(self) -> bool:
        # As much again as is held: a string that is longer than a chunk is searched a few times only.
        rest = self._data[self._at :]
        read = self._handle.read(max(_CHUNK, len(rest)))
        self._data, self._at = rest + read, 0
        return bool(read)


def _end(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    match = pattern.match(data, at)
    return match.end() if match else at


def _shown(found: bytes) -> str:
    return repr(found.decode("utf-8", "replace")) if found else "the end of the file"
