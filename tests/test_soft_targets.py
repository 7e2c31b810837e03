"""Soft targets from a cache: what is kept of a teacher, when it may be used, and that a pass survives being killed."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import VOCAB
from pydantic import ValidationError
from test_distill import BOTH_USED, distil, metrics
from test_losses import draw

from babylm_data.errors import UserError
from babylm_data.sealed import SEAL, sha256
from babylm_data.stopping import STOPPED
from babylm_data.tokens import Batches, open_tokens
from distill import cache_writer
from distill import losses as L
from distill.__main__ import main, objective_of
from distill.cache_writer import Pass, write_caches
from distill.config import DIVERGENCES_OF_CACHES, Soft
from distill.soft import divergence, divergence_N
from distill.soft_targets import Kept, identity_from
from train_teachers.config import dump_config
from train_teachers.stage import Ready, check
from train_teachers.step import Stepper

N, V = 6, 11
P, Q = L.logprobs(draw(N, V, seed=1)), draw(N, V, seed=3)


def top(count, logprobs=P):
    """What a cache of the top tokens has of log-probabilities, without rounding."""
    logs, ids = logprobs.topk(count, dim=-1)
    return Kept(ids, logs, logprobs.scatter(-1, ids, -torch.inf).logsumexp(-1))


@pytest.mark.parametrize("name", DIVERGENCES_OF_CACHES["top"])
def test_with_all_tokens_kept_but_one_a_divergence_is_the_whole_one(name):
    loss = Soft(weight={"a": 1.0}, divergence=name)
    student = Q.clone().requires_grad_()
    whole = divergence(loss)(P, L.logprobs(student))
    kept = divergence_N(loss, top(V - 1), L.logprobs(student))
    torch.testing.assert_close(kept, whole, atol=1e-9, rtol=1e-9)
    mine, right = (torch.autograd.grad(value.sum(), student)[0] for value in (kept, whole))
    torch.testing.assert_close(mine, right, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", DIVERGENCES_OF_CACHES["top"])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_with_fewer_it_is_a_lower_bound(name, count):
    loss, student = Soft(weight={"a": 1.0}, divergence=name), L.logprobs(Q)
    whole, kept = divergence(loss)(P, student), divergence_N(loss, top(count), student)
    assert (kept <= whole + 1e-12).all() and (kept >= 0).all() and (kept < whole - 1e-6).any()


def test_drawn_tokens_estimate_forward_kl_and_its_gradient_without_bias():
    generator, draws = torch.Generator().manual_seed(0), 200_000
    ids = torch.multinomial(P.exp(), draws, replacement=True, generator=generator)
    kept, student = Kept(ids, None, -(P.exp() * P).sum(-1)), Q.clone().requires_grad_()
    loss = Soft(weight={"a": 1.0})
    values = [divergence_N(loss, target, L.logprobs(student)) for target in (kept, P)]
    torch.testing.assert_close(values[0], values[1], atol=0.02, rtol=0)
    mine, right = (torch.autograd.grad(value.sum(), student)[0] for value in values)
    torch.testing.assert_close(mine, right, atol=0.005, rtol=0)


@pytest.fixture
def make_cached(make_distill, workplace):
    """make_cached(kept, **changes): a tiny distillation whose two teachers are cached, and that cache written."""

    def make(
        kept, *, write=True, together=False, losses=BOTH_USED, offset="fixed", shuffled=False, **changes
    ):
        data = {"offset": offset, "shuffle_documents": shuffled}
        plain = make_distill(losses=losses, data=data, **changes)
        names = ["both"] * 2 if together else ["a", "b"]
        teachers = {
            name: {"path": teacher.path, "cache": {"path": f"cache-{folder}", **kept}}
            for folder, (name, teacher) in zip(names, plain.teachers.items(), strict=True)
        }
        config = make_distill(losses=losses, data=data, teachers=teachers, **changes)
        if write:
            write_caches(config)
        return config, plain

    return make


def records(folder):
    """What a cache keeps of the positions of train."""
    manifest = json.loads((Path(folder) / "manifest.json").read_text())
    return np.fromfile(Path(folder) / "train.bin", identity_from(manifest["identity"]).record)


def first_batch(ready, step=0):
    return ready.objective.targets.of_items(ready.batches.batch(step))


@pytest.mark.parametrize(("offset", "shuffled"), [("fixed", False), (3, False), (2, True)])
def test_a_cache_has_what_the_teachers_say_at_each_position(make_cached, offset, shuffled):
    config, plain = make_cached({"top": 8}, offset=offset, shuffled=shuffled)
    cached, live = (Ready(c, objective_of(c)) for c in (config, plain))
    assert not cached.objective.teachers.models and cached.objective.flops_per_token == 0
    for step in (0, 40, 99):  # over the ends of epochs
        batch = first_batch(live, step)
        signals = cached.objective.see(cached.student, batch, "ab").teachers
        kept = {name: signal.output for name, signal in signals.items()}
        signals = live.objective.see(live.student, batch, "ab").teachers
        for name in "ab":
            right = L.logprobs(signals[name].output.part(0, batch.num_targets), 2.0)
            expected = top(8, right)
            assert torch.equal(kept[name].ids_NK.sort(-1).values, expected.ids_NK.sort(-1).values)
            torch.testing.assert_close(kept[name].logs_NK, expected.logs_NK, atol=2e-3, rtol=0)
            torch.testing.assert_close(kept[name].rest_N, expected.rest_N, atol=1e-4, rtol=0)
            total = kept[name].logs_NK.exp().sum(-1) + kept[name].rest_N.exp()
            torch.testing.assert_close(total, torch.ones_like(total))


def test_with_nearly_all_tokens_a_run_from_the_cache_is_a_run_with_the_teachers(make_cached):
    config, plain = make_cached({"top": VOCAB - 1}, name="cached")
    folders = distil(config), distil(plain.model_copy(update={"name": "live"}))
    values = [
        [
            line
            for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
            if "val/soft.a" in line
        ]
        for folder in folders
    ]
    for mine, right in zip(*values, strict=True):
        for term in ("val/hard", "val/soft.a", "val/soft.b"):
            assert mine[term] == pytest.approx(right[term], abs=2e-3)
    summary = json.loads((folders[0] / "summary.json").read_text())
    assert summary["flops"] < json.loads((folders[1] / "summary.json").read_text())["flops"]
    inputs = [json.loads((folder / "inputs.json").read_text()) for folder in folders]
    assert inputs[0]["teacher a"] == inputs[1]["teacher a"]
    assert inputs[0]["cache a"] not in (None, sha256(Path("cache-a") / SEAL))


@pytest.mark.parametrize("rule", ["mean_probs", "mean_logits"])
def test_teachers_made_into_one_target_are_one_cache(make_cached, rule):
    losses = {**BOTH_USED, "soft": {**BOTH_USED["soft"], "combine": rule}}
    config, plain = make_cached({"top": VOCAB - 1}, together=True, losses=losses)
    cached, live = (Ready(c, objective_of(c)) for c in (config, plain))
    batch = first_batch(live)
    mine, right = (ready.objective(ready.student, batch).sums for ready in (cached, live))
    assert mine["soft"].item() == pytest.approx(right["soft"].item(), rel=2e-3)


def test_drawn_tokens_depend_on_their_place_alone(make_cached, monkeypatch):
    config, _ = make_cached({"drawn": 12})
    before = records("cache-a")["ids"]
    for folder in ("cache-a", "cache-b"):
        shutil.rmtree(folder)
    monkeypatch.setitem(cache_writer.CPU_TOKENS, "fp32", 48)  # another number of blocks at a time
    write_caches(config)
    assert np.array_equal(records("cache-a")["ids"], before)
    folder = distil(config)
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"


def test_two_teachers_of_the_same_weights_but_for_their_config_draw_other_tokens(make_cached, tmp_path):
    """Noise that they shared would not average out."""
    config, _ = make_cached({"drawn": 4}, write=False)
    own = tmp_path / "own"
    shutil.copytree(config.teachers["a"].path, own)
    (own / SEAL).unlink()
    path = own / "config.json"
    path.write_text(path.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1.0000001e-06'))
    twin = config.teachers["b"].model_copy(update={"path": str(own)})
    write_caches(config.model_copy(update={"teachers": {**config.teachers, "b": twin}}))
    a, b = (records(f"cache-{name}")["ids"] for name in "ab")
    assert (a != b).mean() > 0.5


def test_a_check_says_how_the_divergence_stands_to_that_of_the_teacher(make_cached, capsys):
    config, _ = make_cached({"top": 4})
    check(config, objective_of(config))
    said = capsys.readouterr().out
    what = "soft targets of a from cache-a, top 4, computed in fp32"
    assert f"{what}: forward_kl is a lower bound of that from the teacher" in said


@pytest.mark.slow
@pytest.mark.parametrize("kept", [{"top": 4}, {"drawn": 4}])
def test_two_processes_learn_from_a_cache_as_one_does(make_cached, on_two, kept):
    config, _ = make_cached(kept)
    alone = distil(config.model_copy(update={"name": "alone"}))
    both = on_two("distill", config.model_copy(update={"name": "both"}))
    for key in ("val/hard", "val/soft.a", "val/soft.b"):
        assert metrics(alone, key) == pytest.approx(metrics(both, key), abs=2e-3), key


@pytest.mark.parametrize("kept", [{"top": 4}, {"drawn": 4}])
def test_a_pass_that_was_killed_goes_on_to_the_same_bytes(make_cached, monkeypatch, kept):
    config, _ = make_cached(kept, write=False, checkpoint_seconds=1e-9)
    monkeypatch.setitem(cache_writer.CPU_TOKENS, "fp32", 64)
    calls, honest = iter(range(10**6)), Pass._kept

    def dying(self, *args, **options):
        if next(calls) in (5, 6, 11):
            raise KeyboardInterrupt
        return honest(self, *args, **options)

    monkeypatch.setattr(Pass, "_kept", dying)
    done = []
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            write_caches(config)
        assert not Path("cache-a").exists()
        done.append(json.loads(Path(".cache-a.partial/progress.json").read_text())["train"])
    assert done == [20, 20, 36]  # blocks of 16 tokens, four at a time
    write_caches(config)
    killed = {path.name: sha256(path) for path in Path("cache-a").glob("*.bin")}
    shutil.rmtree("cache-a")
    write_caches(config)
    assert {path.name: sha256(path) for path in Path("cache-a").glob("*.bin")} == killed
    assert next(calls) > 20 and not list(Path().glob(".*.partial"))


@pytest.mark.parametrize("at", ["seal", "os.rename"])
def test_a_pass_that_was_killed_while_it_was_sealed_runs_no_teacher_again(make_cached, monkeypatch, at):
    config, _ = make_cached({"top": 4}, write=False)
    with monkeypatch.context() as planted:
        planted.setattr(f"distill.cache_writer.{at}", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        planted.setattr("babylm_data.sealed.os.replace", os.replace)
        with pytest.raises(KeyboardInterrupt):
            write_caches(config)
    honest = Pass._kept

    def only_of_b(self, *args, **options):
        return pytest.fail("again") if "a" in self.names else honest(self, *args, **options)

    monkeypatch.setattr(Pass, "_kept", only_of_b)
    write_caches(config)
    assert sorted(path.name for path in Path().glob("*cache*")) == ["cache-a", "cache-b"]


def killed_once(config, monkeypatch):
    """A pass over teacher a that was killed after a few blocks."""
    calls, honest = iter(range(10**6)), Pass._kept
    with monkeypatch.context() as planted:
        planted.setitem(cache_writer.CPU_TOKENS, "fp32", 64)

        def dying(self, *args, **options):
            if next(calls) == 3:
                raise KeyboardInterrupt
            return honest(self, *args, **options)

        planted.setattr(Pass, "_kept", dying)
        with pytest.raises(KeyboardInterrupt):
            write_caches(config)


def test_what_somebody_took_from_an_unfinished_pass_is_computed_again(make_cached, monkeypatch):
    config, _ = make_cached({"top": 4}, write=False, checkpoint_seconds=1e-9)
    killed_once(config, monkeypatch)
    Path(".cache-a.partial/train.bin").unlink()
    write_caches(config)
    right = {path.name: sha256(path) for path in Path("cache-a").glob("*.bin")}
    shutil.rmtree("cache-a")
    write_caches(config)
    assert {path.name: sha256(path) for path in Path("cache-a").glob("*.bin")} == right


def test_an_unfinished_pass_of_other_teachers_is_neither_mixed_nor_thrown_away(make_cached, monkeypatch):
    config, _ = make_cached({"top": 4}, write=False, checkpoint_seconds=1e-9)
    killed_once(config, monkeypatch)
    before = Path(".cache-a.partial/train.bin").read_bytes()
    half = {
        name: teacher.model_copy(update={"precision": "bf16"}) for name, teacher in config.teachers.items()
    }
    with pytest.raises(UserError, match="the unfinished .cache-a.partial is for another precision"):
        write_caches(config.model_copy(update={"teachers": half}))
    with pytest.raises(UserError, match="was begun in fp32: go on with precision=fp32"):
        write_caches(config.model_copy(update={"precision": "bf16"}))
    assert Path(".cache-a.partial/train.bin").read_bytes() == before


def test_a_teacher_that_is_not_there_must_be_the_one_that_the_cache_names(make_cached):
    config, _ = make_cached({"top": 4})
    other = {
        name: teacher.model_copy(update={"path": "someone/else"}) for name, teacher in config.teachers.items()
    }
    with pytest.raises(UserError, match="someone/else is not there, and the cache cache-a is of"):
        distil(config.model_copy(update={"teachers": other}))


def test_a_teacher_with_another_config_is_another_teacher(make_cached, tmp_path):
    config, _ = make_cached({"top": 4})
    own = tmp_path / "own"
    shutil.copytree(config.teachers["a"].path, own)
    (own / SEAL).unlink()
    path = own / "config.json"
    path.write_text(path.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 0.5'))
    changed = dict(config.teachers) | {"a": config.teachers["a"].model_copy(update={"path": str(own)})}
    with pytest.raises(UserError, match="cache-a is for teachers with other weights"):
        distil(config.model_copy(update={"teachers": changed}))


def test_a_cached_run_that_was_killed_goes_on_to_the_same_bits(make_cached, monkeypatch):
    config, _ = make_cached({"top": 4}, checkpoint_seconds=1e-9)
    whole = distil(config.model_copy(update={"name": "whole"}))
    steps = iter(range(99))

    def dying(self, step, blocks, take=Stepper.__call__):
        if next(steps) == 3:
            raise KeyboardInterrupt
        return take(self, step, blocks)

    monkeypatch.setattr(Stepper, "__call__", dying)
    with pytest.raises(KeyboardInterrupt):
        distil(config)
    killed = distil(config)
    assert sha256(killed / "export" / "model.safetensors") == sha256(whole / "export" / "model.safetensors")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"losses": {**BOTH_USED, "soft": {**BOTH_USED["soft"], "temperature": 3.0}}},
            "temperature .2.0, here 3.0",
        ),
        ({"data": {"seq_len": 8, "offset": "fixed"}}, "seq_len .16, here 8"),
        ({"data": {"offset": 2}}, "layouts .1, here 2"),
        ({"data": {"offset": "fixed", "shuffle_documents": True}}, "shuffled .False, here True"),
        ({"data": {"offset": "fixed", "held_out_sequences": 4}}, "held_out_sequences .8, here 4"),
    ],
)
def test_a_cache_of_other_circumstances_is_refused_and_the_difference_named(
    make_cached, make_distill, changes, named
):
    config, _ = make_cached({"top": 4})
    teachers = {name: teacher.model_dump(mode="json") for name, teacher in config.teachers.items()}
    values = {"losses": BOTH_USED, "data": {"offset": "fixed"}, "teachers": teachers} | changes
    with pytest.raises(UserError, match=f"cache-a is for another {named}"):
        distil(make_distill(**values))


def test_a_cache_of_a_teacher_that_has_changed_since_is_refused(make_cached, tmp_path):
    from safetensors.torch import load_file, save_file

    config, _ = make_cached({"top": 4}, write=False)
    own = tmp_path / "own"
    shutil.copytree(config.teachers["a"].path, own)
    teachers = dict(config.teachers) | {"a": config.teachers["a"].model_copy(update={"path": str(own)})}
    config = config.model_copy(update={"teachers": teachers})
    write_caches(config)
    (own / SEAL).unlink()
    tensors = load_file(own / "model.safetensors")
    save_file({name: tensor + 1e-3 for name, tensor in tensors.items()}, own / "model.safetensors")
    with pytest.raises(UserError, match="cache-a is for teachers with other weights"):
        distil(config)
    shutil.rmtree(own)  # nobody needs the teacher any more
    assert distil(config).is_dir()


def test_a_pass_over_all_is_refused_before_the_first_cache_is_begun(make_cached, monkeypatch):
    """Here: the second is half done, of a teacher that was held in another format."""
    config, _ = make_cached({"top": 4}, write=False, checkpoint_seconds=1e-9)
    killed_once(config, monkeypatch)
    shutil.rmtree(".cache-b.partial")
    os.rename(".cache-a.partial", ".cache-b.partial")
    monkeypatch.setattr(Pass, "_kept", lambda *_, **__: pytest.fail("the pass has begun"))
    with pytest.raises(UserError, match="the unfinished .cache-b.partial is for teachers with other weights"):
        write_caches(config)


def test_a_teacher_that_changes_before_its_turn_is_not_believed(make_cached, monkeypatch):
    config, _ = make_cached({"top": 4}, write=False)
    honest = Pass.begin

    def and_then_it_changes(self, stack):
        honest(self, stack)
        self.hashes = {name: hashed + "0" for name, hashed in self.hashes.items()}

    monkeypatch.setattr(Pass, "begin", and_then_it_changes)
    with pytest.raises(UserError, match="teacher 'a' has changed since this pass began: start it again"):
        write_caches(config)


def test_what_a_teacher_is_called_makes_it_no_other(make_cached, make_distill):
    config, _ = make_cached({"top": 4})
    new = {"a": "first", "b": "second"}
    teachers = {new[name]: teacher.model_dump(mode="json") for name, teacher in config.teachers.items()}
    losses = {**BOTH_USED, "soft": {**BOTH_USED["soft"], "weight": {"first": 0.2, "second": 0.3}}}
    assert distil(make_distill(losses=losses, data={"offset": "fixed"}, teachers=teachers)).is_dir()


def test_a_cache_written_anew_is_the_same_input_of_a_run(make_cached, monkeypatch):
    config, _ = make_cached({"top": 4}, name="cached")
    sources = Ready(config, objective_of(config)).objective.sources
    before = (Path("cache-a") / SEAL).read_bytes()
    shutil.rmtree("cache-a")
    monkeypatch.setattr(cache_writer, "command_line", lambda: "another command")
    write_caches(config)
    assert (Path("cache-a") / SEAL).read_bytes() != before
    assert Ready(config, objective_of(config)).objective.sources == sources


def test_another_number_format_than_that_of_a_complete_cache_is_no_longer_asked_for(make_cached):
    config, _ = make_cached({"top": 4}, precision="fp32")
    write_caches(config.model_copy(update={"precision": "auto"}))
    with pytest.raises(UserError, match="cache-a was computed in fp32: leave precision=bf16 away"):
        write_caches(config.model_copy(update={"precision": "bf16"}))


@pytest.mark.parametrize("kept", [{"top": 4}, {"drawn": 4}])
def test_a_teacher_that_overflows_is_told_before_it_is_believed(make_cached, tmp_path, kept):
    from safetensors.torch import load_file, save_file

    config, _ = make_cached(kept, write=False)
    own = tmp_path / "own"
    shutil.copytree(config.teachers["a"].path, own)
    (own / SEAL).unlink()
    tensors = load_file(own / "model.safetensors")
    tensors[next(name for name in tensors if "norm" in name)][0] = torch.inf
    save_file(tensors, own / "model.safetensors")
    teachers = {**config.teachers, "a": config.teachers["a"].model_copy(update={"path": str(own)})}
    with pytest.raises(UserError, match="a: not finite at some positions of train in fp32"):
        write_caches(config.model_copy(update={"teachers": teachers}))


def test_a_pass_that_is_asked_to_stop_keeps_what_it_has(make_cached, monkeypatch):
    config, _ = make_cached({"top": 4}, write=False)
    monkeypatch.setitem(cache_writer.CPU_TOKENS, "fp32", 64)
    calls, honest = iter(range(10**6)), Pass._kept

    def asked(self, *args, **options):
        if next(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return honest(self, *args, **options)

    monkeypatch.setattr(Pass, "_kept", asked)
    with pytest.raises(SystemExit) as ended:
        write_caches(config)
    assert ended.value.code == STOPPED
    assert json.loads(Path(".cache-a.partial/progress.json").read_text())["train"] == 16
    write_caches(config)
    assert Path("cache-a").is_dir()


@pytest.mark.parametrize("name", ["train.bin", "dev.bin", "manifest.json"])
def test_a_damaged_cache_is_refused(make_cached, name):
    config, _ = make_cached({"top": 4})
    path = Path("cache-a") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="cache"):
        distil(config)
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match="cache"):
        distil(config)


def test_a_cache_that_is_not_there_is_asked_for_and_a_complete_one_is_left_alone(make_cached, capsys):
    config, _ = make_cached({"top": 4}, write=False)
    with pytest.raises(UserError, match="there is no cache cache-a: write it with `python -m distill.cache"):
        distil(config)
    write_caches(config)
    before = (Path("cache-a") / SEAL).read_bytes()
    assert "bytes a token" in capsys.readouterr().out
    write_caches(config)
    assert "cache-a is complete" in capsys.readouterr().out
    assert (Path("cache-a") / SEAL).read_bytes() == before


def test_all_is_done_is_said_after_the_last_cache_and_again_where_who_wrote_it_could_not(
    make_cached, monkeypatch
):
    config, _ = make_cached({"top": 4}, write=False)
    honest, told = cache_writer.tell, []

    def killed(*words, goes_on):
        told.append(goes_on)
        if not goes_on:
            raise KeyboardInterrupt
        honest(*words, goes_on=goes_on)

    monkeypatch.setenv("BABYLM_STATUS", "status-of-the-job")
    monkeypatch.setattr(cache_writer, "tell", killed)
    with pytest.raises(KeyboardInterrupt):
        write_caches(config)
    assert told.index(False) == len(told) - 1
    assert Path("cache-a").is_dir() and Path("cache-b").is_dir()
    monkeypatch.setattr(cache_writer, "tell", honest)
    assert json.loads(Path("status-of-the-job").read_text())["goes_on"]
    write_caches(config)
    said = json.loads(Path("status-of-the-job").read_text())
    assert not said["goes_on"] and said["done"] == said["of"] > 0


def test_a_disk_without_room_is_told_before_the_pass_begins(make_cached, monkeypatch):
    config, _ = make_cached({"top": 4}, write=False)
    usage = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(Pass, "_kept", lambda *_: pytest.fail("the pass has begun"))
    with pytest.raises(UserError, match="cache-a needs .* MB more and the disk has 0: make room"):
        write_caches(config)


def test_room_is_counted_for_all_caches_of_a_config(make_cached, monkeypatch):
    config, _ = make_cached({"top": 4}, write=False)
    one = Pass(config, Path("cache-a"), ["a"]).bytes_left()
    usage = shutil.disk_usage(".")._replace(free=one + one // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(Pass, "_kept", lambda *_: pytest.fail("the pass has begun"))
    with pytest.raises(UserError, match="cache-b needs"):
        write_caches(config)


def test_as_many_tokens_as_there_are_is_no_cache(make_cached):
    config, _ = make_cached({"top": VOCAB}, write=False)
    with pytest.raises(UserError, match="leaves no others of a vocabulary of 300"):
        write_caches(config)


def test_a_block_that_the_cache_does_not_have_is_never_guessed(make_cached, data_folder):
    config, _ = make_cached({"top": 4})
    ready = Ready(config, objective_of(config))
    tokens = open_tokens(data_folder, "train")
    elsewhere = Batches(tokens, seq_len=16, batch_size=4, seed=0).batch(0)
    batch = ready.objective.targets.of_items(elsewhere._replace(starts=elsewhere.starts * 0 + 5))
    with pytest.raises(UserError, match="no block at some of the places"):
        ready.objective.see(ready.student, batch, "ab")


SOFT = BOTH_USED["soft"]
HIDDEN = {"weight": {"a": 0.1}, "layer_map": "last_to_last"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kept": {}}, "give one of top and drawn"),
        ({"kept": {"top": 4, "drawn": 4}}, "give one of top and drawn"),
        ({"offset": "random"}, "sequences that recur"),
        ({"losses": {**BOTH_USED, "hidden": HIDDEN}}, "losses.hidden needs teacher 'a' itself"),
        (
            {"losses": {**BOTH_USED, "output_cosine": {"weight": {"b": 1.0}}}},
            "losses.output_cosine needs teacher 'b'",
        ),
        ({"losses": {**BOTH_USED, "soft": {**SOFT, "adaptive": "max"}}}, "adaptive: max asks the teachers"),
        (
            {"losses": {**BOTH_USED, "soft": {**SOFT, "temperature": {"start": 2.0, "end": 1.0}}}},
            "temperature changes",
        ),
        ({"losses": {**BOTH_USED, "soft": {**SOFT, "combine": "mean_probs"}}}, "give them one cache"),
        ({"together": True}, "one each"),
        (
            {"losses": {**BOTH_USED, "soft": {**SOFT, "divergence": "adaptive_kl"}}},
            "adaptive_kl cannot be had",
        ),
        (
            {"kept": {"drawn": 4}, "losses": {**BOTH_USED, "soft": {**SOFT, "divergence": "jsd"}}},
            "but forward_kl",
        ),
    ],
    ids=str,
)
def test_a_config_that_a_cache_cannot_serve_is_refused(make_cached, changes, reason):
    with pytest.raises(ValidationError, match=reason):
        make_cached(**{"kept": {"top": 4}, "write": False} | changes)


def test_a_run_that_is_finished_needs_its_cache_no_more(make_cached, capsys):
    config, _ = make_cached({"top": 4})
    Path("config.yaml").write_text(dump_config(config))
    main(["config.yaml"])
    shutil.rmtree("cache-a")
    main(["config.yaml"])
    assert (
        "is finished already; to train it again would not work: there is no cache cache-a"
        in capsys.readouterr().out
    )
    with pytest.raises(UserError, match="there is no cache cache-a"):
        distil(config.model_copy(update={"seed": 5}))


def test_a_cache_does_not_lie_in_another(make_cached):
    config, _ = make_cached({"top": 4}, write=False)
    teachers = config.model_dump()["teachers"]
    teachers["b"]["cache"]["path"] = "cache-a/inside"
    with pytest.raises(ValidationError, match="the cache cache-a/inside would lie in another, cache-a"):
        type(config).model_validate(config.model_dump() | {"teachers": teachers})
