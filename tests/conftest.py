"""The menagerie: a tiny corpus, its data folder, tiny models, and configs for them."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# The suite is about the CPU: NCCL refuses two processes on one GPU, and the bits of a GPU are other bits.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models, and cores that others may share

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FORKED = [str(HERE / "forked_ranks.py")]
WHOLE: dict[str, str] = {}  # every process holds all
VOCAB = 300
NOUNS = ("dog", "cat", "bird", "girl", "boy", "bear", "fish", "duck")
PAIRS = [{"teacher": 1, "student": 1}, {"teacher": 3, "student": 2}]  # of layers
VERBS = ("sees", "likes", "finds", "wants", "hears", "helps")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long in one process begins first."""
    items.sort(key=lambda item: item.path.stem not in ("test_slurm", "test_kill", "test_processes"))


def write_corpus(folder: Path, *, seed: int = 0, lines: int = 400) -> Path:
    """A raw corpus in the official layout: short sentences, a blank line after every fourth."""
    rng = random.Random(seed)
    for split, count in (("train", lines), ("dev", lines // 4), ("test", lines // 4)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        sentences = [
            f"The {rng.choice(NOUNS)} {rng.choice(VERBS)} the {rng.choice(NOUNS)}." + "\n" * (i % 4 == 3)
            for i in range(count)
        ]
        (folder / split / f"tales.{split}").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return folder


def make_data(out: Path, raw: Path) -> Path:
    """The data folder of `raw`."""
    from babylm_data.prepare import Settings, prepare

    settings = Settings(source="raw", track="2025/strict-small", vocab_size=VOCAB)
    prepare(out, settings, raw=raw, workers=1)
    return out


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    """A data folder of about two thousand words, shared by all tests: do not write into it."""
    folder = tmp_path_factory.mktemp("corpus")
    return make_data(folder / "data", write_corpus(folder / "raw"))


@pytest.fixture(scope="session")
def runs_template(tmp_path_factory) -> Path:
    """A runs/ tree to copy, made once: paths inside it are resolved beside the student."""
    from run_tree import write_runs

    folder = tmp_path_factory.mktemp("template") / "runs"
    write_runs(folder)
    return folder.rename(folder.parent / "kept")


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """An empty current folder, where runs/ goes."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def config_values(data_folder) -> dict:
    """A training config of a second: a llama of two layers, ten steps."""
    return {
        "name": "tiny",
        "model": {
            "family": "llama",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
        },
        "data": {"path": str(data_folder), "seq_len": 16, "words": 400, "held_out_sequences": 8},
        "optim": {"lr": 3e-3},
        "batch_size": 4,
        "precision": "fp32",
        "log_every": 2,
        "validations": 2,
    }


@pytest.fixture(scope="session")
def make_config(config_values):
    """make_config(seed=1, optim={"lr": 0.1}): the tiny TrainConfig with top-level fields replaced or merged."""
    from train_teachers.config import TrainConfig

    def make(schema=TrainConfig, **changes):
        values = {**config_values}
        for key, value in changes.items():
            merge = isinstance(value, dict) and isinstance(values.get(key), dict)
            values[key] = {**values[key], **value} if merge else value
        return schema.model_validate_json(json.dumps(values))

    return make


@pytest.fixture
def train_tiny(workplace, make_config):
    """train_tiny(**changes): train the tiny config into runs/<name>/ with the hard loss; returns the folder."""
    from train_teachers.objective import hard_alone
    from train_teachers.stage import run_training

    def train(**changes) -> Path:
        config = make_config(**changes)
        run_training(config, kind="teacher", make_objective=hard_alone)
        return workplace / "runs" / config.name

    return train


@pytest.fixture
def die_once(monkeypatch):
    """die_once(n): of the steps taken from now on the one after n others dies; the list that has one entry a step."""
    from train_teachers.step import Stepper

    def arm(after):
        honest, taken = Stepper.__call__, []

        def step(*given):
            taken.append(given)
            if len(taken) == after + 1:
                raise KeyboardInterrupt
            return honest(*given)

        monkeypatch.setattr(Stepper, "__call__", step)
        return taken

    return arm


@pytest.fixture(scope="session")
def teachers_folder(data_folder, tmp_path_factory):
    """Two untrained teachers: a llama of three layers, a gpt2 of another width."""
    from babylm_data.tokenizer_files import load_tokenizer
    from train_teachers.checkpoint import export
    from train_teachers.config import Model
    from train_teachers.language_model import build

    folder = tmp_path_factory.mktemp("teachers")
    tokenizer = load_tokenizer(data_folder / "tokenizer")
    for name, family, width in (("a", "llama", 48), ("b", "gpt2", 40)):
        shape = Model(
            family=family,
            hidden_size=width,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=32,
        )
        model = build(shape, tokenizer, seed=5)
        model.get_output_embeddings().weight.data.mul_(20)  # opinions to learn, though untrained
        export(model, data_folder / "tokenizer", folder / name)
    return folder


@pytest.fixture
def make_distill(make_config, teachers_folder):
    """make_distill(**changes): the tiny config with two teachers and every loss."""
    from distill.config import DistillConfig

    def make(**changes):
        values = {
            "teachers": {name: {"path": str(teachers_folder / name)} for name in "ab"},
            "losses": {
                "hard": {"weight": 0.5},
                "soft": {"weight": {"a": 0.25, "b": 0.5}, "temperature": 2.0},
                "hidden": {"weight": {"a": 0.1, "b": 0.2}, "layer_map": {"a": PAIRS, "b": PAIRS}},
            },
        }
        return make_config(DistillConfig, **values | changes)

    return make


@pytest.fixture
def make_setting(make_distill, data_folder):
    """make_setting(**changes): (student, objective, batch) of the tiny distillation."""
    import numpy as np
    import torch

    from babylm_data.fingerprint import fingerprint
    from babylm_data.tokenizer_files import load_tokenizer
    from babylm_data.tokens import Blocks
    from distill.objective import DistillObjective
    from distill.teachers import Teachers
    from train_teachers.language_model import build
    from train_teachers.targets import NEXT_TOKEN

    def make(**changes):
        config = make_distill(**changes)
        student = build(config.model, load_tokenizer(data_folder / "tokenizer"), seed=0)
        teachers = Teachers(config, fingerprint(data_folder / "tokenizer"), VOCAB, torch.device("cpu"))
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(5, 300, (3, 17), generator=generator)
        blocks = Blocks(tokens.numpy(), np.ones((3, 17), np.uint8), np.arange(3), "train")
        batch = NEXT_TOKEN.of_items(blocks)
        torch.manual_seed(0)
        return student, DistillObjective(config, teachers, student), batch

    return make


@pytest.fixture
def launch(workplace):
    """launch(stage, config, *event, launcher=FORKED, engine=WHOLE): how two processes of a stage ended."""
    from train_teachers.config import dump_config

    def run(stage, config, *event, launcher=FORKED, engine=WHOLE):
        path = Path(f"{config.name}.yaml")
        path.write_text(dump_config(config), encoding="utf-8")
        return subprocess.run(
            [sys.executable, *launcher, stage, str(path), *event],
            env=os.environ | {"PYTHONPATH": str(HERE.parent)} | engine,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def on_two(launch):
    """on_two(stage, config, **how): the run folder of two processes that have come to the end."""

    def run(stage, config, **how):
        done = launch(stage, config, **how)
        assert done.returncode == 0, done.stderr
        folder = Path("runs") / config.name
        assert json.loads((folder / "summary.json").read_text())["processes"] == 2
        return folder

    return run
