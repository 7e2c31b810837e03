"""The tokenizer: train a byte-level BPE, or adopt one or a WordPiece, and save it.

Any text survives a byte-level BPE (all 256 bytes are in the vocabulary). In one trained here special ids are fixed, and
`<s>` is put in front by the tokenizer itself, so that training and evaluation cannot disagree about it. For masked
models `<s>` and `</s>` are what BERT calls [CLS] and [SEP], and `<mask>` its [MASK]. Of what a WordPiece has no entry
for nothing is left but a mark, and case and accents may be lost.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from babylm_data.errors import UserError
from babylm_data.files import BAD_JSON
from babylm_data.tokenizer_files import bare, load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNK, MASK = 0, 1, 2, 3, 4
SPECIAL_TOKENS = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]  # each at the id of its place in this list
LONG_WORD = 1000
LONG_PIECE, CUT = re.compile(rf"\S{{{LONG_WORD}}}(?=\S)"), "\0"  # no clean text holds the latter
LARGEST = 2**20
SMALLEST = len(SPECIAL_TOKENS) + 256
NAMES = ("pad_token", "bos_token", "eos_token", "unk_token", "mask_token")
NAMES_OF_BERT = {"cls_token": "bos_token", "sep_token": "eos_token"}
"""BERT's names of the tokens around a text, and what they are called where text is continued."""


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
    named = dict(zip(NAMES, SPECIAL_TOKENS, strict=True))
    _write_config(folder, named | {name: named[same] for name, same in NAMES_OF_BERT.items()})


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

    UserError if it is neither a byte-level BPE that writes every text nor a WordPiece that marks what it cannot write,
    or has nothing to end a document with.
    """
    loaded = load_tokenizer(source)
    _refuse_unfit(loaded.backend_tokenizer, source)
    if not isinstance(loaded.eos_token or loaded.sep_token, str):
        raise UserError(
            f"{source}: names no eos_token and no sep_token in tokenizer_config.json: a document would have no end"
        )
    marks = marks_of(loaded)
    tokenizer, left_out = _without_appended(bare(loaded), {*marks, _mask_of(loaded, Path(source))})
    if left_out:
        names = ", ".join(map(repr, left_out))
        print(f"{names} behind the vocabulary of {source}: left out, for no text has it")
    named = {
        name: token
        for name in (*NAMES, *NAMES_OF_BERT)
        if (token := getattr(loaded, name)) and token not in left_out
    }
    if not loaded.eos_token:  # a causal model asks for its marks by these names
        named |= {"bos_token": marks.start, "eos_token": marks.end or marks.start}
    folder.mkdir(parents=True, exist_ok=True)
    _write(tokenizer, folder)
    _write_config(folder, named)
    return tokenizer, marks


def marks_of(loaded: "PreTrainedTokenizerFast") -> Marks:
    """What a document begins and ends with, by what a tokenizer names."""
    end = loaded.eos_token or loaded.sep_token
    start = loaded.bos_token or (end if loaded.eos_token else loaded.cls_token or end)
    return Marks(start, None if start == end else end)


def is_byte_level(tokenizer: "Tokenizer") -> bool:
    """Whether it is a BPE of bytes, white space among them, so that its tokens alone tell where words begin."""
    content = json.loads(tokenizer.to_str())  # whatever older form the file has
    return content["model"]["type"] == "BPE" and '"ByteLevel"' in json.dumps(content["pre_tokenizer"])


def _mask_of(loaded: "PreTrainedTokenizerFast", folder: Path) -> str | None:
    """What hides a token, unless the model in the folder was made before it and has no such id."""
    try:
        entries = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    except (OSError, *BAD_JSON, KeyError, TypeError):  # a tokenizer alone, or a model that nobody could load
        entries = None
    has_row = loaded.mask_token and (not isinstance(entries, int) or loaded.mask_token_id < entries)
    return loaded.mask_token if has_row else None


def _without_appended(tokenizer: "Tokenizer", used: set[str | None]) -> tuple["Tokenizer", list[str]]:
    """Without special tokens at its last ids that nobody uses: models made before them have no such ids."""
    from tokenizers import Tokenizer

    content = json.loads(tokenizer.to_str())
    added = sorted(content["added_tokens"], key=lambda token: token["id"])
    used, left_out = {*used, *content["model"]["vocab"]}, []
    while added and added[-1]["special"] and added[-1]["content"] not in used:
        if added[-1]["id"] != tokenizer.get_vocab_size() - 1 - len(left_out):
            break
        left_out.append(added.pop()["content"])
    return Tokenizer.from_str(json.dumps(content | {"added_tokens": added})), left_out[::-1]


def _refuse_unfit(tokenizer: "Tokenizer", source: str | Path) -> None:
    """UserError unless it writes every byte or marks what it cannot write, and has an entry for every id."""
    from tokenizers.models import WordPiece

    entries = tokenizer.get_vocab(with_added_tokens=False)
    if is_byte_level(tokenizer):
        _refuse_lossy(tokenizer, source)
    elif not isinstance(tokenizer.model, WordPiece) or tokenizer.model.unk_token not in entries:
        raise UserError(
            f"{source}: neither a byte-level BPE nor a WordPiece with an entry for what it cannot write: use another "
            "tokenizer"
        )
    ids = set(tokenizer.get_vocab().values())
    if len(ids) != max(ids) + 1:
        gap = next(index for index in range(len(ids)) if index not in ids)
        raise UserError(
            f"{source}: its ids have gaps, {len(ids)} entries reach to {max(ids)} and none is {gap}: "
            "use another tokenizer"
        )


def _refuse_lossy(tokenizer: "Tokenizer", source: str | Path) -> None:
    """UserError unless a byte-level BPE writes every byte."""
    from tokenizers.pre_tokenizers import ByteLevel

    entries, letters = tokenizer.get_vocab(with_added_tokens=False), sorted(ByteLevel.alphabet())
    if absent := [letter for letter in letters if letter not in entries]:
        shown = " ".join(absent[:8])  # plain letters and signs stand for themselves, and come first
        raise UserError(
            f"{source}: cannot write all text: {len(absent)} of the 256 bytes have no entry ({shown} …) and would "
            "vanish: use another tokenizer, or train it with initial_alphabet=ByteLevel.alphabet()"
        )
    word = "".join(letters)
    if "" in entries or any(
        "".join(piece.value for piece in tokenizer.model.tokenize(text)) != text
        for text in (word, word[::-1])
    ):
        raise UserError(
            f"{source}: cannot write all text: its entries do not spell what they stand for (a prefix inside words, "
            "an empty entry): use another tokenizer"
        )
