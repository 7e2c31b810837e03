"""python -m eval.aoa runs/x/revisions --human evaluation_data/full_eval/aoa/cdi_human.csv --out runs/x/aoa

Do models learn words in the order in which children do? The checkpoints' surprisals, fitted and correlated.
"""

import argparse
from pathlib import Path

from babylm_data.errors import UserError, parser_of, run_stage
from babylm_data.status import in_one
from eval.aoa.fit import AgesRequest, fit
from eval.results.official_tree import ResultsTree

DESCRIPTION = """\
Ages of acquisition: fit a sigmoid to each word's surprisal over the checkpoints, and correlate where the
words are learned with the ages at which children learn them.

reads   CHECKPOINTS …     folders that `python -m eval --tasks aoa` wrote, or folders of such folders, each named
                          after its checkpoint (chck_1M, …) or scored from a model of that name;
                          or an official surprisal.json
        --human FILE      cdi_human.csv: the share of children who say each word, at 16 to 30 months
        --tokenizer DIR   the model's folder: how many tokens a word is, and how many there are
                          [that of the last checkpoint, if it is still where it was scored]
writes  --out DIR         DIR/aoa.json; of the whole task also DIR/surprisal.json and DIR/aoa_score.json, in the
                          official form
        --results DIR     DIR/<--model-name>/main/zero_shot/<backend>/AoA_word/{surprisal,aoa_score}.json for the
                          official collator, and a line naming the official checkpoints that are not among these

The score is a Pearson correlation. Beside it stand the official scores by two rules (eval/aoa/learning_curves.py):
that of 2026, which is 0 where p > 0.1 or fewer than 3 words have both ages, and that of 2025."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("eval.aoa", DESCRIPTION)
    add = parse.add_argument
    add("checkpoints", type=Path, nargs="+", metavar="CHECKPOINTS", help="folders, or a file")
    add("--human", type=Path, required=True, metavar="FILE", help="cdi_human.csv")
    add("--tokenizer", metavar="DIR", help="folder of the model, or a hub name [the last checkpoint's]")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the result")
    add("--results", type=Path, metavar="DIR", help="write the surprisals into this results tree too")
    add("--model-name", metavar="NAME", help="the model's folder in the results tree")
    return parse


def main(argv: list[str]) -> None:
    """Parse what is asked for, and have it done."""
    args = parser().parse_args(argv)
    tree = None
    if args.results:
        if not args.model_name:
            raise UserError(
                "--results needs the model's name, which checkpoints do not have: add --model-name NAME"
            )
        tree = ResultsTree(args.results, args.model_name)
    request = AgesRequest(
        tuple(args.checkpoints), args.human, args.out, args.tokenizer, tree, typed=tuple(argv)
    )
    with in_one("ages", args.out.name):
        fit(request)


if __name__ == "__main__":
    run_stage(main)
