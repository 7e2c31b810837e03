"""The byte-level BPE tokenizer: train it, or adopt one, and save it.

Any text survives it (all 256 bytes are in the vocabulary). In one trained here special ids are fixed, and `<s>` is
put in front by the tokenizer itself, so that training and evaluation cannot disagree about it.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from babylm_data.errors import UserError
from babylm_data.tokenizer_files import load_tokenizer, read_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, BOS, EOS, UNK, MASK = 0, 1, 2, 3, 4
SPECIAL_TOKENS = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]  # each at the id of its place in this list
LONG_WORD = 1000
LONG_PIECE, CUT = re.compile(rf"\S{{{LONG_WORD}}}(?=\S)"), "\0"  # no clean text holds the latter
LARGEST = 2**20
SMALLEST = len(SPECIAL_TOKENS) + 256
NAMES = ("pad_token", "bos_token", "eos_token", "unk_token", "mask_token")


class Marks(NamedTuple):
    """The special tokens around each document of a training stream."""

    start: str
    end: str | None
    """None where the start of the next document is the end of this one, as for GPT-2."""


OWN_MARKS = Marks("<s>", "</s>")


def train_tokenizer(
    texts: Iterable[str] | Iterable[list[str]], *, vocab_size: int, prefix_space: bool = False
) -> "Tokenizer":
    """Train a byte-level BPE of exactly `vocab_size` entries on `texts` (documents, or lists of documents).

    Without `prefix_space` a word has one form where a document or a line starts, and another inside a line;
    with it a space is put in front of each document, as the BabyLlama recipes do.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    if vocab_size < SMALLEST:
        raise UserError(
            f"a vocabulary of {vocab_size} is too small: special tokens and bytes alone are {SMALLEST}"
        )
    if vocab_size > LARGEST:  # the library would ask for memory for all of them first
        raise UserError(f"a vocabulary of {vocab_size:,} is too large: at most {LARGEST:,}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", BOS)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=SPECIAL_TOKENS,
        # sorted: the library hands the alphabet out in the order of a hash table
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(_short_words, texts), trainer)
    if (reached := tokenizer.get_vocab_size()) != vocab_size:
        raise UserError(
            f"the corpus gives a vocabulary of {reached}, not {vocab_size}: lower --vocab-size to {reached}"
        )
    return tokenizer


def _short_words(texts: str | list[str]) -> list[str]:
    """The texts, cut inside words of over `LONG_WORD` characters: each merge goes through the whole of a word.

    A line of Chinese without a sign in it is one, and 150,000 characters of it take a minute.
    """
    pieces = []
    for text in [texts] if isinstance(texts, str) else texts:
        cut = text
        if any(len(word) > LONG_WORD for word in text.split()):
            cut = LONG_PIECE.sub(r"\g<0>" + CUT, text)
        pieces += cut.split(CUT)
    return pieces


def save_tokenizer(tokenizer: "Tokenizer", folder: str | Path) -> None:
    """Write a tokenizer that was trained here as files that transformers 4 and 5 read alike."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write(tokenizer, folder)
    _write_config(folder, dict(zip(NAMES, SPECIAL_TOKENS, strict=True)))


def _write(tokenizer: "Tokenizer", folder: Path) -> None:
    # its own `save` says of a full disk no more than Exception
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")


def _write_config(folder: Path, special_tokens: dict[str, str]) -> None:
    config = special_tokens | {
        "tokenizer_class": "PreTrainedTokenizerFast",  # transformers 5 would write a name that 4 refuses
        "model_input_names": ["input_ids", "attention_mask"],  # no token_type_ids: causal models refuse them
        "model_max_length": int(1e30),  # the library's own "no limit"
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def adopt_tokenizer(source: str | Path, folder: Path) -> tuple["Tokenizer", Marks]:
    """Copy the tokenizer of `source`, a folder, into `folder`; returns it and its marks.

    UserError if it is no byte-level BPE, which the words of exposure are counted by, cannot write every text, or has
    nothing to end a document with.
    """
    tokenizer, loaded = read_tokenizer(source), load_tokenizer(source)
    _refuse_unfit(tokenizer, source)
    if loaded.eos_token is None:
        raise UserError(
            f"{source}: names no eos_token in tokenizer_config.json: a document would have no end"
        )
    for mark in filter(None, (loaded.bos_token, loaded.eos_token)):
        if tokenizer.token_to_id(mark) is None:
            raise UserError(
                f"{source}: its mark {mark!r} is no entry of tokenizer.json: use another tokenizer"
            )
    named = {name: token for name in NAMES if (token := getattr(loaded, name)) is not None}
    tokenizer, pad = _without_appended_pad(tokenizer, named)
    if pad:
        del named["pad_token"]
        print(f"the pad {pad!r} that stands behind the vocabulary of {source} is left out: no text has it")
    folder.mkdir(parents=True, exist_ok=True)
    _write(tokenizer, folder)
    _write_config(folder, named)
    same = loaded.bos_token in (None, loaded.eos_token)
    marks = Marks(loaded.eos_token, None) if same else Marks(loaded.bos_token, loaded.eos_token)
    return tokenizer, marks


def _without_appended_pad(tokenizer: "Tokenizer", named: dict[str, str]) -> tuple["Tokenizer", str | None]:
    """Without a pad at the last id that is nothing else: models that were made before it have no place for it."""
    from tokenizers import Tokenizer

    pad, last = named.get("pad_token"), tokenizer.get_vocab_size() - 1
    used = {token for name, token in named.items() if name != "pad_token"}
    inside = tokenizer.get_vocab(with_added_tokens=False)
    if pad in used | inside.keys() or tokenizer.token_to_id(pad or "") != last:
        return tokenizer, None
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != pad]
    return Tokenizer.from_str(json.dumps(content)), pad


def _refuse_unfit(tokenizer: "Tokenizer", source: str | Path) -> None:
    """UserError unless it is a byte-level BPE with all bytes, and with an entry for every id."""
    from tokenizers.pre_tokenizers import ByteLevel

    content = json.loads(tokenizer.to_str())  # whatever older form the file has
    if content["model"]["type"] != "BPE" or '"ByteLevel"' not in json.dumps(content["pre_tokenizer"]):
        raise UserError(
            f"{source}: not a byte-level BPE, so its words cannot be counted: use another tokenizer"
        )
    entries = tokenizer.get_vocab(with_added_tokens=False)
    if absent := sorted(set(ByteLevel.alphabet()) - entries.keys()):
        shown = " ".join(absent[:8])  # plain letters and signs stand for themselves, and come first
        raise UserError(
            f"{source}: cannot write all text: {len(absent)} of the 256 bytes have no entry ({shown} …) and would "
            "vanish: use another tokenizer, or train it with initial_alphabet=ByteLevel.alphabet()"
        )
    ids = set(tokenizer.get_vocab().values())
    if gaps := sorted(set(range(max(ids))) - ids):
        raise UserError(
            f"{source}: its ids have gaps, {len(ids)} entries reach to {max(ids)} and none is {gaps[0]}: "
            "use another tokenizer"
        )
