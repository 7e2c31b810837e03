"""A study: its cells, their controls and teachers, what is trained in which order, and what is left."""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file
from test_distill import distil

from babylm_data.errors import UserError
from babylm_data.sealed import LOCK, SEAL, lock, sha256
from distill import course
from distill.cells import cells_of, load_study
from distill.course import carry_out
from distill.jobs import (
    Job,
    _together,
    foretell,
    is_done,
    is_held,
    jobs_of,
    jobs_of_config,
    made_otherwise,
    queue,
)
from distill.recipe import main as train_recipe
from distill.study import write_plan
from eval.study.__main__ import main as compare
from train_teachers import estimate
from train_teachers.config import dump_config
from train_teachers.estimate import stored_parameters
from train_teachers.language_model import config_of, fitting_blocks

ROOT = Path(__file__).parent.parent
SHIPPED = sorted((ROOT / "distill/studies").glob("*.yaml"))
STUDY = """
question: which is better?
base: base.yaml
fixed: {data: DATA, compile: false, revisions: false}
vary:
  losses.soft.temperature: [1.0, 2.0]
  hidden:
    none: {losses.hidden: null}
    mse: {losses.hidden.distance: mse}
beside:
  again: {teachers: {own: {path: "runs/{control}/export"}}, losses: {hard: {weight: 0.5}, soft: {weight: {own: 0.5}}}}
  third: {teachers: {own: {path: "runs/{again}/export"}}, losses: {hard: {weight: 0.5}, soft: {weight: {own: 0.5}}}}
seeds: [0, 7]
"""


@pytest.fixture
def write_study(workplace, make_distill):
    """write_study(text, name="st", **changes): the path of a study whose base is the tiny distillation."""

    def write(text=STUDY, name="st", **changes):
        config = make_distill(name=None, **changes)
        Path("base.yaml").write_text(dump_config(config), encoding="utf-8")
        data = json.dumps(config.data.model_dump(mode="json"))
        path = Path(f"{name}.yaml")
        path.write_text(text.replace("DATA", data), encoding="utf-8")
        return path

    return write


@pytest.fixture
def distil_first_cell(write_study):
    """(a job that has come to its end, change("data" or "teacher a"): as if it had been made from another)."""
    study = load_study(write_study())
    cell = next(cell for cell in cells_of(study) if cell.label == "temperature-1-none")
    jobs = jobs_of(study, [cell])
    distil(cell.config)
    inputs = Path("runs", cell.config.name, "inputs.json")

    @contextmanager
    def change(what):
        text = inputs.read_text()
        inputs.write_text(json.dumps(json.loads(text) | {what: "another"}))
        yield
        inputs.write_text(text)

    return jobs[cell.config.name], change


@pytest.fixture
def jobs(write_study):
    study = load_study(write_study())
    return jobs_of(study, cells_of(study))


def test_every_combination_and_what_stands_beside_is_a_cell_for_each_seed(write_study):
    cells = cells_of(load_study(write_study()))
    assert [cell.config.name for cell in cells[6:]] == [
        "st-again-s7", "st-third-s7", "st-temperature-1-none-s7", "st-temperature-1-mse-s7",
        "st-temperature-2-none-s7", "st-temperature-2-mse-s7",
    ]  # fmt: skip
    last = cells[-1]
    assert last.values == {"losses.soft.temperature": "2", "hidden": "mse"}
    assert (last.config.seed, last.config.losses.soft.temperature) == (7, 2)
    assert cells[2].config.losses.hidden is None and last.config.losses.hidden.distance == "mse"
    assert not any(cell.config.revisions for cell in cells)


