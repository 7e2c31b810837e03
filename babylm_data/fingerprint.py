"""What a tokenizer does to text, as one hash: however two files are spelled, what does the same has the same.

Entries, merges, added words, and the rules by which text is normalised and cut before. A special token that stands in
a text is text here, so of those only the ones count that a document begins or ends with, and the entries of the
vocabulary: a pad that somebody appended changes nothing that a text is made of. Padding, truncation, dropout and what
is put around a text are the caller's.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.tokenizer import Marks, marks_of
from babylm_data.tokenizer_files import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

OF_TRAINING = ("dropout",)
OF_OTHER_TEXT = ("unk_token", "fuse_unk")
"""Of a BPE: what stands for letters that it has no entry for, and a byte-level one has all."""
FLAGS = ("content", "id", "single_word", "lstrip", "rstrip", "normalized")


def fingerprint(folder: str | Path) -> str:
    """SHA-256 (hex) of what the tokenizer in `folder` does to text, and of the marks that it names."""
    loaded = load_tokenizer(folder)
    return fingerprint_of(loaded.backend_tokenizer, marks_of(loaded))


def fingerprint_of(tokenizer: "Tokenizer", marks: Marks) -> str:
    """The same of a tokenizer that is there already."""
    content = json.loads(tokenizer.to_str())  # the newest spelling, whichever the file has
    model = content["model"]
    unused = OF_TRAINING + (OF_OTHER_TEXT if model["type"] == "BPE" else ())
    does = {
        "model": {key: value or None for key, value in model.items() if key not in unused},
        "added": [
            {flag: token[flag] for flag in FLAGS}
            for token in content["added_tokens"]
            if not token["special"] or token["content"] in marks
        ],
        "normalizer": _steps(content["normalizer"]),
        "pre_tokenizer": _steps(content["pre_tokenizer"]),
        "marks": marks,
    }
    return hashlib.sha256(json.dumps(does, sort_keys=True).encode()).hexdigest()


def _steps(rule: dict | None) -> list[dict]:
    """A rule as a list of steps, however it is nested, without what is about offsets alone."""
    if rule is None:
        return []
    if rule["type"] == "Sequence":
        return [step for part in rule.get("normalizers", rule.get("pretokenizers")) for step in _steps(part)]
    return [{key: value for key, value in rule.items() if key != "trim_offsets"}]
