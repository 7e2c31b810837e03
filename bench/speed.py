"""python -m bench.speed MODEL --data DIR [--task blimp_filtered] [--every N] [--threads N]

How much faster `eval` answers minimal pairs than the official evaluator's way of working, in one run on one machine.

That way is written out here: sentences tokenised one by one, 64 pairs a batch in file order, the good and the bad
sentences passed separately, padded to the longest, a log-softmax over all positions and the whole vocabulary, in
float32. Both must choose alike in every pair; those with a margin under 1e-3 nats are counted apart, as
float32 in padded batches cannot tell. The model and the items are read before; each side tokenises for itself.
Exit status 1 if a choice differs.
"""

import json
import time
from pathlib import Path

from babylm_data.errors import parser_of, positive, run_stage

PAIRS = 64
CLOSE = 1e-3  # nats


def plain_margins(model, tokenizer, pairs: list[tuple[str, str]]) -> list[float]:
    """log p(good) - log p(bad) of each pair in nats, the official way."""
    from tqdm import tqdm

    margins = []
    for start in tqdm(range(0, len(pairs), PAIRS), desc="official way", unit=" batches", disable=None):
        batch = pairs[start : start + PAIRS]
        good, bad = (plain_sums(model, tokenizer, [pair[side] for pair in batch]) for side in (0, 1))
        margins += (good - bad).tolist()
    return margins


def plain_sums(model, tokenizer, sentences: list[str]):
    """Sums of log-probabilities of one padded batch of sentences: (len(sentences),) float32, nats."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    encoded = [tokenizer(sentence, return_offsets_mapping=True) for sentence in sentences]
    ids, seen, scored = (
        pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        for rows in (
            [entry["input_ids"] for entry in encoded],
            [entry["attention_mask"] for entry in encoded],
            [[int(end > 0) for _, end in entry["offset_mapping"]] for entry in encoded],
        )
    )
    ids, seen, scored = ids.to(model.device), seen.to(model.device), scored.to(model.device)
    with torch.no_grad():
        logprobs = model(input_ids=ids, attention_mask=seen).logits[:, :-1].log_softmax(dim=-1)
    chosen = logprobs.gather(-1, ids[:, 1:, None]).squeeze(-1)
    return (chosen * scored[:, 1:]).sum(dim=1).cpu()


def main(argv: list[str]) -> int:
    """Time both ways on the same pairs; 1 if they choose differently."""
    parser = parser_of("bench.speed", __doc__)
    parser.add_argument("model", metavar="MODEL", help="model folder")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder with full_eval/")
    parser.add_argument("--task", default="blimp_filtered", help="a task of minimal pairs [blimp_filtered]")
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="only every N-th pair [1]")
    parser.add_argument("--threads", type=positive, metavar="N", help="of the processor [as torch chooses]")
    args = parser.parse_args(argv)

    import torch

    from eval.scorer.certainty import choose
    from eval.scorer.log_probs import Scorer
    from eval.scorer.model import find_model, load_for_scoring
    from eval.tasks import TASKS, minimal_pairs

    if args.task not in (known := [name for name, task in TASKS.items() if task.load is minimal_pairs.load]):
        parser.error(f"--task {args.task}: it must be one of minimal pairs: {', '.join(known)}")
    if args.threads:
        torch.set_num_threads(args.threads)
    model, tokenizer = load_for_scoring(find_model(args.model))
    items = TASKS[args.task].load(TASKS[args.task].files(args.data)).items[:: args.every]
    pairs = [(item.choices[0].text, item.choices[1].text) for item in items]

    began = time.perf_counter()
    plain = plain_margins(model, tokenizer, pairs)
    middle = time.perf_counter()
    scores = choose(Scorer(model, tokenizer), items, args.task)
    ended = time.perf_counter()

    ours = [good - bad for good, bad in scores]
    close = sum(abs(margin) < CLOSE for margin in plain)
    differ = sum(abs(a) >= CLOSE and (a > 0) != (b > 0) for a, b in zip(plain, ours, strict=True))
    report = {
        "model": args.model,
        "parameters": model.num_parameters(),
        "pairs": len(pairs),
        "threads": torch.get_num_threads(),
        "official_way_seconds": round(middle - began, 1),
        "eval_seconds": round(ended - middle, 1),
        "times_faster": round((middle - began) / (ended - middle), 2),
        "different_choices": differ,
        "close_pairs": close,
    }
    print(json.dumps(report, indent=1))
    return int(differ > 0)


if __name__ == "__main__":
    run_stage(main)
