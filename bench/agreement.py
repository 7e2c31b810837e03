"""python -m bench.agreement MODEL --data DIR [--tasks …] [--against OUT …] [--processes N] [--every N] [--keep FILE]

An independent judge of `eval`: the official rule in its plainest form, one sentence at a time, in float64, a full
log-softmax, with readers of its own; what loads a model is shared with `eval`, and neither scorer nor tasks are. Every
item's choice must be the same. Items whose two best choices are less than 1e-3 nats apart are counted as close; both
sides have float64 for those. Less than 1e-9 nats is a tie, and may fall on either side.

With --against, each OUT is judged as `python -m eval MODEL --out OUT` wrote it: every prediction in
OUT/<task>/predictions.json. Without it, the items are scored here and now, in batches of 1, 7 and 64 rows and once
more in another order. --keep FILE stores the judge's scores, or takes them from there: they are the slow part.
Exit status 1 if any choice differs.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from babylm_data.errors import UserError, parser_of, positive, run_stage

FOLDERS = ("full_eval", "fast_eval")
LATER = {
    "ewok_contexts": "ewok_filtered",
    "ewok_contexts_fast": "ewok_fast",
    "entity_tracking_filtered": "entity_tracking",
    "entity_tracking_filtered_fast": "entity_tracking_fast",
}
"""Tasks of 2026 -> the data of 2025 that they ask in another way."""
CLOSE, SAME = 1e-3, 1e-9  # nats
CHUNK = 64  # items that a process takes at a time
Question = tuple[str, list[tuple[str, str]]]  # subtask, choices as (context, completion)


def read_rows(data: Path, task: str) -> Iterator[tuple[Path, dict]]:
    """Every row of a task, with its file, in file order."""
    places = [data / folder / LATER.get(task, task) for folder in FOLDERS]
    folders = [place for place in places if place.is_dir()]
    for path in sorted(path for folder in folders[:1] for path in folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line.strip():
                yield path, json.loads(line)


def read_questions(data: Path, task: str) -> list[Question]:
    """The items of a task by the official rules of reading."""
    if task.startswith("global_piqa"):
        raise UserError(f"{task} is decided by means over tokens, which are not judged here: leave it out")
    questions = []
    for path, row in read_rows(data, task):
        if task.startswith("entity_tracking"):
            choices = [(row["input_prefix"], option) for option in row["options"]]
            if "filtered" not in task or not any("nothing" in option for option in row["options"]):
                questions.append((f"{path.stem}_{row['numops']}_ops", choices))
        elif task.startswith("ewok_contexts"):
            sides = [(row[name], f" {row['Target1']}") for name in ("Context1", "Context2")]
            questions.append((row["Domain"], sides))
        elif task.startswith("ewok"):
            targets = [(row["Context1"], f" {row[name]}") for name in ("Target1", "Target2")]
            questions.append((row["Domain"], targets))
        elif task == "comps":
            subtask = path.stem.removeprefix("comps_").replace("-", "_")
            sides = [f"{row[name]} " for name in ("prefix_acceptable", "prefix_unacceptable")]
            questions.append((subtask, [(side, row["property_phrase"]) for side in sides]))
        elif task.startswith("wug"):
            subtask = "_".join(task.split("_")[:2])
            questions.append((subtask, [("", text) for text in row["sentences"].split("\t")]))
        else:
            pair = [("", row["sentence_good"]), ("", row["sentence_bad"])]
            questions.append((row.get("UID") or path.stem, pair))
    if not questions:
        raise UserError(f"there is no {task} in {data}: name the folder that holds full_eval/ with --data")
    return questions


def plain_logprob(model, tokenizer, longest: int | None, context: str, completion: str) -> float:
    """The sum of log p(token | before) over the tokens that end inside `completion`; one text, nats."""
    import torch

    encoded = tokenizer(context + completion, return_tensors="pt", return_offsets_mapping=True)
    ids = encoded["input_ids"].to(model.device)
    if ids.shape[1] > (longest or ids.shape[1]):
        start = (context + completion)[:40]
        raise UserError(f"{start!r} … has {ids.shape[1]} tokens, too many for the model: leave its task out")
    with torch.no_grad():
        logprobs = model(input_ids=ids).logits.log_softmax(dim=-1).cpu()
    total = 0.0
    for position in range(1, ids.shape[1]):
        if encoded["offset_mapping"][0, position, 1] > len(context):  # a special token spans no characters
            total += logprobs[0, position - 1, ids[0, position]].item()
    return total


class Judge:
    """The plain rule with its own copy of the model, loaded by the process that first uses it."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device, self.loaded = folder, device, None

    def __call__(self, questions: list[Question]) -> list[list[float]]:
        """Scores of each item's choices, nats."""
        import torch

        from babylm_data.models import longest_input
        from eval.scorer.model import load_for_scoring

        if self.loaded is None:
            torch.set_num_threads(1)  # a sentence is too little work to share out
            model, tokenizer = load_for_scoring(self.folder, device=self.device, dtype="float64")
            self.loaded = model, tokenizer, longest_input(model)
        return [[plain_logprob(*self.loaded, *choice) for choice in choices] for _, choices in questions]


