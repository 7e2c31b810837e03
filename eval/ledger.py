"""The ledger of words: what each model read, and both readings of the rule that limits it.

The rules leave one question open. The duration rule speaks of the submitted model's own exposure; the FAQ
says that the text seen by *all* training counts. Both sums are printed, so that nobody has to trust our
choice. The control is listed but enters neither sum: nothing of it is in the submission.
"""

import json

from babylm_data.words import load_track
from eval.run_folders import Lineup, Run

READINGS = {
    "student_alone": "student alone",
    "everything": "tokenizer + teachers + student",
}


def ledger(lineup: Lineup) -> dict:
    """The ledger as written to ledger.json. All counts are whitespace words (or tokens) of training text."""
    tokenizer = {
        "name": "tokenizer",
        "role": "tokenizer",
        "words_seen": lineup.student.train["words"],
        "tokens_seen": None,  # it makes the tokens: it reads words, once
        "epochs": 1,
        "corpus_words": lineup.student.train["words"],
        "passes": 1.0,
    }
    track = lineup.student.manifest.get("track")
    return {
        "track": track,
        "entries": [tokenizer, *(entry(run) for run in lineup.runs)],
        "readings": {
            "student_alone": reading([lineup.student], 0, track),
            "everything": reading([*lineup.teachers, lineup.student], tokenizer["words_seen"], track),
        },
    }


def entry(run: Run) -> dict:
    """One model's line: `passes` is words of exposure divided by the distinct words of its corpus."""
    return {
        "name": run.name,
        "role": run.role,
        "words_seen": run.summary["words_seen"],
        "tokens_seen": run.summary["tokens_seen"],
        "epochs": run.summary["epochs"],
        "corpus_words": run.train["words"],
        "passes": run.summary["words_seen"] / run.train["words"],
    }


def reading(runs: list[Run], tokenizer_words: int, track: str | None) -> dict:
    """One sum over trainings beside the track's budgets; `within` is None where the track sets no such limit.

    Equal train splits count once as corpus; unlike ones add up: what they share cannot be told from here.
    """
    corpora = {json.dumps(run.train, sort_keys=True): run.train["words"] for run in runs}
    corpus_words = sum(corpora.values())
    words_seen = tokenizer_words + sum(run.summary["words_seen"] for run in runs)
    budget = load_track(track) if track else None
    values = {
        "corpus_words": (corpus_words, budget.corpus_words if budget else None),
        "exposure_words": (words_seen, budget.exposure_words if budget else None),
        "passes": (words_seen / corpus_words, budget.epochs if budget else None),
    }
    return {
        key: {"value": value, "budget": limit, "within": None if limit is None else value <= limit}
        for key, (value, limit) in values.items()
    }
