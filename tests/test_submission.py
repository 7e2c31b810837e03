"""The bundle: complete and sealed, or not there at all."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from run_tree import BASE, PREPARED, edit, read_scores, write_json

from babylm_data.errors import UserError
from babylm_data.sealed import damage
from eval.report.page import page
from eval.runs.lineup import read_lineup
from eval.scorer.model import model_sha256
from eval.submission import bundle as bundle_module
from eval.submission import leaderboard
from eval.submission.__main__ import main
from eval.submission.bundle import build
from eval.submission.collate import Collected
from eval.submission.rules import load_rules


@pytest.fixture
def student(runs_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished student, whose bundle has a report without pictures: drawing them takes a second."""
    monkeypatch.setattr(bundle_module, "page", lambda *_: "report")
    return shutil.copytree(runs_template, tmp_path / "runs") / "nursery"


@pytest.fixture(scope="module")
def bundle(runs_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(shutil.copytree(runs_template, tmp_path_factory.mktemp("bundle") / "runs") / "nursery")


def test_the_bundle_is_complete_and_sealed(bundle):
    assert damage(bundle) is None
    run = bundle.parent
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (bundle / "export" / name).read_bytes() == (run / "export" / name).read_bytes()
    predictions = "nursery/predictions.json"
    assert (bundle / "predictions" / predictions).read_bytes() == (run / "eval" / predictions).read_bytes()
    assert (bundle / "scores.json").read_bytes() == (run / "eval" / "scores.json").read_bytes()
    assert json.loads((bundle / "ledger.json").read_text(encoding="utf-8"))["track"] == "2025/strict-small"
    assert "<h1>nursery</h1>" in (bundle / "report.html").read_text(encoding="utf-8")


def test_the_card_is_in_the_format_of_the_hub(bundle):
    card = ModelCard.load(bundle / "README.md")
    score = json.loads((bundle / "scores.json").read_text(encoding="utf-8"))["tasks"]["nursery"]["score"]
    assert card.data.library_name == "transformers"
    assert card.data.model_name == "nursery"
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.metric_value) == ("nursery", pytest.approx(score, abs=1e-6))


def published(card: str) -> list[str]:
    """The data sets of the results that the card tells machines."""
    return [result.dataset_type for result in ModelCard(card).data.eval_results or []]


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ({}, True),
        ({"synthetic": True}, False),
        ({"settings": {"limit": 9}}, False),
        ({"settings": {"train_limit": 9}}, False),
        ({"examples": {"train": 9, "valid": 138}}, False),
    ],
)
def test_fine_tuning_is_told_to_machines_where_it_was_whole(student, change, whole):
    result = {"metric": "accuracy", "score": 0.625, "spread": None, "n": 1, "notes": [], "settings": {}}
    result |= {"submitted": 42, "predictions_sha256": "0", "examples": {"train": 9, "valid": 139}}
    result |= {"mean": {"accuracy": 0.625}, "by_seed": {}, "majority": None, "truncated": []} | change
    tasks = {"rte": result, "squad": result}
    header = {"model_sha256": model_sha256(student / "export"), "random_weights": False}
    write_json(student / "finetune/finetune.json", header | {"tasks": tasks})
    card = (build(student) / "README.md").read_text(encoding="utf-8")
    assert published(card) == ["nursery", *(["rte"] if whole else [])]
    assert "| RTE | accuracy | 62.50 |" in card


def test_the_card_says_what_the_run_is(bundle):
    text = (bundle / "README.md").read_text(encoding="utf-8")
    assert "synthetic try-out corpus" in text
    assert "Seed noise is not in them" in text
    assert "tokenizer + teachers + student" in text
    for name in ("nursery-llama", "nursery-gpt2", "nursery-control"):
        assert f"| {name} |" in text
    assert "layers: 6" in text  # the hyper-parameters
    assert "0123456789abcdef" in text  # the commit


