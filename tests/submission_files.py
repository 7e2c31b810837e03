"""Sound submission files with random predictions: tiny ones for tiny rules, and one at the official sizes."""

import csv
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

from choice_rows import ROWS, write_task

from babylm_data.words import MILLION
from eval.submission.check.gold import read_gold
from eval.submission.rules import FastList, Rules, Section
from eval.tasks import TASKS
from eval.tasks.questions import Gold
from eval.tasks.reading import MEASURED

WORDS = {"dog": ["The old", " Who sees the ", "A"], "a": ["This is"], "cats": ["The", ""], "Zoë": ["Hello"]}


def write_data(folder: Path) -> Path:
    """Evaluation data of a few rows for every task of the rules, and of 48 for reading, whose reader needs 40."""
    for task in ROWS:
        write_task(folder / TASKS[task].folder, task)
    aoa = folder / TASKS["aoa"].folder / "cdi_childes.json"
    aoa.parent.mkdir(parents=True)
    found = {word: [{"context": context} for context in contexts] for word, contexts in WORDS.items()}
    aoa.write_text(json.dumps(found), encoding="utf-8")
    reading = folder / TASKS["reading"].folder / "reading_data.csv"
    reading.parent.mkdir(parents=True)
    rng = random.Random(0)
    with open(reading, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["item", "word", "prev_item", "prev_word", "sent_id", *MEASURED])
        for row in range(48):
            before = ["The", "old"] if row % 8 else ["", ""]
            table.writerow(["The old", "dog", *before, row // 8, *(rng.uniform(1, 9) for _ in MEASURED)])
    return folder


def fitted(rules: Rules, data: Path) -> Rules:
    """The rules with the numbers of rows that the tiny `data` have; four rows for each GLUE task."""
    keys = {}
    for key, section in rules.keys.items():
        rows = _counts(section.task, data) if section.task else dict.fromkeys(section.rows, 4)
        no_previous = sum(row % 8 == 0 for row in range(48)) if section.no_previous else 0
        keys[key] = section.model_copy(update={"rows": rows, "no_previous": no_previous})
    return rules.model_copy(
        update={"keys": keys, "fast": {k: _fitted(e, data) for k, e in rules.fast.items()}}
    )


def _fitted(entry: FastList, data: Path) -> FastList:
    if entry.scores:
        return entry
    rows = _counts(entry.task, data)
    return entry.model_copy(update={"rows": rows if entry.value == "fraction" else dict.fromkeys(rows)})


def _counts(task: str, data: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in TASKS[task].load(TASKS[task].find(data)).items:
        counts[item.subtask] = counts.get(item.subtask, 0) + 1
    return counts


def sound(rules: Rules, due: Sequence[str], rng: random.Random, data: Path | None = None) -> dict:
    """The content of a file without a fault, its predictions drawn; from the choices in `data`, if given."""
    content: dict = {}
    for key, section in rules.keys.items():
        gold = read_gold(section, data) if data and section.task else None
        gold = gold if isinstance(gold, Gold) else Gold()
        if section.form == "surprisals":
            content[key] = {"results": _surprisals(section, due, gold, rng)}
        elif section.form == "score":
            content[key] = {name: rng.uniform(-1, 1) for name in section.row}
        else:
            content[key] = _predictions(section, gold, rng)
    start = rng.randrange(100)
    content[rules.fast_key] = {
        key: [_fast(entry, revision, start, rng) for revision in range(len(due))]
        for key, entry in rules.fast.items()
    }
    return content


def _predictions(section: Section, gold: Gold, rng: random.Random) -> dict:
    rows = section.rows
    if section.examples:
        rows = {f"eng_latn_{n}": 1 for n in range(sum(rows.values()))}
    found, placed = {}, 0
    for name, count in rows.items():
        made = []
        for number in range(count):
            texts = gold.choices.get(name, [()] * count)[number] or tuple(
                f"Choice {n} of {name}." for n in "ab"
            )
            # at first some of each place: a few draws can be all alike, which is a fault
            place = {0: 0, 1: -1, 2: -1}.get(
                placed if not section.labels else number, rng.randrange(len(texts))
            )
            placed += 1
            made.append(
                {
                    field: _value(kind, name, number, texts, place, section, gold, rng)
                    for field, kind in section.row.items()
                }
            )
        found[name] = {"predictions": made}
    return found


def _value(kind, name, number, texts, place, section, gold, rng) -> object:
    if kind == "label":
        return place % section.labels[name] if number < 2 else rng.randrange(section.labels[name])
    if kind == "surprisal_or_nan":
        alone = gold.no_previous if gold.no_previous is not None else range(section.no_previous)
        return math.nan if number in alone else rng.uniform(0, 20)
    drawn = {
        "subtask_row": f"{name}_{number}",
        "row": number,
        "text": texts[place],
        "fraction": rng.random(),
        "surprisal": rng.uniform(0, 20),
    }
    return drawn[kind]


def _surprisals(section: Section, due: Sequence[str], gold: Gold, rng: random.Random) -> list[dict]:
    (count,) = section.rows.values()
    contexts = gold.contexts or [
        (f"word{n // 16}", n % 16, f"What stands before {n}. " * 6) for n in range(count)
    ]
    return [
        {
            "step": step,
            "word_count": int(step[5:-1]) * MILLION,
            "target_word": word,
            "context_id": number,
            "context": context,
            "surprisal": rng.uniform(0, 20),
        }
        for step in due
        for word, number, context in contexts
    ]


def _fast(entry: FastList, revision: int, start: int, rng: random.Random) -> dict:
    """Scores of one revision; shares of few rows would be drawn twice alike, which is odd, so they go up by one."""
    return {
        name: (start + revision) % (rows + 1) / rows if rows else rng.random()
        for name, rows in entry.rows.items()
    }
