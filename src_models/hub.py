"""Files of a model hub, through the `huggingface_hub` package, each step in a child process.

    python -m src_models.hub meta REPO FILE     # {"path"} when cached, else {"etag", "size"}

A child has a deadline of its own (name resolution can hang for minutes) and turns whatever the package raises
into one line of text. The package's cache and its variables (HF_HUB_OFFLINE, HF_HOME, HF_TOKEN, HF_ENDPOINT)
are respected. Before a large download the announced sha256 is compared with the pinned one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from src_core.errors import UserError, run_main
from src_models.catalog import REPO_ROOT, FileSpec, SourceError
from src_models.files import sha256_of

META_SECONDS = 20.0
CONNECT_SECONDS = 5.0


def fetch_hub_file(repo: str, spec: FileSpec, *, work: Path) -> Path:
    """Bring `spec` of `repo` into `work`, verified when pinned. Raises `SourceError` with the reason."""
    target = work / spec.name
    if target.exists():
        return target
    if importlib.util.find_spec("huggingface_hub") is None:
        raise SourceError("the package huggingface_hub is not installed")
    known = _child(["meta", repo, spec.source], seconds=META_SECONDS)
    etag = str(known.get("etag") or "")
    if "path" not in known and spec.sha256 and len(etag) == len(spec.sha256) and etag != spec.sha256:
        raise SourceError(f"{repo}/{spec.source} there is another file than the pinned one")
    found = known if "path" in known else _child(["get", repo, spec.source], seconds=None)
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


def _child(arguments: list[str], *, seconds: float | None) -> dict[str, Any]:
    """Run this module in a child. `meta` is silent; `get` shows the package's own progress on stderr."""
    command = [sys.executable, "-m", "src_models.hub", *arguments]
    stderr = subprocess.PIPE if seconds is not None else None
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=stderr, timeout=seconds, cwd=REPO_ROOT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"no answer within {seconds:.0f} s") from error
    if done.returncode:
        lines = (done.stderr or b"the download broke off").decode(errors="replace").strip().splitlines()
        raise SourceError(lines[-1][:200] if lines else "no reason given")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _meta(repo: str, file: str) -> dict[str, Any]:
    import huggingface_hub
    from huggingface_hub import constants

    cached = huggingface_hub.try_to_load_from_cache(repo, file)
    if isinstance(cached, str):
        return {"path": cached}
    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set and the file is not in the hub cache")
    url = huggingface_hub.hf_hub_url(repo, file)
    found = huggingface_hub.get_hf_file_metadata(url, timeout=CONNECT_SECONDS)
    return {"etag": found.etag, "size": found.size}


def _get(repo: str, file: str) -> dict[str, Any]:
    import huggingface_hub

    return {"path": huggingface_hub.hf_hub_download(repo, file)}


def main() -> None:
    """Command line of the child: `meta` or `get`, a repository and a file; answers with one JSON object."""
    parser = argparse.ArgumentParser(description="one step of a hub download")
    parser.add_argument("step", choices=["meta", "get"])
    parser.add_argument("repo")
    parser.add_argument("file")
    chosen = parser.parse_args()
    answer = _meta(chosen.repo, chosen.file) if chosen.step == "meta" else _get(chosen.repo, chosen.file)
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    run_main(main)
