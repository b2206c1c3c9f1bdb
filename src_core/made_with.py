"""What a run was made with, for its manifest: commit, package versions, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_PACKAGES: tuple[str, ...] = (
    "aiohttp",
    "faiss-cpu",
    "faiss-gpu",
    "numpy",
    "onnxruntime",
    "orjson",
    "pydantic",
    "torch",
    "vllm",
    "transformers",
    "uvicorn",
    "flask",
    "xllamacpp",
)


def code_state() -> dict[str, Any]:
    """The commit and whether the tree is dirty; `{"commit": null}` outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    commands = {"commit": ["git", "rev-parse", "HEAD"], "changes": ["git", "status", "--porcelain"]}
    found: dict[str, str | None] = {}
    for name, command in commands.items():
        try:
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=20, check=True)
            found[name] = done.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            found[name] = None
    return {"commit": found["commit"], "dirty": bool(found["changes"])}


def package_versions() -> dict[str, str]:
    """Versions of the packages that shape results, and of Python."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def machine() -> dict[str, Any]:
    """The machine of the run, without names of hosts or people."""
    return {"platform": sys.platform, "machine": platform.machine(), "cores": os.cpu_count()}
