"""Faults to plant in a sound submission file. Each takes the content and says where it must be found, and how named."""

import math
import random
from collections.abc import Callable

from eval.submission.rules import Rules

Planted = tuple[str, str]
"""(what the line's place must begin with, what must stand in the line)."""

REVISIONS = ["chck_1M", "chck_2M", "chck_3M"]


def lists(content: dict, rules: Rules) -> list[tuple[str, str, list]]:
    """(key, place, rows) of each list of predictions that has two rows or more."""
    return [
        (key, f"{key}/{name}", subtask["predictions"])
        for key, section in rules.keys.items()
        if section.form == "predictions" and not section.examples
        for name, subtask in content[key].items()
        if len(subtask["predictions"]) > 1
    ]


def aoa(content: dict, rules: Rules) -> tuple[str, list]:
    """The key of the surprisals, and its rows."""
    key = next(key for key, section in rules.keys.items() if section.form == "surprisals")
    return key, content[key]["results"]


def of_revision(rows: list[dict], revision: str) -> list[dict]:
    return [row for row in rows if row["step"] == revision]


def missing_task(content, rules, rng) -> Planted:
    if rng.random() < 0.7:
        key = rng.choice([*rules.keys, rules.fast_key])
        del content[key]
        return key, "is missing"
    name = rng.choice([*rules.fast])
    del content[rules.fast_key][name]
    return f"{rules.fast_key}/{name}", "is missing"


def missing_key(content, rules, rng) -> Planted:
    key, place, rows = rng.choice(lists(content, rules))
    match rng.randrange(5):
        case 0:
            del content[key][place.partition("/")[2]]
            return place, "is missing"
        case 1:
            del content[key][place.partition("/")[2]]["predictions"]
            return f"{place}/predictions", "is missing"
        case 2:
            row, field = rng.randrange(len(rows)), rng.choice([*rows[0]])
            del rows[row][field]
            return f"{place}, row {row}", f"'{field}' is missing"
        case 3:
            key, rows = aoa(content, rules)
            row = rng.choice(rows)
            number = of_revision(rows, row["step"]).index(row)
            field = rng.choice([field for field in row if field != "step"])
            del row[field]
            return f"{key}, {row['step']}, row {number}", f"'{field}' is missing"
    name, revision = rng.choice([*rules.fast]), rng.randrange(3)
    score = rng.choice([*content[rules.fast_key][name][revision]])
    del content[rules.fast_key][name][revision][score]
    return f"{rules.fast_key}/{name}, {REVISIONS[revision]}/{score}", "is missing"


def missing_row(content, rules, rng) -> Planted:
    if rng.random() < 0.3:
        key, rows = aoa(content, rules)
        row = rng.choice(rows)
        number = of_revision(rows, row["step"]).index(row)
        rows.remove(row)
        return f"{key}, {row['step']}, row {number}", "is missing"
    _, place, rows = rng.choice(lists(content, rules))
    number = rng.randrange(len(rows))
    rows.pop(number)
    return f"{place}, row {number}", "is missing"


def extra_row(content, rules, rng) -> Planted:
    if rng.random() < 0.3:
        key, rows = aoa(content, rules)
        row = rng.choice(rows) | {"context": "Never asked."}
        rows.insert(rows.index(of_revision(rows, row["step"])[-1]) + 1, row)
        return f"{key}, {row['step']}, row", "Never asked."
    _, place, rows = rng.choice(lists(content, rules))
    identity = len(rows) if place == "reading/reading" else f"{place.partition('/')[2]}_{len(rows)}"
    rows.insert(number := rng.randint(0, len(rows)), rows[-1] | {"id": identity})
    return (
        f"{place}, row {number}",
        f"the id is {identity if type(identity) is int else repr(identity)}".replace("'", '"'),
    )


def wrong_id(content, rules, rng) -> Planted:
    if rng.random() < 0.3:
        key, rows = aoa(content, rules)
        row = rng.choice(rows)
        number = of_revision(rows, row["step"]).index(row)
        field, value = rng.choice([("target_word", "never"), ("context_id", 7), ("context", "Never asked.")])
        row[field] = value
        return f"{key}, {row['step']}, row {number}", "the word, number and context is"
    _, place, rows = rng.choice(lists(content, rules))
    number = rng.randrange(len(rows))
    twin = rng.random() < 0.5
    other = (number + 1) % len(rows)
    strange = -1 if place == "reading/reading" else f"x_{number}"
    rows[number]["id"] = rows[other]["id"] if twin else strange
    if not twin:
        said = "-1 in 'id' is no whole number" if strange == -1 else f'the id is "{strange}"'
        return f"{place}, row {number}", said
    return f"{place}, row {max(number, other)}", "too"


