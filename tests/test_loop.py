import contextlib
import errno
import json
import os
import shutil
import signal
import time
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from conftest import make_data, write_corpus
from safetensors.torch import load_file

from babylm_data.errors import UserError
from babylm_data.provenance import processor
from babylm_data.sealed import sha256
from babylm_data.stopping import STOPPED
from train_teachers import checkpoint, loop, revisions
from train_teachers.__main__ import main
from train_teachers.config import dump_config
from train_teachers.objective import Terms
from train_teachers.run import MACHINE, Run
from train_teachers.step import Stepper, Trained


def weights(folder):
    return sha256(folder / "export" / "model.safetensors")


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def curve(folder):
    """Every logged number that does not depend on the clock."""
    clock = ("seconds", "tokens_per_second")
    return [{k: v for k, v in record.items() if k not in clock} for record in metrics(folder)]


def test_training_lowers_the_held_out_loss_and_writes_the_whole_record(train_tiny):
    folder = train_tiny(data={"words": 4000})
    values = [record["val/hard"] for record in metrics(folder) if "val/hard" in record]
    assert values[-1] < values[0] - 1.0
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert names == {
        "config.yaml", "inputs.json", "environment.json", "audit.json", "metrics.jsonl", "summary.json",
        "state", "export", "status.json",
    }  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["words_seen"] >= 4000
    assert summary["tokens_seen"] == summary["steps"] * 4 * 16
    assert summary["val/hard"] == values[-1]
    assert "log_every" in summary["operational"] and "seed" not in summary["operational"]


def test_an_untrained_model_is_as_good_as_guessing(train_tiny):
    from math import log

    folder = train_tiny(data={"words": 20})
    assert metrics(folder)[0]["val/hard"] == pytest.approx(log(300), abs=0.2)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_same_seed_gives_the_same_weights(train_tiny, optimizer):
    first, again = (train_tiny(name=name, optim={"optimizer": optimizer}) for name in ("first", "again"))
    assert weights(first) == weights(again)
    assert curve(first) == curve(again)


def test_another_seed_gives_other_weights(train_tiny):
    assert weights(train_tiny(name="zero")) != weights(train_tiny(name="one", seed=1))


def test_four_micro_batches_equal_one_batch(train_tiny):
    whole, parts = train_tiny(name="whole"), train_tiny(name="parts", micro_batch_size=1)
    a, b = (load_file(folder / "export" / "model.safetensors") for folder in (whole, parts))
    assert all(torch.allclose(a[name], b[name], atol=2e-5) for name in a)
    for key in ("loss/hard", "grad_norm"):  # AdamW and clipping would hide a gradient of another size
        values = [[record[key] for record in metrics(f) if key in record] for f in (whole, parts)]
        assert values[0] == pytest.approx(values[1], rel=1e-3), key


def test_the_logged_loss_is_a_mean_over_tokens(train_tiny):
    first = next(record for record in metrics(train_tiny(log_every=1)) if "loss/hard" in record)
    assert 5.0 < first["loss/hard"] < 6.5  # log 300 = 5.70, whatever the batch size


class Stopped(Exception):
    pass


@pytest.fixture
def stop_at(monkeypatch):
    """stop_at(n): the next training dies in the n-th optimiser step, after every earlier step was saved."""

    def arm(step):
        before = torch.optim.AdamW.step
        taken = []

        def dying(self, *args, **kwargs):
            taken.append(1)
            if len(taken) > step:
                raise Stopped
            return before(self, *args, **kwargs)

        monkeypatch.setattr(torch.optim.AdamW, "step", dying)
        return lambda: monkeypatch.setattr(torch.optim.AdamW, "step", before)

    return arm


@pytest.mark.parametrize("step", [0, 1, 5])
@pytest.mark.parametrize(
    "optim", [{"optimizer": "adamw"}, {"optimizer": "muon"}, {"optimizer": "muon", "per_neuron": True}]
)
def test_a_killed_run_goes_on_to_the_same_bits(train_tiny, stop_at, step, optim):
    changes = {"optim": optim, "model": {"family": "gpt2", "dropout": 0.1}}
    whole = train_tiny(name="whole", **changes)
    revive = stop_at(step)
    with pytest.raises(Stopped):
        train_tiny(name="killed", checkpoint_seconds=1e-9, **changes)
    revive()
    killed = train_tiny(name="killed", checkpoint_seconds=1e-9, **changes)
    assert weights(killed) == weights(whole)
    assert curve(killed) == curve(whole)


