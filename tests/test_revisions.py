"""Revisions stand at the first step that reaches each mark, whatever the batch size and wherever a run is resumed."""

import contextlib
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_loop import metrics, weights

from babylm_data import sealed
from babylm_data.errors import UserError
from babylm_data.sealed import damage, seal, sha256
from babylm_data.tokens import Batches, TokenFile
from babylm_data.words import load_track
from train_teachers import loop
from train_teachers import revisions as module
from train_teachers.checkpoint import export
from train_teachers.revisions import RevisionWriter, due_revisions, told

TRACKS = ("2025/strict-small", "2025/strict", "2026/strict-small", "2026/strict")


def stream(words: np.ndarray, *, batch_size: int, seed: int = 0) -> Batches:
    """Batches of 8 tokens of a stream with so many words in each token."""
    tokens = TokenFile("train", np.zeros(len(words), "u2"), words.astype("u1"), np.zeros(1, "i8"), {})
    return Batches(tokens, seq_len=8, batch_size=batch_size, seed=seed)


def walked(track, batches: Batches, steps: int, scale: float) -> list[tuple]:
    """(name, words seen, step) of each revision, by walking through the steps and looking at the count."""
    marks = {
        mark * 10**6
        for mark in [*range(1, 10), *range(10, 101, 10), *range(100, 1001, 100)]
        if mark <= 100 or track.name.endswith("strict")
    }
    found, seen = [], 0
    for step in range(steps):
        before, seen = seen, seen + batches.words(step)
        crossed = [mark for mark in sorted(marks) if before < max(1, round(mark * scale)) <= seen]
        found += [(f"chck_{mark // 10**6}M", seen, step + 1) for mark in crossed]
    return found


@settings(max_examples=60, deadline=None)
@given(
    track=st.sampled_from(TRACKS),
    batch_size=st.integers(1, 70),
    tokens=st.integers(40, 400),
    seed=st.integers(0, 5),
    scale=st.sampled_from([2e-6, 7.3e-6, 1e-5]),
    share=st.floats(0.01, 1.1),
)
def test_every_mark_is_met_by_the_first_step_that_reaches_it(track, batch_size, tokens, seed, scale, share):
    words = np.random.default_rng(seed).integers(0, 4, tokens)
    batches, track = stream(words, batch_size=batch_size, seed=seed), load_track(track)
    steps = batches.steps_for(round(track.exposure_words * scale * share))
    due = due_revisions(track, batches, steps, scale)
    assert [(r.name, r.words_seen, r.step) for r in due] == walked(track, batches, steps, scale)


@pytest.mark.parametrize(("track", "count"), [("2025/strict-small", 19), ("2026/strict", 28)])
def test_the_marks_are_met_at_their_true_size(track, count):
    track, batches = load_track(track), stream(np.full(200_000, 255), batch_size=64)
    due = due_revisions(track, batches, batches.steps_for(track.exposure_words))
    assert len(due) == count and due[-1].mark == track.exposure_words
    step = 64 * 8 * 255
    assert all(r.mark <= r.words_seen < r.mark + step for r in due)
    assert [r.words_seen for r in due] == [r.step * step for r in due]


@settings(max_examples=30, deadline=None)
@given(
    track=st.sampled_from([("2025/strict-small", 1e-5), ("2025/strict", 1e-6)]),
    batch_size=st.integers(1, 40),
    kills=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=4),
)
def test_any_resume_writes_each_revision_once_more_or_never(track, batch_size, kills, tmp_path_factory):
    """A run killed some steps behind its newest checkpoint, several times, ends with what a run left alone has."""
    folder = tmp_path_factory.mktemp("runs")
    batches = stream(np.random.default_rng(0).integers(0, 4, 200), batch_size=batch_size)
    steps = batches.steps_for(1000)
    name, scale = track
    due = due_revisions(load_track(name), batches, steps, scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "copy_of", dict)
        patch.setattr(
            RevisionWriter, "_export", lambda self, model, weights, r: note(self.folder, weights, r)
        )
        saved = 0
        for killed_at, lost in [*((min(k, steps), lost) for k, lost in kills), (steps, 0)]:
            with RevisionWriter(folder, due, Path()) as writer:
                for step in range(saved + 1, killed_at + 1):
                    writer.write(Weights(step), step)
                writer.wait()
            saved = max(saved, killed_at - lost)
    assert {p.name: p.read_text() for p in folder.iterdir()} == {r.name: str(r.step) for r in due}


