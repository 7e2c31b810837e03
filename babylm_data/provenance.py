"""What something was made with: the command, as a reader can type it again, and the processor."""

import os
import platform
import re
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


def processor() -> str:
    """The processor's model and cores: "AMD EPYC 9654, 4 logical cores"; its architecture where no model is told."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux, where platform.processor() would be empty
        text = ""
    told = re.search(r"^model name\s*:\s*(\S.*)$", text, flags=re.MULTILINE)
    model = " ".join(told[1].split()) if told else platform.processor() or platform.machine()
    count = os.cpu_count()
    return model + (f", {count} logical core{'s' if count > 1 else ''}" if count else "")
