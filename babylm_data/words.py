"""Word budgets of the challenge's tracks, and the names of the revisions they ask for.

A word is a whitespace word of the cleaned text; exposure counts it again each time it is read. The rules
themselves are data: `tracks/<year>.yaml`.
"""

import difflib
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from babylm_data.errors import UserError

TRACKS = Path(__file__).parent / "tracks"
MILLION = 1_000_000
LAST_STEP = 0.01
"""Share of a budget by which the last step of a run may cross it: whole steps are taken, and every word is counted."""
OUTSIDE = "or set competition=false: a run outside the competition"


class RevisionMarks(BaseModel):
    """A run of evenly spaced marks, in words of exposure."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    every: int
    up_to: int


class Track(BaseModel):
    """The budgets of one track in one year; None means no limit."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str
    """`<year>/<track>`, for instance 2025/strict-small."""
    corpus_words: int
    """Most words of text that may be trained on."""
    epochs: int | None = None
    """Most times that the text may be read."""
    exposure_words: int | None = None
    """Most words that a model may see, repeats counted."""
    revisions: list[RevisionMarks] = []


def load_track(name: str) -> Track:
    """The track called `<year>/<track>`; UserError with the nearest name if there is none."""
    from omegaconf import OmegaConf

    tracks = {
        f"{path.stem}/{track}": budgets
        for path in sorted(TRACKS.glob("*.yaml"))
        for track, budgets in OmegaConf.to_container(OmegaConf.load(path)).items()
    }
    if name not in tracks:
        nearest = difflib.get_close_matches(name, tracks, n=1, cutoff=0.0)[0]
        raise UserError(f"unknown track {name!r}: did you mean {nearest}? (known: {', '.join(tracks)})")
    return Track(name=name, **tracks[name])


def revision_words(name: str) -> int | None:
    """Words of exposure that the name of a revision tells (1,000,000 of "chck_1M"); None for any other name."""
    match = re.fullmatch(r"chck_(\d+)([KMB])", name)
    return int(match[1]) * {"K": 1000, "M": MILLION, "B": 1000 * MILLION}[match[2]] if match else None


def revision_marks(track: Track, words_seen: int, scale: float = 1.0) -> list[tuple[str, int]]:
    """(name, words of exposure) of each revision that is due once `words_seen` words were seen, in order.

    `scale`: a shortened schedule for trying, whose marks are so many times those of the track, under their names.
    """
    marks = {mark for run in track.revisions for mark in range(run.every, run.up_to + 1, run.every)}
    scaled = [(f"chck_{mark // MILLION}M", max(1, round(mark * scale))) for mark in sorted(marks)]
    return [(name, mark) for name, mark in scaled if mark <= words_seen]


def exposure_cap(track: Track, corpus_words: int) -> tuple[int, str] | None:
    """The most words of exposure that a track allows on a corpus of `corpus_words`, and of what they are."""
    caps = []
    if track.exposure_words is not None:
        caps.append((track.exposure_words, f"words of exposure of {track.name}"))
    if track.epochs is not None:
        epochs = f"words that {track.epochs} epochs of the corpus have, all that {track.name} allows"
        caps.append((track.epochs * corpus_words, epochs))
    return min(caps, default=None)


def check_exposure(track: Track, corpus_words: int, words: int, before: int = 0) -> None:
    """Refuse to plan an exposure of `words`, after those `before` of the first weights, over the track's budgets.

    A run stops at the first step that reaches the words it was asked for: for the last step see `check_last_step`.
    """
    cap, what = exposure_cap(track, corpus_words) or (before + words, "")
    if before + words <= cap:
        return
    planned = f"data.words {words:,}" + (f" after the {before:,} that init has read" if before else "")
    remedy = f"lower it to {cap - before}" if before < cap else "init has used them up: begin with another"
    raise UserError(f"{planned} is over the {cap:,} {what}: {remedy}, {OUTSIDE}")


def check_last_step(track: Track, corpus_words: int, words: int, in_last_step: int) -> None:
    """Refuse a run that ends at `words` of exposure, where its last step lies too far over the track's budgets."""
    cap, what = exposure_cap(track, corpus_words) or (words, "")
    if words > cap * (1 + LAST_STEP):
        raise UserError(
            f"the last step, of {in_last_step:,} words, ends the run at {words:,}, more than {LAST_STEP:.0%} over the "
            f"{cap:,} {what}: lower batch_size or data.words, {OUTSIDE}"
        )
