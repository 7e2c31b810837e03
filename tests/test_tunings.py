"""Fine-tuning side by side on the page: who stands beside the student and who does not, curves by epoch, speeds."""

import re
import shutil
from pathlib import Path

import pytest
from run_tree import edit, write_json
from test_tuning_shown import SETTINGS, summary

from babylm_data.errors import UserError
from eval.finetune.training import curve, read_training
from eval.report.page import page, speed
from eval.runs.commands import commands
from eval.runs.evaluations import read_evaluated
from eval.runs.lineup import read_lineup
from eval.runs.tunings import Tunings
from eval.scorer.model import model_sha256

RANDOM = "nursery from random weights"
EPOCHS = [
    {"epoch": 1, "loss": 0.7, "validation_loss": 0.6, "accuracy": 0.6},
    {"epoch": 2, "loss": 0.5, "validation_loss": 0.4, "accuracy": 0.7},
]
TOLD = {
    "created": "2030-01-04T10:00:00Z", "command": "python -m eval.finetune", "epochs": EPOCHS, "device": "cpu",
    "parameters": 1_234_567, "seconds": 30.0, "training_seconds": 8.0, "validation_seconds": 2.0, "steps": 4,
    "settings": {"batch_size": 32, "epochs": 2}, "sequences": {"train": 80},
    "examples": {"train": 40, "valid": 101},
}  # fmt: skip
OLD = ("created", "command", "parameters", "seconds", "device", "steps", "settings", "sequences", "examples")


def tuned(
    run: Path, told: dict = TOLD, *, random_weights: bool = False, task: str = "sst2", **changes: object
):
    """Write the fine-tuning of a run on one task with seeds 1 and 2, as the program does."""
    folder = run / ("finetune-random" if random_weights else "finetune")
    header = {"model_sha256": model_sha256(run / "export"), "random_weights": random_weights}
    by_seed = {"1": {"accuracy": 0.6, "f1": 0.6}, "2": {"accuracy": 0.7, "f1": 0.6}}
    task_summary = summary(**{"by_seed": by_seed, "spread": 0.07, "data": {"dev.tsv": "0"}} | changes)
    write_json(folder / "finetune.json", header | {"tasks": {task: task_summary}})
    for seed in by_seed:
        made = told | {"command": f"{TOLD['command']} {run.name}{' --random-weights' * random_weights}"}
        write_json(folder / task / f"seed-{seed}/result.json", made)


@pytest.fixture
def student(runs_template: Path, tmp_path: Path) -> Path:
    """A student that was fine-tuned, as were its control and, from random weights, its shape."""
    student = shutil.copytree(runs_template, tmp_path / "runs") / "nursery"
    for run in (student, student.parent / "nursery-control"):
        tuned(run)
    tuned(student, random_weights=True)
    return student


def beside(student: Path) -> Tunings:
    return read_evaluated(read_lineup(student)).tunings


def section(student: Path) -> str:
    """The part of the page about fine-tuning."""
    return page(read_lineup(student)).split("<h2>Fine-tuning</h2>")[1].split("</section>")[0]


def test_models_stand_in_the_order_of_the_lineup_with_the_random_weights_last(student):
    tuned(student.parent / "nursery-gpt2")
    found = beside(student)
    names = ["nursery-gpt2", "nursery", "nursery-control", RANDOM]
    assert [model.name for model in found.models] == names and not found.left_out
    assert [model.name for model, _ in found.by_task["sst2"]] == names


def test_who_was_not_fine_tuned_is_not_there_and_without_the_student_nobody_is(student):
    assert [model.name for model in beside(student).models] == ["nursery", "nursery-control", RANDOM]
    shutil.rmtree(student / "finetune")
    assert beside(student) == Tunings()
    assert "<h2>Fine-tuning</h2>" not in page(read_lineup(student))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data": {"dev.tsv": "1"}}, "SST-2: other files than the student's"),
        ({"settings": SETTINGS | {"lr": 1e-3}}, "SST-2: learning rate 0.001, of the student 3e-05"),
        ({"settings": SETTINGS | {"limit": 9}}, "SST-2: first examples only 9, of the student none"),
        ({"settings": SETTINGS | {"pool": "mean"}}, "SST-2: pool mean, of the student none"),
        (
            {"settings": SETTINGS | {"max_length": 64}, "truncated": ["sst2: 3 were cut"]},
            "SST-2: tokens at most 64, of the student 512",
        ),
    ],
)
def test_what_was_fine_tuned_otherwise_than_the_student_is_left_out_and_a_line_says_why(
    student, changes, why
):
    tuned(student.parent / "nursery-control", **changes)
    found = beside(student)
    assert [model.name for model in found.models] == ["nursery", RANDOM]
    assert found.left_out == [f"nursery-control, {why}"]
    shown = section(student)
    assert f"Not shown: nursery-control, {why.replace(chr(39), '&#39;')}." in shown
    assert shown.count("nursery-control") == 1


