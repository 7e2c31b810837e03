"""python -m eval.aoa runs/x/revisions --human evaluation_data/full_eval/aoa/cdi_human.csv --out runs/x/aoa

Do models learn words in the order in which children do? The checkpoints' surprisals, fitted and correlated.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError, run_stage
from babylm_data.hub import TOKENIZER_FILES, find_folder
from babylm_data.sealed import write_whole
from babylm_data.tokenizer_files import load_tokenizer
from eval.aoa.ages import MONTHS, ages, chance_surprisals, correlation
from eval.aoa.checkpoints import Checkpoint, about, find_checkpoints, surprisals_by_word
from eval.results.official_tree import ResultsTree
from eval.results.scores import as_json, called, check_writable
from eval.tasks.aoa import with_step
from eval.tasks.csv_files import number, read_table, text
from eval.tasks.official import deviation_note, deviations

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

TRACKS = ("2026/strict-small", "2026/strict")  # the official program has the same checkpoints in 2025

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
        --results DIR     DIR/<--model-name>/main/zero_shot/<backend>/AoA_word/surprisal.json for the official collator,
                          and a line naming the official checkpoints that are not among these

The score is a Pearson correlation. Beside it stand the official scores by two rules (eval/aoa/learning_curves.py):
that of 2026, which is 0 where p > 0.1 or fewer than 3 words have both ages, and that of 2025."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m eval.aoa",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parse.add_argument
    add("checkpoints", type=Path, nargs="+", metavar="CHECKPOINTS", help="folders, or a file")
    add("--human", type=Path, required=True, metavar="FILE", help="cdi_human.csv")
    add("--tokenizer", metavar="DIR", help="folder of the model, or a hub name [the last checkpoint's]")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the result")
    add("--results", type=Path, metavar="DIR", help="write the surprisals into this results tree too")
    add("--model-name", metavar="NAME", help="the model's folder in the results tree")
    return parse


def read_human(path: Path) -> dict[str, "np.ndarray"]:
    """word -> share of children who say it, one number (0-1) for each of `MONTHS`."""
    import numpy as np

    shares: dict[str, np.ndarray] = {}
    for place, row in read_table(path, ["word", *map(str, MONTHS)]):
        word = text(row, "word", place)
        found = [number(row, str(month), place) for month in MONTHS]
        if not all(0 <= share <= 1 for share in found):
            raise UserError(f"{place} has a share that is not between 0 and 1: fetch the file again")
        if word in shares:
            raise UserError(f"{place} has {word!r} again: fetch the file again")
        shares[word] = np.array(found)
    return shares


def results_tree(args: argparse.Namespace) -> ResultsTree | None:
    """The official results tree that the surprisals go into, or None if they go in none."""
    if args.results is None:
        return None
    if not args.model_name:
        raise UserError(
            "--results needs the model's name, which checkpoints do not have: add --model-name NAME"
        )
    check_writable(args.results, "--results")
    return ResultsTree(args.results, args.model_name)


def tokenizer_of(asked: str | None, checkpoints: Sequence[Checkpoint]) -> "PreTrainedTokenizerBase":
    """The tokenizer asked for, or that of the last checkpoint whose model is still where it was scored."""
    kept = [each.model for each in checkpoints if each.model and Path(each.model).is_dir()]
    if not (name := asked or next(reversed(kept), None)):
        raise UserError(
            "the checkpoints' models are not where they were scored: name one with --tokenizer DIR"
        )
    return load_tokenizer(find_folder(name, f"there is no folder {name}", TOKENIZER_FILES))


def main(argv: list[str]) -> None:
    """Read everything, fit, correlate, write."""
    args = parser().parse_args(argv)
    check_writable(args.out)
    tree = results_tree(args)
    human = read_human(args.human)
    checkpoints = find_checkpoints(args.checkpoints)
    surprisals = surprisals_by_word(checkpoints)  # all of the same rows
    partial = deviation_note(deviations("aoa", ["aoa"] * len(checkpoints[0].rows)))
    if partial and tree:
        raise UserError(
            f"--results is for the whole task, and {partial}: score all of it, or leave out --results"
        )
    chance = chance_surprisals(tokenizer_of(args.tokenizer, checkpoints), surprisals)
    found = ages([checkpoint.exposure for checkpoint in checkpoints], surprisals, human, chance)
    rules = {rule: correlation(found, rule) for rule in ("2026", "2025")}
    result = {
        "metric": "pearson",
        **{key: rules["2026"][key] for key in ("score", "standard_error", "official_score")},
        "chance": 0.0,
        **about(checkpoints),
        "words": len(found),
        "partial": bool(partial),
        "rules": rules,
        "ages": found,
        **called("eval.aoa", argv),
    }
    if partial:
        print(f"not the whole task: {partial}; only aoa.json is written")
    else:
        write_official(args.out, tree, checkpoints, result["official_score"])
    write_whole(args.out / "aoa.json", as_json(result))
    print(f"{len(found):,} words, {len(checkpoints[0].rows):,} contexts, {len(checkpoints)} checkpoints")
    print_rules(rules)


def write_official(
    out: Path, tree: ResultsTree | None, checkpoints: Sequence[Checkpoint], score: float
) -> None:
    """The files in the official form: the surprisals, in `out` and in the results tree, and the score."""
    surprisals = as_json(
        {"results": [row for each in checkpoints for row in with_step(each.rows, each.name, each.exposure)]}
    )
    score_file = out / "aoa_score.json"
    # killed between the two, an older score would stand beside these surprisals
    score_file.unlink(missing_ok=True)
    write_whole(out / "surprisal.json", surprisals)
    write_whole(score_file, as_json({"aoa": score}))
    if tree:
        folder = replace(tree, backend=checkpoints[0].backend).folder / "AoA_word"
        write_whole(folder / "surprisal.json", surprisals)
        print(f"wrote {folder / 'surprisal.json'}")
        print_unlike(checkpoints)


def print_unlike(checkpoints: Sequence[Checkpoint]) -> None:
    """Where they are not the official checkpoints: those of strict-small, or of strict if any lies behind its last."""
    from babylm_data.words import load_track, revision_marks

    tracks = {name: load_track(name) for name in TRACKS}
    marks = {name: dict(revision_marks(track, track.exposure_words)) for name, track in tracks.items()}
    last = checkpoints[-1].exposure
    name = next((name for name in TRACKS if last <= max(marks[name].values())), TRACKS[-1])
    there = [checkpoint.name for checkpoint in checkpoints]
    missing = [mark for mark in marks[name] if mark not in there]
    others = [mark for mark in there if mark not in marks[name]]
    for what, names in (("are missing", missing), ("are none of them", others)):
        if names:
            print(
                f"the official collator takes the {len(marks[name])} checkpoints of {name} and no others; "
                f"{len(names)} {what}: {', '.join(names)}"
            )


def print_rules(rules: dict[str, dict]) -> None:
    """Each rule's correlation, and how many words have no age by it, and why."""
    for rule, cell in rules.items():
        r = "none" if cell["score"] is None else f"{cell['score']:.4f} (p {cell['p_value']:.3g})"
        official = f"official score {cell['official_score']:.4f}"
        print(f"rule of {rule}: r = {r}, {official}, {cell['words_fitted']:,} words")
        for reason, count in cell["reasons"].items():
            print(f"  {count:>5,} without an age, {reason}")


if __name__ == "__main__":
    run_stage(main)
