"""Files of a model hub, through the `huggingface_hub` package, each step in a child process.

    python -m src_models.hub meta REPO FILE     # {"path"} when cached, else {"etag", "size", "blobs"}

A child has its own deadline (name resolution can hang for minutes) and reports any exception of the package
as one line of text. The package's cache and its variables (HF_HUB_OFFLINE, HF_HOME, HF_TOKEN, HF_ENDPOINT)
are respected. Before a large download the announced sha256 is compared with the pinned one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.progress import Steps
from src_core.terminal import CommandLine, answer
from src_models.catalog import REPO_ROOT, FileSpec, SourceError
from src_models.files import Report, sha256_of

META_SECONDS = 20.0
CONNECT_SECONDS = 5.0
POLL_SECONDS = 0.2
UNPINNED = 2
"""A file without a pinned hash may have this many times the size in the catalogue."""
SNAPSHOT_FILES = ("*.json", "*.txt", "*.jinja", "*.safetensors", "*.model", "1_Pooling/*")

Watch = Callable[[], None]


def fetch_hub_file(repo: str, spec: FileSpec, *, work: Path, report: Report) -> Path:
    """Download `spec` of `repo` into `work`, verified when pinned; `report` gets the number of bytes
    received. Raises `SourceError` with the reason.
    """
    target = work / spec.name
    if target.exists():
        return target
    if importlib.util.find_spec("huggingface_hub") is None:
        raise SourceError("the package huggingface_hub is not installed")
    known = _child(["meta", repo, spec.source], seconds=META_SECONDS)
    etag = str(known.get("etag") or "")
    if "path" not in known and spec.sha256 and len(etag) == len(spec.sha256) and etag != spec.sha256:
        raise SourceError(f"{repo}/{spec.source} there is another file than the pinned one")
    found = known
    if "path" not in known:
        found = _child(
            ["get", repo, spec.source], seconds=None, watch=_watch(known, report, most=_most(spec, known))
        )
    return _take(Path(str(found["path"])), spec, target=target)


def _take(cached: Path, spec: FileSpec, *, target: Path) -> Path:
    """Hard-link (or copy) the cached blob to `target` once it is verified."""
    blob = cached.resolve()
    if spec.sha256 and sha256_of(blob) != spec.sha256:
        raise SourceError(f"{spec.source} arrived with another sha256 than the pinned one")
    try:
        os.link(blob, target)
    except OSError:
        partial = target.with_name(target.name + ".tmp")
        shutil.copyfile(blob, partial)
        partial.replace(target)
    return target


def snapshot(repo: str) -> Path:
    """The folder of a whole model repository in the package's cache, downloaded if needed. Raises `UserError`
    when it is not available.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        with Steps(Terminal(stderr=True))(f"fetching {repo}"):
            return Path(snapshot_download(repo, allow_patterns=list(SNAPSHOT_FILES)))
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(f"the hub has no model {repo!r}; check the name or give a folder") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise UserError(
            f"the hub cannot be reached for {repo!r}; download the model and give its folder"
        ) from error


def _most(spec: FileSpec, known: dict[str, Any]) -> int:
    """The bytes that a download may have. Raises `SourceError` where more are announced."""
    most = spec.size if spec.sha256 else UNPINNED * spec.size
    announced = known.get("size")
    if isinstance(announced, int) and announced > most:
        raise SourceError(f"{spec.source} there has {announced:,} bytes, at most {most:,} are expected")
    return most


def _watch(known: dict[str, Any], report: Report, *, most: int) -> Watch:
    """Reports the size of the file that the package is writing, and ends a download of more than `most`
    bytes.
    """
    folder, etag = Path(str(known.get("blobs", ""))), str(known.get("etag") or "")

    def look() -> None:
        sizes = [0]
        for path in folder.glob(f"{etag}*.incomplete") if etag else ():
            with contextlib.suppress(FileNotFoundError):  # renamed once it is complete
                sizes.append(path.stat().st_size)
        if max(sizes) > most:
            raise SourceError(f"more than the expected {most:,} bytes arrived")
        report(max(sizes))

    return look


def _child(arguments: list[str], *, seconds: float | None, watch: Watch = lambda: None) -> dict[str, Any]:
    """Run this module in a child; `watch` is called while it works."""
    command = [sys.executable, "-m", "src_models.hub", *arguments]
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    begun = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPO_ROOT, env=environment
    ) as process:
        try:
            while (output := _output_of(process)) is None:
                watch()
                if seconds is not None and time.monotonic() - begun > seconds:
                    raise SourceError(f"no answer within {seconds:.0f} s")
        finally:
            process.kill()  # no effect on a process that has ended
    if process.returncode:
        lines = output[1].decode(errors="replace").strip().splitlines()
        raise SourceError(lines[-1][:200] if lines else "the download ended without a message")
    reply: dict[str, Any] = json.loads(output[0])
    return reply


def _output_of(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes] | None:
    """Standard output and error of a process that has ended, None while it works."""
    try:
        return process.communicate(timeout=POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _meta(repo: str, file: str) -> dict[str, Any]:
    import huggingface_hub
    from huggingface_hub import constants

    cached = huggingface_hub.try_to_load_from_cache(repo, file)
    if isinstance(cached, str):
        return {"path": cached}
    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set and the file is not in the hub cache; unset it to download")
    url = huggingface_hub.hf_hub_url(repo, file)
    found = huggingface_hub.get_hf_file_metadata(url, timeout=CONNECT_SECONDS)
    cache = Path(constants.HF_HUB_CACHE) / constants.REPO_ID_SEPARATOR.join(["models", *repo.split("/")])
    return {"etag": found.etag, "size": found.size, "blobs": str(cache / "blobs")}


def _get(repo: str, file: str) -> dict[str, Any]:
    import huggingface_hub

    return {"path": huggingface_hub.hf_hub_download(repo, file)}


def main() -> None:
    """Command line of the child: `meta` or `get`, a repository and a file; answers with one JSON object."""
    parser = CommandLine(description="one step of a hub download")
    parser.add_argument("step", choices=["meta", "get"])
    parser.add_argument("repo")
    parser.add_argument("file")
    chosen = parser.parse_args()
    found = _meta(chosen.repo, chosen.file) if chosen.step == "meta" else _get(chosen.repo, chosen.file)
    answer(json.dumps(found))


if __name__ == "__main__":
    run_main(main)
