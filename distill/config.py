"""The config of a distillation: a training config, plus teachers and losses.

Every loss has one class here and one field in `Losses`; a loss that is left out (null) is not computed.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from train_teachers.config import (
    OF_A_STUDY,
    Model,
    Number,
    Reads,
    RunName,
    Schedule,
    Strict,
    TrainConfig,
    largest,
    not_negative,
    value,
)


def _positive(number: Number) -> Number:
    if largest(number) <= 0:
        raise ValueError("a weight is above 0 at some time: to do without a loss, leave it out")
    return number


def _always_positive(number: Number) -> Number:
    if min(value(number, 0.0), value(number, 1.0)) <= 0:
        raise ValueError("a temperature is above 0")
    return number


OF_MODELS = {"teachers", "init"}
"""Fields that say where models and what they said lie."""


def control_of(name: str, control_name: str | None) -> str:
    """The run without distillation that a run is measured against."""
    return control_name or f"{name}-control"


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """A value with what each `{…}` in it stands for, in tables and lists too; KeyError with one that is unknown."""
    if isinstance(value, dict):
        return {key: filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"\{([^{}]*)\}", lambda found: names[found[1]], value)


DIVERGENCES_OF_CACHES: dict[str, dict[str, str]] = {
    "top": dict.fromkeys(
        ("forward_kl", "reverse_kl", "jsd", "skewed_kl", "skewed_reverse_kl", "total_variation"),
        "a lower bound of that from the teacher",
    ),
    "drawn": {"forward_kl": "right on average over what was drawn"},
}
"""How a divergence stands to that of a live teacher under each kind of cache; one that is not here is refused."""

Weight = Annotated[Number, AfterValidator(_positive)]
Temperature = Annotated[Number, AfterValidator(_always_positive)]
TeacherName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Cache(Strict):
    """What a teacher says of each position, written once by `python -m distill.cache CONFIG` and read in its place."""

    path: Annotated[str, AfterValidator(os.path.normpath)]
    """Folder of the cache, such as "runs/{name}-targets". Teachers that are made into one target share one."""
    top: int | None = Field(default=None, gt=0)
    """Keep so many of the likeliest tokens and the mass of all others: divergences become lower bounds."""
    drawn: int | None = Field(default=None, gt=0)
    """Keep so many tokens drawn from the teacher: forward KL without bias, and more noise."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.top is None) == (self.drawn is None):
            raise ValueError("a cache keeps the top tokens or drawn ones: give one of top and drawn")
        return self

    @property
    def kind(self) -> Literal["top", "drawn"]:
        """What is kept."""
        return "drawn" if self.top is None else "top"

    @property
    def count(self) -> int:
        """How many tokens of a position."""
        return self.top or self.drawn


class Teacher(Strict):
    """A frozen model that shares the student's tokenizer."""

    path: str
    """Folder (or hub name) of a language model in safetensors, such as runs/NAME/export, or "runs/{control}/export",
    that of the run's own control ({seed}: its seed); one that only losses on layers name needs no output head."""
    reads: Reads | None = None
    """What it can be asked, where the student learns both (targets: hybrid): causal, next tokens; masked, hidden ones,
    by a class of masked models, whose states are then taken one position to the left; both, as the student. null: as
    the student, if its run has learned that. What it teaches counts by the share of the sequences that it is asked."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """In which its weights are held; half of fp32's memory, and rounded once, in bf16 and fp16."""
    model: Model | None = None
    """Its shape, which `--check` takes where the folder is not there; null: that of the config it is made by."""
    cache: Cache | None = None
    """Read its soft targets from disk instead of running it; null: run it."""


def partial_of(cache: Path) -> Path:
    """Where a cache is written until it is whole."""
    return cache.parent / f".{cache.name}.partial"


class Loss(Strict):
    """A term of the training signal, or one for each teacher."""

    @property
    def looks_at_micro_batch(self) -> bool:
        """Whether its value depends on which tokens are seen together."""
        return False


