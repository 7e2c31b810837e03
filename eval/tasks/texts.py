"""Held-out text as documents: found, read and counted before any model is loaded."""

import os
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from babylm_data.corpus import line_parts
from babylm_data.errors import UserError
from babylm_data.files import files_below, refuse_hollow, say_unread, utf8_text

SUFFIXES = (
    ".txt",
    ".dev",
    ".test",
    ".raw",
)  # what is text in a folder; a file named outright may end as it likes
SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Text:
    """One file. `name` is "<parent folder>/<file>", `split` that folder if it is dev or test."""

    name: str
    split: str | None
    documents: list[str]

    @property
    def words(self) -> int:
        """Whitespace words."""
        return sum(len(document.split()) for document in self.documents)

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of the documents, without the blank lines between them."""
        return sum(len(document.encode("utf-8")) for document in self.documents)


def find_texts(paths: list[str]) -> list[Path]:
    """The files that `paths` (files, or folders searched to any depth) name, in a fixed order."""
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            below = list(files_below(path))
            files = [p for p in below if p.suffix.lower() in SUFFIXES]
            for file in files:
                refuse_hollow(file)
            say_unread(path, [p for p in below if p not in files])
            if not files:
                raise UserError(
                    f"there is no text in {path} (looked for {', '.join('*' + s for s in SUFFIXES)})"
                )
        elif path.exists():
            refuse_hollow(path)
            files = [path]
        else:
            raise UserError(f"there is no text file or folder {path}: correct --text")
        for file in files:
            name = text_name(file)
            if found.setdefault(name, file).resolve() != file.resolve():
                raise UserError(
                    f"{found[name]} and {file} would both be reported as {name}: score one at a time"
                )
    return list(found.values())


def text_name(path: Path) -> str:
    """What a file is called in the scores: its folder and its name."""
    return f"{_folder(path)}/{path.name}"


def _folder(path: Path) -> str:
    """The name of the folder that a file was found in, which may be a link."""
    return Path(os.path.abspath(path)).parent.name


def read_text(path: Path, max_words: int | None = None) -> Text:
    """The documents of a file, up to its first `max_words` whitespace words."""
    # a line ends as in a corpus: "\r\r\n" is what a conversion made of "\r\n"
    lines = re.split(r"\r+\n|\r|\n", utf8_text(path, "convert it first", newline=""))
    whole = "\n".join(part.removesuffix("\n") for line in lines for part in line_parts(line))
    if "\0" in whole:
        raise UserError(f"{path} has zero bytes and is no text (UTF-16?): convert it to UTF-8 first")
    if max_words is not None:
        whole = _first_words(whole, max_words)
    runs = groupby(whole.split("\n"), key=lambda line: bool(line.strip()))
    documents = ["\n".join(lines) for is_text, lines in runs if is_text]
    if not documents:
        raise UserError(f"{path} holds no text: leave it out of --text")
    parent = _folder(path)
    return Text(text_name(path), parent if parent in SPLITS else None, documents)


def _first_words(text: str, count: int) -> str:
    for number, word in enumerate(re.finditer(r"\S+", text), start=1):
        if number == count:
            return text[: word.end()]
    return text