def test_fewer_positions_that_cut_no_text_are_no_other_setting_but_for_windows(student):
    control = student.parent / "nursery-control"
    tuned(control, settings=SETTINGS | {"max_length": 64})
    assert not beside(student).left_out
    for run, length in ((student, 384), (control, 64)):
        tuned(run, task="squad", settings=SETTINGS | {"max_length": length, "stride": 32})
    assert beside(student).left_out == ["nursery-control, SQuAD v1.1: tokens at most 64, of the student 384"]


def test_an_encoder_may_be_read_at_another_token_than_a_causal_model_and_the_page_says_so(student):
    teacher = student.parent / "nursery-gpt2"
    tuned(student, settings=SETTINGS | {"pool": "last"})
    for other in (teacher, student.parent / "nursery-control"):
        tuned(other, settings=SETTINGS | {"pool": "first"})
    edit(teacher / "summary.json", reads="masked")
    found = beside(student)
    assert [model.name for model in found.models] == ["nursery-gpt2", "nursery"]
    assert found.readings == "first (nursery-gpt2); last (nursery)"
    assert f"Token that is read: {found.readings}." in section(student)


@pytest.mark.parametrize(
    ("place", "content", "why"),
    [
        ("nursery-control/finetune/finetune.json", {"model_sha256": "0"}, "is of another model than export/"),
        ("nursery-control/finetune/finetune.json", {"random_weights": True}, "is of random weights, not of export/"),
        ("nursery/finetune-random/finetune.json", {"random_weights": False}, "is of export/, not of random weights"),
        ("nursery-control/finetune/sst2/seed-1/result.json", {"epochs": 3}, "something else than the kit wrote"),
        ("nursery-control/finetune/sst2/seed-1/result.json", {"parameters": "x"}, "something else than the kit"),
    ],
)  # fmt: skip
def test_results_of_other_weights_or_damaged_ones_are_left_out_and_a_line_says_why(
    student, place, content, why
):
    edit(student.parent / place, **content)
    found = beside(student)
    assert len(found.models) == 2 and len(found.left_out) == 1 and why in found.left_out[0]
    assert "Not shown: " in section(student)


def test_a_damaged_result_of_the_student_itself_is_refused(student):
    edit(student / "finetune/sst2/seed-2/result.json", epochs=[{"epoch": "one"}])
    with pytest.raises(
        UserError, match=r"seed-2/result.json holds something else .*: delete it and fine-tune"
    ):
        beside(student)


def test_a_row_tells_score_spread_parameters_time_and_speeds(student):
    row = re.search(r"<tr class=\"control\">.*?</tr>", section(student), re.DOTALL)[0]
    cells = [
        re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
    ]
    # 4 steps of 32 sequences, two of them an example, in 8 seconds; 2 x 101 examples in 2
    told = ["○nursery-control", "control", "65.00 ± 4.74", "7.00", "2", "1,234,567", "30 s", "8", "101"]
    assert cells == told
    assert "on cpu" in section(student)


def test_fewer_sequences_than_a_batch_are_counted_once_an_epoch(student):
    path = student / "finetune/sst2/seed-1/result.json"
    edit(path, settings={"batch_size": 500, "epochs": 2}, steps=2)
    assert read_training(path, "mend it").trained_a_second == 2 * 40 / 8


def test_what_ran_on_different_machines_is_told_apart(student):
    tuned(student.parent / "nursery-control", TOLD | {"device": "NVIDIA H200"})
    assert beside(student).devices == f"cpu (nursery, {RANDOM}); NVIDIA H200 (nursery-control)"


def test_what_was_cut_is_told_once_and_of_whom_unless_of_all(student):
    control, cut = (
        student.parent / "nursery-control",
        ["sst2: 3 inputs are longer than 512 tokens and were cut"],
    )
    tuned(control, truncated=cut)
    line = "SST-2: 3 inputs are longer than 512 tokens and were cut"
    assert beside(student).cut == [f"{line} (nursery-control)"] and f"{line} (nursery-control)." in section(
        student
    )
    tuned(student, truncated=cut)
    tuned(student, truncated=cut, random_weights=True)
    assert beside(student).cut == [line]