def wrong_order(content, rules, rng) -> Planted:
    if rng.random() < 0.3:
        key, rows = aoa(content, rules)
        revision = rng.choice(REVISIONS)
        own = of_revision(rows, revision)
        first, second = sorted(rng.sample(range(len(own)), 2))
        a, b = rows.index(own[first]), rows.index(own[second])
        rows[a], rows[b] = rows[b], rows[a]
        return f"{key}, {revision}, row {first}", "out of order (and 1 more rows"
    _, place, rows = rng.choice(lists(content, rules))
    first, second = sorted(rng.sample(range(len(rows)), 2))
    rows[first], rows[second] = rows[second], rows[first]
    return f"{place}, row {first}", "out of order (and 1 more rows"


def wrong_type(content, rules, rng) -> Planted:
    match rng.randrange(4):
        case 0:
            key = rng.choice([*content])
            content[key] = rng.choice([[], "text", None, 1])
            return key, "stands where an object belongs"
        case 1:
            key, rows = aoa(content, rules)
            row = rng.choice(rows)
            number = of_revision(rows, row["step"]).index(row)
            field = rng.choice([field for field in row if field != "step"])
            row[field] = rng.choice([None, [row[field]], {}, True])
            return f"{key}, {row['step']}, row {number}", f"in '{field}' is no"
        case 2:
            name, revision = rng.choice([*rules.fast]), rng.randrange(3)
            scores = content[rules.fast_key][name][revision]
            score = rng.choice([*scores])
            scores[score] = rng.choice([None, str(scores[score]), False, [0.5]])
            return f"{rules.fast_key}/{name}, {REVISIONS[revision]}, {score}", "is no number"
    _, place, rows = rng.choice(lists(content, rules))
    number = rng.randrange(len(rows))
    field = rng.choice([*rows[0]])
    rows[number][field] = rng.choice([None, [rows[number][field]], {}, True])
    return f"{place}, row {number}", f"in '{field}' is no"


def wrong_size(content, rules, rng) -> Planted:
    if rng.random() < 0.3:
        key, rows = aoa(content, rules)
        revision = rng.choice(REVISIONS)
        kept = rng.randrange(1, len(own := of_revision(rows, revision)))
        for row in own[kept:]:
            rows.remove(row)
        return f"{key}, {revision}", f"has {kept} rows, the data {len(own)}"
    _, place, rows = rng.choice(lists(content, rules))
    count = len(rows)
    if rng.random() < 0.5:
        del rows[rng.randrange(1, count) :]
    else:
        rows *= rng.randint(2, 3)
    return place, f"has {len(rows)} rows, the data {count}"


def not_finite(content, rules, rng) -> Planted:
    number = rng.choice([math.nan, math.inf, -math.inf])
    match rng.randrange(4):
        case 0:
            key, rows = aoa(content, rules)
            row = rng.choice(rows)
            row["surprisal"] = number
            place = f"{key}, {row['step']}, row {of_revision(rows, row['step']).index(row)}"
            return place, "in 'surprisal' is not finite"
        case 1:
            name, revision = rng.choice([*rules.fast]), rng.randrange(3)
            score = rng.choice([*content[rules.fast_key][name][revision]])
            content[rules.fast_key][name][revision][score] = number
            return f"{rules.fast_key}/{name}, {REVISIONS[revision]}, {score}", "is not finite"
        case 2:
            rows = content["reading"]["reading"]["predictions"]
            row = rng.choice([row for row in rows if not math.isnan(row["prev_pred"])])
            row["prev_pred"] = number
            said = "NaN in 'prev_pred'" if math.isnan(number) else "in 'prev_pred' is not finite"
            return f"reading/reading, row {row['id']}", said
    rows = content["reading"]["reading"]["predictions"]
    row = rng.choice(rows)
    row["pred"] = number
    return f"reading/reading, row {row['id']}", "in 'pred' is not finite"


