"""python -m eval runs/nursery/export --tasks nursery perplexity --data runs/nursery-data/evaluation_data \
          --text runs/nursery-data/text --out runs/nursery/eval

Score a Hugging Face causal model on zero-shot tasks and on held-out text.
"""

import argparse
import difflib
import platform
import shlex
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError, memory_advice, positive, run_stage
from eval.choices import TIE_RULES, Choices
from eval.items import Questions, refuse_broken
from eval.model import DTYPES, find_model, load, model_sha256, weights_sha256
from eval.perplexity import WINDOW
from eval.scores import ScoreFile, measured_on, task_key
from eval.table import table
from eval.tasks import TASKS, extent_note
from eval.tasks.official import deviation_note, deviations
from eval.texts import Text, find_texts, read_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DESCRIPTION = """\
Score a causal language model: accuracy on minimal pairs, cross-entropy on held-out text.

reads   MODEL             a Hugging Face folder (config.json, *.safetensors, tokenizer) or a hub name
        --data DIR        DIR/full_eval/<task>/*.jsonl and DIR/fast_eval/<task>/*.jsonl
        --text PATH …     files, or folders of *.txt, *.dev, *.test, *.raw; a blank line ends a document
writes  --out DIR         DIR/scores.json, DIR/<task>/predictions.json in the official form, and
                  DIR/<task>/items.json: what each item earned, to compare two models item by item

A tie between k choices is worth 1/k and is counted. A score that is NaN or infinite refuses its whole task and
says how many items have one: a broken model has no accuracy (the official scorer would call those items right).
Data with other numbers of rows than the official ones are scored, and the result is marked partial.

A task whose result is already in DIR, from the same model, data and settings, is not run again."""

EXAMPLE = """\
example: python -m eval runs/nursery/export --tasks nursery perplexity \\
           --data runs/nursery-data/evaluation_data --text runs/nursery-data/text --out runs/nursery/eval"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(
        prog="python -m eval",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    tasks = ", ".join([*TASKS, "perplexity"])
    parse.add_argument("model", metavar="MODEL", nargs="?", help="model folder, or a hub name")
    parse.add_argument("--tasks", nargs="+", required=True, metavar="TASK", help=tasks)
    parse.add_argument("--out", type=Path, metavar="DIR", help="folder for the scores")
    parse.add_argument("--data", type=Path, metavar="DIR", help="folder that holds full_eval/ and fast_eval/")
    parse.add_argument("--text", nargs="+", default=[], metavar="PATH", help="held-out text for perplexity")
    parse.add_argument("--max-words", type=positive, metavar="N", help="first N words of each text [all]")
    parse.add_argument(
        "--window",
        type=positive,
        default=WINDOW,
        metavar="N",
        help=f"most tokens that a prediction in held-out text may look at [{WINDOW}]",
    )
    parse.add_argument("--limit", type=positive, metavar="N", help="first N items of each subtask [all]")
    parse.add_argument(
        "--ties",
        choices=TIE_RULES,
        default=TIE_RULES[0],
        help="a tie between k choices is worth 1/k, or goes to the first choice; both are reported [shared]",
    )
    parse.add_argument(
        "--batch-tokens", type=positive, default=4096, metavar="N", help="tokens a batch [4096]"
    )
    parse.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 … [auto]")
    parse.add_argument("--dtype", default="float32", choices=DTYPES, help="of the weights [float32]")
    parse.add_argument("--check", action="store_true", help="read the data, say what is there, score nothing")
    return parse


def check_names(tasks: list[str]) -> list[str]:
    """The tasks asked for, each once; a UserError with the nearest name for one that does not exist."""
    known = [*TASKS, "perplexity"]
    for task in tasks:
        if task not in known:
            near = difflib.get_close_matches(task, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise UserError(f"there is no task {task!r}: {hint}")
    return list(dict.fromkeys(tasks))


@dataclass(frozen=True)
class Job:
    """One task, read and found good: all that is needed but the model."""

    task: str
    files: list[Path]
    settings: dict
    partial: bool = False
    """Are its files others than the official ones?"""
    questions: Questions | None = None
    texts: list[Text] = field(default_factory=list)

    def run(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", batch_tokens: int
    ) -> tuple[dict, dict | None]:
        """The task's result and, if it has items, its predictions and what each item earned."""
        from eval.perplexity import measure
        from eval.scoring import score

        with memory_advice(f"with {batch_tokens:,} tokens a batch: lower --batch-tokens"):
            if self.texts:
                window = self.settings["window"]
                found = measure(model, tokenizer, self.texts, batch_tokens=batch_tokens, window=window)
                return self.settings | found, None
            scores = score(model, tokenizer, self.questions.items, batch_tokens=batch_tokens, label=self.task)
        refuse_broken(scores, self.task)
        details = {
            "predictions": self.questions.predictions(scores),
            "items": self.questions.per_item(scores),
        }
        return self.settings | {"partial": self.partial} | self.questions.summarise(scores), details


