"""What the model card, and with it the page, say of revisions, fine-tuning, ages, hardware, files and commands."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from run_tree import PREPARED, add_start, edit, read_scores, write_json
from test_tuning_shown import summary

import train_teachers.run
from babylm_data.provenance import processor
from babylm_data.sealed import SEAL, sha256
from eval.report.page import hardware, page
from eval.runs.evaluations import read_evaluated
from eval.runs.lineup import read_lineup
from eval.runs.run_folder import read_run
from eval.scorer.model import model_sha256
from eval.submission.card import model_card
from eval.submission.collate import Collected
from train_teachers.run import environment

NAMES = ("chck_1M", "chck_2M", "chck_10M")
AGES = {"score": 0.25, "standard_error": 0.125, "p_value": 0.04, "official_score": 0.25, "words_fitted": 60}


def evaluate(student: Path) -> Path:
    """Revisions with scores and surprisals, fine-tuning and ages, as their programs write them."""
    seen = [{"name": name, "words_seen": 10**6 * n + 7} for n, name in enumerate(NAMES, start=1)]
    edit(student / "summary.json", revisions=seen)
    for number, name in enumerate(NAMES):
        shutil.copytree(student / "export", student / "revisions" / name)
        found = read_scores(student)
        made = {
            "created": f"2030-01-03T1{number}:00:00Z",
            "command": f"python -m eval runs/x/revisions/{name} --out runs/x/eval_revisions/{name}",
        }
        words = {"metric": "surprisal", "score": 9.0, "predictions_sha256": name, **made}
        found["tasks"] = {"nursery": found["tasks"]["nursery"] | made, "aoa": words}
        write_json(student / "eval_revisions" / name / "scores.json", found)
    header = {"model_sha256": model_sha256(student / "export"), "random_weights": False}
    write_json(student / "finetune/finetune.json", header | {"tasks": {"rte": summary()}})
    call = {"created": "2030-01-04T10:00:00Z", "command": "python -m eval.finetune runs/x/export"}
    write_json(student / "finetune/rte/seed-42/result.json", call)
    ages = {
        "checkpoints": list(NAMES), "surprisals": {name: name for name in NAMES}, "words": 485,
        "synthetic": False, "partial": False, "rules": {"2026": AGES, "2025": AGES | {"official_score": 0.125}},
        "created": "2030-01-05T10:00:00Z", "command": "python -m eval.aoa runs/x/eval_revisions",
    }  # fmt: skip
    write_json(student / "aoa/aoa.json", ages)
    return student


@pytest.fixture(scope="session")
def evaluated(runs_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that was evaluated in every way: do not write into it."""
    return evaluate(shutil.copytree(runs_template, tmp_path_factory.mktemp("card") / "runs") / "nursery")


