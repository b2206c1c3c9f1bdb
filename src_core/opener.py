"""Opens a file of rows as a stream of bytes, whatever it is packed with: gzip, bzip2, xz or zstd.

The first bytes decide, and the suffix has to agree where it names a packing. Files of other kinds that are
often taken for rows (archives, pages of an error, pointers of Git LFS, UTF-16 text) are refused by name.
Nothing is unpacked to disk or held in memory.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from src_core.errors import UserError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BOM = b"\xef\xbb\xbf"
_HEAD = 512
_BUFFER = 1 << 17
Advance = Callable[[int], None]


class _Packing(NamedTuple):
    name: str
    marks: tuple[bytes, ...]
    open: Callable[[Any], Any]


_SKIPPABLE = tuple(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))
_PACKINGS = {
    ".gz": _Packing("gzip", (b"\x1f\x8b",), gzip.open),
    ".bz2": _Packing("bzip2", (b"BZh",), bz2.open),
    ".xz": _Packing("xz", (b"\xfd7zXZ\x00",), lzma.open),
    ".zst": _Packing("zstd", (b"\x28\xb5\x2f\xfd", *_SKIPPABLE), zstd.open),
}
PARQUET = b"PAR1"
_ARCHIVE = "unpack it and name the file inside"
_EXPORT = "write its rows as JSONL or Parquet"
_AGAIN = "download it again"
# First bytes -> what the file is, and what to do.
_FOREIGN: dict[bytes, tuple[str, str]] = {
    b"PK\x03\x04": ("a zip archive", _ARCHIVE),
    b"PK\x05\x06": ("an empty zip archive", _ARCHIVE),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _ARCHIVE),
    b"Rar!\x1a\x07": ("a RAR archive", _ARCHIVE),
    b"\x04\x22\x4d\x18": ("an LZ4 file", _ARCHIVE),
    b"\xff\x06\x00\x00sNaPpY": ("a Snappy file", _ARCHIVE),
    b"\x1f\x9d": ("a .Z file", _ARCHIVE),
    b"\x5d\x00\x00": ("an LZMA file", _ARCHIVE),
    b"ARROW1": ("an Arrow file", _EXPORT),
    b"\xff\xff\xff\xff": ("an Arrow stream or another binary file", _EXPORT),
    b"SQLite format 3\x00": ("an SQLite database", _EXPORT),
    b"\x93NUMPY": ("a NumPy file", _EXPORT),
    b"\x89HDF": ("an HDF5 file", _EXPORT),
    b"\x80\x03": ("a Python pickle, which is never loaded", _EXPORT),
    b"\x80\x04": ("a Python pickle, which is never loaded", _EXPORT),
    b"\x80\x05": ("a Python pickle, which is never loaded", _EXPORT),
    b"Obj\x01": ("an Avro file", _EXPORT),
    b"%PDF": ("a PDF document", "name a file of rows"),
    b"\xff\xfe\x00\x00": ("UTF-32 text", "save it as UTF-8"),
    b"\xff\xfe": ("UTF-16 text", "save it as UTF-8"),
    b"\xfe\xff": ("UTF-16 text", "save it as UTF-8"),
    b"version https://git-lfs": ("a pointer of Git LFS and not the file", "fetch it with git lfs pull"),
    b"\x00" * 16: ("filled with zero bytes (an incomplete download)", _AGAIN),
}
_PAGES = (b"<!doctype html", b"<html", b"<?xml")


def packing_of(path: Path) -> str:
    """The suffix of a file's packing by its first bytes: ".gz", ".bz2", ".xz", ".zst", or "" for none."""
    with reading(path), path.open("rb") as handle:
        return _packing(handle.read(_HEAD))


def bare_suffix(path: Path) -> str:
    """The suffix that names the kind of the rows, in lower case: that of `x.jsonl.gz` is ".jsonl"."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in _PACKINGS else suffix


@contextmanager
def opened(path: Path, *, advance: Advance | None = None) -> Iterator[BinaryIO]:
    """The unpacked bytes of a file, after its byte order mark. `advance` receives the bytes that are read
    from disk. Raises `UserError` for a file that is missing, damaged, truncated, or of a kind that holds no
    rows.
    """
    packing = packing_of(path)
    suffix = path.suffix.lower()
    if suffix in _PACKINGS and not packing and path.stat().st_size:
        raise UserError(
            f"{path} is not a complete {suffix} file (its first bytes differ); {_AGAIN}, or rename it if it "
            "is not packed"
        )
    with reading(path), path.open("rb", buffering=0) as raw, _unpacked(raw, packing, advance) as handle:
        head = handle.read(_HEAD)
        _refuse_foreign(path, head, packed=bool(packing))
        handle.seek(len(BOM) if head.startswith(BOM) else 0)
        yield handle


class _Counted(io.RawIOBase):
    """A file that reports what is read from it."""

    def __init__(self, raw: io.FileIO, advance: Advance) -> None:
        self._raw = raw
        self._advance = advance

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        count = self._raw.readinto(buffer) or 0
        self._advance(count)
        return count


@contextmanager
def _unpacked(raw: io.FileIO, packing: str, advance: Advance | None) -> Iterator[BinaryIO]:
    with io.BufferedReader(_Counted(raw, advance) if advance else raw, _BUFFER) as source:
        if not packing:
            yield cast("BinaryIO", source)
            return
        with _PACKINGS[packing].open(source) as handle:
            yield handle


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Errors of reading a file as one sentence. Raises `UserError`."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file in it")
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}; check the path") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # bzip2's words for a damaged file
            raise _damaged(path, error) from error
        raise UserError(f"could not read {path}: {error.strerror}; check the file and its rights") from error


def _damaged(path: Path, error: Exception) -> UserError:
    with path.open("rb") as handle:
        kind = _packing(handle.read(_HEAD)) or path.suffix.lower()
    return UserError(f"{path} is not a complete {kind} file ({error}); {_AGAIN}")


def _packing(head: bytes) -> str:
    return next((suffix for suffix, kind in _PACKINGS.items() if head.startswith(kind.marks)), "")


def _refuse_foreign(path: Path, head: bytes, *, packed: bool) -> None:
    inside = "holds" if packed else "is"
    if head[257:262] == b"ustar":
        raise UserError(f"{path} {inside} a tar archive; {_ARCHIVE}")
    if packed and (again := _packing(head)):
        raise UserError(f"{path} is packed twice (a {_PACKINGS[again].name} file inside); unpack it once")
    if packed and head.startswith(PARQUET):
        raise UserError(f"{path} holds a Parquet file; unpack it and name the .parquet file")
    what = next((words for mark, words in _FOREIGN.items() if head.startswith(mark)), None)
    if what is not None:
        raise UserError(f"{path} {inside} {what[0]}; {what[1]}")
    if head.lstrip(BOM + b" \t\r\n").lower().startswith(_PAGES):
        raise UserError(f"{path} {inside} a web page (or XML) and no rows; {_AGAIN}")
