"""The typed, strict config of every training stage: one YAML per experiment, `key.path=value` to override.

Units stand in the docstrings of the fields; `python -m train_teachers --help` prints them.
"""

import difflib
import json
import math
import re
import types
import typing
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from babylm_data.errors import UserError
from babylm_data.files import utf8_text
from babylm_data.yaml_files import parse_table, refuse_deep
from train_teachers.families import FAMILIES


class Strict(BaseModel):
    """Frozen, without coercion; an unknown key is an error that names the nearest known one."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    elsewhere: ClassVar[dict[str, str]] = {}
    """Keys of the files of other programs, and these."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key, value in values.items():
                if key in cls.elsewhere:
                    raise ValueError(f"'{key}' stands in files for python -m {cls.elsewhere[key]}")
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=0.0)
                    raise ValueError(f"unknown key '{_cut(str(key))}' (nearest: '{near[0]}')")
                if value == "None":
                    raise ValueError(f"'{key}' is the text 'None': write null for no value")
        return values


class Schedule(Strict):
    """A number that changes while the run goes on."""

    start: float = Field(ge=0)
    """Value at the beginning."""
    end: float = Field(ge=0)
    """Value from `until` on."""
    shape: Literal["linear", "cosine", "step"] = "linear"
    """The way from start to end; step: start before `until`, end from there on."""
    until: float = Field(default=1.0, gt=0, le=1)
    """Where `end` is reached, as a fraction of the run."""

    @model_validator(mode="after")
    def _reaches_its_end(self) -> Self:
        if self.shape == "step" and self.until == 1:
            raise ValueError("shape: step needs until below 1, or its end is never used")
        return self

    def at(self, progress: float) -> float:
        """The value at `progress`, the share (0-1) of the run that is done."""
        done = min(1.0, progress / self.until)
        if self.shape == "step":
            done = float(done >= 1)
        elif self.shape == "cosine":
            done = 0.5 * (1 - math.cos(math.pi * done))
        return self.start + done * (self.end - self.start)


Number = float | Schedule


def value(number: Number, progress: float) -> float:
    """A constant, or what a schedule says at `progress` (0-1)."""
    return number.at(progress) if isinstance(number, Schedule) else number


def not_negative(number: Number) -> Number:
    """The number; ValueError if it is below 0."""
    if largest(number) < 0:
        raise ValueError("write a number from 0 on")
    return number


def largest(number: Number) -> float:
    """A constant, or the largest value of a schedule."""
    return max(number.start, number.end) if isinstance(number, Schedule) else number


class Model(Strict):
    """Shape of a freshly initialised model, in the terms of its Hugging Face config."""

    family: Literal[tuple(FAMILIES)]
    """Architecture, one of those in train_teachers/families.py."""
    hidden_size: int = Field(gt=0, le=2**16)
    """Width of the residual stream."""
    num_hidden_layers: int = Field(gt=0, le=1000)
    """Number of blocks."""
    num_attention_heads: int | None = Field(default=None, gt=0)
    """Heads per block; divides hidden_size. null: for mamba, which has none."""
    intermediate_size: int | None = Field(default=None, gt=0, le=2**18)
    """Width inside the MLP; null: 4 * hidden_size."""
    num_key_value_heads: int | None = Field(default=None, gt=0)
    """Key-value heads (llama, qwen3); null: one per head."""
    max_position_embeddings: int = Field(default=256, gt=0, le=2**20)
    """Longest input, in tokens."""
    tie_word_embeddings: bool = False
    """Share input and output embeddings."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability, everywhere the family has dropout: of llama and qwen3 in what attention looks at alone."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        family, heads = FAMILIES[self.family], self.num_attention_heads
        if family.heads != (heads is not None):
            raise ValueError(
                f"num_attention_heads: {'write how many' if family.heads else f'{self.family} has none'}"
            )
        if heads and self.hidden_size % heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of num_attention_heads {heads}")
        if self.num_key_value_heads and not family.groups:
            raise ValueError(f"num_key_value_heads: heads of the {self.family} family share none")
        if self.num_key_value_heads and heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads is no multiple of num_key_value_heads")
        if self.tie_word_embeddings and not family.ties:
            raise ValueError(f"the {self.family} family has no tied embeddings")
        if family.rotary and self.hidden_size // heads % 2:
            raise ValueError("rotary positions need an even hidden_size / num_attention_heads")
        if self.dropout and not family.dropout:
            raise ValueError(f"the {self.family} family has no dropout: leave it at 0.0")
        if self.intermediate_size and not family.inner:
            raise ValueError(f"intermediate_size: the {self.family} family has a width of its own")
        return self


class Init(Strict):
    """Where a student's first weights come from, if not from the seed: a checkpoint, or blocks of one."""

    path: str
    """Folder (or hub name) of a model with the tokenizer of the data and the shape of `model`, but for its blocks."""
    blocks: list[Annotated[int, Field(ge=1)]] | None = Field(default=None, min_length=1)
    """Which blocks of that model become blocks 1, 2, … of this one, from 1; null: the same, one for one."""
    reinit_blocks: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    """Blocks of this model, from 1, that get fresh weights all the same."""


