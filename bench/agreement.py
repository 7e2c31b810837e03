"""python -m bench.agreement MODEL --data DIR [--against OUT] [--tasks blimp_filtered supplement_filtered] [--every N]

An independent judge of `eval`: the official rule in its plainest form, one sentence at a time, a full float32
log-softmax, nothing shared with `eval.scoring`. Both must choose alike in every pair.

With --against, what is judged is OUT/scores.json and OUT/<task>/predictions.json, as `python -m eval MODEL --out OUT`
wrote them: every prediction, and the accuracy of every subtask. Pairs whose margin is under 1e-3 nats are beyond
what float32 can tell; they are counted, and may fall on either side.
Without it, the pairs are scored by `eval.scoring.score` here and now, and those under 1e-3 nats on either side
again in float64 by both; margins under 1e-9 nats there are ties.
Exit status 1 if anything differs.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

from babylm_data.errors import UserError, run_stage
from eval.items import TIE

FOLDERS = ("full_eval", "fast_eval")
CLOSE = 1e-3  # nats
Pair = tuple[str, str]  # (good, bad)


def read_pairs(data: Path, task: str) -> dict[str, list[Pair]]:
    """The (good, bad) of each subtask, in file order."""
    pairs: dict[str, list[Pair]] = {}
    for path in sorted(p for folder in FOLDERS for p in (data / folder / task).glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                pair = row["sentence_good"], row["sentence_bad"]
                pairs.setdefault(row.get("UID") or path.stem, []).append(pair)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise UserError(f"{path}, line {number} is no minimal pair: fetch the file again") from None
    if not pairs:
        raise UserError(f"there is no {task} in {data}: name the folder that holds full_eval/ with --data")
    return pairs


def plain_logprob(model, tokenizer, sentence: str) -> float:
    """The sum over tokens of log p(token | before), one sentence alone, in the model's own precision."""
    import torch

    encoded = tokenizer(sentence, return_tensors="pt", return_offsets_mapping=True)
    ids = encoded["input_ids"].to(model.device)
    with torch.no_grad():
        logprobs = model(input_ids=ids).logits.log_softmax(dim=-1)
    total = 0.0
    for position in range(1, ids.shape[1]):
        if encoded["offset_mapping"][0, position, 1] > 0:  # a special token spans no characters
            total += logprobs[0, position - 1, ids[0, position]].item()
    return total


def plain_margin(model, tokenizer, pair: tuple[str, str]) -> float:
    """log p(good) - log p(bad) by the plain rule; identical sentences differ by nothing."""
    good, bad = pair
    return (
        0.0 if good == bad else plain_logprob(model, tokenizer, good) - plain_logprob(model, tokenizer, bad)
    )


def our_margins(model, tokenizer, pairs: list[Pair]) -> list[float]:
    """The same margins by `eval.scoring`."""
    from eval.items import Choice, Item
    from eval.scoring import score

    items = [Item(str(n), "", tuple(Choice("", text) for text in pair)) for n, pair in enumerate(pairs)]
    return [good - bad for good, bad in score(model, tokenizer, items)]


def finite(margins: list[float]) -> list[float]:
    """The margins; a UserError if one is NaN or infinite, which would agree with anything."""
    if broken := sum(not math.isfinite(margin) for margin in margins):
        raise UserError(f"{broken} of {len(margins)} margins are not finite: the model is broken")
    return margins


def sign(margin: float) -> int:
    """1 for the good sentence, -1 for the bad one, 0 for a tie."""
    return 0 if abs(margin) <= TIE else 1 if margin > 0 else -1


def accuracy(margins: list[float]) -> float:
    """The share of pairs decided rightly, a tie counting half."""
    return sum((1 + sign(margin)) / 2 for margin in margins) / len(margins)


def compare_now(models, pairs: list[Pair], every: int) -> dict:
    """One subtask, by both rules, scored here."""
    model, exact, tokenizer = models
    pairs = pairs[::every]
    plain = finite([plain_margin(model, tokenizer, pair) for pair in pairs])
    ours = finite(our_margins(model, tokenizer, pairs))
    close = [n for n in range(len(pairs)) if min(abs(plain[n]), abs(ours[n])) < CLOSE]
    for n, margin in zip(close, our_margins(exact, tokenizer, [pairs[n] for n in close]), strict=True):
        plain[n], ours[n] = plain_margin(exact, tokenizer, pairs[n]), margin
    differ = sum(sign(a) != sign(b) for a, b in zip(plain, ours, strict=True))
    return {"plain": accuracy(plain), "ours": accuracy(ours), "differ": differ, "close": len(close)}


