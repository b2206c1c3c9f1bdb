"""The settings of a PostgreSQL server and of the table on it, and where libpq finds the server."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field
from typing_extensions import override

from src_core.config import config_class
from src_core.errors import UserError
from src_core.server_url import server_url
from src_retrieval.vector.store import GraphOptions, GraphSearchOptions, Search

HOST, PASSWORD = "PGHOST", "PGPASSWORD"


class Kept(StrEnum):
    """The type of the column: float32, or fp16 in half the space."""

    VECTOR = "vector"
    HALFVEC = "halfvec"


MOST_DIM = {Kept.VECTOR: 2_000, Kept.HALFVEC: 4_000}
"""Dimensions of which pgvector makes a graph."""


@config_class
class PgOptions(GraphOptions):
    """`GraphOptions` of a PostgreSQL server. `address` is postgresql://HOST:PORT or the folder of a socket;
    `database` and `user` empty: as libpq chooses. The graph is built with `build_memory` (PostgreSQL's
    maintenance_work_mem).
    """

    database: str = ""
    user: str = ""
    storage: Kept = Kept.VECTOR
    hnsw_m: Annotated[int, Field(ge=2, le=100)] = 16
    hnsw_ef_construction: Annotated[int, Field(ge=4, le=1000)] = 128
    build_memory: Annotated[str, Field(pattern=r"^[0-9]{1,9}(kB|MB|GB)$")] = "512MB"

    @override
    def facts(self) -> dict[str, str | int | float | bool]:
        """See `LoadOptions.facts`."""
        left_out = ("database", "user", "build_memory")
        return {name: value for name, value in GraphOptions.facts(self).items() if name not in left_out}


@config_class
class PgSearch(GraphSearchOptions):
    """The section `searching`, with the server as in `PgOptions`. `exact` compares all vectors."""

    database: str = ""
    user: str = ""
    exact: bool = False


def require_graph(shape: PgOptions, dim: int) -> None:
    """Raises `UserError` for vectors of which pgvector makes no graph: it says so when all are there."""
    if shape.index is Search.HNSW and dim > MOST_DIM[shape.storage]:
        raise UserError(
            f"pgvector makes no graph of {shape.storage.value} with {dim} dimensions (at most "
            f"{MOST_DIM[shape.storage]}); set shape.index=flat, which is exact, or, up to "
            f"{MOST_DIM[Kept.HALFVEC]}, shape.storage=halfvec"
        )


def place_of(address: str) -> dict[str, str]:
    """Host and port for libpq. Raises `UserError` for an address that cannot be one."""
    if not address or "://" not in address:
        return {"host": address}
    parts = urlsplit(
        server_url(address, secret=PASSWORD, schemes=("postgresql",), like="postgresql://127.0.0.1:5432")
    )
    if parts.path or parts.query:
        raise UserError(
            f"{address:.200} names more than a host and a port; give the database as database=NAME"
        )
    return {"host": str(parts.hostname), "port": str(parts.port or os.environ.get("PGPORT", ""))}
