"""Two processes, whole (DDP) or with all they train in shards (FSDP2), against one; and what befalls one of the two.

Equal means: but for the order of sums, which AdamW's first steps make a little larger.
"""

import json
import time
from pathlib import Path

import pytest
import torch
from conftest import HERE, PAIRS, WHOLE
from safetensors.torch import load_file
from test_distill import BOTH_USED, EVERY, distil
from test_loop import curve, weights

from babylm_data.errors import UserError
from babylm_data.sealed import damage
from train_teachers import sharding, step
from train_teachers.sharding import Sharding
from train_teachers.stage import _accelerator
from train_teachers.step import Stepper, Trained

CONFIGS = HERE.parent / "slurm" / "accelerate"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
ACCELERATE = ["-m", "accelerate.commands.launch", "--num_processes=2"]
FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
ZERO1 = FSDP2 | {"FSDP_RESHARD_AFTER_FORWARD": "false"}
ZERO2 = ZERO1 | {"FSDP_SHARDING_STRATEGY": "SHARD_GRAD_OP"}
STAGES = {"whole": WHOLE, "zero1": ZERO1, "zero2": ZERO2, "zero3": FSDP2}
PATIENCE = 30.0  # seconds until all processes of a run have ended behind the first
NEAR = 2e-5  # of weights of size 0.02 to 1 after a dozen steps of 3e-3
LEARNT = ("wasserstein", "ted")  # by what learns on the first micro-batch of a step, the mean over processes
SLOW, LONG = pytest.mark.slow, pytest.mark.long


def some_slow(values: dict, *slow: str) -> list:
    """The values under their names, as parameters: some are slow, and the rest, which show the same, long."""
    return [
        pytest.param(value, id=name, marks=SLOW if name in slow else LONG) for name, value in values.items()
    ]


ENGINES = {"whole": WHOLE, "shards": FSDP2}
engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)


def assert_equal(one, other, *, weights=NEAR, values=NEAR):
    """Every number that two runs have logged, and every exported weight, to a tolerance."""
    for mine, theirs in zip(curve(one), curve(other), strict=True):
        assert mine == pytest.approx(theirs, rel=values, abs=values)
    mine, theirs = (load_file(folder / "export" / "model.safetensors") for folder in (one, other))
    assert mine.keys() == theirs.keys()
    far = {name: (mine[name] - theirs[name]).abs().max().item() for name in mine}
    assert max(far.values()) < weights, max(far.items(), key=lambda item: item[1])


@pytest.fixture
def drawing_as_two(monkeypatch):
    """Micro-batch i of a step draws what process i draws, whose only one it is."""
    at = []

    def take(self, number, blocks, honest=Stepper.__call__):
        at[:] = [number, 0]
        return honest(self, number, blocks)

    def forward(self, batch, honest=Trained.forward):
        torch.manual_seed(step._seed(0, *at))
        at[1] += 1
        return honest(self, batch)

    monkeypatch.setattr(Stepper, "__call__", take)
    monkeypatch.setattr(Trained, "forward", forward)


@pytest.mark.parametrize("name", some_slow({name: name for name in EVERY}, "soft", "hidden", "wasserstein"))
def test_every_loss_is_on_two_processes_what_it_is_on_one(make_distill, on_two, drawing_as_two, name):
    """Of losses that look at what is seen together, one process sees in a micro-batch what each of two sees."""
    loss = EVERY[name] | (
        {"gradient_penalty": 0.0} if name == "wasserstein" else {}
    )  # at points that are drawn
    options = {"losses": {**BOTH_USED, name: loss}, "data": {"words": 200}, "log_every": 1}
    both = on_two("distill", make_distill(name="both", micro_batch_size=2, **options))
    together = 4 if name in LEARNT else 2
    assert_equal(distil(make_distill(name="alone", micro_batch_size=together, **options)), both)


LATE = {"a": {"start": 0.0, "end": 0.3, "shape": "step", "until": 0.5}, "b": 0.2}
TASKS = {
    "llama, hard": ("train_teachers", {}),
    "gpt2, tied, muon": (
        "train_teachers",
        {
            "model": {"family": "gpt2", "tie_word_embeddings": True, "intermediate_size": 65},
            "optim": {"optimizer": "muon", "per_neuron": True},
            "averaging": {"tail": 0.5},
        },
    ),
    "soft, hidden": (
        "distill",
        {
            "losses": {**BOTH_USED, "hidden": {"weight": LATE, "layer_map": {"a": PAIRS, "b": PAIRS}}},
            "gradient_checkpointing": True,
        },
    ),
}
"""stage, changes to the tiny config: 65 rows make uneven shards, a projector has no gradient till its term begins."""
tasks = pytest.mark.parametrize("task", TASKS)
cases = pytest.mark.parametrize(
    ("task", "engine"),
    [("soft, hidden", WHOLE), *((task, FSDP2) for task in TASKS)],
    ids=["whole, soft, hidden", *(f"shards, {task}" for task in TASKS)],
)


