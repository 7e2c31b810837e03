"""What scores are worth: ties, broken models, standard errors, the official form of predictions."""

import math

import pytest

from babylm_data.errors import UserError
from eval.scorer.items import Choice, Item
from eval.scorer.ties import TIE, credit
from eval.tasks.choices import TIE_RULES, Choices


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
    assert Choices(items).summarise(scores)["score"] == 1
    assert Choices(items).summarise([row[::-1] for row in scores])["score"] == 0


def test_a_constant_model_gets_half_where_the_official_rule_gives_everything():
    items = items_of({"a": 3, "b": 5})
    result = Choices(items).summarise([[-4.0, -4.0]] * 8)
    assert (result["score"], result["official_score"], result["ties"]) == (0.5, 1.0, 8)


def test_of_a_tie_the_prediction_counts_and_no_half():
    items = items_of({"a": 400})
    questions, scores = Choices(items), [[-4.0, -4.0]] * 400
    cell = questions.summarise(scores)["by_subtask"]["a"]
    named = [row["pred"].endswith(" 0") for row in questions.predictions(scores)["a"]["predictions"]]
    assert cell["score"] == 0.5
    assert cell["predicted"] == sum(named) / 400 != 0.5


def test_the_score_is_the_plain_mean_of_subtasks_with_its_standard_error():
    items = items_of({"a": 2, "b": 8})
    right, wrong = [-1.0, -2.0], [-2.0, -1.0]
    result = Choices(items).summarise([right, wrong] + [right] * 6 + [wrong] * 2)
    assert result["score"] == (0.5 + 0.75) / 2
    assert result["standard_error"] == pytest.approx(math.sqrt(0.25 / 2 + 0.7 * 0.3 / 8) / 2)
    assert result["by_subtask"]["b"]["score"] == 0.75
    more = {"phenomenon": "a", "predicted": 0.5, "weight": 0.5}
    assert result["by_phenomenon"]["a"] | more == result["by_subtask"]["a"]
    assert (result["items"], result["chance"]) == (10, 0.5)


def test_a_perfect_subtask_is_not_without_error():
    assert Choices(items_of({"a": 4})).summarise([[-1.0, -2.0]] * 4)["standard_error"] == pytest.approx(
        math.sqrt(5 / 36 / 4)
    )


def test_phenomena_are_means_over_their_subtasks():
    items = items_of({"a1": 1, "a2": 4})
    result = Choices(items).summarise([[-1.0, -2.0]] + [[-2.0, -1.0]] * 4)
    assert result["by_phenomenon"]["a"]["score"] == 0.5


