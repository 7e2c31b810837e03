"""python -m eval.submission check FILE --rules 2025 --data evaluation_data

Is a submission file what the leaderboard takes? Every fault is a line that names the place and what to do.
"""

import argparse
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError, positive
from eval.submission.check.evidence import check_fast_scores, check_ties, check_weights
from eval.submission.check.fast_scores import check_fast
from eval.submission.check.faults import Fault, Faults, check_keys
from eval.submission.check.gold import Gold, read_gold
from eval.submission.check.predictions import AGAIN, check_predictions
from eval.submission.check.strict_json import read_submission
from eval.submission.check.surprisals import check_surprisals
from eval.submission.check.values import checker, shown
from eval.submission.rules import TRACKS, Rules, Section, add_rules, load_rules

DESCRIPTION = """\
Check a submission file: keys, sizes, ids and their order, revisions, numbers that are not finite, predictions that
are the same throughout, revisions that are the same model.

reads   FILE              all_full_preds_and_fast_scores_causal.json, of this kit or of the official collator
        --data DIR        the evaluation data: each prediction must be a choice of its item, and reading's prev_pred
                          and the contexts of the surprisals those of the data; without it, only what the
                          rules alone can tell
        --revisions DIR   folders chck_1M, …: no two may have the same weights
        --scores FILE …   scores.json of `python -m eval`: of the final model, how many answers were ties; of revisions
                          (…/chck_1M/scores.json), whether the fast lists have their scores, in their order

Prints a line for each kind of fault in each place, rows counted from 0, and exits with 1; warnings alone, with 0.
A file that is not there or is no JSON: 2."""


def add_arguments(parse: argparse.ArgumentParser) -> None:
    """The command line of `check`."""
    parse.description, parse.formatter_class = DESCRIPTION, argparse.RawDescriptionHelpFormatter
    add = parse.add_argument
    add("file", type=Path, metavar="FILE", help="the submission file")
    add_rules(add)
    add("--track", choices=TRACKS, default=TRACKS[0], help=f"which revisions are due [{TRACKS[0]}]")
    add("--words", type=positive, metavar="N", help="words of exposure of a shorter run [the track's]")
    add(
        "--words-scale",
        type=share,
        default=1.0,
        metavar="X",
        help="of a shortened schedule, with --words [1]",
    )
    add("--data", type=Path, metavar="DIR", help="folder that holds full_eval/ and fast_eval/")
    add("--revisions", type=Path, metavar="DIR", help="folder that holds the revisions' folders")
    add(
        "--scores",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="scores.json, of the model or of revisions",
    )
    add_allow_constant(add)


def share(text: str) -> float:
    """A number above 0 and up to 1, as a type for argparse."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 and up to 1")
    return value


def add_allow_constant(add: Callable) -> None:
    """The option for a model that really says the same throughout; `add` is the `add_argument` of a parser."""
    add(
        "--allow-constant",
        nargs="+",
        default=[],
        metavar="KEY",
        help="keys and GLUE tasks that may have the same prediction throughout",
    )


@dataclass(frozen=True)
class CheckRequest:
    """A submission file, and what it is checked by."""

    file: Path
    rules: str = "2025"
    track: str = TRACKS[0]
    words: int | None = None
    """Of exposure of a shorter run; None: the track's."""
    words_scale: float = 1.0
    data: Path | None = None
    revisions: Path | None = None
    scores: tuple[Path, ...] = ()
    allow_constant: tuple[str, ...] = ()


def print_faults(request: CheckRequest) -> int:
    """Print the faults of the file; 1 if there are any."""
    rules = load_rules(request.rules)
    if request.data is not None and not request.data.is_dir():
        raise UserError(f"{request.data} is not a folder: name the one that holds full_eval/ with --data")
    if request.words_scale != 1 and request.words is None:
        raise UserError("--words-scale is of a shortened schedule: add --words N, the words that it ends at")
    due = rules.revisions(request.track, request.words, request.words_scale)
    if not due:
        raise UserError(f"no revision is due after {request.words:,} words: correct --words")
    notes: list[str] = []
    found = check_file(
        request.file,
        rules,
        due,
        request.data,
        request.revisions,
        request.scores,
        request.allow_constant,
        notes=notes,
    )
    for fault in found:
        print(f"{'warning' if fault.warning else 'fault'}: {fault}")
    if told := [name for name in due if name not in {file.parent.name for file in request.scores}]:
        notes.append(
            f"the fast lists do not say which revision an entry is of: without --scores of {told[0]}"
            f"{' …' if told[1:] else ''}, their order was not looked at"
        )
    if rules.note:
        notes.append(rules.noted)
    for note in notes:
        print(note)
    faults = sum(not fault.warning for fault in found)
    by = f"the rules of {rules.name}, {request.track}"
    if faults:
        print(f"{request.file} has {faults:,} faults by {by}")
        return 1
    rows, keys = rules.total_rows(len(due)), len(rules.keys) + 1
    print(f"{request.file} is sound by {by}: {keys} keys, {rows:,} rows, {len(due)} revisions")
    return 0


def check_file(
    path: Path,
    rules: Rules,
    due: Sequence[str],
    data: Path | None = None,
    revisions: Path | None = None,
    scores: Sequence[Path] = (),
    allow_constant: Collection[str] = (),
    *,
    notes: list[str] | None = None,
) -> list[Fault]:
    """What is wrong with a submission file, [] if nothing; UserError for one that cannot be read.

    `due`: names of the revisions, see `Rules.revisions`. `data`, `revisions`, `scores`: see DESCRIPTION.
    `notes` is given a line for each thing that was not looked at.
    """
    faults = Faults(allow_constant)
    content = read_submission(path)
    check_content(content, rules, due, data, faults, notes if notes is not None else [])
    if revisions is not None:
        check_weights(revisions, due, faults)
    tasks = {part.task for part in (*rules.keys.values(), *rules.fast.values()) if part.task}
    for file in scores:
        if file.parent.name in due:
            check_fast_scores(file, rules, content, due, faults)
        else:
            check_ties(file, sorted(tasks), faults)
    return faults.found()


def check_content(
    content: object, rules: Rules, due: Sequence[str], data: Path | None, faults: Faults, notes: list[str]
) -> None:
    """Add what is wrong with the JSON value of a file. The order of keys says nothing in JSON and is not looked at."""
    found = check_keys(content, "", [*rules.keys, rules.fast_key], faults)
    if found is None:
        return
    for key, section in rules.keys.items():
        if key in found:
            gold = read_gold(section, data) if data and section.task else None
            if isinstance(gold, str):
                notes.append(f"{key} was not compared with gold data: its rows {gold}")
                gold = None
            check_section(key, section, found[key], due, gold, faults)
    if rules.fast_key in found:
        check_fast(rules, found[rules.fast_key], due, faults)


def check_section(
    key: str, section: Section, value: object, due: Sequence[str], gold: Gold | None, faults: Faults
) -> None:
    """One key, by its form."""
    if section.form == "surprisals":
        check_surprisals(key, section, value, due, gold, faults)
    elif section.form == "predictions":
        check_predictions(key, section, value, gold, faults)
    elif (scores := check_keys(value, key, section.row, faults)) is not None:
        for name, kind in section.row.items():
            if name in scores and (problem := checker(kind)(scores[name])):
                faults.add(f"{key}/{name}", f"{shown(scores[name])} {problem}", AGAIN)
