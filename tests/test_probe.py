"""What is measured of a student beside its control and teachers, and that it stands on the page."""

import json
import re

import numpy as np
import pytest
import tiny_models
import torch

from babylm_data.errors import UserError
from eval.probe.alikeness import calibration, cka_table, lay_out, linear_cka
from eval.probe.pace import pace
from eval.probe.passages import EVERY, IGNORE, read_passages
from eval.probe.probed import FILE, read_probe
from eval.probe.probing import drawn_layers
from eval.probe.readings import read_all
from eval.report.page import probe_pictures
from train_teachers.config import dump_config

RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(200, 6))


def test_cka_is_one_for_states_that_are_turned_scaled_or_moved_and_small_for_strangers():
    turn, _ = np.linalg.qr(RNG.normal(size=(6, 6)))
    assert linear_cka(STATES, 3 * STATES @ turn + 5) == pytest.approx(1)
    assert linear_cka(STATES, RNG.normal(size=(200, 9))) < 0.1
    assert linear_cka(STATES, np.ones((200, 3))) == 0


def test_cka_is_that_of_the_kernels_of_its_paper():
    other = STATES[:, :4] ** 2 + STATES[:, 2:]
    centre = np.eye(200) - 1 / 200
    kernels = [centre @ states @ states.T @ centre for states in (STATES, other)]
    hsic = [[np.trace(a @ b) for a in kernels] for b in kernels]
    assert linear_cka(STATES, other) == pytest.approx(hsic[0][1] / np.sqrt(hsic[0][0] * hsic[1][1]))
    assert np.shape(cka_table([STATES, other], [STATES] * 3)) == (2, 3)


def test_states_that_are_the_same_lie_on_each_other_in_the_plane_also_where_the_widths_differ():
    same = lay_out(STATES[:40], STATES[:40])
    wide = lay_out(STATES[:40], np.pad(STATES[:40], ((0, 0), (0, 3))))
    apart = lay_out(STATES[:40], RNG.normal(size=(40, 6)) + 9)
    distances = [np.linalg.norm(x - y, axis=1).mean() / np.ptp(x) for x, y in (same, wide, apart)]
    assert distances[0] < 0.05 and distances[1] < 0.05 and distances[2] > 0.5


def test_the_calibration_error_is_the_mean_distance_of_sure_and_right():
    sure, right = np.array([0.25, 0.25, 0.95, 0.95]), np.array([0, 1, 1, 1])
    error, bins = calibration(sure, right)
    assert error == pytest.approx(0.5 * 0.25 + 0.5 * 0.05)
    assert [part["positions"] for part in bins] == [2, 2]
    assert calibration(np.array([1.0]), np.array([1])) == (
        0.0,
        [{"positions": 1, "confidence": 1.0, "right": 1.0}],
    )


def test_at_most_six_layers_are_drawn_and_the_last_is_one_of_them():
    assert drawn_layers(3) == [1, 2, 3] and drawn_layers(12) == [2, 4, 6, 8, 10, 12]
    assert len(drawn_layers(40)) == 6 and drawn_layers(40)[-1] == 40


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text" / "a.txt"
    path.parent.mkdir()
    path.write_text("\n\n".join("the dog sees the cat " * 8 for _ in range(6)))
    return [str(path.parent)]


def test_passages_ask_for_the_next_token_or_for_hidden_ones(text):
    tokenizer = tiny_models.tokenizer()
    causal = read_passages(text, tokenizer, count=4, length=16, masked=False)
    assert causal.ids_ST.shape == (4, 16) and (causal.ids_ST[:, 0] == causal.ids_ST[0, 0]).all()
    assert (
        torch.equal(causal.targets_ST[:, :-1], causal.ids_ST[:, 1:])
        and (causal.targets_ST[:, -1] == IGNORE).all()
    )
    with pytest.raises(UserError, match="name more with --text"):
        read_passages(text, tokenizer, count=4, length=1600, masked=False)
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    masked = read_passages(text, tokenizer, count=4, length=16, masked=True)
    hidden = masked.targets_ST != IGNORE
    assert (masked.ids_ST[hidden] == tokenizer.mask_token_id).all()
    assert torch.equal(masked.targets_ST[hidden], causal.ids_ST[hidden]) and not hidden[:, 0].any()
    assert hidden.sum() == sum((place + row) % EVERY == 0 for row in range(4) for place in range(1, 16))


def test_a_model_reads_what_its_logits_say_and_a_teacher_is_at_no_distance_from_its_equal(text):
    tokenizer = tiny_models.tokenizer()
    passages = read_passages(text, tokenizer, count=9, length=16, masked=False)
    models = {name: tiny_models.model(seed=seed).eval() for name, seed in (("s", 0), ("same", 1), ("t", 1))}
    found = read_all(models, ["t"], passages, positions=50)
    with torch.no_grad():
        logits = models["s"](input_ids=passages.ids_ST).logits[:, :-1].flatten(0, 1)
    nats = torch.nn.functional.cross_entropy(logits, passages.targets_ST[:, :-1].flatten())
    assert np.concatenate(found["s"].nats).mean() == pytest.approx(float(nats), abs=1e-5)
    assert np.abs(np.concatenate(found["same"].from_teachers["t"])).max() < 1e-6
    assert np.concatenate(found["s"].from_teachers["t"]).mean() > 1e-3
    layers = found["same"].layers(), found["t"].layers()
    assert all(np.array_equal(a, b) for a, b in zip(*layers, strict=True))
    assert 45 <= len(layers[0][0]) <= 55


@pytest.mark.slow
def test_memory_is_that_of_the_model_whatever_the_caller_holds(tmp_path):
    tiny_models.save(tmp_path / "m")
    before = pace(tmp_path / "m", "causal", "cpu")["memory"]
    held = np.ones(80_000_000)  # 640 MB
    del held
    assert abs(pace(tmp_path / "m", "causal", "cpu")["memory"] - before) < 1e8


@pytest.mark.slow
def test_a_student_is_looked_at_beside_its_control_and_teachers(make_distill, workplace, data_folder, capsys):
    from distill.__main__ import main as distil
    from eval.probe.__main__ import main

    config = make_distill(revisions=True, words_scale=1e-5, name="st", data={"words": 400})
    (workplace / "st.yaml").write_text(dump_config(config))
    distil(["st.yaml"])
    distil(["st.yaml", "--control"])
    main(["runs/st", "--passages", "8", "--device", "cpu", "--prompt", "the"])
    said = capsys.readouterr().out
    found, refused = read_probe(workplace / "runs/st")
    assert (
        refused is None
        and found["command"] == "python -m eval.probe runs/st --passages 8 --device cpu --prompt the"
    )
    roles = {one["name"]: one["role"] for one in found["models"]}
    assert list(roles.values()) == ["student", "early", "control", "teacher", "teacher"]
    assert all(re.search(rf"^{name} ", said, flags=re.MULTILINE) for name in roles)
    teachers = [name for name, role in roles.items() if role == "teacher"]
    assert list(found["alikeness"]) == teachers and list(found["samples"][0]["texts"]) == [
        name for name, role in roles.items() if role != "early"
    ]
    assert found["models"][0]["pace"]["memory"] > 0 and "pace" not in found["models"][1]
    assert "Linear CKA" in str(probe_pictures(found))
    path = workplace / "runs/st" / FILE
    content = json.loads(path.read_text())
    content["models"][0]["model_sha256"] = "0"
    path.write_text(json.dumps(content))
    assert read_probe(workplace / "runs/st")[1].endswith(
        "look again with `python -m eval.probe " + str(workplace / "runs/st") + "`"
    )
