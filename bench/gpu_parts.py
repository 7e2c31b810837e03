"""The parts of `python -m bench.gpu`: each tells (what, figure, whether it is as it should be) as it goes on.

All of them work in one folder, so what one has made is there for the next: data, the teachers, and the runs.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from accelerate.state import AcceleratorState

from babylm_data.__main__ import main as make_data
from babylm_data.sealed import sha256
from bench.shapes import ROOT, config_of, reference
from bench.spec import Request, Result, Spec
from distill.config import DistillConfig
from train_teachers.config import Data, Model, Optim, TrainConfig, load_config

Seen = tuple[str, str, bool | None]
LENGTH = 256  # tokens a sequence: with 64, attention has other kernels
DATA, WORDS, FEWER = "data", 100_000, 10_000  # fewer on a processor, where it is tried out
# Nats per token between number formats: far above their rounding and far below what a fault makes.
ALIKE = 0.01
PAIRS = {"llama": [{"teacher": 2, "student": 2}, {"teacher": 4, "student": 3}], "gpt2": "last_to_last"}
OFFSETS = {"data.offset": "fixed"}
CACHES = {"top": 32, "drawn": 12}
SOFT_AND_HARD = {
    "hard": {"weight": 0.5},
    "soft": {"temperature": 1.0, "weight": {"llama": 0.25, "gpt2": 0.25}},
}


def bits(place: Path) -> Iterator[Seen]:
    """The teachers."""
    data_in(place)
    losses = {}
    for precision in ("bf16", "fp16", "fp32") if torch.cuda.is_available() else ("bf16", "fp32"):
        runs = [f"llama-{precision}", f"llama-{precision}-again"]
        yield same_bits(
            f"llama in {precision}", [train("nursery-llama", name, precision=precision) for name in runs]
        )
        losses[precision] = held_out_loss(runs[0])
    spread = max(losses.values()) - min(losses.values())
    told = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    yield "held-out hard loss by number format", told, spread < ALIKE
    name = train("nursery-llama", "llama-killed", kill=True, precision="bf16")
    yield same_bits("llama in bf16, killed and resumed", ["llama-bf16", name])
    runs = ["gpt2", "gpt2-again"]
    options = {"precision": "bf16", "model.dropout": 0.1}
    yield same_bits("gpt2 with dropout, bf16", [train("nursery-gpt2", name, **options) for name in runs])


def speed(place: Path) -> Iterator[Seen]:
    """The two shapes that were timed before."""
    from bench.figures import muon_share, rate_fraction, step
    from bench.turns import made_up, take_turn

    for name, config in timed_shapes().items():
        with contextlib.redirect_stdout(None), made_up(config) as filled:
            result: Result = take_turn(Spec(side="muon", config=filled, warmup=5, steps=20), place)
        yield f"{name}, {result.precision}", f"{result.tokens_per_step / step(result):,.0f} tokens/s", None
        yield (
            f"{name}: of the rate of products ({result.rate / 1e12:,.1f} TFLOP/s)",
            f"{rate_fraction(result):.1%}",
            None,
        )
        yield f"{name}: Muon's share of a step", f"{muon_share(result):.1%}", None
        yield f"{name}: peak memory", f"{result.peak_bytes / 2**30:.1f} GiB", None


def losses(place: Path) -> Iterator[Seen]:
    """Every loss at once."""
    teachers_in(place)
    every = every_loss(["llama", "gpt2"])
    runs = [distil(name, losses=every) for name in ("every-loss", "every-loss-again")]
    yield same_bits("student of every loss", runs)
    lines = [line for line in metrics(runs[0]) if "val/hard" in line]
    for key, last in lines[-1].items():
        if key.startswith("val/"):
            fine = last is not None and abs(last) < float("inf")
            yield (
                f"{key.removeprefix('val/')}, held out, first and last",
                f"{lines[0][key]:.4g} {last:.4g}",
                fine,
            )


def waits(place: Path) -> Iterator[Seen]:
    """Steps, while whatever PyTorch knows to wait for the device is an error."""
    from bench.ours import open_kit

    teachers_in(place)
    pairs = {"weight": {"llama": 0.1, "gpt2": 0.1}, "layer_map": PAIRS}
    of_layers = SOFT_AND_HARD | {"hidden": pairs}
    configs = {
        "two teachers, bf16": distil_config("waits", losses=of_layers, precision="bf16"),
        "two teachers, fp16": distil_config("waits", losses=of_layers, precision="fp16"),
        "a cache, bf16": distil_config(
            "waits", losses=SOFT_AND_HARD, cache="top-waits", precision="bf16", **OFFSETS
        ),
    }
    for name, config in configs.items():
        what, waited = f"{name}: a step waits for the device", ""
        if not torch.cuda.is_available():
            yield what, "no GPU", None
            continue
        if config.caches:
            write_cache(config)
        with quiet():
            kit = open_kit(config)
            kit.step(0)
        torch.cuda.set_sync_debug_mode("error")
        try:
            kit.step(1)
        except RuntimeError as error:
            if "synchroniz" not in str(error):
                raise
            waited = str(error).splitlines()[0]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        yield what, waited or "not that PyTorch knows", not waited


def cache(place: Path) -> Iterator[Seen]:
    """Caches, and a student of each kind of them."""
    teachers_in(place)
    soft = SOFT_AND_HARD
    told = {"teachers": held_out_loss(distil("online", losses=soft, **OFFSETS))}
    for kind, count in CACHES.items():
        begun = time.perf_counter()
        config = distil_config(f"cached-{kind}", losses=soft, cache=f"{kind}-once", **OFFSETS)
        write_cache(config)
        seconds = time.perf_counter() - begun
        again = distil_config("again", losses=soft, cache=f"{kind}-again", checkpoint_seconds=1e-9, **OFFSETS)
        write_cache(again, kill=True)
        once, again = (arrays_hash(place.glob(f"*-{kind}-{which}")) for which in ("once", "again"))
        yield f"{kind} {count} of two teachers; killed: the same bytes", f"{seconds:.1f} s", once == again
        runs = [run_student(config, name) for name in (f"cached-{kind}", f"cached-{kind}-again")]
        yield same_bits(f"student of {kind} {count}", runs)
        told[f"{kind} {count}"] = held_out_loss(runs[0])
    spread = max(told.values()) - min(told.values())
    yield (
        "held-out hard loss by source",
        ", ".join(f"{name} {loss:.4f}" for name, loss in told.items()),
        spread < ALIKE,
    )


def compiled(place: Path) -> Iterator[Seen]:
    """As in `bits`, compiled."""
    data_in(place)
    options = {"precision": "bf16", "compile": True}
    runs = [train("nursery-llama", name, **options) for name in ("compiled", "compiled-again")]
    yield same_bits("llama in bf16, compiled", runs)
    killed = train("nursery-llama", "compiled-killed", kill=True, **options)
    yield same_bits("llama in bf16, compiled, killed and resumed", [runs[0], killed])


def ratios(place: Path) -> Iterator[Seen]:
    """Against the plain loop; each turn tells what it took."""
    from bench.comparison import compare
    from bench.figures import MEANING

    request, own = Request(shape="reference", turns=1, steps=5), place / "ratios"
    own.mkdir(exist_ok=True)  # its data have another vocabulary
    report = compare(request, config_of(request, own), own)
    for name, value in report["summary"].items():
        yield f"{name}: {MEANING[name]}", "not measured" if value is None else f"{value:.3f}", None


# --- runs -------------------------------------------------------------------------------------------------------


def data_in(place: Path) -> None:
    """The nursery corpus."""
    if not (place / DATA).exists():
        with contextlib.redirect_stdout(None):
            make_data(["--source", "nursery", "--out", str(place / DATA)])


def teachers_in(place: Path) -> None:
    """The teachers, where an earlier part has not left them."""
    data_in(place)
    train("nursery-llama", "llama-bf16", precision="bf16")
    train("nursery-gpt2", "gpt2", precision="bf16", **{"model.dropout": 0.1})


def train(recipe: str, name: str, *, kill: bool = False, **options) -> str:
    """Train a teacher, or find it trained; with `kill` by a process that is killed at its first checkpoint."""
    from train_teachers.objective import hard_alone
    from train_teachers.stage import run_training

    path = ROOT / f"train_teachers/configs/{recipe}.yaml"
    overrides = written(name, options)
    if kill:
        started = f"runs/{name}/state/step-*[1-9]"  # the first is saved before any step
        kill_at(started, "train_teachers", str(path), *overrides, "checkpoint_seconds=1e-9")
    with quiet():
        run_training(
            load_config(TrainConfig, path, overrides),
            kind="teacher",
            make_objective=hard_alone,
        )
    return name


def distil_config(name: str, *, losses: dict, cache: str = "", **options) -> DistillConfig:
    """The nursery's student and the teachers of `bits`; with a cache <teacher>-<kind>-… for each of them."""
    path = ROOT / "distill/configs/nursery.yaml"
    config = load_config(DistillConfig, path, written(name, {"revisions": False, **options})).model_dump()
    kind = cache.split("-")[0]
    config["teachers"] = {
        teacher: {
            "path": f"runs/{run}/export",
            "cache": {"path": f"{teacher}-{cache}", kind: CACHES[kind]} if cache else None,
        }
        for teacher, run in {"llama": "llama-bf16", "gpt2": "gpt2"}.items()
    }
    return DistillConfig.model_validate(config | {"losses": losses})