class Hard(Loss):
    """Cross-entropy with the target, in nats per token."""

    weight: Annotated[Number, AfterValidator(not_negative)]
    """Coefficient of the term."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread evenly over the vocabulary."""


class ZLoss(Loss):
    """Square of the log of the softmax's normaliser: keeps logits from drifting (Chowdhery et al. 2022, PaLM)."""

    weight: Weight
    """Coefficient of the term; PaLM has 1e-4."""


class PerTeacher(Loss):
    """A loss with one term per teacher."""

    weight: dict[str, Weight] = Field(min_length=1)
    """Teacher name: coefficient of its term."""
    at: Literal["targets", "all"] = "targets"
    """Positions that count: those with a target, or all, which is more where targets are masked."""


class Soft(PerTeacher):
    """Divergence of the student from the teachers' soft targets, in nats per token."""

    divergence: Literal[
        "forward_kl",
        "reverse_kl",
        "jsd",
        "skewed_kl",
        "skewed_reverse_kl",
        "adaptive_kl",
        "total_variation",
    ] = "forward_kl"
    """Formulas in distill/losses.py; all but total_variation are multiplied by temperature squared."""
    temperature: Temperature = 2.0
    """Divides the logits of teachers and student in this loss alone."""
    beta: float = Field(default=0.5, gt=0, lt=1)
    """jsd: weight of the teacher in the mixture; 0.5 is Jensen-Shannon."""
    skew: float = Field(default=0.1, gt=0, lt=1)
    """skewed_kl, skewed_reverse_kl: share of the first distribution in the second."""
    head: float = Field(default=0.5, gt=0, lt=1)
    """adaptive_kl: probability that the head of the teacher's distribution holds."""
    combine: Literal["separate", "mean_probs", "mean_logits"] = "separate"
    """separate: one term a teacher. Else one term, of weight sum(weight), whose target is the mean with the
    weights as proportions: of probabilities, or of logits (which is that of log-probabilities, normalised again)."""
    adaptive: Literal["teacher_loss", "inverse", "max", "min"] | None = None
    """Instead of fixed proportions (combine: separate), one term of weight sum(weight) in which a teacher counts by
    the probability it gave to the true token (teacher_loss), by 1 / its divergence from the student (inverse), or
    only the one farthest from (max) or nearest to (min) the student."""
    adaptive_per: Literal["token", "batch"] = "token"
    """Whether each token has proportions of its own, or each micro-batch."""
    reduction: Literal["token_mean", "batchmean_compat"] = "token_mean"
    """batchmean_compat: times data.seq_len, as KLDivLoss(reduction="batchmean") makes of (batch, position, token)."""

    @property
    def looks_at_micro_batch(self) -> bool:
        """Where a batch decides how much a teacher counts."""
        return self.adaptive is not None and self.adaptive_per == "batch"

    @property
    def is_one_term(self) -> bool:
        """Whether the teachers are made into one target, or into one weighted mean of divergences."""
        return self.combine != "separate" or self.adaptive is not None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.adaptive == "teacher_loss" and self.at == "all":
            raise ValueError("adaptive: teacher_loss knows no true token but the targets: leave at: all away")
        if self.adaptive and self.combine != "separate":
            raise ValueError(f"adaptive: {self.adaptive} needs combine: separate")
        return self


class OutputCosine(PerTeacher):
    """1 - cosine between the outputs of student and teacher."""

    of: Literal["probs", "logits"] = "probs"
    """Which outputs."""


class OutputWasserstein(PerTeacher):
    """Distance of the sorted probabilities: the shape of the distribution, whatever the tokens are."""


class LayerPair(Strict):
    """Two entries of HF `hidden_states`: 0 is the embeddings, L the last block behind the final norm."""

    teacher: int = Field(ge=0)
    """Index in the teacher."""
    student: int = Field(ge=0)
    """Index in the student."""