class Weights:
    """A stand-in for a model whose one weight is the step that it was made by."""

    def __init__(self, step: int) -> None:
        self.step = step

    def state_dict(self, *, keep_vars: bool) -> dict:
        return {"step": torch.tensor(self.step)}


def note(folder, weights, revision):
    folder.mkdir(exist_ok=True)
    (folder / revision.name).write_text(str(int(weights["step"])))


SCALED = {
    "revisions": True,
    "words_scale": 1e-4,
    "data": {"words": 1000},
    "validations": 1,
}  # chck_1M … chck_10M


@pytest.fixture(scope="session")
def whole_run(make_config, tmp_path_factory) -> Path:
    """The run of SCALED, left alone, with a line of metrics a step; shared: do not write into it."""
    from train_teachers.objective import hard_alone
    from train_teachers.stage import run_training

    config = make_config(name="whole", log_every=1, **SCALED)
    with contextlib.chdir(tmp_path_factory.mktemp("whole")):
        run_training(config, kind="teacher", make_objective=hard_alone)
        return Path("runs/whole").resolve()


def test_a_mark_that_the_first_weights_met_exactly_is_not_written_again():
    batches, track = stream(np.full(200, 1), batch_size=1), load_track("2025/strict-small")
    due = due_revisions(track, batches, batches.steps_for(200), 1e-4, before=100)  # 100 words between marks
    assert [revision.mark for revision in due] == [200, 300]
    assert due[0].words_seen == 100 + batches.words_seen(due[0].step)


def test_one_copy_of_the_weights_at_a_time_and_a_failed_one_stops_the_next(monkeypatch):
    """Were the next begun at once, memory would fill up with copies, and what a disk refused be noticed late."""
    held, most = [], []

    def copied(weights):
        held.append(int(weights["step"]))
        most.append(len(held))
        return weights

    def written(self, _model, weights, _revision):
        time.sleep(0.02)
        held.remove(int(weights["step"]))
        if weights["step"] == 3:
            raise UserError("no space left")

    monkeypatch.setattr(module, "copy_of", copied)
    monkeypatch.setattr(RevisionWriter, "_export", written)
    due = [module.Revision(f"chck_{step}M", step, step, step) for step in range(1, 5)]
    with pytest.raises(UserError, match="no space left"), RevisionWriter(Path(), due, Path()) as writer:
        for step in range(1, 5):
            writer.write(Weights(step), step)
    assert most == [1, 1, 1]


def test_a_run_leaves_its_revisions_complete_and_says_what_each_has_seen(whole_run):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = whole_run
    summary = json.loads((folder / "summary.json").read_text())
    names = [f"chck_{n}M" for n in range(1, 11)]
    assert sorted(p.name for p in (folder / "revisions").iterdir()) == sorted(names)
    seen = {line["step"]: line["words_seen"] for line in metrics(folder)}
    for revision in summary["revisions"]:
        place = folder / "revisions" / revision["name"]
        assert damage(place) is None
        assert json.loads((place / "exposure.json").read_text()) == revision
        assert seen[revision["step"]] == revision["words_seen"] >= revision["mark"]
        assert seen.get(revision["step"] - 1, 0) < revision["mark"]
        AutoModelForCausalLM.from_pretrained(place)
        AutoTokenizer.from_pretrained(place)
    hashes = {sha256(folder / "revisions" / name / "model.safetensors") for name in names}
    assert len(hashes) == 10
    assert weights(folder) in hashes  # the last mark is met by the last step
    assert summary["words_scale"] == SCALED["words_scale"]  # by which a trial is told from an entry
    before_the_end = summary["words_seen"] - summary["words_in_last_step"]
    assert before_the_end == seen[summary["steps"] - 1] < SCALED["data"]["words"] <= summary["words_seen"]


def due_told(track: str, words: int, before: int = 0) -> str:
    """What a run of so many words, after those of its first weights, says of its revisions."""
    track, batches = load_track(track), stream(np.full(200, 200), batch_size=1)
    return told(due_revisions(track, batches, batches.steps_for(words), before=before), track, before + words)


