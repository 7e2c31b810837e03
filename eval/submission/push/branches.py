"""What each branch of a model repository shall hold: main the bundle, and a branch for each revision of the run."""

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.sealed import SEAL, sha256, verify
from eval.results.json_files import read_json
from eval.results.scores_table import is_scored
from eval.runs.caveats import caveats
from eval.submission.card import PARTS, read_card
from eval.submission.leaderboard import MARKS, file_pattern, in_part

CARD = "README.md"


@dataclass(frozen=True)
class LocalFile:
    """A file to send."""

    source: Path | bytes = field(repr=False)
    """Where it lies; or all of it, if it is made for the hub alone."""

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """By which the hub knows a large file."""
        made = isinstance(self.source, bytes)
        return hashlib.sha256(self.source).hexdigest() if made else sha256(self.source)

    @cached_property
    def blob(self) -> str:
        """By which the hub knows any other file: what `git hash-object` says of it."""
        return hashlib.sha1(b"blob %d\0" % self.size + self.read()).hexdigest()

    def read(self) -> bytes:
        """All of it."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def is_at(self, entry: object) -> bool:
        """Does an entry of the hub's listing (None: there is none) stand for these very bytes?"""
        if entry is None or entry.size != self.size:
            return False
        return entry.lfs.sha256 == self.sha256 if entry.lfs else entry.blob_id == self.blob


@dataclass(frozen=True)
class Branch:
    """What a branch of the repository shall hold."""

    name: str
    message: str
    files: dict[str, LocalFile] = field(repr=False)
    """By their paths in the branch."""
    alone: bool
    """Is whatever else lies there removed? From main only what an older push sent: its owner may have added a licence,
    a picture."""

    def is_stale(self, path: str) -> bool:
        """Has a file that lies there, and is not among `files`, to go? Not the hub's own .gitattributes."""
        return path != ".gitattributes" and (self.alone or bool(sent_before().fullmatch(path)))

    def described(self, sent: set[str] | None = None) -> str:
        """One line, or before sending a line for each file too."""
        total = sum(file.size for file in self.files.values())
        line = f"{self.name}: {len(self.files)} files, {total:,} bytes"
        if sent is None:
            listed = [f"{file.size:>15,}  {path}" for path, file in sorted(self.files.items())]
            return "\n".join([f'{line}, "{self.message}"', *listed])
        size = sum(self.files[path].size for path in sent)
        return f"{line}: sent {len(sent)} ({size:,} bytes), all are there as they are here"


@cache
def sent_before() -> re.Pattern:
    """What a push writes to main under names that change: a marked file of the leaderboard, other shards of weights."""
    return re.compile(rf"(predictions|results)/.*|{file_pattern()}|model.*\.safetensors(\.index\.json)?")


def planned(run: Path, repo: str) -> list[Branch]:
    """What `run` becomes in `repo`, main last: who finds it whole finds all; UserError for what is wrong."""
    again = f"build it again with `python -m eval.submission build {run}`"
    bundle = run / "submission"
    verify(bundle, again)
    summary = read_json(run / "summary.json", "train the run to its end", ("name", "words_seen"))
    revisions = summary.get("revisions", [])
    sealed = sealed_files(bundle)
    rest = {path: file for path, file in sealed.items() if not path.startswith("export/")}
    files = sealed_files(bundle / "export") | {path: rest[path] for path in rest if path not in (SEAL, PARTS)}
    if CARD not in files or "export/config.json" not in sealed:
        raise UserError(f"{bundle} lacks {CARD} or a model: {again}")
    refuse_other_export(run, again)
    card = read_card(bundle, again)
    files[CARD] = LocalFile(card.of_main(repo, revisions).encode("utf-8"))
    seen = summary["words_seen"] + (summary.get("words_before") or 0)  # as the revisions count
    name, words = summary["name"], f"{seen:,} words of exposure"
    branches = []
    for revision in revisions:
        folder = run / "revisions" / revision["name"]
        verify(folder, "a revision cannot be made afterwards, train the run again")
        message = f"{name} after {revision['words_seen']:,} words of exposure"
        own = LocalFile(card.of_revision(repo, revision).encode("utf-8"))
        branches.append(Branch(revision["name"], message, sealed_files(folder) | {CARD: own}, alone=True))
    return [
        *branches,
        Branch("main", f"{name}, final, after {words}, with its submission", files, alone=False),
    ]


def refuse_other_export(run: Path, again: str) -> None:
    """The model in the bundle is the one that the run has now, or two models would go by one name."""
    verify(run / "export", "train the run again")
    bundle = run / "submission"
    own = read_json(run / "export" / SEAL, "train the run again")
    sent = read_json(bundle / SEAL, again)
    if own != {path.removeprefix("export/"): sent[path] for path in sent if path.startswith("export/")}:
        raise UserError(f"{bundle / 'export'} is another model than {run / 'export'}: {again}")


def doubts(run: Path) -> list[str]:
    """Why what the bundle holds is no submission, a line each, whether or not it has the leaderboard's file."""
    bundle, again = run / "submission", f"build it again with `python -m eval.submission build {run}`"
    summary = read_json(run / "summary.json", "train the run to its end")
    words = read_json(bundle / "ledger.json", again, ["readings"])
    scores = read_json(bundle / "scores.json", again, ["tasks"])["tasks"]
    marked = [path.name for path in sorted(bundle.glob("*.json")) if path.name.startswith(MARKS)]
    lines = [f"{name} is no submission, as its name says" for name in marked]
    lines += caveats(summary, words)
    return lines + in_part({task: result for task, result in scores.items() if is_scored(result)})


def sealed_files(folder: Path) -> dict[str, LocalFile]:
    """The files of a sealed folder by their paths in it, and its seal; UserError for one that was put there later."""
    seal = read_json(folder / SEAL, "write the folder again")
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        known = inside.as_posix() in seal or path.name == SEAL or inside.parts[-1].startswith(".")
        if path.is_file() and not known:
            raise UserError(f"{path} was put there after {folder.name} was sealed: move it elsewhere")
    return {path: LocalFile(folder / path) for path in [*seal, SEAL]}
