"""The base type of web search engines: how one is asked, and the results in its reply."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from src_core.wire_json import ReplyError


class Request(NamedTuple):
    """One request below the engine's address; `body` None sends none."""

    method: str
    path: str
    body: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One result: its page and title, the texts of the engine about it (`snippets`), and the page's own text
    where the engine sends it. All are text of others.
    """

    url: str
    title: str
    snippets: tuple[str, ...]
    page: str = ""


class WebEngine(ABC):
    """One kind of engine. `address` is the usual one ("": it must be named), `key` the variable of the
    environment with its key ("": it has none), sent in the header `header` after `prefix`. Longer queries
    than `most_chars` characters or `most_words` words are cut, since the engine refuses them. `spent` are the
    HTTP statuses of a plan that is used up.
    """

    kinds: ClassVar[tuple[str, ...]]
    address: ClassVar[str] = ""
    key: ClassVar[str] = ""
    header: ClassVar[str] = ""
    prefix: ClassVar[str] = ""
    most_chars: ClassVar[int] = 2048
    most_words: ClassVar[int] = 1000
    spent: ClassVar[tuple[int, ...]] = ()

    @abstractmethod
    def request(self, query: str, *, count: int, pages: bool) -> Request:
        """The request for `count` results; with `pages` also for the text of each page."""

    @abstractmethod
    def results(self, reply: Mapping[str, Any]) -> list[Result]:
        """The results in a reply, best first. Raises `ReplyError`."""

    def refuses_key(self, status: int, words: str) -> bool:  # noqa: ARG002 - for those that say so otherwise
        """Whether an error means that the key is missing or wrong."""
        return status in (401, 403)

    @property
    def advice(self) -> str:
        """What a person does where the engine refuses a request for its key."""
        return f"set {self.key} to a key that it knows"


def rows_of(reply: Mapping[str, Any], *path: str) -> list[Mapping[str, Any]]:
    """The objects of the list at `path`. Raises `ReplyError` where there is no list: another schema is no
    search without results.
    """
    found: Any = reply
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, list):
        raise ReplyError(f"the reply has no list {'.'.join(path)}")
    return [row for row in found if isinstance(row, Mapping)]


def text_of(row: Mapping[str, Any], key: str) -> str:
    """The text under a key, "" for anything else."""
    found = row.get(key)
    return found if isinstance(found, str) else ""
