"""The table of what each GPU holds: computed from the blocks of a model."""

import pytest
from conftest import VOCAB

from babylm_data.tokenizer_files import load_tokenizer
from bench.memory import _looked_at, main, parts, shape_of
from train_teachers.language_model import build, num_parameters
from train_teachers.sharding import Sharding


@pytest.mark.parametrize(
    "model", [{"family": "gpt2", "tie_word_embeddings": True, "dropout": 0.1}, {"family": "llama"}], ids=str
)
def test_memory_is_computed_from_what_the_blocks_of_a_model_are_seen_to_keep(make_config, data_folder, model):
    config = make_config(model={"num_hidden_layers": 3, **model}, data={"vocab_size": VOCAB})
    shape, whole = shape_of(config), build(config.model, load_tokenizer(data_folder / "tokenizer"), seed=0)
    assert shape.parameters == num_parameters(whole)[0]
    kept = _looked_at(config.model, config.data.seq_len)[1]
    assert kept == pytest.approx(3 * shape.kept + shape.kept_beside)
    assert (
        shape.kept > 20 * shape.width
    )  # bytes: no less than the input of each product in two bytes a number


def test_more_gpus_hold_less_each_but_by_ddp_and_more_of_a_step_in_shards_less(make_config):
    shape = shape_of(make_config(model={"num_hidden_layers": 24}))
    engines = [None, Sharding(False, False), Sharding(False, True), Sharding(True, True)]
    held = {
        (how, count): sum(parts(shape, how, count, 64, checkpointed=True).values())
        for how in engines
        for count in (2, 8)
    }
    assert held[None, 2] == held[None, 8]
    assert all(held[how, 8] < held[how, 2] for how in engines[1:])
    assert sorted(engines, key=lambda how: -held[how, 8]) == engines


def test_the_table_of_memory_is_of_the_config_that_is_named(capsys):
    main(["train_teachers/configs/nursery-llama.yaml", "micro_batch_size=4"])
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("nursery-llama: ") and "tokens a forward pass" in rows[0]
    assert len(rows) == 2 + 2 * 4 and all(len(row.split()) >= 5 for row in rows[2:])
