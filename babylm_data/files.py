"""What people's folders hold beside what is meant: told from it in one place, for every stage.

Clutter (what a Mac, an editor or a notebook leaves beside each file, and READMEs) is passed over. A name without its
content (a link to nothing, as git-annex and DVC leave, or a pointer of Git LFS or git-annex) is refused as what it is.
"""

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from babylm_data.errors import UserError

CLUTTER = re.compile(
    r"\..*|~\$.*|#.*#|.*~|__MACOSX|Thumbs\.db|desktop\.ini|(?i:(README|LICEN[CS]E|CITATION)(\.(md|txt|rst|cff|pdf))?)"
)
POINTERS = {
    b"version https://git-lfs.github.com/spec/": "Git LFS and not the file: run `git lfs pull`",
    b"/annex/objects/": "git-annex and not the file: run `git annex get .`",
}
"""What begins a file that only tells where its content is; the second as well after a path, ../../.git."""
BAD_JSON = (ValueError, RecursionError)
"""What json.loads raises for text that is no JSON, or is nested beyond its stack."""
NAMED = 6  # of what is not read, before "and n more"


def is_clutter(path: Path) -> bool:
    """Is this beside what is meant, by its name: hidden, an editor's own, or a README?"""
    return CLUTTER.fullmatch(path.name) is not None


def entries(folder: Path) -> list[Path]:
    """What a folder holds, in order, without clutter."""
    return sorted(path for path in folder.iterdir() if not is_clutter(_written(path)))


def _written(path: Path) -> Path:
    """The path itself; UnicodeEncodeError now, and not when it is written down, for a name that is no text here."""
    path.name.encode()
    return path


def files_below(folder: Path) -> Iterator[Path]:
    """Every file at any depth, links to folders followed, without clutter, in a fixed order.

    Some may be names without content. UserError for links in a circle.
    """
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent)
        between = [above for above in here.parents if above == folder or folder in above.parents]
        if any(here.resolve() == above.resolve() for above in between):
            raise UserError(f"{here} is a link to a folder that holds it: remove it")
        folders[:] = sorted(name for name in folders if not is_clutter(here / name))
        for name in sorted(names):
            if not is_clutter(here / name):
                yield _written(here / name)


def say_unread(folder: Path, paths: list[Path]) -> None:
    """Name what lies in `folder` and is not read, if anything."""
    if paths:
        names = [f"{path.name}/" if path.is_dir() else path.name for path in paths]
        more = f" and {len(names) - NAMED} more" if names[NAMED:] else ""
        print(f"not read in {folder}: {', '.join(names[:NAMED])}{more}")


def refuse_hollow(path: Path) -> None:
    """UserError for a name without content: a link to nothing, a pointer of Git LFS, a device, a broken disk."""
    if not path.exists():
        known = " (git-annex or DVC?)" if path.is_symlink() else ""
        raise UserError(f"{path} is a link to nothing{known}: fetch the file, or remove the link")
    if not path.is_file():
        raise UserError(f"{path} is no file: replace it by one, or remove it")
    try:
        with open(path, "rb") as file:
            start = re.sub(rb"^(\.\./)*(\.git)?(?=/annex/)", b"", file.read(200))
    except PermissionError:
        raise
    except OSError as error:  # a broken disk, of which the error would name no file
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    for beginning, what in POINTERS.items():
        if start.startswith(beginning):
            raise UserError(f"{path} is a pointer of {what} in its folder")


def utf8_text(path: Path, remedy: str, newline: str | None = None) -> str:
    """The text of a file without its byte-order mark; UserError, ending with `remedy`, for other bytes than UTF-8's.

    `newline` as for `open`: None makes every end of a line \\n, "" leaves them as they are.
    """
    if path.exists():
        refuse_hollow(path)
    data = path.read_bytes()
    try:
        return io.StringIO(data.decode("utf-8-sig"), newline).read()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line} is not UTF-8 text: {remedy}") from None


def json_table(path: Path) -> dict | None:
    """The JSON object in a file; None if there is none."""
    try:
        content = json.loads(utf8_text(path, ""))
    except (UserError, OSError, *BAD_JSON):
        return None
    return content if isinstance(content, dict) else None


def json_lines(path: Path, key: str) -> list[dict]:
    """The JSON objects on the lines of a file, each with a whole number under `key`; none if it is not there.

    A last line that is torn, as by a killed writer, is left out; UserError for any other that is no such object.
    """
    remedy, found = "repair or delete that line", []
    lines = utf8_text(path, remedy).splitlines() if path.exists() else []
    for number, text in enumerate(lines, start=1):
        try:
            record = json.loads(text)
        except BAD_JSON:
            if number == len(lines):
                break
            record = None
        if not isinstance(record, dict) or not isinstance(record.get(key), int):
            raise UserError(f"{path}, line {number}, is no JSON object with a {key!r}: {remedy}")
        found.append(record)
    return found