def distil(name: str, **options) -> str:
    """Distil a student."""
    return run_student(distil_config(name, precision="bf16", **options), name)


def run_student(config: DistillConfig, name: str) -> str:
    """Train the student of a config under a name."""
    from distill.__main__ import objective_of
    from train_teachers.stage import run_training

    config = config.model_copy(update={"name": name})
    with quiet():
        run_training(config, kind="student", make_objective=objective_of(config))
    return name


def write_cache(config: DistillConfig, *, kill: bool = False) -> None:
    """Write the caches of a config; with `kill` by a process that is killed as soon as it can go on from somewhere."""
    from distill.cache_writer import write_caches
    from train_teachers.config import dump_config

    if kill:
        path = Path(f"{config.name}.yaml")
        path.write_text(dump_config(config), encoding="utf-8")
        kill_at(f".{config.teachers['llama'].cache.path}.partial/progress.json", "distill.cache", str(path))
    with quiet():
        write_caches(config)


def kill_at(pattern: str, *command: str) -> None:
    """Run a program of the kit until there is a file of that pattern, and kill it; RuntimeError if it ended before."""
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", *command], **nowhere)
    while process.poll() is None and not any(Path().glob(pattern)):
        time.sleep(0.01)
    process.kill()
    if process.wait() != -signal.SIGKILL:
        raise RuntimeError(f"{command[0]} ended by itself, before it could be killed: {process.returncode}")