def test_which_revisions_are_due_or_why_none_is_told_before_the_first_step(train_tiny, capsys):
    assert due_told("2025/strict-small", 100_000_000) == "19 revisions, chck_1M … chck_100M"
    assert due_told("2025/strict-small", 1_500_000) == "1 revision, chck_1M"
    assert due_told("2024/strict-small", 10**6) == "no revision is due: 2024/strict-small asks for none"
    assert due_told("2025/strict-small", 900_000) == (
        "no revision is due: the run ends at 900,000 words of exposure, and the first mark is at 1,000,000"
    )
    assert due_told("2025/strict-small", 100_000, before=1_400_000).endswith("mark that this run comes to")
    train_tiny(revisions=True)
    said = capsys.readouterr().out
    assert said.index("no revision is due: the run ends at 4") < said.index("held-out hard loss")
    train_tiny(name="unasked")
    assert "revision" not in capsys.readouterr().out


def test_revisions_that_will_be_one_model_are_told_before_the_first_step(train_tiny, capsys):
    train_tiny(name="apart", **SCALED | {"data": {"words": 200}})
    assert "warning" not in capsys.readouterr().out
    train_tiny(**SCALED | {"words_scale": 1e-5})  # 10 words between marks, of which a step has more
    said = capsys.readouterr().out
    warning = "chck_1M and chck_2M are due at one step (1), and "
    assert warning in said and said.index(warning) < said.index("held-out hard loss")


def test_revisions_of_one_step_are_both_whole(train_tiny):
    folder = train_tiny(**SCALED | {"words_scale": 1e-5}) / "revisions"
    one, other = (folder / name / "model.safetensors" for name in ("chck_1M", "chck_2M"))
    assert sha256(one) == sha256(other)


def test_a_model_with_tied_embeddings_keeps_them_tied(train_tiny):
    folder = train_tiny(**SCALED | {"model": {"tie_word_embeddings": True}})
    last = folder / "revisions" / "chck_10M" / "model.safetensors"
    assert sha256(last) == weights(folder)
    assert "lm_head.weight" not in load_file(last)


@pytest.mark.parametrize("changes", [{"revisions": False}, {"words_scale": 3e-4}])
def test_which_revisions_are_written_changes_no_weight(whole_run, train_tiny, changes):
    assert weights(whole_run) == weights(train_tiny(**SCALED | changes))


def contents(folder: Path) -> dict[str, str]:
    """Every file of a run's revisions, hidden ones too: path -> SHA-256."""
    revisions = folder / "revisions"
    return {str(path.relative_to(revisions)): sha256(path) for path in revisions.rglob("*") if path.is_file()}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("chck_2M", "chck_7M")]


@pytest.mark.parametrize("name", ["chck_5M", *SLOW])
def test_a_run_killed_while_it_writes_a_revision_ends_with_the_same_files(
    train_tiny, whole_run, monkeypatch, name
):
    """It had a checkpoint some steps (and revisions) ago: every eighth turn of the loop, by a clock of turns."""
    turns = SimpleNamespace(monotonic=itertools.count().__next__, perf_counter=time.perf_counter)
    changes = SCALED | {"name": "killed", "checkpoint_seconds": 7.5}
    monkeypatch.setattr(loop, "time", turns)
    with monkeypatch.context() as planted:
        planted.setattr(sealed, "seal", lambda folder: killed_in(folder, name))
        child = multiprocessing.get_context("fork").Process(target=train_tiny, kwargs=changes)
        child.start()
        child.join()
    assert child.exitcode == -signal.SIGKILL
    found = contents(Path("runs/killed"))
    assert any(path.startswith(f".{name}.tmp") for path in found)
    written = []
    monkeypatch.setattr(
        module, "export", lambda *args, **kw: written.append(args[2].name) or export(*args, **kw)
    )
    assert contents(train_tiny(**changes)) == contents(whole_run)
    again = [each for each in written if f"{each}/model.safetensors" in found]
    assert again and name in written


def killed_in(folder: Path, name: str) -> None:
    """`seal`, but for the death of the process where it seals the revision of that name."""
    if folder.name.startswith(f".{name}."):
        os.kill(os.getpid(), signal.SIGKILL)
    seal(folder)


