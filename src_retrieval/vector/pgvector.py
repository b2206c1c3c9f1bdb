"""PostgreSQL with the extension pgvector (0.8 or newer) as a store of vectors.

Vectors are float32 (`vector`) or fp16 (`halfvec`), searched by an HNSW graph or by comparing all of them. The
record beside them is a row of a table of its own. Who asks is libpq's business: PGHOST, PGPORT, PGDATABASE,
PGUSER, PGPASSWORD, PGSSLMODE and ~/.pgpass mean what they mean to psql.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from src_core.errors import IndexServerError
from src_retrieval.results import FloatArray
from src_retrieval.vector.pgvector_options import (
    HOST,
    PASSWORD,
    Kept,
    PgOptions,
    PgSearch,
    place_of,
    require_graph,
)
from src_retrieval.vector.store import (
    Search,
    StoreErrors,
    VectorStore,
    address_of,
    not_installed,
)
from src_retrieval.vector.store_index import StoreBackend

OLDEST = (0, 8)
MOST_EF = 1_000
"""pgvector's own bound of `hnsw.ef_search`."""
_COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_COPY_END = struct.pack(">h", -1)
_EXACT = {"enable_indexscan": "off"}
_BY_GRAPH = {"enable_seqscan": "off", "enable_sort": "off"}
"""Of some thousands of vectors the planner would compare all of them: slower, and not what was asked for."""
_LOGIN_STATES = ("28000", "28P01")