def written(name: str, options: dict) -> list[str]:
    """Overrides of a config of the nursery."""
    fixed = {
        "name": name,
        "data.path": DATA,
        "data.seq_len": LENGTH,
        "model.max_position_embeddings": LENGTH,
        "data.words": WORDS if torch.cuda.is_available() else FEWER,
        "batch_size": 16,
        "optim.lr": 4e-3,  # so small that rounding stays far below ALIKE
        "optim.weight_decay": 0.1,
        "validations": 2,
        "log_every": 10,
    }
    return [f"{key}={json.dumps(value)}" for key, value in (fixed | options).items()]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What runs print is not what a part tells; each chooses its number format anew."""
    AcceleratorState._reset_state()
    with (
        contextlib.redirect_stdout(None),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def same_bits(what: str, runs: list[str]) -> Seen:
    """Whether the exports of some runs have one hash."""
    from train_teachers.pretrained import weights_hash

    hashes = {weights_hash(Path("runs") / name / "export") for name in runs}
    return f"{what}: equal bits", "yes" if len(hashes) == 1 else "NO", len(hashes) == 1


def metrics(name: str) -> list[dict]:
    """The lines of a run's metrics."""
    return [
        json.loads(line)
        for line in (Path("runs") / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def held_out_loss(name: str) -> float:
    """Of a run's end."""
    return json.loads((Path("runs") / name / "summary.json").read_text(encoding="utf-8"))["val/hard"]


def arrays_hash(folders: Iterable[Path]) -> list[str]:
    """Of what caches keep."""
    return [sha256(path) for folder in sorted(folders) for path in sorted(folder.glob("*.bin"))]


def every_loss(teachers: list[str]) -> dict:
    """Each loss that there is, with a small weight."""
    weight = dict.fromkeys(teachers, 0.1)
    layered = {"weight": weight, "layer_map": "last_to_last"}
    return {
        "hard": {"weight": 0.5},
        "z_loss": {"weight": 1e-4},
        "soft": {"weight": weight},
        "output_cosine": {"weight": weight},
        "output_wasserstein": {"weight": weight},
        "hidden": {"weight": weight, "layer_map": PAIRS},
        "attention": layered,
        "contrastive": layered,
        "wasserstein": {**layered, "critic_steps": 1},
        "sliced_wasserstein": layered,
        "sinkhorn": layered,
        "heads": {"weight": 0.1, "layers": [1], "soft": weight},
        "ted": layered,
    }


def timed_shapes() -> dict[str, TrainConfig]:
    """The two that were timed before, on made-up data: 8.1M and 91.7M parameters."""
    llama = reference().model.model_copy(update={"intermediate_size": 640, "max_position_embeddings": 512})
    wide = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    gpt2 = llama.model_copy(update={"family": "gpt2", **wide})
    return {"llama 8.1M, 64 x 512": timed(llama, 64), "gpt2 92M, 32 x 512": timed(gpt2, 32)}


def timed(shape: Model, batch_size: int) -> TrainConfig:
    """A training config whose data are made up."""
    return TrainConfig(
        name="timed",
        model=shape,
        data=Data(path="absent", vocab_size=8192, seq_len=512, words=10**6, held_out_sequences=1),
        optim=Optim(lr=1e-3, optimizer="muon"),
        batch_size=batch_size,
        precision="bf16",
        compile=True,
        competition=False,
        revisions=False,
    )