@pytest.fixture
def make_task(make_config, make_distill):
    """make_task(task, **changes): the config of a task with four micro-batches a step, and revisions."""

    def make(task, **changes):
        stage, options = TASKS[task]
        make = make_distill if stage == "distill" else make_config
        options = {"micro_batch_size": 1, "log_every": 1, "revisions": True, "words_scale": 4e-5} | options
        return stage, make(**options | changes)

    return make


@pytest.fixture
def alone(make_task, train_tiny):
    """alone(task): the run folder of one process."""

    def run(task, **changes):
        stage, config = make_task(task, **{"name": "alone"} | changes)
        if stage == "distill":
            return distil(config)
        return train_tiny(**config.model_dump(mode="json"))

    return run


@tasks
@pytest.mark.parametrize("engine", some_slow(STAGES, "zero3"))
def test_two_processes_train_what_one_trains(make_task, on_two, alone, task, engine):
    """And write the same revisions."""
    stage, config = make_task(task, name="both")
    one, both = alone(task), on_two(stage, config, engine=engine)
    assert_equal(one, both)
    for folder in (one, both):
        written = sorted((folder / "revisions").iterdir())
        assert {path.name for path in written} == {f"chck_{n}M" for n in range(1, 11)}
        assert [damage(path) for path in written] == [None] * 10
    for path in written:
        mine, theirs = (
            load_file(folder / "revisions" / path.name / "model.safetensors") for folder in (one, both)
        )
        assert all(torch.allclose(mine[name], theirs[name], atol=NEAR) for name in mine)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "share", "gathered", "summed"),
    [("whole", 1, 0, 0), ("zero1", 2, 3, 3), ("zero2", 2, 6, 6), ("zero3", 2, 10, 6)],
)
def test_a_process_holds_its_share_and_exchanges_what_its_engine_says(
    make_task, launch, engine, share, gathered, summed
):
    """A step of two micro-batches on two blocks and the rest: gathered once, forwards, or backwards too."""
    stage, config = make_task("llama, hard")
    done = launch(stage, config, "counted", engine=STAGES[engine])
    assert done.returncode == 0 and ("fp32, in shards, on cpu" in done.stdout) == (share == 2)
    for rank in (0, 1):
        counts = json.loads(Path(f"counts-{rank}.json").read_text())
        assert counts["parameters"] == 52128 / share
        assert counts["state"] // 2 == counts["parameters"] + 10  # two moments, and a count for each tensor
        assert (counts.get("allgather_base", 0), counts.get("reduce_scatter_base", 0)) == (gathered, summed)


@pytest.mark.slow
def test_bf16_is_in_shards_what_it_is_whole(make_config, on_two):
    """But for the order of sums, which can turn a rounding; fp32 is ten times as far away."""
    whole, shards = (
        on_two("train_teachers", make_config(name=name, precision="bf16", log_every=1), engine=engine)
        for name, engine in (("whole", WHOLE), ("shards", FSDP2))
    )
    assert_equal(whole, shards, weights=1e-3, values=1e-3)


@pytest.mark.slow
def test_every_loss_at_once_is_in_shards_what_it_is_whole(make_distill, on_two):
    """With critics and filters, which every process holds whole."""
    options = {"losses": {"hard": {"weight": 0.5}, **EVERY}, "data": {"words": 200}, "log_every": 1}
    whole, shards = (
        on_two("distill", make_distill(name=name, **options), engine=engine)
        for name, engine in (("whole", WHOLE), ("shards", FSDP2))
    )
    assert_equal(whole, shards)


@pytest.mark.slow
@cases
def test_a_signal_to_one_process_stops_both_at_one_step_and_the_same_command_goes_on_to_the_same_bits(
    make_task, launch, on_two, task, engine
):
    stage, config = make_task(task, name="stopped")
    whole = on_two(stage, make_task(task, name="whole")[1], engine=engine)
    done = launch(stage, config, "signalled", engine=engine)
    assert done.stderr.count("stopped at step 5 of 12: the same command goes on") == 2
    assert done.stderr.count("exitcode  : 85") + done.stderr.count("exitcode: 85") >= 1, done.stderr
    assert json.loads(Path("runs/stopped/status.json").read_text())["done"] == 5
    assert weights(on_two(stage, config, engine=engine)) == weights(whole)
    assert curve(Path("runs/stopped")) == curve(whole)


@pytest.mark.parametrize(
    "task", some_slow({name: name for name in TASKS}, "gpt2, tied, muon", "soft, hidden")
)
def test_a_run_in_shards_goes_on_alone_and_a_run_alone_goes_on_in_shards(
    make_task, launch, on_two, alone, task, monkeypatch
):
    """A checkpoint holds whole tensors."""
    whole = alone(task)
    stage, config = make_task(task, name="from-two")
    launch(stage, config, "signalled", engine=FSDP2)
    assert_equal(whole, alone(task, name="from-two"))

    def dying(self, number, blocks, honest=Stepper.__call__):
        if number == 5:
            raise KeyboardInterrupt
        return honest(self, number, blocks)

    with monkeypatch.context() as planted, pytest.raises(KeyboardInterrupt):
        planted.setattr(Stepper, "__call__", dying)
        alone(task, name="from-one", checkpoint_seconds=1e-9)
    stage, config = make_task(task, name="from-one")
    assert_equal(whole, on_two(stage, config, engine=FSDP2))


