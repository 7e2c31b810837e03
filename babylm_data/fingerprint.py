"""What a tokenizer does to text, as one hash: however two files are spelled, what does the same has the same.

The entries and their ids, and the ids of some texts: everything in the vocabulary strung together in several orders,
and what tokenizers are known to disagree about. The special tokens behind the vocabulary count only where a document
begins or ends with them: a pad that somebody appended changes nothing that a text is made of. Padding, truncation and
what is put around a text are the caller's.
"""

import hashlib
import json
import random
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from babylm_data.tokenizer_files import parse_tokenizer, tokenizer_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ORDERS = 4  # of the vocabulary, strung together
LINE = 50  # entries a line
DISAGREEMENTS = (
    "",
    " ",
    "a",
    " a",
    "a ",
    "  two  spaces   three ",
    "a line\nand another\r\nand\rmore\n\n\n",
    "tab\tand\x0bfeed\x0c, no-break\u00a0space, thin\u2009space",
    "don't DON'T I'LL we've 'tis it\u2019s",
    "12 1234567890 3.14 1,000 4th x2 2x \u0661\u0662 \u00bd",
    "ONE Two thrEE camelCase snake_case http://a.b/c?d=e",
    "\ufb01ve \uff21\uff22 \u00e9 e\u0301 \u1e9b\u0323 \u212b \u2460",
    "\u00c0\u00c9 na\u00efve stra\u00dfe STRASSE \u0130i",
    "\u4f60\u597d\u4e16\u754c \u3053\u3093 \ud55c\uad6d \u041f\u0440 \u0645\u0631 \u0939\u093f",
    "\U0001f600 \U0001f468\u200d\U0001f469 zero\u200bwidth \ufeffmark \u00adsoft",
    "\x00\x01\x7f\x85 control",
    "... !! ?!? -- \u2014 \u201cquoted\u201d (a) [b] {c} <d> #e @f $g %h",
    "<s> </s> <pad> <unk> <mask> <|endoftext|> [CLS] [SEP]",
)


def fingerprint(folder: str | Path) -> str:
    """SHA-256 (hex) of what the tokenizer in `folder` does to text."""
    folder = Path(folder)
    return _fingerprint(tokenizer_json(folder), _marks(folder), str(folder))


def _marks(folder: Path) -> frozenset[str]:
    """The tokens that the folder says a text begins or ends with."""
    marks = set()
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        try:
            said = json.loads((folder / name).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            continue  # who loads it says what is wrong
        for key in ("bos_token", "eos_token"):
            mark = said.get(key) if isinstance(said, dict) else None
            marks.add(mark.get("content") if isinstance(mark, dict) else mark)
    return frozenset(mark for mark in marks if isinstance(mark, str))


@lru_cache(maxsize=16)
def _fingerprint(content: str, marks: frozenset[str], folder: str) -> str:
    tokenizer = parse_tokenizer(content, folder)
    tokenizer.encode_special_tokens = True  # a "<s>" that stands in a text is text
    entries = tokenizer.get_vocab(with_added_tokens=False)
    for index, added in tokenizer.get_added_tokens_decoder().items():
        if not added.special or added.content in marks:
            entries[added.content] = index
    texts = [*DISAGREEMENTS, *_strings(tokenizer, sorted(entries.values()))]
    try:
        ids = [encoded.ids for encoded in tokenizer.encode_batch(texts, add_special_tokens=False)]
    except Exception as error:
        raise UserError(
            f"{folder}/tokenizer.json cannot write every text ({error}): use another tokenizer"
        ) from None
    return hashlib.sha256(json.dumps([sorted(entries.items()), ids]).encode()).hexdigest()


def _strings(tokenizer: "Tokenizer", ids: list[int]) -> list[str]:
    """What the entries stand for, strung together with and without spaces between, in several orders."""
    words = tokenizer.decode_batch([[index] for index in ids], skip_special_tokens=False)
    order, lines = random.Random(0), []
    for turn in range(ORDERS):
        order.shuffle(words)
        between = " " if turn % 2 else ""
        lines += [between.join(words[i : i + LINE]) for i in range(0, len(words), LINE)]
    return lines
