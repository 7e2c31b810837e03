"""Hostile input through every program: each ends with status 0 or 2, one line, in seconds, and nothing half-written.

A small and right workplace (corpus, data, model, tokenizer, evaluation data, scores, submission file) is spoilt in one
place at a time, drawn by the seed: a file cut, flipped, emptied, turned into a link or a device, a value of a JSON or
YAML file replaced by an odd one, an odd option, an odd environment. What went wrong is printed with its number, and a
piece can be played again alone.

  python -m bench.hostile
  python -m bench.hostile --seed 7 --count 300
  python -m bench.hostile --seed 7 --only 123
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tqdm import tqdm

from babylm_data.errors import from_zero, parser_of, positive, run_stage
from babylm_data.sealed import SEAL, damage
from bench.hostile_workplace import PROGRAMS, command_of, environment, make_workplace

SLOW = 10.0  # seconds beyond what the program takes on right input
LIMIT = 60.0  # then it is killed
LONGEST = 1000  # letters of a line
# bars, wandb's report, argparse's usage
PROGRESS = re.compile(r"\d+%\||\d+ words \[|\d+it \[|^wandb: |^usage: | {4,}")
ODD = [
    None,
    True,
    -1,
    0,
    10**12,
    -(10**30),
    300_000,
    1_000_000,
    2**21,
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


def carriage_returns(path: Path, rng: Random) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r"))


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
    "carriage returns": carriage_returns,
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


BESIDE = {
    "._{}": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X",
    ".DS_Store": b"\x00\x00\x00\x01Bud1",
    ".{}.swp": b"b0VIM 9.0",
    "{}~": b"older",
    "#{}#": b"saved",
    "~${}": b"owner",
    "README": b"What this is.\n",
    "README.md": b"# What this is\n",
    "{}.gz": b"\x1f\x8b\x08\x00",
    "{}.orig": b"older\n",
    "copy of {}": None,
    "\u00fcml\u00e4ut {}": None,
    "a\nb {}": None,
    "\udcff{}": None,
    "{}.lock": b"",
}
"""Names that lie beside a file, and what is in them; None: the same as in it."""


def put_beside(path: Path, rng: Random) -> str:
    """Something beside the file: what other programs leave, a copy, a folder, a link to nothing, a pipe."""
    if rng.random() < 0.7:
        name, content = rng.choice(list(BESIDE.items()))
        beside = path.with_name(name.format(path.name))
        beside.write_bytes(path.read_bytes() if content is None else content)
        return f"{beside.name!r} beside it"
    beside = path.with_name(f"other{path.suffix}")
    kind = rng.choice(("folder", "link to nothing", "link to the folder", "pipe", "device"))
    if kind == "folder":
        beside.mkdir()
        (beside / path.name).write_bytes(path.read_bytes())
    elif kind == "pipe":
        os.mkfifo(beside)
    else:
        beside.symlink_to({"link to nothing": "nowhere", "device": "/dev/zero"}.get(kind, "."))
    return f"{beside.name!r}, a {kind}, beside it"


def draw(number: int, seed: int, workplace: Path, places: Path) -> Piece:
    """A copy of the workplace, spoilt in one place."""
    rng = Random(f"{seed} {number}")
    program = rng.choice(list(PROGRAMS))
    place = places / str(number) / "work"  # what it writes into .. is its own
    shutil.copytree(workplace, place, symlinks=True)
    arguments, settings, way = list(PROGRAMS[program].arguments), {}, rng.random()
    read = rng.choice([path for pattern in PROGRAMS[program].reads for path in _files(place, pattern)])
    if way > 0.65 and way < 0.8 and read.suffix not in (".json", ".yaml"):
        way = 0.2
    if way < 0.45:
        what = rng.choice(list(SPOILS))
        SPOILS[what](read, rng)
    elif way < 0.65:
        what = put_beside(read, rng)
    elif way < 0.8:
        what = odd_value(read, rng)
    elif way < 0.92:
        at = rng.randrange(len(arguments))
        arguments[at] = rng.choice(WORDS)
        what = f"argument {at} is {arguments[at][:20]!r}"
    else:
        settings = rng.choice(SETTINGS)
        what = f"environment {settings}"
    if way < 0.8:
        what = f"{read.relative_to(place)}: {what}"
    return Piece(number, program, what, arguments, settings, place)


def _files(place: Path, pattern: str) -> list[Path]:
    return sorted(path for path in place.glob(pattern) if path.is_file())


def play(piece: Piece, usual: dict[str, float]) -> str | None:
    """What was wrong about it, if anything."""
    sealed = {seal.parent for seal in piece.place.rglob(SEAL) if not damage(seal.parent)}
    start, began = time.monotonic(), time.time()
    try:
        process = subprocess.run(
            command_of(piece.program, piece.arguments),
            cwd=piece.place,
            env=environment() | piece.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        return f"killed after {LIMIT:.0f} s"
    seconds, said = time.monotonic() - start, process.stderr.decode("utf-8", "replace")
    lines = [line for line in re.split(r"[\r\n]+", said) if line.strip() and not PROGRESS.search(line)]
    last = lines[-1] if lines else ""
    if "Traceback" in said or process.returncode not in statuses(piece):
        return f"status {process.returncode}: {last}"
    if process.returncode == 2 and "error: " not in last:
        return f"status 2, and its last line is {last!r}"
    if process.returncode == 2 and lines[1:]:
        return f"status 2 with {len(lines)} lines, the first is {lines[0]!r}"
    if len(last) > LONGEST:
        return f"a line of {len(last)} letters: {last[:100]}"
    if seconds > usual.get(piece.program, 0.0) + SLOW:
        return f"took {seconds:.0f} s"
    return half_written(piece.place, sealed, began)


def statuses(piece: Piece) -> tuple[int, ...]:
    """How its program may end; 1 where it looks for faults and finds some, 3 after a check with stand-ins."""
    if piece.program in ("eval.submission check", "eval.submission evaluate listing"):
        fine = (0, 1)
    else:
        fine = (0, 3) if "--check" in piece.arguments else (0,)
    return (*fine, 2) if piece.what else fine


def half_written(place: Path, sealed: set[Path], began: float) -> str | None:
    """What a call that began then left unfinished or broke: temporary files, sealed folders, JSON that is none."""
    if left := [path.name for path in place.rglob(".*.tmp*")]:
        return f"left {left[0]}"
    for folder in sealed | {seal.parent for seal in place.rglob(SEAL) if seal.stat().st_mtime > began}:
        if found := damage(folder):
            return found
    for path in place.rglob("*.json"):
        if path.is_file() and path.stat().st_mtime > began:
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                return f"{path.relative_to(place)}: {error}"
    return None


def main(argv: list[str]) -> int:
    """Play the pieces; 1 if anything was wrong with any."""
    parser = parser_of("bench.hostile", __doc__)
    parser.add_argument("--seed", type=from_zero, default=0, metavar="N", help="of what is drawn [0]")
    parser.add_argument("--count", type=positive, default=300, metavar="N", help="pieces [300]")
    parser.add_argument("--only", type=from_zero, nargs="+", metavar="N", help="these pieces alone")
    parser.add_argument("--processes", type=positive, default=2, metavar="N", help="at a time [2]")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="hostile-") as temporary:
        workplace, places = Path(temporary, "workplace"), Path(temporary, "pieces")
        make_workplace(workplace)
        usual: dict[str, float] = {}
        for program, (arguments, _) in PROGRAMS.items():
            place = places / program.replace(" ", "-") / "work"
            shutil.copytree(workplace, place, symlinks=True)
            start = time.monotonic()
            wrong = play(Piece(-1, program, "", arguments, {}, place), {program: LIMIT})
            usual[program] = time.monotonic() - start
            print(f"right input: {program}: {wrong or 'as it should be'}, {usual[program]:.1f} s", flush=True)
        numbers = args.only or range(args.count)
        print(f"seed {args.seed}", flush=True)

        def one(number: int) -> bool:
            piece = draw(number, args.seed, workplace, places)
            wrong = play(piece, usual)
            if wrong:
                tqdm.write(f"{number}: {piece.program}: {piece.what}: {wrong[:300]}")
            shutil.rmtree(piece.place.parent)
            return bool(wrong)

        with ThreadPoolExecutor(args.processes) as pool:
            wrongs = sum(tqdm(pool.map(one, numbers), total=len(numbers), unit=" pieces", mininterval=1.0))
        print(f"{len(numbers)} pieces, {wrongs} wrong")
    return int(wrongs > 0)


if __name__ == "__main__":
    run_stage(main)
