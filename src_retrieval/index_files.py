"""The files of an index folder as a whole: moved to their place when a build is complete, checked and held
open while they are served.

A server has the files of its index mapped. Nothing writes into such a file: a build works in a folder of its
own inside the index folder, and its files are renamed over the old ones, which stay whole for whoever has
them open.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from src_core.errors import UserError
from src_retrieval.layout import (
    IndexLayout,
    Manifest,
    parse_manifest,
    read_manifest,
    rebuild_hint,
    write_manifest,
)
from src_retrieval.watch_files import OpenFile

TEMPORARY = ".tmp"
"""The ending of what a killed process had not finished writing (`write_atomic`)."""
RemoveOld = Callable[[Manifest | None], None]
"""Removes the files of the index that is replaced; called with its manifest, None where it has none."""


def complete(layout: IndexLayout, manifest: Manifest, *, without: Collection[Path]) -> None:
    """Mark the index in `layout.unfinished` as complete: from then on `publish` moves it. The files
    `without` served the build only.
    """
    built, marks = layout.unfinished, {}
    for path in sorted(built.root.rglob("*")):
        if path.suffix == TEMPORARY:  # the next write to that name would take it away
            path.unlink()
        elif path.is_file() and path not in without:
            file = OpenFile(path)
            marks[str(path.relative_to(built.root))] = file.mark()
            file.close()
    write_manifest(built, dataclasses.replace(manifest, files=marks))


def publish(layout: IndexLayout, remove_old: RemoveOld) -> Manifest:
    """Move the complete index of `layout.unfinished` to its place, or go on with a move that was
    interrupted. Until the last rename the folder has no manifest, so nobody opens half of each index.
    """
    built = layout.unfinished
    if not built.publishing.is_file():
        if layout.manifest.is_file():
            layout.manifest.replace(layout.replaced)
        remove_old(_replaced(layout))
        layout.replaced.unlink(missing_ok=True)
        built.manifest.rename(built.publishing)
    manifest = parse_manifest(layout, built.publishing)
    assert manifest is not None
    for name in manifest.files:
        if (built.root / name).is_file():
            (layout.root / name).parent.mkdir(parents=True, exist_ok=True)
            (built.root / name).replace(layout.root / name)
    for path in set(built.root.iterdir()) - {built.publishing}:  # what served the build only
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    built.publishing.replace(layout.manifest)
    built.root.rmdir()
    return manifest


def _replaced(layout: IndexLayout) -> Manifest | None:
    with contextlib.suppress(UserError):  # an unreadable one is replaced too
        return parse_manifest(layout, layout.replaced)
    return None


def open_files(layout: IndexLayout, manifest: Manifest) -> list[OpenFile]:
    """The files of an index, held open. Raises `UserError` for one that is missing or damaged."""
    opened = []
    for name, mark in manifest.files.items():
        path = layout.root / name
        try:
            file = OpenFile(path)
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); rebuild the index with {rebuild_hint(layout)}"
            ) from error
        if file.mark() != mark:
            raise UserError(
                f"{path} is damaged: it is not the file that the build wrote; rebuild the index with "
                f"{rebuild_hint(layout)}"
            )
        opened.append(file)
    return opened


def require_unreplaced(layout: IndexLayout, manifest: Manifest) -> None:
    """Raises `UserError` when a build replaced the index while it was being opened."""
    if read_manifest(layout) != manifest:
        raise UserError(
            f"the index in {layout.root} was replaced while it was being opened; start this again"
        )
