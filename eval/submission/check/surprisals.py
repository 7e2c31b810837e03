"""The surprisals of words in their contexts: {"results": rows}, all contexts at the first revision, at the second, …"""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from babylm_data.words import MILLION
from eval.submission.check.faults import Faults, check_order, twins
from eval.submission.check.gold import Gold
from eval.submission.check.predictions import check_fields, row_list
from eval.submission.check.values import checker, shown
from eval.submission.rules import Section

ROUNDED = 1e-3  # nats between two scorings of one model, in another order or on another device


def check_surprisals(
    key: str, section: Section, value: object, due: Sequence[str], gold: Gold | None, faults: Faults
) -> None:
    """Add what is wrong with the `value` of `key`, which has the same rows for each of the revisions that are `due`."""
    rows = row_list(value, key, "results", section.optional, faults)
    if rows is None:
        return
    steps = [row.get("step") if isinstance(row, dict) else None for row in rows]
    steps = [step if type(step) is str else None for step in steps]
    check_steps(key, steps, due, faults)
    checks = {field: checker(kind) for field, kind in section.row.items()}
    contexts: dict[str, list] = {}
    surprisals: dict[str, tuple] = {}
    by_step: dict[str | None, list] = {}
    for row, step in zip(rows, steps, strict=True):
        by_step.setdefault(step, []).append(row)
    for step in [*due, None]:
        own = by_step.get(step, [])
        place = f"{key}, {step}" if step else f"{key}, rows without a revision"
        fit = check_fields(own, checks, place, faults)
        if step and own:
            contexts[step] = [_context(row) for row in own]
            surprisals[step] = tuple(row["surprisal"] for row, fits in zip(own, fit, strict=True) if fits)
            _check_words(own, step, place, faults)
    check_contexts(key, contexts, section, gold, faults)
    check_told_apart(key, surprisals, faults)


def check_steps(key: str, steps: Sequence[str | None], due: Sequence[str], faults: Faults) -> None:
    """Each revision that is due, in one block of rows, in order; and no other."""
    blocks = [step for step, _ in groupby(step for step in steps if step is not None)]
    counts = Counter(blocks)
    for step in due:
        if step not in counts:
            faults.add(f"{key}, {step}", "the revision is missing", "score it, and collate the file again")
        elif counts[step] > 1:
            what = f"the revision's rows stand in {counts[step]:,} separate places"
            faults.add(f"{key}, {step}", what, "write each revision once, its rows together")
    for step in counts:
        if step not in due:
            what = f"the revision {shown(step)} is none of those that are due"
            faults.add(
                key, what, f"revisions are {due[0]} … {due[-1]}; of a shorter run, say so with --words"
            )
    first = [step for step in counts if step in due]
    for before, after in zip(first, first[1:], strict=False):
        if due.index(after) < due.index(before):
            what = f"the revision stands after {before}: out of order"
            faults.add(f"{key}, {after}", what, "order the revisions by words of exposure")


def _context(row: object) -> tuple | None:
    """What identifies a row, None where that is broken."""
    if not isinstance(row, dict):
        return None
    found = tuple(row.get(field) for field in ("target_word", "context_id", "context"))
    return found if tuple(map(type, found)) == (str, int, str) else None


def _check_words(rows: list[dict], step: str, place: str, faults: Faults) -> None:
    """The words of exposure that a revision's name tells stand in each row."""
    words = int(step.removeprefix("chck_").removesuffix("M")) * MILLION
    for number, row in enumerate(rows):
        if type(count := row.get("word_count")) is int and count != words:
            what = f"{count:,} in 'word_count', and {step} is due at {words:,}"
            faults.add_row(place, number, "words", what, "write the words that the revision's name tells")


def check_contexts(
    key: str, contexts: dict[str, list], section: Section, gold: Gold | None, faults: Faults
) -> None:
    """The same words in the same contexts at every revision: those of the data, or else of most revisions."""
    count = sum(section.rows.values())
    if gold and gold.contexts:
        expected = gold.contexts
    else:
        complete = Counter(
            tuple(rows) for rows in contexts.values() if len(rows) == count and len({*rows, None}) > count
        )
        if not complete:
            for step, rows in contexts.items():
                if len(rows) != count:
                    what = f"has {len(rows):,} rows, the data {count:,}"
                    faults.add(f"{key}, {step}", what, section.remedy)
            return
        expected = list(complete.most_common(1)[0][0])
    for step, rows in contexts.items():
        place = f"{key}, {step}"
        check_order(rows, expected, place, "word, number and context", section.remedy, faults)
    numbers: Counter[str] = Counter()
    for row, (word, number, _) in enumerate(expected):
        if number != numbers[word]:
            what = (
                f"{number} in 'context_id' of {shown(word)}, whose contexts before it are {numbers[word]:,}"
            )
            faults.add_row(f"{key}, every revision", row, "number", what, "number a word's contexts from 0")
        numbers[word] += 1


def check_told_apart(key: str, surprisals: dict[str, tuple], faults: Faults) -> None:
    """Surprisals differ within a revision, and between revisions."""
    varied = []
    for step, values in surprisals.items():
        if len(values) > 1 and len(set(values)) == 1:
            what = f"all {len(values):,} rows have {shown(values[0])} in 'surprisal'"
            faults.add_constant(f"{key}, {step}", key, what)
        elif values:
            varied.append((step, values))
    for twin, step in twins(varied, ROUNDED):
        what = f"every surprisal is that of {twin}: one model was scored twice"
        faults.add(f"{key}, {step}", what, "score each revision's own weights")
