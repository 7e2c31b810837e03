"""What scores are worth: ties, broken models, standard errors, the official form of predictions."""

import math

import pytest

from babylm_data.errors import UserError
from eval.items import Choice, Item, credit, predictions, summarise


def items_of(counts: dict[str, int], gold: int = 0, choices: int = 2) -> list[Item]:
    return [
        Item(
            f"{name}_{n}", name, tuple(Choice("", f"{name} {n} {c}") for c in range(choices)), gold, name[:1]
        )
        for name, count in counts.items()
        for n in range(count)
    ]


def test_a_tie_between_k_choices_is_worth_one_kth():
    assert credit([-1.0, -2.0], 0) == 1 and credit([-2.0, -1.0], 0) == 0
    assert credit([-1.0, -1.0], 0) == 1 / 2 and credit([-1.0, -1.0, -1.0], 2) == 1 / 3
    assert credit([-1.0, -1.0, -2.0], 2) == 0


@pytest.mark.parametrize("gold", [0, 1])
def test_an_oracle_scores_one_and_its_reverse_zero(gold):
    items = items_of({"a": 3, "b": 5}, gold)
    scores = [[-1.0, -2.0] if gold == 0 else [-2.0, -1.0]] * len(items)
    assert summarise(items, scores)["accuracy"] == 1
    assert summarise(items, [row[::-1] for row in scores])["accuracy"] == 0


def test_a_constant_model_gets_half_where_the_official_rule_gives_everything():
    items = items_of({"a": 3, "b": 5})
    result = summarise(items, [[-4.0, -4.0]] * 8)
    assert (result["accuracy"], result["official_accuracy"], result["ties"]) == (0.5, 1.0, 8)


def test_the_score_is_the_plain_mean_of_subtasks_with_its_standard_error():
    items = items_of({"a": 2, "b": 8})
    right, wrong = [-1.0, -2.0], [-2.0, -1.0]
    result = summarise(items, [right, wrong] + [right] * 6 + [wrong] * 2)
    assert result["accuracy"] == (0.5 + 0.75) / 2
    assert result["standard_error"] == pytest.approx(math.sqrt(0.25 / 2 + 0.7 * 0.3 / 8) / 2)
    assert result["by_subtask"]["b"]["accuracy"] == 0.75
    assert result["by_phenomenon"]["a"] == result["by_subtask"]["a"]
    assert (result["items"], result["chance"]) == (10, 0.5)


def test_a_perfect_subtask_is_not_without_error():
    assert summarise(items_of({"a": 4}), [[-1.0, -2.0]] * 4)["standard_error"] == pytest.approx(
        math.sqrt(5 / 36 / 4)
    )


def test_phenomena_are_means_over_their_subtasks():
    items = items_of({"a1": 1, "a2": 4})
    result = summarise(items, [[-1.0, -2.0]] + [[-2.0, -1.0]] * 4)
    assert result["by_phenomenon"]["a"]["accuracy"] == 0.5


def test_chance_counts_the_choices():
    items = items_of({"a": 1, "b": 1}) + items_of({"c": 1}, choices=4)
    scores = [[-1.0] * len(item.choices) for item in items]
    assert summarise(items, scores)["chance"] == pytest.approx((0.5 + 0.5 + 0.25) / 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused_and_counted(value):
    scores = [[-1.0, -2.0], [value, -1.0], [-1.0, value]]
    with pytest.raises(UserError, match="^blimp: 2 of 3 items have non-finite scores"):
        summarise(items_of({"a": 3}), scores, "blimp")


def test_predictions_are_in_the_official_form_and_order():
    items = items_of({"b": 2, "a": 1})
    found = predictions(items, [[-1.0, -2.0], [-2.0, -1.0], [-1.0, -2.0]])
    assert found == {
        "b": {"predictions": [{"id": "b_0", "pred": "b 0 0"}, {"id": "b_1", "pred": "b 1 1"}]},
        "a": {"predictions": [{"id": "a_0", "pred": "a 0 0"}]},
    }


def test_tied_predictions_fall_on_both_sides_and_never_move():
    items = items_of({"a": 1000})
    scores = [[-1.0, -1.0]] * 1000
    found = predictions(items, scores)
    first = sum(row["pred"].endswith(" 0") for row in found["a"]["predictions"])
    assert 420 < first < 580
    assert predictions(items[::-1], scores)["a"]["predictions"][::-1] == found["a"]["predictions"]
