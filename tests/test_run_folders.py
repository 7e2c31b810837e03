"""Run folders are read whole, or refused with the reason."""

import json
import shutil
from pathlib import Path

import pytest
from run_tree import add_start, edit, read_scores, write_json

from babylm_data.errors import UserError
from babylm_data.files import json_lines
from babylm_data.sealed import sha256
from eval.report.page import page
from eval.runs.lineup import read_lineup
from eval.runs.run_folder import read_summary
from train_teachers.config import Data, Model, Optim, Targets, TrainConfig, dump_config


@pytest.fixture
def student(runs_template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(runs_template, tmp_path / "runs") / "nursery"


def test_a_torn_last_metrics_line_is_left_out(student):
    path = student / "metrics.jsonl"
    whole = json_lines(path, "step")
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"step": 401, "words_se')
    assert json_lines(path, "step") == whole


@pytest.mark.parametrize(
    "line", [b'{"st', b"3", b"[]", b'{"loss": 1}', b'{"step": "2"}', b"[" * 100_000, b"\xff"]
)
def test_a_broken_metrics_line_in_the_middle_is_named(student, line):
    path = student / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(
        UserError, match=r"metrics.jsonl, line 2,? is no.*: repair or delete that line"
    ) as error:
        json_lines(path, "step")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["{a: " * 100_000, "seed: [", "- 1", "seed: ${nowhere"])
def test_a_run_whose_config_is_damaged_is_named(student, content):
    (student / "config.yaml").write_text(content)
    with pytest.raises(UserError, match="config.yaml") as error:
        read_lineup(student)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl"])
def test_a_run_folder_with_a_file_in_another_encoding_is_refused_in_one_line(student, name):
    (student / name).write_text("caf\u00e9", encoding="utf-16")
    with pytest.raises(UserError, match=f"{name}, line 1 is not UTF-8 text"):
        page(read_lineup(student))


def test_a_moved_runs_folder_is_found_beside_the_student(student, tmp_path):
    moved = tmp_path / "elsewhere"
    student.parent.rename(moved)
    assert [run.folder.parent for run in read_lineup(moved / "nursery").runs] == [moved] * 4


def test_a_report_about_a_teacher_is_refused(student):
    with pytest.raises(UserError, match="is a teacher's run"):
        read_lineup(student.parent / "nursery-llama")


def test_scores_on_other_items_are_refused(student):
    found = read_scores(student.parent / "nursery-control")
    found["tasks"]["nursery"]["items"] = 40
    write_json(student.parent / "nursery-control" / "eval" / "scores.json", found)
    with pytest.raises(
        UserError, match="nursery-control was scored on 40 items of nursery, nursery on 550 items"
    ):
        read_lineup(student)


def test_scores_on_other_files_of_as_many_items_are_refused(student):
    found = read_scores(student.parent / "nursery-control")
    found["tasks"]["nursery"]["measured_on"] = "0" * 64
    write_json(student.parent / "nursery-control" / "eval" / "scores.json", found)
    with pytest.raises(UserError, match="scored on other files of nursery than nursery"):
        read_lineup(student)


@pytest.mark.parametrize(
    ("file", "change", "complaint"),
    [
        ("summary.json", {"kind": "teacher"}, "is a teacher's run, no control"),
        ("summary.json", {"words_seen": 1_000}, "its words_seen is 1,000, not 1,200,000"),
        ("summary.json", {"parameters": 7}, "its parameters is 7"),
        ("summary.json", {"seed": 1}, "its seed is 1, not 0"),
        ("summary.json", {"compiled": True}, "its compiled is True, not False"),
        ("inputs.json", {"precision": "bf16"}, "its precision is bf16, not fp32"),
        ("inputs.json", {"muon": "bf16"}, "its muon is bf16, not fp32"),
        ("inputs.json", {"precision": None}, "its precision is not recorded, not fp32"),
        ("environment.json", {"device": "NVIDIA H100"}, "its device is GPU, not CPU"),
    ],
)
def test_a_control_that_is_none_is_refused(student, file, change, complaint):
    edit(student.parent / "nursery-control" / file, **change)
    with pytest.raises(UserError, match=complaint):
        read_lineup(student)


