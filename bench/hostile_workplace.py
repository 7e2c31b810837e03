"""A small and right workplace for `bench.hostile`: everything that the programs read, and how each is called there."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
LLAMA = "{family: llama, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, max_position_embeddings: 64}"
RUN = f"""\
model: {LLAMA}
data: {{path: data, seq_len: 16, words: 600}}
optim: {{lr: 1e-3, optimizer: muon}}
batch_size: 4
validations: 1
compile: false
competition: false
wandb: {{project: hostile}}
"""
LOSSES = "losses:\n  hard: {weight: 0.5}\n  soft: {weight: {a: 0.5}, temperature: 2.0}\n"
CONFIGS = {
    "teacher.yaml": RUN,
    "student.yaml": RUN + "teachers:\n  a: {path: model}\n" + LOSSES,
    "lesson.yaml": RUN + "teachers:\n  a: {path: runs/teacher/export}\n" + LOSSES,
    "cached.yaml": RUN.replace("words: 600", "words: 600, offset: fixed")
    + "teachers:\n  a: {path: model, cache: {path: runs/cache, top: 4}}\n"
    + LOSSES,
}
"""Those that lie in the workplace; a run is called after its file."""


class Program(NamedTuple):
    """How a program is called on right input, and the patterns of the files that it reads."""

    arguments: list[str]
    reads: list[str]


FINISHED = [
    "config.yaml",
    "summary.json",
    "environment.json",
    "metrics.jsonl",
    "export/*",
    "eval/scores.json",
]
"""What evaluation reads of a run folder."""
LINEUP = [f"runs/{run}/{name}" for run in ("lesson", "lesson-control", "teacher") for name in FINISHED]
MODEL = ["model/*"]
DATA = ["data/*", "data/tokenizer/*"]
PROGRAMS = {
    "babylm_data": Program(["--raw", "raw", "--vocab-size", "300", "--out", "out"], ["raw/*/*"]),
    "babylm_data adopting": Program(
        ["--raw", "raw", "--tokenizer", "model", "--out", "out"],
        ["raw/train/*", "model/tokenizer.json", "model/tokenizer_config.json"],
    ),
    "train_teachers": Program(["teacher.yaml", "name=fresh"], ["teacher.yaml", *DATA]),
    "train_teachers going on": Program(
        ["teacher.yaml"], ["teacher.yaml", "runs/teacher/*", "runs/teacher/state/*/*"]
    ),
    "train_teachers checking": Program(["teacher.yaml", "--check"], ["teacher.yaml", *DATA]),
    "distill": Program(["student.yaml"], ["student.yaml", *MODEL]),
    "distill checking": Program(["student.yaml", "--check"], ["student.yaml", *MODEL]),
    "distill.cache": Program(["cached.yaml"], ["cached.yaml", *MODEL]),
    "eval": Program(
        "model --tasks nursery perplexity --data eval --text text --limit 5 --out out".split(),
        [*MODEL, "text/*", "eval/*/*/*"],
    ),
    "eval.finetune": Program(
        "model --tasks sst2 --data glue --epochs 1 --batch-size 4 --out out".split(), ["glue/*/*", *MODEL]
    ),
    "eval.harness": Program(
        "model --tasks babylm_nursery --data eval --limit 2 --out out".split(),
        ["eval/full_eval/nursery/*", *MODEL],
    ),
    "eval.aoa": Program(
        "surprisal.json --human cdi_human.csv --tokenizer model --out out".split(),
        ["surprisal.json", "cdi_human.csv", "model/tokenizer.json"],
    ),
    "eval.compare": Program(
        ["runs/teacher/eval", "runs/lesson/eval"],
        ["runs/teacher/eval/scores.json", "runs/lesson/eval/*", "runs/lesson/eval/*/*"],
    ),
    "eval.submission evaluate": Program(
        "runs/lesson --data eval --text text --full nursery --fast nursery --glue --limit 2".split(), LINEUP
    ),
    "eval.submission evaluate listing": Program(["runs/lesson", "--data", "eval", "--list"], LINEUP),
    "eval.report": Program(["runs/lesson", "--out", "page.html"], LINEUP),
    "eval.submission build": Program(["runs/lesson", "--partial"], LINEUP),
    "eval.submission push": Program(
        ["runs/lesson", "--repo", "a/b", "--partial", "--dry-run"], ["runs/lesson/submission/*", *LINEUP[:6]]
    ),
    "eval.submission check": Program(["submission.json"], ["submission.json"]),
    "eval.submission standing": Program(["scores.json"], ["scores.json"]),
}


def command_of(program: str, arguments: list[str]) -> list[str]:
    """The command line of a program: the words behind its module that are no word of ours come before `arguments`."""
    module, *rest = program.split()
    action = rest[:1] if module == "eval.submission" else []
    return [sys.executable, "-m", module, *action, *arguments]


def environment() -> dict[str, str]:
    """That of a call: the kit's modules from anywhere, and no hub."""
    return os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """With `folder` as the working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def make_workplace(place: Path) -> None:
    """Everything that `PROGRAMS` read, in a new folder."""
    from babylm_data.__main__ import main as prepare

    place.mkdir(parents=True)
    with inside(place):
        prepare(["--source", "nursery", "--words", "4000", "--vocab-size", "400", "--out", "data"])
        shutil.copytree("data/evaluation_data", "eval")
        write_texts()
        _write_answers()
        write_model()
        for name, content in CONFIGS.items():
            Path(name).write_text(content, encoding="utf-8")
        for program, arguments in (
            ("train_teachers", ["teacher.yaml"]),
            ("distill", ["lesson.yaml"]),
            ("distill", ["lesson.yaml", "--control"]),
            *(
                ("eval", f"runs/{run}/export --tasks nursery --data eval --out runs/{run}/eval".split())
                for run in ("teacher", "lesson", "lesson-control")
            ),
            ("eval.submission build", ["runs/lesson", "--partial"]),
        ):
            subprocess.run(
                command_of(program, arguments), env=environment(), check=True, stdout=subprocess.DEVNULL
            )


def write_texts() -> None:
    """A corpus, held-out text, and rows to fine-tune on."""
    for split in ("train", "dev"):
        Path("raw", split).mkdir(parents=True)
        for source in ("childes", "wiki"):
            lines = [f"*MOT:\tthe {a} sees the {b} {source} {split}." for a in "abcdefgh" for b in "ijklmnop"]
            Path("raw", split, f"{source}.{split}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path("text").mkdir()
    Path("text/a.txt").write_text("the dog sees the cat\n\nthe cat sleeps\n", encoding="utf-8")
    Path("glue/sst2").mkdir(parents=True)
    for name in ("train", "dev"):
        rows = "".join(f"the dog number {i} is {'good' if i % 2 else 'bad'}\t{i % 2}\n" for i in range(12))
        Path("glue/sst2", f"{name}.tsv").write_text("sentence\tlabel\n" + rows, encoding="utf-8")


def _write_answers() -> None:
    """What other programs have written: a submission file, surprisals of checkpoints, and when children say a word."""
    task = {"adjunct_island": {"predictions": [{"id": "a_0", "pred": " the dog"}]}}
    Path("submission.json").write_text(json.dumps({"blimp": task, "glue": {}}), encoding="utf-8")
    rows = [
        {
            "step": f"chck_{step}M",
            "word_count": step * 1_000_000,
            "target_word": word,
            "context_id": 0,
            "context": f"see the {word}",
            "surprisal": 8.0 - 4.0 / (1.0 + math.exp(number - step)),
        }
        for step in (1, 2, 3, 4, 5, 6)
        for number, word in enumerate(("dog", "cat", "bird", "tree"))
    ]
    Path("surprisal.json").write_text(json.dumps({"results": rows}), encoding="utf-8")
    months = range(16, 31)
    table = [["word", *map(str, months)]]
    for number, word in enumerate(("dog", "cat", "bird", "tree")):
        table.append([word, *(f"{1.0 / (1.0 + math.exp(20 + number - month)):.3f}" for month in months)])
    Path("cdi_human.csv").write_text("\n".join(map(",".join, table)) + "\n", encoding="utf-8")
    score = {
        "metric": "accuracy",
        "score": 0.6,
        "standard_error": 0.01,
        "official_score": 0.6,
        "by_subtask": {},
    }
    score |= {"limit": None, "partial": False, "tie_rule": "shared"}
    scores = {"model": "runs/x/export", "model_sha256": "0", "tasks": {"blimp_filtered": score}}
    Path("scores.json").write_text(json.dumps(scores), encoding="utf-8")


def write_model() -> None:
    from train_teachers.config import Model
    from train_teachers.stand_ins import make_model

    shape = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    }
    make_model(Path("model"), Model(family="llama", **shape), Path("data/tokenizer"))
