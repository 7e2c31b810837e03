"""Hostile input through every program: each ends with status 0 or 2, one line, in seconds, and nothing half-written.

A small and right workplace (corpus, data, model, tokenizer, evaluation data, scores, submission file) is spoilt in one
place at a time, drawn by the seed: a file cut, flipped, emptied, turned into a link or a device, a value of a JSON or
YAML file replaced by an odd one, an odd option, an odd environment. What went wrong is printed with its number, and a
piece can be played again alone. `eval.submission check` may end with 1 as well: it has found faults.

  python -m bench.hostile
  python -m bench.hostile --seed 7 --count 300
  python -m bench.hostile --seed 7 --only 123
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from babylm_data.errors import from_zero, positive, run_stage
from babylm_data.sealed import damage

ROOT = Path(__file__).parent.parent
SLOW = 10.0  # seconds beyond what the program takes on right input
LIMIT = 60.0  # then it is killed
PYTHON = [sys.executable, "-m"]
PROGRAMS = {
    "babylm_data": ["--raw", "raw", "--vocab-size", "300", "--out", "out"],
    "babylm_data adopting": ["--raw", "raw", "--tokenizer", "model", "--out", "out"],
    "train_teachers": ["teacher.yaml"],
    "train_teachers checking": ["teacher.yaml", "--check"],
    "distill": ["student.yaml", "--check"],
    "eval": ["model", "--tasks", "nursery", "perplexity", "--data", "eval", "--text", "text", "--limit", "5"],
    "eval.finetune": ["model", "--tasks", "sst2", "--data", "glue", "--epochs", "1", "--batch-size", "4"],
    "eval.compare": ["scores", "again"],
    "eval.submission check": ["submission.json"],
    "eval.submission standing": ["scores/scores.json"],
}
READS = {
    "babylm_data": ["raw/train/childes.train", "raw/dev/childes.dev", "raw/train/wiki.train"],
    "babylm_data adopting": ["raw/train/wiki.train", "model/tokenizer.json", "model/tokenizer_config.json"],
    "train_teachers": ["teacher.yaml", "data/manifest.json", "data/SHA256.json", "data/train.tokens.bin"],
    "train_teachers checking": ["teacher.yaml", "data/tokenizer/tokenizer.json", "data/dev.words.bin"],
    "distill": ["student.yaml", "model/config.json", "model/model.safetensors", "model/tokenizer.json"],
    "eval": ["model/config.json", "model/model.safetensors", "model/tokenizer.json", "text/a.txt"],
    "eval.finetune": [
        "glue/sst2/train.tsv",
        "glue/sst2/dev.tsv",
        "model/config.json",
        "model/model.safetensors",
    ],
    "eval.compare": ["scores/scores.json", "again/scores.json"],
    "eval.submission check": ["submission.json"],
    "eval.submission standing": ["scores/scores.json"],
}
ODD = [
    None,
    True,
    -1,
    0,
    10**12,
    -(10**30),
    1.5,
    1e308,
    "",
    "None",
    "nan",
    "\x00",
    "ä" * 300,
    [],
    [[]],
    {},
    {"a": {}},
]
ODD += ["../../etc/passwd", "/dev/zero", "a\nb", "💥", "0x10", "1e9", [1] * 50]
WORDS = [
    "",
    "-1",
    "0",
    "1e9",
    "nan",
    "10000000000000000000000",
    "x" * 500,
    "ä",
    "/dev/null",
    "a/b",
    "..",
    "--",
    "'",
    "[",
    "${a}",
]
SETTINGS = [
    {"WANDB_MODE": "of"},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"HF_ENDPOINT": "hub"},
    {"COLUMNS": "3"},
    {"TERM": "dumb", "NO_COLOR": "1"},
    {"CUDA_VISIBLE_DEVICES": "7"},
    {"OMP_NUM_THREADS": "1"},
    {"HF_HOME": "/dev/null"},
    {"TOKENIZERS_PARALLELISM": "maybe"},
]


@dataclass
class Piece:
    """One spoilt call."""

    number: int
    program: str
    what: str
    arguments: list[str]
    environment: dict[str, str]
    place: Path


def cut(path: Path, rng: Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(max(1, path.stat().st_size))])


def flip(path: Path, rng: Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 5, 100])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def replace_by(content: bytes) -> Callable[[Path, Random], None]:
    def spoil(path: Path, rng: Random) -> None:
        path.write_bytes(content)

    return spoil


def link_to(target: str) -> Callable[[Path, Random], None]:
    def spoil(path: Path, rng: Random) -> None:
        path.unlink()
        path.symlink_to(target)

    return spoil


def pipe(path: Path, rng: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path, rng: Random) -> None:
    path.unlink()
    path.mkdir()


def gone(path: Path, rng: Random) -> None:
    path.unlink()


def mark(path: Path, rng: Random) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def insert(content: bytes) -> Callable[[Path, Random], None]:
    def spoil(path: Path, rng: Random) -> None:
        data = path.read_bytes()
        at = rng.randrange(len(data) + 1)
        path.write_bytes(data[:at] + content + data[at:])

    return spoil


SPOILS = {
    "cut": cut,
    "flipped": flip,
    "empty": replace_by(b""),
    "blank": replace_by(b" \n\n \n"),
    "zeros": replace_by(bytes(1000)),
    "nested": replace_by(b"[" * 100_000),
    "nested tables": replace_by(b'{"a":' * 100_000),
    "null": replace_by(b"null"),
    "a number": replace_by(b"3"),
    "a list": replace_by(b"[1, 2]"),
    "a pointer of Git LFS": replace_by(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"),
    "UTF-16": replace_by("the dog\nsees the cat\n".encode("utf-16")),
    "a line of a megabyte": replace_by(b"a" * 1_000_000),
    "one long word": replace_by("你".encode() * 50_000 + b"\n"),
    "a link to nothing": link_to("nowhere"),
    "an endless device": link_to("/dev/zero"),
    "a link to itself": link_to("."),
    "a pipe": pipe,
    "a folder": folder,
    "gone": gone,
    "a byte-order mark": mark,
    "a byte that is no UTF-8": insert(b"\xff"),
    "a zero byte": insert(b"\x00"),
    "carriage returns": lambda path, rng: path.write_bytes(path.read_bytes().replace(b"\n", b"\r")) and None,
}


def odd_value(path: Path, rng: Random) -> str:
    """Put an odd value in the place of one somewhere in a JSON or YAML file, or leave its key out; says which."""
    import yaml

    is_json = path.suffix == ".json"
    text = path.read_text(encoding="utf-8")
    content = json.loads(text) if is_json else yaml.safe_load(text)
    holder, key, trail = {"": content}, "", []
    while isinstance(holder[key], (dict, list)) and holder[key] and (not trail or rng.random() < 0.75):
        holder = holder[key]
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        trail.append(str(key)[:20])
    if rng.random() < 0.15:
        del holder[key]
        said = "left out"
    else:
        holder[key] = rng.choice(ODD)
        said = f"is {str(holder[key])[:20]!r}"
    content = holder[""] if not trail else content
    path.write_text(
        json.dumps(content) if is_json else yaml.safe_dump(content, allow_unicode=True), encoding="utf-8"
    )
    return f"{'.'.join(trail)} {said}"


def make_workplace(place: Path) -> None:
    """Everything that the programs read, small and right."""
    from babylm_data.__main__ import main as prepare
    from eval.__main__ import main as score
    from train_teachers.config import Model
    from train_teachers.stand_ins import make_model

    here = Path.cwd()
    place.mkdir(parents=True)
    os.chdir(place)
    prepare(["--source", "nursery", "--words", "4000", "--vocab-size", "400", "--out", "data"])
    for split in ("train", "dev"):
        Path("raw", split).mkdir(parents=True)
        for source in ("childes", "wiki"):
            lines = [f"*MOT:\tthe {a} sees the {b} {source} {split}." for a in "abcdefgh" for b in "ijklmnop"]
            Path("raw", split, f"{source}.{split}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shape = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    }
    make_model(Path("model"), Model(family="llama", **shape), Path("data/tokenizer"))
    Path("text").mkdir()
    Path("text/a.txt").write_text("the dog sees the cat\n\nthe cat sleeps\n", encoding="utf-8")
    Path("glue/sst2").mkdir(parents=True)
    for name in ("train", "dev"):
        rows = "".join(f"the dog number {i} is {'good' if i % 2 else 'bad'}\t{i % 2}\n" for i in range(12))
        Path("glue/sst2", f"{name}.tsv").write_text("sentence\tlabel\n" + rows, encoding="utf-8")
    shutil.copytree("data/evaluation_data", "eval")
    common = (
        "model: {family: llama, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, "
        "max_position_embeddings: 64}\ndata: {path: data, seq_len: 16, words: 600}\n"
        "optim: {lr: 1e-3, optimizer: muon}\nbatch_size: 4\nvalidations: 1\ncompile: false\n"
        "competition: false\nwandb: {project: hostile}\n"
    )
    Path("teacher.yaml").write_text("name: teacher\n" + common, encoding="utf-8")
    losses = (
        "teachers:\n  a: {path: model}\nlosses:\n  hard: {weight: 0.5}\n"
        "  soft: {weight: {a: 0.5}, temperature: 2.0}\n"
    )
    Path("student.yaml").write_text("name: student\n" + common + losses, encoding="utf-8")
    for out in ("scores", "again"):
        score(["model", "--tasks", "nursery", "--data", "eval", "--limit", "5", "--out", out])
    Path("submission.json").write_text(
        json.dumps(
            {"blimp": {"adjunct_island": {"predictions": [{"id": "a_0", "pred": " the dog"}]}}, "glue": {}}
        ),
        encoding="utf-8",
    )
    os.chdir(here)


def draw(number: int, seed: int, workplace: Path, places: Path) -> Piece:
    """A copy of the workplace, spoilt in one place."""
    rng = Random(f"{seed} {number}")
    program = rng.choice(list(PROGRAMS))
    place = places / str(number)
    shutil.copytree(workplace, place)
    arguments, environment, way = list(PROGRAMS[program]), {}, rng.random()
    if program.startswith("eval") and "submission" not in program and program != "eval.compare":
        arguments += ["--out", "out"]
    if way < 0.45:
        path = place / rng.choice(READS[program])
        what = rng.choice(list(SPOILS))
        SPOILS[what](path, rng)
        what = f"{path.relative_to(place)}: {what}"
    elif way < 0.75 and (readable := [n for n in READS[program] if n.endswith((".json", ".yaml"))]):
        name = rng.choice(readable)
        what = f"{name}: {odd_value(place / name, rng)}"
    elif way < 0.9:
        at = rng.randrange(len(arguments))
        arguments[at] = rng.choice(WORDS)
        what = f"argument {at} is {arguments[at][:20]!r}"
    else:
        environment = rng.choice(SETTINGS)
        what = f"environment {environment}"
    return Piece(number, program, what, arguments, environment, place)


def play(piece: Piece, usual: dict[str, float]) -> str | None:
    """What was wrong about it, if anything."""
    name, *sub = piece.program.split()
    command = [*PYTHON, name, *(word for word in sub if word in ("check", "standing")), *piece.arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"} | piece.environment
    start = time.monotonic()
    try:
        process = subprocess.run(
            command,
            cwd=piece.place,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        return f"killed after {LIMIT:.0f} s"
    seconds, said = time.monotonic() - start, process.stderr.decode("utf-8", "replace")
    last = said.strip().splitlines()[-1] if said.strip() else ""
    fine = (0, 1, 2) if piece.program == "eval.submission check" else (0, 2)
    if "Traceback" in said or process.returncode not in fine:
        return f"status {process.returncode}: {last}"
    if process.returncode == 2 and "error: " not in last:
        return f"status 2, and its last line is {last!r}"
    if seconds > usual.get(piece.program, 0.0) + SLOW:
        return f"took {seconds:.0f} s"
    if left := [path.name for path in piece.place.rglob(".*.tmp-*")]:
        return f"left {left[0]}"
    out = piece.place / "out"
    if (
        piece.program.startswith("babylm_data")
        and out.is_dir()
        and any(out.iterdir())
        and (found := damage(out))
    ):
        return found
    return None


def main(argv: list[str]) -> int:
    """Play the pieces; 1 if anything was wrong with any."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.hostile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=from_zero, default=0, metavar="N", help="of what is drawn [0]")
    parser.add_argument("--count", type=positive, default=300, metavar="N", help="pieces [300]")
    parser.add_argument("--only", type=from_zero, nargs="+", metavar="N", help="these pieces alone")
    parser.add_argument("--processes", type=positive, default=2, metavar="N", help="at a time [2]")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="hostile-") as temporary:
        workplace, places = Path(temporary, "workplace"), Path(temporary, "pieces")
        make_workplace(workplace)
        usual: dict[str, float] = {}
        for program, arguments in PROGRAMS.items():
            place = places / program.replace(" ", "-")
            shutil.copytree(workplace, place)
            out = ["--out", "out"] if program in ("eval", "eval.finetune") else []
            start = time.monotonic()
            wrong = play(Piece(-1, program, "nothing", [*arguments, *out], {}, place), {program: LIMIT})
            usual[program] = time.monotonic() - start
            print(f"right input: {program}: {wrong or 'as it should be'}, {usual[program]:.1f} s", flush=True)
        print(f"seed {args.seed}", flush=True)

        def one(number: int) -> bool:
            piece = draw(number, args.seed, workplace, places)
            wrong = play(piece, usual)
            if wrong:
                print(f"{number}: {piece.program}: {piece.what}: {wrong[:300]}", flush=True)
            shutil.rmtree(piece.place)
            return bool(wrong)

        with ThreadPoolExecutor(args.processes) as pool:
            wrongs = sum(pool.map(one, args.only or range(args.count)))
        print(f"{len(args.only or range(args.count))} pieces, {wrongs} wrong")
    return int(wrongs > 0)


if __name__ == "__main__":
    run_stage(main)
