"""python forked_ranks.py STAGE CONFIG: `torch.distributed.run --standalone --nproc-per-node=2 -m STAGE CONFIG`, forked.

The same launcher, but its two processes are forks of one that has loaded torch and transformers, which takes longer
than training a tiny model.
"""

import runpy
import sys

from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import distill.objective  # noqa: F401
import train_teachers.stage  # noqa: F401


def run(stage: str, config: str) -> None:
    """What `python -m stage config` does, in a rank of the job."""
    sys.argv = [stage, config]
    try:
        runpy.run_module(stage, run_name="__main__")
    except SystemExit as end:  # the launcher would wait for ever for what this function returns
        if end.code:
            raise RuntimeError(f"exit status {end.code}") from end


if __name__ == "__main__":
    job = LaunchConfig(
        1,
        1,
        2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id="two",
        start_method="fork",
        max_restarts=0,
    )
    elastic_launch(job, run)(*sys.argv[1:])
