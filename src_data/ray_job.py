"""Data construction beyond one node: `python -m src_data.ray_job src_data/data_config.yaml [ray.key=value …]
[key=value …]` (called by `bash scripts/construct_ray.sh`).

As `src_data.run`, but the missing trajectories are made by actors on all nodes of a Ray cluster
(`src_infer.on_ray`). After the driver died, the next run (also a plain `bash data_construct.sh`) goes on.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from src_core.errors import run_main
from src_core.progress import StepProgress
from src_core.rundir import RunDir
from src_core.types import RETRIED
from src_data.config import DataConfig
from src_data.construction.build import open_chains
from src_data.construction.construct import chain_key, missing_chains
from src_data.run import Construction, run_from
from src_data.sampling.mixture import Mixture
from src_data.teachers import Teacher
from src_infer.on_ray import RayConfig, make_rows, read_arguments
from src_infer.runtime import Runtime
from src_infer.shard_maker import Job


def main() -> int:
    """Separate the settings of Ray; the rest is handled as by `src_data.run`."""
    given = read_arguments(sys.argv[1:])
    return run_from(given.others, maker=RayMaker(given.ray))


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
        job = Job(
            root=str(Path.cwd()),
            run_dir=str(rundir.path.resolve()),
            in_flight=self.settings.in_flight or build.runtime.in_flight,
            prompts_digest=config.prompts_digest,
            opened=partial(open_chains, build),
            key=chain_key,
        )
        work = [chain.piece() for chain in missing]
        try:
            made = await make_rows(work, job, rundir, settings=self.settings, progress=progress)
        finally:
            progress.stop()
        return Construction(made.failed, made.how)


if __name__ == "__main__":
    run_main(main)
