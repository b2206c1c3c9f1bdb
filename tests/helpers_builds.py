"""Index builds in processes that are killed or run out of disk, and mutated FAISS files, for
`test_retrieval_index_faults.py`: each attempt is a fork of this process, which has imported everything and
has run no thread of FAISS yet.

    python tests/helpers_builds.py kills|full|mutated FOLDER [ARGUMENT ...]     prints one JSON object
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import orjson
from test_retrieval_build import QUIET, config, engine_config, make_corpus

from src_core.errors import UserError
from src_retrieval import build
from src_retrieval.build import build_index
from src_retrieval.engine import open_engine
from src_retrieval.index_files import open_files
from src_retrieval.layout import IndexLayout, read_manifest

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")
CHAINS, ROWS = 13, 300
FAISS_ROWS, FAISS_DIM, MUTATED = 1_200, 16, 180


def forked(work: Callable[[], None], log: Path) -> int:
    """The status of `work` in a process of its own: 0, 2 for a `UserError` (its sentence is in `log`), 1 for
    another error, minus the signal that ended it.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        work()
        status = 0
    except UserError as error:
        log.write_text(str(error))
        status = 2
    except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
        log.write_text(traceback.format_exc())
    finally:
        os._exit(status)


def at_event(number: int, then: Callable[[], None]) -> None:
    """Call `then` in this process at the file-system event of that number."""
    count = itertools.count(1)

    def hook(event: str, _: object) -> None:
        if event in EVENTS and next(count) == number:
            then()

    sys.addaudithook(hook)


