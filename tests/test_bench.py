"""The speed benchmark: that its sides do the same work, and what their turns come to. No time is asserted."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from babylm_data.errors import UserError
from bench import comparison, gpu, growth, turns
from bench.__main__ import main
from bench.figures import figures, figures_table
from bench.gauges import Part, product_rate, step_flops
from bench.gpu_parts import every_loss, kill_at
from bench.growth import growth_table
from bench.plots import draw_comparison, draw_growth
from bench.shapes import ROOT, SHAPES, config_of, soft_and_hard, with_teachers
from bench.spec import Request, Result, Spec
from distill.config import DistillConfig, Losses
from train_teachers.config import TrainConfig, load_config

SUMMARY = {"online_speedup", "cached_speedup", "peak_memory_ratio", "matrix_rate_fraction", "muon_share"}


@pytest.fixture
def spec(make_config, data_folder, workplace) -> Spec:
    """Two steps of a student of a few thousand parameters with two teachers of other weights."""
    from train_teachers.stand_ins import make_model

    shape = make_config().model
    for seed, name in enumerate(("llama", "gpt2"), start=1):
        family = shape.model_copy(update={"family": name})
        make_model(workplace / name, family, data_folder / "tokenizer", seed=seed)
    config = make_config(
        DistillConfig,
        teachers={name: {"path": str(workplace / name)} for name in ("llama", "gpt2")},
        losses=soft_and_hard(["llama", "gpt2"]).model_dump(),
    )
    return Spec(side="online", config=config, warmup=1, steps=1)


@pytest.fixture
def plain_first(spec) -> tuple[list, dict]:
    """What the plain loop's student reads in each step, and its losses in the first."""
    from babylm_data.tokenizer_files import load_tokenizer
    from bench.plain import inputs_of, plain_losses, sequences
    from train_teachers.language_model import build
    from train_teachers.pretrained import load_pretrained

    config = spec.config
    rows = list(sequences(spec))
    batches = [inputs_of(rows[i : i + config.batch_size]) for i in range(0, len(rows), config.batch_size)]
    student = build(config.model, load_tokenizer(f"{config.data.path}/tokenizer"), seed=config.seed)
    teachers = [load_pretrained(Path(teacher.path)) for teacher in config.teachers.values()]
    losses = plain_losses(student, teachers, batches[0])
    return [batch["input_ids"] for batch in batches], {name: loss.item() for name, loss in losses.items()}


def result(side: str, seconds: list[float], **facts) -> Result:
    """A planted turn."""
    made = {
        "tokens_per_step": 8192,
        "peak_bytes": 2**30,
        "loaded_bytes": 2**29,
        "muon_seconds": [],
        "flops": {"student": 2e9, "teachers": 1e9},
        "rate": 1e10,
        "losses": {"hard": 9.0, "soft": 0.04},
        "precision": "fp32",
        "compiled": False,
        "optimizer": "adamw",
        "threads": 1,
        "device": "cpu",
    }
    return Result(side=side, seconds=seconds, **made | facts)


@pytest.fixture
def planted(monkeypatch, tmp_path):
    """planted(Request(…)): what it measures when each turn takes what is planted; counts the calls for turns."""
    asked = []

    def take_turns(config, sides, count, request, place, label=""):
        asked.append((config, sides))
        if config.data.vocab_size == measure.refused:
            raise UserError("full")
        return {side: [result(side, [0.5, 1.0, 9.0])] * count for side in sides}

    monkeypatch.setattr(comparison, "take_turns", take_turns)
    monkeypatch.setattr(growth, "take_turns", take_turns)

    def measure(request: Request) -> dict:
        run = growth.grow if request.growth else comparison.compare
        return run(request, config_of(request, tmp_path), tmp_path)

    measure.asked, measure.refused = asked, None
    return measure


# --- the same work --------------------------------------------------------------------------------------------------


def test_both_sides_read_the_same_batches_and_find_the_same_losses_in_the_first_step(spec, plain_first):
    from bench.ours import open_kit

    inputs, losses = plain_first
    kit, read = open_kit(spec.config), []
    kit.student.get_input_embeddings().register_forward_pre_hook(lambda _, seen: read.append(seen[0].clone()))
    sums, targets = kit.step(0)
    kit.step(1)
    assert [tokens.tolist() for tokens in read] == [tokens.tolist() for tokens in inputs]
    assert float(sums["hard"]) / targets == pytest.approx(losses["hard"], rel=1e-4)
    # batchmean divides by the sequences, where the kit divides by their tokens
    assert float(sums["soft"]) / targets * spec.config.data.seq_len == pytest.approx(losses["soft"], rel=1e-3)
    assert losses["soft"] > 0


