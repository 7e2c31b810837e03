"""The ledger of words: what each model read, and both readings of the rule that limits it.

The rules leave one question open. The duration rule speaks of the submitted model's own exposure; the FAQ
says that the text seen by *all* training counts. Both sums are printed, so that nobody has to trust our
choice. What a student's first weights were exposed to is its own exposure. A teacher that was itself taught
brings its own teachers into the second sum, to which every run counts whole, if only a revision of it was used.
The control is listed but enters neither: nothing of it is in the submission. So are caches of soft targets: frozen
teachers read the text for them and learned nothing.
"""

from babylm_data.words import LAST_STEP, load_track
from eval.runs.lineup import Lineup
from eval.runs.run_folder import Run

READINGS = {
    "student_alone": "student alone",
    "everything": "tokenizer + teachers + student",
}


def ledger(lineup: Lineup) -> dict:
    """The ledger as written to ledger.json. All counts are whitespace words (or tokens) of training text."""
    adopted, words = (
        lineup.student.manifest.get("settings", {}).get("tokenizer"),
        lineup.student.train["words"],
    )
    tokenizer = {
        "name": "tokenizer, trained elsewhere" if adopted else "tokenizer",
        "role": "tokenizer",
        "words_seen": 0 if adopted else words,  # here
        "tokens_seen": None,  # it makes the tokens: it reads words, once
        "corpus_words": words,
        "passes": 0.0 if adopted else 1.0,
    }
    track, student = lineup.student.manifest.get("track"), lineup.student
    trained = [*lineup.forebears, *lineup.teachers, student]
    exposure = None if adopted or unknown_before(trained) else words + sum_of(trained, "words_seen")
    return {
        "track": track,
        "entries": [tokenizer, *caches(trained), *(entry(run) for run in [*lineup.forebears, *lineup.runs])],
        "readings": {
            "student_alone": reading(lineup.line, own_exposure(lineup.line), [student], track),
            "everything": reading(trained, exposure, trained, track),
        },
    }


def said(found: dict) -> list[str]:
    """Both readings of a ledger, a line each, for a terminal."""
    names = {"corpus_words": "words of text", "exposure_words": "words of exposure", "passes": "passes"}
    lines = []
    for key, checks in found["readings"].items():
        told = []
        for name, check in checks.items():
            value = "unknown" if check["value"] is None else f"{check['value']:,.10g}"
            told.append(f"{value} {names[name]} ({verdict(check)})")
        lines.append(f"ledger, {READINGS[key]}: {', '.join(told)}")
    return lines


def verdict(check: dict) -> str:
    """One value beside its budget, in a few words."""
    if check["within"] is None:
        return "no limit"
    if check["value"] is None:
        return "cannot be told"
    if not check["within"]:
        return f"OVER {check['budget']:,}"
    crossed = " but for the last step" if check["value"] > check["budget"] else ""
    return f"within {check['budget']:,}{crossed}"


def entry(run: Run) -> dict:
    """One model's line: `passes` is words of exposure divided by the distinct words of its corpus.

    "revisions": the true words of exposure of each export that it wrote on the way.
    """
    return {
        "name": run.name,
        "role": run.role,
        "words_seen": run.summary["words_seen"],
        "tokens_seen": run.summary["tokens_seen"],
        "corpus_words": run.train["words"],
        "passes": run.summary["words_seen"] / run.train["words"],
        "revisions": {each["name"]: each["words_seen"] for each in run.summary.get("revisions", [])},
    }


def own_exposure(line: list[Run]) -> int | None:
    """Words that the student was exposed to, with those of its first weights; None where nobody can count these.

    `line`: the student, the run that its first weights are from, and so on. Of a run whose revision it began with, only
    what that had read counts: the student's own record of it goes before the sum, which older records leave us.
    """
    if unknown_before(line):
        return None
    recorded = line[0].summary.get("words_before")
    return sum_of(line, "words_seen") if recorded is None else recorded + line[0].summary["words_seen"]


def unknown_before(runs: list[Run]) -> bool:
    """Whether one of these began with weights of which nobody can tell what they had read."""
    return any(run.summary.get("words_before", 0) is None for run in runs)


def sum_of(runs: list[Run], count: str) -> int:
    """One count of their summaries, over all of them; 0 for what an older summary does not have."""
    return sum(run.summary.get(count, 0) for run in runs)


def reading(runs: list[Run], words_seen: int | None, ending: list[Run], track: str | None) -> dict:
    """One sum over trainings beside the track's budgets; `within` is None where the track sets no such limit.

    Where nobody knows what the tokenizer or first weights read, `words_seen` is None, and within no limit.
    Train splits of the same files (by content) count once as corpus; unlike ones add up: what they share cannot
    be told from here. A run ends with the first step that reaches the words it was asked for, so the budget may lie
    inside the last step of those that are `ending`: the words are all counted, and it is within, unless by too many.
    """
    corpora: dict[tuple, int] = {}
    for run in runs:
        files = file_hashes(run)
        corpora[files] = max(run.train["words"], corpora.get(files, 0))
    corpus_words, known = sum(corpora.values()), words_seen is not None
    before = words_seen - sum_of(ending, "words_in_last_step") if known else None
    budget = load_track(track) if track else None
    values = {
        "corpus_words": (corpus_words, corpus_words, budget and budget.corpus_words),
        "exposure_words": (words_seen, before, budget and budget.exposure_words),
        "passes": (
            words_seen / corpus_words if known else None,
            before / corpus_words if known else None,
            budget and budget.epochs,
        ),
    }
    checks = {}
    for key, (value, before_the_end, limit) in values.items():
        within = None if limit is None else value is not None and value <= limit
        if within is False and value is not None:
            within = before_the_end < limit and value <= limit * (1 + LAST_STEP)
        checks[key] = {"value": value, "budget": limit, "within": within}
    return checks


def caches(runs: list[Run]) -> list[dict]:
    """A line for each cache of soft targets that one of these learned from."""
    return [
        {
            "name": f"{made['path']}, of {', '.join(made['teachers'])}",
            "role": "soft targets",
            "words_seen": made["words_read"],
            "tokens_seen": None,
            "corpus_words": run.train["words"],
            "passes": made["words_read"] / run.train["words"],
        }
        for run in runs
        for made in run.summary.get("caches", [])
    ]


def file_hashes(run: Run) -> tuple[str, ...]:
    """The SHA-256 of every file of a run's train split, sorted: equal for the same text under any names."""
    sources = run.train["sources"].values()
    return tuple(sorted(file["sha256"] for source in sources for file in source["files"]))


def corpus_text(run: Run) -> str:
    """The training text in one line: words, sources, and the track whose budgets it was prepared under."""
    words = f"{run.train['words']:,} words"
    if list(run.train["sources"]) == ["nursery"]:
        return f"{words} of the kit's own synthetic nursery corpus; no claim about English"
    track = run.manifest.get("track")
    sources = ", ".join(sorted(run.train["sources"]))
    claim = "; no claim about English" if run.nursery else ""
    return f"{words} ({sources})" + (f", budgets of {track}" if track else "") + claim