class PgStore(VectorStore):
    """A table of vectors, and the table of the records of all of them."""

    title = "PostgreSQL"

    def __init__(self, options: Any, collection: str) -> None:
        try:
            import psycopg
            from psycopg import sql
        except ImportError as error:
            raise not_installed(self.title) from error
        self._psycopg, self._sql = psycopg, sql
        address = address_of(options, HOST, "")
        self._arguments = {**place_of(address), "dbname": options.database, "user": options.user}
        self._arguments["connect_timeout"] = str(max(2, round(options.request_timeout)))
        self._timeout = round(1000 * options.request_timeout)
        self.errors = StoreErrors(self.title, address or "this machine", collection, HOST, PASSWORD)
        self.raised = (psycopg.Error,)
        self._name = collection
        self._table, self._graph = sql.Identifier(collection), sql.Identifier(f"{collection}_hnsw")
        self._open: Any = None
        self._kept: Kept | None = None
        self._graph_there: bool | None = None

    @override
    def explain(self, error: Exception) -> IndexServerError:
        """See `VectorStore.explain`."""
        state, said = getattr(error, "sqlstate", None), str(error)
        if state in _LOGIN_STATES or "password" in said:
            return self.errors.not_let_in(said)
        away = state is None or state[:2] in ("08", "57")  # no connection, or the server is being stopped
        if away and isinstance(error, self._psycopg.OperationalError):
            return self.errors.unreachable(said)
        if state is not None and (state[:2] == "58" or state in ("0A000", "42501")) and "vector" in said:
            return self.errors.says(f"{said}; install pgvector there and run CREATE EXTENSION vector")
        return self.errors.says(said, again=state is not None and state[:2] in ("40", "53", "55"))

    @override
    def version(self) -> str:
        """See `VectorStore.version`."""
        number = self._run("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        server = self._connection().info.server_version
        return f"PostgreSQL {server // 10_000}.{server % 10_000}, pgvector {number[0]}"

    @override
    def count(self) -> int | None:
        """See `VectorStore.count`."""
        if not self._has(self._name):
            return None
        return int(self._run("SELECT count(*) FROM {table}", patient=True).fetchone()[0])

    @override
    def manifest(self) -> str | None:
        """See `VectorStore.manifest`."""
        if not self._has("rearag_records"):
            return None
        found = self._run("SELECT record FROM rearag_records WHERE name = %s", self._name).fetchone()
        return None if found is None else str(found[0])

    @override
    def create(self, dim: int, manifest: str, shape: PgOptions) -> None:
        """See `VectorStore.create`."""
        require_graph(shape, dim)
        with self._connection().transaction():
            self._run("CREATE EXTENSION IF NOT EXISTS vector")
            self._require_version()
            self._run("CREATE TABLE IF NOT EXISTS rearag_records (name text PRIMARY KEY, record text)")
            column = self._sql.SQL(f"{shape.storage.value}({int(dim)})")
            self._run(
                "CREATE TABLE {table} (id bigint PRIMARY KEY, passage text NOT NULL, embedding {column})",
                column=column,
            )
            self.write_manifest(manifest)

    @override
    def write_manifest(self, text: str) -> None:
        """See `VectorStore.write_manifest`."""
        self._run(
            "INSERT INTO rearag_records VALUES (%s, %s) "
            "ON CONFLICT (name) DO UPDATE SET record = excluded.record",
            self._name,
            text,
        )

    @override
    def drop(self) -> None:
        """See `VectorStore.drop`."""
        self._kept = self._graph_there = None
        with self._connection().transaction():
            self._run("DROP TABLE IF EXISTS {table}")
            if self._has("rearag_records"):
                self._run("DELETE FROM rearag_records WHERE name = %s", self._name)

    @override
    def add(self, start: int, ids: Sequence[str], vectors: FloatArray) -> None:
        """See `VectorStore.add`: one transaction, in PostgreSQL's binary form."""
        half = self._column() == Kept.HALFVEC
        data = _copy_rows(start, ids, vectors.astype(">f2" if half else ">f4"))
        with self._connection().transaction():
            self._run("DELETE FROM {table} WHERE id >= %s", start)
            command = self._sql.SQL("COPY {} (id, passage, embedding) FROM STDIN (FORMAT BINARY)")
            with self._connection().cursor().copy(command.format(self._table)) as copy:
                copy.write(data)

    @override
    def finish(self, shape: PgOptions) -> None:
        """See `VectorStore.finish`."""
        self._run("ANALYZE {table}", patient=True)
        if shape.index is Search.FLAT:
            return
        with self._connection().transaction():
            self._run("SELECT set_config('maintenance_work_mem', %s, true)", shape.build_memory)
            self._run(
                "CREATE INDEX IF NOT EXISTS {graph} ON {table} USING hnsw (embedding {measure}) "
                "WITH (m = {m}, ef_construction = {ef})",
                patient=True,
                measure=self._sql.SQL(f"{self._column().value}_ip_ops"),
                m=self._sql.Literal(shape.hnsw_m),
                ef=self._sql.Literal(max(shape.hnsw_ef_construction, 2 * shape.hnsw_m)),
            )

    @override
    def search(
        self, vectors: FloatArray, k: int, searching: PgSearch, among: Sequence[int] | None = None
    ) -> list[list[tuple[int, float]]]:
        """See `VectorStore.search`: one statement for all queries."""
        exact = searching.exact or not self._has_graph()
        found: list[list[tuple[int, float]]] = [[] for _ in vectors]
        with self._connection().transaction():
            if among is None:
                self._set(**(_EXACT if exact else _BY_GRAPH))
            self._set(
                jit="off",
                **{
                    "hnsw.ef_search": min(MOST_EF, max(k, searching.hnsw_ef)),
                    "hnsw.iterative_scan": "strict_order",
                },
            )
            rows = self._run(
                "WITH asked AS MATERIALIZED (SELECT n, text::{column} AS vector "
                "FROM unnest(%s::text[]) WITH ORDINALITY AS given (text, n)) "
                "SELECT asked.n, hit.id, hit.distance FROM asked CROSS JOIN LATERAL ("
                "SELECT id, embedding <#> asked.vector AS distance FROM {source} "
                "ORDER BY embedding <#> asked.vector LIMIT %s) AS hit",
                ["[" + ",".join(map(repr, vector)) + "]" for vector in vectors.tolist()],
                *([] if among is None else [list(among)]),
                k,
                column=self._sql.SQL(f"{self._column().value}({vectors.shape[1]})"),
                source=self._source(among),
            ).fetchall()
        for number, row, distance in rows:
            found[number - 1].append((row, -distance))
        return [sorted(pairs, key=lambda pair: -pair[1]) for pairs in found]

    @override
    def close(self) -> None:
        """See `VectorStore.close`."""
        if self._open is not None:
            self._open.close()

    def _source(self, among: Sequence[int] | None) -> Any:
        """The table; some rows of it are taken out first, so that they are compared one by one."""
        if among is None:
            return self._table
        chosen = "(SELECT id, embedding FROM {} WHERE id = ANY(%s) OFFSET 0) AS chosen"
        return self._sql.SQL(chosen).format(self._table)

    def _connection(self) -> Any:
        """The open connection; a new one where it was lost."""
        if self._open is None or self._open.closed or self._open.broken:
            self._open = self._psycopg.connect(
                **{name: value for name, value in self._arguments.items() if value}, autocommit=True
            )
            self._set_timeout(self._timeout)
        return self._open

    def _run(self, statement: str, *values: Any, patient: bool = False, **parts: Any) -> Any:
        """The cursor of a statement with our names and `parts` in it; a `patient` one may take hours."""
        connection = self._connection()
        text = self._sql.SQL(statement).format(table=self._table, graph=self._graph, **parts)
        if patient:
            self._set_timeout(0)
        cursor = connection.execute(text, values or None)
        if patient:
            self._set_timeout(self._timeout)
        return cursor

    def _set_timeout(self, milliseconds: int) -> None:
        self._open.execute("SELECT set_config('statement_timeout', %s, false)", [str(milliseconds)])

    def _set(self, **settings: Any) -> None:
        """Settings of the transaction."""
        calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
        values = [text for name, value in settings.items() for text in (name, str(value))]
        self._open.execute(f"SELECT {calls}", values)

    def _has(self, table: str) -> bool:
        return self._run("SELECT to_regclass(%s)", table).fetchone()[0] is not None

    def _has_graph(self) -> bool:
        if self._graph_there is None:
            self._graph_there = self._has(f"{self._name}_hnsw")
        return self._graph_there

    def _column(self) -> Kept:
        """The type that the table has."""
        if self._kept is None:
            self._kept = self._read_column()
        return self._kept

    def _read_column(self) -> Kept:
        found = self._run(
            "SELECT format_type(atttypid, NULL) FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attname = 'embedding'",
            self._name,
        ).fetchone()
        return Kept(found[0])

    def _require_version(self) -> None:
        number = self._run("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()[0]
        if tuple(int(part) for part in number.split(".")[:2]) < OLDEST:
            raise self.errors.says(
                f"pgvector {number}; 0.8 or newer is needed: ALTER EXTENSION vector UPDATE"
            )


def _copy_rows(start: int, ids: Sequence[str], vectors: Any) -> bytes:
    """Rows as COPY reads them: three fields, each after its length; a vector is its dimension, two bytes of
    zero, and its numbers, the highest byte first.
    """
    dim = vectors.shape[1]
    head = struct.pack(">ihh", 4 + dim * vectors.dtype.itemsize, dim, 0)
    parts = [_COPY_HEAD]
    for at, name in enumerate(ids):
        text = name.encode()
        parts.append(struct.pack(">hiqi", 3, 8, start + at, len(text)) + text + head + vectors[at].tobytes())
    return b"".join([*parts, _COPY_END])


class PgBackend(StoreBackend):
    """Tables of PostgreSQL."""

    kinds = ("pgvector",)
    build_options = PgOptions
    search_options = PgSearch

    @override
    def connect(self, options: Any, collection: str) -> VectorStore:
        """See `StoreBackend.connect`."""
        return PgStore(options, collection)


BACKEND = PgBackend()