def test_a_turn_of_the_kit_with_muon_tells_what_muon_took(spec):
    from bench.ours import run

    optim = spec.config.optim.model_copy(update={"optimizer": "muon"})
    config = spec.config.model_copy(update={"optim": optim})
    told = run(spec.model_copy(update={"side": "muon", "config": config}))
    assert len(told.seconds) == len(told.muon_seconds) == 1
    assert 0 < told.muon_seconds[0] < told.seconds[0]
    assert told.flops.keys() == {"student", "teachers", "muon"} and min(told.flops.values()) > 0
    assert told.peak_bytes >= told.loaded_bytes > 0
    assert (told.optimizer, told.tokens_per_step) == ("muon", 64)


def test_the_arithmetic_of_a_forward_pass_is_what_torch_counts_but_for_the_causal_half(spec):
    from train_teachers.pretrained import load_pretrained

    for teacher in spec.config.teachers.values():
        model = load_pretrained(
            Path(teacher.path), attention="eager"
        )  # the only one that torch counts on a CPU
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(input_ids=torch.zeros(3, 16, dtype=torch.long))
        masked_half = 2 * 3 * 16 * 16 * model.config.hidden_size * model.config.num_hidden_layers
        counted = counter.get_total_flops() - masked_half
        assert step_flops(model, [model], 3, 16) == {"student": 3 * counted, "teachers": counted}


def test_a_part_of_a_step_is_counted_once_and_timed_at_each_call():
    a = torch.ones(8, 4)
    part = Part(lambda: a @ a.T)
    for _ in range(3):
        part()
    assert part.flops == 2 * 8 * 4 * 8
    assert len(part.seconds()) == 3


def test_products_have_a_rate(monkeypatch):
    monkeypatch.setattr("bench.gauges.SECONDS", 0.01)
    assert product_rate("fp32") > 1e8


# --- what the turns come to -------------------------------------------------------------------------------------------


def test_speedups_are_ratios_of_medians_turn_by_turn():
    plain = [result("plain", [1.0, 2.0, 90.0]), result("plain", [6.0]), result("plain", [4.0])]
    online = [result("online", [1.0]), result("online", [2.0]), result("online", [1.0])]
    found = figures({"plain": plain, "online": online}, {})
    assert found["online_speedup"] == {"median": 3.0, "min": 2.0, "max": 4.0, "values": [2.0, 3.0, 4.0]}
    assert found["cached_speedup"] is None and found["muon_share"] is None


def test_the_memory_ratio_is_of_the_kit_over_the_plain_loop_at_its_own_vocabulary():
    memory = {
        "plain": [result("plain", [1.0], peak_bytes=4 * 2**30)],
        "online": [result("online", [1.0], peak_bytes=2**30)],
    }
    assert figures({}, memory)["peak_memory_ratio"]["median"] == 0.25


def test_the_fraction_of_the_matrix_rate_counts_all_arithmetic_of_the_step_with_muon():
    flops = {"student": 2e9, "teachers": 1e9, "muon": 1e9}
    turn = result("muon", [1.0, 1.0], flops=flops, rate=1e10, muon_seconds=[0.1, 0.3], optimizer="muon")
    found = figures({"online": [result("online", [1.0])], "muon": [turn]}, {})
    assert found["matrix_rate_fraction"]["median"] == pytest.approx(0.4)
    assert found["muon_share"]["median"] == pytest.approx(0.2)


def test_with_muon_as_the_optimiser_of_the_kit_its_figures_come_from_the_online_side():
    online = result("online", [2.0], muon_seconds=[1.0], optimizer="muon")
    assert figures({"online": [online]}, {})["muon_share"]["median"] == 0.5


def test_a_report_has_every_figure_a_table_and_a_picture_and_is_json(planted, tmp_path):
    report = planted(Request(shape="nursery", turns=2))
    assert set(report["summary"]) == SUMMARY
    assert report["summary"]["online_speedup"] == report["summary"]["peak_memory_ratio"] == 1.0
    assert json.loads(json.dumps(report))["turns"].keys() == {"plain", "online", "cached", "muon"}
    shown = figures_table(report)
    assert report["machine"]["processor"] in shown and all(name in shown for name in SUMMARY)
    draw_comparison(report, tmp_path / "bench.svg")
    assert "muon" in (tmp_path / "bench.svg").read_text(encoding="utf-8")


