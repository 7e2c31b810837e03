"""What is asked of a model: tasks by name, their data read and found good before a model is loaded."""

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from babylm_data.memory import memory_advice
from eval.results.json_files import read_json
from eval.results.request import TaskSet
from eval.results.scores import ScoreFile, measured_on
from eval.scorer.items import Scores, refuse_broken
from eval.tasks import LISTS, SPELLINGS, TASKS, extent_note, on_list
from eval.tasks.json_rows import is_synthetic
from eval.tasks.official import deviation_note, deviations
from eval.tasks.questions import Questions
from eval.tasks.texts import Text, find_texts, read_text

if TYPE_CHECKING:
    from eval.scorer.log_probs import Scorer


@dataclass(frozen=True)
class Job:
    """One task, read and found good: all that is needed but the model."""

    task: str
    files: list[Path]
    settings: dict
    partial: bool = False
    """Has it other rows than the official data?"""
    synthetic: bool = False
    """Do its files, or some of them, say that their rows only stand in for official ones?"""
    questions: Questions | None = None
    texts: tuple[Text, ...] = ()
    note: str = ""
    """What is to be said of its rows, if anything."""

    @cached_property
    def measured_on(self) -> str:
        """Hex SHA-256 of its files and settings: two models were asked the same if theirs are equal."""
        return measured_on(self.files, self.settings)

    def run(self, scorer: "Scorer") -> tuple[dict, dict | None]:
        """The task's result and, if it has items, its predictions and what each item earned."""
        from eval.tasks.perplexity import measure

        with memory_advice(f"with {scorer.cells:,} tokens a batch: lower it with --batch-tokens"):
            if self.questions is None:
                window = self.settings["window"]
                found = measure(
                    scorer.model, scorer.tokenizer, self.texts, batch_tokens=scorer.cells, window=window
                )
                return self.settings | found, None
            scores = self.questions.ask(scorer, self.task)
        refuse_broken(scores, self.task)
        marks = {"partial": self.partial} | ({"synthetic": True} if self.synthetic else {})
        return self.settings | marks | self.questions.summarise(scores), self._details(scores)

    def tell_again(self, file: ScoreFile) -> None:
        """Rewrite the stored result, not its stamp, if it is by another tie rule than asked for; no model is needed."""
        result, questions = file.scores["tasks"][self.task], self.questions
        if questions is None or questions.tie_rule in (None, result.get("tie_rule")):
            return
        scores = questions.recall(read_json(file.path(self.task, "items"), "score again"))
        file.add(self.task, result["key"], result | questions.summarise(scores), self._details(scores))
        print(f"{self.task}: its ties are counted by the rule {questions.tie_rule!r} now")

    def _details(self, scores: Scores) -> dict:
        return {"predictions": self.questions.predictions(scores), "items": self.questions.per_item(scores)}


def task_names(words: Sequence[str], data: Path | None, *, partial: bool) -> tuple[str, ...]:
    """The tasks that are meant, each once; a word of `LISTS` means all of a list.

    If `partial`, those without data are left out and named, if any has data.
    """
    names: list[str] = []
    for word in words:
        names += (
            members(word, data_folder(word, data), partial=partial) if word in LISTS else [known_task(word)]
        )
    if partial and data:
        lacking = [task for task in names if task in TASKS and not TASKS[task].find(data)]
        if lacking and lacking != names:
            print(f"left out, for {data} lacks their data: {', '.join(lacking)}")
            names = [task for task in names if task not in lacking]
    return tuple(dict.fromkeys(names))


def known_task(word: str) -> str:
    """The task that goes by this name; a UserError with the nearest name if there is none."""
    word = SPELLINGS.get(word, word)
    known = [*TASKS, "perplexity"]
    if word not in known:
        near = difflib.get_close_matches(word, [*known, *LISTS], n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join([*LISTS, *known])}"
        raise UserError(f"there is no task {word!r}: {hint}")
    return word


def members(name: str, data: Path, *, partial: bool) -> list[str]:
    """The tasks of an official list; those without data are refused, or if `partial` left out and named."""
    tasks = on_list(name)
    lacking = [task for task in tasks if not TASKS[task].find(data)]
    named = ", ".join(lacking)
    if lacking and (not partial or lacking == tasks):
        raise UserError(
            f"{data} lacks the data of {named}: put them there, or --partial leaves them out of {name}"
        )
    if lacking:
        print(f"left out of {name}, for {data} lacks their data: {named}")
    return [task for task in tasks if task not in lacking]


def data_folder(task: str, data: Path | None) -> Path:
    """--data, which `task` needs."""
    if data is None:
        raise UserError(f"{task} needs --data DIR, the folder that holds full_eval/ and fast_eval/")
    return data


def read_jobs(tasks: TaskSet) -> tuple[Job, ...]:
    """Read the data of all tasks; a UserError for whatever is wrong with them."""
    return tuple(read_job(name, tasks) for name in tasks.names)


def read_job(task: str, tasks: TaskSet) -> Job:
    """Read the data of one task."""
    if task == "perplexity":
        return _read_texts(tasks)
    files = TASKS[task].files(data_folder(task, tasks.data))
    questions = TASKS[task].load(files)
    unlike = deviations(task, (item.subtask for item in questions.items))
    note = f"{task} is scored as it is and marked partial: {deviation_note(unlike)}" if unlike else ""
    whole, questions = len(questions.items), questions.first(tasks.limit)
    limit = taken(questions) if len(questions.items) < whole else None  # one that leaves nothing out is none
    settings = {"dtype": tasks.dtype, "limit": limit, "backend": tasks.backend}
    questions = questions.with_ties(tasks.ties)
    return Job(task, files, settings, bool(unlike), is_synthetic(files), questions, note=note)


def taken(questions: Questions) -> int:
    """How many items of each subtask a limit came to: reading takes more than it is asked for where it has to."""
    return max(Counter(item.subtask for item in questions.items).values())


def _read_texts(tasks: TaskSet) -> Job:
    if tasks.window < 2:
        raise UserError("--window 1 leaves nothing to predict from: give 2 or more")
    if tasks.backend != "causal":
        raise UserError(f"perplexity is of causal models: leave it out with --backend {tasks.backend}")
    if not tasks.text:
        raise UserError("perplexity needs --text PATH …: files or folders of held-out text")
    files = find_texts(tasks.text)
    texts = tuple(read_text(path, tasks.max_words) for path in files)
    settings = {"dtype": tasks.dtype, "max_words": tasks.max_words, "window": tasks.window}
    return Job("perplexity", files, settings, texts=texts)


def print_contents(tasks: TaskSet) -> None:
    """Read the data of all tasks, and say of each what is there."""
    for job in read_jobs(tasks):
        if job.note:
            print(job.note)
        asked = job.questions
        content = f"{len(asked.items):,} items" if asked else f"{len(job.texts):,} texts"
        note = extent_note(job.settings.get("limit"), job.partial, job.synthetic)
        print(f"{job.task}: {content} in {len(job.files):,} files{f' ({note})' if note else ''}")
