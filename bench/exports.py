"""Does an export load elsewhere, with the ids that it was trained on and the same logits?

    python -m bench.exports runs/nursery/export --text runs/nursery-data/text/test
    python -m bench.exports runs/nursery/export --text DIR --python OTHER_VENV/bin/python

There: EXPORT is loaded with AutoModelForCausalLM and AutoTokenizer in a second, isolated Python that cannot import
this project (by default the same interpreter; with --python that of another environment, such as the versions that
the official pipelines pin). Here: the ids are those of the encoder that writes training data, the model is the one
that `python -m eval` loads. Compared are the ids of 1,000 lines of the text, spread evenly, and of every tenth of
them the logits at every position that the model has room for.
Exit status 1 on a difference, 2 if there is nothing to compare or EXPORT does not load.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from babylm_data.errors import UserError, parser_of, run_stage

LINES, LOGITS_OF_EVERY, LOGITS_WITHIN = 1000, 10, 1e-4

ELSEWHERE = """
import importlib.util, json, sys
if any(importlib.util.find_spec(name) for name in ("babylm_data", "train_teachers", "distill")):
    sys.exit("this Python can import the project, so that it loads there proves nothing")
import torch, transformers, tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer
export, every = sys.argv[1], int(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(export)
model = AutoModelForCausalLM.from_pretrained(export).float().eval()
ids = [tokenizer(line)["input_ids"] for line in json.load(open("lines.json", encoding="utf-8"))]
with torch.inference_mode(), open("logits.bin", "wb") as file:
    for row in ids[::every]:
        logits = model(input_ids=torch.tensor([row[:model.config.max_position_embeddings]])).logits[0]
        file.write(logits.numpy().tobytes())
versions = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}, torch {torch.__version__}"
json.dump({"ids": ids, "versions": versions}, open("found.json", "w", encoding="utf-8"))
"""


def read_lines(text: Path) -> list[str]:
    """At most `LINES` lines of the *.txt under `text`, spread evenly."""
    files = sorted(text.rglob("*.txt")) if text.is_dir() else [text]
    try:
        found = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if line]
    except UnicodeDecodeError:
        raise UserError(f"{text} holds a file that is not UTF-8: name another with --text") from None
    if not found:
        raise UserError(f"{text} holds no line in a *.txt: name a folder of text with --text")
    count = min(LINES, len(found))
    return [found[index * len(found) // count] for index in range(count)]


def elsewhere(python: str, export: Path, lines: list[str], folder: Path) -> tuple[list[list[int]], str]:
    """What an isolated `python` makes of the export: ids, versions, and in `folder`/logits.bin its logits (float32)."""
    program = shutil.which(python)
    if program is None:
        raise UserError(f"{python} is no program: name a Python interpreter with --python")
    (folder / "lines.json").write_text(json.dumps(lines), encoding="utf-8")
    command = [os.path.abspath(program), "-I", "-c", ELSEWHERE, str(export.resolve()), str(LOGITS_OF_EVERY)]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise UserError(f"{python} does not load {export}: {reason}")
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return found["ids"], found["versions"]


def training_ids(export: Path, lines: list[str]) -> list[list[int]]:
    """The ids of each line as training data has them, without the `</s>` that ends a document there."""
    from tokenizers import Tokenizer

    from babylm_data.encode import document_encoder

    encoder = document_encoder(Tokenizer.from_file(str(export / "tokenizer.json")))
    return [encoder.encode(line).ids[:-1] for line in lines]


def compare_logits(model, ids: list[list[int]], path: Path) -> tuple[int, float]:
    """(how many logits, largest difference) between `model` here and those in `path`; NaN if either has one."""
    import torch

    rows = [row[: model.config.max_position_embeddings] for row in ids]
    shape = sum(map(len, rows)), model.config.vocab_size
    there = np.memmap(path, dtype=np.float32, mode="r")  # long lines and a large vocabulary make gigabytes
    if there.size != shape[0] * shape[1]:
        raise UserError(
            f"{shape[0] * shape[1]:,} logits here, {there.size:,} there: another length or vocabulary"
        )
    there, begin, furthest = there.reshape(shape), 0, 0.0
    for row in rows:
        with torch.inference_mode():
            here = model(input_ids=torch.tensor([row])).logits[0].numpy()
        furthest = np.maximum(furthest, np.abs(here - there[begin : begin + len(row)]).max())  # keeps a NaN
        begin += len(row)
    return there.size, float(furthest)


def main(argv: list[str]) -> int:
    """Parse, load twice, compare."""
    parser = parser_of("bench.exports", __doc__)
    parser.add_argument("export", type=Path, help="folder of a model, runs/NAME/export")
    parser.add_argument("--text", type=Path, required=True, help="a *.txt, or a folder of them")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the other environment")
    args = parser.parse_args(argv)

    from eval.scorer.model import find_model, load_for_scoring

    lines, export = read_lines(args.text), find_model(str(args.export))
    model, _ = load_for_scoring(export, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        there, versions = elsewhere(args.python, export, lines, Path(folder))
        here = training_ids(export, lines)
        differing = sum(a != b for a, b in zip(here, there, strict=True))
        print(f"there: {versions}\n{len(lines):,} lines, {differing} with other ids")
        if differing:
            return 1
        count, furthest = compare_logits(model, here[::LOGITS_OF_EVERY], Path(folder) / "logits.bin")
    print(f"{count:,} logits, largest difference {furthest:.2e}")
    return 0 if furthest <= LOGITS_WITHIN else 1


if __name__ == "__main__":
    run_stage(main)
