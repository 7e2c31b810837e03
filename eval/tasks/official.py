"""The rows that the official files have, so that a file which is missing or cut short is noticed."""

from pathlib import Path

ROWS = Path(__file__).with_name("official_rows.yaml")


def official_rows(task: str) -> dict[str, int] | None:
    """Rows of each official file of a task, by file stem; None where there are no official files."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.load(ROWS)).get(task)


def deviations(folder: Path, files: list[Path]) -> list[str]:
    """How the `files` of a task's `folder` differ from the official ones, one phrase a file; [] if they do not."""
    official = official_rows(folder.name)
    if official is None:
        return []
    found = {path.stem: count_rows(path) for path in files}
    unlike = [stem for stem in sorted({*official, *found}) if found.get(stem) != official.get(stem)]
    return [_phrase(folder / f"{stem}.jsonl", found.get(stem), official.get(stem)) for stem in unlike]


def _phrase(path: Path, rows: int | None, official: int | None) -> str:
    if rows is None:
        return f"{path} is missing (0 of its {official:,} rows)"
    if official is None:
        return f"{path} has {rows:,} rows, and no official file (0 rows) has that name"
    return f"{path} has {rows:,} rows, the official file {official:,}"


def count_rows(path: Path) -> int:
    """Lines of a file that are not empty."""
    with open(path, "rb") as file:
        return sum(bool(line.strip()) for line in file)
