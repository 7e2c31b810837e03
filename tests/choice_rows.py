"""A few rows of every choice task in the official fields, for tests that must not need the official data."""

import json
from pathlib import Path


def write_rows(path: Path, rows: list[dict]) -> None:
    """A JSON-lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def pair(good: str, bad: str, uid: str | None = None, term: str | None = None) -> dict:
    """A row in BLiMP's fields, or without `uid` in the supplement's."""
    row = {"sentence_good": good, "sentence_bad": bad}
    return row if uid is None else row | {"UID": uid, "linguistics_term": term}


def blimp(uid: str, term: str) -> list[dict]:
    return [
        {
            "sentence_good": f"The café {n} – sleeps.",
            "sentence_bad": f"The café {n} – sleep.",
            "field": "syntax_semantics",
            "linguistics_term": term,
            "UID": uid,
            "pairID": str(n),
        }
        for n in range(4)
    ]


def supplement() -> list[dict]:
    return [{"sentence_good": f"A: Who {n}?\nB: I.", "sentence_bad": f"A: I.\nB: Who {n}?"} for n in range(3)]


def ewok(domain: str) -> list[dict]:
    contexts = ["Ali sees the cat.", "Ali hears the cat."]
    targets = ["The cat is in view.", "The cat is in earshot."]
    rows = []
    for first in (0, 1, 0):
        second = 1 - first
        rows.append(
            {
                "Domain": domain,
                "ContextType": "direct",
                "ContextDiff": "antonym",
                "TargetDiff": "concept swap",
                "Context1": contexts[first],
                "Context2": contexts[second],
                "Target1": targets[first],
                "Target2": targets[second],
            }
        )
    return rows


def entity(operations: tuple[int, ...]) -> list[dict]:
    return [
        {
            "sample_id": n,
            "numops": numops,
            "input_prefix": f"Box {n} contains the key. Box {n} contains ",
            "options": [
                "the key.",
                "the map.",
                "the cup.",
                "nothing." if n == 1 else "the pin.",
                f"the hat {n}.",
            ],
            "example_id": n,
        }
        for n, numops in enumerate(operations)
    ]


def comps(word: str) -> list[dict]:
    return [
        {
            "property_phrase": f"can {word} {n}.",
            "prefix_acceptable": "A robin",
            "prefix_unacceptable": "A trout",
        }
        for n in range(3)
    ]


def wug(forms: int) -> list[dict]:
    return [
        {"sentences": "\t".join(f"They {n} wug{form}." for form in range(forms)), "ratio": ratio}
        for n, ratio in enumerate((0.25, 0.5, 1.0, 0.75, 0.0))
    ]


def piqa(solutions: int) -> list[dict]:
    said = {
        f"solution{n}": f"{word} it." for n, word in enumerate(("twist", "sing", "eat", "paint")[:solutions])
    }
    return [
        {"prompt": f"To open jar {n},", **said, "label": n % solutions, "example_id": f"eng_latn_{n}"}
        for n in range(4)
    ]


ENTITY = {"regular": entity((0, 1, 1)), "ambiref": entity((0, 2)), "move_contents": entity((0,))}
COMPS = {
    "comps_base": comps("fly"),
    "comps_wugs": comps("run"),
    "comps_wugs_dist-before": comps("sit"),
    "comps_wugs_dist-in-between": comps("go"),
}
BLIMP = {"principle_A_one": blimp("principle_A_one", "binding"), "island": blimp("island", "islands")}
EWOK = {"agent-properties": ewok("agent-properties"), "social-relations": ewok("social-relations")}
ROWS: dict[str, dict[str, list[dict]]] = {
    "blimp_filtered": BLIMP,
    "supplement_filtered": {"turn_taking": supplement()},
    "ewok_filtered": EWOK,
    "ewok_contexts": EWOK,
    "entity_tracking": ENTITY,
    "entity_tracking_filtered": ENTITY,
    "blimp_fast": BLIMP,
    "supplement_fast": {"turn_taking": supplement()},
    "ewok_fast": EWOK,
    "ewok_contexts_fast": EWOK,
    "entity_tracking_fast": {"regular": entity((0, 1, 1))},
    "entity_tracking_filtered_fast": {"regular": entity((0, 1, 1))},
    "wug_adj_nominalization": {"wug_adj_nominalization": wug(2)},
    "wug_past_tense": {"wug_past_tense": wug(3)},
    "comps": COMPS,
    "global_piqa_parallel": {"eng_latn": piqa(4)},
    "global_piqa_nonparallel": {"eng_latn": piqa(2)},
    "nursery": {"agreement": blimp("agreement", "agreement")},
}
"""task -> file stem -> rows."""


def asked(task: str) -> int:
    """How many of a task's rows it asks."""
    rows = [row for part in ROWS[task].values() for row in part]
    return sum("filtered" not in task or "nothing." not in row.get("options", ()) for row in rows)


def write_task(folder: Path, task: str) -> list[Path]:
    """The task's files in `folder`; their paths, in order."""
    for stem, rows in ROWS[task].items():
        write_rows(folder / f"{stem}.jsonl", rows)
    return sorted(folder.glob("*.jsonl"))