def test_a_resumed_run_computes_in_the_formats_of_its_first_start(train_tiny, stop_at, monkeypatch):
    """Whatever the machine that it goes on is fast in."""
    changes = {"optim": {"optimizer": "muon"}, "precision": "auto"}
    monkeypatch.setattr("train_teachers.device.multiplies_fast", lambda name, _: name == "bf16")
    AcceleratorState._reset_state()  # it would hold another test's precision for this one
    try:
        whole = train_tiny(name="whole", **changes)
        revive = stop_at(4)
        with pytest.raises(Stopped):
            train_tiny(name="killed", checkpoint_seconds=1e-9, **changes)
        revive()
        monkeypatch.setattr("train_teachers.device.multiplies_fast", lambda *_: False)
        killed = train_tiny(name="killed", checkpoint_seconds=1e-9, **changes)
    finally:
        AcceleratorState._reset_state()
    inputs = json.loads((killed / "inputs.json").read_text())
    assert (inputs["precision"], inputs["muon"]) == ("bf16", "bf16")
    assert weights(killed) == weights(whole)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(train_tiny, stop_at, capsys):
    whole = train_tiny(name="whole")
    revive = stop_at(4)
    with pytest.raises(Stopped):
        train_tiny(name="killed", checkpoint_seconds=1e-9)
    revive()
    newest = sorted(Path("runs/killed/state").glob("step-*"))[-1] / "module.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    assert weights(train_tiny(name="killed", checkpoint_seconds=1e-9)) == weights(whole)
    assert "has changed since it was written" in capsys.readouterr().err


def test_state_holds_no_pickle_and_only_the_newest_two(train_tiny):
    folder = train_tiny(checkpoint_seconds=1e-9)
    assert len(list((folder / "state").iterdir())) == 2
    files = {path.name for path in (folder / "state").rglob("*") if path.is_file()}
    assert files == {"module.safetensors", "optimizer.safetensors", "state.json", "SHA256.json"}


def test_a_finished_run_is_not_trained_again(train_tiny, capsys):
    folder = train_tiny()
    before = (folder / "metrics.jsonl").read_bytes()
    train_tiny()
    assert "finished already" in capsys.readouterr().out
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_what_an_older_version_did_not_write_down_is_no_change(train_tiny, capsys):
    folder = train_tiny()
    path = folder / "inputs.json"
    inputs = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in inputs.items() if key != "muon"}))
    train_tiny()
    assert "finished already" in capsys.readouterr().out
    path.write_text(json.dumps(inputs | {"data": "0" * 64}))
    with pytest.raises(UserError, match="another inputs: data was 000"):
        train_tiny()


def test_a_run_folder_of_another_config_is_refused(train_tiny):
    train_tiny()
    with pytest.raises(UserError, match="another config: seed was 0, now 1"):
        train_tiny(seed=1)


def test_a_run_goes_on_with_another_micro_batch_size_but_not_with_another_rate(train_tiny, stop_at):
    revive = stop_at(4)
    with pytest.raises(Stopped):
        train_tiny(checkpoint_seconds=1e-9)
    revive()
    with pytest.raises(UserError, match="another config: optim.lr was 0.003, now 0.1"):
        train_tiny(optim={"lr": 0.1})
    train_tiny(micro_batch_size=2)


def test_a_run_goes_on_where_its_data_have_moved_but_not_on_other_data(
    train_tiny, stop_at, tmp_path, data_folder
):
    shutil.copytree(data_folder, tmp_path / "first")
    whole = train_tiny(name="whole", data={"path": str(data_folder)})
    revive = stop_at(4)
    with pytest.raises(Stopped):
        train_tiny(name="moved", checkpoint_seconds=1e-9, data={"path": str(tmp_path / "first")})
    revive()
    (tmp_path / "first").rename(tmp_path / "second")
    assert weights(train_tiny(name="moved", data={"path": str(tmp_path / "second")})) == weights(whole)
    other = make_data(tmp_path / "other", write_corpus(tmp_path / "raw", seed=1))
    with pytest.raises(UserError, match="begun with another inputs: data was"):
        train_tiny(name="whole", data={"path": str(other)})


