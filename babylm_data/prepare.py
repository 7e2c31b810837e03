"""Raw text to a sealed data folder: clean, check the word budget, train the tokenizer, encode."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from babylm_data.clean import Counts, Splits, carve, clean_all, keep_share, read_documents
from babylm_data.corpus import RULES
from babylm_data.encode import batched, encode_split
from babylm_data.errors import UserError
from babylm_data.fingerprint import fingerprint_of
from babylm_data.sealed import damage, sealed_folder
from babylm_data.sources import SPLITS, describe, find_inputs, raw_folder
from babylm_data.tokenizer import OWN_MARKS, adopt_tokenizer, save_tokenizer, train_tokenizer
from babylm_data.tokens import FORMAT, read_manifest, token_dtype
from babylm_data.words import Track, load_track


@dataclass(frozen=True)
class Settings:
    """All that decides what comes out, beside the input files; kept in the manifest."""

    source: str
    """raw, nursery or hf:NAME[:CONFIG]."""
    track: str
    """The track whose word budget holds, `<year>/<track>`."""
    vocab_size: int | None
    """Entries of the tokenizer, special tokens included; None for one that was adopted."""
    prefix_space: bool = False
    """Whether a space is put before each document."""
    seed: int | None = None
    """Of the embedded corpus, or of what is kept of another; None where nothing is drawn."""
    words: int | None = None
    """Size of the embedded corpus; None for other sources."""
    share: float | None = None
    """Of the words of each source's train text, what is kept, by the seed; None: all."""
    rules: int = RULES
    """Version of the cleaning rules."""
    tokenizer: str | None = None
    """Fingerprint of the tokenizer that was adopted; None where one is trained."""


def prepare(
    out: Path,
    settings: Settings,
    *,
    raw: Path | None = None,
    tokenizer: Path | None = None,
    allow_words: int = 0,
    workers: int | None = None,
) -> tuple[dict, bool]:
    """Make the data folder `out`; returns its manifest, and whether it was there already.

    `tokenizer` is the folder of one to adopt, that of the fingerprint in `settings`.
    """
    track = load_track(settings.track)
    out = Path(out).resolve()
    with raw_folder(settings.source, raw=raw, seed=settings.seed, words=settings.words) as folder:
        inputs = find_inputs(folder, track)
        files = describe(inputs)
        if manifest := finished(out, settings, files):
            return manifest, True
        with sealed_folder(out) as target:
            splits = clean_all(inputs, target / "text", workers or os.cpu_count() or 1)
            # of all the text, so that every share is watched and scored on the same
            for split in SPLITS:
                if split not in splits:
                    carve(target / "text", splits, split)
            if settings.share:
                keep_share(target / "text", splits, settings.share, settings.seed)
            check_budget(splits["train"], track, allow_words)
            manifest = tokenize(target, splits, settings, files, tokenizer)
            if settings.source == "nursery":
                shutil.copytree(folder, target / "raw")
                shutil.copytree(folder.parent / "evaluation_data", target / "evaluation_data")
            (target / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest, False


def finished(out: Path, settings: Settings, files: dict) -> dict | None:
    """The manifest of `out` if it is whole and made of this; UserError if it is something else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / "manifest.json").is_file():
        raise UserError(f"{out} exists and is not a data folder: choose another --out")
    manifest = read_manifest(out)
    earlier = {
        split: {source: entry["files"] for source, entry in counts["sources"].items()}
        for split, counts in manifest["splits"].items()
    }
    old, new = _origins(manifest["settings"], earlier), _origins(asdict(settings), files)
    for key in [*new, *old]:
        if old.get(key) != new.get(key):
            raise UserError(
                f"{out} was made with {key} = {old.get(key)}, now it is {new.get(key)}: "
                "choose another --out, or delete that folder"
            )
    if found := damage(out):
        print(f"{found}: making it again")
        return None
    return manifest


def _origins(settings: dict, files: dict) -> dict[str, object]:
    """Settings and input files as one flat table, to name the first difference between two."""
    return settings | {
        f"{split}/{file['name']}": f"SHA-256 {file['sha256'][:12]}"
        for split, sources in files.items()
        for entries in sources.values()
        for file in entries
    }


def check_budget(train: dict[str, Counts], track: Track, allow_words: int) -> None:
    """Refuse a corpus over the track's budget, unless so many words were asked for."""
    words = sum(counts["words"] for counts in train.values())
    if words > max(track.corpus_words, allow_words):
        raise UserError(
            f"the train text has {words:,} words, over the {track.corpus_words:,} of track {track.name}: "
            f"use less text, or add --allow-words {words} where the rules allow it"
        )


def tokenize(
    target: Path, splits: Splits, settings: Settings, files: dict, adopted: Path | None = None
) -> dict:
    """Train the tokenizer on the train text (or adopt one), encode all, drop the train text; returns the manifest."""

    def documents(split: str, doing: str) -> Iterator[str]:
        total = sum(counts["documents"] for counts in splits[split].values())
        with tqdm(total=total, desc=doing, unit=" documents", disable=None) as bar:
            for source in splits[split]:
                for document in read_documents(target / "text" / split / f"{source}.txt"):
                    yield document
                    bar.update()

    if adopted:
        tokenizer, marks = adopt_tokenizer(adopted, target / "tokenizer")
    else:
        tokenizer = train_tokenizer(
            batched(documents("train", "training the tokenizer")),
            vocab_size=settings.vocab_size,
            prefix_space=settings.prefix_space,
        )
        marks = OWN_MARKS
        save_tokenizer(tokenizer, target / "tokenizer")
    entries = tokenizer.get_vocab_size()
    manifest = {
        "format": FORMAT,
        "track": settings.track,
        "vocab_size": entries,
        "tokenizer": fingerprint_of(tokenizer, marks),
        "dtype": token_dtype(entries),
        "settings": asdict(settings),
        "splits": {},
    }
    for split, sources in splits.items():
        counts = encode_split(documents(split, f"encoding {split}"), tokenizer, target, split, marks)
        # two independent counts: of the text, and of the token stream that the ledger is kept by
        words = sum(source["words"] for source in sources.values())
        if adopted and counts["words"] != words:
            raise UserError(
                f"{adopted}: by its tokens the {split} text has {counts['words']:,} words, by its white space "
                f"{words:,}: a tokenizer that changes white space cannot be used"
            )
        assert counts["words"] == words
        origin = files.get(split, {})  # a split carved from train has no files of its own
        manifest["splits"][split] = counts | {
            "sources": {name: source | {"files": origin.get(name, [])} for name, source in sources.items()}
        }
    shutil.rmtree(target / "text" / "train")
    return manifest
