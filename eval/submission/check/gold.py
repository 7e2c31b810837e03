"""What the evaluation data say about a section of a submission file: which choices there were, which rows are which."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from eval.scorer.items import Item
from eval.submission.rules import Section
from eval.tasks import TASKS
from eval.tasks.aoa import Acquisition
from eval.tasks.reading import Reading
from eval.tasks.wug import Wug


@dataclass(frozen=True)
class Gold:
    """Of one section. What does not concern it is empty."""

    choices: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    """subtask -> of each row, the texts that a prediction can be, in the order of the choices."""
    no_previous: frozenset[int] | None = None
    """Rows without a word before."""
    contexts: list[tuple[str, int, str]] = field(default_factory=list)
    """(word, number of the context, context) of each row."""
    by_place: bool = True
    """False: always naming the first choice, or the last, is no sign of anything."""


def read_gold(section: Section, data: Path) -> Gold | str:
    """The gold data of a section with a task, from the folder `data`; or why there are none, in a few words."""
    if section.examples:
        return "are of a form of which no official data were seen"
    task = TASKS[section.task]
    if not (files := task.find(data)):
        return f"have no data in {data / task.folder}"
    questions = task.load(files)
    if Counter(item.subtask for item in questions.items) != section.rows:
        return f"are other ones in {data / task.folder}, not the official"
    if isinstance(questions, Acquisition):
        return Gold(
            contexts=[(row["target_word"], row["context_id"], row["context"]) for row in questions.rows]
        )
    if isinstance(questions, Reading):
        alone = (row for row, item in enumerate(questions.items) if len(item.choices) < 2)
        return Gold(no_previous=frozenset(alone))
    wug = isinstance(questions, Wug)  # what people say most often may well come first in every row
    return Gold(_choices(questions.items, "completion" if wug else questions.shown), by_place=not wug)


def _choices(items: list[Item], shown: str) -> dict[str, list[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for item in items:
        texts = tuple(
            getattr(choice, shown).strip() for choice in item.choices
        )  # as the official scorer compares
        found.setdefault(item.subtask, []).append(texts)
    return found
