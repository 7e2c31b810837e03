"""python -m bench [--shape NAME] [key.path=value …] [--json FILE] [--plot FILE]
    python -m bench --growth [--json FILE] [--plot FILE]

How fast the kit distils, against the field's plain loop, in one run on one machine.

sides   plain    a Hugging Face Trainer whose loss runs the teachers: full-vocabulary KL to the mean of their
                 logits, AdamW, fp32 on a processor and fp16 on a GPU, nothing compiled (bench/plain.py)
        online   the kit's step with the same student, teachers, batches and losses, as `precision: auto` and
                 `compile: true` make it
        cached   that, with the teachers' one target read from a cache: its top 32, at the temperature 2 of the
                 plain loop (which learns worse than at 1: distill/LOG.md; a step takes as long)
        muon     cached with `optimizer: muon`
shapes  reference   a llama student of 8.5M parameters, a llama and a GPT-2 teacher of its size, 64 x 128
                    tokens a step, vocabulary 8,192
        nursery, cpu-hour   the presets of the Makefile
        58m         BabyLlama-58M with its teachers of 360M and 705M parameters
        58m-alone   and without, its sides being muon
        small       the nursery's models, 16 x 128 tokens; where growth starts from

The sides go in turn, A B A B …, each turn in a process of its own, on made-up words and models. Printed: seconds
a step, peak memory of the process (nothing is subtracted; beside it what it was before the first step), the rate
of matrix products in the format of the side, and with median, least and most of all turns the figures of the
`summary` in --json. --growth times the kit over teachers, vocabulary and length, one factor at a time.
"""

import argparse
import json
import tempfile
from dataclasses import fields
from pathlib import Path

from babylm_data.errors import UserError, parser_of, positive, run_stage

PICTURES = (".png", ".svg", ".pdf")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("bench", __doc__)
    add = parse.add_argument
    add("overrides", nargs="*", metavar="key.path=value", help="change fields of the shape, for all sides")
    add("--shape", metavar="NAME", help="[reference; with --growth small]")
    add(
        "--sides",
        type=lambda text: text.split(","),
        default=(),
        metavar="SIDE,…",
        help="[all; of 58m-alone muon; with --growth online,cached]",
    )
    add("--growth", action="store_true", help="how a step grows, instead of a comparison")
    add("--turns", type=positive, default=3, metavar="N", help="of each side [3]")
    add("--steps", type=positive, default=3, metavar="N", help="timed steps a turn [3]")
    add("--warmup", type=positive, default=2, metavar="N", help="steps before them [2]")
    add("--optimizer", choices=("adamw", "muon"), default="adamw", help="of the kit [adamw]")
    add(
        "--plain-precision",
        choices=("fp32", "bf16", "fp16"),
        help="of the plain loop: fp32, or the Trainer's bf16=True or fp16=True [as the field has it]",
    )
    add("--no-compile", dest="compiled", action="store_false", help="the kit's step as it is")
    add("--no-memory", dest="memory", action="store_false", help="leave away the turns at vocabulary 16,000")
    add("--threads", type=positive, metavar="N", help="of the processor [as torch chooses]")
    add("--json", type=Path, metavar="FILE", help="write every number there")
    add("--plot", type=Path, metavar="FILE", help=f"draw it there: {', '.join(PICTURES)}")
    return parse


def refuse_absent_folders(*paths: Path | None) -> None:
    """UserError if a file cannot be written there: told before, and not after the minutes that a run takes."""
    for path in filter(None, paths):
        if not path.parent.is_dir():
            raise UserError(f"{path}: there is no folder {path.parent}")


def main(argv: list[str]) -> None:
    """Measure, print, write what is asked for."""
    args = parser().parse_intermixed_args(argv)
    refuse_absent_folders(args.json, args.plot)
    if args.plot and args.plot.suffix not in PICTURES:
        raise UserError(f"{args.plot}: a picture ends in {', '.join(PICTURES)}")

    from bench.shapes import config_of, sides_of
    from bench.spec import Request

    args.shape = args.shape or ("small" if args.growth else "reference")
    request = Request(**{field.name: getattr(args, field.name) for field in fields(Request)})
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        config = config_of(request, Path(folder))
        sides_of(request, config)  # a wrong name is told at once: to load torch takes seconds

        from transformers import logging

        from babylm_data.sealed import write_whole
        from bench.comparison import compare
        from bench.figures import figures_table
        from bench.growth import grow, growth_table
        from bench.plots import draw_comparison, draw_growth

        logging.disable_progress_bar()  # of models that are made up
        report = (grow if request.growth else compare)(request, config, Path(folder))
    print("\n" + (growth_table if args.growth else figures_table)(report))
    if args.json:
        write_whole(args.json, json.dumps(report, indent=1) + "\n")
    if args.plot:
        (draw_growth if args.growth else draw_comparison)(report, args.plot)


if __name__ == "__main__":
    run_stage(main)
