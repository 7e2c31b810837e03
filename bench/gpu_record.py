"""python -m bench.gpu_record CARRIED --pack DATA --data DIR        all that a run needs, in one file
    python -m bench.gpu_record CARRIED --out DIR [--minutes 10] [key.path=value …]

What a card is worth in a quarter of an hour: a hybrid, and a student of its shape that it teaches, as many passes as go
into the minutes, at most ten (distill/configs/gpu-quarter.yaml, with these fields changed). All counts but the scoring,
which takes a minute or two more: unpacking, compiling, the few steps by which it is foretold how many words fit, the
hybrid, the student.

DATA is what `python -m babylm_data --raw DIR --vocab-size 8192` made; CARRIED holds it with BLiMP and its supplement.
Into --out come, for machines of which only small files are brought back: results.json, which `python -m bench.record
--table` renders, written as soon as there is anything to tell; the student's weights in bfloat16 in pieces; and
rest.tar.gz, which unpacked beside the pieces makes a folder that AutoModelForCausalLM reads, with the scores of both.
"""

import argparse
import json
import shlex
import tarfile
import time
from pathlib import Path

from babylm_data.errors import UserError, parser_of, run_stage
from babylm_data.files import json_table
from babylm_data.sealed import verify, write_whole
from bench.record import Setting, clean, scored, timed, told
from bench.shapes import ROOT

CONFIG = "distill/configs/gpu-quarter.yaml"
TASKS = ["blimp_filtered", "supplement_filtered"]
ASKED = {"mntp": TASKS, "causal": [*TASKS, "perplexity"]}
DATA, ITEMS, ABOUT = "data", "evaluation_data", "packed.json"  # in the file that is carried
TRIED = 40  # steps by which the rate is foretold
SPARE = 0.92  # of the time that is left: what training takes beside its steps, and what the rate is off
START = 20.0  # seconds of each of the two starts
PIECE = "15MB"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = parser_of("bench.gpu_record", __doc__)
    add = parse.add_argument
    add("carried", type=Path, metavar="CARRIED", help="the file, such as carried.tar.gz")
    add("overrides", nargs="*", metavar="key.path=value", help="fields of both models")
    add("--pack", type=Path, metavar="DATA", help="write it, of this data folder")
    add("--data", type=Path, metavar="DIR", help="and these official evaluation data")
    add("--out", type=Path, metavar="DIR", help="train and score, and leave there what is to be brought back")
    add("--minutes", type=float, default=10.0, metavar="N", help="the budget [10]")
    add("--work", type=Path, default=Path("runs/gpu-record"), metavar="DIR", help="[runs/gpu-record]")
    return parse


def main(argv: list[str]) -> int:
    """Pack, or train and score; 1 if the student was over its budget."""
    args = parser().parse_intermixed_args(argv)
    if (args.pack is None) == (args.out is None) or (args.pack is None) != (args.data is None):
        raise UserError("write --pack DATA --data DIR, or --out DIR to train and score what was packed")
    if args.pack:
        pack(args.pack, args.data, args.carried)
        return 0
    if not args.carried.is_file():
        raise UserError(f"{args.carried}: there is no such file: --pack DATA --data DIR writes it")
    args.out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "bench.gpu_record", *argv])
    record = {"minutes": args.minutes, "commands": [command], "attempts": []}
    carry_out(args.carried.resolve(), args.work.resolve(), args.out.resolve(), args.overrides, record)
    return int(record["attempts"][-1]["minutes"] > args.minutes)


def pack(prepared: Path, data: Path, carried: Path) -> None:
    """Write the file that is carried."""
    from train_teachers.run import environment

    verify(prepared, "make it anew with `python -m babylm_data`")
    parts = {prepared: DATA} | {data / "full_eval" / task: f"{ITEMS}/full_eval/{task}" for task in TASKS}
    if absent := [path for path in parts if not path.is_dir()]:
        raise UserError(f"{absent[0]}: there is no such folder")
    about = {name: environment()[name] for name in ("commit", "dirty")}
    described = carried.with_name(ABOUT)
    write_whole(described, json.dumps(about) + "\n")
    with tarfile.open(carried, "w:gz") as tar:
        for path, name in (parts | {described: ABOUT}).items():
            tar.add(path, name)
    described.unlink()
    print(f"{carried}: {carried.stat().st_size / 2**20:.1f} MiB")