def test_of_two_processes_that_race_for_a_run_folder_exactly_one_has_it(workplace, make_config, monkeypatch):
    start_of_run = dict.fromkeys(("started", "command", "commit", "dirty", *MACHINE))
    monkeypatch.setattr("train_teachers.run.environment", lambda: start_of_run)  # it asks git
    fork = get_context("fork")

    def race(config, start, all_have_tried, refusals):
        held, refusal = [], None
        start.wait()
        try:
            held.append(Run(config, {"data": "0"}, kind="teacher"))
        except UserError as error:
            refusal = str(error)
        refusals.put(refusal)
        all_have_tried.wait()

    for number in range(20):
        start, all_have_tried, refusals = fork.Barrier(2), fork.Barrier(2), fork.SimpleQueue()
        arguments = (make_config(name=f"run-{number}"), start, all_have_tried, refusals)
        racers = [fork.Process(target=race, args=arguments) for _ in range(2)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        told = sorted((refusals.get() for _ in racers), key=str)
        assert told[0] is None and f"runs/run-{number} is in use by " in told[1]
        assert json.loads(Path(f"runs/run-{number}/inputs.json").read_text())["data"] == "0"


def test_a_run_is_not_put_into_a_folder_of_data(train_tiny, data_folder):
    shutil.copytree(data_folder, "runs/some-data")
    before = sorted(Path("runs/some-data").rglob("*"))
    with pytest.raises(
        UserError, match="runs/some-data holds data, or a cache, and no run: pass another name"
    ):
        train_tiny(name="some-data")
    assert sorted(Path("runs/some-data").rglob("*")) == before


def test_a_run_longer_than_anybody_trains_is_refused_at_once(train_tiny):
    with pytest.raises(
        UserError, match=r"data.words 1,000,000,000,000 is over 10,000 times the [\d,]+ words"
    ):
        train_tiny(data={"words": 10**12}, competition=False)


def test_a_step_larger_than_the_text_is_refused_at_once(train_tiny):
    with pytest.raises(UserError, match="batch_size 1,000,000,000 is over 100 times the .* sequences of"):
        train_tiny(batch_size=1_000_000_000)


@pytest.mark.parametrize(
    "content", [b"{a: " * 100_000, b"seed: [", b"\xff", b"- 1", b"seed: ${nowhere}", b""]
)
def test_a_run_whose_config_is_damaged_does_not_go_on_and_says_so(train_tiny, content):
    path = train_tiny() / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match="config") as error:
        train_tiny()
    assert "\n" not in str(error.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["inputs.json", "summary.json"])
@pytest.mark.parametrize("content", ["", "[]", "null", "[" * 100_000, '"precision"'])
def test_a_run_whose_records_are_damaged_is_refused_in_one_line(train_tiny, name, content):
    path = train_tiny() / name
    path.write_text(content)
    with pytest.raises(UserError, match=f"{name} is missing or damaged: delete the folder to train again"):
        train_tiny()
    assert path.read_text() == content


def test_a_run_whose_inputs_hold_other_kinds_of_values_is_another_run(train_tiny):
    path = train_tiny() / "inputs.json"
    path.write_text('{"precision": []}')
    with pytest.raises(UserError, match=r"another inputs: precision was \[\], now "):
        train_tiny()


def test_a_run_that_never_took_a_step_may_be_corrected(train_tiny, stop_at):
    revive = stop_at(0)
    with pytest.raises(Stopped):
        train_tiny(optim={"lr": 0.1})
    revive()
    assert "lr: 0.003" in (train_tiny() / "config.yaml").read_text()


