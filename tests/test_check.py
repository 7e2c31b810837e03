"""`--check`: everything is loaded and audited, what is not there is made up and named, and nothing is written."""

import os
import shutil
from pathlib import Path

import pytest
from conftest import VOCAB
from test_adopted_tokenizer import save

from babylm_data.errors import UserError
from distill.__main__ import main
from train_teachers.__main__ import main as main_of_teachers
from train_teachers.config import TrainConfig, load_config
from train_teachers.objective import hard_alone
from train_teachers.stage import check as check_training

ROOT = Path(__file__).parent.parent
CONFIG = """
model: {{family: gpt2, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 32}}
{init}
data: {{path: {data}, seq_len: 16, words: 400, vocab_size: {vocab}}}
optim: {{lr: 1e-3}}
batch_size: 4
precision: fp32
teachers:
  a:
    path: {teacher}
    {shape}
losses:
  hard: {{weight: 0.5}}
  soft: {{weight: {{a: 0.5}}}}
  hidden: {{weight: {{a: 0.1}}, layer_map: layerwise}}
"""
SHAPE = (
    "model: {family: llama, hidden_size: 48, num_hidden_layers: 3, num_attention_heads: 2, "
    "max_position_embeddings: 32}"
)


@pytest.fixture
def check(workplace, capsys):
    """check(**parts): what `--check` prints for a config of these parts."""

    def run(data="runs/nowhere", teacher="runs/none/export", shape=SHAPE, init="", vocab=VOCAB):
        Path("tiny.yaml").write_text(
            CONFIG.format(data=data, teacher=teacher, shape=shape, init=init, vocab=vocab), encoding="utf-8"
        )
        before = sorted(os.listdir())
        status = main(["tiny.yaml", "--check"])
        assert sorted(os.listdir()) == before
        out, loud = capsys.readouterr()
        assert (status == 3) == ("is not there" in out) == ("made-up stand-ins" in loud)
        return out

    return run


def test_what_is_not_there_is_made_up_and_named(check):
    said = check(init="init: {path: runs/first/export, blocks: [1, 3]}")
    for line in ("data: runs/nowhere is not there", "init: runs/first/export is not there", "teacher 'a'"):
        assert line in said
    assert "hidden.a" in said and "gradient share" in said


def test_what_is_there_is_used_and_made_up_data_have_its_tokenizer(check, tmp_path, data_folder):
    from test_distill import Model, build, export, load_tokenizer

    shape = Model(
        family="llama", hidden_size=48, num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=32
    )
    tokenizer = load_tokenizer(data_folder / "tokenizer")
    export(build(shape, tokenizer, seed=1), data_folder / "tokenizer", tmp_path / "a")
    said = check(teacher=tmp_path / "a", shape="")
    assert "teacher 'a'" not in said and f"the tokenizer of {tmp_path / 'a'}" in said
    assert "is not there" not in check(teacher=tmp_path / "a", shape="", data=data_folder)


def test_a_foreign_tokenizer_serves_where_a_model_has_one(check, tmp_path):
    from test_distill import Model, build, export, load_tokenizer

    folder = save(tmp_path / "gpt2")
    shape = Model(
        family="gpt2", hidden_size=32, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=32
    )
    export(build(shape, load_tokenizer(folder), seed=1), folder, tmp_path / "pretrained")
    entries = len(load_tokenizer(folder))
    said = check(init=f"init: {{path: {tmp_path / 'pretrained'}}}", vocab=entries)
    assert f"the tokenizer of {tmp_path / 'pretrained'}" in said and "hidden.a" in said


def test_a_tokenizer_of_another_size_than_the_config_says_is_refused(check, data_folder):
    with pytest.raises(UserError, match=f"has {VOCAB} entries, data.vocab_size says 512"):
        check(data=data_folder, vocab=512)


def test_a_teachers_config_is_checked_alike(workplace, capsys):
    main_of_teachers([str(ROOT / "train_teachers/configs/nursery-gptj.yaml"), "--check", "precision=fp32"])
    said = capsys.readouterr().out
    assert "data: runs/nursery-data is not there" in said and "hard" in said and os.listdir() == []


def test_a_model_without_a_shape_anywhere_is_refused(check):
    with pytest.raises(UserError, match="add its shape as `model"):
        check(shape="")


@pytest.mark.parametrize(
    ("twin", "term"), [("dskd-heads-tiny", "heads"), ("gpu-quarter-tiny", "hard.masked")]
)
def test_the_check_of_a_twin_passes_where_there_is_nothing(workplace, capsys, twin, term):
    """Of all recipes `python -m bench.recipes` checks the full shapes; these are small ones, from anywhere."""
    for stage in ("train_teachers", "distill"):
        shutil.copytree(ROOT / stage / "configs", f"{stage}/configs")
    main([str(ROOT / f"distill/configs/{twin}.yaml"), "--check", "precision=fp32"])
    assert term in capsys.readouterr().out


def test_a_check_speaks_of_the_config_that_it_is_given_and_not_of_a_run_under_its_name(train_tiny, capsys):
    train_tiny(name="tiny", batch_size=4)
    config = load_config(TrainConfig, "runs/tiny/config.yaml", ["batch_size=8"])
    capsys.readouterr()
    check_training(config, hard_alone)
    assert "\n8 sequences a forward pass" in capsys.readouterr().out
