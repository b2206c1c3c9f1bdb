"""What the servers of a run report of themselves (model, adapter, digests of corpus and index): part of the
run's identity.

`servers.json` in the run directory holds one record per set of servers, the first one written at the first
connection. A server that reports nothing is recorded without facts and is not compared; one that no longer
reports what it reported before counts as another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from src_core.errors import UserError
from src_core.jsonl import write_atomic

SERVERS = "servers.json"
INDEX_HEADER = "X-Index"
"""The header in which a retriever names the identity of its index with every reply."""
REPLIES_AS = "replies_as"
_SAME = ("root", "parent", "tags", "digest", "sha256", "revision")
_IDENTITY = ("identity", "root", "parent", "tags", "digest", "revision")
_NOT_REPORTED = "not reported"
_DEPTH = 4
_NAMES = ("id", "name", "model")
_META = ("n_params", "size")
_SAMPLES, _SAMPLE_BYTES = 64, 65_536

_SORTED = orjson.OPT_SORT_KEYS

Facts = dict[str, Any]
Record = dict[str, Facts]
"""The facts of each server by its role: `agent`, `reader`, `retriever`."""


class Servers:
    """The servers of one run. With `strict`, a server that changes during the run is a `UserError`; without
    it, both are recorded.
    """

    def __init__(self, *, strict: bool = True) -> None:
        self.now: Record = {}
        self._strict = strict
        self._names_index = False
        self._earlier: list[Record] = []
        self._grown_from: dict[str, Collection[str]] = {}
        self._file: Path | None = None

    def connected(self, role: str, facts: Facts, *, grown_from: Collection[str] = ()) -> None:
        """Note the facts that a server reported at the start. `grown_from` are earlier values of its `sha256`
        whose content is the beginning of the present one: rows made with those stay valid.
        """
        self.now[role] = dict(facts)
        self._grown_from[role] = grown_from

    def bind(self, folder: Path, *, ways_out: str, has_rows: bool) -> None:
        """Compare with the records of the run directory and add the present one. Raises `UserError` where
        rows were made with other servers.
        """
        self._file = folder / SERVERS
        self._earlier = read_servers(folder) if has_rows else []
        same = next((record for record in self._earlier if not _changes(record, self.now)), None)
        if self._earlier and not any(_changes(self._as_grown(record), self.now) for record in self._earlier):
            same = same or self._earlier[-1]
        if self._earlier and same is None and self._strict:
            role = _changes(self._earlier[-1], self.now)[0]
            before = self._earlier[-1][role]
            now = _with_lost(before, self.now[role])
            raise UserError(
                f"{folder} was made with {_name(before, now)}; now {_name(now, before)} answers as the "
                f"{role}; start the server that it was made with, or {ways_out}"
            )
        for role, facts in (same or {}).items():
            if role in self.now and REPLIES_AS in facts:
                self.now[role][REPLIES_AS] = facts[REPLIES_AS]
        self._save()

    @property
    def records(self) -> list[Record]:
        """All sets of servers that made rows of this run, without repetitions, the present one last."""
        return [*(record for record in self._earlier if record != self.now), self.now]

    def model_names(self) -> list[str]:
        """The names of all models of the run, each once."""
        found = (facts.get("model") for record in self.records for facts in record.values())
        return list(dict.fromkeys(str(name) for name in found if name))

    def replied(self, role: str, model: str) -> None:
        """Note the model that a reply names. Raises `UserError` where it is not that of the first reply."""
        facts = self.now.setdefault(role, {})
        known = facts.get(REPLIES_AS)
        if known is None:
            facts[REPLIES_AS] = model
            self._save()
        elif model != known:
            self._changed(role, REPLIES_AS, model)

    def answers_again(self, role: str, facts: Facts) -> None:
        """Note what a server reports after a failure. Raises `UserError` where it differs from the start."""
        for key in differing(self.now.get(role, {}), facts)[:1]:
            self._changed(role, key, facts[key])

    def searched(self, identity: str | None) -> None:
        """Note the identity of the index that a reply of the retriever names. Raises `UserError` where it is
        not that of the start.
        """
        known = self.now.get("retriever", {}).get("identity")
        if known is None or identity == known:
            self._names_index = self._names_index or identity == known
        elif identity or self._names_index:
            self._changed("retriever", "identity", identity or _NOT_REPORTED)

    def _as_grown(self, record: Record) -> Record:
        """An earlier record, with the present digest where the content has only grown since."""
        return {
            role: {**facts, "sha256": self.now[role]["sha256"]}
            if facts.get("sha256") in self._grown_from.get(role, ())
            else facts
            for role, facts in record.items()
        }

    def _changed(self, role: str, key: str, value: Any) -> None:
        before = self.now[role]
        after = {**before, key: value}
        if self._strict:
            where = f"{self._file.parent}: " if self._file else ""
            raise UserError(
                f"{where}the {role} was {_name(before, after)}, and now {_name(after, before)} answers; "
                "finished rows are saved: start the first one again and run the same command, or accept both "
                "with on_existing=resume_anyway"
            )
        self._earlier = self.records
        self.now = {**self.now, role: after}
        self._save()

    def _save(self) -> None:
        if self._file is not None:
            write_atomic(self._file, orjson.dumps(self.records, option=orjson.OPT_INDENT_2))


def read_servers(folder: Path) -> list[Record]:
    """The records of a run directory; none for a run that was made before they were kept."""
    file = folder / SERVERS
    if not file.is_file():
        return []
    try:
        found = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UserError(f"{file} is not valid JSON ({error}); remove it, or start over") from error
    known = found if isinstance(found, list) else []
    return [record for record in known if isinstance(record, dict)]


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The facts that both report and that differ. The digest `identity` decides where both have one."""
    if "identity" in before and "identity" in now:
        return ["identity"] if before["identity"] != now["identity"] else []
    return sorted(key for key in before.keys() & now.keys() if before[key] != now[key])