def carry_out(carried: Path, work: Path, out: Path, overrides: list[str], record: dict) -> None:
    """Train both and score both; `record` and its file tell what there is so far."""
    began = time.monotonic()
    from babylm_data.speed import describe_rates
    from bench.gauges import device_type
    from distill.config import DistillConfig
    from train_teachers.config import load_config

    products = describe_rates(device_type())
    config = load_config(DistillConfig, ROOT / CONFIG, overrides)
    with clean(work):
        with tarfile.open(carried) as tar:
            tar.extractall(work, filter="data")
        Path("runs").mkdir()
        Path(config.data.path).symlink_to(work / DATA)
        made_by = json_table(Path(ABOUT))
        left = 60 * record["minutes"] - (time.monotonic() - began)
        words = words_for(config, overrides, left)
        print(f"{words:,} of {config.data.words:,} words in the time", flush=True)
        for flag in ("--control", None):
            train(flag, [*overrides, f"data.words={words}"])
            run = Path("runs") / (config.control().name if flag else config.name)
            found = told(run) | {"recipe": run.name, "seed": config.seed, "products": products, "scores": {}}
            found |= {"minutes": (time.monotonic() - began) / 60}
            if found["commit"] is None:  # no repository here: that of the machine where it was packed
                found |= made_by
            record["attempts"].append(found)
            write_whole(out / "results.json", json.dumps(record, indent=1) + "\n")
        bring_back(run, out)
        for found in reversed(record["attempts"]):  # the student first
            for backend, tasks in ASKED.items():
                setting = Setting(work, None, None, [], work / ITEMS, tasks, backend, 1)
                scores = scored(setting, work / "runs" / found["recipe"])
                found["scores"] |= {f"{task}, {backend}": value for task, value in scores.items()}
                write_whole(out / "results.json", json.dumps(record, indent=1) + "\n")
        rest(run, out)


def words_for(config, overrides: list[str], seconds: float) -> int:
    """How many words both can be trained on in so many seconds, by some steps of each."""
    began = time.monotonic()
    tokens, words = (
        json_table(Path(config.data.path) / "manifest.json")["splits"]["train"][k]
        for k in ("tokens", "words")
    )
    tried = [
        *overrides,
        f"data.words={round(TRIED * config.batch_size * config.data.seq_len * words / tokens)}",
        "log_every=5",
        "validations=1",
        "name=trial",
        "control_name=trial-control",
        "teachers.own.path=runs/trial-control/export",
    ]
    taken = 0.0  # seconds a word
    for flag, name in (("--control", "trial-control"), (None, "trial")):
        train(flag, tried)
        taken += seconds_a_word(Path("runs") / name)
    left = seconds - (time.monotonic() - began) - 2 * START
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


def bring_back(run: Path, out: Path) -> None:
    """The weights in bfloat16, in pieces."""
    import torch
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import load_file

    weights = {
        name: value.to(torch.bfloat16) for name, value in load_file(run / "export/model.safetensors").items()
    }
    save_torch_state_dict(weights, out, max_shard_size=PIECE)


def rest(run: Path, out: Path) -> None:
    """All else of the student's export, how it was trained, and the scores of both."""
    with tarfile.open(out / "rest.tar.gz", "w:gz") as tar:
        for path in sorted((run / "export").iterdir()):
            if path.suffix != ".safetensors":
                tar.add(path, path.name)
        for path in sorted(run.parent.glob("gpu-quarter*/*.json*")):
            tar.add(path, f"{path.parent.name}/{path.name}")
        for path in sorted(run.parent.glob("gpu-quarter*/eval-*/scores.json")):
            tar.add(path, f"{path.parents[1].name}/{path.parent.name}.json")


if __name__ == "__main__":
    run_stage(main)
