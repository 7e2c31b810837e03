"""A study as its YAML tells it, and the cells that it comes to: one student for each combination and seed.

    question: Does it help to compare hidden states, and which?
    base: distill/configs/babyllama-58m.yaml
    vary:
      losses.soft.temperature: [1.0, 2.0]           a field of the config and its values
      hidden:                                       or variants by name, each of fields and values
        none: {losses.hidden: null}
        mse: {losses.hidden.distance: mse}
    beside:
      kl-alone: {losses.hidden: null}               a cell that stands outside the combinations
    seeds: [0, 1, 2]

In a value `{seed}` stands for the seed, `{control}` for the run without distillation of the same student and seed, and
`{kl-alone}` for the run of that cell with the same seed: a teacher at runs/{control}/export is the student's control.
"""

import hashlib
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from babylm_data.errors import UserError
from distill.config import DistillConfig, filled
from train_teachers.config import RunName, Strict, TrainConfig, load_config

Fields = dict[str, Any]
"""key.path: value, as on the command line of `python -m distill`."""
UNFIT = re.compile(r"[^A-Za-z0-9_.]+")
PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|none)$)[a-z/][a-z0-9_./-]*", re.IGNORECASE)
DIGITS = 8  # of a control's hash, in hexadecimal


class Study(Strict):
    """What is compared with what."""

    elsewhere = dict.fromkeys(("model", "data", "teachers", "losses"), "distill or train_teachers")
    name: RunName
    """Of the folder under runs/studies/, and the beginning of its runs' names; the name of the YAML file."""
    like: str | None = None
    """Another study, beside this file: what is not written here is as there."""
    question: str = ""
    """What it is to answer, in a sentence."""
    base: str | None = None
    """Config of distill/ that all cells begin from."""
    fixed: Fields = {}
    """Fields that all cells have otherwise than base."""
    vary: dict[str, list[Any] | dict[str, Fields]] = {}
    """What is varied, and its values: every combination is a cell."""
    beside: dict[str, Fields] = {}
    """More cells by name, outside the combinations."""
    distilled: bool = True
    """Whether cells are students; false: their controls alone are trained, and all compared with that of
    the first combination, or else of the first cell."""
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    """Each cell is trained with each of these."""
    against: list[str] | dict[str, str] = []
    """Cells beside the combinations that every other is compared with, not with its control alone; and values of axes
    that the other values are compared with, in the place of the first. Or by a cell's name, which one it is compared
    with: fewer comparisons, so each is told apart sooner."""
    judge: str = "hard"
    """By what a best cell is named: hard, the held-out hard loss, or a task for development, such as blimp_fast."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if empty := [axis for axis, values in self.vary.items() if not values]:
            raise ValueError(f"vary.{empty[0]} has no values")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one of them stands there twice")
        return self


@dataclass(frozen=True)
class Cell:
    """One student of a study, with one seed, and what it is trained by."""

    label: str
    """What it is, but for its seed."""
    values: dict[str, str]
    """By what is varied, what it has; {} for one outside the combinations."""
    words: list[str]
    """What `python -m distill` is given."""
    config: DistillConfig
    distilled: bool

    @property
    def run(self) -> str:
        """The name of its run."""
        return self.config.name if self.distilled else self.config.control_name


def load_study(path: str | Path) -> Study:
    """The study in a YAML file; UserError on the first fault."""
    study, *others = _chain(path).values()
    for there in others:
        written = {field: getattr(study, field) for field in study.model_fields_set}
        study = there.model_copy(update=written)
    if study.base is None:
        raise UserError(f"{path}: base is not there: name the config that all cells begin from")
    if not (study.vary or study.beside):
        raise UserError(f"{path}: there is nothing to compare: write vary or beside")
    return study


def files_of(path: str | Path) -> list[Path]:
    """The YAML file of a study, and those that it is like."""
    return list(_chain(path))


def _chain(path: str | Path) -> dict[Path, Study]:
    """What stands in the YAML file of a study, and in those that it is like, one after the other."""
    found, path = {}, Path(path)
    while path not in found:
        found[path] = load_config(Study, path)
        if not (like := found[path].like):
            return found
        path = path.parent / like
    raise UserError(f"{path} is like itself, by way of `like`: take that out of one of {len(found)}")


def cells_of(study: Study) -> list[Cell]:
    """All cells, those of one seed together; UserError if one cannot be, or two are the same."""
    variants = [(label, {}, fields) for label, fields in study.beside.items()]
    axes = [list(_variants(axis, values)) for axis, values in study.vary.items()]
    for chosen in itertools.product(*axes) if axes else []:
        values = dict(zip(study.vary, (shown for _, shown, _ in chosen), strict=True))
        fields = {key: value for _, _, fields in chosen for key, value in fields.items()}
        variants.append(("-".join(part for part, _, _ in chosen), values, fields))
    for place, fields in {"fixed": study.fixed, **{label: fields for label, _, fields in variants}}.items():
        if named := sorted({"name", "seed", "control_name"} & fields.keys()):
            raise UserError(
                f"study {study.name}: {place} has {named[0]}, which the study itself gives to each run: leave it out"
            )
    if twice := _twice(label for label, _, _ in variants):
        raise UserError(f"study {study.name}: two cells are called {twice}: name its variants otherwise")
    known = [*study.beside, *(shown for values in axes for _, shown, _ in values)]
    named, what = study.against, "no cell beside and no value of an axis"
    if isinstance(named, dict):
        named, known, what = [*named, *named.values()], [label for label, _, _ in variants], "no cell"
    if strange := [name for name in named if name not in known]:
        raise UserError(f"study {study.name}: against has {strange[0]}, {what}: {', '.join(known)}")
    if isinstance(study.against, dict) and (alone := [a for a, b in study.against.items() if a == b]):
        raise UserError(f"study {study.name}: against has {alone[0]} against itself: name another cell")
    cells = []
    for seed in study.seeds:
        runs = {label: f"{study.name}-{label}-s{seed}" for label, _, _ in variants}
        cells += [
            Cell(label, values, *_made(study, fields, runs, label, seed), study.distilled)
            for label, values, fields in variants
        ]
    one = [cell for cell in cells if cell.config.seed == study.seeds[0]]
    what = {cell.label: _decided(cell.config) if study.distilled else cell.run for cell in one}
    if twice := _twice(what.values()):
        same = [label for label, decided in what.items() if decided == twice]
        raise UserError(f"study {study.name}: {same[0]} and {same[1]} are the same run")
    if not study.distilled and (first := references(one)[study.seeds[0]].label) in named:
        raise UserError(
            f"study {study.name}: against has {first}, with which all are compared as it is: leave it out"
        )
    return cells


def references(cells: list[Cell]) -> dict[int, Cell]:
    """By seed, what all others are compared with where none is distilled: the first combination, or the first cell."""
    return {cell.config.seed: cell for cell in sorted(reversed(cells), key=lambda cell: bool(cell.values))}


def control_name(config: DistillConfig) -> str:
    """The name of its control by all that decides what comes out: students that differ in teachers and losses alone,
    of whatever study, have one.
    """
    losses = config.without_teachers().losses.model_dump_json(exclude_defaults=True)
    digest = hashlib.sha256((_decided(config.control()) + losses).encode()).hexdigest()
    return f"control-{digest[:DIGITS]}-s{config.seed}"


def _variants(axis: str, values: list | dict[str, Fields]) -> list[tuple[str, str, Fields]]:
    """(part of a name, value as people read it, fields) of each value on an axis."""
    if isinstance(values, dict):
        return [(_fit(name), name, fields) for name, fields in values.items()]
    field = axis.rpartition(".")[2]
    shown = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return [(_fit(f"{field}-{text}"), text, {axis: value}) for text, value in zip(shown, values, strict=True)]


def _fit(text: str) -> str:
    return UNFIT.sub("-", text).strip("-")


def _made(
    study: Study, fields: Fields, runs: dict[str, str], label: str, seed: int
) -> tuple[list[str], DistillConfig]:
    """What `python -m distill` is given for a cell, and the config that this comes to."""
    names = (runs if study.distilled else {}) | {"seed": str(seed)}
    place = f"study {study.name}, {label}"

    def words(names: dict[str, str], **named: str) -> list[str]:
        own = {"name": runs[label], "seed": seed, **named}
        # one behind the other, so that a cell may change a part of what all have
        written = [*study.fixed.items(), *fields.items(), *own.items()]
        try:
            return [study.base, *(f"{key}={_as_word(filled(value, names))}" for key, value in written)]
        except KeyError as error:
            known = "{seed}, {control} or a cell's name" if study.distilled else "{seed} or {control}"
            raise UserError(f"{place}: {{{error.args[0]}}} is no run of it: write {known}") from None

    def config(words: list[str]) -> DistillConfig:
        try:
            return load_config(DistillConfig, words[0], words[1:])
        except UserError as error:
            raise UserError(f"{place}: {error}") from None

    control = control_name(config(words(names | {"control": "{control}"})))
    made = words(names | {"control": control}, control_name=control)
    return made, config(made)


def _as_word(value: Any) -> str:
    """As an override has it: YAML, of which JSON is a part."""
    return value if isinstance(value, str) and PLAIN.fullmatch(value) else json.dumps(value)


def _decided(config: TrainConfig) -> str:
    """All of a config that decides what comes out, as text; what is as by default is left out, for a new field is."""
    apart = {"name", "seed", *config.OPERATIONAL}
    return json.dumps(config.model_dump(mode="json", exclude=apart, exclude_defaults=True), sort_keys=True)


def _twice(found: Any) -> str | None:
    """The first that is there twice."""
    seen: set[str] = set()
    return next((each for each in found if each in seen or seen.add(each)), None)