def revision_missing(content, rules, rng) -> Planted:
    revision = rng.randrange(3)
    if rng.random() < 0.5:
        key, rows = aoa(content, rules)
        rows[:] = [row for row in rows if row["step"] != REVISIONS[revision]]
        return f"{key}, {REVISIONS[revision]}", "the revision is missing"
    name = rng.choice([*rules.fast])
    del content[rules.fast_key][name][revision]
    return f"{rules.fast_key}/{name}", "has 2 entries for the 3 revisions chck_1M"


def revision_repeated(content, rules, rng) -> Planted:
    revision = rng.randrange(2)
    before, after = REVISIONS[revision], REVISIONS[revision + 1]
    key, rows = aoa(content, rules)
    match rng.randrange(4):
        case 0:  # one model under two names; scored twice on a GPU, it is not the same to the last figure
            for old, new in zip(of_revision(rows, before), of_revision(rows, after), strict=True):
                new["surprisal"] = old["surprisal"] + rng.choice([0, 1e-5])
            return f"{key}, {after}", f"every surprisal is that of {before}"
        case 1:  # written a second time
            rows += [dict(row) for row in of_revision(rows, before)]
            return f"{key}, {before}", "stand in 2 separate places"
        case 2:
            for scores in content[rules.fast_key].values():
                noise = rng.choice([0, 1e-9])
                scores[revision + 1] = {key: score * (1 - noise) for key, score in scores[revision].items()}
            return f"{rules.fast_key}, {after}", f"{before} and {after} have equal scores"
    name = rng.choice([*rules.fast])
    scores = content[rules.fast_key][name]
    scores.insert(revision, dict(scores[revision]))
    return f"{rules.fast_key}/{name}", "has 4 entries for the 3 revisions"


def revision_out_of_order(content, rules, rng) -> Planted:
    key, rows = aoa(content, rules)
    order = rng.choice([[1, 0, 2], [0, 2, 1], [2, 0, 1], [2, 1, 0], [1, 2, 0]])
    rows[:] = [row for number in order for row in of_revision(rows, REVISIONS[number])]
    place = next(n for n in (1, 2) if order[n] < order[n - 1])
    return f"{key}, {REVISIONS[order[place]]}", f"stands after {REVISIONS[order[place - 1]]}: out of order"


def no_choice(content, rules, rng) -> Planted:
    found = lists(content, rules)
    key, place, rows = rng.choice([entry for entry in found if entry[0] != "reading"])
    number = rng.randrange(len(rows))
    if key == "glue":
        rows[number]["pred"] = rng.choice([-1, 3, 10**30, "0"])
        return f"{place}, row {number}", "is none of the labels"
    rows[number]["pred"] = rng.choice(["Never a choice.", "the", rows[number]["pred"] + "!"])
    return f"{place}, row {number}", "is no choice of"


def constant(content, rules, rng) -> Planted:
    match rng.randrange(4):
        case 0:
            key, rows = aoa(content, rules)
            revision = rng.choice(REVISIONS)
            for row in of_revision(rows, revision):
                row["surprisal"] = 1.5
            return f"{key}, {revision}", "have 1.5 in 'surprisal'"
        case 1:
            name = rng.choice([*rules.fast])
            content[rules.fast_key][name] = [content[rules.fast_key][name][0]] * 3
            return f"{rules.fast_key}/{name}", "all 3 revisions have the same scores"
        case 2:
            name = rng.choice([*rules.keys["glue"].rows])
            for row in content["glue"][name]["predictions"]:
                row["pred"] = 1
            return f"glue/{name}", "have 1 in 'pred'"
    key = rng.choice([key for key, _, _ in lists(content, rules) if key != "glue"])
    field = rules.keys[key].varies
    for subtask in content[key].values():
        for row in subtask["predictions"]:
            row[field] = subtask["predictions"][0][field] if field == "prob" else 0.25
            if rules.keys[key].row[field] == "text":
                row[field] = "The same."
    return key, f"in '{field}'"


FAULTS: dict[str, Callable[[dict, Rules, random.Random], Planted]] = {
    "missing task": missing_task,
    "missing key": missing_key,
    "missing row": missing_row,
    "extra row": extra_row,
    "wrong id": wrong_id,
    "wrong order": wrong_order,
    "wrong type": wrong_type,
    "wrong size": wrong_size,
    "not finite": not_finite,
    "revision missing": revision_missing,
    "revision repeated": revision_repeated,
    "revision out of order": revision_out_of_order,
    "no choice of its item": no_choice,
    "constant": constant,
}
