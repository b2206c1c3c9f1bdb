"""The base types of a word backend: what builds an index of words, opens it and searches it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from src_core.progress import Steps
from src_retrieval.corpus import Corpus
from src_retrieval.layout import IndexLayout, Manifest
from src_retrieval.results import Facts, Hits

Texts = Callable[[int, int], list[str]]
"""The passages of rows `start` to `stop` (exclusive)."""


class Built(NamedTuple):
    """What an index was built from: its folder, its corpus, and `SparseBackend.settings` of its build."""

    layout: IndexLayout
    corpus: Corpus
    settings: Facts


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
    def disk_need(self, corpus: Corpus, options: Any) -> int:
        """Peak disk use of a build in bytes."""

    @abstractmethod
    def build(self, kind: str, layout: IndexLayout, corpus: Corpus, options: Any, steps: Steps) -> None:
        """Build the index of `corpus`, or complete what an interrupted build of the same passages and options
        left in `layout`; each long step reports through `steps`.
        """

    @abstractmethod
    def open(self, kind: str, built: Built, options: Any) -> SparseIndex:
        """Open a built index. Raises `UserError` when there is none, or when `options` ask for another."""

    @abstractmethod
    def remove(self, layout: IndexLayout) -> None:
        """Remove the files of an interrupted or replaced build."""

    def settings(self, options: Any) -> Facts:  # noqa: ARG002 - what a backend with settings needs
        """The options that an index is built by, for the manifest: `open` gets them back, and a build with
        others is another index.
        """
        return {}

    def is_whole(self, kind: str, manifest: Manifest, options: Any) -> bool:  # noqa: ARG002 - see `settings`
        """Whether a finished index still holds all passages: one that is kept outside the folder may have
        lost some, and is then completed by the next build.
        """
        return True

    def version(self, settings: Facts) -> str:  # noqa: ARG002 - see `settings`
        """The name and version of what divides text into words in an index with these `settings`, for the
        manifest: an index that was built with another one is not served.
        """
        return ""

    def reads_unversioned(self, layout: IndexLayout) -> bool:
        """Whether an index from before there were versions is the one that this version would build."""
        return not self.version({}) and layout.manifest.is_file()