def test_results_of_an_older_version_have_a_row_but_neither_curve_nor_speed(student):
    old = {key: TOLD[key] for key in OLD}
    for run in (student, student.parent / "nursery-control"):
        tuned(run, old)
    shutil.rmtree(student / "finetune-random")
    shown = section(student)
    assert "65.00" in shown and "1,234,567" in shown and "30 s" in shown and "<svg" not in shown
    assert shown.count("<td>–</td><td>–</td></tr>") == 2
    bare = {key: TOLD[key] for key in ("created", "command")}
    tuned(student, bare)
    assert "65.00" in section(student)


def test_the_picture_has_a_frame_for_each_number_that_is_known_of_two_epochs(student):
    shown = section(student)
    assert len(re.findall("<svg", shown)) == 1
    labels = ("training loss, nats", "validation loss, nats", "validation accuracy, %")
    assert all(label in shown for label in labels)
    assert "var(--student)" in shown and "var(--control)" in shown and "×" in shown
    short = [{key: entry[key] for key in ("epoch", "loss")} for entry in EPOCHS]
    short[1]["accuracy"] = 0.7  # an older SQuAD was judged after its last epoch alone
    tuned(student, TOLD | {"epochs": short})
    tuned(student.parent / "nursery-control", TOLD | {"epochs": short})
    shutil.rmtree(student / "finetune-random")
    shown = section(student)
    assert [label in shown for label in labels] == [True, False, False]


def test_one_model_of_an_older_version_leaves_the_curves_of_the_others(student):
    both = section(student)
    tuned(student.parent / "nursery-control", {key: TOLD[key] for key in OLD})
    shown = section(student)
    assert "validation loss, nats" in shown and "nursery-control" in shown
    assert shown.count("<path") < both.count("<path")


def test_several_seeds_have_a_band_and_one_has_none(student):
    for run in (student, student.parent / "nursery-control"):
        tuned(run, by_seed={"1": {"accuracy": 0.6, "f1": 0.6}})
    shutil.rmtree(student / "finetune-random")
    assert "opacity" not in section(student)
    tuned(student)
    assert section(student).count("fill-opacity: 0.14") == 3


def test_a_curve_is_the_mean_over_seeds_and_has_no_point_that_a_seed_lacks(student):
    path = student / "finetune/sst2/seed-1/result.json"
    one = read_training(path, "mend it")
    edit(path, epochs=[EPOCHS[0] | {"loss": 0.9}, {"epoch": 2, "accuracy": 0.1}])
    other = read_training(path, "mend it")
    found = curve([one, other], "loss")
    assert (found.epochs, found.mean) == ([1], [pytest.approx(0.8)])
    assert found.spread == [pytest.approx(0.02**0.5)]
    assert curve([one], "loss").spread == [None, None] and curve([one], "mcc").epochs == []


def test_the_calls_of_every_model_that_is_shown_are_listed(student):
    tuned(student.parent / "nursery-control", settings=SETTINGS | {"lr": 1e-3})
    lineup = read_lineup(student)
    calls = [line for line in commands(lineup, read_evaluated(lineup)) if "fine-tune" in line.purpose]
    assert [(line.purpose, line.text) for line in calls] == [
        ("fine-tune nursery", "python -m eval.finetune nursery"),
        (f"fine-tune {RANDOM}", "python -m eval.finetune nursery --random-weights"),
    ]


def test_squad_has_a_column_for_its_exact_match(student):
    assert "exact<br>match" not in section(student)
    by_seed = {"1": {"exact_match": 0.125, "f1": 0.25}, "2": {"exact_match": 0.125, "f1": 0.25}}
    squad = {"by_seed": by_seed, "mean": {"exact_match": 0.125, "f1": 0.25}, "majority": None}
    tuned(student, task="squad", metric="f1", **squad)
    shown = section(student)
    assert "exact<br>match" in shown and "<td>12.50</td>" in shown and "<td>25.00</td>" in shown


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0341, "0.034"), (7.24, "7.2"), (1250.4, "1,250")]
)
def test_a_speed_has_two_digits_or_all_before_the_point(value, text):
    assert speed(value) == text
