"""What runs are compared by: the held-out hard loss, held-out text, tasks."""

from dataclasses import dataclass

from eval.results.scores_table import unit
from eval.tasks import title

HARD, TEXT = "hard", "perplexity"
HEADINGS = {HARD: "Held-out hard loss, nats a token", TEXT: "Held-out text, bits per byte"}


def p_shown(p: float) -> str:
    """A p-value with four digits, as far as there are any."""
    return f"{p:.4f}" if p >= 5e-5 else "< 0.0001"


@dataclass(frozen=True)
class Measure:
    """One of them."""

    name: str
    metric: str = "accuracy"
    """Of a task."""

    @property
    def less_is_better(self) -> bool:
        """Or is more?"""
        return self.name in HEADINGS

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return -1 if self.less_is_better else 1

    @property
    def heading(self) -> str:
        """What it is called, with its unit."""
        return HEADINGS.get(self.name) or f"{title(self.name)}, {unit(self.metric)}"

    @property
    def in_a_sentence(self) -> str:
        """Its heading as it stands in the middle of one: BLiMP stays as it is."""
        text = self.heading
        return text[0].lower() + text[1:] if text[1].islower() else text

    def shown(self, value: float, sign: str = "") -> str:
        """A value as people read it."""
        times, digits = (1, 4) if self.less_is_better else (100, 2)
        return f"{times * value:{sign}.{digits}f}"

    def times(self, value: float) -> float:
        """A value as it is drawn."""
        return value if self.less_is_better else 100 * value

    def interval(self, found: dict) -> str:
        """The interval of a difference, in words."""
        if not found["interval"]:
            return "its noise is not known"
        low, high = (self.shown(end, "+") for end in found["interval"])
        return f"95 % interval {low} to {high}"

    def best_first(self, cells: dict[str, dict]) -> list[str]:
        """The labels of differences, in order."""
        return sorted(cells, key=lambda label: -self.sign * cells[label]["difference"])
