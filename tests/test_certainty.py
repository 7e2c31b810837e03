"""The ladder of precisions: rough where that is enough, exact where it is not, and never wrong about which is which."""

import numpy as np
import pytest
import tiny_models
import torch

from eval.scorer import certainty
from eval.scorer.certainty import choose
from eval.scorer.items import Choice, Item
from eval.scorer.log_probs import Scorer
from eval.scorer.prefix_rows import Encoded


class Planted:
    """A scorer of made-up sums: the exact ones, and under autocast with an error added; it keeps count."""

    def __init__(self, exact: dict[str, float], errors: dict[str, float]) -> None:
        self.model = torch.nn.Linear(1, 1)
        self.model.dtype, self.model.device = torch.float32, torch.device("cpu")
        self.tokenizer, self.backend = None, "causal"
        self.exact, self.errors, self.asked = exact, errors, []

    def encode(self, choices, names=None):
        return [Encoded((choice.text,), ()) for choice in choices]

    def sums(self, sequences, label=""):
        texts = [entry.ids[0] for entry in sequences]
        rough = torch.is_autocast_enabled("cpu")
        self.asked.append((rough, texts))
        return np.array([self.exact[text] + rough * self.errors.get(text, 0.0) for text in texts])


def pairs(count: int) -> list[Item]:
    return [Item(f"x_{n}", "x", (Choice("", f"good {n}"), Choice("", f"bad {n}"))) for n in range(count)]


def planted(margins: np.ndarray, errors: np.ndarray) -> Planted:
    exact = {f"good {n}": -20 + value for n, value in enumerate(margins)}
    exact |= {f"bad {n}": -20.0 for n in range(len(margins))}
    return Planted(exact, {f"good {n}": value for n, value in enumerate(errors)})


@pytest.fixture(autouse=True)
def small_ladder(monkeypatch):
    """Halves pay here, and few items are enough for the whole ladder."""
    monkeypatch.setattr(certainty, "SAMPLE", 50)
    monkeypatch.setattr(certainty, "multiplies_fast", lambda *_: True)
    monkeypatch.setattr(certainty, "in_float64", lambda scorer: scorer)


def choices(scores: list[list[float]]) -> list[int]:
    return [int(np.argmax(row)) for row in scores]


def test_rough_scores_decide_what_they_can_and_no_more():
    rng = np.random.default_rng(0)
    margins, errors = rng.normal(0, 4, 2000), rng.normal(0, 0.05, 2000)
    scorer = planted(margins, errors)
    assert choices(choose(scorer, pairs(2000))) == [int(margin < 0) for margin in margins]
    again = {text for rough, texts in scorer.asked[1:] for text in texts}
    assert 50 <= len(again) / 2 < 400


def test_an_error_beyond_the_sample_is_found_where_it_decides():
    margins, errors = np.full(2000, 8.0), np.zeros(2000)
    errors[0] = 0.03  # in the sample: a bound of 0.045
    margins[1001], errors[1001] = 0.001, 0.04  # rough: 0.041, so computed again: a bound of 0.06
    margins[1501], errors[1501] = 0.05, -0.105  # rough: -0.055, wrong, and reached by the new bound alone
    scorer = planted(margins, errors)
    assert choices(choose(scorer, pairs(2000))) == [0] * 2000


def test_what_float32_cannot_tell_is_asked_in_float64(monkeypatch):
    margins = np.full(200, 8.0)
    margins[[3, 9]] = 5e-4, 2e-3
    exact = planted(margins, np.zeros(200))
    monkeypatch.setattr(certainty, "in_float64", lambda scorer: exact)
    choose(planted(margins, np.zeros(200)), pairs(200))
    assert exact.asked == [(False, ["bad 3", "good 3"])]


def test_equal_choices_are_a_tie_and_cost_nothing_more():
    items = [*pairs(200), Item("same", "x", (Choice("", "good 1"), Choice("", "good 1")))]
    scorer = planted(np.full(200, 8.0), np.zeros(200))
    assert choose(scorer, items)[-1] == [-12.0, -12.0]
    assert len(scorer.asked) == 2  # all roughly, and the sample


def test_a_score_that_is_no_number_is_handed_on():
    margins = np.full(200, 8.0)
    margins[5] = np.nan
    assert np.isnan(choose(planted(margins, np.zeros(200)), pairs(200))[5][0])


def test_items_may_have_different_numbers_of_choices():
    items = [*pairs(3), Item("three", "y", tuple(Choice("", f"bad {n}") for n in range(3)))]
    scores = choose(planted(np.array([1.0, -1.0, 2.0]), np.zeros(3)), items)
    assert [len(row) for row in scores] == [2, 2, 2, 3] and choices(scores[:3]) == [0, 1, 0]


@pytest.mark.parametrize("family", ["gpt2", "llama", "gptj"])
def test_a_real_model_chooses_as_in_float64(family, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(certainty, "SAMPLE", 20)
    model, tokenizer = tiny_models.model(family), tiny_models.tokenizer()
    words = ["dog", "cat", "old cat", "small dog", "cats", "dogs"]
    texts = [f"The {a} sees the {b} and the {c}." for a in words for b in words for c in words]
    items = [
        Item(f"x_{n}", "x", (Choice("", a), Choice("", b)))
        for n, (a, b) in enumerate(zip(texts, texts[1:] + texts[:1], strict=True))
    ]
    exact = tiny_models.sentence_logprobs(tiny_models.model(family).double(), tokenizer, texts)
    expected = [int(a < b) for a, b in zip(exact, np.roll(exact, -1), strict=True)]
    for cells in (1, 60, 4000):
        assert choices(choose(Scorer(model, tokenizer, batch_tokens=cells), items)) == expected


def test_per_token_a_choice_is_worth_its_sum_over_the_number_of_its_scored_tokens():
    scorer = Scorer(tiny_models.model(), tiny_models.tokenizer())
    endings = ("The dog sleeps.", "sees.", "Who sees the old cats and small dogs?")
    items = [
        Item(f"x_{n}_0", "x", tuple(Choice(prompt, f" {ending}") for ending in endings))
        for n, prompt in enumerate(("The cat", "The small dogs", "Who"))
    ]
    sums = scorer.score(items)
    counts = [[sum(entry.scored) for entry in scorer.encode(item.choices)] for item in items]
    expected = [np.divide(row, count) for row, count in zip(sums, counts, strict=True)]
    found = choose(scorer, items, per_token=True)
    assert np.allclose(found, expected, atol=1e-6) and min(map(min, counts)) >= 1
    assert [int(np.argmax(row)) for row in sums] != choices(found)
    # nothing stands before the first token to judge it by: it is no token of the mean
    alone = choose(
        scorer, [Item("y_0", "y", (Choice("", "The dog"), Choice("", "The old dog")))], per_token=True
    )
    (one, other) = scorer.score([Item("y_0", "y", (Choice("", "The dog"), Choice("", "The old dog")))])[0]
    lengths = [len(ids) - 1 for ids in scorer.tokenizer(["The dog", "The old dog"])["input_ids"]]
    assert np.allclose(alone[0], [one / lengths[0], other / lengths[1]], atol=1e-6)
