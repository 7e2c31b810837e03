"""The shapes that are timed, by name: student, teachers, batch and vocabulary as one config; no data, no weights.

All learn from the same losses, those of the plain loop: 0.5 hard and 0.5 soft, forward KL to the mean of the teachers'
logits at temperature 2.
"""

from collections.abc import Sequence
from pathlib import Path

from babylm_data.errors import UserError
from bench.spec import SIDES, Request, Side
from distill.config import DistillConfig, Hard, Losses, Soft, Teacher
from train_teachers.config import Data, Model, Optim, TrainConfig, dump_config, load_config

ROOT = Path(__file__).parent.parent
Config = DistillConfig | TrainConfig
GROWING: tuple[Side, ...] = ("online", "cached")


def soft_and_hard(teachers: Sequence[str], combine: str = "mean_logits") -> Losses:
    """The losses of the plain loop, as token means."""
    weight = {name: 0.5 / len(teachers) for name in teachers}
    return Losses(hard=Hard(weight=0.5), soft=Soft(temperature=2.0, combine=combine, weight=weight))


def reference() -> DistillConfig:
    """A student of 8.5M parameters and two teachers of its size."""
    llama = Model(
        family="llama",
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=8,
        num_attention_heads=4,
        tie_word_embeddings=True,
    )
    gpt2 = llama.model_copy(update={"family": "gpt2", "intermediate_size": 1024})
    return DistillConfig(
        model=llama,
        data=Data(path="data", vocab_size=8192, seq_len=128, words=1),
        optim=Optim(lr=2.5e-4),
        batch_size=64,
        teachers={name: Teacher(path=name, model=shape) for name, shape in _named([llama, gpt2])},
        losses=soft_and_hard(["llama", "gpt2"]),
    )


def preset(name: str, vocabulary: int) -> DistillConfig:
    """A preset of the Makefile; its losses but for the plain loop's are left away."""
    student = load_config(DistillConfig, ROOT / f"distill/configs/{name}.yaml")
    shapes = [
        load_config(TrainConfig, ROOT / f"train_teachers/configs/{name}-{teacher}.yaml").model
        for teacher in student.teachers
    ]
    return student.model_copy(
        update={
            "data": student.data.model_copy(update={"vocab_size": vocabulary}),
            "teachers": {family: Teacher(path=family, model=shape) for family, shape in _named(shapes)},
            "losses": soft_and_hard([shape.family for shape in shapes]),
        }
    )


def alone() -> TrainConfig:
    """BabyLlama-58M without its teachers: a student so wide that Muon's share of a step is small."""
    student = load_config(DistillConfig, ROOT / "distill/configs/babyllama-58m.yaml")
    return student.control().model_copy(update={"batch_size": 64})


def small() -> DistillConfig:
    """The nursery's models, long enough and on few enough sequences to let one factor grow."""
    nursery = preset("nursery", 8192)
    longer = {"max_position_embeddings": 512}
    teachers = {
        name: teacher.model_copy(update={"model": teacher.model.model_copy(update=longer)})
        for name, teacher in nursery.teachers.items()
    }
    return nursery.model_copy(
        update={
            "model": nursery.model.model_copy(update=longer),
            "teachers": teachers,
            "data": nursery.data.model_copy(update={"seq_len": 128}),
            "batch_size": 16,
        }
    )


SHAPES = {
    "reference": reference,
    "nursery": lambda: preset("nursery", 1024),
    "cpu-hour": lambda: preset("cpu-hour", 8192),
    "58m": lambda: preset("babyllama-58m", 16_000),
    "58m-alone": alone,
    "small": small,
}


def config_of(request: Request, place: Path) -> Config:
    """The config of the shape that is asked for, its folders in `place`, with the overrides.

    UserError if there is no such shape, or on a fault in an override.
    """
    if request.shape not in SHAPES:
        raise UserError(f"no shape '{request.shape}': there are {', '.join(SHAPES)}")
    shape = SHAPES[request.shape]()
    changes = {
        "name": request.shape,
        "data": shape.data.model_copy(update={"path": str(place / "data"), "held_out_sequences": 1}),
        "optim": shape.optim.model_copy(update={"optimizer": request.optimizer}),
        "compile": request.compiled,
        "revisions": False,
        "words_scale": 1.0,
        "competition": False,
    }
    if isinstance(shape, DistillConfig):
        changes["teachers"] = {
            name: teacher.model_copy(update={"path": str(place / name)})
            for name, teacher in shape.teachers.items()
        }
    written = place / f"{request.shape}.yaml"
    written.write_text(dump_config(shape.model_copy(update=changes)), encoding="utf-8")
    return load_config(type(shape), written, list(request.overrides))


def sides_of(request: Request, config: Config) -> tuple[Side, ...]:
    """Those that are asked for, else those that fit; UserError if that cannot be."""
    distils = isinstance(config, DistillConfig)
    if request.growth and not distils:
        raise UserError(f"shape {request.shape} has no teachers to grow in number: choose another --shape")
    known = GROWING if request.growth else SIDES
    if unknown := [side for side in request.sides if side not in known]:
        raise UserError(f"no side '{unknown[0]}' of this: there are {', '.join(known)}")
    if request.sides:
        return tuple(request.sides)
    if request.growth:
        return GROWING
    if not distils:
        return ("muon",)
    return SIDES[:-1] if request.optimizer == "muon" else SIDES


def with_vocabulary(config: Config, entries: int) -> Config:
    """The same with another number of tokens."""
    return config.model_copy(update={"data": config.data.model_copy(update={"vocab_size": entries})})


def with_length(config: Config, tokens: int) -> Config:
    """The same with sequences of another length, and as many."""
    return config.model_copy(update={"data": config.data.model_copy(update={"seq_len": tokens})})


def with_teachers(config: DistillConfig, count: int) -> DistillConfig:
    """The same with so many teachers, of the shapes that it has in turn."""
    shapes = list(config.teachers.values())
    teachers = {}
    for number in range(count):
        shape = shapes[number % len(shapes)]
        place = Path(shape.path).with_name(f"teacher-{number}")
        teachers[place.name] = shape.model_copy(update={"path": str(place)})
    losses = soft_and_hard(list(teachers), config.losses.soft.combine)
    return config.model_copy(update={"teachers": teachers, "losses": losses})


def _named(shapes: Sequence[Model]) -> list[tuple[str, Model]]:
    return [(shape.family, shape) for shape in shapes]