def read_job(task: str, args: argparse.Namespace) -> Job:
    """Read a task's files; a UserError for whatever is wrong with them."""
    if task == "perplexity":
        if args.window < 2:
            raise UserError("--window 1 leaves nothing to predict from: give 2 or more")
        if not args.text:
            raise UserError("perplexity needs --text PATH …: files or folders of held-out text")
        files = find_texts(args.text)
        texts = [read_text(path, args.max_words) for path in files]
        settings = {"dtype": args.dtype, "max_words": args.max_words, "window": args.window}
        return Job(task, files, settings, texts=texts)
    if args.data is None:
        raise UserError(f"{task} needs --data DIR, the folder that holds full_eval/ and fast_eval/")
    files = TASKS[task].files(args.data)
    questions = TASKS[task].load(files)
    unlike = deviations(task, (item.subtask for item in questions.items))
    if unlike:
        print(f"{task} is scored as it is and marked partial: {deviation_note(unlike)}")
    settings = {"dtype": args.dtype, "limit": args.limit}
    if isinstance(questions, Choices):
        questions, settings = replace(questions, tie_rule=args.ties), settings | {"tie_rule": args.ties}
    return Job(task, files, settings, bool(unlike), questions=questions.first(args.limit))


def stamp(argv: list[str]) -> dict:
    """What each result of one call says about its making; those of one `scores.json` may come from several."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"python -m eval {shlex.join(argv)}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers")},
        },
    }


def main(argv: list[str]) -> None:
    """Read everything, find every fault, then load the model and score what is not yet scored."""
    args = parser().parse_args(argv)
    jobs = [read_job(task, args) for task in check_names(args.tasks)]
    if args.check:
        for job in jobs:
            asked = job.questions
            content = f"{len(asked.items):,} items" if asked else f"{len(job.texts):,} texts"
            note = extent_note(args.limit if asked else None, job.partial)
            print(f"{job.task}: {content} in {len(job.files):,} files{f' ({note})' if note else ''}")
        return
    if not (args.model and args.out):
        raise UserError("a MODEL folder and --out DIR are needed (or --check, to look at the data alone)")
    folder = find_model(args.model)
    if args.out.resolve() == folder.resolve():
        raise UserError(
            "--out is the model's own folder, and scores in it would change the model: name another"
        )
    identity = {"weights_sha256": weights_sha256(folder), "model_sha256": model_sha256(folder)}
    file = ScoreFile(args.out, {"model": args.model, **identity})
    asked = {job.task: measured_on(job.files, job.settings) for job in jobs}
    keys = {task: task_key(identity["model_sha256"], asked[task]) for task in asked}
    waiting = [job for job in jobs if not file.has(job.task, keys[job.task])]
    for job in jobs:
        if job not in waiting:
            print(f"{job.task}: already scored with this model, data and settings in {args.out}")
    if waiting:
        model, tokenizer = load(folder, device=args.device, dtype=args.dtype)
        file.scores["parameters"] = model.num_parameters()
        made = stamp(argv)  # once: the tasks of one call are one line in a list of commands
        for job in waiting:
            result, details = job.run(model, tokenizer, args.batch_tokens)
            file.add(job.task, keys[job.task], result | made | {"measured_on": asked[job.task]}, details)
    print(table({job.task: file.scores["tasks"][job.task] for job in jobs}))


if __name__ == "__main__":
    run_stage(main)