class Data(Strict):
    """What the model reads, and how much of it."""

    path: str
    """Folder written by `python -m babylm_data`."""
    vocab_size: int | None = Field(default=None, gt=0)
    """Entries that its tokenizer must have; null: any number."""
    seq_len: int = Field(gt=0)
    """Tokens per training sequence."""
    words: int = Field(gt=0)
    """Budget of exposure in whitespace words, repeats counted; training stops at the first step that reaches it."""
    offset: Literal["random", "fixed"] | Annotated[int, Field(gt=0)] = "random"
    """Where an epoch begins to cut the text into sequences: anywhere, drawn anew for each; always at the first token;
    or at so many places in turn, evenly spaced. Unless random, sequences recur, as a cache of soft targets needs it."""
    shuffle_documents: bool = False
    """Whether the documents stand in an order drawn for each epoch; where offset is not random there are as many orders
    as offsets, in turn. Sequences are shuffled in any case; this parts pieces of one book or talk, which the corpus has
    one behind the other, within a sequence too."""
    held_out_sequences: int = Field(default=128, gt=0)
    """Sequences of the dev split on which the held-out hard loss is measured."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if isinstance(self.offset, int) and self.offset > self.seq_len:
            raise ValueError(f"offset: there are no more than seq_len, {self.seq_len}, places to begin at")
        return self

    @property
    def layouts(self) -> int | None:
        """How many offsets there are; None: any."""
        return {"random": None, "fixed": 1}.get(self.offset, self.offset)


def _below_one(share: Number) -> Number:
    if largest(share) >= 1 or min(value(share, 0.0), value(share, 1.0)) <= 0:
        raise ValueError("a share is between 0 and 1")
    return share


Reads = Literal["causal", "masked", "both"]
"""What a model can be asked: next tokens, hidden ones, or both."""


class TargetsKind(NamedTuple):
    """A kind of targets; `train_teachers/targets.py` makes its batches."""

    reads: Reads
    """What a model that has learned it can be asked."""
    fields: tuple[str, ...] = ()
    """The fields of `Targets` beside `kind` that it knows."""


ROUNDING = 1e-9  # of shares as decimals
HIDING = ("share", "random", "keep", "whole_words")
TARGETS = {
    "next_token": TargetsKind("causal"),
    "masked": TargetsKind("masked", HIDING),
    "hybrid": TargetsKind("both", (*HIDING, "causal", "masked_weight")),
}


class Targets(Strict):
    """What a model is asked: the next token, tokens that are hidden (BERT, Devlin et al. 2019), or of each sequence one
    of the two, so that one model learns both (GPT-BERT, Charpentier and Samuel 2024).
    """

    kind: Literal[tuple(TARGETS)] = "next_token"
    """next_token: each token after those before it. masked: some tokens, drawn anew at each step and hidden, where they
    were. hybrid: a masked sequence is read in both directions too, and its tokens are asked for one position to the
    left, where the next token is."""
    share: Annotated[Number, AfterValidator(_below_one)] = 0.15
    """masked, hybrid: share of the tokens of a masked sequence, special ones apart, that are hidden and asked for; in a
    hybrid never the first, which has nothing to its left."""
    random: float = Field(default=0.1, ge=0, le=1)
    """masked, hybrid: share of those that are a random token instead of the mask."""
    keep: float = Field(default=0.1, ge=0, le=1)
    """masked, hybrid: share of those that are left as they are."""
    whole_words: bool = False
    """masked, hybrid: whether a word, with the white space behind it, is asked for as a whole."""
    causal: float = Field(default=0.5, gt=0, lt=1)
    """hybrid: share of the sequences that are read from left to right, and whose next tokens are asked for."""
    masked_weight: float | None = Field(default=None, gt=0, lt=1)
    """hybrid: what the mean over hidden tokens counts in the hard loss, the mean over next tokens counting the rest of
    1; null: as many as the sequences are."""

    @property
    def reads(self) -> Reads:
        """What a model that has learned these targets can be asked."""
        return TARGETS[self.kind].reads

    @property
    def parts(self) -> dict[str, float]:
        """The terms of the hard loss, and what each counts."""
        if self.reads != "both":
            return {"hard": 1.0}
        masked = self.masked_weight or 1 - self.causal
        return {"hard.causal": 1 - masked, "hard.masked": masked}

    @model_validator(mode="before")
    @classmethod
    def _from_a_word(cls, written: Any) -> Any:
        return {"kind": written} if isinstance(written, str) else written

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.random + self.keep > 1:
            raise ValueError(f"random {self.random} and keep {self.keep} are together at most 1")
        fields = type(self).model_fields
        for name in fields.keys() - {"kind", *TARGETS[self.kind].fields}:
            if getattr(self, name) != fields[name].default:
                raise ValueError(f"{name} says nothing about kind: {self.kind}")
        return self


class Averaging(Strict):
    """Which mean of the weights is exported and scored in the place of the last ones; training goes on from those.

    What stays with the run, such as projectors, has none.
    """

    ema: float | None = Field(default=None, gt=0, le=0.1)
    """Exponential mean that looks back on this share of all steps: of 2,000, 0.05 keeps 1 - 1/100 of it at each. Until
    nine times as many are done it looks back on a ninth of these."""
    tail: float | None = Field(default=None, gt=0, le=1)
    """Plain mean over the last steps: which share of all, such as 0.2; before them the weights as they are."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.ema is None) == (self.tail is None):
            raise ValueError("averaging is by ema or over the tail: give one of the two")
        return self

    def __str__(self) -> str:
        if self.tail:
            return f"mean of the weights over the last {100 * self.tail:.4g} % of the steps"
        return f"exponential mean of the weights, over some {100 * self.ema:.4g} % of the steps"