def test_where_nothing_is_distilled_the_controls_alone_are_trained_and_compared_with_the_first(write_study):
    head, _, _ = STUDY.partition("vary:")
    cells = "vary: {optim.weight_decay: [0.1, 0.4]}\nbeside: {clipped: {optim.clip: 0.5}}"
    text = f"{head}distilled: false\n{cells}\nseeds: [3, 4]"
    path = write_study(text)
    study = load_study(path)
    cells = cells_of(study)
    jobs = jobs_of(study, cells)
    assert {job.kind for job in jobs.values()} == {"control"} and len(jobs) == 6
    assert all(job.words[-1] == "--control" for job in jobs.values())
    students = cells_of(load_study(write_study(text.replace("distilled: false\n", ""), name="students")))
    assert {cell.config.control_name for cell in students} == set(
        jobs
    )  # who is distilled later finds them there
    plan = json.loads((write_plan(study, cells) / "study.json").read_text())
    found = {(cell["label"], cell["seed"]): (cell["run"], cell["control"]) for cell in plan["cells"]}
    assert {runs[0] for runs in found.values()} == set(jobs)
    for (_, seed), (_, control) in found.items():
        assert control == found["weight_decay-0.1", seed][0]
    other = text.replace("optim.clip: 0.5", 'teachers.a.path: "runs/{weight_decay-0.1}/export"')
    with pytest.raises(UserError, match="is no run of it: write {seed} or {control}$"):
        cells_of(load_study(write_study(other)))
    alone = set(jobs_of(study, cells, ["clipped"]))
    assert alone == {found[label, seed][0] for label in ("clipped", "weight_decay-0.1") for seed in (3, 4)}
    needless = f"{text}\nagainst: {{clipped: weight_decay-0.1}}"
    with pytest.raises(UserError, match="against has weight_decay-0.1, with which all are compared as it is"):
        cells_of(load_study(write_study(needless)))
    twice = text.replace("[0.1, 0.4]", "[0.1]").replace("optim.clip: 0.5", "losses.hidden: null")
    with pytest.raises(UserError, match="clipped and weight_decay-0.1 are the same run"):
        cells_of(load_study(write_study(twice)))


def test_students_that_differ_in_their_losses_alone_have_one_control_in_whatever_study(write_study):
    first = cells_of(load_study(write_study()))
    names = {cell.config.control_name for cell in first}
    assert len(names) == 2 and names == {cell.config.control().name for cell in first}
    other = cells_of(load_study(write_study(name="other")))
    assert {cell.config.control_name for cell in other} == names
    smoothed = {"hard": {"weight": 0.5, "label_smoothing": 0.1}, "soft": {"weight": {"a": 0.5, "b": 0.5}}}
    text = STUDY.partition("vary:")[0] + "vary: {log_every: [1], losses.soft.temperature: [1, 2]}"
    same = cells_of(load_study(write_study(text)))
    assert {cell.config.control_name for cell in same} == {f"{min(names)[:-1]}{seed}" for seed in (0, 1, 2)}
    for changes in ({"optim": {"lr": 1e-3}}, {"losses": smoothed}):
        changed = cells_of(load_study(write_study(text, **changes)))
        assert not names & {cell.config.control_name for cell in changed}


def test_names_of_runs_stand_for_controls_and_other_cells_of_the_same_seed(write_study):
    cells = {cell.config.name: cell.config for cell in cells_of(load_study(write_study()))}
    for seed in (0, 7):
        again, third = cells[f"st-again-s{seed}"], cells[f"st-third-s{seed}"]
        assert again.teachers["own"].path == f"runs/{again.control_name}/export"
        assert third.teachers["own"].path == f"runs/st-again-s{seed}/export"