@pytest.fixture
def student(evaluated: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(evaluated.parent, tmp_path / "runs") / "nursery"


def card(student: Path) -> str:
    return model_card(read_lineup(student), Collected()).of_bundle


@pytest.mark.parametrize(
    ("reads", "backend", "loads", "does"),
    [
        ("masked", "mlm", "AutoModelForMaskedLM", "fill-mask"),
        ("both", "mntp", "AutoModelForCausalLM", "text-generation"),
    ],
)
def test_the_card_says_how_a_masked_model_and_a_hybrid_are_loaded_and_asked(
    student, reads, backend, loads, does
):
    edit(student / "summary.json", reads=reads)
    for name in (student.name, f"{student.name}-control"):
        found = read_scores(student.parent / name)
        found["tasks"]["nursery"]["backend"] = backend
        write_json(student.parent / name / "eval" / "scores.json", found)
    told = card(student)
    assert f"model = {loads}.from_pretrained" in told and f"pipeline_tag: {does}" in told
    assert f"type: {does}" in told
    others = "nursery-llama, nursery-gpt2 from left to right (`causal`); nursery, nursery-control by each"
    assert others in told and f"(`{backend}`)." in told and others in page(read_lineup(student))
    assert ("one position to its left" in told) is (reads == "both")
    assert "Scored:" not in card_of_causal(student)


def card_of_causal(student: Path) -> str:
    """The card of a run that was scored from left to right, as those around it."""
    for name in (student.name, f"{student.name}-control"):
        found = read_scores(student.parent / name)
        found["tasks"]["nursery"]["backend"] = "causal"
        write_json(student.parent / name / "eval" / "scores.json", found)
    edit(student / "summary.json", reads="causal")
    return card(student)


def test_the_card_says_that_the_weights_are_a_mean_where_they_are(student):
    assert "Weights:" not in card(student)
    edit(student / "summary.json", averaging="mean of the weights over the last 0.2 of the steps")
    assert "Weights: the mean of the weights over the last 0.2 of the steps" in card(student)


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def test_the_card_has_a_row_for_each_revision_with_its_scores(evaluated):
    told = section(card(evaluated), "Revisions")
    score = f"{100 * read_scores(evaluated)['tasks']['nursery']['score']:.2f}"
    assert "| revision | words of exposure | Nursery pairs, % |" in told
    rows = [f"| {name} | {n},000,007 | {score} |" for n, name in enumerate(NAMES, start=1)]
    assert [line for line in told.splitlines() if line.startswith("| chck")] == rows
    assert "No room for" not in told and "not the" not in told


def test_no_more_tasks_of_revisions_than_fit_are_columns_and_the_others_are_named(student):
    path = student / "eval_revisions" / NAMES[1] / "scores.json"
    found = read_scores(student)
    result = found["tasks"]["nursery"]
    tasks = [*("blimp_fast", "ewok_fast", "comps", "reading", "supplement_fast", "entity_tracking"), "aoa"]
    found["tasks"] = {task: result for task in tasks} | {"aoa": {"metric": "surprisal"} | result}
    found["tasks"]["aoa"] = result | {"metric": "surprisal", "predictions_sha256": NAMES[1]}
    found["tasks"]["ewok_fast"] = result | {"synthetic": True}
    write_json(path, found)
    told = section(card(student), "Revisions")
    rows = {len(line.split("|")) for line in told.splitlines() if line.startswith("|")}
    assert rows == {2 + 2 + 6}
    assert "| chck_1M | 1,000,007 |" in told and "| – |" in told
    assert "- No room for Entity tracking: `report.html` draws every task" in told
    assert "- EWoK (fast): synthetic stand-ins, not the official data: **not the official task**." in told


def test_scores_of_a_revision_of_other_weights_are_not_shown_and_the_card_says_so(student):
    edit(student / "eval_revisions/chck_2M/scores.json", model_sha256="0" * 64)
    (student / "aoa/aoa.json").unlink()
    told = section(card(student), "Revisions")
    assert "| chck_2M | 2,000,007 | – |" in told
    assert re.search(r"- Not shown: \S+chck_2M/scores.json is of another model than ", told)


def test_card_and_page_show_fine_tuning_with_its_error_and_settings(evaluated):
    text, html = card(evaluated), page(read_lineup(evaluated))
    told = section(text, "Fine-tuning")
    assert "| RTE | accuracy | 75.00 ± 4.33 | – | 1 | 50.00 | 101 |" in told
    line = "RTE: learning rate 3e-05, epochs 10, batch size 32, tokens at most 512, seed 42."
    assert f"- {line}" in told
    shown = html.split("<h2>Fine-tuning</h2>")[1].split("</section>")[0]
    assert '75.00 <span class="se">± 4.33</span>' in shown and line in shown
    ages = html.split("<h2>Ages of acquisition</h2>")[1].split("</section>")[0]
    assert "0.2500 ± 0.1250" in ages
    assert "find the ages of acquisition of nursery" in html


def test_a_student_that_was_only_scored_has_no_empty_sections(runs_template):
    lineup = read_lineup(runs_template / "nursery")
    text = model_card(lineup, Collected()).of_bundle + page(lineup)
    assert not re.search("Fine-tuning|Ages of acquisition|## Revisions", text)


def test_the_card_tells_the_correlation_with_the_ages_of_children(student):
    told = section(card(student), "Ages of acquisition")
    assert "r 0.2500 ± 0.1250 (p 0.04) between" in told and "learn 60 of 485 words over 3 revisions" in told
    assert "0.2500 by the rule of 2026" in told and "0.1250 by that of 2025" in told
    assert "Not the official task" not in told
    none = AGES | {"score": None, "standard_error": None, "p_value": None, "official_score": 0.0}
    edit(student / "aoa/aoa.json", rules={"2026": none | {"words_fitted": 2}, "2025": AGES})
    assert "No correlation is defined: of 2 of 485 words" in section(card(student), "Ages of acquisition")


@pytest.mark.parametrize(
    ("mark", "note"), [("synthetic", "synthetic stand-ins, not the"), ("partial", "other rows than the")]
)
def test_ages_that_are_not_of_the_official_task_say_so(student, mark, note):
    edit(student / "aoa/aoa.json", **{mark: True})
    assert f"**Not the official task: {note} official" in section(card(student), "Ages of acquisition")


@pytest.mark.parametrize("name", ["aoa/aoa.json", "eval_revisions/chck_2M/scores.json"])
def test_ages_of_other_surprisals_than_the_revisions_have_now_are_not_shown(student, name):
    if name.startswith("aoa"):
        edit(student / name, surprisals={"chck_1M": "chck_1M"})
    else:
        (student / name).unlink()
    ages = read_evaluated(read_lineup(student)).ages
    assert "aoa/aoa.json is of other surprisals than the revisions have now" in ages.text
    assert "0.2500" not in ages.text and ages.call is None


def test_ages_that_do_not_say_of_which_surprisals_they_are_are_not_shown(student):
    edit(student / "aoa/aoa.json", surprisals=None)
    told = section(card(student), "Ages of acquisition")
    assert "aoa.json does not say which revisions it is of; find the ages again" in told
    assert "0.2500" not in told and "find the ages of acquisition of" not in card(student)


def commands_of(text: str) -> list[str]:
    listed = text.split("## Commands")[1].splitlines()
    return [line.removeprefix("1. ") for line in listed if line.startswith("1. ")]


def test_the_commands_go_on_to_revisions_fine_tuning_and_ages(evaluated):
    listed = commands_of(card(evaluated))
    assert listed[0].endswith(f"`{PREPARED}`")
    assert listed[-3:] == [
        "score all 3 revisions, one call each with its name for REVISION (2030-01-03T10:00:00Z): "
        "`python -m eval runs/x/revisions/REVISION --out runs/x/eval_revisions/REVISION`",
        "fine-tune nursery (2030-01-04T10:00:00Z): `python -m eval.finetune runs/x/export`",
        "find the ages of acquisition of nursery (2030-01-05T10:00:00Z): "
        "`python -m eval.aoa runs/x/eval_revisions`",
    ]


def test_a_revision_that_was_scored_with_other_options_has_a_line_of_its_own(student):
    path = student / "eval_revisions/chck_10M/scores.json"
    result = read_scores(student)["tasks"]["nursery"]
    edit(path, tasks={"nursery": result | {"created": "2030", "command": "python -m eval chck_10M"}})
    (student / "aoa/aoa.json").unlink()
    listed = [line for line in commands_of(card(student)) if "revision" in line.split("`")[0]]
    assert [line.split(" (")[0] for line in listed] == [
        "score the revision chck_10M",
        "score the revisions chck_1M, chck_2M, one call each with its name for REVISION",
    ]
    assert listed[0].endswith("`python -m eval chck_10M`")


def test_the_card_hashes_data_teachers_and_scores(evaluated):
    told = section(card(evaluated), "Files")
    runs = evaluated.parent
    expected = {
        "model.safetensors": evaluated / "export/model.safetensors",
        "tokenizer.json": evaluated / "export/tokenizer.json",
        "scores.json": evaluated / "eval/scores.json",
        f"nursery-data/{SEAL}": runs / "nursery-data" / SEAL,
        "nursery-llama/export/model.safetensors": runs / "nursery-llama/export/model.safetensors",
        "nursery-gpt2/export/model.safetensors": runs / "nursery-gpt2/export/model.safetensors",
    }
    found = re.findall(r"^\| (\S+) \| [\w' ]+ \| `(\w+)` \|$", told, flags=re.MULTILINE)
    assert dict(found) == {name: sha256(path) for name, path in expected.items()}
    assert "| weights of the teacher gpt2 |" in told


def test_the_card_names_the_processor_and_its_threads_and_keeps_a_gpus_name(student):
    run = read_lineup(student).student
    assert hardware(run) == "CPU, 2 threads", "an older run says no more"
    edit(student / "environment.json", processor="Acme 9, 4 logical cores")
    assert "on Acme 9, 4 logical cores, 2 threads, seed 0." in card(student)
    add_start(student, device="NVIDIA H100", threads=8)
    run = read_run(student, "student")
    assert hardware(run) == "Acme 9, 4 logical cores, 2 threads; then NVIDIA H100, 8 threads"
    run.summary["processes"] = 2
    assert hardware(run).endswith("then 2 × NVIDIA H100, 8 threads")


def test_what_a_training_was_made_by_is_changed_by_code_and_configs_and_not_by_what_programs_write(
    tmp_path, monkeypatch
):
    def git(*words):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=b", *words], check=True)

    (tmp_path / "train_teachers").mkdir()
    monkeypatch.setattr(train_teachers.run, "__file__", str(tmp_path / "train_teachers/run.py"))
    git("init", "--quiet")
    for name in ("train_teachers/run.py", "README.md"):
        (tmp_path / name).write_text("as it was\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "all")
    (tmp_path / "README.md").write_text("with another table\n")
    (tmp_path / "record.json").write_text("{}\n")
    assert environment()["dirty"] is False
    (tmp_path / "mine.yaml").write_text("lr: 1\n")
    assert environment()["dirty"] is True


def test_a_training_notes_the_processor_and_calls_its_device_cpu_as_before(monkeypatch):
    found = environment()
    assert found["device"] == "cpu" and isinstance(found["threads"], int)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(
        Path, "read_text", lambda *_, **__: "flags: x\nmodel name\t: Acme  9 \nmodel name: B\n"
    )
    assert processor() == "Acme 9, 1 logical core"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "Processor: an ARM of no model\n")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert processor() == "aarch64, 4 logical cores"


def test_the_same_runs_give_the_same_card(evaluated):
    assert card(evaluated) == card(evaluated)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (0, "words, "),
        (5_000, "words after the 5,000 of its first weights, "),
        (None, "words after the unknown number of its first weights, "),
    ],
)
def test_what_the_first_weights_had_read_stands_beside_what_the_student_read(student, before, said):
    edit(student / "summary.json", words_before=before)
    (line,) = re.findall("^- Exposure of the student: .*$", card(student), re.MULTILINE)
    assert re.search(rf"student: [\d,]+ {said}[\d,]+ tokens", line)
    unknown = "**Outside the competition: exposure words of the student: nobody can tell, the track allows"
    assert (unknown in card(student)) is (before is None)
