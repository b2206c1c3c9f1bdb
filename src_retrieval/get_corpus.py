"""Ready corpora: `python -m src_retrieval.get_corpus NAME [mirror=URL folder=…]` (scripts/get_corpus.sh).

A corpus is one archive of its publisher, which is downloaded (`src_core.download`), compared with the
published size and digest, unpacked to one file that an index is built from, and counted. `source.json` beside
it is written last: where the file came from, its size and digest, whether that was compared with a published
one, and the rows. A second call finds it and does nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

from src_core.caller import in_command, seen
from src_core.config import Count, Positive, Seconds, build_config, config_class, load_config, read_yaml
from src_core.console import Terminal
from src_core.download import SPARE, download, require_room
from src_core.errors import UserError, run_main
from src_core.jsonl import write_atomic
from src_core.progress import Steps, mebibytes
from src_core.server_url import server_url
from src_core.terminal import answer, say
from src_core.text import did_you_mean
from src_retrieval.rows import RowError, parse_jsonl, parse_tsv_header

CATALOGUE = Path(__file__).resolve().parent.parent / "configs" / "corpora.yaml"
SOURCE = "source.json"
BEIR = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/"
_BLOCK = 1 << 20
_UNPACKED = "the unpacked corpus"
_DAMAGED = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


@config_class
class Published:
    """What is published of a corpus; 0 and "" where nothing is. A name of BEIR needs no `url`."""

    url: str = ""
    same_as: str = ""
    size: Count = 0
    sha256: str = ""
    md5: str = ""
    rows: Count = 0


@config_class
class GetSettings:
    """Where a corpus goes and comes from. With `mirror` the archive is the file of its name below that
    address.
    """

    folder: str = ""
    mirror: str = ""
    tries: Positive = 5
    timeout: Seconds = 60.0


class Digests(NamedTuple):
    """Size and digests of a file."""

    size: int
    sha256: str
    md5: str


def read_catalogue(path: Path = CATALOGUE) -> dict[str, Published]:
    """The entries of a catalogue by name, each with its address. Raises `UserError`."""
    rows = read_yaml(path)
    where = f"{path.name}, "
    found = {name: build_config(Published, dict(row), (), where=where + name) for name, row in rows.items()}
    for name, entry in found.items():
        if not (entry.same_as or entry.url):
            found[name] = replace(entry, url=f"{BEIR}{name.removeprefix('beir:')}.zip")
    return {name: found[entry.same_as] if entry.same_as else entry for name, entry in found.items()}


def published(name: str, catalogue: Path = CATALOGUE) -> Published:
    """The entry of a corpus. Raises `UserError` for an unknown one."""
    entries = read_catalogue(catalogue)
    if name not in entries:
        known = ", ".join(entries)
        raise UserError(
            f"no ready corpus is called {name!r}; {did_you_mean(name, entries)}there are: {known}"
        )
    return entries[name]


def get_corpus(name: str, settings: GetSettings, *, catalogue: Path = CATALOGUE, pause: float = 1.0) -> Path:
    """The file of a corpus, downloaded and checked if it is not there yet. Raises `UserError`."""
    entry = published(name, catalogue)
    folder = Path(settings.folder or f"data/corpora/{name.replace(':', '-')}")
    archive = folder / entry.url.rpartition("/")[2]
    corpus = folder / ("corpus.tsv" if archive.name.endswith(".tsv.gz") else "corpus.jsonl")
    record = folder / SOURCE
    if (
        record.is_file()
        and corpus.is_file()
        and corpus.stat().st_size == _recorded(record).get("corpus_bytes")
    ):
        return corpus
    mirror = settings.mirror.rstrip("/")
    url = f"{server_url(mirror)}/{archive.name}" if mirror else entry.url
    if not archive.is_file():
        _download(url, archive, entry, settings, pause=pause)
    digests = _digests(archive)
    compared = _compare(archive, digests, entry, before=_recorded(record))
    rows = _unpack(archive, corpus)
    if entry.rows and rows != entry.rows:
        raise UserError(
            f"{seen(corpus)} has {rows:,} passages, and {entry.rows:,} are published of {name}; remove "
            f"{folder} and run this again, or name another place with MIRROR"
        )
    facts = {
        "corpus": name,
        "url": url,
        "archive": archive.name,
        **digests._asdict(),
        "compared_with": compared,
        "rows": rows,
        "rows_published": entry.rows or None,
        "corpus_bytes": corpus.stat().st_size,
    }
    write_atomic(record, json.dumps(facts, indent=2).encode())
    archive.unlink()
    return corpus


def _download(url: str, archive: Path, entry: Published, settings: GetSettings, *, pause: float) -> None:
    with Steps(Terminal(stderr=True))(
        f"{archive.name}", total=entry.size or None, show=mebibytes
    ) as progress:
        done = 0

        def report(held: int, _total: int) -> None:
            nonlocal done
            progress.advance(max(held - done, 0))
            done = held

        part = download(
            url,
            archive,
            size=entry.size,
            tries=settings.tries,
            timeout=settings.timeout,
            pause=pause,
            report=report,
        )
    part.path.replace(archive)
    part.path.with_name(part.path.name + ".json").unlink(missing_ok=True)


def _digests(path: Path) -> Digests:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            md5.update(block)
            size += len(block)
    return Digests(size, sha256.hexdigest(), md5.hexdigest())


def _compare(archive: Path, found: Digests, entry: Published, *, before: dict[str, Any]) -> str:
    """What the digest was compared with. Raises `UserError` where it differs."""
    for kind in ("sha256", "md5"):
        wanted, its = getattr(entry, kind), getattr(found, kind)
        if wanted and wanted != its:
            raise UserError(
                f"{seen(archive)} has the {kind} {its}, and {wanted} is published; it is damaged or another "
                "file: remove it and run this again, or name another place with MIRROR"
            )
        if wanted:
            return f"the published {kind}"
    if before.get("sha256") and before["sha256"] != found.sha256:
        say(f"note: {archive.name} is another file than the one before (sha256 {before['sha256']})")
    say(
        f"note: no digest of {archive.name} is published; the sha256 of this file is {found.sha256}, which "
        f"{SOURCE} records"
    )
    return "nothing: no digest is published"


def _unpack(archive: Path, corpus: Path) -> int:
    """Write the corpus in an archive to its file; returns its rows. Raises `UserError` for a damaged one."""
    partial = corpus.with_name(corpus.name + ".tmp")
    try:
        with _opened(archive) as (source, size), partial.open("wb") as target:
            require_room(_UNPACKED, partial.parent, size)
            lines = _copy(source, target, corpus.suffix)
    except _DAMAGED as error:
        raise UserError(f"{seen(archive)} is damaged ({error}); remove it and run this again") from error
    finally:
        if sys.exc_info()[0] is not None:
            partial.unlink(missing_ok=True)
    partial.replace(corpus)
    return lines


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Any, int]]:
    """The corpus in an archive as a stream, and its size (that of the archive, where it does not say)."""
    if archive.suffix == ".gz":
        with gzip.open(archive) as source:
            yield source, archive.stat().st_size
        return
    with zipfile.ZipFile(archive) as packed:
        rows = [each for each in packed.infolist() if each.filename.endswith(".jsonl")]
        named = [each for each in rows if each.filename.rpartition("/")[2] == "corpus.jsonl"] or rows
        if len(named) != 1:
            raise UserError(
                f"{seen(archive)} holds {len(named)} corpora, and one is expected; unpack it yourself"
            )
        with packed.open(named[0]) as source:
            yield source, named[0].file_size


def _copy(source: IO[bytes], target: IO[bytes], suffix: str) -> int:
    """Copy all lines; returns how many rows they are. The first is checked."""
    first = source.readline(1 << 26)
    try:
        if suffix == ".tsv":
            parse_tsv_header(first)
        else:
            parse_jsonl(first, 0)
    except RowError as error:
        raise UserError(
            f"the first row of the corpus cannot be read: {error}; check the file at its source"
        ) from error
    target.write(first)
    ends, last, since = first.count(b"\n"), first, 0
    while block := source.read(_BLOCK):
        target.write(block)
        ends += block.count(b"\n")
        last, since = block, since + len(block)
        if since > SPARE // 4:
            require_room(_UNPACKED, Path(target.name).parent, 0)
            since = 0
    rows = ends + (not last.endswith(b"\n"))
    return rows - (suffix == ".tsv")


def _recorded(record: Path) -> dict[str, Any]:
    try:
        found = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def main() -> None:
    """The corpus of the command line; prints its file and what was checked."""
    names = [argument for argument in sys.argv[1:] if "=" not in argument]
    if len(names) != 1:
        raise UserError("name one ready corpus: bash scripts/get_corpus.sh wiki18")
    settings = load_config(GetSettings, None, [argument for argument in sys.argv[1:] if "=" in argument])
    corpus = get_corpus(names[0], settings)
    facts = _recorded(corpus.with_name(SOURCE))
    answer(
        f"{seen(corpus)}: {facts['rows']:,} passages; the archive was compared with {facts['compared_with']}"
    )
    command = f"bash scripts/build_index.sh corpus={in_command(corpus)}"
    answer(f"next: {command} index_dir=indexes/{corpus.parent.name}")


if __name__ == "__main__":
    run_main(main)
