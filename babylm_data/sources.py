"""Where text comes from: an official download, the embedded corpus, or a data set by its name on the hub.

Each ends as a folder of raw text files in one of the official layouts: later steps know one form only.
"""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import entries, files_below, refuse_hollow, say_unread
from babylm_data.hub import refuse_bad_endpoint
from babylm_data.nursery.corpus import write_nursery
from babylm_data.sealed import sha256
from babylm_data.words import MILLION, Track

SPLITS = ("train", "dev", "test")
HUB_SPLITS = {"train": ("train",), "dev": ("validation", "valid", "dev"), "test": ("test",)}
CHUNK_NUMBER = re.compile(r"[._-]\d+$")  # childes_00.train and childes_01.train are one source
TEXT_COLUMN = "text"
LONGEST = 300  # letters of what a library says: of a data set in several forms it names these

Inputs = dict[str, dict[str, list[Path]]]
"""split -> source -> its files, all in sorted order."""


def find_inputs(raw: Path, track: Track) -> Inputs:
    """The raw files of a folder by split and source; UserError if there is nothing to train on."""
    if not raw.is_dir():
        raise UserError(f"{raw} is not a folder: name the folder of the downloaded corpus")
    size = f"{track.corpus_words // MILLION}M"  # a download may hold the 10M and the 100M corpus side by side
    folders = {
        "train": ["train", f"train_{size}", f"babylm_{size}"],
        "dev": ["dev", "babylm_dev"],
        "test": ["test", "babylm_test"],
    }
    inputs: Inputs = {}
    read: set[Path] = set()
    for split in SPLITS:
        found: list[Path] = []
        for folder in [*(raw / name for name in folders[split]), raw]:
            if folder.is_symlink() and not folder.exists():
                refuse_hollow(folder)
            if folder.is_dir() and (
                found := [p for p in entries(folder) if _belongs(p, split, folder == raw)]
            ):
                read |= {folder, *found}
                break
        for path in found:
            refuse_hollow(path)
            if path.stat().st_size == 0:
                raise UserError(f"{path} is empty: download it again, or remove it")
            source = CHUNK_NUMBER.sub("", path.stem)
            inputs.setdefault(split, {}).setdefault(source, []).append(path)
    if "train" not in inputs:
        there = ", ".join(sorted(path.name for path in raw.iterdir())[:8]) or "nothing"
        raise UserError(
            f"{raw} holds no *.train or *.txt to train on (expected train/*.train, found {there})"
        )
    for folder in sorted(read | {raw}):
        if folder.is_dir():
            say_unread(folder, [path for path in entries(folder) if path not in read])
    if strange := sorted(inputs.get("dev", {}).keys() - inputs["train"].keys()):
        print(f"dev has sources that train has not: {', '.join(strange)}")
    return inputs


def _belongs(path: Path, split: str, flat: bool) -> bool:
    """Is this a file of the split? In a flat folder a .txt is train text unless it is called dev or test."""
    ending = path.suffix.lower()
    if path.is_dir():
        return False
    if ending == ".txt":
        names = {name: "dev" for name in HUB_SPLITS["dev"]} | {"test": "test"}
        return not flat or names.get(path.stem.lower(), "train") == split
    return ending == f".{split}"


def describe(inputs: Inputs) -> dict[str, dict[str, list[dict]]]:
    """split -> source -> [{name, sha256, bytes}]: what decides, with the settings, all that is made."""
    described = {
        split: {
            source: [{"name": p.name, "sha256": sha256(p), "bytes": p.stat().st_size} for p in files]
            for source, files in sources.items()
        }
        for split, sources in inputs.items()
    }
    names: dict[str, str] = {}
    for split, sources in described.items():
        for file in (file for files in sources.values() for file in files):
            if twin := names.get(file["sha256"]):
                raise UserError(f"{twin} and {split}/{file['name']} are the same text: remove one of them")
            names[file["sha256"]] = f"{split}/{file['name']}"
    return described


@contextlib.contextmanager
def raw_folder(source: str, *, raw: Path | None, seed: int, words: int) -> Iterator[Path]:
    """A folder of raw text for `source` ("raw", "nursery" or "hf:NAME[:CONFIG]"), while the context lasts."""
    if source == "raw":
        yield Path(raw)
        return
    with tempfile.TemporaryDirectory(prefix="babylm-") as temporary:
        if source == "nursery":
            write_nursery(Path(temporary), seed=seed, words=words)
            yield Path(temporary) / "raw"
        elif source.startswith("hf:"):
            yield _hub_folder(source.removeprefix("hf:"), Path(temporary))
        else:
            raise UserError(
                f"unknown source {source!r}: use nursery or hf:NAME[:CONFIG], or name a folder with --raw"
            )


def _hub_folder(reference: str, folder: Path) -> Path:
    """A data set, by hub name or as a local folder of parquet, jsonl or text, as raw files in `folder`."""
    name, _, config = (reference, "", "") if Path(reference).exists() else reference.partition(":")
    try:
        return _official_files(name) or _write_rows(name, config or None, folder)
    except UserError:
        raise
    except (
        Exception
    ) as error:  # the libraries raise a dozen unrelated kinds for a name, a network, a bad file
        reason = " ".join(str(error).split())[:LONGEST]
        raise UserError(f"cannot load the data set {name!r} ({type(error).__name__}: {reason})") from error


def _official_files(name: str) -> Path | None:
    """The folder of a data set kept as official *.train files, which `datasets` does not read."""
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        refuse_bad_endpoint()
        folder = Path(snapshot_download(name, repo_type="dataset", allow_patterns=[f"*.{s}" for s in SPLITS]))
    return folder if any(path.suffix.lower() == ".train" for path in files_below(folder)) else None


def _write_rows(name: str, config: str | None, folder: Path) -> Path:
    """Write the column "text" of each split to a file. One line is a line, more are a document."""
    from datasets import load_dataset_builder

    local = list(files_below(Path(name))) if Path(name).is_dir() else []
    for path in local:
        linked = next((up for up in path.parents if up.is_symlink() and Path(name) in up.parents), None)
        if linked:
            raise UserError(f"{linked} is a link, and `datasets` follows none: put the folder itself there")
        refuse_hollow(path)
    builder = load_dataset_builder(name, config)
    data = builder.as_streaming_dataset()
    splits = {split: next((n for n in names if n in data), None) for split, names in HUB_SPLITS.items()}
    if local:
        read = {Path(file) for n in splits.values() if n for file in builder.config.data_files[n]}
        say_unread(Path(name), [path for path in local if path.absolute() not in read])
    for split, its_name in splits.items():
        if its_name is None:
            continue
        rows = data[its_name]
        path, nulls = folder / split / f"{Path(name).name}.{split}", 0
        path.parent.mkdir()
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                text = row.get(TEXT_COLUMN)
                if text is None and TEXT_COLUMN in row:
                    nulls += 1
                    continue
                if TEXT_COLUMN not in row:
                    raise UserError(f"{name} has no column {TEXT_COLUMN!r}, only {', '.join(row)}")
                if not isinstance(text, str):
                    kind = type(text).__name__
                    raise UserError(
                        f"{name} has a {kind} where its column {TEXT_COLUMN!r} should have a text"
                    )
                text = text.removesuffix("\n")
                file.write(f"\n{text}\n\n" if "\n" in text else f"{text}\n")
        if nulls:
            print(f"{split}: {nulls:,} rows of {name} have no text and are left out")
        if not path.stat().st_size:
            print(f"{split} of {name} has no rows with text: it is left out")
            shutil.rmtree(path.parent)
    return folder
