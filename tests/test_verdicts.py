"""What a difference between student and control allows to be said."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from run_tree import BASE, add_task, edit, read_scores, write_json, write_runs
from test_reading import rows, write

from babylm_data.errors import UserError
from babylm_data.sealed import sha256
from eval.compare.paired import choice_difference, correlation_difference, weights_of
from eval.report.page import page
from eval.runs.lineup import read_lineup
from eval.runs.run_folder import read_run
from eval.runs.verdicts import Difference, differences, verdicts
from eval.submission.card import model_card
from eval.submission.collate import Collected
from eval.tasks.reading import load


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs")


def items_of(run: Path) -> dict:
    return json.loads((run / "eval/nursery/items.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("gain", "claim"), [(0.019, False), (0.021, True), (-0.021, True), (-0.019, False)])
def test_a_difference_inside_two_standard_errors_is_no_claim(student, gain, claim):
    _, told, last = verdicts(read_lineup(student), {"nursery": Difference(gain, 0.01)})
    assert ("No claim of superiority" in told) is not claim
    assert ("above" in told) is (gain > 0)
    assert "Seed noise is not in them" in last


def test_the_first_sentence_tells_what_student_and_control_need_for_the_same_text(student):
    lineup = read_lineup(student)
    (name, mine), (_, theirs) = lineup.student.held_out, lineup.control.held_out
    told = f"needs {mine['bits_per_byte']:.4f} bits a byte, the same model trained without distillation "
    first = verdicts(lineup, {})[0]
    assert first.startswith(f"Held-out text ({name}): ") and f"{told}{theirs['bits_per_byte']:.4f}." in first
    for name in BASE:
        scores = student.parent / name / "eval/scores.json"
        found = json.loads(scores.read_text(encoding="utf-8"))
        del found["tasks"]["perplexity"]
        scores.write_text(json.dumps(found), encoding="utf-8")
    assert len(verdicts(read_lineup(student), {})) == 1


def test_the_error_of_a_difference_is_that_of_the_paired_differences(student):
    lineup = read_lineup(student)
    found = differences(lineup)["nursery"]
    sides = [
        {name: cell["credit"] for name, cell in items_of(run).items()}
        for run in (student, student.parent / "nursery-control")
    ]
    weights = weights_of(lineup.student.tasks["nursery"])
    whole = choice_difference(*sides, weights)
    assert found.value == pytest.approx(whole["difference"])
    assert found.standard_error == whole["standard_error"]
    part = choice_difference(*({"do_support": side["do_support"]} for side in sides), weights)
    assert found.by_subtask["do_support"] == Difference(
        pytest.approx(part["difference"]), part["standard_error"]
    )
    cell = f"± {100 * whole['standard_error']:.2f}"
    assert cell in page(lineup) and cell in model_card(lineup, Collected()).of_bundle


def test_reading_has_a_verdict_with_the_error_of_leaving_out_sentences(student, tmp_path):
    questions = load([write(tmp_path / "reading_data.csv", rows())])
    draw = np.random.default_rng(0)
    for run in BASE:
        told = [[-abs(draw.normal(9, 2)) for _ in item.choices] for item in questions.items]
        add_task(student.parent / run, "reading", questions, told)
    lineup = read_lineup(student)
    found = differences(lineup)["reading"]
    assert found.standard_error > 0 and set(found.by_subtask) == {"rt", "spr"}
    assert found.by_subtask["spr"].standard_error > 0
    cell = f"± {100 * found.standard_error:.2f}"
    assert cell in page(lineup) and cell in model_card(lineup, Collected()).of_bundle


def test_the_same_answers_make_a_difference_of_0_far_surer_than_two_sets_of_items_would(student):
    control = student.parent / "nursery-control"
    scores = read_scores(control)
    scores["tasks"]["nursery"] |= read_scores(student)["tasks"]["nursery"]
    write_json(control / "eval/scores.json", scores)
    (control / "eval/nursery/items.json").write_bytes((student / "eval/nursery/items.json").read_bytes())
    lineup = read_lineup(student)
    found = differences(lineup)["nursery"]
    alone = math.sqrt(2) * lineup.student.tasks["nursery"]["standard_error"]
    assert found.value == 0 and found.standard_error < alone / 5


def test_the_error_of_two_correlations_is_a_bootstrap_of_their_difference(student):
    rng = np.random.default_rng(0)
    people, shares = rng.random(50).tolist(), {}
    cell = {"score": 0.1, "standard_error": 0.2, "items": 50, "ties": 0}
    for run in ("nursery", "nursery-control", "nursery-llama", "nursery-gpt2"):
        shares[run] = rng.random(50).tolist()
        folder, scores = student.parent / run / "eval", read_scores(student.parent / run)
        write_json(folder / "wug_past/items.json", {"wug_past": {"prob": shares[run], "ratio": people}})
        wug = scores["tasks"]["nursery"] | cell | {"metric": "spearman", "by_phenomenon": {}}
        wug |= {"by_subtask": {"wug_past": cell}, "items_sha256": sha256(folder / "wug_past/items.json")}
        edit(folder / "scores.json", tasks=scores["tasks"] | {"wug_past": wug})
    found = differences(read_lineup(student))["wug_past"]
    both = correlation_difference(shares["nursery"], shares["nursery-control"], people)
    assert found.standard_error == found.by_subtask["wug_past"].standard_error == both["standard_error"]


def test_items_that_the_score_does_not_sum_up_are_refused(student):
    (student / "eval/nursery/items.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"items.json is not the file that .*scores.json sums up: score the model"
    ):
        page(read_lineup(student))


def test_a_control_that_is_scored_by_another_backend_is_refused(student):
    for run, backend in ((student, "mntp"), (student.parent / "nursery-control", "causal")):
        scores = read_scores(run)
        scores["tasks"]["nursery"]["backend"] = backend
        write_json(run / "eval/scores.json", scores)
    with pytest.raises(UserError, match="by another --backend of nursery than nursery: score both"):
        read_lineup(student)


def test_scores_of_two_backends_in_one_folder_are_no_submission(student):
    scores = read_scores(student)
    for backend in ("mntp", "causal"):
        scores["tasks"][backend] = scores["tasks"]["nursery"] | {"backend": backend}
    write_json(student / "eval/scores.json", scores)
    with pytest.raises(UserError, match="has scores by causal and by mntp: evaluate all by one --backend"):
        _ = read_run(student, "student").backend


def test_a_control_whose_ties_are_counted_otherwise_is_refused(student):
    control = student.parent / "nursery-control"
    scores = read_scores(control)
    scores["tasks"]["nursery"]["tie_rule"] = "official"
    write_json(control / "eval/scores.json", scores)
    with pytest.raises(UserError, match="score both with the same options"):
        read_lineup(student)
