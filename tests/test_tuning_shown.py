"""Fine-tuning as card and report show it: standard errors without predictions, settings, what is refused."""

import math

import numpy as np
import pytest
from run_tree import write_json
from sklearn.metrics import accuracy_score, f1_score

from babylm_data.errors import UserError
from eval.finetune.overview import Tuning, read_tuning, row
from eval.finetune.standard_errors import mean_standard_error, standard_error
from eval.scorer.model import model_sha256

SETTINGS = {"lr": 3e-05, "epochs": 10, "batch_size": 32, "max_length": 512, "stride": None}


def summary(metric: str = "accuracy", by_seed: dict | None = None, **changes: object) -> dict:
    """A task's summary as finetune.json has it."""
    by_seed = by_seed or {"42": {"accuracy": 0.75, "f1": 0.8}}
    scores = [seed[metric] for seed in by_seed.values()]
    return {
        "metric": metric, "score": sum(scores) / len(scores), "spread": None, "n": len(scores), "notes": [],
        "settings": SETTINGS, "submitted": 42, "predictions_sha256": "0", "mean": {}, "by_seed": by_seed,
        "majority": {metric: 0.5}, "truncated": [], "examples": {"train": 9, "valid": 101},
    } | changes  # fmt: skip


@pytest.mark.parametrize(("positive", "right"), [(0.7, 0.75), (0.2, 0.9), (0.5, 0.6)])
@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_the_standard_error_is_that_of_a_bootstrap_over_the_examples(metric, positive, right):
    rng, examples, draws = np.random.default_rng(0), 600, 4_000
    gold = rng.random(examples) < positive
    predicted = np.where(rng.random(examples) < right, gold, ~gold)
    scored = {
        "accuracy": float(accuracy_score(gold, predicted)),
        "f1": float(f1_score(gold, predicted)),
    }
    rows = rng.integers(examples, size=(draws, examples))
    hits, wrong = (gold & predicted)[rows].sum(axis=1), (gold != predicted)[rows].sum(axis=1)
    drawn = 1 - wrong / examples if metric == "accuracy" else 2 * hits / (2 * hits + wrong)
    found = standard_error(metric, scored[metric], accuracy=scored["accuracy"], examples=examples)
    assert found == pytest.approx(drawn.std(), rel=0.05)


def test_a_perfect_f1_has_no_width_and_an_empty_one_one_example_or_another_metric_no_error():
    assert standard_error("f1", 1.0, accuracy=1.0, examples=50) == 0.0
    assert standard_error("f1", 0.0, accuracy=0.4, examples=50) is None
    assert standard_error("f1", 0.0, accuracy=1.0, examples=50) is None  # no positive, and none predicted
    assert standard_error("accuracy", 0.5, accuracy=0.5, examples=1) is None
    assert standard_error("mcc", 0.5, accuracy=0.5, examples=50) is None


def test_seeds_that_answer_alike_are_no_more_certain_than_one():
    seed = {"accuracy": 0.75, "f1": 0.8}
    one = mean_standard_error("accuracy", [seed], 101)
    assert one == pytest.approx(math.sqrt(0.75 * 0.25 / 100))
    assert mean_standard_error("accuracy", [seed] * 3, 101) == pytest.approx(one)
    assert mean_standard_error("accuracy", [seed, {"exact_match": 0.3}], 101) is None


@pytest.mark.parametrize(
    ("task", "metric", "known"),
    [("mrpc", "f1", True), ("mnli", "f1", False), ("squad", "f1", False), ("cola", "mcc", False)],
)
def test_only_a_share_of_the_examples_has_a_standard_error(task, metric, known):
    found = row(task, summary(metric, {"42": {"accuracy": 0.75, "f1": 0.8, "mcc": 0.4}}))
    assert (found.standard_error is not None) is known


def test_tasks_with_the_same_settings_and_seeds_share_a_line_that_names_them():
    two = {"1": {"accuracy": 0.5}, "2": {"accuracy": 0.7}}
    tuning = Tuning({"rte": summary(), "mrpc": summary("f1"), "squad": summary(by_seed=two)})
    shared = "learning rate 3e-05, epochs 10, batch size 32, tokens at most 512"
    assert tuning.settings == [f"RTE, MRPC: {shared}, seed 42", f"SQuAD v1.1: {shared}, seeds 1, 2"]


def test_what_keeps_a_score_from_being_one_of_the_task_says_of_which():
    synthetic = summary(notes=["rows are stand-ins"], synthetic=True, truncated=["boolq: 9 were cut"])
    tuning = Tuning({"boolq": synthetic, "rte": summary(notes=["only the first 9"])})
    assert tuning.caveats == [("BoolQ: rows are stand-ins", "official"), ("RTE: only the first 9", "whole")]
    assert tuning.cut == ["BoolQ: 9 were cut"]


def written(run, calls: dict[int, tuple[str, str]], **header: object):
    """A run with RTE fine-tuned by these calls, one a seed."""
    (run / "export").mkdir(parents=True)
    (run / "export" / "config.json").write_text("{}", encoding="utf-8")
    by_seed = {str(seed): {"accuracy": 0.75, "f1": 0.8} for seed in calls}
    content = {"model_sha256": model_sha256(run / "export"), "random_weights": False} | header
    write_json(run / "finetune/finetune.json", content | {"tasks": {"rte": summary(by_seed=by_seed)}})
    for seed, (created, command) in calls.items():
        result = {"created": created, "command": command}
        write_json(run / f"finetune/rte/seed-{seed}/result.json", result)
    return run


def test_each_call_of_the_fine_tuning_is_told_once_in_order(tmp_path):
    run = written(tmp_path, {1: ("T2", "second"), 2: ("T1", "first"), 3: ("T2", "second")})
    assert read_tuning(run).calls == [("T1", "first"), ("T2", "second")]


def test_fine_tuning_of_other_weights_or_without_its_results_is_refused(tmp_path):
    assert read_tuning(tmp_path).results == {}
    with pytest.raises(UserError, match=r"a/finetune/finetune.json is of another model than export/"):
        read_tuning(written(tmp_path / "a", {}, model_sha256="0"))
    run = written(tmp_path / "b", {7: ("T1", "first")})
    (run / "finetune/rte/seed-7/result.json").unlink()
    with pytest.raises(UserError, match="rte/seed-7/result.json is missing: delete it and fine-tune again"):
        read_tuning(run)
