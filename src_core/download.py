"""One large file over HTTP, resumed where an earlier try stopped.

What has arrived is `NAME.part`, and beside it `NAME.part.json` says of which file (its address, and the
`ETag` or `Last-Modified` of the server). A server that has another file by now, or that cannot send a part,
starts it over. The caller gives the file its name, once it is checked.
"""

from __future__ import annotations

import errno
import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from src_core.errors import UserError
from src_core.jsonl import write_atomic

_BLOCK = 1 << 20
SPARE = 1 << 28
"""Bytes that the disk must have left beside the file."""
_OWN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)
_FINAL = (400, 401, 403, 404, 405, 410, 451)
_FAILURES = (OSError, http.client.HTTPException)
"""What the standard library raises for a server that is away or ends in the middle (URLError and time-outs
are OSErrors).
"""


class Part(NamedTuple):
    """What has arrived of a file, all of it: where it is, and how many tries it took."""

    path: Path
    tries: int


class _GoneError(Exception):
    """The server has no such file."""


def download(
    url: str,
    target: Path,
    *,
    size: int = 0,
    tries: int = 5,
    timeout: float = 60.0,
    pause: float = 1.0,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Part:
    """Download `url` next to `target`. `size` in bytes is that which is published (0: none is). `report` gets
    the bytes that are there and those of the whole file (0: not known). Each of `tries` takes up what the
    last one left; `timeout` are seconds without a byte, `pause` those before the second try, twice as long
    before each further one. Raises `UserError` in one sentence.
    """
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    reason = ""
    for attempt in range(1, tries + 1):
        try:
            if _fetch(url, part, size=size, timeout=timeout, report=report):
                return Part(part, attempt)
            reason = "the connection ended before the file did"
        except _GoneError as error:
            raise UserError(f"{url} is not there ({error}); name another place with MIRROR") from error
        except _FAILURES as error:
            if isinstance(error, OSError) and error.errno in _OWN_DISK:
                raise
            reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        if attempt < tries:
            time.sleep(pause * 2 ** (attempt - 1))
    held = part.stat().st_size if part.is_file() else 0
    kept = f"; {held:,} bytes are kept, and the same command goes on there" if held else ""
    raise UserError(
        f"{url} cannot be reached ({reason}{kept}); name a mirror with MIRROR=http://…, or put {target.name} "
        f"into {target.parent} yourself"
    )


def _fetch(url: str, part: Path, *, size: int, timeout: float, report: Callable[[int, int], None]) -> bool:
    """One try. Returns whether the file is whole."""
    note = part.with_name(part.name + ".json")
    known = _note(note) if part.is_file() else {}
    held = part.stat().st_size if known.get("url") == url else 0
    headers = {"Accept-Encoding": "identity"}
    if held and known.get("mark"):
        headers |= {"Range": f"bytes={held}-", "If-Range": known["mark"]}
    try:
        reply = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and held and _whole_size(error.headers.get("Content-Range"), 0) == held:
                return True
            if error.code == 416:
                note.unlink(missing_ok=True)
            if error.code in _FINAL:
                raise _GoneError(f"HTTP {error.code}") from error
            raise
    with reply:
        resumed = reply.status == 206 and _start(reply.headers.get("Content-Range")) == held
        held = held if resumed else 0
        length = _number(reply.headers.get("Content-Length") or "", 0)
        total = held + length if length else 0
        if size and total and total != size:
            raise UserError(
                f"{url} has {total:,} bytes, and {size:,} are published; it is another file: name another "
                "place with MIRROR"
            )
        require_room(part.name.removesuffix(".part"), part.parent, (total or size) - held)
        mark = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        strong = "" if mark.startswith("W/") else mark  # a weak one does not promise the same bytes
        write_atomic(note, json.dumps({"url": url, "mark": strong}).encode())
        with part.open("ab" if resumed else "wb") as file:
            while block := reply.read(_BLOCK):
                file.write(block)
                held += len(block)
                if size and held > size:
                    raise UserError(
                        f"{url} sends more than the {size:,} bytes that are published; it is another file, "
                        "take the one that was published"
                    )
                report(held, total or size)
    return held == (total or size or held)


def require_room(what: str, folder: Path, need: int) -> None:
    """Raises `UserError` where the disk of `folder` has not `need` bytes left, and some to spare."""
    free = shutil.disk_usage(folder).free
    if need + SPARE > free:
        raise UserError(
            f"{what} needs {max(need, SPARE) / 1e9:.1f} GB, and the disk of {folder} has "
            f"{free / 1e9:.1f} GB left; free some space or name another folder"
        )


def _note(file: Path) -> dict[str, str]:
    try:
        found: Any = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return (
        {key: value for key, value in found.items() if isinstance(value, str)}
        if isinstance(found, dict)
        else {}
    )


def _start(header: str | None) -> int:
    """The first byte in `bytes 5-9/10`, -1 for anything else."""
    first = (header or "").removeprefix("bytes ").partition("-")[0]
    return _number(first, -1)


def _whole_size(header: str | None, default: int) -> int:
    """The size in `bytes */10`."""
    return _number((header or "").rpartition("/")[2], default)


def _number(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else default
