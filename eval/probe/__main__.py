"""python -m eval.probe runs/cpu-hour

Look at a finished student beside its control and its teachers: how alike their hidden states are, layer by layer, early
and late in training; how often they agree, how well they are calibrated, what they write, what it costs to run each.

reads   RUN               its run folder; control and teachers are those that its summary names
        --text PATH …     held-out text [the test split of the data that it was trained on]
writes  RUN/probe/probe.json, which `python -m eval.report RUN` draws, and a table"""

import argparse
from pathlib import Path

from babylm_data.errors import parser_of, positive, run_stage


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("eval.probe", __doc__)
    add = parse.add_argument
    add("run", type=Path, metavar="RUN", help="a finished run's folder")
    add("--text", nargs="+", default=[], metavar="PATH", help="held-out text [DATA/text/test of the run]")
    add("--prompt", action="append", metavar="TEXT", help="where a text begins; any number of them [four]")
    add("--passages", type=positive, default=64, metavar="N", help="passages of text to read [64]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 … [auto]")
    return parse


def main(argv: list[str]) -> None:
    """Look, write, and print the table."""
    args = vars(parser().parse_args(argv))

    from eval.probe.probing import PROMPTS, ProbeRequest, probe
    from eval.results.request import requested

    request = requested(ProbeRequest, args, prompt=tuple(args["prompt"] or PROMPTS), typed=tuple(argv))
    found = probe(request)
    for line in found["left_out"]:
        print(f"left out: {line}")
    heads = f"{'nats':>7} {'right':>7} {'sure':>7} {'calibration error':>18} {'latency':>9} {'tokens/s':>9}"
    print(f"{'model':<32} {heads}")
    for one in found["models"]:
        speed = one.get("pace")
        times = f"{1000 * speed['latency']:>6.1f} ms {speed['tokens_per_second']:>9,.0f}" if speed else ""
        shares = " ".join(f"{100 * one[key]:>6.1f}%" for key in ("right", "confidence"))
        error = f"{100 * one['calibration_error']:.1f}%"
        print(f"{one['name']:<32} {one['nats']:>7.3f} {shares} {error:>18} {times}")


if __name__ == "__main__":
    run_stage(main)