def test_every_table_of_the_card_has_equally_many_cells_in_its_rows(bundle):
    lines = (bundle / "README.md").read_text(encoding="utf-8").splitlines()
    tables = 0
    for line, following in zip(lines, lines[1:], strict=False):
        if line.startswith("|") and following.startswith("|"):
            assert line.count("|") == following.count("|"), following
            tables += following.startswith("| ---")
    assert tables == 6


def test_the_card_marks_a_task_on_synthetic_stand_ins(student):
    for run in BASE:
        found = read_scores(student.parent / run)
        found["tasks"]["nursery"]["synthetic"] = True
        write_json(student.parent / run / "eval" / "scores.json", found)
    card = (build(student, partial=True) / "README.md").read_text(encoding="utf-8")
    assert "550 items, synthetic stand-ins, not the official data: **not the official task**" in card
    assert published(card) == []


@pytest.mark.parametrize("run", ["nursery-llama", "nursery-control", "nursery"])
def test_a_missing_score_is_named_with_its_command_and_nothing_is_written(student, run):
    (student.parent / run / "eval" / "scores.json").unlink()
    with pytest.raises(
        UserError, match=rf"{run}/eval/scores.json is missing: .*`python -m eval \S+{run}/export "
    ) as error:
        main(["build", str(student)])
    assert "\n" not in str(error.value)
    assert_nothing_written(student)


def test_an_unfinished_teacher_is_named_with_its_own_command(student):
    (student.parent / "nursery-gpt2" / "summary.json").unlink()
    with pytest.raises(
        UserError, match=r"nursery-gpt2.*not finished.*`python -m distill distill/configs/nursery-gpt2"
    ):
        build(student)
    assert_nothing_written(student)


def test_a_teacher_that_lacks_a_task_is_refused(student):
    path = student.parent / "nursery-gpt2" / "eval" / "scores.json"
    scores = json.loads(path.read_text(encoding="utf-8"))
    del scores["tasks"]["perplexity"]
    path.write_text(json.dumps(scores), encoding="utf-8")
    with pytest.raises(
        UserError, match="nursery-gpt2 lacks perplexity.*--tasks nursery perplexity .*--text "
    ):
        build(student)
    assert_nothing_written(student)


