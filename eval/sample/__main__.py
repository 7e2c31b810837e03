"""python -m eval.sample runs/cpu-hour/export runs/cpu-hour-control/export --prompt "The little girl" --prompt "Once"

Have causal models write on from prompts, side by side: the same seed gives the same text.

reads   MODEL …           folders with the model and its tokenizer, or hub names
writes  what they write, prompt by prompt, on the screen"""

import argparse
import textwrap

from babylm_data.errors import UserError, from_zero, parser_of, positive, run_stage

WIDE = 100  # columns


def share(text: str) -> float:
    """A number above 0 and up to 1, as a type for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0 and up to 1")
    return value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("eval.sample", __doc__)
    add = parse.add_argument
    add("models", nargs="+", metavar="MODEL", help="folder or hub name of a causal model")
    add(
        "--prompt",
        action="append",
        required=True,
        metavar="TEXT",
        help="where a text begins; any number of them",
    )
    add("--tokens", type=positive, default=60, metavar="N", help="most tokens to write [60]")
    add(
        "--temperature",
        type=float,
        default=0.8,
        metavar="T",
        help="divides the logits; 0: always the likeliest [0.8]",
    )
    add(
        "--top-p",
        type=share,
        default=0.95,
        metavar="P",
        help="of the likeliest tokens, so much of their mass [0.95]",
    )
    add("--seed", type=from_zero, default=0, metavar="N", help="of what is drawn [0]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 … [auto]")
    return parse


def main(argv: list[str]) -> None:
    """Write on from each prompt with each model."""
    args = parser().parse_args(argv)
    if not 0 <= args.temperature < 100:
        raise UserError(f"--temperature {args.temperature:g}: write a number from 0 on, such as 0.8")

    from eval.sample.writer import Manner, Writer

    manner = Manner(args.tokens, args.temperature, args.top_p, args.seed)
    texts = {}
    for model in dict.fromkeys(args.models):
        writer = Writer(model, args.device)
        texts |= {(prompt, model): writer(prompt, manner) for prompt in args.prompt}
    for prompt in dict.fromkeys(args.prompt):
        print(f"== {prompt}")
        for model in dict.fromkeys(args.models):
            print(
                f"{model}:\n{textwrap.fill(texts[prompt, model], WIDE, initial_indent='  ', subsequent_indent='  ')}"
            )


if __name__ == "__main__":
    run_stage(main)
