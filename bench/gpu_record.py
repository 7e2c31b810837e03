"""python -m bench.gpu_record CARRIED --pack DATA --data DIR        all that a run needs, in one file
    python -m bench.gpu_record CARRIED --out DIR [--minutes 10] [key.path=value …]

What a card is worth in a quarter of an hour: a hybrid, and a student of its shape that it teaches, as many passes as go
into the minutes, at most ten (distill/configs/gpu-quarter.yaml, with these fields changed). All counts but the scoring:
unpacking, compiling, the few steps by which it is foretold how many words fit, the hybrid, the student.

The scoring takes two or three minutes more. Where a command may take ten in all, give this one 9.5 and call it again
with the same words while --work is still there: where both are trained it goes on with the scores that are lacking.

DATA is what `python -m babylm_data --raw DIR --vocab-size 8192` made; CARRIED holds it with BLiMP and its supplement.
Into --out come, for machines of which only small files are brought back: results.json, which `python -m bench.record
--table` renders, several seeds as one table (each with an --out and a --work of its own; give later ones the data.words
of the first); the student's weights in bfloat16 in pieces; and rest.tar.gz, which unpacked beside the pieces makes a
folder that AutoModelForCausalLM and `python -m eval` read, with how both were trained and scored, item by item. Each is
written as soon as there is anything to tell.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError, parser_of, run_stage
from babylm_data.files import json_table
from babylm_data.sealed import SEAL, sha256, verify, write_whole
from bench.record import PACKAGES, TRAINED, command_of, fresh_folder, gflops, origin, run_facts, scored, timed
from bench.shapes import ROOT

if TYPE_CHECKING:
    from distill.config import DistillConfig

CONFIG = "distill/configs/gpu-quarter.yaml"
TASKS = ["blimp_filtered", "supplement_filtered"]
ASKED = {"mntp": TASKS, "causal": [*TASKS, "perplexity"]}
RESULTS = "results.json"
DATA, ITEMS, ABOUT = "data", "evaluation_data", "packed.json"  # in the file that is carried
OURS = ("name", "control_name", "teachers", "data.path")  # fields that are as they must be
TRIED = 40  # steps by which the rate is foretold
SPARE = 0.92  # of the time that is left: what training takes beside its steps, and what the rate is off
START = 20.0  # seconds of each of the two starts
PIECE = "16.7MB"  # just below 16 MiB
KEPT = ("*.json", "*.jsonl", "*.yaml", "eval-*/scores.json", "eval-*/*/items.json")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("bench.gpu_record", __doc__)
    add = parse.add_argument
    add("carried", type=Path, metavar="CARRIED", help="the file, such as carried.tar.gz")
    add("overrides", nargs="*", metavar="key.path=value", help="fields of both models")
    add("--pack", type=Path, metavar="DATA", help="write it, of this data folder")
    add("--data", type=Path, metavar="DIR", help="and these official evaluation data")
    add("--out", type=Path, metavar="DIR", help="train and score, and leave there what is to be brought back")
    add("--minutes", type=float, default=10.0, metavar="N", help="the budget, scoring apart [10]")
    add("--work", type=Path, default=Path("runs/gpu-record"), metavar="DIR", help="[runs/gpu-record]")
    return parse


def main(argv: list[str]) -> int:
    """Pack, or train and score; 1 if the student was over its budget or a scoring failed."""
    began = time.monotonic()
    args = parser().parse_intermixed_args(argv)
    if (args.pack is None) == (args.out is None) or (args.pack is None) != (args.data is None):
        raise UserError("write --pack DATA --data DIR, or --out DIR to train and score what was packed")
    if args.pack:
        pack(args.pack, args.data, args.carried)
        return 0
    if not args.carried.is_file():
        raise UserError(f"{args.carried}: there is no such file: --pack DATA --data DIR writes it")
    if fixed := [word for word in args.overrides if word.startswith(OURS)]:
        raise UserError(f"{fixed[0]}: it has to be as {CONFIG} has it: leave it out")
    work, carried, out = args.work.resolve(), args.carried.resolve(), args.out.resolve()
    if inside := [path for path in (carried, out, Path.cwd()) if work in (path, *path.parents)]:
        raise UserError(f"--work {args.work} is emptied, and {inside[0]} lies in it: name another folder")
    from distill.config import DistillConfig
    from train_teachers.config import load_config

    overrides = ["compile=true", *args.overrides]
    config = load_config(DistillConfig, ROOT / CONFIG, overrides)
    command = command_of("bench.gpu_record", argv)
    found = json_table(out / RESULTS)
    if found and found["commands"] != [command]:
        raise UserError(f"{args.out} holds what came of `{found['commands'][0]}`: name another folder")
    out.mkdir(parents=True, exist_ok=True)
    asked = [sha256(carried), code(), args.minutes, args.overrides]
    trained = json_table(work / TRAINED)
    if trained and trained["asked"] != asked:
        raise UserError(
            f"{args.work} holds two models by `{trained['record']['commands'][0]}`, from another file or other code: "
            "delete it, or name another --work"
        )
    if trained:
        print("both are trained: their scores are next", flush=True)
        record = trained["record"]
    else:
        record = {"minutes": args.minutes, "commands": [command], "attempts": []}
        with fresh_folder(work):
            train_both(carried, out, config, overrides, record, began)
            write_whole(Path(TRAINED), json.dumps({"asked": asked, "record": record}))
    with contextlib.chdir(work):
        pieces(Path("runs", record["attempts"][-1]["recipe"], "export"), out)
        failed = score(record, asked, out)
    return int(failed or record["attempts"][-1]["minutes"] > args.minutes)


def pack(prepared: Path, data: Path, carried: Path) -> None:
    """Write the file that is carried; UserError for what would fail where it is carried."""
    from distill.config import DistillConfig
    from train_teachers.config import load_config

    verify(prepared, "make it anew with `python -m babylm_data`")
    parts = {prepared: DATA} | {data / "full_eval" / task: f"{ITEMS}/full_eval/{task}" for task in TASKS}
    if absent := [path for path in (*parts, prepared / "text/test") if not path.is_dir()]:
        raise UserError(f"{absent[0]}: there is no such folder")
    size, wanted = (
        json_table(prepared / "manifest.json")["vocab_size"],
        load_config(DistillConfig, ROOT / CONFIG).data.vocab_size,
    )
    if size != wanted:
        print(f"warning: {prepared} has {size:,} tokens, {CONFIG} is for {wanted:,}", file=sys.stderr)
    timed(["eval", "--check", "--data", str(data), "--tasks", *TASKS])
    about = json.dumps(origin() | {"code": code()}).encode()
    half = carried.with_name(f"{carried.name}.half")
    with tarfile.open(half, "w:gz", dereference=True) as tar:
        for path, name in parts.items():
            tar.add(path, name)
        described = tarfile.TarInfo(ABOUT)
        described.size = len(about)
        tar.addfile(described, io.BytesIO(about))
    os.replace(half, carried)
    print(f"{carried}: {carried.stat().st_size / 2**20:.1f} MiB")


def code() -> str:
    """Of all that trains and scores: whether it was changed between packing and running."""
    files = sorted(
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".yaml")
    )
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def train_both(
    carried: Path, out: Path, config: "DistillConfig", overrides: list[str], record: dict, began: float
) -> None:
    """Train both, here in a clean folder; `began`, of time.monotonic(), is when the minutes began to count."""
    rates = gflops()
    try:
        with tarfile.open(carried) as tar:
            tar.extractall(filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{carried} is damaged ({said}): bring it here anew") from None
    Path("runs").mkdir()
    Path(config.data.path).symlink_to(Path(DATA).resolve())
    here, packed = origin(), json_table(Path(ABOUT))
    if here["commit"] is None:  # no repository here: that of the machine where it was packed
        here = {"commit": packed["commit"], "dirty": packed["dirty"] or packed["code"] != code()}
    words = words_for(config, overrides, began + 60 * record["minutes"])
    print(f"{words:,} of {config.data.words:,} words in the time", flush=True)
    for flag in ("--control", None):
        train(flag, [*overrides, f"data.words={words}"])
        run = Path("runs") / (config.control().name if flag else config.name)
        found = run_facts(run) | here | {"recipe": run.name, "seed": config.seed, "prepared": True}
        found |= {"gflops": [rates, gflops()], "minutes": (time.monotonic() - began) / 60, "scores": {}}
        record["attempts"].append(found)
        bring_back(out, record)


def score(record: dict, asked: list, out: Path) -> bool:
    """Score what is not scored yet, here where both were trained; whether one failed."""
    bring_back(out, record)
    failed = False
    # the control first: the student's weights are brought back, and could be scored elsewhere
    for found in record["attempts"]:
        for backend, tasks in ASKED.items():
            if all(f"{task}, {backend}" in found["scores"] for task in tasks):
                continue
            try:
                scores = scored(Path("runs") / found["recipe"], Path(ITEMS), tasks, backend)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
                failed = True
                continue
            found["scores"] |= {f"{task}, {backend}": value for task, value in scores.items()}
            write_whole(Path(TRAINED), json.dumps({"asked": asked, "record": record}))
            bring_back(out, record)
    return failed


def words_for(config: "DistillConfig", overrides: list[str], ends: float) -> int:
    """How many words both can be trained on until time.monotonic() is `ends`, by some steps of each."""
    manifest = json_table(Path(config.data.path) / "manifest.json")
    tokens, words = (manifest["splits"]["train"][name] for name in ("tokens", "words"))
    tried = [
        *overrides,
        f"data.words={round(TRIED * config.batch_size * config.data.seq_len * words / tokens)}",
        "log_every=5",
        "validations=1",
        "name=trial",
        "control_name=trial-control",
    ]
    taken = 0.0  # seconds a word
    for flag, name in (("--control", "trial-control"), (None, "trial")):
        train(flag, tried)
        taken += seconds_a_word(Path("runs") / name)
    if (left := ends - time.monotonic() - 2 * START) <= 0:
        raise UserError(f"{-left:.0f} seconds are lacking after the trial alone: give more --minutes")
    return min(config.data.words, max(1, round(SPARE * left / taken)))


def seconds_a_word(run: Path) -> float:
    """Of the second half of a run's steps."""
    with open(run / "metrics.jsonl", encoding="utf-8") as file:
        lines = [line for line in map(json.loads, file) if "seconds" in line]
    half, last = lines[len(lines) // 2], lines[-1]
    return (last["seconds"] - half["seconds"]) / (last["words_seen"] - half["words_seen"])


def train(flag: str | None, overrides: list[str]) -> None:
    """The student, or with a flag its control."""
    timed(["distill", CONFIG, *overrides, *([flag] if flag else [])])


def pieces(export: Path, out: Path) -> None:
    """The weights in bfloat16, in pieces."""
    import torch
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import load_file

    weights = load_file(export / "model.safetensors")
    for before in out.glob("model*.safetensors"):
        before.unlink()
    halved = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    save_torch_state_dict(halved, out, max_shard_size=PIECE)
    for index in out.glob("*.index.json"):  # a file less to bring back
        shutil.move(index, index.name)


def bring_back(out: Path, record: dict) -> None:
    """What there is to tell so far, and all else of the student's export, but the seal of its whole weights."""
    write_whole(out / RESULTS, json.dumps(record, indent=1) + "\n")
    exports = [Path("runs", found["recipe"], "export") for found in record["attempts"][1:]]  # the student's
    half = out / "rest.half"
    with tarfile.open(half, "w:gz") as tar:
        for path in [
            *(path for export in exports for path in export.glob("*")),
            *Path().glob("*.index.json"),
        ]:
            if path.suffix != ".safetensors" and path.name != SEAL:
                tar.add(path, path.name)
        for found in record["attempts"]:
            run = Path("runs") / found["recipe"]
            for path in sorted(path for pattern in KEPT for path in run.glob(pattern)):
                tar.add(path, path.relative_to("runs"))
    os.replace(half, out / "rest.tar.gz")


if __name__ == "__main__":
    run_stage(main)