def kept_as(model_hash: str, questions: list[Question]) -> str:
    """What the scores of these questions by this model are kept under."""
    return hashlib.sha256(f"{model_hash}\n{questions!r}".encode()).hexdigest()


def judge_in_pool(questions: list[Question]) -> list[list[float]]:
    """What a process of the pool does with a chunk; `start_judge` gave it its judge."""
    return judge_in_pool.judge(questions)


def start_judge(folder: Path, device: str) -> None:
    judge_in_pool.judge = Judge(folder, device)


def plain_scores(
    folder: Path, device: str, questions: list[Question], processes: int, label: str
) -> list[list[float]]:
    """The plain scores of all items; a UserError if one is no number, which would agree with anything."""
    from tqdm import tqdm

    chunks = [questions[start : start + CHUNK] for start in range(0, len(questions), CHUNK)]
    with ExitStack() as stack:
        if processes == 1:
            done = map(Judge(folder, device), chunks)
        else:
            context = get_context("spawn")
            pool = ProcessPoolExecutor(processes, context, initializer=start_judge, initargs=(folder, device))
            done = stack.enter_context(pool).map(judge_in_pool, chunks)
        bar = tqdm(done, total=len(chunks), desc=label, unit=f" x {CHUNK} items", disable=None)
        scores = [row for chunk in bar for row in chunk]
    if broken := sum(not all(map(math.isfinite, row)) for row in scores):
        raise UserError(
            f"{broken} of {len(scores)} items have scores that are not finite: the model is broken"
        )
    return scores


def differing(questions: list[Question], plain: list[list[float]], chosen: list[str]) -> list[int]:
    """Items whose chosen answer is not one of those that the plain rule has on top."""
    wrong = []
    for number, ((_, choices), scores) in enumerate(zip(questions, plain, strict=True)):
        quotes = quoted(choices)
        top = {quotes[n] for n, value in enumerate(scores) if value > max(scores) - SAME}
        if chosen[number] not in top:
            wrong.append(number)
    return wrong


def written(out: Path, model: Path, task: str, questions: list[Question]) -> list[str]:
    """The answers that `python -m eval` chose for this very model, in the order of `questions`."""
    from eval.results.json_files import read_json
    from eval.scorer.model import model_sha256

    remedy = f"score it with `python -m eval {model} --tasks {task} --data DIR --out {out}`"
    scores = read_json(out / "scores.json", remedy, ("model_sha256", "tasks"))
    if scores["model_sha256"] != model_sha256(model):
        raise UserError(f"{out / 'scores.json'} is of another model: {remedy}")
    found = read_json(out / task / "predictions.json", remedy)
    rows = {subtask: iter(cell["predictions"]) for subtask, cell in found.items()}
    try:
        chosen = [next(rows[subtask])["pred"] for subtask, _ in questions]
    except (KeyError, StopIteration):
        raise UserError(f"{out} lacks predictions of {task}: were they made with --limit? {remedy}") from None
    return chosen


def chosen_now(folder: Path, questions: list[Question]) -> Iterator[tuple[str, list[str]]]:
    """What `eval` chooses here and now, in batches of different sizes and in another order."""
    import random

    from eval.scorer.certainty import choose
    from eval.scorer.items import Choice, Item
    from eval.scorer.log_probs import CAPACITY, Scorer
    from eval.scorer.model import load_for_scoring

    model, tokenizer = load_for_scoring(folder, device="auto")
    items = [
        Item(f"{subtask}_{number}", subtask, tuple(Choice(*choice) for choice in choices))
        for number, (subtask, choices) in enumerate(questions)
    ]
    for rows in (1, 7, 64):
        scores = choose(Scorer(model, tokenizer, batch_tokens=rows * CAPACITY), items)
        yield f"{rows} rows a batch", on_top(questions, scores)
    order = random.Random(0).sample(range(len(items)), len(items))
    mixed = choose(Scorer(model, tokenizer), [items[number] for number in order])
    back = dict(zip(order, mixed, strict=True))
    yield "another order", on_top(questions, [back[number] for number in range(len(items))])


