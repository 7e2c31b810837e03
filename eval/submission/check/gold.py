"""What the evaluation data say about a section of a submission file."""

from collections import Counter
from pathlib import Path

from eval.submission.rules import Section
from eval.tasks import TASKS
from eval.tasks.questions import Gold


def read_gold(section: Section, data: Path) -> Gold | str:
    """The gold data of a section with a task, from the folder `data`; or why there are none, in a few words."""
    task = TASKS[section.task]
    if not (files := task.find(data)):
        return f"have no data in {data / task.folder}"
    questions = task.load(files)
    if Counter(item.subtask for item in questions.items) != section.rows:
        return f"are other ones in {data / task.folder}, not the official"
    return questions.gold()