def test_a_study_like_another_has_of_it_what_it_does_not_say(write_study):
    write_study()
    Path("small.yaml").write_text("like: st.yaml\nseeds: [3]\nbeside: {}\n", encoding="utf-8")
    study = load_study("small.yaml")
    assert (study.name, study.seeds, study.question) == ("small", [3], "which is better?")
    assert [cell.config.name for cell in cells_of(study)][0] == "small-temperature-1-none-s3"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("distance: mse", "distance: mean", "study st, temperature-1-mse: base.yaml: losses.hidden.distance: write"),
        ("runs/{again}", "runs/{agian}", "{agian} is no run of it: write {seed}, {control} or a cell's name"),
        ("{losses.hidden.distance: mse}", "{losses.hidden: null}", "1-none and temperature-1-mse are the same run"),
        ("  third:", "  temperature-1-mse:", "two cells are called temperature-1-mse"),
        ("[0, 7]", "[0, 0]", "seeds: one of them stands there twice"),
        ("base: base.yaml", "", "base is not there"),
        ("vary:", "varies:", "unknown key 'varies' .nearest: 'vary'"),
        ("seeds: [0, 7]", "data: {}", "'data' stands in files for python -m distill or train_teachers"),
        ("runs/{control}", "runs/{third}", "is made from itself"),
        ("seeds: [0, 7]", "seeds: [0]\nlike: st.yaml", "st.yaml is like itself"),
        ("seeds: [0, 7]", "seeds: [0]\nagainst: [agin]", "against has agin, no cell beside and no value of an axis: "),
        ("seeds: [0, 7]", "seeds: [0]\nagainst: {again: agin}", "against has agin, no cell: "),
        ("seeds: [0, 7]", "seeds: [0]\nagainst: {again: again}", "against has again against itself"),
        ("vary:\n", "fixed2: {}\nvary:\n", "unknown key 'fixed2'"),
        ("compile: false", "name: x", "fixed has name, which the study itself gives to each run"),
        ("runs/{control}", "runs/nobody", "no config in train_teachers/configs is called nobody: train it first"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_is_refused_in_a_line(write_study, old, new, told):
    assert old in STUDY
    with pytest.raises(UserError, match=told.replace("{", r"\{")):
        study = load_study(write_study(STUDY.replace(old, new)))
        jobs_of(study, cells_of(study))


def test_a_study_without_anything_to_compare_is_refused(write_study):
    with pytest.raises(UserError, match="there is nothing to compare: write vary or beside"):
        load_study(write_study("base: base.yaml\n"))


def test_what_a_cell_says_counts_over_what_all_have(write_study):
    text = STUDY.replace("fixed: {", "fixed: {losses.soft.temperature: 3.0, ").replace(
        "soft: {weight: {own: 0.5}}", "soft: {weight: {own: 0.5}, temperature: 5.0}"
    )
    cells = {cell.label: cell.config for cell in cells_of(load_study(write_study(text)))}
    assert (
        cells["again"].losses.soft.temperature == 5
        and cells["temperature-1-none"].losses.soft.temperature == 1
    )


def test_cells_that_would_keep_different_things_in_one_cache_are_refused(write_study, make_distill):
    there = {name: {"path": name, "cache": {"path": f"runs/{name}-soft", "top": 4}} for name in "ab"}
    losses = {"hard": {"weight": 0.5}, "soft": {"weight": {"a": 0.5, "b": 0.5}}}
    data = {**make_distill().data.model_dump(mode="json"), "offset": "fixed"}
    text = "base: base.yaml\nvary: {losses.soft.temperature: [1.0, 2.0]}\n"
    study = load_study(write_study(text, teachers=there, losses=losses, data=data))
    with pytest.raises(
        UserError, match="st-temperature-2-s0 and another run keep different things in runs/a-soft"
    ):
        jobs_of(study, cells_of(study))


def test_each_run_comes_behind_those_that_it_needs(jobs):
    seen = set()
    for job in jobs.values():
        assert job.after <= seen, job.name
        seen.add(job.name)
    control = next(name for name in jobs if name.startswith("control-") and name.endswith("-s7"))
    assert jobs["st-third-s7"].after == {"st-again-s7"} and jobs["st-again-s7"].after == {control}
    assert jobs["st-temperature-1-none-s7"].after == set()
    assert len(jobs) == 14


def test_some_cells_are_trained_alone_with_their_controls_and_what_they_need(write_study):
    study = load_study(write_study())
    cells = cells_of(study)
    chosen = jobs_of(study, cells, ["third", "temperature-2-mse"])
    students = {name for name, job in chosen.items() if job.kind == "student"}
    assert students == {
        f"st-{label}-s{seed}" for label in ("again", "third", "temperature-2-mse") for seed in (0, 7)
    }
    assert [job.kind for job in chosen.values()].count("control") == 2
    with pytest.raises(UserError, match="^study st has no cell fourth: again, third, temperature-1-none, "):
        jobs_of(study, cells, ["again", "fourth"])


def test_teachers_that_are_not_there_are_trained_by_their_configs(write_study, monkeypatch):
    Path("train_teachers").symlink_to(ROOT / "train_teachers")
    text = STUDY.replace("runs/{control}/export", "runs/nursery-llama-seed{seed}/export")
    study = load_study(write_study(text))
    jobs = jobs_of(study, cells_of(study))
    words = [
        "train_teachers",
        "train_teachers/configs/nursery-llama.yaml",
        "name=nursery-llama-seed7",
        "seed=7",
    ]
    assert jobs["nursery-llama-seed7"].words == words
    assert jobs["st-again-s7"].after == {"nursery-llama-seed7"}
    assert made_otherwise(jobs) is None
    # one that was trained with other fields is not taken for it; one whose run is not here is
    folder = Path("runs/nursery-llama-seed7")
    (folder / "export").mkdir(parents=True)
    assert "nursery-llama-seed7" not in jobs_of(study, cells_of(study))
    other = jobs["nursery-llama-seed7"].config.model_copy(update={"batch_size": 8})
    (folder / "config.yaml").write_text(dump_config(other))
    (folder / "summary.json").touch()
    assert made_otherwise(jobs_of(study, cells_of(study))).startswith(
        "nursery-llama-seed7: made by another config"
    )


def test_a_control_that_was_smoothed_otherwise_is_made_otherwise(make_distill, workplace):
    config = make_distill()
    Path("base.yaml").write_text(dump_config(config))
    jobs = jobs_of_config(["base.yaml"], control=True)
    control = next(job for job in jobs.values() if job.kind == "control")
    folder = Path("runs", control.name)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(control.config))
    (folder / "summary.json").touch()
    inputs = {"data": sha256(Path(config.data.path) / SEAL)}
    for told, done in [(control.controlled, True), ({}, True), ({"label_smoothing": "0.1"}, False)]:
        (folder / "inputs.json").write_text(json.dumps(inputs | told))
        assert is_done(control) == done, told
    assert made_otherwise(jobs).startswith(f"{control.name}: made by another config, or from other")