Beta = Annotated[float, Field(strict=True, ge=0, lt=1)]


class Optim(Strict):
    """Optimiser and schedule."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: Muon (Jordan et al. 2024) for the matrices of the blocks, AdamW for all else."""
    per_neuron: bool = False
    """muon: neurons take steps of one size (NorMuon, Li et al. 2025)."""
    lr: float = Field(gt=0)
    """Peak learning rate (Muon's updates are scaled to AdamW's size, so one value serves both)."""
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.95), strict=False)
    """AdamW's decay rates of the first and second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """AdamW's epsilon."""
    weight_decay: Annotated[Number, AfterValidator(not_negative)] = 0.1
    """Decoupled, times the learning rate; matrices only, never norms or biases."""
    clip: float | None = Field(default=1.0, gt=0)
    """Largest global gradient norm; null: no clipping."""
    schedule: Literal["cosine", "wsd", "constant"] = "cosine"
    """After warm-up: cosine to the end, warm-up-stable-decay, or constant."""
    warmup: float = Field(default=0.05, ge=0, le=1)
    """Linear warm-up, as a fraction of all steps."""
    decay: float = Field(default=0.2, gt=0, le=1)
    """wsd: the last fraction of all steps, in which the rate falls linearly."""
    final_lr: float = Field(default=0.1, ge=0, le=1)
    """Last learning rate, as a fraction of the peak."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} overlap: together at most 1")
        if self.per_neuron and self.optimizer != "muon":
            raise ValueError("per_neuron belongs to optimizer: muon")
        return self


class Wandb(Strict):
    """Weights & Biases, beside metrics.jsonl and never instead of it."""

    project: str = Field(min_length=1, max_length=128)
    """Project name."""
    mode: Literal["offline", "online"] = "offline"
    """offline writes into the run folder; `wandb sync` sends it later."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if signs := sorted(set(self.project) & set("/\\#?%:")):
            raise ValueError(
                f"project: wandb takes no {' '.join(signs)} in a name, such as in '{self.project}'"
            )
        return self