Pairs = Annotated[list[LayerPair], Field(min_length=1)]
Mode = Literal["layerwise", "last_to_last", "last_to_all"]


class Layered(PerTeacher):
    """A loss between layers of the student and of a teacher."""

    layer_map: Mode | dict[str, Mode | Pairs] = "last_to_last"
    """For all teachers or by name: pairs of layers, or a rule. layerwise: student block i with the teacher's block
    i * (teacher's blocks / student's blocks), rounded up; last_to_last; last_to_all: the teacher's last state with
    every block of the student."""

    def map_of(self, teacher: str) -> Mode | list[LayerPair]:
        """The rule or the pairs of one teacher."""
        return self.layer_map[teacher] if isinstance(self.layer_map, dict) else self.layer_map

    @model_validator(mode="after")
    def _same_teachers(self) -> Self:
        if isinstance(self.layer_map, dict) and set(self.layer_map) != set(self.weight):
            raise ValueError("weight and layer_map must name the same teachers")
        return self


class Projected(Layered):
    """A loss between projected states of the student and states of a teacher."""

    projector: Literal["linear", "none"] = "linear"
    """A trained linear map per pair of layers, or the states as they are (of one width)."""


class Hidden(Projected):
    """Distance between teacher states and projected student states, per token."""

    distance: Literal["mse", "cosine", "normalised_mse", "sum_compat"] = "mse"
    """mse is a mean over the width; sum_compat is the squared norm, width times as much; normalised_mse the
    squared norm of the difference at length 1, 2 - 2 cos."""


class Attention(Layered):
    """Distance between attention maps averaged over heads; the pairs name blocks, from 1."""

    distance: Literal["mse", "kl"] = "mse"
    """mse: sum over keys of the squared difference; kl: of the distributions over keys, in nats."""


class OfSets(Projected):
    """A projected loss that compares sets of tokens: those of a micro-batch."""

    @property
    def looks_at_micro_batch(self) -> bool:
        """Always."""
        return True


class Contrastive(OfSets):
    """InfoNCE: each token's student state must find its own teacher state among those of the micro-batch."""

    temperature: float = Field(default=0.1, gt=0)
    """Divides the cosine similarities."""


class Wasserstein(OfSets):
    """Wasserstein-1 distance between the states as sets of tokens, estimated by a trained critic (WGAN-GP)."""

    critic: tuple[Annotated[int, Field(gt=0)], ...] = Field(default=(512, 256, 128), strict=False)
    """Widths of the critic's hidden layers."""
    critic_lr: float = Field(default=1e-4, gt=0)
    """Of the critics' RMSprop."""
    critic_steps: int = Field(default=5, gt=0)
    """Steps of the critics before each step of the student."""
    gradient_penalty: float = Field(default=10.0, ge=0)
    """Coefficient of (norm of the critic's gradient - 1)^2."""


class SlicedWasserstein(OfSets):
    """Mean Wasserstein-1 distance between the states as sets of tokens, over random directions."""

    directions: int = Field(default=64, gt=0)
    """Random directions, drawn anew at each step."""


class Sinkhorn(OfSets):
    """Debiased entropic transport cost (squared distance) between the states as sets of tokens."""

    points: int = Field(default=256, gt=1)
    """Tokens of a micro-batch that take part, evenly spaced: the cost grows with their square."""
    regularisation: float = Field(default=0.05, gt=0)
    """Strength of the entropy, as a fraction of the mean squared distance between the teacher's tokens."""


