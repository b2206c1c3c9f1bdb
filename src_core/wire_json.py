"""JSON as servers send it: also with half characters, and with errors inside HTTP 200."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import orjson

from src_core.text import whole_text

_MOST_WORDS = 500
_WORDS = ("message", "detail", "error", "title", "msg", "reason", "errors")
"""The keys under which servers explain an error, the first that holds text."""


class ReplyError(ValueError):
    """A reply that cannot be used, in one sentence. `retryable` as in `BoundaryError`."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class NoJsonError(ReplyError):
    """A reply that is no JSON at all; `is_page` for a page of HTML."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(f"the reply is not JSON: {server_words(payload)}")
        self.is_page = payload.lstrip()[:1] == b"<"


class ErrorInside(NamedTuple):
    """An error that a server sent with HTTP 200: its HTTP status (502 where it names none) and its words."""

    code: int
    words: str


def parse_json(payload: bytes) -> Any:
    """The value of a body. Half a character (a lone surrogate, which a model can write) and bytes that are no
    UTF-8 are replaced. Raises `ReplyError`.
    """
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        try:
            return _whole(json.loads(payload.decode("utf-8", "replace")))
        except (ValueError, RecursionError) as error:
            raise NoJsonError(payload) from error


def error_inside(parsed: Any) -> ErrorInside | None:
    """The error of a reply whose status says that all is well; None where it holds none."""
    if not isinstance(parsed, dict):
        return None
    inner = parsed.get("error")
    if not inner and (parsed.get("object") == "error" or parsed.get("type") == "error"):
        inner = parsed
    if not inner:
        return None
    codes = [found.get("code", found.get("status")) for found in (inner, parsed) if isinstance(found, dict)]
    return ErrorInside(next(filter(None, map(_code, codes)), 502), words_in(inner) or words_in(parsed))


def server_words(payload: bytes) -> str:
    """The explanation in the body of an error, else its beginning, on one line."""
    try:
        found = words_in(orjson.loads(payload))
    except orjson.JSONDecodeError:
        found = payload[: 4 * _MOST_WORDS].decode("utf-8", "replace")
    return " ".join(found.split())[:_MOST_WORDS]


def words_in(value: Any) -> str:
    """The explanation in an error object, else the beginning of its JSON; "" for nothing."""
    if isinstance(value, str):
        return value[:_MOST_WORDS]
    if isinstance(value, dict):
        for key in _WORDS:
            if value.get(key):
                return words_in(value[key])
    return json.dumps(value, ensure_ascii=False)[:_MOST_WORDS] if value else ""


def seconds_asked(headers: Mapping[str, str]) -> float:
    """The seconds that `Retry-After` asks to wait (a number or an HTTP date), at least one; 0.0 where it asks
    for nothing.
    """
    value = headers.get("Retry-After", "").strip()
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            # The server's own clock, where it says what that shows: ours may differ.
            now = headers.get("Date", "")
            begin = parsedate_to_datetime(now).timestamp() if now else time.time()
            seconds = parsedate_to_datetime(value).timestamp() - begin
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return max(seconds, 1.0) if 0 < seconds < math.inf else 0.0


def _code(value: Any) -> int:
    """An HTTP status, written as a number or as text; 0 for anything else."""
    try:
        code = int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return code if 400 <= code < 600 else 0


def _whole(value: Any) -> Any:
    """JSON data whose texts are whole (see `whole_text`)."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, dict):
        return {whole_text(key): _whole(inner) for key, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value