def test_chance_counts_the_choices():
    items = items_of({"a": 1, "b": 1}) + items_of({"c": 1}, choices=4)
    scores = [[-1.0] * len(item.choices) for item in items]
    assert Choices(items).summarise(scores)["chance"] == pytest.approx((0.5 + 0.5 + 0.25) / 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused_and_counted(value):
    scores = [[-1.0, -2.0], [value, -1.0], [-1.0, value]]
    with pytest.raises(UserError, match="^the task: 2 of 3 items have non-finite scores"):
        Choices(items_of({"a": 3})).summarise(scores)


def test_scores_a_rounding_apart_are_a_tie_and_the_official_rule_gives_it_to_the_first():
    items = items_of({"a": 400})
    near, far = [[-30.0, -30.0 + TIE / 2]] * 400, [[-30.0, -30.0 + 2 * TIE]] * 400
    shared = Choices(items).summarise(near)
    assert (shared["score"], shared["official_score"], shared["ties"]) == (0.5, 1.0, 400)
    official = Choices(items, tie_rule="official")
    result = official.summarise(near)
    assert (result["score"], result["shared_score"], result["by_subtask"]["a"]["score"]) == (1.0, 0.5, 1.0)
    assert all(row["pred"].endswith(" 0") for row in official.predictions(near)["a"]["predictions"])
    assert official.per_item(near) == {"a": {"credit": [1.0] * 400, "best": ["11"] * 400}}
    assert Choices(items).summarise(far)["score"] == official.summarise(far)["score"] == 0


@pytest.mark.parametrize("rule", TIE_RULES)
def test_what_is_stored_of_the_items_tells_the_same_by_either_rule(rule):
    items = [*items_of({"b": 2, "a": 3}), Item("b_2", "b", tuple(Choice("", word) for word in "xyz"), gold=1)]
    scores = [
        [-1.0, -2.0],
        [-2.0, -2.0],
        [-3.0, -1.0],
        [-1.0, -1.0 - TIE / 2],
        [-1.0, -1.1],
        [-5.0, -4.0, -4.0],
    ]
    told = Choices(items, tie_rule=rule)
    for stored in (Choices(items, tie_rule=other).per_item(scores) for other in TIE_RULES):
        again = told.recall(stored)
        assert told.summarise(again) == told.summarise(scores)
        assert told.predictions(again) == told.predictions(scores)
        assert told.per_item(again) == told.per_item(scores)


def test_items_whose_answer_stands_twice_are_listed_and_no_oracle_gets_them():
    double = Item("a_3", "a", (Choice("", "x"), Choice("", "x")))
    other = Item("a_4", "a", (Choice("", "x"), Choice("", "y"), Choice("", "y")))
    items = [*items_of({"a": 3}), double, other]
    scores = [[-1.0, -2.0]] * 3 + [[-1.0, -1.0], [-1.0, -2.0, -2.0]]
    result = Choices(items).summarise(scores)
    assert result["identical"] == ["a_3"] and result["score"] == 4.5 / 5


def test_the_error_of_drawing_subtasks_is_their_spread():
    items = items_of({"a": 4, "b": 4, "c": 4})
    right, wrong = [-1.0, -2.0], [-2.0, -1.0]
    result = Choices(items).summarise([right] * 4 + [right] * 2 + [wrong] * 2 + [wrong] * 4)
    assert result["standard_error_clusters"] == pytest.approx(0.5 / math.sqrt(3))
    assert Choices(items[:4]).summarise([right] * 4)["standard_error_clusters"] is None


def test_a_mean_over_phenomena_weighs_them_alike_however_many_subtasks_they_have():
    items = items_of({"a1": 1, "a2": 1, "a3": 1, "b1": 1})
    right, wrong = [-1.0, -2.0], [-2.0, -1.0]
    found = Choices(items, mean_over="phenomena").summarise([right, right, wrong, wrong])
    assert found["score"] == found["official_score"] == pytest.approx(1 / 3)
    errors = [found["by_phenomenon"][name]["standard_error"] for name in "ab"]
    assert found["standard_error"] == pytest.approx(math.hypot(*errors) / 2)


def test_the_first_items_of_each_subtask_are_kept_in_order():
    found = Choices(items_of({"a": 3, "b": 1}), tie_rule="official").first(2)
    assert [item.uid for item in found.items] == ["a_0", "a_1", "b_0"] and found.tie_rule == "official"
    assert len(found.first(None).items) == 3


def test_predictions_are_in_the_official_form_and_order():
    items = items_of({"b": 2, "a": 1})
    found = Choices(items).predictions([[-1.0, -2.0], [-2.0, -1.0], [-1.0, -2.0]])
    assert found == {
        "b": {"predictions": [{"id": "b_0", "pred": "b 0 0"}, {"id": "b_1", "pred": "b 1 1"}]},
        "a": {"predictions": [{"id": "a_0", "pred": "a 0 0"}]},
    }


def test_tied_predictions_fall_on_both_sides_and_never_move():
    items = items_of({"a": 1000})
    scores = [[-1.0, -1.0]] * 1000
    found = Choices(items).predictions(scores)
    first = sum(row["pred"].endswith(" 0") for row in found["a"]["predictions"])
    assert 420 < first < 580
    assert Choices(items[::-1]).predictions(scores)["a"]["predictions"][::-1] == found["a"]["predictions"]
