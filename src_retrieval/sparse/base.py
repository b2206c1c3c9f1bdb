"""The base types of a word backend: what builds an index of words, opens it and searches it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from src_core.progress import Steps
from src_retrieval.layout import IndexLayout
from src_retrieval.results import Facts, Hits

Texts = Callable[[int, int], list[str]]
"""The passages of rows `start` to `stop` (exclusive)."""


class SparseIndex(ABC):
    """An open index: queries in, best rows out. Used by one thread at a time. `identity` holds the values
    beyond the manifest that determine the answers; it goes into cache keys and `/health`.
    """

    identity: Facts

    @abstractmethod
    def search(self, queries: Sequence[str], k: int) -> Hits:
        """The `k` best rows for each query."""


class SparseBackend(ABC):
    """Builds and opens the indexes of its `kinds` (values of `type:` in the configs). `options` is a config
    class: the section `sparse` of a build and of a server.
    """

    kinds: tuple[str, ...]
    options: type[Any]

    @abstractmethod
    def disk_need(self, texts: Texts, count: int) -> int:
        """Peak disk use of a build of `count` passages in bytes."""

    @abstractmethod
    def build(
        self, kind: str, layout: IndexLayout, texts: Texts, count: int, options: Any, steps: Steps
    ) -> None:
        """Build the index of `count` passages; each long step reports through `steps`."""

    @abstractmethod
    def open(self, kind: str, layout: IndexLayout, options: Any) -> SparseIndex:
        """Open a built index. Raises `UserError` when there is none."""

    @abstractmethod
    def remove(self, layout: IndexLayout) -> None:
        """Remove the files of an interrupted or replaced build."""

    def version(self) -> str:
        """The name and version of what divides text into words, for the manifest: an index that was built
        with another one is not served.
        """
        return ""

    def reads_unversioned(self, layout: IndexLayout) -> bool:
        """Whether an index from before there were versions is the one that this version would build."""
        return not self.version() and layout.manifest.is_file()