def test_a_run_that_begins_anew_leaves_no_revision_of_another(train_tiny, whole_run):
    """One that never came to a checkpoint may be corrected: with fewer marks, the rest would pass for its own."""
    shutil.copytree(whole_run / "revisions", "runs/tiny/revisions")
    Path("runs/tiny/revisions/.chck_9M.tmp-1").mkdir()
    folder = train_tiny(**SCALED | {"data": {"words": 250}})
    assert sorted(path.name for path in (folder / "revisions").iterdir()) == ["chck_1M", "chck_2M"]


def test_a_checkpoint_is_never_ahead_of_a_revision_that_could_not_be_written(train_tiny, monkeypatch):
    def full(*_args, **_options):
        raise UserError("no space left")

    monkeypatch.setattr(module, "export", full)
    with pytest.raises(UserError, match="no space left"):
        train_tiny(checkpoint_seconds=1e-9, **SCALED)
    states = [int(p.name.removeprefix("step-")) for p in Path("runs/tiny/state").iterdir()]
    assert max(states) < min(
        r.step for r in due_of("tiny")
    )  # the step that the first revision belongs to is trained again


def test_what_the_first_weights_have_read_counts_for_caps_and_marks(train_tiny):
    first = train_tiny(name="first", data={"words": 500})
    init = {"path": str(first / "export")}
    seen = json.loads((first / "summary.json").read_text())["words_seen"]
    with pytest.raises(UserError, match=f"after the {seen} that init has read is over .* that 10 epochs of"):
        train_tiny(name="over", init=init, data={"words": 19_800})
    folder = train_tiny(name="second", init=init, **SCALED)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["words_before"] == seen
    names = [revision["name"] for revision in summary["revisions"]]
    assert names[0] == f"chck_{seen // 100 + 1}M"  # those before are of the first run
    assert all(revision["words_seen"] >= revision["mark"] for revision in summary["revisions"])


def test_first_weights_that_nobody_can_count_are_outside_the_competition(train_tiny):
    first = train_tiny(name="first")
    (first / "summary.json").unlink()
    init = {"path": str(first / "export")}
    with pytest.raises(UserError, match="nobody can count the words that init .* has read: set compet"):
        train_tiny(name="second", init=init)
    second = train_tiny(**SCALED | {"name": "second", "init": init, "competition": False})
    assert json.loads((second / "summary.json").read_text())["words_before"] is None
    for place in ("export", "revisions/chck_1M"):  # what it began with is as unknown one run later
        with pytest.raises(UserError, match=f"words that init .*{place}. has read: set competition=false"):
            train_tiny(name="third", init={"path": str(second / place)})


def test_first_weights_may_be_a_revision_which_says_itself_what_it_has_read(train_tiny, whole_run):
    revision = whole_run / "revisions" / "chck_3M"
    seen = json.loads((revision / "exposure.json").read_text())["words_seen"]
    folder = train_tiny(**SCALED | {"name": "second", "init": {"path": str(revision)}})
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["words_before"] == seen < 400
    assert summary["revisions"][0]["name"] == "chck_4M"
    assert json.loads((folder / "revisions/chck_4M/exposure.json").read_text())["words_before"] == seen


def due_of(name: str) -> list:
    """The revisions of the run called `name`, from its config."""
    from babylm_data.tokens import open_tokens
    from train_teachers.config import TrainConfig, load_config

    config = load_config(TrainConfig, f"runs/{name}/config.yaml")
    tokens = open_tokens(config.data.path, "train")
    batches = Batches(tokens, seq_len=config.data.seq_len, batch_size=config.batch_size, seed=config.seed)
    steps = batches.steps_for(config.data.words)
    return due_revisions(load_track("2025/strict-small"), batches, steps, config.words_scale)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": {"words": 40_000}},
            "data.words 40,000 is over the .* words that 10 epochs of the corpus have",
        ),
        ({"data": {"words": 19_800}, "batch_size": 400}, "the last step, .* more than 1% over the"),
    ],
)
def test_a_budget_of_the_track_is_not_crossed_unless_outside_the_competition(train_tiny, changes, message):
    with pytest.raises(UserError, match=message):
        train_tiny(**changes)
    assert not Path("runs/tiny/summary.json").exists()


def test_a_run_outside_the_competition_may_cross_them(train_tiny):
    folder = train_tiny(data={"words": 22_000}, batch_size=64, competition=False)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["epochs"] > 10 and summary["competition"] is False
