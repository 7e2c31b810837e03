"""Who carries a request for ages of acquisition out: reads the surprisals, fits, correlates, writes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from babylm_data.hub import TOKENIZER_FILES, find_folder
from babylm_data.sealed import write_whole
from babylm_data.tokenizer_files import load_tokenizer
from babylm_data.words import load_track, revision_marks
from eval.aoa.ages import MONTHS, ages, chance_surprisals, correlation
from eval.aoa.checkpoints import Checkpoint, about, find_checkpoints, surprisals_by_word
from eval.results.official_tree import ResultsTree
from eval.results.request import Request
from eval.results.scores import as_json, called, check_writable
from eval.tasks.aoa import with_step
from eval.tasks.csv_files import number, read_table, text
from eval.tasks.official import deviation_note, deviations

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

TRACKS = ("2026/strict-small", "2026/strict")  # the official program has the same checkpoints in 2025


@dataclass(frozen=True)
class AgesRequest(Request):
    """The checkpoints of a model, when children say which word, and where the result goes."""

    PROGRAM = "eval.aoa"
    checkpoints: tuple[Path, ...]
    human: Path
    out: Path
    tokenizer: str | None = None
    """The model's folder or hub name; None: that of the last checkpoint that is where it was scored."""
    tree: ResultsTree | None = None

    def _words(self) -> list[str]:
        words = [*map(str, self.checkpoints), "--human", str(self.human)]
        words += ["--tokenizer", self.tokenizer] if self.tokenizer else []
        return [*words, "--out", str(self.out), *(self.tree.words if self.tree else [])]


def fit(request: AgesRequest) -> None:
    """Read everything, fit, correlate, write."""
    check_writable(request.out)
    if request.tree:
        check_writable(request.tree.root, "--results")
    human = read_human(request.human)
    checkpoints = find_checkpoints(request.checkpoints)
    surprisals = surprisals_by_word(checkpoints)  # all of the same rows
    partial = deviation_note(deviations("aoa", ["aoa"] * len(checkpoints[0].rows)))
    if partial and request.tree:
        raise UserError(
            f"--results is for the whole task, and {partial}: score all of it, or leave out --results"
        )
    chance = chance_surprisals(tokenizer_of(request.tokenizer, checkpoints), surprisals)
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
        **called(request.PROGRAM, request.words),
    }
    if partial:
        print(f"not the whole task: {partial}; only aoa.json is written")
    else:
        write_official(request.out, request.tree, checkpoints, result["official_score"])
    write_whole(request.out / "aoa.json", as_json(result))
    print(f"{len(found):,} words, {len(checkpoints[0].rows):,} contexts, {len(checkpoints)} checkpoints")
    print_rules(rules)


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


def tokenizer_of(asked: str | None, checkpoints: Sequence[Checkpoint]) -> "PreTrainedTokenizerBase":
    """The tokenizer asked for, or that of the last checkpoint whose model is still where it was scored."""
    kept = [each.model for each in checkpoints if each.model and Path(each.model).is_dir()]
    if not (name := asked or next(reversed(kept), None)):
        raise UserError(
            "the checkpoints' models are not where they were scored: name one with --tokenizer DIR"
        )
    return load_tokenizer(find_folder(name, f"there is no folder {name}", TOKENIZER_FILES))


def write_official(
    out: Path, tree: ResultsTree | None, checkpoints: Sequence[Checkpoint], score: float
) -> None:
    """The files in the official form, the surprisals and the score, in `out` and in the results tree."""
    surprisals = as_json(
        {"results": [row for each in checkpoints for row in with_step(each.rows, each.name, each.exposure)]}
    )
    folders = [out]
    if tree:
        folders.append(replace(tree, backend=checkpoints[0].backend).folder / "AoA_word")
    for folder in folders:
        # killed between the two, an older score would stand beside these surprisals
        (folder / "aoa_score.json").unlink(missing_ok=True)
        write_whole(folder / "surprisal.json", surprisals)
        write_whole(folder / "aoa_score.json", as_json({"aoa": score}))
    if tree:
        print(f"wrote surprisal.json and aoa_score.json in {folders[-1]}")
        print_unlike(checkpoints)


def print_unlike(checkpoints: Sequence[Checkpoint]) -> None:
    """Where they are not the official checkpoints: those of strict-small, or of strict if any lies behind its last."""
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
