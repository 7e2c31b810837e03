"""Raw text to a data folder that every later stage reads.

Reads the text files of an official BabyLM download (--raw: DIR/train/*.train, DIR/dev/*.dev, DIR/test/*.test,
the older layouts, or plain .txt), or the kit's own small corpus (--source nursery), or a data set of the
Hugging Face hub (--source hf:NAME). A dev or test that is not there is taken from the end of train.
Writes --out: tokenizer/, {train,dev,test}.{tokens,words,documents}.bin, text/{dev,test}/*.txt, manifest.json.

  python -m babylm_data --raw CORPUS --out runs/data
  python -m babylm_data --raw CORPUS --share 0.1 --out runs/tenth-data
  python -m babylm_data --source nursery --out runs/nursery-data
  python -m babylm_data --raw CORPUS --tokenizer openai-community/gpt2 --out runs/gpt2-data
  python -m babylm_data --source hf:wikitext:wikitext-2-raw-v1 --out runs/wikitext-data
"""

import argparse
import os
import time
from pathlib import Path

from babylm_data.errors import UserError, parser_of, positive, run_stage

CARVED = "no such files: the last 0.5 % of each source's train documents"


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = parser_of("babylm_data", __doc__)
    add = parser.add_argument
    add("--raw", type=Path, metavar="DIR", help="folder of raw text files to read")
    add("--source", metavar="NAME", help="instead of --raw: nursery, or hf:NAME[:CONFIG] (its column text)")
    add("--out", type=Path, metavar="DIR", required=True, help="data folder to write")
    add("--vocab-size", type=positive, metavar="N", help="tokenizer entries (default 8192; nursery 1024)")
    add(
        "--tokenizer",
        metavar="DIR",
        help="adopt the tokenizer of a folder or hub model instead of training one",
    )
    add("--prefix-space", action="store_true", help="tokenizer puts a space before each document")
    add("--track", default="2025/strict-small", help="word budget (default 2025/strict-small)")
    add("--allow-words", type=positive, default=0, metavar="N", help="accept up to N words of train text")
    add("--share", type=share, metavar="X", help="keep so much of each source's train words, 0.1 a tenth")
    add("--seed", type=int, default=0, help="of the nursery corpus, or of what --share keeps (default 0)")
    add("--words", type=positive, default=25_000, metavar="N", help="of the nursery corpus (default 25000)")
    add("--workers", type=positive, metavar="N", help="processes and threads (default: one a core)")
    add("--check", action="store_true", help="say which files would be read; write nothing")
    return parser.parse_args(argv)


def share(text: str) -> float:
    """A part of a whole, for an option."""
    if not 0 < (value := float(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def report(out: Path, manifest: dict) -> None:
    """Print words by source, tokens and tokens per word of each split."""
    for split, counts in manifest["splits"].items():
        for source, part in counts["sources"].items():
            print(f"  {split:5} {source:18} {part['words']:>12,} words {part['documents']:>9,} documents")
        print(
            f"  {split:5} {'all':18} {counts['words']:>12,} words {counts['documents']:>9,} documents "
            f"{counts['tokens']:>12,} tokens ({counts['tokens'] / counts['words']:.3f} a word)"
        )
        if unknown := counts.get("unknown"):
            print(f"  {split:5} {unknown:,} tokens stand for text that the tokenizer cannot write")
        if not any(part["files"] for part in counts["sources"].values()):
            print(f"  {split:5} {CARVED}")
    if "test" not in manifest["splits"]:
        print("  test  no such files, and too little train text to take some from: there is no test split")


def print_inputs(args: argparse.Namespace) -> None:
    """The files of each source that would be read; UserError where that cannot be the corpus."""
    from babylm_data.sources import SPLITS, find_inputs, raw_folder
    from babylm_data.words import load_track

    with raw_folder(args.source or "raw", raw=args.raw, seed=args.seed, words=args.words) as folder:
        inputs = find_inputs(folder, load_track(args.track))
    for split in SPLITS:
        for source, files in inputs.get(split, {}).items():
            print(f"  {split:5} {source:18} {', '.join(path.name for path in files)}")
        if split not in inputs:
            print(f"  {split:5} {CARVED}")


def main(argv: list[str]) -> None:
    """Make the data folder, or find that it is there."""
    args = parse(argv)
    if (args.raw is None) == (args.source is None):
        raise UserError("name the text to read: either --raw DIR, or --source nursery or hf:NAME")
    if args.share and args.source == "nursery":
        raise UserError("--source nursery is as long as --words says: leave out --share")
    if args.tokenizer and (args.vocab_size or args.prefix_space):
        raise UserError(
            "--tokenizer brings its own entries and rules: leave out --vocab-size and --prefix-space"
        )
    if args.workers:
        os.environ["RAYON_NUM_THREADS"] = str(args.workers)  # the tokenizer library's own threads
    from babylm_data.fingerprint import fingerprint
    from babylm_data.hub import TOKENIZER_FILES, find_folder
    from babylm_data.prepare import Settings, prepare
    from babylm_data.provenance import command_line
    from babylm_data.sealed import write_whole
    from babylm_data.status import in_one

    adopted = None
    if args.tokenizer:
        absent = f"--tokenizer: there is no folder {args.tokenizer}"
        adopted = find_folder(args.tokenizer, absent, TOKENIZER_FILES)
    if args.check:
        return print_inputs(args)
    nursery = {"seed": args.seed, "words": args.words} if args.source == "nursery" else {}
    settings = Settings(
        source=args.source or "raw",
        track=args.track,
        vocab_size=None if adopted else args.vocab_size or (1024 if nursery else 8192),  # nursery: 500 words
        prefix_space=args.prefix_space,
        tokenizer=fingerprint(adopted) if adopted else None,
        share=args.share,
        **(nursery or ({"seed": args.seed} if args.share else {})),
    )
    start = time.perf_counter()
    with in_one("data", args.out.name):
        manifest, was_there = prepare(
            args.out,
            settings,
            raw=args.raw,
            tokenizer=adopted,
            allow_words=args.allow_words,
            workers=args.workers,
        )
        if was_there:
            print(f"{args.out} is there already, intact and made from the same input by the same settings")
        else:
            print(f"{args.out} made in {time.perf_counter() - start:.0f} seconds")
        if not (command := args.out / "command.txt").exists():  # outside the seal: it decides nothing
            write_whole(command, command_line() + "\n")
    report(args.out, manifest)


if __name__ == "__main__":
    run_stage(main)
