"""Trajectories beyond one node: shards of work that a Ray Data job assigns to actors (`shard_maker`) on all
nodes of a cluster, for construction (`src_data.ray_job`) and for evaluation (`src_infer.ray_job`).

Every trajectory is on disk as soon as it ends. The shard of a dead node is resumed on another node; after the
driver died, the next run merges the files, with Ray or without.

Assumptions: the repository (at the same path) and the run directory are on a file system that all nodes
share; every node reaches the LLM and retriever servers under the URLs of the settings, and has the access
token, if there is one, in the environment that `ray start` saw.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from src_core.config import config_class, dump, load_config
from src_core.errors import UserError
from src_core.progress import StepProgress
from src_core.rundir import RunDir
from src_infer.shard_maker import Job, Piece, Shard, ShardMaker, ShardReport, cut_shards
from src_infer.shards import merge_shards

PREFIX = "ray."
# An actor mostly waits for servers, and after a node died the other nodes must have room for its actors.
_CPUS_PER_ACTOR = 0.1


@config_class
class RayConfig:
    """`address` of a cluster's head (`host:port`, or `auto`); "" starts Ray on this machine, on loopback.

    `actors` is their total number (0: one per node), each with `in_flight` trajectories at once (0: as many
    as the settings of the run say); `per_shard` trajectories are one piece of work. `object_store_mb` is the
    object store size in MB of a Ray started here; only questions and counts go through it.
    """

    address: str = ""
    actors: Annotated[int, Field(ge=0)] = 0
    in_flight: Annotated[int, Field(ge=0, le=4096)] = 0
    per_shard: Annotated[int, Field(ge=1)] = 64
    object_store_mb: Annotated[int, Field(ge=80)] = 200


class Given(NamedTuple):
    """The arguments of a command: the settings of Ray, and the others."""

    ray: RayConfig
    others: list[str]


class Made(NamedTuple):
    """The result of a job: trajectories with a boundary error, and values for the manifest."""

    failed: int
    how: dict[str, Any]


def read_arguments(arguments: Sequence[str]) -> Given:
    """Separate the settings of Ray. Raises `UserError` for a wrong one, and where Ray is not installed."""
    mine = [argument.removeprefix(PREFIX) for argument in arguments if argument.startswith(PREFIX)]
    settings = load_config(RayConfig, None, mine)
    if importlib.util.find_spec("ray") is None:
        raise UserError("ray is not installed; bash scripts/setup.sh requirements-ray.txt")
    return Given(settings, [argument for argument in arguments if not argument.startswith(PREFIX)])


async def make_rows(
    work: Iterable[Piece], job: Job, rundir: RunDir, *, settings: RayConfig, progress: StepProgress
) -> Made:
    """Make the trajectories of `work` on the cluster, and merge them into the rows of `rundir`. Raises
    `UserError` where a maker says so, and where trajectories do not arrive.
    """
    shards = list(cut_shards(work, settings.per_shard))
    total = _Total()

    def on_report(report: ShardReport) -> None:
        total.add(report)
        for _ in range(report.made):
            progress.advance()
        for _ in range(report.held):
            progress.skip()

    if shards:
        total.nodes = await _on_ray(shards, job, settings=settings, on_report=on_report)
    lost = sum(len(shard["keys"]) for shard in shards) - merge_shards(rundir, key=job.key)
    if lost > 0:
        raise UserError(
            f"{lost} trajectories did not reach {rundir.path}; set runs_dir to a folder on a file system "
            "that all nodes share, and run this again"
        )
    return total.made(settings)


@dataclass(slots=True)
class _Total:
    """The sum of all reports."""

    nodes: int = 0
    failed: int = 0
    shards: int = 0

    def add(self, report: ShardReport) -> None:
        if report.error:
            raise UserError(report.error)
        self.shards += 1
        self.failed += report.failed

    def made(self, settings: RayConfig) -> Made:
        how = {**dump(settings), "nodes_at_start": self.nodes, "shards": self.shards}
        return Made(self.failed, {"ray": how})


async def _on_ray(
    shards: list[Shard], job: Job, *, settings: RayConfig, on_report: Callable[[ShardReport], None]
) -> int:
    """Run all shards. Returns the number of nodes."""
    try:
        return await asyncio.to_thread(_make_all, shards, job, settings=settings, on_report=on_report)
    finally:  # this also ends the thread when the run is interrupted
        import ray

        ray.shutdown()


def _make_all(
    shards: list[Shard], job: Job, *, settings: RayConfig, on_report: Callable[[ShardReport], None]
) -> int:
    """The Ray Data job. A dead actor is restarted on a live node and gets its shards again."""
    nodes = _connect(settings)
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised
    ray.data.DataContext.get_current().enable_progress_bars = False
    # A shard waits for its slowest trajectory, about three times the mean: other shards use its free slots
    # meanwhile.
    at_once = 1 + -(-3 * job.in_flight // settings.per_shard)
    pool = ray.data.ActorPoolStrategy(
        size=min(settings.actors or nodes, len(shards)),
        max_tasks_in_flight_per_actor=at_once,
        enable_true_multi_threading=True,
    )
    reports = ray.data.from_items(shards, override_num_blocks=len(shards)).map(
        ShardMaker,
        fn_constructor_args=(job,),
        compute=pool,
        num_cpus=_CPUS_PER_ACTOR,
        max_concurrency=at_once,
        scheduling_strategy="SPREAD",
    )
    for report in reports.iter_rows():
        on_report(ShardReport(**report))
    return nodes


def _connect(settings: RayConfig) -> int:
    """Join the cluster, or start one here. Returns its number of nodes."""
    # Ray reads these variables when it is imported. A call after the end of Ray must not start another one.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_AUTO_CONNECT": "0"}
    local: dict[str, Any] = {}
    if not settings.address:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = (
            "0"  # otherwise all its ports are open to the network
        )
        local = {"include_dashboard": False, "object_store_memory": settings.object_store_mb * 2**20}
    import ray

    try:
        ray.init(
            address=settings.address or "local", log_to_driver=False, logging_level=logging.ERROR, **local
        )
    except (ConnectionError, ValueError) as error:
        raise UserError(f"cannot join Ray at {settings.address!r}: {error}; see 'ray status'") from error
    return sum(bool(node["Alive"]) for node in ray.nodes())
