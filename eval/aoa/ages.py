"""Ages at which words are learned, by children and by a model over its checkpoints, and how they correlate."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

FEWEST_WORDS = 3
LARGEST_P = 0.1
MONTHS = tuple(range(16, 31))


def chance_surprisals(tokenizer: "PreTrainedTokenizerBase", words: Iterable[str]) -> dict[str, float]:
    """Surprisal in nats of each word for a model that knows nothing: its tokens after a space times ln(vocabulary)."""
    before = len(tokenizer("The", add_special_tokens=False)["input_ids"])
    tokens = {
        word: len(tokenizer(f"The {word}", add_special_tokens=False)["input_ids"]) - before for word in words
    }
    return {word: max(1, count) * math.log(tokenizer.vocab_size) for word, count in tokens.items()}


def ages(
    exposure: Sequence[int],
    surprisals: dict[str, "np.ndarray"],
    human: dict[str, "np.ndarray"],
    chance: dict[str, float],
) -> dict[str, dict[str, float | str]]:
    """word -> {"child": months, rule: log10 words of exposure}, or in place of a number why there is none."""
    import numpy as np
    from tqdm import tqdm

    from eval.aoa.learning_curves import RULES, child_age, model_age

    months, words_read = np.array(MONTHS, dtype=float), np.array(exposure, dtype=float)
    found = {}
    for word, values in tqdm(surprisals.items(), desc="fits", unit=" words", disable=None, leave=False):
        child = child_age(months, human[word]) if word in human else "not in the human file"
        models = {rule: model_age(words_read, values, rule, chance[word]) for rule in RULES}
        found[word] = {"child": child, **models}
    return found


def correlation(found: dict[str, dict[str, float | str]], rule: str) -> dict:
    """Pearson's r of the children's and the models' ages by `rule` (None: not defined), and which words it lacks."""
    import numpy as np
    from scipy.stats import pearsonr

    both = [(row[rule], row["child"]) for row in found.values() if not _why_not(row, rule)]
    dropped = Counter(reason for row in found.values() if (reason := _why_not(row, rule)))
    r = p = error = None
    if len(both) >= FEWEST_WORDS and all(np.ptp(column) > 0 for column in zip(*both, strict=True)):
        r, p = map(float, pearsonr(*zip(*both, strict=True)))
        error = math.sqrt((1 - r * r) / (len(both) - 2))
    insignificant = rule == "2026" and p is not None and p > LARGEST_P
    return {
        "score": r,
        "standard_error": error,
        "p_value": p,
        "official_score": 0.0 if r is None or insignificant else r,
        "words_fitted": len(both),
        "words_dropped": len(found) - len(both),
        "reasons": dict(sorted(dropped.items())),
    }


def _why_not(row: dict[str, float | str], rule: str) -> str | None:
    """Why a word has not both ages; a child's that is not known comes first."""
    for whose, age in (("children", row["child"]), ("model", row[rule])):
        if isinstance(age, str):
            return f"{whose}: {age}"
    return None
