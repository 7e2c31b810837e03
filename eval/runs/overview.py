"""Every run of a folder at a glance, finished or not: nothing is checked, and nothing is refused."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from babylm_data.files import BAD_JSON, json_table

TASKS = ("blimp_filtered", "blimp_fast", "nursery")
"""Of which the first that was scored stands in the table."""


@dataclass(frozen=True)
class Row:
    """One run."""

    name: str
    kind: str
    targets: str
    """What it is asked for, without which its loss says nothing."""
    state: str
    """finished, or how much of it is done."""
    words: int | None
    loss: float | None
    """Held-out hard loss, nats a token: the last that was measured."""
    score: tuple[str, float] | None
    """A task and its score, a fraction of 1."""
    changed: float
    """When it was last written to, in seconds since 1970."""


def read_rows(folder: Path) -> list[Row]:
    """The runs of a folder, the newest last."""
    found = [_row(path.parent) for path in folder.glob("*/config.yaml")]
    return sorted(found, key=lambda row: row.changed)


def overview(rows: list[Row]) -> str:
    """The rows as a table."""
    wide = max(len(row.name) for row in rows)
    line = f"{{:<{wide}}} {{:<8}} {{:<10}} {{:<9}} {{:>12}} {{:>9}} {{:>22}} {{:>8}}"
    lines = [line.format("run", "role", "targets", "state", "words", "hard loss", "BLiMP", "age")]
    for row in rows:
        words = "-" if row.words is None else f"{row.words:,}"
        loss = "-" if row.loss is None else f"{row.loss:.4f}"
        score = "-" if row.score is None else f"{100 * row.score[1]:.2f} ({row.score[0]})"
        age = _age(time.time() - row.changed)
        lines.append(line.format(row.name, row.kind, row.targets, row.state, words, loss, score, age))
    return "\n".join(lines)


def _row(run: Path) -> Row:
    summary, status = (json_table(run / name) or {} for name in ("summary.json", "status.json"))
    last = _last_validation(run / "metrics.jsonl")
    tasks = (json_table(run / "eval/scores.json") or {}).get("tasks", {})
    task = next((name for name in TASKS if "score" in tasks.get(name, {})), None)
    finished = summary.get("status") == "finished"
    share = 100 * status["done"] / status["of"] if status.get("of") else 0
    written = [path.stat().st_mtime for path in run.iterdir() if path.is_file()]
    return Row(
        name=run.name,
        kind=summary.get("kind", "-"),
        targets=summary.get("targets", "-"),
        state="finished" if finished else f"{share:.0f} %",
        words=summary.get("words_seen", last.get("words_seen")),
        loss=summary.get("val/hard", last.get("val/hard")),
        score=(task, tasks[task]["score"]) if task else None,
        changed=max(written, default=0.0),
    )


def _last_validation(path: Path) -> dict:
    """The last line of a curve that has the held-out loss; {} where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        if '"val/hard"' in line:
            try:
                return json.loads(line)
            except BAD_JSON:  # the last line of a run that was killed
                continue
    return {}


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
