"""The command that something was made with, as a reader can type it again."""

import os
import shlex
import sys
from pathlib import Path


def command_line() -> str:
    """The command of this process: `python -m stage …`, or `accelerate launch … -m stage …` for several."""
    run = sys.modules["__main__"].__spec__  # of what was run with -m
    module = run.name.removesuffix(".__main__") if run else Path(sys.argv[0]).stem
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    launcher = ["accelerate", "launch", "--num_processes", str(processes)] if processes > 1 else ["python"]
    return shlex.join([*launcher, "-m", module, *sys.argv[1:]])
