"""Rows of an exploration: trajectories whose provenance holds a tree."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from src_core.errors import UserError
from src_core.types import Trajectory, trajectory_from_json
from src_infer.search_record import Tree, tree_from_json


class TreeRow(NamedTuple):
    """A row with its tree; None for a question that failed or was refused."""

    trajectory: Trajectory
    tree: Tree | None


def read_tree_row(row: dict[str, Any], *, place: str) -> TreeRow:
    """The row in JSON data. Raises `UserError` naming `place` for one that no exploration wrote."""
    try:
        trajectory = trajectory_from_json(orjson.dumps(row))
        tree = trajectory.provenance.get("tree")
        return TreeRow(trajectory, None if tree is None else tree_from_json(tree))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{place} is no row of an exploration ({where}: {first['msg']}); name a run directory of "
            "src_data.deeprag.explore"
        ) from error
