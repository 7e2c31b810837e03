"""(Super)GLUE tasks: where their files lie, which texts a row gives, and one line about each way a row is wrong.

Texts, file names and defaults are those of the challenge's fine-tuning program; CoLA, SST-2, QNLI and MNLI
mismatched are of its 2024 edition. SST-2 is also read from GLUE's own tab-separated files.
"""

from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import utf8_text
from eval.tasks.json_rows import Row, has_half_character, read_rows

FOLDERS = ("", "full_eval/glue_filtered", "glue_filtered", "glue_filtered_2024")
HEADS = ("plain", "official")
POOLS = ("last", "first", "mean")
NAMES = (("{task}.train.jsonl", "{task}.valid.jsonl"),)


@dataclass(frozen=True)
class GlueTask:
    """What a task asks, how it is scored and how long it is trained on."""

    title: str
    first: str
    """Format string over the fields of a row: the text that is read first."""
    second: str | None = None
    """The same for the second text of a pair; None where one text is judged."""
    labels: int = 2
    metric: str = "accuracy"
    """The headline, and what the best epoch is chosen by."""
    lr: float = 3e-5
    epochs: int = 10
    batch_size: int = 32
    max_length: int = 512
    official_rows: int | None = None
    """Validation rows that the official collator asks for."""
    names: tuple[tuple[str, str], ...] = NAMES
    """Names of the training and validation file, {task} standing for the task's; the first pair found is read."""


@dataclass(frozen=True)
class Example:
    """One row: a text, or a pair of texts, and its label."""

    first: str
    second: str | None
    label: int


TASKS = {
    "boolq": GlueTask("BoolQ", "{question}", "{passage}", batch_size=16, official_rows=1_635),
    "mnli": GlueTask("MNLI", "{premise}", "{hypothesis}", labels=3, official_rows=4_908),
    "mrpc": GlueTask("MRPC", "{sentence1}", "{sentence2}", metric="f1", official_rows=204),
    "multirc": GlueTask(
        "MultiRC",
        "Question: {question} Answer: {answer}",
        "{paragraph}",
        batch_size=16,
        official_rows=2_424,
    ),
    "qqp": GlueTask("QQP", "{question1}", "{question2}", metric="f1", official_rows=20_215),
    "rte": GlueTask("RTE", "{sentence1}", "{sentence2}", official_rows=139),
    "wsc": GlueTask(
        "WSC",
        'Does "{span2_text}" refer to "{span1_text}" in this passage?',
        "{text}",
        epochs=30,
        official_rows=52,
    ),
    "cola": GlueTask("CoLA", "{sentence}", metric="mcc"),
    "sst2": GlueTask("SST-2", "{sentence}", names=(*NAMES, ("sst2/train.tsv", "sst2/dev.tsv"))),
    "qnli": GlueTask("QNLI", "{question}", "{sentence}"),
    "mnli-mm": GlueTask(
        "MNLI mismatched",
        "{premise}",
        "{hypothesis}",
        labels=3,
        names=(("mnli.train.jsonl", "mnli-mm.valid.jsonl"),),
    ),
}

OFFICIAL = tuple(name for name, task in TASKS.items() if task.official_rows)
"""The tasks that the official results tree has a place for."""


def find_files(task: str, data: list[Path], names: tuple[tuple[str, str], ...]) -> tuple[Path, Path]:
    """The training and the validation file of a task: the first pair of `names` whose files are both in `data`."""
    missing = []
    for pair in names:
        wanted = [name.format(task=task) for name in pair]
        found = [_find(name, data) for name in wanted]
        if all(found):
            return found[0], found[1]
        missing.append([name for name, path in zip(wanted, found, strict=True) if path is None])
    looked = ", ".join(str(folder) for folder in data)
    raise UserError(
        f"{task} needs {' and '.join(min(missing, key=len))}, and it is not in {looked}: "
        "fetch it, correct --data, or leave the task out"
    )


def _find(name: str, data: list[Path]) -> Path | None:
    places = (folder / inner / name for folder in data for inner in FOLDERS)
    return next((path for path in places if path.is_file()), None)


def read_examples(path: Path, task: GlueTask) -> list[Example]:
    """Every row of a JSON-lines or tab-separated file, in its order."""
    rows = _tab_separated(path) if path.suffix == ".tsv" else read_rows(path)
    return [
        Example(
            _text(row, task.first),
            None if task.second is None else _text(row, task.second),
            _label(row, task),
        )
        for row in rows
    ]


def _tab_separated(path: Path) -> list[Row]:
    """Rows of GLUE's own form: names in the first line, no quoting, the label as a digit."""
    head, *lines = utf8_text(path, "fetch the file again").split("\n")  # not splitlines: U+2028 ends no row
    names, rows = head.split("\t"), []
    for number, line in enumerate(lines, start=2):
        if line.strip():
            values: dict = dict(zip(names, cells := line.split("\t"), strict=False))
            row = Row(f"{path}, line {number}", values)
            if len(cells) != len(names):
                raise row.fault(f"has {len(cells)} cells, its first line names {len(names)}")
            if values.get("label", "").isdecimal():
                values["label"] = int(values["label"])
            rows.append(row)
    if not rows:
        raise UserError(f"{path} has no rows: fetch the file again")
    return rows


def _text(row: Row, template: str) -> str:
    """The template filled in. A text may be blank: QQP as published has such questions."""
    fields = [part.split("}")[0] for part in template.split("{")[1:]]
    for field in fields:
        if not isinstance(row.values.get(field), str):
            raise row.fault(f"has no text in {field!r}")
    text = template.format(**{field: row.values[field] for field in fields})
    if has_half_character(text):
        raise row.fault("has half a character (a lone surrogate)")
    return text


def _label(row: Row, task: GlueTask) -> int:
    label = row.values.get("label")
    if type(label) is not int or not 0 <= label < task.labels:
        raise row.fault(f"has the label {label!r}, the task has {', '.join(map(str, range(task.labels)))}")
    return label