def model_facts(listed: Any, name: str) -> Facts:
    """The facts about the model `name` in a server's reply to `/v1/models`: vLLM's `root` and `parent` (of an
    adapter), llama.cpp's `tags` (ours are digests of the files) and sizes.
    """
    rows = (listed.get("data") or listed.get("models")) if isinstance(listed, dict) else listed
    facts: Facts = {"model": name}
    for row in rows if isinstance(rows, list) else ():
        names = (
            {row.get(key) for key in _NAMES if isinstance(row.get(key), str)} if isinstance(row, dict) else ()
        )
        if name in names or f"{name}:latest" in names:
            facts |= {key: row[key] for key in _SAME if row.get(key)}
            meta = row.get("meta")
            facts |= {key: meta[key] for key in _META if key in meta} if isinstance(meta, dict) else {}
            break
    return facts


def index_facts(index: Any) -> Facts:
    """The facts about a retriever's index, of the `index` in its `/health`: its plain values, those of
    objects inside it as `corpus.sha256`.
    """
    return dict(_plain(index, "", _DEPTH)) if isinstance(index, dict) else {}


def identity_of(facts: Facts) -> Facts:
    """The facts that tell two servers of one name apart."""
    return {key: facts[key] for key in _IDENTITY if key in facts}


def models_key(records: Any, *, roles: Collection[str] = ()) -> str:
    """What tells the models of runs apart, from the `servers` of their manifests: by role (of `roles`; all
    where it is empty) the names and the digests that the servers reported (an adapter is served under the
    name of its model). "" where nothing is on record.
    """
    rows = [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
    found = {
        orjson.dumps({"role": role, "model": facts.get("model"), **identity_of(facts)}, option=_SORTED)
        for record in rows
        for role, facts in record.items()
        if isinstance(facts, dict) and facts.get("model") and (not roles or role in roles)
    }
    return b",".join(sorted(found)).decode()


def _plain(index: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in index.items():
        if isinstance(value, str | int | float):
            yield f"{prefix}{key}", value
        elif isinstance(value, dict) and depth:
            yield from _plain(value, f"{prefix}{key}.", depth - 1)


def content_digest(path: Path) -> str:
    """Hash (16 hex digits) of a file's whole content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def line_digests(path: Path) -> list[str]:
    """The `content_digest` that a file had after each of its lines, from the empty file to the present one. A
    file of which an earlier digest is among them has only grown since.
    """
    digest = hashlib.sha256()
    found = [digest.hexdigest()[:16]]
    with path.open("rb") as file:
        for line in file:
            digest.update(line)
            found.append(digest.hexdigest()[:16])
    return found


def sampled_digest(path: Path) -> str:
    """Hash (16 hex digits) of the size of a large file and of 64 pieces of 64 KiB over its whole length:
    weights that were trained differ in all of them.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek(number * max(size - _SAMPLE_BYTES, 0) // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]


def _changes(before: Record, now: Record) -> list[str]:
    """The roles whose servers differ."""
    known = {role: before.get(role, {}) for role in now}
    return [role for role, facts in now.items() if differing(known[role], _with_lost(known[role], facts))]


def _with_lost(before: Facts, now: Facts) -> Facts:
    """`now`, with the identity as not reported where only `before` has one."""
    return now if identity_of(now) else {**dict.fromkeys(identity_of(before), _NOT_REPORTED), **now}


def _name(facts: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """A server in words: its model or index, and the facts in which it differs from `other`."""
    main = str(facts.get("model") or facts.get("retriever") or "an index")
    keys = dict.fromkeys(("corpus_sha256", "sha256", *differing(facts, other)))
    details = [f"{key} {facts[key]}" for key in keys if key in facts and facts[key] != other.get(key)]
    shown = ", ".join(detail for detail in details if not detail.startswith("model "))
    return main + (f" ({shown})" if shown else "")
