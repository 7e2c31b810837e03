"""`--check` of a distillation: teachers that are not there become random ones too."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from distill.config import DistillConfig
from train_teachers import stand_ins
from train_teachers.stand_ins import declared_shape, is_here, make_model


@contextlib.contextmanager
def filled_in(config: DistillConfig) -> Iterator[DistillConfig]:
    """The config with stand-ins for all that is not there, while the context lasts; each is named on the screen."""
    teachers, real = dict(config.teachers), Path(config.data.path).exists()
    with stand_ins.filled_in(config, [teacher.path for teacher in teachers.values()]) as (config, place):
        for seed, (name, teacher) in enumerate(config.teachers.items(), start=1):
            if teacher.cache and not (real and Path(teacher.cache.path).exists()):
                print(f"teacher '{name}': without its cache {teacher.cache.path}, it runs itself", flush=True)
                teacher = teachers[name] = teacher.model_copy(update={"cache": None})
            if teacher.cache:
                continue
            if is_here(teacher.path):
                continue
            own = Path(teacher.path) == Path("runs", config.control().name, "export")
            shape = config.model if own else declared_shape(teacher.path, teacher.model, f"teacher '{name}'")
            make_model(place / name, shape, Path(config.data.path) / "tokenizer", seed=seed)
            # no run tells what it has learned: what it is asked
            asked = {"path": str(place / name), "reads": config.reads[name]}
            teachers[name] = teacher.model_copy(update=asked)
            print(f"teacher '{name}': {teacher.path} is not there: random weights of its shape", flush=True)
        yield config.model_copy(update={"teachers": teachers})
