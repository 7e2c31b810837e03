"""Does an export load elsewhere, with the same ids and logits?

    python -m bench.exports runs/nursery/export --text runs/nursery-data/text/test
    python -m bench.exports runs/nursery/export --text DIR --python OTHER_VENV/bin/python

Loads EXPORT with AutoModelForCausalLM and AutoTokenizer in a fresh, isolated Python that cannot import this project
(by default this one; with --python one of another environment, such as the versions that the official pipelines
pin) and compares token ids and logits on LINES lines of text with those of this process. Exit status 1 on a difference.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

LINES, LOGITS_WITHIN = 1000, 1e-4

ELSEWHERE = """
import json, sys
import torch, transformers, tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, lines = sys.argv[1], json.load(open(sys.argv[2], encoding="utf-8"))
try:
    import train_teachers
    sys.exit("this Python can import the project: no proof")
except ImportError:
    pass
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder).float().eval()
limit = model.config.max_position_embeddings
ids = [tokenizer(line)["input_ids"] for line in lines]
with torch.inference_mode():
    last = [model(input_ids=torch.tensor([row[:limit]])).logits[0, -1].tolist() for row in ids[::50]]
versions = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}, torch {torch.__version__}"
json.dump({"ids": ids, "last": last, "versions": versions}, open(sys.argv[3], "w"))
"""


def run(python: str, folder: Path, lines: Path) -> dict:
    """What an isolated `python` makes of the export: ids of all lines, last logits of every fiftieth."""
    with tempfile.TemporaryDirectory() as empty:
        out = Path(empty) / "out.json"
        command = [python, "-I", "-c", ELSEWHERE, str(folder.resolve()), str(lines), str(out)]
        done = subprocess.run(command, cwd=empty, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{python} does not load {folder}:\n{done.stderr[-2000:]}")
        return json.loads(out.read_text())


def main() -> None:
    """Parse, load twice, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("export", type=Path)
    parser.add_argument("--text", type=Path, required=True, help="folder of *.txt")
    parser.add_argument("--python", default=sys.executable, help="of the other environment")
    args = parser.parse_args()
    found = [
        line
        for file in sorted(args.text.rglob("*.txt"))
        for line in file.read_text("utf-8").splitlines()
        if line
    ]
    step = max(1, len(found) // LINES)
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as lines:
        json.dump(found[::step][:LINES], lines)
        lines.flush()
        here, there = (run(python, args.export, Path(lines.name)) for python in (sys.executable, args.python))
    differing = sum(a != b for a, b in zip(here["ids"], there["ids"], strict=True))
    pairs = [
        pair for a, b in zip(here["last"], there["last"], strict=True) for pair in zip(a, b, strict=True)
    ]
    furthest = max(abs(a - b) for a, b in pairs)
    print(f"here:  {here['versions']}\nthere: {there['versions']}")
    print(f"{len(here['ids']):,} lines, {differing} with other ids")
    print(f"{len(pairs):,} logits, largest difference {furthest:.2e}")
    sys.exit(differing > 0 or furthest > LOGITS_WITHIN)


if __name__ == "__main__":
    main()