OF_A_STUDY = dict.fromkeys(("question", "base", "like", "fixed", "vary", "beside"), "distill.study")
RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=200)]


class TrainConfig(Strict):
    """One training run: a teacher, or a student without distillation."""

    elsewhere = OF_A_STUDY | dict.fromkeys(("teachers", "losses"), "distill")
    name: RunName | None = None
    """Run name, the folder under runs/; null: the name of the YAML file."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Decides initial weights, order of the data and dropout."""
    model: Model
    init: Init | None = None
    """null: fresh weights from the seed."""
    data: Data
    targets: Targets = Targets()
    """A table, or the kind alone: `targets: masked`."""
    optim: Optim
    averaging: Averaging | None = None
    """null: the last weights are exported."""
    batch_size: int = Field(gt=0)
    """Sequences per optimiser step, over all devices."""
    micro_batch_size: Annotated[int, Field(gt=0)] | Literal["auto"] | None = "auto"
    """Sequences per forward pass and device. Changes memory and, but for rounding, the draws of dropout, and losses
    that look at a micro-batch as a whole, no result. null: as many as the step has. auto: as many as the device is fast
    with and has room for; where a loss looks at a micro-batch, as many as the step has."""
    gradient_checkpointing: bool = False
    """Compute the activations of a block again on the way back: less memory, about a third more time."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the forward pass; weights stay fp32. auto: bf16 where it multiplies faster, else fp16 on a GPU, else fp32."""
    compile: bool | Literal["auto"] = "auto"
    """torch.compile; auto: where the run is long enough to pay for it."""
    log_every: int = Field(default=10, gt=0)
    """Steps between lines of metrics.jsonl."""
    validations: int = Field(default=20, gt=0, le=100_000)
    """How many times the held-out hard loss is measured during the run, evenly spaced (and once before it)."""
    checkpoint_seconds: float = Field(default=120.0, gt=0)
    """A kill loses at most this much work, in seconds."""
    competition: bool = True
    """Keep within the words and epochs that the track of the data allows; false: a run outside the competition."""
    revisions: bool = False
    """Export the model at the words of exposure that the track names, into runs/<name>/revisions/chck_1M, chck_2M, …"""
    words_scale: float = Field(default=1.0, gt=0, le=1)
    """A shortened schedule of revisions, for trying: chck_1M is due after 1,000,000 times this words of exposure."""
    wandb: Wandb | None = None
    """null: not used."""

    OPERATIONAL: ClassVar = frozenset(
        {"micro_batch_size", "gradient_checkpointing", "log_every", "checkpoint_seconds", "wandb"}
    )
    """Fields that say how a run is done, not what comes out."""

    @property
    def may_change(self) -> frozenset[str]:
        """Fields that may be others when this run goes on."""
        return self.OPERATIONAL

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.data.seq_len > self.model.max_position_embeddings:
            raise ValueError(
                f"data.seq_len {self.data.seq_len} exceeds model.max_position_embeddings "
                f"{self.model.max_position_embeddings}"
            )
        if self.targets.reads not in FAMILIES[self.model.family].reads:
            fitting = " or ".join(
                name for name, kind in TARGETS.items() if kind.reads in FAMILIES[self.model.family].reads
            )
            raise ValueError(
                f"a {self.model.family} cannot be asked for {self.targets.kind}: write `targets: {fitting}`"
            )
        fewest = min(self.targets.causal, 1 - self.targets.causal) * self.batch_size
        if self.targets.reads == "both" and fewest < 1 - ROUNDING:
            raise ValueError(
                f"targets.causal {self.targets.causal} leaves steps of batch_size {self.batch_size} without a sequence "
                "of one kind: raise batch_size, or write a share nearer to 0.5"
            )
        blocks = self.model.num_hidden_layers
        if self.init and self.init.blocks and len(self.init.blocks) != blocks:
            raise ValueError(
                f"init.blocks names {len(self.init.blocks)} blocks, model.num_hidden_layers is {blocks}"
            )
        if self.init and max(self.init.reinit_blocks, default=0) > blocks:
            raise ValueError(
                f"init.reinit_blocks: there are {blocks} blocks, no {max(self.init.reinit_blocks)}"
            )
        if isinstance(self.micro_batch_size, int) and self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of micro_batch_size")
        return self