@pytest.mark.parametrize(
    ("name", "nothing", "other", "said"),
    [
        ("label_smoothing", "0.0", "0.1", "was trained with another label smoothing than nursery"),
        ("z_loss", "None", "weight=0.0001", "was trained with another z-loss than nursery"),
    ],
)
def test_a_control_that_was_smoothed_otherwise_is_refused_and_one_of_an_older_version_is_not(
    student, name, nothing, other, said
):
    """Older versions said nothing where there was none."""
    control = student.parent / "nursery-control"
    edit(student / "inputs.json", **{name: nothing})
    assert read_lineup(student).control.name == "nursery-control"
    edit(control / "inputs.json", **{name: other})
    with pytest.raises(UserError, match=said):
        read_lineup(student)


def test_a_control_of_another_config_is_refused(student):
    config = student.parent / "nursery-control" / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("layers: 6", "layers: 7"), encoding="utf-8")
    with pytest.raises(
        UserError, match="no control of nursery, model in their configs differs: .* --control`"
    ):
        read_lineup(student)


def test_a_control_that_went_on_on_another_kind_of_device_is_refused(student):
    add_start(student.parent / "nursery-control", device="NVIDIA H100")
    with pytest.raises(UserError, match="its device is CPU and GPU, not CPU"):
        read_lineup(student)


def test_a_control_of_a_newer_version_has_a_word_for_targets_that_the_student_has_not(student):
    config = TrainConfig(
        model=Model(family="llama", hidden_size=8, num_hidden_layers=1, num_attention_heads=1),
        data=Data(path="x", seq_len=8, words=8),
        optim=Optim(lr=0.1),
        batch_size=8,
    )
    path = student.parent / "nursery-control" / "config.yaml"
    for targets, fine in ((config.targets, True), (Targets(kind="masked"), False)):
        said = dump_config(config.model_copy(update={"targets": targets}))
        part = said[said.index("targets:") : said.index("optim:")]
        before = path.read_text(encoding="utf-8")
        path.write_text(before + part, encoding="utf-8")
        if fine:
            assert read_lineup(student).control.name == "nursery-control"
        else:
            with pytest.raises(UserError, match="targets in their configs differs"):
                read_lineup(student)
        path.write_text(before, encoding="utf-8")


@pytest.mark.parametrize(
    ("word", "differs"),
    [("newer: false", None), ("newer: null", None), ("newer: true", "model"), ("newer: 0.5", "model")],
)
def test_a_field_that_an_older_control_had_no_word_for_differs_where_it_says_something(
    student, word, differs
):
    path = student / "config.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("  layers: 6", f"  layers: 6\n  {word}"), encoding="utf-8")
    if differs is None:
        assert read_lineup(student).control.name == "nursery-control"
    else:
        with pytest.raises(UserError, match=f"no control of nursery, {differs} in their configs differs"):
            read_lineup(student)


def test_a_control_may_be_done_in_another_way(student):
    path = student.parent / "nursery-control" / "config.yaml"
    ways = "micro_batch_size: 2\nlog_every: 50\ncheckpoint_seconds: 9.0\nwandb:\n  project: mine\n"
    path.write_text(path.read_text(encoding="utf-8") + ways, encoding="utf-8")
    assert read_lineup(student).control.name == "nursery-control"


def test_a_control_may_write_other_revisions_for_they_change_no_weight(student):
    ways = {student: "revisions: true\nwords_scale: 0.1\n"}
    ways[student.parent / "nursery-control"] = "revisions: false\nwords_scale: 1.0\n"
    for run, way in ways.items():
        path = run / "config.yaml"
        path.write_text(path.read_text(encoding="utf-8") + way, encoding="utf-8")
    assert read_lineup(student).control.name == "nursery-control"


def test_an_older_control_that_does_not_say_what_is_only_how_must_agree_in_all(student):
    control = student.parent / "nursery-control"
    summary = read_summary(control)
    del summary["operational"]
    write_json(control / "summary.json", summary)
    assert read_lineup(student).control.name == "nursery-control"
    path = control / "config.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "log_every: 50\n", encoding="utf-8")
    with pytest.raises(UserError, match="no control of nursery, log_every in their configs differs"):
        read_lineup(student)