def test_scores_of_other_weights_are_refused(student):
    path = student / "eval" / "scores.json"
    scores = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(scores | {"model_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(UserError, match="is of another model than export/"):
        build(student)
    assert_nothing_written(student)


@pytest.mark.parametrize(("random", "what"), [(False, "another model"), (True, "random weights")])
def test_fine_tuning_of_other_weights_is_not_shown_in_the_card(student, random, what):
    (student / "finetune").mkdir()
    path = student / "finetune" / "finetune.json"
    write_json(path, {"model_sha256": "0", "random_weights": random, "tasks": {}})
    with pytest.raises(UserError, match=f"finetune.json is of {what}.*: delete it and fine-tune again"):
        build(student, partial=True)
    assert_nothing_written(student)


def test_a_damaged_export_is_refused(student):
    (student / "export" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="config.json has changed"):
        build(student)
    assert_nothing_written(student)


def test_missing_predictions_are_refused(student):
    (student / "eval" / "nursery" / "predictions.json").unlink()
    with pytest.raises(UserError, match="predictions.json is missing"):
        build(student)
    assert_nothing_written(student)


def test_a_bundle_with_the_leaderboards_file_is_not_replaced_by_one_without(student, monkeypatch):
    monkeypatch.setattr(bundle_module, "gather", lambda *_: PARTS)
    written = build(student, rules=load_rules("2025"), partial=True)
    with pytest.raises(UserError, match="has INCOMPLETE_SYNTHETIC_all_full.* would lose: add --rules"):
        build(student)
    assert list(written.glob("INCOMPLETE_*.json"))


def test_a_second_build_replaces_the_first(student):
    build(student)
    (student / "submission" / "stray").write_text("x", encoding="utf-8")
    build(student)
    assert damage(student / "submission") is None
    assert not (student / "submission" / "stray").exists()


def assert_nothing_written(student: Path) -> None:
    assert not [path.name for path in student.iterdir() if "submission" in path.name]


@pytest.mark.parametrize(
    ("field", "value", "note"),
    [
        ("limit", 10, "only the first 10 of each subtask"),
        ("partial", True, "other rows than the official ones"),
        ("synthetic", True, "synthetic stand-ins, not the official data"),
    ],
)
def test_no_whole_task_is_no_submission_unless_asked_for_and_the_card_says_so(
    student, field, value, note, capsys
):
    for run in BASE:
        found = read_scores(student.parent / run)
        found["tasks"]["nursery"][field] = value
        write_json(student.parent / run / "eval" / "scores.json", found)
    with pytest.raises(
        UserError, match="no submission, for the 1 reasons above: --partial writes what there"
    ):
        build(student)
    assert f"missing: nursery: scored on 550 items, {note}: score it with" in capsys.readouterr().out
    assert_nothing_written(student)
    card = (build(student, partial=True) / "README.md").read_text(encoding="utf-8")
    assert f"{note}: **not the {'official' if field == 'synthetic' else 'whole'} task**" in card
    assert published(card) == []


def test_the_card_lists_every_command_that_of_the_data_first(bundle):
    text = (bundle / "README.md").read_text(encoding="utf-8")
    listed = [line for line in text.split("## Commands")[1].splitlines() if line.startswith("1. ")]
    assert listed[0] == f"1. prepare nursery-data: `{PREPARED}`"
    assert [line.split("`")[1].split()[2] for line in listed[1:]] == ["distill"] * 4 + ["eval"] * 4


def test_predictions_of_another_score_are_refused(student):
    (student / "eval" / "nursery" / "predictions.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="predictions.json does not belong to the score"):
        build(student)
    assert_nothing_written(student)


def test_the_rules_of_2026_ask_the_card_for_a_license(student, monkeypatch):
    monkeypatch.setattr(bundle_module, "gather", lambda *_: Collected({"blimp": {}}))
    monkeypatch.setattr(bundle_module, "write_leaderboard", lambda path, *_, **__: path.write_text("{}"))
    with pytest.raises(UserError, match="no submission, for the [12] reasons above"):
        build(student, rules=load_rules("2026"))
    without = build(student, rules=load_rules("2026"), partial=True)
    name = load_rules("2026").file.format(backend="causal")
    assert [path.name for path in without.glob("INCOMPLETE_*")] == [f"INCOMPLETE_{name}"]
    assert "- model card: the leaderboard asks for a license" in (without / "README.md").read_text()
    written = build(student, rules=load_rules("2026"), partial=True, licensed="mit")
    assert not list(written.glob("INCOMPLETE_*"))
    assert ModelCard.load(written / "README.md").data.license == "mit"


@pytest.mark.parametrize("text", ["gpl3 or so: [x", "MIT License", "", "-x"])
def test_a_license_is_one_word_as_the_hub_has_them(student, text, capsys):
    with pytest.raises(SystemExit):
        main(["build", str(student), f"--license={text}"])
    assert "is no license as the hub calls them" in capsys.readouterr().err


PARTS = Collected({"blimp": {}}, missing=["comps: not scored"], synthetic=["ewok"])


@pytest.mark.parametrize(
    ("collected", "name"),
    [
        (PARTS, "INCOMPLETE_SYNTHETIC_all_full"),
        (Collected({"blimp": {}}, missing=["comps: not scored"]), "INCOMPLETE_all_full"),
    ],
)
def test_a_file_that_lacks_parts_is_written_only_when_asked_for_and_under_a_name_that_says_so(
    student, monkeypatch, capsys, collected, name
):
    monkeypatch.setattr(bundle_module, "gather", lambda *_: collected)
    with pytest.raises(UserError, match="no submission, for the [12] reasons above.* by the rules of 2025"):
        build(student, rules=load_rules("2025"))
    assert "missing: comps: not scored" in capsys.readouterr().out
    assert_nothing_written(student)
    written = build(student, rules=load_rules("2025"), partial=True)
    (file,) = written.glob("*all_full_preds*.json")
    assert file.name == f"{name}_preds_and_fast_scores_causal.json"
    card = (written / "README.md").read_text(encoding="utf-8")
    assert "**Incomplete.** It lacks:" in card and "- comps: not scored" in card
    assert ("stand-ins" in card) is bool(collected.synthetic)
    assert damage(written) is None


def test_a_whole_file_with_a_fault_is_not_written(student, monkeypatch, capsys):
    monkeypatch.setattr(bundle_module, "gather", lambda *_: Collected({"blimp": {}}))
    edit(student / "summary.json", revisions=[{"name": "chck_1M", "words_seen": 10**6}])
    shutil.copytree(student / "export", student / "revisions/chck_1M")
    shutil.copytree(student / "eval", student / "eval_revisions/chck_1M")
    with pytest.raises(UserError, match=r"the leaderboard would not take the file, \d+ faults: see above"):
        build(student, rules=load_rules("2025"))
    assert "fault: " in capsys.readouterr().out
    assert_nothing_written(student)


def test_the_results_tree_of_the_run_is_in_the_bundle_and_one_of_another_time_is_refused(
    student, monkeypatch
):
    monkeypatch.setattr(bundle_module, "gather", lambda *_: Collected(missing=["all"]))
    place = student / "results/nursery/main/zero_shot/causal/blimp/nursery/predictions.json"
    write_json(place, json.loads((student / "eval/nursery/predictions.json").read_text(encoding="utf-8")))
    assert (build(student, rules=load_rules("2025"), partial=True) / place.relative_to(student)).is_file()
    write_json(place, {})
    with pytest.raises(UserError, match="is not what the run's evaluation says: delete it and score it"):
        build(student, rules=load_rules("2025"), partial=True)


@pytest.mark.parametrize(
    ("change", "mark", "said", "in_the_card"),
    [
        (
            {"words_scale": 0.004},
            "TRIAL_",
            "a trial: the revisions stand at 0.004 times",
            "**A trial, no submission: the revisions",
        ),
        (
            {"competition": False},
            "OUTSIDE_",
            "outside the competition: trained with",
            "**Outside the competition: trained with",
        ),
        (
            {"words_seen": 3_300_000},  # 11 passes over 300,000 words
            "OUTSIDE_",
            "outside the competition: passes of the student: 11.0, the track allows 10",
            "**Outside the competition: passes of",
        ),
        (
            {"words_scale": 0.5, "competition": False},
            "TRIAL_OUTSIDE_",
            "a trial: ",
            "**Outside the competition: ",
        ),
    ],
)
def test_a_whole_file_of_a_run_that_is_no_entry_does_not_have_the_official_name(
    student, monkeypatch, capsys, change, mark, said, in_the_card
):
    monkeypatch.setattr(bundle_module, "gather", lambda *_: Collected({"blimp": {}}))
    monkeypatch.setattr(leaderboard, "refuse_faults", lambda *_: None)
    for run in ("nursery", "nursery-control"):
        edit(student.parent / run / "summary.json", **change)
    with pytest.raises(UserError, match="no submission, for the"):
        build(student, rules=load_rules("2025"))
    assert said in capsys.readouterr().out
    assert_nothing_written(student)
    written = build(student, rules=load_rules("2025"), partial=True)
    (file,) = written.glob("*all_full_preds*.json")
    assert file.name == f"{mark}all_full_preds_and_fast_scores_causal.json"
    assert in_the_card in (written / "README.md").read_text(encoding="utf-8")
    assert in_the_card.strip("*") in page(read_lineup(student))


def test_a_whole_file_of_an_entry_has_the_official_name_and_a_card_without_a_caveat(student, monkeypatch):
    monkeypatch.setattr(bundle_module, "gather", lambda *_: Collected({"blimp": {}}))
    monkeypatch.setattr(leaderboard, "refuse_faults", lambda *_: None)
    edit(student / "summary.json", words_scale=1.0, competition=True)
    written = build(student, rules=load_rules("2025"))
    assert (written / "all_full_preds_and_fast_scores_causal.json").is_file()
    card = (written / "README.md").read_text(encoding="utf-8")
    assert "A trial" not in card and "Outside the competition" not in card
