"""Evaluation files damaged in every way we could think of: read as they were meant, or refused by file and line."""

import json
import random
import re
from pathlib import Path

import pytest
from choice_rows import ROWS, write_task

from babylm_data.errors import UserError
from eval.tasks import TASKS
from eval.tasks.questions import Questions

KINDS = (
    *("blimp_filtered", "supplement_filtered", "ewok_filtered", "entity_tracking", "comps"),
    *("wug_adj_nominalization", "wug_past_tense", "global_piqa_parallel"),
)
SEEDS, EACH = 10, 50
HUGE = ("1" + "0" * 5000, "1e999", "-1e999", "1" + "0" * 400, "-1")


def key_of(rng: random.Random, row: dict) -> str:
    return rng.choice(sorted(row))


def line_with(row: dict, key: str, literal: str) -> str:
    """The row as JSON with `literal` where the value of `key` was."""
    return json.dumps(row | {key: "@here@"}).replace('"@here@"', literal)


def drop(rng, row):
    row.pop(key_of(rng, row))
    return json.dumps(row)


def rename(rng, row):
    key = key_of(rng, row)
    new = rng.choice([key + " ", key.swapcase(), "x" + key, key[:-1], ""])
    return json.dumps({new if name == key else name: value for name, value in row.items()})


def retype(rng, row):
    key = key_of(rng, row)
    value = row[key]
    others = [None, True, [], {}, [value], {"value": value}, "", " \t", [[value]], [value, None]]
    others += [str(value)] if not isinstance(value, str) else [7, 0.5]
    others += [float(value)] if type(value) is int else []
    return json.dumps(row | {key: rng.choice(others)})


def no_number(rng, row):
    return line_with(row, key_of(rng, row), rng.choice(["NaN", "Infinity", "-Infinity", "[NaN]"]))


def huge(rng, row):
    return line_with(row, key_of(rng, row), rng.choice(HUGE))


def nested(rng, row):
    depth = rng.choice([50, 200_000])
    return line_with(row, key_of(rng, row), "[" * depth + "]" * depth)


def surrogate(rng, row):
    key = key_of(rng, row)
    return line_with(row, key, rng.choice([r'"a \ud83d"', r'"\udc00"', r'["\ud83d", "b"]']))


def doubled_key(rng, row):
    key = key_of(rng, row)
    return json.dumps(row)[:-1] + f", {json.dumps(key)}: {json.dumps(row[rng.choice(sorted(row))])}}}"


def other_order(rng, row):
    return json.dumps(dict(rng.sample(sorted(row.items()), len(row))))


def other_row(rng, row):
    whole = json.dumps(row)
    return rng.choice(
        [f"[{whole}]", f'{{"row": {whole}}}', "{}", "[]", "null", "3", '"x"', f"{whole},", whole * 2]
    )


def raw_character(rng, row):
    whole = json.dumps(row)
    place = whole.index(": ") + 3
    return whole[:place] + rng.choice(["\x00", "\t", "\x1b", '"', "\\"]) + whole[place:]


def in_a_list(rng, row):
    """One element fewer, more or of another kind in a list, or in what a tab splits."""
    if "options" in row:
        some = row["options"]
        others = [
            some[1:],
            [*some, "more."],
            [*some[:-1], 3],
            [*some[:-1], ""],
            some[:1],
            [some],
            "".join(some),
        ]
        return json.dumps(row | {"options": rng.choice(others)})
    if "sentences" in row:
        text = row["sentences"]
        others = [
            text.replace("\t", " ", 1),
            text.replace("\t", "\t\t", 1),
            "\t" + text,
            text + "\t",
            text + "\tx",
        ]
        return json.dumps(row | {"sentences": rng.choice(others)})
    return json.dumps(row)


ROW_CHANGES = (
    *(drop, rename, retype, no_number, huge, nested, surrogate, doubled_key, other_order, other_row),
    *(raw_character, in_a_list),
)


def cut(rng, data):
    """End the file in the middle of a row."""
    start, stop = rng.choice([match.span() for match in re.finditer(rb"[^\n]+", data)])
    return data[: rng.randrange(start + 1, stop)]


def bytes_out(rng, data):
    """Join two rows, or take a quotation mark."""
    place = rng.choice([match.start() for match in re.finditer(rb'\n(?=\{)|"', data)] or [0])
    return data[:place] + data[place + 1 :]


def bad_byte(rng, data):
    place = rng.randrange(len(data))
    return data[:place] + rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00"]) + data[place:]


def encoding(rng, data):
    text = data.decode("utf-8")
    return text.encode(rng.choice(["utf-16", "utf-16-le", "utf-32", "cp1252", "utf-8-sig"]))


def line_ends(rng, data):
    return data.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\n \t\n", b" \n"]))


def edges(rng, data):
    return rng.choice(
        [b"\xef\xbb\xbf" + data, data.rstrip(b"\n"), b"\n\r\n" + data, data + b"\n\n", b"", b"\n"]
    )


FILE_CHANGES = (cut, bytes_out, bad_byte, encoding, line_ends, edges)


def damage(rng: random.Random, path: Path) -> str:
    """Change the file in one way; what was done."""
    change = rng.choice(ROW_CHANGES * 2 + FILE_CHANGES)
    if change in FILE_CHANGES:
        path.write_bytes(change(rng, path.read_bytes()))
        return change.__name__
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    index = rng.randrange(len(lines))
    lines[index] = change(rng, json.loads(lines[index]))
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return f"{change.__name__} in line {index + 1}: {lines[index][:200]}"


def meaning(found: Questions) -> tuple:
    return found.items, getattr(found, "ratios", None)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_damaged_file_is_read_as_it_was_meant_or_refused_by_file_and_line(tmp_path, seed):
    accepted = 0
    for number in range(EACH):
        rng = random.Random(seed * EACH + number)
        task = rng.choice(KINDS)
        files = write_task(tmp_path / task, task)
        whole = meaning(TASKS[task].load(files))
        done = f"{task}, {damage(rng, rng.choice(files))}"
        try:
            found = meaning(TASKS[task].load(files))
        except UserError as error:
            assert re.search(r"\w\.jsonl, line \d+\b", str(error)) and "\n" not in str(error), done
            continue
        assert found == whole, done
        accepted += 1
    assert 0 < accepted < EACH / 2


@pytest.mark.parametrize("task", KINDS)
def test_optional_text_that_tells_nothing_may_be_absent_from_every_row(tmp_path, task):
    files = write_task(tmp_path, task)
    unread = {"pairID", "Context2", "sample_id", "ContextType", "field"}
    for path in files:
        rows = [{key: row[key] for key in row if key not in unread} for row in ROWS[task][path.stem]]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    again = TASKS[task].load(files)
    whole = TASKS[task].load(write_task(tmp_path, task))
    assert [item.choices for item in again.items] == [item.choices for item in whole.items]