def test_a_non_finite_loss_stops_before_the_weights_are_touched(train_tiny, monkeypatch):
    def poisoned(self, batch, forward=Trained.forward):
        total, sums = forward(self, batch)
        return Terms(total, {"hard": sums["hard"] * float("nan")})

    monkeypatch.setattr("train_teachers.stage.audit", lambda *_, **__: {})
    monkeypatch.setattr("train_teachers.stage.audit_table", lambda *_: "")
    monkeypatch.setattr(Trained, "forward", poisoned)
    with pytest.raises(UserError, match="loss hard is not finite at step 0: no step was taken"):
        train_tiny()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_infinite_gradient_stops_the_run_at_the_next_line_and_has_moved_nothing(
    train_tiny, monkeypatch, optimizer
):
    stepped, clip = [], torch.nn.utils.clip_grad_norm_

    def poisoned(parameters, most):
        parameters = list(parameters)
        if len(stepped) == 2:
            parameters[0].grad[0, 0] = float("inf")
        stepped.append([p.detach().clone() for p in parameters])
        return clip(parameters, most)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", poisoned)
    with pytest.raises(UserError, match="^the gradient is not finite at step 2: no step was taken"):
        train_tiny(log_every=4, optim={"optimizer": optimizer})
    assert len(stepped) == 4  # nobody waited for the device before the line that was due
    assert all(map(torch.equal, stepped[2], stepped[3]))
    assert not any(map(torch.equal, stepped[1], stepped[2]))
    assert [line["step"] for line in metrics(Path("runs/tiny"))] == [0]