def compare_written(models, pairs: list[Pair], every: int, chosen: list[str], stated: float) -> dict:
    """One subtask, by the plain rule and as the predictions and the accuracy on the disk have it."""
    model, exact, tokenizer = models
    if len(chosen) != len(pairs):
        raise UserError(f"{len(chosen)} predictions for {len(pairs)} pairs: were they made with --limit?")
    plain = finite([plain_margin(model, tokenizer, pair) for pair in pairs[::every]])
    close = [n for n, margin in enumerate(plain) if abs(margin) < CLOSE]
    differ = sum(
        abs(margin) >= CLOSE and text != (good if margin > 0 else bad)
        for margin, text, (good, bad) in zip(plain, chosen[::every], pairs[::every], strict=True)
    )
    for n in close:
        plain[n] = plain_margin(exact, tokenizer, pairs[::every][n])
    if every == 1 and abs(accuracy(plain) - stated) > len(close) / len(plain) + 1e-9:
        differ = max(differ, 1)
    return {"plain": accuracy(plain), "ours": stated, "differ": differ, "close": len(close)}


def written(out: Path, model: Path, task: str) -> Iterator[tuple[str, list[str], float]]:
    """(subtask, the text chosen for each pair, accuracy) as `python -m eval` wrote them for this very model."""
    from eval.json_files import read_json
    from eval.model import model_sha256

    remedy = f"score it with `python -m eval {model} --tasks {task} --data DIR --out {out}`"
    scores = read_json(out / "scores.json", remedy, ("model_sha256", "tasks"))
    if scores["model_sha256"] != model_sha256(model):
        raise UserError(f"{out / 'scores.json'} is of another model: {remedy}")
    if task not in scores["tasks"]:
        raise UserError(f"{out / 'scores.json'} has no {task}: {remedy}")
    chosen = read_json(out / task / "predictions.json", remedy)
    for subtask, cell in scores["tasks"][task]["by_subtask"].items():
        if subtask not in chosen:
            raise UserError(f"{out / task / 'predictions.json'} lacks {subtask}: {remedy}")
        yield subtask, [row["pred"] for row in chosen[subtask]["predictions"]], cell["score"]


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.agreement", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="model folder")
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="folder that holds full_eval/"
    )
    parser.add_argument(
        "--against", type=Path, metavar="OUT", help="folder with scores.json, written by python -m eval"
    )
    parser.add_argument(
        "--tasks", nargs="+", default=["blimp_filtered", "supplement_filtered"], metavar="TASK"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th pair of a subtask")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Compare both scorers on every pair; 1 if they choose differently anywhere."""
    args = parse(argv)
    if args.every < 1:
        raise UserError("--every takes 1 or more")
    tasks = {task: read_pairs(args.data, task) for task in args.tasks}

    import torch
    from tqdm import tqdm

    from eval.model import find_model, load

    folder = find_model(args.model)
    found = {task: list(written(args.against, folder, task)) for task in tasks} if args.against else {}
    for task, rows in found.items():
        if {subtask for subtask, *_ in rows} != set(tasks[task]):
            raise UserError(f"{args.against} has other subtasks of {task} than {args.data}")
    torch.set_num_threads(1)  # a sentence is too little work to share out
    model, tokenizer = load(folder, device="cpu")
    models = model, load(folder, device="cpu", dtype="float64")[0], tokenizer
    differences = 0
    print(f"{'task':<22} {'subtask':<54} {'plain %':>8} {'ours %':>8} {'differ':>7} {'close':>6}")
    for task, subtasks in tasks.items():
        on_disk = {subtask: rest for subtask, *rest in found.get(task, [])}
        for subtask, pairs in tqdm(subtasks.items(), desc=task, disable=None):
            if args.against:
                row = compare_written(models, pairs, args.every, *on_disk[subtask])
            else:
                row = compare_now(models, pairs, args.every)
            numbers = (
                f"{100 * row['plain']:>8.3f} {100 * row['ours']:>8.3f} {row['differ']:>7} {row['close']:>6}"
            )
            tqdm.write(f"{task:<22} {subtask:<54} {numbers}")
            differences += row["differ"]
    print(f"{differences} different choices" if differences else "no different choice")
    return int(differences > 0)


if __name__ == "__main__":
    run_stage(main)
