"""python -m bench.agreement MODEL --data DIR [--tasks blimp_filtered supplement_filtered] [--every N]

An independent judge of `eval`: the official rule in its plainest form, one sentence at a time, a full float32
log-softmax, nothing shared with `eval.scoring`. Both must choose alike in every pair. Pairs whose margin is
under 1e-3 nats on either side are scored again in float64 by both; margins under 1e-9 nats there are ties.
Exit status 1 if any choice differs.
"""

import argparse
import json
from pathlib import Path

from babylm_data.errors import UserError, run_stage

FOLDERS = ("full_eval", "fast_eval")
CLOSE, SAME = 1e-3, 1e-9  # nats


def read_pairs(data: Path, task: str, every: int) -> dict[str, list[tuple[str, str]]]:
    """Every `every`-th (good, bad) of each subtask."""
    pairs: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(p for folder in FOLDERS for p in (data / folder / task).glob("*.jsonl")):
        with open(path, encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                found = pairs.setdefault(row.get("UID", path.stem), [])
                found.append((row["sentence_good"], row["sentence_bad"]))
    if not pairs:
        raise UserError(f"there is no {task} in {data}: name the folder that holds full_eval/ with --data")
    return {subtask: found[::every] for subtask, found in pairs.items()}


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


def our_margins(model, tokenizer, pairs: list[tuple[str, str]]) -> list[float]:
    """The same margins by `eval.scoring`."""
    from eval.scoring import sentence_logprobs

    scores = sentence_logprobs(model, tokenizer, [sentence for pair in pairs for sentence in pair])
    return (scores[0::2] - scores[1::2]).tolist()


def sign(margin: float) -> int:
    """1 for the good sentence, -1 for the bad one, 0 for a tie."""
    return 0 if abs(margin) < SAME else 1 if margin > 0 else -1


def main(argv: list[str]) -> int:
    """Compare both scorers on every pair; 1 if they choose differently anywhere."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.agreement", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="model folder")
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="folder that holds full_eval/"
    )
    parser.add_argument(
        "--tasks", nargs="+", default=["blimp_filtered", "supplement_filtered"], metavar="TASK"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th pair of a subtask")
    args = parser.parse_args(argv)
    tasks = {task: read_pairs(args.data, task, args.every) for task in args.tasks}

    import torch
    from tqdm import tqdm
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)  # a sentence is too little work to share out
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype="float32").eval()
    exact = AutoModelForCausalLM.from_pretrained(args.model, dtype="float32").double().eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    differences = 0
    print(
        f"{'task':<22} {'subtask':<54} {'plain %':>8} {'ours %':>8} {'differ':>7} {'ties':>5} {'float64':>8}"
    )
    for task, subtasks in tasks.items():
        for subtask, pairs in tqdm(subtasks.items(), desc=task, disable=None):
            plain = [plain_margin(model, tokenizer, pair) for pair in pairs]
            ours = our_margins(model, tokenizer, pairs)
            close = [n for n in range(len(pairs)) if min(abs(plain[n]), abs(ours[n])) < CLOSE]
            for n, margin in zip(
                close, our_margins(exact, tokenizer, [pairs[n] for n in close]), strict=True
            ):
                plain[n], ours[n] = plain_margin(exact, tokenizer, pairs[n]), margin
            differ = sum(sign(a) != sign(b) for a, b in zip(plain, ours, strict=True))
            ties = sum(sign(margin) == 0 for margin in ours)
            accuracy = [100 * sum((1 + sign(m)) / 2 for m in side) / len(side) for side in (plain, ours)]
            counts = f"{differ:>7} {ties:>5} {len(close):>8}"
            tqdm.write(f"{task:<22} {subtask:<54} {accuracy[0]:>8.3f} {accuracy[1]:>8.3f} {counts}")
            differences += differ
    print(f"{differences} different choices" if differences else "no different choice")
    return int(differences > 0)


if __name__ == "__main__":
    run_stage(main)