def test_a_start_that_lacks_a_field_is_one_line(student):
    edit(student / "environment.json", starts=[{"started": "2030"}])
    with pytest.raises(UserError, match="a start in .*environment.json lacks command, commit, device"):
        read_lineup(student)


def test_a_missing_control_is_named_with_the_command_that_trains_it(student):
    (student.parent / "nursery-control").rename(student.parent / "away")
    with pytest.raises(UserError, match="`python -m distill distill/configs/nursery.yaml --control`"):
        read_lineup(student)


def test_a_teacher_that_was_trained_again_since_is_refused(student):
    edit(student / "inputs.json", **{"teacher gpt2": "0" * 64})
    with pytest.raises(
        UserError, match="nursery-gpt2/export is not the teacher gpt2 that nursery was made from"
    ):
        read_lineup(student)


def test_a_teacher_from_elsewhere_is_refused_as_uncounted(student):
    teachers = [{"name": "big", "path": "hub/big"}]
    edit(student / "summary.json", teachers=teachers)
    with pytest.raises(UserError, match="is no run of this kit"):
        read_lineup(student)


def test_a_teacher_that_is_a_revision_is_refused_for_tables_show_exports(student):
    shutil.copytree(
        student.parent / "nursery-llama/export", student.parent / "nursery-llama/revisions/chck_1M"
    )
    first = json.loads((student / "summary.json").read_text(encoding="utf-8"))["teachers"][0]
    place = student.parent / "nursery-llama/revisions/chck_1M"
    edit(student / "summary.json", teachers=[first | {"path": str(place)}])
    with pytest.raises(UserError, match="is .*revisions/chck_1M, and every table would have the final"):
        read_lineup(student)


def begin(run, path, digest):
    """Let a run have begun with the weights of `path`."""
    config = run / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8") + f"init:\n  path: {path}\n", encoding="utf-8")
    edit(run / "inputs.json", init=digest)


def test_first_weights_from_elsewhere_are_refused_as_uncounted(student):
    begin(student, "hub/pretrained", "0" * 64)
    with pytest.raises(UserError, match="init of nursery .hub/pretrained. is no run of this kit"):
        read_lineup(student)


@pytest.mark.parametrize("path", ["hub/pretrained", "hub/export", "hub/revisions/chck_1M"])
def test_first_weights_that_are_said_to_be_unknown_are_looked_for_nowhere(student, path):
    for run in (student, student.parent / "nursery-control"):
        begin(run, path, "0" * 64)
        edit(run / "summary.json", words_before=None)
    assert read_lineup(student).line == [read_lineup(student).student]


def test_a_control_that_began_from_other_weights_is_refused(student):
    teacher = student.parent / "nursery-llama"
    digest = sha256(teacher / "export" / "model.safetensors")
    for run, found in ((student, digest), (student.parent / "nursery-control", "0" * 64)):
        begin(run, teacher / "export", found)
    with pytest.raises(UserError, match="nursery-control began from other weights than nursery"):
        read_lineup(student)


def test_data_that_was_prepared_again_since_is_refused(student):
    (student.parent / "nursery-data" / "SHA256.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="nursery-data was prepared anew since"):
        read_lineup(student)


def test_a_copied_runs_folder_stands_for_itself(student, tmp_path):
    archive = shutil.copytree(student.parent, tmp_path / "archive")
    assert {run.folder.parent for run in read_lineup(archive / "nursery").runs} == {archive}


def test_two_runs_of_one_name_are_refused(student):
    edit(student.parent / "nursery-gpt2" / "summary.json", name="nursery-llama")
    with pytest.raises(UserError, match="two runs are called nursery-llama"):
        read_lineup(student)


@pytest.mark.parametrize("content", ["[]", "{}", "no json", '{"kind": 3}'])
def test_a_summary_that_is_none_is_one_line(student, content):
    (student / "summary.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="summary.json"):
        read_lineup(student)


def test_a_file_in_place_of_a_run_is_one_line(tmp_path):
    (tmp_path / "Makefile").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="Makefile/summary.json is missing"):
        read_lineup(tmp_path / "Makefile")
