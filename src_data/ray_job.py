"""Data construction beyond one node: `python -m src_data.ray_job src_data/data_config.yaml [ray.key=value …]
[key=value …]` (called by `bash scripts/construct_ray.sh`).

As `src_data.run`, but the missing trajectories are cut into shards that a Ray Data job assigns to actors
(`construction.shard_maker`) on all nodes of a cluster. Every trajectory is on disk as soon as it ends. The
shard of a dead node is resumed on another node; after the driver died, the next run (also a plain `bash
data_construct.sh`) merges the files.

Assumptions: the repository (at the same path) and the run directory are on a file system that all nodes
share; every node reaches the LLM and retriever servers under the URLs of the settings, and has the access
token, if there is one, in the environment that `ray start` saw.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console

from src_core.config import config_class, dump, load_config
from src_core.errors import UserError, run_main
from src_core.progress import StepProgress
from src_core.rundir import RunDir
from src_core.types import RETRIED
from src_data.config import DataConfig
from src_data.construction.construct import chain_key, missing_chains
from src_data.construction.shard_maker import Job, Shard, ShardMaker, ShardReport, cut_shards
from src_data.construction.shards import merge_shards
from src_data.run import Construction, run_from
from src_data.sampling.mixture import Mixture
from src_data.teachers import Teacher
from src_infer.runtime import Runtime

PREFIX = "ray."
# An actor mostly waits for servers, and after a node died the other nodes must have room for its actors.
_CPUS_PER_ACTOR = 0.1


@config_class
class RayConfig:
    """`address` of a cluster's head (`host:port`, or `auto`); "" starts Ray on this machine, on loopback.

    `actors` is their total number (0: one per node), each with `in_flight` trajectories at once (0:
    `build_conv.num_workers`). `object_store_mb` is the object store size in MB of a Ray started here; only
    questions and counts go through it.
    """

    address: str = ""
    actors: Annotated[int, Field(ge=0)] = 0
    in_flight: Annotated[int, Field(ge=0, le=4096)] = 0
    chains_per_shard: Annotated[int, Field(ge=1)] = 64
    object_store_mb: Annotated[int, Field(ge=80)] = 200


def main() -> int:
    """Separate the settings of this module; the rest is handled as by `src_data.run`."""
    given = sys.argv[1:]
    mine = [argument.removeprefix(PREFIX) for argument in given if argument.startswith(PREFIX)]
    settings = load_config(RayConfig, None, mine)
    if importlib.util.find_spec("ray") is None:
        raise UserError("ray is not installed; bash scripts/setup.sh requirements-ray.txt")
    others = [argument for argument in given if not argument.startswith(PREFIX)]
    return run_from(others, maker=RayMaker(settings))


@dataclass(frozen=True, slots=True)
class RayMaker:
    """Constructs trajectories on a Ray cluster (a `Maker`)."""

    settings: RayConfig

    async def __call__(
        self,
        config: DataConfig,
        mixture: Mixture,
        rundir: RunDir,
        *,
        teacher: Teacher,  # noqa: ARG002 - an argument of the interface
        runtime: Runtime,  # noqa: ARG002
        err: Console,
    ) -> Construction:
        """Construct the missing trajectories and merge them into the rows. The open `runtime` shows that the
        servers answer; the actors open their own.
        """
        build = config.build_conv
        progress = StepProgress(err, unit="chains", total=len(mixture) * build.n_chains)
        done = rundir.finished_ids(retry_statuses=RETRIED, key=chain_key)
        missing = missing_chains(mixture, done=done, n_chains=build.n_chains, on_done=progress.skip)
        shards = list(cut_shards(missing, self.settings.chains_per_shard))
        total = _Total()

        def on_report(report: ShardReport) -> None:
            total.add(report)
            for _ in range(report.made):
                progress.advance()
            for _ in range(report.held):
                progress.skip()

        in_flight = self.settings.in_flight or build.runtime.in_flight
        job = Job(
            root=str(Path.cwd()),
            run_dir=str(rundir.path.resolve()),
            config=replace(build, runtime=replace(build.runtime, in_flight=in_flight)),
            prompts_digest=config.prompts_digest,
        )
        try:
            if shards:
                total.nodes = await _on_ray(shards, job, settings=self.settings, on_report=on_report)
        finally:
            progress.stop()
        lost = sum(len(shard["numbers"]) for shard in shards) - merge_shards(rundir)
        if lost > 0:
            raise UserError(
                f"{lost} trajectories did not reach {rundir.path}; set runs_dir to a folder on a file system "
                "that all nodes share, and run this again"
            )
        return total.construction(self.settings)


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

    def construction(self, settings: RayConfig) -> Construction:
        how = {**dump(settings), "nodes_at_start": self.nodes, "shards": self.shards}
        return Construction(self.failed, {"ray": how})


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
    at_once = 1 + -(-3 * job.config.runtime.in_flight // settings.chains_per_shard)
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


if __name__ == "__main__":
    run_main(main)