@pytest.mark.slow
def test_what_two_processes_see_together_is_not_gone_on_with_by_one(make_distill, launch):
    config = make_distill(losses={**BOTH_USED, "sinkhorn": EVERY["sinkhorn"]}, micro_batch_size=2)
    launch("distill", config, "signalled")
    with pytest.raises(UserError, match="another inputs: processes was 2, now 1"):
        distil(config)


@pytest.mark.parametrize("engine", some_slow(ENGINES, "shards"))
def test_where_one_process_is_killed_the_other_ends_and_the_checkpoint_before_is_good(
    make_task, launch, on_two, engine
):
    stage, config = make_task("soft, hidden", name="killed", checkpoint_seconds=1e-9)
    begun = time.monotonic()
    done = launch(stage, config, "killed", engine=engine)
    assert done.returncode != 0 and time.monotonic() - begun < PATIENCE + 10  # to start
    states = sorted(Path("runs/killed/state").glob("step-*"))
    assert [damage(path) for path in states] == [None, None]
    assert states[-1].name == "step-00000003"
    whole = on_two(stage, make_task("soft, hidden", name="whole")[1], engine=engine)
    assert weights(on_two(stage, config, engine=engine)) == weights(whole)


@pytest.mark.slow
@engines
@pytest.mark.parametrize(
    ("fault", "message"),
    [("user error", "error: planted: mend it"), ("error", "RuntimeError: planted")],
)
def test_an_error_of_one_process_ends_both_in_seconds_and_is_shown(make_task, launch, engine, fault, message):
    stage, config = make_task("llama, hard")
    begun = time.monotonic()
    done = launch(stage, config, fault, engine=engine)
    assert done.returncode != 0 and message in done.stderr
    assert time.monotonic() - begun < PATIENCE


@pytest.mark.slow
@cases
def test_what_is_not_a_number_on_one_process_moves_no_weight_on_any(make_task, launch, engine, task):
    stage, config = make_task(task, log_every=6)
    done = launch(stage, config, "not a number", engine=engine)
    assert "error: the gradient is not finite at step 3: no step was taken" in done.stderr
    assert [Path(f"moved-{rank}").read_text() for rank in (0, 1)] == ["", ""]
    assert done.returncode != 0 and not list(Path("runs/tiny").glob("state/*"))


LAUNCHES = {
    "torchrun": (TORCHRUN, WHOLE),
    "torchrun, shards": (TORCHRUN, FSDP2),
    "accelerate": ([*ACCELERATE, "--multi_gpu", "-m"], WHOLE),
    **{
        file.stem: ([*ACCELERATE, "--config_file", str(file), "-m"], WHOLE)
        for file in sorted(CONFIGS.glob("*.yaml"))
    },
}


@pytest.mark.parametrize("way", some_slow(LAUNCHES, "torchrun", "fsdp2"))
def test_every_launcher_and_every_shipped_config_starts_two_processes(make_config, on_two, train_tiny, way):
    """`accelerate launch --cpu` would start one; without a GPU, --multi_gpu starts two on the processor."""
    launcher, engine = way
    assert_equal(
        train_tiny(name="alone"), on_two("train_teachers", make_config(), launcher=launcher, engine=engine)
    )


@pytest.mark.parametrize(
    ("environment", "how"),
    [
        ({}, None),
        (FSDP2, Sharding(parameters=True, gradients=True)),
        (ZERO1, Sharding(parameters=False, gradients=False)),
        (ZERO2, Sharding(parameters=False, gradients=True)),
    ],
)
def test_what_is_sharded_is_read_from_what_accelerate_says(monkeypatch, environment, how):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert sharding.engine() == how


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"ACCELERATE_USE_DEEPSPEED": "true"},
            "DeepSpeed's engine .* launch with slurm/accelerate/zero1.yaml",
        ),
        (FSDP2 | {"FSDP_VERSION": "1"}, "asks for FSDP1: set fsdp_version: 2"),
        *((FSDP2 | {key.upper(): "true"}, f"has {key}: set it to false") for key in sharding.NOT_OURS),
    ],
)
def test_what_the_kit_does_not_train_by_is_refused_at_once(train_tiny, monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message) as error:
        train_tiny()
    assert "\n" not in str(error.value)


def test_fp16_is_refused_in_shards(make_config, monkeypatch):
    """Its scaler would take another scale on each process."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("train_teachers.stage.engine", lambda: Sharding(parameters=True, gradients=True))
    with pytest.raises(
        UserError, match="fp16 is not for parameters in shards: write precision: bf16 or fp32"
    ):
        _accelerator(make_config(), "fp16")