def killed_at(moment: int, work: Callable[[], None]) -> None:
    at_event(moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
    work()


def digests(folder: Path) -> dict[str, str]:
    """Of every file of a finished index; of the manifest without its times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "build.lock":
            data = path.read_bytes()
            if path.name == "manifest.json":
                values = orjson.loads(data)
                data = orjson.dumps({**values, "build_seconds": 0})
            found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def kills(folder: Path) -> dict[str, object]:
    """26 kills: each chain is a build that is killed, begun again, killed again, and finished. Every second
    one replaces a finished index of another corpus.
    """
    make_corpus(folder / "corpus.jsonl", ROWS)
    make_corpus(folder / "other.jsonl", 40)
    log, killed, bad = folder / "log", 0, []

    def settings(name: str, **changes: object) -> Callable[[], None]:
        values = {"index_dir": folder / name, "chunk_rows": 50, **changes}
        return lambda: void(build_index(config(folder, **values), steps=QUIET))

    def counted() -> None:
        events = itertools.count()
        sys.addaudithook(lambda event, _: void(next(events)) if event in EVENTS else None)
        settings("reference")()
        (folder / "events").write_text(str(next(events)))

    assert forked(counted, log) == 0, log.read_text()
    events = int((folder / "events").read_text())
    wanted = digests(folder / "reference")
    for chain in range(CHAINS):
        name, changes = f"index{chain}", {}
        if chain % 2:
            forked(settings(name, corpus=folder / "other.jsonl"), log)
            changes = {"overwrite": True}
        for part in (0, 1):
            moment = 1 + chain % 8 if part else 1 + events * chain // CHAINS

            killed += forked(partial(killed_at, moment, settings(name, **changes)), log) == -signal.SIGKILL
            bad += whole_or_none(folder / name)
        status = forked(settings(name, **changes), log)
        found = digests(folder / name)
        if status or found != wanted:
            others = sorted(dict(found.items() ^ wanted.items()))
            bad.append(f"chain {chain}: status {status}, {others} {log.read_text() if status else ''}")
    return {"killed": killed, "bad": bad}


def whole_or_none(folder: Path) -> list[str]:
    """What is wrong with an index that was left: nothing, unless it has a manifest and other files."""
    layout = IndexLayout(folder)
    try:
        manifest = read_manifest(layout)
        for file in open_files(layout, manifest) if manifest else []:
            file.close()
    except UserError as error:
        return [str(error)]
    return []


def full(folder: Path, how: str, kind: str, limit: int) -> dict[str, object]:
    """A build where only `limit` bytes can be written (into each file, or on a disk of that size), then one
    with room. `status` and `said` are of the first.
    """
    make_corpus(folder / "corpus.jsonl", FAISS_ROWS)
    target = folder / "disk" / "index"
    values = {"index_dir": target, "type": kind, "shape.hnsw_m": 8, "chunk_rows": 400}

    def limited() -> None:
        if how == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        build.check_space = lambda *_: None  # what comes when the disk fills after the check
        build_index(config(folder, **values), steps=QUIET)

    (folder / "disk").mkdir(exist_ok=True)
    status = forked(limited, folder / "log")
    said = (folder / "log").read_text() if status else ""
    if how == "disk":
        os.system(f"mount -o remount,size=64m {folder / 'disk'}")
    again = forked(lambda: void(build_index(config(folder, **values), steps=QUIET)), folder / "log")
    served = forked(lambda: searched(folder, target), folder / "log") if again == 0 else None
    return {"status": status, "said": said, "again": again, "served": served}


def searched(folder: Path, index: Path) -> None:
    engine = open_engine(engine_config(folder, index_path=index)).engine
    assert 77 in [result.row for result in engine.search(["row 77 talks of word27"], [5])[0]]


def mutated(folder: Path) -> dict[str, object]:
    """The outcomes of opening valid FAISS files with changed bytes, as a retriever does."""
    make_corpus(folder / "corpus.jsonl", FAISS_ROWS)
    assert forked(lambda: valid_files(folder), folder / "log") == 0, (folder / "log").read_text()
    made = [path.read_bytes() for path in sorted(folder.glob("*.valid"))]
    path, log = folder / "mutated.index", folder / "log"
    settings = engine_config(folder, index_path=path, retrieval_method=f"toy:{FAISS_DIM}")
    outcomes: dict[str, int] = {}
    for number, data in zip(range(MUTATED), mutations(made), strict=False):
        path.write_bytes(data)
        status = forked(lambda: opened(settings), log)
        name = {0: "opened", 2: "refused"}.get(status) or f"{number}: {status} {log.read_text()[-300:]}"
        outcomes[name] = outcomes.get(name, 0) + 1
    return {"files": len(made), "outcomes": outcomes}


def opened(settings: object) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))  # a length of 2**60 is refused, not swapped
    engine = open_engine(settings).engine
    assert engine.dense is not None
    assert (engine.dense.rows, engine.dense.dim) == (FAISS_ROWS, FAISS_DIM)


def valid_files(folder: Path) -> None:
    import faiss
    import numpy as np

    vectors = np.random.default_rng(0).normal(size=(FAISS_ROWS, FAISS_DIM)).astype(np.float32)
    for name in (
        "Flat",
        "HNSW8,SQfp16",
        "IVF8,SQfp16",
        "PQ8x4fs",
        "IDMap,Flat",
        "IVF8,PQ8x4",
        "PCA8,Flat",
        "SQ8",
    ):
        index = faiss.index_factory(FAISS_DIM, name, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add_with_ids(vectors, np.arange(FAISS_ROWS)) if "IDMap" in name else index.add(vectors)
        faiss.write_index(index, str(folder / f"{name}.valid"))


def mutations(made: list[bytes]) -> Iterator[bytes]:
    draw = random.Random(0)
    while True:
        data = bytearray(draw.choice(made))
        kind = draw.choice(["cut", "bytes", "head", "zeros", "ones"])
        at = draw.randrange(min(len(data), 300 if draw.random() < 0.5 else len(data)))
        if kind == "cut":
            del data[at:]
        elif kind in ("bytes", "head"):
            for _ in range(draw.randrange(1, 12)):
                place = draw.randrange(200 if kind == "head" else len(data))
                data[place] = draw.choice([0, 1, 127, 128, 255])
        else:
            end = min(at + draw.choice([1, 4, 8, 64]), len(data))
            data[at:end] = (b"\0" if kind == "zeros" else b"\xff") * (end - at)
        yield bytes(data)


def void(_: object) -> None:
    """For a lambda whose result is not wanted."""


if __name__ == "__main__":
    mode, place = sys.argv[1], Path(sys.argv[2])
    if mode == "full":
        result = full(place, sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        result = {"kills": kills, "mutated": mutated}[mode](place)
    sys.stdout.write(json.dumps(result) + "\n")
