"""Seeded random stand-ins for data and models that are not there, so that a config can be checked anywhere.

They are complete and real folders of a temporary place: a check goes through the same code as a run. No number that
comes of them says anything.
"""

import contextlib
import random
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from babylm_data.errors import UserError
from babylm_data.fingerprint import fingerprint
from babylm_data.hub import find_folder
from babylm_data.prepare import Settings, prepare
from babylm_data.tokenizer_files import load_tokenizer
from train_teachers.checkpoint import export
from train_teachers.config import Config, Data, Init, Model
from train_teachers.language_model import build

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")  # what a copy of a tokenizer alone has not
MADE_UP = 3  # exit status of a check that had to make something up
ENTRIES = 8192  # of a tokenizer, where the config leaves it open


def is_here(path: str) -> bool:
    """Whether a model is a folder, or in the local copy of the hub: a check downloads nothing."""
    if Path(path).exists():
        return True
    try:
        return any(isinstance(try_to_load_from_cache(path, name), str) for name in WEIGHTS)
    except HFValidationError:  # not the form of a hub name
        return False


@contextlib.contextmanager
def filled_in(config: Config, others: Sequence[str] = ()) -> Iterator[tuple[Config, Path]]:
    """The config with stand-ins for the data and the first weights that are not there, and the folder they lie in.

    Each is named on the screen, and gone when the context ends. Made-up data have the tokenizer of the first model
    that is there, of `init` and the `others`.
    """
    with tempfile.TemporaryDirectory(prefix="check-") as temporary:
        place, changes = Path(temporary), {}
        if not Path(config.data.path).exists():
            models = [
                path for path in [*([config.init.path] if config.init else []), *others] if is_here(path)
            ]
            _make_data(place / "data", config.data, find_folder(models[0], absent="") if models else None)
            changes["data"] = config.data.model_copy(update={"path": str(place / "data")})
            changes["competition"] = False  # a few random words would be read too often
            tokenizer = f"the tokenizer of {models[0]}" if models else "a tokenizer of them"
            print(f"data: {config.data.path} is not there: random words, {tokenizer}", flush=True)
        if config.init and not is_here(config.init.path):
            changes["init"] = config.init.model_copy(update={"path": str(place / "init")})
            changes["competition"] = False  # nobody counted what random weights have read
            print(f"init: {config.init.path} is not there: random weights of the model's shape", flush=True)
        config = config.model_copy(update=changes)
        if "init" in changes:
            make_model(
                place / "init", _origin(config.model, config.init), Path(config.data.path) / "tokenizer"
            )
        yield config, place


def verdict(config: Config, filled: Config) -> int:
    """The exit status of a check; where something was made up, that is said once more, behind all else."""
    if filled == config:
        return 0
    print(
        f"checked with made-up stand-ins for what is not there (see above): this says that {config.name} fits "
        "together, and nothing about your data or models",
        file=sys.stderr,
    )
    return MADE_UP


def make_model(folder: Path, shape: Model, tokenizer: Path, *, seed: int = 0) -> None:
    """A model folder of random weights."""
    export(build(shape, load_tokenizer(tokenizer), seed=seed), tokenizer, folder)


def declared_shape(path: str, given: Model | None, what: str) -> Model:
    """The shape of a model that is not there: as `given`, or from the config that `runs/NAME/export` is made by, as a
    control is by that of its student.
    """
    if given:
        return given
    name = Path(path).parent.name if Path(path).name == "export" else Path(path).name
    for stage in ("train_teachers", "distill"):
        if config := config_of_run(Path(stage) / "configs", name.removesuffix("-control")):
            return _shape(config)
    raise UserError(
        f"{what}: {path} is not there and no config is called {name}.yaml: add its shape as `model: …`"
    )


def config_of_run(folder: Path, name: str) -> Path | None:
    """The config of that name in a folder, or for NAME-seed2 that of NAME or of NAME-seed1."""
    other = re.sub(r"-seed\d+$", "", name)
    candidates = (folder / f"{each}.yaml" for each in (name, other, f"{other}-seed1"))
    return next((path for path in candidates if path.is_file()), None)


def words_of_run(folder: Path, name: str) -> list[str] | None:
    """What `python -m train_teachers` is given for a run of that name, by its config in a folder; None without one."""
    if not (config := config_of_run(folder, name)):
        return None
    seed = re.search(r"-seed(\d+)$", name)
    return [str(config), f"name={name}", *([f"seed={seed[1]}"] if seed else [])]


def _shape(path: Path) -> Model:
    from omegaconf import OmegaConf

    return Model.model_validate(OmegaConf.to_container(OmegaConf.load(path).model))


def _origin(shape: Model, init: Init) -> Model:
    return shape.model_copy(update={"num_hidden_layers": max(init.blocks or [shape.num_hidden_layers])})


def _make_data(folder: Path, data: Data, model: Path | None) -> None:
    """A data folder of made-up words, enough of them for a tokenizer of the size that the config asks for."""
    rng, entries = random.Random(0), data.vocab_size or ENTRIES
    words = ["".join(rng.choices(LETTERS, k=rng.randint(3, 9))) for _ in range(entries)]
    raw = folder.with_name("raw")
    for split, repeats in (("train", 4), ("dev", 1)):
        (raw / split).mkdir(parents=True)
        text = rng.choices(words, k=max(repeats * entries, 20 * data.seq_len))
        lines = [" ".join(text[i : i + 10]) for i in range(0, len(text), 10)]
        (raw / split / f"made_up.{split}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    adopted = {"vocab_size": None, "tokenizer": fingerprint(model)} if model else {"vocab_size": entries}
    settings = Settings(source="raw", track="2025/strict-small", **adopted)
    prepare(folder, settings, raw=raw, tokenizer=model, workers=1)