NAMES = ("name", "wandb.project")
Config = TypeVar("Config", bound=Strict)


def load_config(schema: type[Config], path: str | Path, overrides: list[str] = ()) -> Config:
    """Read `path`, apply `key.path=value` overrides, check everything; UserError on the first fault."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    path = Path(path)
    if not path.is_file():
        near = difflib.get_close_matches(path.stem, [other.stem for other in path.parent.glob("*.yaml")], n=1)
        raise UserError(f"{path}: no such config file{f' (nearest: {near[0]}.yaml)' if near else ''}")
    text = utf8_text(path, "save it as UTF-8")
    written = parse_table(text, path)
    try:
        _keep_names(written, text)
        if isinstance(written.get("targets"), str):  # so that an override changes a part of it
            written.targets = {"kind": written.targets}
        for item in overrides:
            _replace(written, item)
        values = _whole_numbers(OmegaConf.to_container(written, resolve=True))
    except OmegaConfBaseException as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None
    if values.get("name") is None:
        values["name"] = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).lstrip("_.-") or path.stem
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_fault(error, schema)}") from None


def _keep_names(written: Any, text: str, at: str = "") -> None:
    """Names are the letters that `text`, the YAML behind `written` from key `at` on, has: 007, and not 7."""
    import yaml
    from omegaconf import OmegaConf

    for name in NAMES:
        if not f"{name}.".startswith(at and f"{at}."):
            continue
        value = OmegaConf.to_container(written)  # what stands there, be it a place for another value
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            for part in filter(None, name.removeprefix(at).split(".")):
                node = next((inner for key, inner in node.value if key.value == part), node)
            if isinstance(node, yaml.ScalarNode):  # else it comes from a table merged by <<
                OmegaConf.update(written, name, node.value)


def _first_fault(error: ValidationError, schema: type[BaseModel]) -> str:
    """`place: reason` of the first fault, and how many more there are.

    Where a field may be of several kinds there is a fault for each: the one that reached deepest is meant, and of
    those the one that is more than another type.
    """
    kinds = {"float", "int", "str", "bool"} | _names(schema)
    faults = [
        (".".join(_place(fault["loc"], kinds)), fault["type"], _said(fault)) for fault in error.errors()
    ]
    field = faults[0][0]
    here = [fault for fault in faults if f"{fault[0]}.".startswith(f"{field}.")]
    place, _, reason = max(here, key=lambda fault: (fault[0].count("."), fault[1] == "value_error"))
    more = f" (and {len(faults) - len(here)} more)" if len(faults) > len(here) else ""
    return f"{place + ': ' if place else ''}{reason}{more}"


TABLE, WHOLE, LIST = "write a table of `key: value` lines", "write a whole number", "write a list, [a, b]"
SAID = {
    "missing": "is not there, and has no default",
    "int_type": WHOLE,
    "int_from_float": WHOLE,
    "float_type": "write a number",
    "finite_number": "write a finite number",
    "bool_type": "write true or false",
    "string_type": "write a text",
    "string_pattern_mismatch": "write letters, digits, and - _ . between them",
    "string_too_short": "write a text of at least {min_length} letters",
    "string_too_long": "write a text of at most {max_length} letters",
    "list_type": LIST,
    "tuple_type": LIST,
    "dict_type": TABLE,
    "model_type": TABLE,
    "literal_error": "write {expected}",
    "greater_than": "write a number above {gt}",
    "greater_than_equal": "write a number from {ge} on",
    "less_than": "write a number below {lt}",
    "less_than_equal": "write a number up to {le}",
    "too_short": "write at least {min_length} of them",
    "too_long": "write at most {max_length} of them",
}
"""What to do about a fault, by pydantic's name for it."""


