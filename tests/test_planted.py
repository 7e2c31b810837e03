"""Scorers whose result is known: one that knows nothing, one that knows all, one that is always wrong."""

import math
from pathlib import Path

import pytest
from choice_rows import ROWS, write_task

from babylm_data.errors import UserError
from eval.scorer.items import Choice, Item
from eval.tasks import TASKS
from eval.tasks.choices import Choices
from eval.tasks.questions import Questions

CHOICES = [name for name in ROWS if not name.startswith("wug")]
WUG = [name for name in ROWS if name.startswith("wug")]


def questions(folder: Path, task: str) -> Questions:
    return TASKS[task].load(write_task(folder, task))


def planted(found: Questions, right: float, wrong: float) -> list[list[float]]:
    """Log-probabilities, nats: `right` for each answer and `wrong` for all else; equal texts have one."""
    return [
        [right if choice == item.choices[item.gold] else wrong for choice in item.choices]
        for item in found.items
    ]


@pytest.mark.parametrize("task", CHOICES)
def test_a_constant_scorer_gets_what_guessing_is_worth(tmp_path, task):
    found = questions(tmp_path, task)
    result = found.summarise(planted(found, -7.0, -7.0))
    guess = 1 / len(found.items[0].choices)
    assert result["score"] == pytest.approx(guess) == pytest.approx(result["chance"])
    assert result["ties"] == result["items"] == len(found.items)
    first = sum(item.gold == 0 for item in found.items) / len(found.items)
    assert result["official_score"] == pytest.approx(first) == (guess if "piqa" in task else 1)


@pytest.mark.parametrize("task", CHOICES)
def test_an_oracle_gets_everything_and_its_reverse_nothing(tmp_path, task):
    found = questions(tmp_path, task)
    oracle = found.summarise(planted(found, -1.0, -2.0))
    assert (oracle["score"], oracle["official_score"], oracle["ties"]) == (1.0, 1.0, 0)
    assert oracle["identical"] == []
    assert all(cell["score"] == 1 for cell in oracle["by_subtask"].values())
    reverse = found.summarise(planted(found, -2.0, -1.0))
    assert (reverse["score"], reverse["official_score"]) == (0.0, 0.0)


def test_pairs_of_one_text_are_beyond_an_oracle_and_are_listed():
    same = Item("island_1", "island", (Choice("", "a"), Choice("", "a")))
    found = Choices([Item("island_0", "island", (Choice("", "a"), Choice("", "b"))), same])
    for right, wrong, score in ((-1.0, -2.0, 0.75), (-2.0, -1.0, 0.25)):
        result = found.summarise(planted(found, right, wrong))
        assert (result["score"], result["identical"]) == (score, ["island_1"])


@pytest.mark.parametrize("task", ROWS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_refuse_every_task(tmp_path, task, value):
    found = questions(tmp_path, task)
    scores = planted(found, -1.0, -2.0)
    scores[1][0] = value
    with pytest.raises(UserError, match=f"1 of {len(found.items)} items have non-finite scores"):
        found.summarise(scores)


@pytest.mark.parametrize("task", WUG)
def test_the_order_of_people_is_a_correlation_of_one_and_its_reverse_of_minus_one(tmp_path, task):
    found = questions(tmp_path, task)
    like_people = [[math.log(ratio + 0.1), *[-2.0] * (len(item.choices) - 1)]
                   for item, ratio in zip(found.items, found.ratios.values(), strict=True)]  # fmt: skip
    assert found.summarise(like_people)["score"] == pytest.approx(1)
    unlike = [[-row[0], *row[1:]] for row in like_people]
    assert found.summarise(unlike)["score"] == pytest.approx(-1)
    constant = found.summarise([[-3.0] * len(item.choices) for item in found.items])
    assert (constant["score"], constant["standard_error"], constant["ties"]) == (0.0, None, 5)


@pytest.mark.parametrize("task", ROWS)
def test_the_contract_of_a_result_is_the_same_for_every_task(tmp_path, task):
    found = questions(tmp_path, task)
    scores = planted(found, -1.0, -2.0)
    result = found.summarise(scores)
    cell = {"score", "standard_error", "items", "ties"}
    assert {"metric", "chance", "official_score", "by_subtask", "by_phenomenon", *cell} <= set(result)
    for part in ("by_subtask", "by_phenomenon"):
        own = {"phenomenon", "predicted", "weight"}
        assert all(set(values) - own == cell for values in result[part].values())
    assert sum(part["items"] for part in result["by_subtask"].values()) == result["items"]
    if "weight" in next(iter(result["by_subtask"].values())):
        parts = [part["weight"] * part["score"] for part in result["by_subtask"].values()]
        assert math.fsum(parts) == pytest.approx(result["score"])
    columns, told = found.per_item(scores), found.predictions(scores)
    rows = {name: part["items"] for name, part in result["by_subtask"].items()}
    assert set(columns) == set(rows) and set(told) == {item.key for item in found.items}
    assert all(len(values) == rows[name] for name in columns for values in columns[name].values())
    assert [row["id"] for part in told.values() for row in part["predictions"]] == [
        item.uid for key in told for item in found.items if item.key == key
    ]
    assert len(found.first(1).items) == len(rows)