class Heads(Loss):
    """Output heads on shallow layers of the student, trained with it, never exported (DSKD, arXiv 2202.07846)."""

    weight: Weight
    """Coefficient of the term."""
    layers: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    """Blocks of the student, from 1."""
    hard: float = Field(default=0.5, ge=0)
    """Inside a head: coefficient of its cross-entropy with the target."""
    soft: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Inside a head: teacher name and coefficient of temperature^2 * KL to its soft targets."""
    temperature: float = Field(default=2.0, gt=0)
    """Of the heads' soft targets."""
    adaptive: bool = True
    """Heads weigh in proportion to their own loss on the micro-batch; false: all alike."""

    @property
    def looks_at_micro_batch(self) -> bool:
        """Where shares are proportions of sums over it."""
        return self.adaptive

    @model_validator(mode="after")
    def _learns_something(self) -> Self:
        if not (self.hard or self.soft):
            raise ValueError("heads learn from hard or soft: give one of them a weight")
        return self


class Ted(Layered):
    """Distance between filtered states: teacher filters are trained first, then matched (TED, arXiv 2210.01351)."""

    width: int | None = Field(default=None, gt=0)
    """Width of the filters' output; null: the teacher's."""
    until: float = Field(default=0.1, gt=0, lt=1)
    """Fraction of the run in which the filters learn to predict the targets; then the matching begins."""
    filter_lr: float = Field(default=1e-3, gt=0)
    """Of the filters' AdamW."""

    @property
    def looks_at_micro_batch(self) -> bool:
        """By the filters, which learn from the first micro-batch of a step."""
        return True


class Losses(Strict):
    """The terms of the training signal; weights are coefficients and need not sum to 1."""

    hard: Hard
    z_loss: ZLoss | None = None
    soft: Soft | None = None
    output_cosine: OutputCosine | None = None
    output_wasserstein: OutputWasserstein | None = None
    hidden: Hidden | None = None
    attention: Attention | None = None
    contrastive: Contrastive | None = None
    wasserstein: Wasserstein | None = None
    sliced_wasserstein: SlicedWasserstein | None = None
    sinkhorn: Sinkhorn | None = None
    heads: Heads | None = None
    ted: Ted | None = None

    @property
    def used(self) -> dict[str, Loss]:
        """The losses that are computed, by name."""
        return {name: loss for name in type(self).model_fields if (loss := getattr(self, name))}

    @property
    def layered(self) -> dict[str, Layered]:
        """Those of them that compare layers."""
        return {name: loss for name, loss in self.used.items() if isinstance(loss, Layered)}