def test_a_queue_gets_arrays_of_what_needs_the_same(jobs):
    lines = [line.split("\t") for line in queue(jobs).splitlines()]
    assert [(number, after) for number, after, _ in lines] == (
        [("0", "-")] * 2 + [("1", "-")] * 8 + [("2", "0")] * 2 + [("3", "2")] * 2
    )
    assert lines[0][2].startswith(".venv/bin/python -m distill base.yaml ") and lines[0][2].endswith(
        " --control"
    )


@pytest.fixture
def stub(workplace, monkeypatch):
    """What `python -m` is here: notes its words, fails where `failing` says, and waits while `waiting` is there."""
    program = workplace / "stub"
    program.write_text(
        f"#!{sys.executable}\nimport sys, time\nfrom pathlib import Path\n"
        "name = next(word[5:] for word in sys.argv if word.startswith('name='))\n"
        "name += '--control' * ('--control' in sys.argv)\n"
        "with open('begun', 'a') as file: file.write(name + '\\n')\n"
        "while Path('waiting').exists(): time.sleep(0.02)\n"
        "failing = Path('failing')\n"
        "if failing.exists() and name in failing.read_text().split():\n"
        "    print('error: no such teacher', file=sys.stderr)\n"
        "    sys.exit(3)\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(course.sys, "executable", str(program))
    monkeypatch.setattr(course, "LOOK", 0.005)
    return lambda: (workplace / "begun").read_text().split()


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_run_that_fails_is_named_with_those_that_needed_it_and_all_others_are_trained(
    jobs, stub, at_once, capsys
):
    folder = Path("runs/studies/st")
    folder.mkdir(parents=True)
    Path("failing").write_text("st-again-s0")
    failed = carry_out(jobs, folder, at_once)
    assert sorted(failed) == [
        f"st-again-s0 failed with status 3{': no such teacher' * (at_once > 1)}",
        "st-third-s0 was left, for it needs st-again-s0",
    ]
    begun = stub()
    assert len(begun) == len(set(begun)) == 13 and "st-third-s0" not in begun
    assert begun.index("st-again-s7") < begun.index("st-third-s7")
    assert (folder / "said/st-again-s7.txt").exists() == (at_once == 3)


def test_a_run_that_another_program_is_at_is_waited_for(jobs, stub, monkeypatch, capsys):
    folder, looks = Path("runs/studies/st"), []
    folder.mkdir(parents=True)
    held = next(name for name in jobs if name.startswith("control-") and name.endswith("-s7"))
    monkeypatch.setattr(
        course, "is_held", lambda job: job.name == held and not looks.append(1) and len(looks) < 9
    )
    monkeypatch.setattr(course, "is_done", lambda job: job.name == held and len(looks) >= 9)
    assert carry_out(jobs, folder, 3) == []
    assert "st-third-s7" in stub() and sum(name.endswith("--control") for name in stub()) == 1
    assert capsys.readouterr().out.count(f"{held}: another program is at it, which is waited for") == 1


def test_a_run_that_another_program_began_in_the_same_moment_is_waited_for(jobs, stub, monkeypatch, capsys):
    folder, looks = Path("runs/studies/st"), []
    folder.mkdir(parents=True)
    shared = next(name for name in jobs if name.startswith("control-") and name.endswith("-s7"))
    named = next(word for word in jobs[shared].words if word.startswith("name="))
    Path("failing").write_text(f"{named.removeprefix('name=')}--control")
    # not held when it is begun, held when it has failed, and done at last
    monkeypatch.setattr(
        course, "is_held", lambda job: job.name == shared and not looks.append(1) and 1 < len(looks) < 5
    )
    monkeypatch.setattr(course, "is_done", lambda job: job.name == shared and len(looks) >= 5)
    failed = carry_out(jobs, folder, 3)
    said = capsys.readouterr().out
    assert (
        said.count(f"{shared}: another program is at it, which is waited for") == 1
        and f"{shared} is finished" in said
    )
    assert not [line for line in failed if shared in line] and "st-third-s7" in stub()


def test_a_cache_that_is_being_written_is_held(make_distill, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = Job("runs/kept", "cache", [], make_distill(), frozenset())
    assert not is_held(job)
    Path("runs/.kept.partial").mkdir(parents=True)
    with lock(Path("runs/.kept.partial") / LOCK):
        assert is_held(job)


def test_whatever_ends_a_study_ends_what_it_runs(jobs, stub, monkeypatch):
    folder, begun = Path("runs/studies/st"), []
    folder.mkdir(parents=True)
    Path("waiting").touch()
    honest = subprocess.Popen
    monkeypatch.setattr(
        course.subprocess, "Popen", lambda *a, **k: begun.append(honest(*a, **k)) or begun[-1]
    )
    monkeypatch.setattr(course.time, "sleep", lambda seconds: (_ for _ in ()).throw(BrokenPipeError))
    with pytest.raises(BrokenPipeError):
        carry_out(jobs, folder, 2)
    assert len(begun) == 2 and all(process.poll() is not None for process in begun)


def test_what_is_finished_is_passed_over(jobs, stub, monkeypatch, capsys):
    folder = Path("runs/studies/st")
    folder.mkdir(parents=True)
    monkeypatch.setattr(course, "is_done", lambda job: job.name != "st-third-s7")
    assert carry_out(jobs, folder, 2) == []
    assert stub() == ["st-third-s7"]
    assert capsys.readouterr().out.startswith("13 of 14 are finished already\n")


def test_a_config_is_trained_behind_its_teachers_and_caches_with_its_control(make_distill, stub, capsys):
    kept = {"a": {"path": "runs/nursery-llama/export", "cache": {"path": "runs/kept", "top": 4}}}
    losses = {"hard": {"weight": 0.5}, "soft": {"weight": {"a": 0.5}}}
    config = make_distill(name="student", teachers=kept, losses=losses, data={"offset": "fixed"})
    Path("student.yaml").write_text(dump_config(config))
    shutil.copytree(ROOT / "train_teachers/configs", "train_teachers/configs")
    assert train_recipe(["student.yaml", "name=other", "control_name=alone"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("== ")]
    names = [line.split()[1].rstrip(":") for line in said]
    assert sorted(names[:2]) == ["alone", "nursery-llama"] and names[2:] == ["runs/kept", "other"]
    Path("failing").write_text("nursery-llama")
    assert train_recipe(["student.yaml", "--at-once", "2"]) == 1
    assert "student was left, for it needs nursery-llama" in capsys.readouterr().err
    with pytest.raises(UserError, match="nowhere"):
        train_recipe(["student.yaml", "data.path=nowhere"])


def test_the_plan_tells_which_run_is_which_cell(write_study):
    study = load_study(write_study())
    cells = cells_of(study)
    plan = json.loads((write_plan(study, cells) / "study.json").read_text())
    assert plan["axes"] == {"losses.soft.temperature": ["1", "2"], "hidden": ["none", "mse"]}
    assert [cell["run"] for cell in plan["cells"]] == [cell.config.name for cell in cells]
    assert {cell["control"] for cell in plan["cells"]} == {cell.config.control_name for cell in cells}


def test_what_is_to_come_is_told_without_data_or_teachers(write_study):
    text = STUDY.replace("DATA", '{"path": "runs/nothing", "seq_len": 16, "words": 1000}')
    text = text.replace("{losses.hidden.distance: mse}", "{losses.soft.divergence: jsd}")
    Path("train_teachers").symlink_to(ROOT / "train_teachers")
    there = {name: {"path": "runs/nursery-llama/export"} for name in "ab"}
    study = load_study(write_study(text, teachers=there))
    lines = foretell(jobs_of(study, cells_of(study))).splitlines()
    assert len(lines) == 1 + 15 + 1 and "15 of 15 runs are left" in lines[-1]
    assert all("seed=" in line and line.endswith(" GB") for line in lines[1:-1])


@pytest.mark.parametrize(
    ("threads", "at_once", "slower"),
    [(4, 1, 1), (4, 2, 2), (2, 4, 4), (4, 20, 20)],
    ids=["alone", "two", "more than threads", "more than runs"],
)
def test_of_runs_at_once_each_is_slower_and_all_are_not(write_study, monkeypatch, threads, at_once, slower):
    monkeypatch.setattr(estimate, "product_rates", lambda device: {"fp32": 1e10})
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    study = load_study(write_study(seed=3, data={"words": 10**8}))
    jobs = jobs_of(study, cells_of(study))
    alone, both = ([line.split() for line in foretell(jobs, n).splitlines()] for n in (1, at_once))
    hours = [[float(line[-4]) for line in lines[1:-1]] for lines in (alone, both)]
    assert len(hours[0]) == 14 and hours[1] == pytest.approx([slower * each for each in hours[0]], rel=0.05)
    course = f"h, {at_once} at once, each at" if at_once > 1 else "h, one after another, at"
    assert course in " ".join(both[-1])
    least = max(sum(hours[1]) / at_once, max(hours[1]))
    assert 0.95 * least < float(both[-1][6]) < 1.02 * least + (at_once > 1) * max(hours[1])


def test_a_chain_is_as_long_as_its_links(write_study):
    study = load_study(write_study(seed=3))
    jobs = list(jobs_of(study, cells_of(study)).values())[:3]
    chain = [job._replace(after=frozenset(other.name for other in jobs[:k])) for k, job in enumerate(jobs)]
    seconds = {job.name: 10.0 for job in jobs}
    assert [_together(each, seconds, 2) for each in (jobs, chain, [])] == [20, 30, 0]


def test_teachers_that_are_there_count_as_they_are(write_study, teachers_folder):
    study = load_study(write_study(seed=3))
    lines = foretell(jobs_of(study, cells_of(study))).splitlines()
    assert len(lines) == 1 + 14 + 1
    assert stored_parameters(teachers_folder / "a") == sum(
        tensor.numel() for tensor in load_file(teachers_folder / "a" / "model.safetensors").values()
    )


def test_where_not_all_arrays_can_be_submitted_none_is_left(workplace):
    for name in ("slurm", ".venv/bin"):
        Path(name).mkdir(parents=True)
    shutil.copy(ROOT / "slurm/study.sh", "slurm")
    Path("slurm/line.slurm").touch()
    programs = {
        ".venv/bin/python": "printf '0\\t-\\tfirst one\\n1\\t0\\tsecond\\n'",
        "bin/sbatch": 'echo "$*" >>asked; [ $(wc -l <asked) -lt "${FAILS:-9}" ] && echo 10$(wc -l <asked)',
        "bin/scancel": 'echo "$*" >cancelled',
    }
    for place, text in programs.items():
        Path(place).parent.mkdir(exist_ok=True)
        Path(place).write_text(f"#!/bin/bash\n{text}\n")
        Path(place).chmod(0o755)

    def submit(**more):
        Path("asked").unlink(missing_ok=True)
        found = os.environ | {"PATH": f"{Path('bin').absolute()}:{os.environ['PATH']}"} | more
        command = ["slurm/study.sh", "st.yaml", "--", "--gres=gpu:1"]
        return subprocess.run(command, env=found, capture_output=True, text=True)

    done = submit()
    assert (
        done.stdout
        == "arrays 101 102: look with squeue --me, and run the same line again when they are over\n"
    )
    first, second = Path("asked").read_text().splitlines()
    assert "--array=0-0" in first and first.endswith("--gres=gpu:1 slurm/line.slurm first one")
    assert "--dependency=afterany:101" in second
    failed = submit(FAILS="2")
    assert (failed.returncode, failed.stderr) == (2, "error: not all jobs could be submitted; none is left\n")
    assert Path("cancelled").read_text() == "101\n"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_study_comes_to_runs_that_can_be(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = load_study(path)
    jobs = jobs_of(study, cells_of(study))
    assert study.question.endswith("?") and len(study.seeds) >= 3
    assert {job.kind for job in jobs.values()} >= {"control", *(["student"] if study.distilled else [])}
    for job in jobs.values():
        if (init := job.config.init) and (name := Path(init.path).parent.name) in jobs:
            fitting_blocks(config_of(jobs[name].config.model), job.config.model, init)
    if path.stem.startswith(("strict-tiny", "nursery")):  # which have the size that they are about
        return
    tiny = path.stem.endswith("-tiny")
    twin = load_study(path.with_stem(path.stem.removesuffix("-tiny") if tiny else f"{path.stem}-tiny"))
    assert sizes(twin) == sizes(study)


def sizes(study):
    """How many values each axis of a study has, and how many cells stand beside."""
    return {axis: len(values) for axis, values in study.vary.items()}, len(study.beside)


@pytest.mark.slow
def test_a_study_is_trained_to_its_end_by_one_command_and_one_that_was_stopped_goes_on(write_study):
    path = write_study(STUDY.replace("[1.0, 2.0]", "[1.0]"))
    command = [sys.executable, "-m", "distill.study", str(path), "--at-once", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert "1 of 10: " in first.stdout.readline()
    first.terminate()
    said = first.communicate(timeout=60)[1]
    assert (first.returncode, said.splitlines()[-1]) == (85, "stopped: the same command goes on")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("10 of 10: ")
    summaries = [json.loads(p.read_text()) for p in Path("runs").glob("*/summary.json")]
    assert len(summaries) == 10
    for summary in summaries:
        assert summary["kind"] == "control" or Path(summary["control"], "summary.json").exists()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert again.stdout == "10 of 10 are finished already\n"
    compare([str(path)])
    found = json.loads(Path("runs/studies/st/results.json").read_text())
    assert {cell["seeds"] for cell in found["measures"]["hard"].values()} == {2} and not found["left_out"]
    config = Path("runs/st-again-s7/config.yaml")
    config.write_text(config.read_text().replace("batch_size: 4", "batch_size: 5"))
    compare([str(path)])
    found = json.loads(Path("runs/studies/st/results.json").read_text())
    [line] = found["left_out"]
    assert "is no control of st-again-s7, batch_size in their configs differs" in line
    assert found["measures"]["hard"]["again"]["seeds"] == 1
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2 and refused.stderr.startswith("error: study st: st-again-s7")
    assert "made by another config" in refused.stderr


@pytest.mark.slow
@pytest.mark.long
def test_a_study_that_is_killed_at_random_ten_times_ends_with_the_table_of_one_left_alone(write_study):
    path, random = write_study(), Random(0)
    command = [sys.executable, "-m", "distill.study", str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    left_alone = Path("alone")
    left_alone.mkdir()
    for file in ("st.yaml", "base.yaml"):
        shutil.copy(file, left_alone)
    start = time.monotonic()
    subprocess.run(command, env=environment, cwd=left_alone, check=True, capture_output=True, timeout=600)
    seconds = time.monotonic() - start
    killed = 0
    for _ in range(10):
        process = subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(0.02, 0.2) * seconds)
        killed += process.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600)
    assert killed == 10
    tables = []
    for folder in (Path(), left_alone):
        with contextlib.chdir(folder):
            compare([str(path)])
            tables.append(json.loads(Path("runs/studies/st/results.json").read_text()))
    assert all(tables[0][key] == tables[1][key] for key in ("measures", "contrasts", "said", "answers"))
    for run in left_alone.glob("runs/*/export/model.safetensors"):
        assert run.read_bytes() == run.relative_to(left_alone).read_bytes(), run


def test_a_run_of_other_data_or_teachers_is_not_done(write_study, distil_first_cell):
    job, change = distil_first_cell
    assert is_done(job)
    for what in ("data", "teacher a"):
        with change(what):
            assert not is_done(job)
    assert is_done(job)


def test_in_strict_tiny_a_cell_changes_what_its_name_says_and_nothing_else():
    cells = cells_of(load_study(ROOT / "distill/studies/strict-tiny.yaml"))
    for cell in cells:
        soft, hidden = cell.config.losses.soft, cell.config.losses.hidden
        assert soft.temperature == (2.0 if cell.label == "temperature-2" else 1.0), cell.label
        assert bool(hidden) == (cell.label == "hidden-states")
        assert sum(soft.weight.values()) == pytest.approx(1 - cell.config.losses.hard.weight)
        assert (cell.config.losses.hard.weight == 0.5) == (not cell.label.startswith("hard-"))
    assert len({cell.config.control_name for cell in cells}) == 3  # one for each seed
