"""What one call of `python -m eval` has to do: the tasks asked for, read and found good before a model is loaded."""

import argparse
import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from babylm_data.memory import memory_advice
from eval.choices import Choices
from eval.items import Questions, refuse_broken
from eval.tasks import SPELLINGS, TASKS, on_list
from eval.tasks.official import deviation_note, deviations
from eval.tasks.rows import is_synthetic
from eval.texts import Text, find_texts, read_text

if TYPE_CHECKING:
    from eval.scoring import Scorer

LISTS = ("full", "fast")


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

    def run(self, scorer: "Scorer") -> tuple[dict, dict | None]:
        """The task's result and, if it has items, its predictions and what each item earned."""
        from eval.perplexity import measure

        with memory_advice(f"with {scorer.cells:,} tokens a batch: lower it with --batch-tokens"):
            if self.questions is None:
                window = self.settings["window"]
                found = measure(
                    scorer.model, scorer.tokenizer, self.texts, batch_tokens=scorer.cells, window=window
                )
                return self.settings | found, None
            scores = self.questions.ask(scorer, self.task)
        refuse_broken(scores, self.task)
        details = {
            "predictions": self.questions.predictions(scores),
            "items": self.questions.per_item(scores),
        }
        marks = {"partial": self.partial} | ({"synthetic": True} if self.synthetic else {})
        return self.settings | marks | self.questions.summarise(scores), details


def asked_tasks(args: argparse.Namespace) -> list[str]:
    """The tasks that --tasks names, each once; "full" and "fast" are the official lists."""
    names: list[str] = []
    for word in args.tasks:
        names += members(word, args) if word in LISTS else [known_task(word)]
    return list(dict.fromkeys(names))


def known_task(word: str) -> str:
    """The task that goes by this name; a UserError with the nearest name if there is none."""
    word = SPELLINGS.get(word, word)
    known = [*TASKS, "perplexity"]
    if word not in known:
        near = difflib.get_close_matches(word, [*known, *LISTS], n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join([*LISTS, *known])}"
        raise UserError(f"there is no task {word!r}: {hint}")
    return word


def members(name: str, args: argparse.Namespace) -> list[str]:
    """The tasks of an official list; those without data are refused, or with --partial left out and named."""
    data = data_folder(name, args)
    tasks = on_list(name)
    if args.backend != "causal":
        unasked = [task for task in tasks if TASKS[task].causal_only]
        print(f"left out of {name}, for only causal models can be asked: {', '.join(unasked)}")
        tasks = [task for task in tasks if task not in unasked]
    lacking = [task for task in tasks if not TASKS[task].find(data)]
    named = ", ".join(lacking)
    if lacking and (not args.partial or lacking == tasks):
        raise UserError(
            f"{data} lacks the data of {named}: put them there, or --partial leaves them out of {name}"
        )
    if lacking:
        print(f"left out of {name}, for {data} lacks their data: {named}")
    return [task for task in tasks if task not in lacking]


def data_folder(task: str, args: argparse.Namespace) -> Path:
    """--data, which `task` needs."""
    if args.data is None:
        raise UserError(f"{task} needs --data DIR, the folder that holds full_eval/ and fast_eval/")
    return args.data


def read_job(task: str, args: argparse.Namespace) -> Job:
    """Read a task's files; a UserError for whatever is wrong with them."""
    if task == "perplexity":
        return read_texts(args)
    if TASKS[task].causal_only and args.backend != "causal":
        raise UserError(f"{task} is of causal models: leave it out with --backend {args.backend}")
    files = TASKS[task].files(data_folder(task, args))
    questions = TASKS[task].load(files)
    unlike = deviations(task, (item.subtask for item in questions.items))
    if unlike:
        print(f"{task} is scored as it is and marked partial: {deviation_note(unlike)}")
    settings = {"dtype": args.dtype, "limit": args.limit, "backend": args.backend}
    if isinstance(questions, Choices):
        questions, settings = replace(questions, tie_rule=args.ties), settings | {"tie_rule": args.ties}
    return Job(task, files, settings, bool(unlike), is_synthetic(files), questions.first(args.limit))


def read_texts(args: argparse.Namespace) -> Job:
    """Read the held-out text."""
    if args.window < 2:
        raise UserError("--window 1 leaves nothing to predict from: give 2 or more")
    if args.backend != "causal":
        raise UserError(f"perplexity is of causal models: leave it out with --backend {args.backend}")
    if not args.text:
        raise UserError("perplexity needs --text PATH …: files or folders of held-out text")
    files = find_texts(args.text)
    texts = tuple(read_text(path, args.max_words) for path in files)
    settings = {"dtype": args.dtype, "max_words": args.max_words, "window": args.window}
    return Job("perplexity", files, settings, texts=texts)
