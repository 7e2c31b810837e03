"""Raw files to clean text files, one a source, several sources at a time."""

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import as_completed
from itertools import accumulate, islice
from pathlib import Path
from random import Random

from tqdm import tqdm

from babylm_data.corpus import cleaner_for, read_lines
from babylm_data.errors import UserError
from babylm_data.processes import pool_of
from babylm_data.sources import Inputs

CARVED = 200  # without dev or test files, one document in 200 of each source becomes that
SMALL_BYTES = 4_000_000  # below this, starting other processes costs more than it saves

Counts = dict[str, int]
Splits = dict[str, dict[str, Counts]]
"""split -> source -> {words, documents} of the clean text."""


def read_documents(path: Path) -> Iterator[str]:
    """The documents of a clean text file, which are parted by one blank line."""
    lines: list[str] = []
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            if line != "\n":
                lines.append(line)
            else:
                yield "".join(lines).removesuffix("\n")
                lines = []
    if lines:
        yield "".join(lines).removesuffix("\n")


def write_documents(path: Path, documents: Iterable[str]) -> Counts:
    """Write what `read_documents` reads; returns how many words and documents they are."""
    counts = {"words": 0, "documents": 0}
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            file.write(f"\n{document}\n" if counts["documents"] else f"{document}\n")
            counts["words"] += len(document.split())
            counts["documents"] += 1
    return counts


def clean_source(source: str, files: list[Path], path: Path) -> Counts:
    """Clean the files of one source into one text file."""

    def cleaned() -> Iterator[str]:
        for file in files:
            document = None
            for document in cleaner_for(source)(read_lines(file)):
                yield document
            if document is None:
                raise UserError(f"{file} holds no text once it is cleaned: remove it")

    return write_documents(path, cleaned())


def clean_all(inputs: Inputs, text: Path, workers: int) -> Splits:
    """Clean every source into `text/<split>/<source>.txt`, the largest first, in `workers` processes."""
    jobs = {}
    for split, sources in inputs.items():
        (text / split).mkdir(parents=True)
        for source, files in sources.items():
            jobs[split, source] = (source, files, text / split / f"{source}.txt")
    sizes = {key: sum(file.stat().st_size for file in files) for key, (_, files, _) in jobs.items()}
    total = sum(sizes.values())
    counts: dict[tuple[str, str], Counts] = {}
    with tqdm(total=total, desc="cleaning", unit="B", unit_scale=True, disable=None) as bar:
        if workers == 1 or total < SMALL_BYTES:
            for key, job in jobs.items():
                counts[key] = clean_source(*job)
                bar.update(sizes[key])
        else:
            with pool_of(min(workers, len(jobs))) as pool:
                largest_first = sorted(jobs, key=lambda key: -sizes[key])
                futures = {pool.submit(clean_source, *jobs[key]): key for key in largest_first}
                for future in as_completed(futures):
                    if future.exception():
                        pool.shutdown(cancel_futures=True)
                    counts[futures[future]] = future.result()
                    bar.update(sizes[futures[future]])
    return {split: {source: counts[split, source] for source in sources} for split, sources in inputs.items()}


def keep_share(text: Path, splits: Splits, share: float, seed: int) -> None:
    """Keep so much of the words of each source's train text: whole documents, drawn by the seed, in their order."""
    for source, counts in splits["train"].items():
        train, rest = text / "train" / f"{source}.txt", text / "rest.txt"
        lengths = [len(document.split()) for document in read_documents(train)]
        drawn = list(range(len(lengths)))
        Random(f"{seed} {source}").shuffle(drawn)
        before = accumulate((lengths[place] for place in drawn), initial=0)
        kept = {place for place, words in zip(drawn, before, strict=False) if words < share * counts["words"]}
        documents = (document for place, document in enumerate(read_documents(train)) if place in kept)
        splits["train"][source] = write_documents(rest, documents)
        rest.replace(train)


def carve(text: Path, splits: Splits, split: str) -> None:
    """Move the last 0.5 % of each source's train documents (at least one, never all) to dev or test.

    UserError where that leaves nothing to watch; a test split is not needed for training, and is left out then.
    """
    carved = {}
    for source, counts in splits["train"].items():
        kept = counts["documents"] - math.ceil(counts["documents"] / CARVED)
        if not kept:
            continue
        (text / split).mkdir(exist_ok=True)
        train, rest = text / "train" / f"{source}.txt", text / "rest.txt"
        documents = read_documents(train)
        splits["train"][source] = write_documents(rest, islice(documents, kept))
        carved[source] = write_documents(text / split / f"{source}.txt", documents)
        rest.replace(train)
    if carved:
        splits[split] = carved
    elif split == "dev":
        raise UserError("there is no dev text and too little train text to take some from: add a *.dev file")