def test_memory_is_compared_at_a_vocabulary_of_16_000(planted):
    planted(Request(shape="nursery"))
    assert [(config.data.vocab_size, sides) for config, sides in planted.asked] == [
        (1024, ("plain", "online", "cached", "muon")),
        (16_000, ("plain", "online")),
    ]


def test_growth_changes_one_factor_at_a_time_and_measures_where_they_meet_once(planted, tmp_path):
    report = planted(Request(shape="small", growth=True, turns=1))
    shapes = [(len(c.teachers), c.data.vocab_size, c.data.seq_len) for c, _ in planted.asked]
    assert len(report["points"]) == 2 * 13 and len(shapes) == len(set(shapes)) == 11
    assert all(sum(a != b for a, b in zip(shape, (2, 8192, 128), strict=True)) <= 1 for shape in shapes)
    assert "65,536" in growth_table(report)
    draw_growth(report, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size


def test_growth_leaves_out_what_does_not_fit_and_keeps_the_rest(planted, capsys):
    planted.refused = 65_536
    report = planted(Request(shape="small", growth=True, turns=1))
    assert len(report["points"]) == 2 * 12
    assert "vocabulary 65,536, left out: full" in capsys.readouterr().out


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_a_whole_config_without_a_track_to_keep_to(shape, tmp_path):
    config = config_of(Request(shape=shape, optimizer="muon"), tmp_path)
    assert config.data.vocab_size and not config.competition and not config.revisions
    assert (config.optim.optimizer, config.compile) == ("muon", True)
    assert type(config) is (TrainConfig if shape == "58m-alone" else DistillConfig)


def test_a_preset_has_the_shapes_of_its_configs(tmp_path):
    config = config_of(Request(shape="cpu-hour"), tmp_path)
    student = load_config(DistillConfig, ROOT / "distill/configs/cpu-hour.yaml")
    teacher = load_config(TrainConfig, ROOT / "train_teachers/configs/cpu-hour-gpt2.yaml")
    assert (config.model, config.batch_size) == (student.model, student.batch_size)
    assert config.teachers["gpt2"].model == teacher.model


def test_any_number_of_teachers_shares_the_weight_of_the_soft_loss(tmp_path):
    config = with_teachers(config_of(Request(shape="small"), tmp_path), 8)
    assert [teacher.model.family for teacher in config.teachers.values()] == ["llama", "gpt2"] * 4
    assert sum(config.losses.soft.weight.values()) == 0.5


def test_a_turn_has_as_many_words_as_its_steps_need_and_muon_its_optimiser(tmp_path):
    request = Request(shape="nursery", warmup=2, steps=3)
    config = config_of(request, tmp_path)
    told = turns.spec_of(config, "muon", request)
    assert (told.config.data.words, told.config.optim.optimizer) == (5 * 16 * 64, "muon")
    assert {name: teacher.cache.top for name, teacher in told.config.teachers.items()} == {
        "llama": 32,
        "gpt2": 32,
    }
    assert Spec.model_validate_json(told.model_dump_json()) == told


@pytest.mark.parametrize(
    ("gpu_there", "asked", "found"), [(True, None, "fp16"), (False, None, "fp32"), (True, "bf16", "bf16")]
)
def test_the_plain_loop_has_the_number_format_of_the_field(tmp_path, monkeypatch, gpu_there, asked, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu_there)
    request = Request(shape="nursery", plain_precision=asked)
    assert turns.spec_of(config_of(request, tmp_path), "plain", request).plain_precision == found


def test_teachers_that_are_compared_with_one_by_one_have_a_cache_each(tmp_path):
    request = Request(shape="small", overrides=["losses.soft.combine=separate"])
    config = with_teachers(config_of(request, tmp_path), 3)
    paths = {
        teacher.cache.path for teacher in turns.spec_of(config, "cached", request).config.teachers.values()
    }
    assert len(paths) == 3


# --- what a user gets wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--shape", "huge"], "no shape 'huge': there are reference, nursery"),
        (["--sides", "plain,ours"], "no side 'ours'"),
        (["--growth", "--shape", "58m-alone"], "no teachers to grow in number"),
        (["--growth", "--sides", "plain"], "no side 'plain'"),
        (["--shape", "nursery", "batch_siz=3"], "unknown key 'batch_siz'"),
        (["--plot", "bench.txt"], "a picture ends in .png"),
        (["--json", "no/such/folder/bench.json"], "there is no folder no/such/folder"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_made(arguments, words, workplace):
    with pytest.raises(UserError, match=words) as error:
        main(arguments)
    assert "\n" not in str(error.value)
    assert not list(workplace.iterdir())


@pytest.mark.parametrize(
    "status, said, words",
    [
        (2, "a warning\nerror: no teacher\n", "side online: no teacher"),
        (1, "", "side online: no word of why"),
        (-9, "", "ended by signal 9"),
    ],
)
def test_a_side_that_fails_says_why_in_one_line(spec, tmp_path, monkeypatch, status, said, words):
    def fail(command, **_):
        return subprocess.CompletedProcess(command, status, stderr=said)

    monkeypatch.setattr(turns.subprocess, "run", fail)
    with pytest.raises(UserError, match=words) as error:
        turns.take_turn(spec, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_program_runs_from_the_command_line_to_its_files(workplace, capsys):
    main(
        ["--shape", "nursery", "batch_size=2", "data.seq_len=16", "model.num_hidden_layers=1", "--no-compile"]
        + ["--turns", "1", "--warmup", "1", "--steps", "1", "--json", "bench.json", "--plot", "bench.png"]
    )
    report = json.loads((workplace / "bench.json").read_text(encoding="utf-8"))
    assert all(report["summary"][name] > 0 for name in SUMMARY)
    first = {side: results[0]["losses"] for side, results in report["turns"].items()}
    assert first["plain"]["hard"] == pytest.approx(first["online"]["hard"], rel=1e-2)
    assert "turn 1 of 1, plain" in capsys.readouterr().out
    assert (workplace / "bench.png").stat().st_size


def test_what_is_seen_on_a_gpu_is_told_as_far_as_the_time_goes(tmp_path):
    """A part that is stopped, or that fails, is a row; what it began is stopped with it."""
    assert list(gpu.rows_of("bits", tmp_path, time.monotonic()))[0].what == "not reached"
    (row,) = gpu.rows_of("speed", tmp_path, time.monotonic() + 1.5)
    assert (row.what, row.good) == ("the rest was not reached", None)
    (row,) = gpu.rows_of("nothing", tmp_path, time.monotonic() + 60)
    assert row.good is False and "invalid choice: 'nothing'" in row.figure


def play(monkeypatch, code):
    """Have this code in the place of a part's program."""
    honest = subprocess.Popen
    monkeypatch.setattr(
        gpu.subprocess, "Popen", lambda _, **options: honest([sys.executable, "-c", code], **options)
    )


def test_what_a_part_says_beside_its_rows_is_told_as_it_comes(tmp_path, monkeypatch):
    play(monkeypatch, "print('turn 1 of 1'); print('row [\"a\", \"b\", true]')")
    rows = list(gpu.rows_of("ratios", tmp_path, time.monotonic() + 60))
    assert rows == [gpu.Check("ratios", "turn 1 of 1", "", None), gpu.Check("ratios", "a", "b", True)]


def test_nothing_of_a_part_is_left_when_its_time_is_up(tmp_path, monkeypatch):
    play(
        monkeypatch,
        "import subprocess, time; child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL); "
        "print(child.pid, flush=True); time.sleep(60)",
    )
    child, ended = gpu.rows_of("bits", tmp_path, time.monotonic() + 3)
    assert ended.what == "the rest was not reached"
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(child.what)).wait(timeout=10)  # or a TimeoutExpired


def test_a_part_ends_with_the_program_that_began_it():
    code = "from bench.gpu import end_with_the_other; end_with_the_other()"
    part = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True
    )
    part.stdin.close()
    assert part.wait(timeout=60) == -9


def test_a_program_that_ends_by_itself_was_not_killed(workplace):
    with pytest.raises(RuntimeError, match="train_teachers ended by itself"):
        kill_at("runs/x/state/step-*", "train_teachers", "no-such.yaml")


def test_the_table_for_the_log_names_the_card_and_what_is_wrong():
    about = {name: name for name in ("device", "torch", "transformers", "python", "commit", "started")}
    rows = [gpu.Check("bits", "equal bits", "NO", False), gpu.Check("speed", "a llama", "1 tokens/s", None)]
    said = gpu.markdown(about, rows)
    assert (
        said.startswith("device, torch torch,")
        and "| bits | equal bits | NO | **not** as it should be |" in said
    )
    assert "| speed | a llama | 1 tokens/s |  |" in said


def test_every_loss_that_there_is_is_seen_on_a_gpu():
    assert every_loss(["llama", "gpt2"]).keys() == Losses.model_fields.keys()