def misstated(out: Path, task: str, questions: list[Question], plain: list[list[float]]) -> int:
    """Subtasks whose score in OUT/scores.json is not the accuracy of the plain scores, a tie of k worth 1/k."""
    earned: dict[str, list[float]] = {}
    for (subtask, _), scores in zip(questions, plain, strict=True):
        top = [value > max(scores) - SAME for value in scores]
        earned.setdefault(subtask, []).append(top[0] / sum(top))
    cells = json.loads((out / "scores.json").read_text(encoding="utf-8"))["tasks"][task]["by_subtask"]
    return sum(abs(sum(row) / len(row) - cells[name]["score"]) > SAME for name, row in earned.items())


def quoted(choices: list[tuple[str, str]]) -> list[str]:
    """What a prediction quotes of each choice: its completion; the whole text where only the contexts differ."""
    alike = len({completion for _, completion in choices}) == 1
    return [context + completion if alike else completion for context, completion in choices]


def on_top(questions: list[Question], scores: list[list[float]]) -> list[str]:
    """What a prediction quotes of the choice on top of each item."""
    return [quoted(choices)[row.index(max(row))] for (_, choices), row in zip(questions, scores, strict=True)]


def parse(argv: list[str]) -> argparse.Namespace:
    parser = parser_of("bench.agreement", __doc__)
    tasks = ["blimp_filtered", "supplement_filtered"]
    parser.add_argument("model", metavar="MODEL", help="model folder")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder with full_eval/")
    parser.add_argument("--tasks", nargs="+", default=tasks, metavar="TASK", help=f"[{' '.join(tasks)}]")
    parser.add_argument("--against", nargs="+", default=[], type=Path, metavar="OUT", help="what to judge")
    parser.add_argument("--processes", type=positive, default=1, metavar="N", help="of the judge [1]")
    parser.add_argument("--device", default="cpu", help="where the judge computes [cpu]")
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="only every N-th item [1]")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="JSON file for the judge's scores")
    args = parser.parse_args(argv)
    if args.every > 1 and args.against:
        parser.error("--every goes without --against, whose predictions are of all items")
    return args


def main(argv: list[str]) -> int:
    """Compare the choices in every item; 1 if any differs."""
    args = parse(argv)
    from eval.scorer.model import find_model, model_sha256

    folder = find_model(args.model)
    model_hash = model_sha256(folder)
    kept = json.loads(args.keep.read_text()) if args.keep and args.keep.exists() else {}
    differences = 0
    asked = {task: read_questions(args.data, task)[:: args.every] for task in args.tasks}
    print(f"{'task':<30} {'judged':<28} {'items':>7} {'close':>6} {'ties':>5} {'differ':>7}")
    for task in args.tasks:
        questions = asked[task]
        place = kept_as(model_hash, questions)
        if place not in kept:
            kept[place] = plain_scores(folder, args.device, questions, args.processes, task)
            if args.keep:
                args.keep.write_text(json.dumps(kept))
        plain = kept[place]
        gaps = [sorted(row)[-1] - sorted(row)[-2] for row in plain]
        close, ties = (sum(gap < limit for gap in gaps) for limit in (CLOSE, SAME))
        judged = [(str(out), written(out, folder, task, questions)) for out in args.against]
        for name, chosen in judged or chosen_now(folder, questions):
            wrong = differing(questions, plain, chosen)
            print(f"{task:<30} {name:<28} {len(questions):>7,} {close:>6} {ties:>5} {len(wrong):>7}")
            for number in wrong[:5]:
                print(f"  {questions[number][0]}, item {number}: {plain[number]}, chosen {chosen[number]!r}")
            differences += len(wrong)
        for out in args.against if not task.startswith("wug") else []:
            if count := misstated(out, task, questions, plain):
                print(f"{task:<30} {out!s:<28} {count} subtasks with another score than the judge's")
                differences += count
    print(f"{differences} differences" if differences else "no different choice")
    return int(differences > 0)


if __name__ == "__main__":
    run_stage(main)