@pytest.mark.slow
def test_compiling_changes_no_more_than_rounding(train_tiny):
    plain, compiled = train_tiny(name="plain"), train_tiny(name="compiled", compile=True, data={"words": 400})
    losses = [metrics(folder)[-1]["val/hard"] for folder in (plain, compiled)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_the_same_command_goes_on(make_config, train_tiny, monkeypatch, capsys, number):
    changes = {"revisions": True, "words_scale": 1e-4}
    whole = train_tiny(name="whole", **changes)
    config = make_config(name="stopped", **changes)
    Path("stopped.yaml").write_text(dump_config(config))
    take_step = Stepper.__call__

    def signalled(self, step, tokens):
        if step == 4:
            os.kill(os.getpid(), number)
        return take_step(self, step, tokens)

    before = signal.getsignal(number)
    monkeypatch.setenv("BABYLM_STATUS", "status-of-the-job")
    with monkeypatch.context() as planted, pytest.raises(SystemExit) as end:
        planted.setattr(Stepper, "__call__", signalled)
        main(["stopped.yaml"])
    assert end.value.code == STOPPED
    assert end.value.said.startswith("stopped at step 5 of ") and "the same command goes on" in end.value.said
    assert signal.getsignal(number) is before
    assert [path.name for path in Path("runs/stopped/state").iterdir()] == ["step-00000005"]
    total = json.loads((whole / "summary.json").read_text())["steps"]
    told = {"stage": "teacher", "name": "stopped", "done": 5, "of": total, "goes_on": True}
    for place in ("runs/stopped/status.json", "status-of-the-job"):
        assert json.loads(Path(place).read_text()) == told
    main(["stopped.yaml"])
    for place in ("runs/stopped/status.json", "status-of-the-job"):
        assert json.loads(Path(place).read_text()) == told | {"done": total, "goes_on": False}
    assert weights(Path("runs/stopped")) == weights(whole)
    assert curve(Path("runs/stopped")) == curve(whole)


@pytest.mark.parametrize("first", [True, False])
def test_of_several_processes_the_clock_of_the_first_says_when_all_save(first):
    """Parameters in shards are gathered to be saved: who came to that alone would wait for ever."""
    other = torch.tensor([0.0, float(not first)])  # the first is one of the two
    accelerator = SimpleNamespace(num_processes=2, is_main_process=first, device="cpu")
    accelerator.reduce = lambda told, _: told + other
    agreed = loop.Agreed(accelerator)
    found, due = [], True
    for _ in range(6):  # the clock says so until it was done, and again after two turns
        found.append(agreed(due)[1])
        due = len(found) % 4 == 0 or (due and not found[-1])
    assert found == (
        [False, True, False, False, False, True] if first else [False, True, False, True, False, True]
    )


def test_a_stop_waits_for_the_pending_revision_then_saves_and_nobody_leaves_before(train_tiny, monkeypatch):
    """A launcher kills all processes as soon as one has left with an exit status: the first might be in its save."""
    done, take_step, export, save = [], Stepper.__call__, revisions.export, loop.save_state

    def signalled(self, step, tokens):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(self, step, tokens)

    def slow(model, tokenizer, path, **options):
        time.sleep(0.1)
        export(model, tokenizer, path, **options)
        done.append(path.name)

    def saved(*arguments, **options):
        save(*arguments, **options)
        done.append("saved")

    monkeypatch.setattr(Stepper, "__call__", signalled)
    monkeypatch.setattr(revisions, "export", slow)
    monkeypatch.setattr(loop, "save_state", saved)
    monkeypatch.setattr(Accelerator, "wait_for_everyone", lambda _: done.append("all are here"))
    with pytest.raises(SystemExit):
        train_tiny(revisions=True, words_scale=1.5e-4)  # chck_1M after 150 words, by the fifth step
    assert done[-3:] == ["chck_1M", "saved", "all are here"]


@pytest.mark.slow
def test_compiled_bf16_on_two_threads_gives_the_same_bits_twice(train_tiny):
    """Equal tokens add to one row of the embedding's gradient: from two threads, in an order that must be fixed."""
    if not torch.cpu.get_capabilities().get("avx512_bf16"):
        pytest.skip("this processor has no bf16")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    AcceleratorState._reset_state()  # it would hold another test's precision for this one
    try:
        shape = {"hidden_size": 128, "max_position_embeddings": 128}
        options = {"precision": "bf16", "compile": True, "batch_size": 32, "competition": False}
        folders = [
            train_tiny(name=name, model=shape, data={"seq_len": 128, "words": 60_000}, **options)
            for name in ("first", "again")
        ]
    finally:
        torch.set_num_threads(before)
        AcceleratorState._reset_state()
    assert weights(folders[0]) == weights(folders[1])


def test_environment_tells_of_the_start_that_made_the_weights_and_of_each_one_since(
    train_tiny, stop_at, monkeypatch
):
    def command(text):
        monkeypatch.setattr("train_teachers.run.command_line", lambda: text)

    def environment():
        return json.loads(Path("runs/tiny/environment.json").read_text())

    for step, text in ((0, "never took a step"), (4, "took four"), (99, "went on")):
        command(text)
        revive = stop_at(step)
        with pytest.raises(Stopped) if step < 99 else contextlib.nullcontext():
            train_tiny(checkpoint_seconds=1e-9 if step else 120.0)
        revive()
    assert environment()["command"] == "took four"
    assert [start["command"] for start in environment()["starts"]] == ["took four", "went on"]
    assert all(start["processor"] == processor() for start in environment()["starts"])


def test_a_finished_run_keeps_its_record(train_tiny):
    before = (train_tiny() / "config.yaml").read_text()
    assert "micro_batch_size: auto" in before
    assert (train_tiny(micro_batch_size=2) / "config.yaml").read_text() == before


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("auto", "with micro_batch_size: auto: lower micro_batch_size to a number"),
        (2, "with 2 sequences a forward pass: lower micro_batch_size"),
        (None, "with 4 sequences a forward pass: lower micro_batch_size"),
    ],
)
def test_out_of_memory_is_one_line_wherever_it_comes(train_tiny, monkeypatch, error, size, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("train_teachers.stage.audit", fail)
    with pytest.raises(UserError, match=message):
        train_tiny(micro_batch_size=size)


def test_a_full_disk_in_the_middle_of_a_checkpoint_is_one_line_and_leaves_the_one_before(
    train_tiny, stop_at, monkeypatch
):
    from safetensors import SafetensorError

    revive = stop_at(4)
    with pytest.raises(Stopped):
        train_tiny(checkpoint_seconds=1e-9)
    revive()

    def full(*_):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("train_teachers.checkpoint.save_file", full)
    with pytest.raises(UserError, match=r"step-\d+ cannot be written \(No space left .*needs [\d,]+ bytes"):
        train_tiny(checkpoint_seconds=1e-9)
    monkeypatch.undo()


def test_each_run_folder_has_a_tracking_id_of_its_own_and_keeps_it(train_tiny):
    ids = []
    for _ in range(2):
        run = Run.__new__(Run)
        run.folder = train_tiny()
        ids.append((run.tracking_id(), run.tracking_id()))
        shutil.rmtree(run.folder)
    assert ids[0][0] == ids[0][1] and ids[0][0] != ids[1][0]


def test_seconds_are_those_of_the_steps_whoever_waits_for_them(train_tiny, monkeypatch):
    """A device is given its work and goes on by itself: whoever waits next waits for all of it."""
    queued, clock, honest = [], [0.0], Stepper.__call__

    def wait(*_):
        clock[0] += sum(queued)
        queued.clear()

    def step(self, *args):
        queued.append(1.0)
        return honest(self, *args)

    def validate(*_):
        wait()
        clock[0] += 100.0
        return 1.0

    def newest(folder, honest=loop.newest):
        clock[0] += 1000.0
        return honest(folder)

    monkeypatch.setattr(loop, "newest", newest)
    monkeypatch.setattr(Stepper, "__call__", step)
    monkeypatch.setattr(loop, "validate", validate)
    monkeypatch.setattr(
        "train_teachers.stage._summary", lambda ready, run, progress: {"val/hard": progress.seconds}
    )
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(loop, "synchronise", wait)
    folder = train_tiny(log_every=7)
    lines = metrics(folder)
    assert (
        json.loads((folder / "summary.json").read_text())["val/hard"]
        == lines[-1]["step"]
        == lines[-1]["seconds"]
    )


def test_the_command_is_what_was_typed(monkeypatch):
    from types import SimpleNamespace

    from babylm_data import provenance

    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for module, said in (("distill.__main__", "distill"), ("distill.cache", "distill.cache"), (None, "tool")):
        spec = module and SimpleNamespace(name=module)
        monkeypatch.setattr(provenance.sys, "modules", {"__main__": SimpleNamespace(__spec__=spec)})
        monkeypatch.setattr(provenance.sys, "argv", ["/somewhere/tool.py", "CONFIG.yaml"])
        assert provenance.command_line() == f"python -m {said} CONFIG.yaml"


def test_a_run_that_an_older_version_began_goes_on_and_is_finished_where_it_was(train_tiny, capsys):
    """Its config.yaml lacks the fields that came later, which then had one meaning."""
    folder = train_tiny(name="older")
    path, before = folder / "config.yaml", weights(folder)
    config = path.read_text(encoding="utf-8")
    start = config.index("targets:")
    end = config.index("optim:")
    path.write_text(config[:start] + config[end:], encoding="utf-8")
    capsys.readouterr()
    train_tiny(name="older")
    assert "is finished already" in capsys.readouterr().out and weights(folder) == before
    with pytest.raises(UserError, match="begun with another config: optim.lr"):
        train_tiny(name="older", optim={"lr": 0.5})


def test_a_checkpoint_that_cannot_be_read_is_put_aside_and_not_lost(train_tiny, stop_at, monkeypatch, capsys):
    whole = train_tiny(name="whole", checkpoint_seconds=1e-9)
    revive = stop_at(6)
    with pytest.raises(Stopped):
        train_tiny(name="x", checkpoint_seconds=1e-9)
    revive()
    state = Path("runs/x/state")
    (state / "step-backup").mkdir()
    honest, bad = checkpoint.proven_damage, max(path.name for path in state.glob("step-0*"))

    def stale(path):
        if path.name in unreadable:
            raise OSError(errno.ESTALE, "Stale file handle")
        return honest(path)

    monkeypatch.setattr(checkpoint, "proven_damage", stale)
    unreadable = {path.name for path in state.glob("step-0*")}
    with pytest.raises(UserError, match="cannot be read, and no other is sound: look at the disk"):
        train_tiny(name="x", checkpoint_seconds=1e-9)
    assert unreadable <= {path.name for path in state.iterdir()}
    unreadable = {bad}
    train_tiny(name="x", checkpoint_seconds=1e-9)
    assert "cannot be read (Stale file handle): going back" in capsys.readouterr().err
    assert (state / f"unread-{bad}").is_dir() and (state / "step-backup").is_dir()
    assert weights(Path("runs/x")) == weights(whole)
