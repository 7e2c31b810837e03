"""python -m bench.side SPEC RESULT: one turn of one side. Reads and writes JSON; `python -m bench` starts it.

Each turn has a process of its own, so that its peak of memory is its own.
"""

import os
from pathlib import Path

from babylm_data.errors import run_stage


def main(argv: list[str]) -> None:
    """Take the steps of SPEC, write RESULT."""
    # one device: the Trainer would spread the batch over all that it sees
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]

    from transformers import logging

    from babylm_data.memory import memory_advice
    from bench.spec import Spec

    logging.disable_progress_bar()
    spec = Spec.model_validate_json(Path(argv[0]).read_text(encoding="utf-8"))
    if spec.side == "plain":
        from bench.plain import run
    else:
        from bench.ours import run
    with memory_advice("on this machine: choose a smaller shape, or override batch_size"):
        Path(argv[1]).write_text(run(spec).model_dump_json(indent=1), encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