def _said(fault: dict) -> str:
    """What to write in place of what is there."""
    if fault["type"] not in SAID:
        return fault["msg"].removeprefix("Value error, ")
    told = SAID[fault["type"]].format(**fault.get("ctx", {}))
    return told if fault["type"] == "missing" else f"{told}, not {_shown(fault['input'])}"


def _shown(value: Any) -> str:
    """A value on one line, cut where it is long."""
    return _cut(" ".join(json.dumps(value, default=str, ensure_ascii=False).split()))


def _cut(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _whole_numbers(value: Any) -> Any:
    """Floats without a fraction as the whole numbers that they are: 4e5 words are 400,000."""
    if isinstance(value, dict):
        return {key: _whole_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _place(location: tuple[int | str, ...], kinds: set[str]) -> list[str]:
    """The keys on the way to a field, without the kinds of a union (`float`, `dict[…]`) that stand between."""
    return [str(part) for part in location if "[" not in str(part) and part not in kinds]


def _names(schema: type[BaseModel]) -> set[str]:
    """What a config class and those inside it are called."""
    inner = [model for field in schema.model_fields.values() for model in _models(field.annotation)]
    return {schema.__name__}.union(*(_names(model) for model in inner if model is not schema))


def _replace(written: Any, item: str) -> None:
    """Put the value of `key.path=value` in the place of what the config has there: a whole table by another."""
    from omegaconf import OmegaConf

    key, equals, text = item.partition("=")
    said = f"'{_cut(item)}'"
    if not key or not equals:
        raise UserError(f"{said} is no override: write key.path=value")
    if not text:
        raise UserError(f"override {said} has no value: write one, or null")
    try:
        refuse_deep(text, f"override {said}")
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]
        OmegaConf.update(written, key, value, merge=False)
        _keep_names(written, text, at=key)
    except UserError:
        raise
    except Exception as error:  # YAML and OmegaConf have a dozen kinds for a text that they cannot read
        raise UserError(f"override {said}: {_cut(' '.join(str(error).split()), 200)}") from None


def dump_config(config: TrainConfig) -> str:
    """The resolved config as YAML that `load_config` reads back to the same value."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(json.loads(config.model_dump_json())))


def describe(schema: type[BaseModel], indent: str = "  ") -> str:
    """The fields of a config with their meaning and default, for `--help`."""
    lines = []
    for name, field in schema.model_fields.items():
        usual = field.get_default(call_default_factory=True)
        given = field.is_required() or isinstance(usual, BaseModel)
        default = "" if given else f" [{json.dumps(usual, default=str)}]"
        inner = [model for model in _models(field.annotation) if model is not schema]
        meaning = field.description or (inner[0].__doc__.splitlines()[0] if inner else "")
        lines.append(f"{indent}{name}{default}: {meaning}")
        lines += [describe(model, indent + "  ") for model in inner]
    return "\n".join(lines)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The config classes inside an annotation such as `Wandb | None` or `dict[str, Teacher]`."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in typing.get_args(annotation) for model in _models(part)]