class DistillConfig(TrainConfig):
    """One distillation: a student, its teachers, its losses."""

    elsewhere = OF_A_STUDY
    teachers: dict[TeacherName, Teacher] = Field(min_length=1)
    """Name (letters, digits, - and _): teacher."""
    losses: Losses
    control_name: RunName | None = None
    """Run without distillation that this one is measured against; null: NAME-control."""
    revisions: bool = True
    """As in training a teacher, where it is off: the student's revisions are what the leaderboard asks for, and
    its control writes none."""

    OPERATIONAL: ClassVar = TrainConfig.OPERATIONAL | {"control_name"}

    @model_validator(mode="before")
    @classmethod
    def _has_teachers(cls, values: Any) -> Any:
        if isinstance(values, dict) and not {"teachers", "losses"} & values.keys():
            raise ValueError("there are no teachers: files without any are for python -m train_teachers")
        return values

    @model_validator(mode="before")
    @classmethod
    def _places_are_its_own(cls, values: Any) -> Any:
        """In teachers and init, `{name}` and `{seed}` are this run's, and `{control}` is its control's name."""
        if not isinstance(values, dict):
            return values
        name, seed = values.get("name"), values.get("seed", cls.model_fields["seed"].default)
        own = {
            "name": str(name),
            "seed": str(seed),
            "control": str(control_of(name, values.get("control_name"))),
        }
        try:
            return values | {field: filled(values[field], own) for field in OF_MODELS & values.keys()}
        except KeyError as error:
            raise ValueError(
                f"{{{error.args[0]}}} is not known in teachers and init: write {{name}}, {{seed}} or {{control}}"
            ) from None

    @model_validator(mode="after")
    def _teachers_are_used(self) -> Self:
        for name, teachers in self.named.items():
            if unknown := sorted(teachers - set(self.teachers)):
                raise ValueError(f"losses.{name} names a teacher '{unknown[0]}' that is not under teachers")
        if idle := sorted(set(self.teachers) - set().union(*self.named.values())):
            raise ValueError(f"teacher '{idle[0]}' has a weight in no loss: give it one or remove it")
        return self

    @property
    def named(self) -> dict[str, set[str]]:
        """By loss, the teachers that it uses."""
        used, heads = self.losses.used.items(), self.losses.heads
        named = {name: set(loss.weight) for name, loss in used if isinstance(loss, PerTeacher)}
        return named | ({"heads": set(heads.soft)} if heads else {})

    @property
    def answering(self) -> frozenset[str]:
        """The teachers whose outputs a loss uses; of all others only hidden states or attention maps are used."""
        layered = {name for name, loss in self.losses.used.items() if isinstance(loss, Layered)}
        return frozenset().union(*(teachers for name, teachers in self.named.items() if name not in layered))

    @property
    def reads(self) -> dict[str, str]:
        """By teacher, what it is asked."""
        return {name: teacher.reads or self.targets.reads for name, teacher in self.teachers.items()}

    @model_validator(mode="after")
    def _teachers_can_answer(self) -> Self:
        mine, reads, soft = self.targets.reads, self.reads, self.losses.soft
        for name, there in reads.items():
            if mine not in ("both", there):
                raise ValueError(
                    f"teacher '{name}' reads {there}, and this student is asked for {self.targets.kind}: between the "
                    "two kinds only a student with targets: hybrid learns"
                )
        if soft and soft.is_one_term and len({reads[name] for name in soft.weight if name in reads}) > 1:
            raise ValueError(
                "losses.soft makes one target of teachers that read otherwise: write combine: separate, and no adaptive"
            )
        if (
            mine == "both"
            and self.losses.heads
            and any(reads.get(k) != "both" for k in self.losses.heads.soft)
        ):
            raise ValueError("losses.heads.soft: in a hybrid its teachers must read both")
        for name, loss in self.losses.layered.items():
            for teacher in loss.weight:
                pairs = loss.map_of(teacher)
                masked = mine == "both" and reads.get(teacher) == "masked" and isinstance(pairs, list)
                if masked and any(pair.teacher == 0 for pair in pairs):
                    raise ValueError(
                        f"losses.{name}.layer_map.{teacher}: what a masked teacher has at a position is compared with "
                        "the student's at the one before it, so its embeddings (0) say nothing"
                    )
        return self

    @model_validator(mode="after")
    def _maps_are_whole(self) -> Self:
        if self.losses.attention and not self.model.num_attention_heads:
            raise ValueError(f"losses.attention: a {self.model.family} has no attention")
        if self.losses.attention and self.model.dropout:
            raise ValueError("losses.attention compares whole attention maps: set model.dropout to 0.0")
        return self

    @model_validator(mode="after")
    def _student_layers_exist(self) -> Self:
        blocks = self.model.num_hidden_layers
        named = {
            f"{name}.layer_map.{teacher}": [pair.student for pair in pairs]
            for name, loss in self.losses.layered.items()
            for teacher in loss.weight
            if isinstance(pairs := loss.map_of(teacher), list)
        }
        if self.losses.heads:
            named["heads.layers"] = self.losses.heads.layers
        for place, layers in named.items():
            if max(layers) > blocks:
                raise ValueError(f"losses.{place}: the student has {blocks} layers, no index {max(layers)}")
        return self

    @property
    def caches(self) -> dict[str, list[str]]:
        """Folder of a cache: the teachers that it stands for."""
        found: dict[str, list[str]] = {}
        for name, teacher in self.teachers.items():
            if teacher.cache:
                found.setdefault(teacher.cache.path, []).append(name)
        return found

    @model_validator(mode="after")
    def _caches_serve(self) -> Self:
        cached, soft = {name for names in self.caches.values() for name in names}, self.losses.soft
        if not cached:
            return self
        if self.targets.reads != "causal":
            raise ValueError(
                f"targets: {self.targets.kind} hides other tokens at each step, and no cache has what teachers say then"
            )
        for name, loss in self.losses.used.items():
            asked = set(loss.weight) if isinstance(loss, PerTeacher) else set(getattr(loss, "soft", ()))
            if name != "soft" and (shared := sorted(asked & cached)):
                raise ValueError(
                    f"losses.{name} needs teacher '{shared[0]}' itself: a cache has its soft targets alone"
                )
        if isinstance(soft.temperature, Schedule) and soft.temperature.start != soft.temperature.end:
            raise ValueError("losses.soft.temperature changes, and a cache is for one: write a number")
        if soft.adaptive:
            raise ValueError(
                f"losses.soft.adaptive: {soft.adaptive} asks the teachers themselves: leave the cache away"
            )
        if self.data.layouts is None:
            raise ValueError(
                "a cache needs sequences that recur: set data.offset to fixed, or to a number of offsets"
            )
        together = soft.combine != "separate"
        if together and (len(self.caches) > 1 or cached != set(soft.weight)):
            raise ValueError(
                f"losses.soft.combine: {soft.combine} makes one target of all: give them one cache"
            )
        if together and any(isinstance(weight, Schedule) for weight in soft.weight.values()):
            raise ValueError(
                "losses.soft.weight changes, and with it the target that the cache holds: write numbers"
            )
        for path, names in self.caches.items():
            if inside := [other for other in self.caches if Path(other) in Path(path).parents]:
                raise ValueError(
                    f"the cache {path} would lie in another, {inside[0]}: give it a folder beside it"
                )
            if len(names) > 1 and not together:
                raise ValueError(f"teachers '{names[0]}' and '{names[1]}' have one cache, {path}: one each")
            if any(self.teachers[name].cache != self.teachers[names[0]].cache for name in names):
                raise ValueError(f"the cache {path} is given as several: write the same for all its teachers")
        kinds = {self.teachers[name].cache.kind for name in cached}
        if refused := [kind for kind in kinds if soft.divergence not in DIVERGENCES_OF_CACHES[kind]]:
            known = ", ".join(DIVERGENCES_OF_CACHES[refused[0]])
            raise ValueError(
                f"losses.soft.divergence: {soft.divergence} cannot be had from a cache of {refused[0]} tokens, "
                f"but {known}"
            )
        return self

    @property
    def may_change(self) -> frozenset[str]:
        """Not the micro-batch, where a loss looks at it as a whole."""
        whole = any(loss.looks_at_micro_batch for loss in self.losses.used.values())
        return self.OPERATIONAL - ({"micro_batch_size"} if whole else set())

    def without_teachers(self) -> Self:
        """What the control minimises: the hard loss alone, with the smoothing and the z-loss of the student."""
        hard = self.losses.hard.model_copy(update={"weight": 1.0})
        return self.model_copy(
            update={"teachers": {}, "losses": Losses(hard=hard, z_loss=self.losses.z_loss)}
        )

    @property
    def controlled(self) -> dict[str, str]:
        """What a control has of its student's losses, as inputs.json of both says it."""
        return {"label_smoothing": str(self.losses.hard.label_smoothing), "z_loss": str(self.losses.z_loss)}

    def control(self) -> TrainConfig:
        """The same student on the same batches without distillation.

        It writes no revisions: nothing scores them, and they change no weight.
        """
        shared = {name: getattr(self, name) for name in TrainConfig.model_fields}
        own = {"name": control_of(self.name, self.control_name), "revisions": False}
        return TrainConfig.model_construct(**shared | own)
