"""Fine-tuning on sentences: heads and pooling by hand, the official files, refusals, resuming, determinism."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
import torch
import tuning_models
from safetensors.torch import load_file, save_file
from tiny_models import write_rows
from transformers import AutoModel, GPT2ForSequenceClassification, LlamaForSequenceClassification
from tuning_models import settings, write_sst2

from babylm_data.errors import UserError
from babylm_data.tokenizer_files import load_tokenizer
from eval.finetune import backbone, classify, encoding, glue, heads
from eval.finetune import loop as tuning
from eval.finetune.__main__ import main
from eval.finetune.tuning_folder import summarise


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Model folders llama, gpt2 and bert, shared and never changed."""
    root = tmp_path_factory.mktemp("models")
    for family in ("llama", "gpt2"):
        tiny_models.save(root / family, family)
    tuning_models.save_bert(root / "bert")
    return root


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def run(models: Path, data: Path, out: Path, *more: str, family: str = "llama") -> dict:
    quick = ["--epochs", "2", "--lr", "1e-3", "--batch-size", "8", "--device", "cpu"]
    main([str(models / family), "--data", str(data), "--out", str(out), *quick, *more])
    return read(out / "finetune.json")


# --- heads ---


def test_the_official_head_is_its_formula_written_out():
    torch.manual_seed(0)
    head = heads.official_head(8, 3).eval()
    first, second = head[1], head[5]
    assert len(list(head.parameters())) == 4

    def norm(x):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()

    x = torch.randn(5, 8)
    wide = norm(x) @ first.weight.T + first.bias
    wide = norm(0.5 * wide * (1 + torch.erf(wide / 2**0.5)))
    assert torch.allclose(head(x), wide @ second.weight.T + second.bias, atol=1e-6)
    assert head[4].p == heads.plain_head(8, 3)[0].p == 0.1


def test_pooling_reads_the_last_real_token_the_first_or_the_mean_of_the_real_ones():
    hidden = torch.arange(12.0).view(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert heads.pool_tokens(hidden, mask, "last").tolist() == [[2, 3], [10, 11]]
    assert heads.pool_tokens(hidden, mask, "first").tolist() == [[0, 1], [6, 7]]
    assert heads.pool_tokens(hidden, mask, "mean").tolist() == [[1, 2], [8, 9]]


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert"])
@pytest.mark.parametrize("pool", glue.POOLS)
def test_a_sequence_is_classified_alike_alone_and_padded(models, family, pool):
    config = backbone.read_config(models / family)
    body = backbone.load_backbone(models / family, config)
    network = heads.Classifier(body, labels=2, head="plain", pool=pool).eval()
    encoded = encoding.Encoded([[5, 6, 7], list(range(5, 30))], [(0,), (1,)])
    with torch.no_grad():
        together = network(encoded.batch([0, 1], "cpu")[0])
        alone = torch.cat([network(encoded.batch([row], "cpu")[0]) for row in (0, 1)])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "library"),
    [("llama", LlamaForSequenceClassification), ("gpt2", GPT2ForSequenceClassification)],
)
def test_the_plain_head_at_the_last_token_is_the_librarys_sequence_classifier(models, family, library):
    theirs = library.from_pretrained(models / family, num_labels=3, pad_token_id=2).eval()
    body = backbone.load_backbone(models / family, backbone.read_config(models / family))
    ours = heads.Classifier(body, labels=3, head="plain", pool="last").eval()
    ours.head[1].load_state_dict({"weight": theirs.score.weight, "bias": torch.zeros(3)})
    inputs, _ = encoding.Encoded([[5, 6, 7], [8, 9, 10, 11, 12]], [(0,), (0,)]).batch([0, 1], "cpu")
    padded = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, 2)
    with torch.no_grad():
        expected = theirs(input_ids=padded, attention_mask=inputs["attention_mask"]).logits
        assert torch.allclose(ours(inputs), expected, atol=1e-5)


def test_the_library_misses_the_last_token_where_padding_and_end_are_one_and_we_do_not(models):
    """The trap that the own pooling is for: a text that ends in the pad token."""
    body = backbone.load_backbone(models / "llama", backbone.read_config(models / "llama")).eval()
    ours = heads.Classifier(body, labels=2, head="plain", pool="last").eval()
    inputs, _ = encoding.Encoded([[5, 6, 1]], [(0,)]).batch([0], "cpu")
    with torch.no_grad():
        expected = ours.head(body(**inputs).last_hidden_state[:, 2])
        assert torch.equal(ours(inputs), expected)


# --- batches and pairs ---


def test_batches_hold_every_row_once_but_a_last_incomplete_one():
    lengths = [n % 17 for n in range(50)]
    for grouped in (False, True):
        rows = [
            row
            for batch in encoding.epoch_batches(lengths, 8, random.Random(0), grouped=grouped)
            for row in batch
        ]
        assert len(rows) == 48 == len(set(rows))
    assert encoding.epoch_batches([3, 1], 8, random.Random(0), grouped=True) == [[1, 0]]


def test_grouped_batches_are_of_like_length_and_in_random_order():
    lengths = list(range(64))
    batches = encoding.epoch_batches(lengths, 8, random.Random(0), grouped=True)
    assert all(max(batch) - min(batch) == 7 for batch in batches)
    assert [min(batch) for batch in batches] != sorted(min(batch) for batch in batches)


@pytest.mark.parametrize(("bos", "eos"), [(True, False), (True, True), (False, False)])
def test_pairs_of_a_causal_tokenizer_keep_its_marks_and_are_divided_by_a_line_break(bos, eos):
    tokenizer = tiny_models.tokenizer(bos=bos, eos=eos)
    separator = encoding.separate_pairs(tokenizer)
    ids = tokenizer("The dog", separator + "sees")["input_ids"]
    assert tokenizer.decode(ids) == "<s>" * bos + "The dog\nsees" + "</s>" * eos
    assert tokenizer.decode(tokenizer("The")["input_ids"]) == "<s>" * bos + "The" + "</s>" * eos


def test_pairs_of_an_encoder_are_left_to_its_tokenizer():
    tokenizer = tuning_models.bert_tokenizer()
    assert encoding.separate_pairs(tokenizer) == ""
    assert tokenizer.decode(tokenizer("the dog", "sees")["input_ids"]) == "[CLS] the dog [SEP] sees [SEP]"


def test_segments_go_to_encoders_alone_and_not_to_the_official_way(models):
    pair = [glue.Example("the dog", "sees", 0), glue.Example("the dog", "sees", 1)]
    for family, head, expected in (
        ("bert", "plain", True),
        ("bert", "official", False),
        ("gpt2", "plain", False),
    ):
        config, tokenizer = backbone.read_config(models / family), load_tokenizer(models / family)
        problem = classify.prepare("rte", pair, pair, tokenizer, config, settings(head=head))
        assert (problem.train.types is not None) == expected


def test_the_longer_text_of_a_pair_is_cut_and_counted(models):
    config, tokenizer = backbone.read_config(models / "bert"), load_tokenizer(models / "bert")
    pairs = [glue.Example("dog " * 90, "sees", 0), glue.Example("dog", "sees", 1)]
    problem = classify.prepare("rte", pairs, pairs, tokenizer, config, settings(max_length=20))
    assert [len(ids) for ids in problem.train.ids] == [20, 5]
    assert problem.notes == ["rte: 1 training and 1 validation inputs are longer than 20 tokens and were cut"]


# --- data ---


def test_the_texts_are_those_of_the_official_program(tmp_path):
    rows = {
        "wsc": ({"span1_text": "Mark", "span2_text": "He", "text": "Mark lied. He fled.", "label": 0}),
        "multirc": ({"question": "Who?", "answer": "Ann", "paragraph": "Ann ran.", "label": 1}),
        "boolq": ({"question": "is it", "passage": "It is {so}.", "label": 1}),
        "cola": ({"sentence": "A {b} c.", "label": 0}),
    }
    found = {}
    for task, row in rows.items():
        write_rows(tmp_path / f"{task}.jsonl", [row])
        (found[task],) = glue.read_examples(tmp_path / f"{task}.jsonl", glue.TASKS[task])
    assert found["wsc"].first == 'Does "He" refer to "Mark" in this passage?'
    assert found["wsc"].second == "Mark lied. He fled."
    assert (found["multirc"].first, found["multirc"].second) == ("Question: Who? Answer: Ann", "Ann ran.")
    assert (found["boolq"].first, found["boolq"].second) == ("is it", "It is {so}.")
    assert found["cola"] == glue.Example("A {b} c.", None, 0)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"sentence": "a"', "is not JSON"),
        ('["a"]', "is not a JSON object"),
        ('{"sentence": 3, "label": 1}', "no text in 'sentence'"),
        ('{"text": "a", "label": 1}', "no text in 'sentence'"),
        ('{"sentence": "\\ud83d", "label": 1}', "lone surrogate"),
        ('{"sentence": "a", "label": 2}', "has the label 2, the task has 0, 1"),
        ('{"sentence": "a", "label": -1}', "has the label -1"),
        ('{"sentence": "a", "label": true}', "has the label True"),
        ('{"sentence": "a", "label": "1"}', "has the label '1'"),
        ('{"sentence": "a"}', "has the label None"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(tmp_path, line, complaint):
    (tmp_path / "x.jsonl").write_text('{"sentence": "a", "label": 1}\n\n' + line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"x.jsonl, line 3 .*{complaint}"):
        glue.read_examples(tmp_path / "x.jsonl", glue.TASKS["sst2"])


def test_sst2_is_read_from_glues_own_tables(tmp_path):
    (tmp_path / "sst2").mkdir()
    for name in ("train", "dev"):
        (tmp_path / f"sst2/{name}.tsv").write_text('sentence\tlabel\na "quoted , bit \t1\n', encoding="utf-8")
    files = glue.find_files("sst2", [tmp_path], glue.TASKS["sst2"].names)
    assert [path.name for path in files] == ["train.tsv", "dev.tsv"]
    assert glue.read_examples(files[0], glue.TASKS["sst2"]) == [glue.Example('a "quoted , bit ', None, 1)]
    (tmp_path / "sst2/dev.tsv").write_text("sentence\tlabel\na\tb\t1\n", encoding="utf-8")
    with pytest.raises(UserError, match="dev.tsv, line 2 has 3 cells"):
        glue.read_examples(files[1], glue.TASKS["sst2"])


def test_mnli_mismatched_trains_on_mnlis_file(tmp_path):
    row = {"premise": "a", "hypothesis": "b", "label": 2}
    write_rows(tmp_path / "one/full_eval/glue_filtered/mnli.train.jsonl", [row])
    write_rows(tmp_path / "two/glue_filtered_2024/mnli-mm.valid.jsonl", [row])
    names = glue.TASKS["mnli-mm"].names
    files = glue.find_files("mnli-mm", [tmp_path / "one", tmp_path / "two"], names)
    assert [path.name for path in files] == ["mnli.train.jsonl", "mnli-mm.valid.jsonl"]
    with pytest.raises(UserError, match="mnli-mm needs mnli.train.jsonl, and it is not in .*two"):
        glue.find_files("mnli-mm", [tmp_path / "two"], names)


# --- training ---


@pytest.mark.parametrize(("family", "head"), [("llama", "plain"), ("gpt2", "official"), ("bert", "official")])
def test_a_separable_task_is_learned(models, tmp_path, family, head):
    write_sst2(tmp_path / "data", train=64)
    lr = ["--lr", "3e-3", "--epochs", "6"]
    found = run(
        models, tmp_path / "data", tmp_path / "out", "--tasks", "sst2", "--head", head, *lr, family=family
    )
    assert found["tasks"]["sst2"]["score"] > 0.95
    assert found["tasks"]["sst2"]["majority"]["accuracy"] == 0.5


def test_the_first_token_of_a_causal_model_says_nothing(models, tmp_path):
    """The official program's reading of a causal model: whatever is learned, all rows get one label."""
    write_sst2(tmp_path / "data")
    run(
        models,
        tmp_path / "data",
        tmp_path / "out",
        "--tasks",
        "sst2",
        "--head",
        "official",
        "--pool",
        "first",
    )
    rows = read(tmp_path / "out/sst2/seed-42/predictions.json")["sst2"]["predictions"]
    assert len({row["pred"] for row in rows}) == 1


def test_the_learning_rate_warms_up_over_six_percent_and_ends_at_a_tenth():
    network = torch.nn.Linear(1, 1)
    optimizer, schedule = tuning.optimiser(network, settings(lr=1.0), 100)
    rates = []
    for _ in range(101):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:7] == pytest.approx([n / 6 for n in range(7)])
    assert rates[53] == pytest.approx(0.55) and rates[100] == pytest.approx(0.1)
    assert optimizer.param_groups[0]["weight_decay"] == 0.01


class Scripted:
    """A problem whose validation answers are given."""

    metric, train, notes = "accuracy", encoding.Encoded([[1]] * 8, [(0,)] * 8), []

    def __init__(self, keep, scores):
        self.keep, self.scores = keep, iter(scores)

    def validate(self, network, settings):
        score = next(self.scores)
        return tuning.Validation(0.5, {"accuracy": score}, {"score": score})


class Flat(torch.nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.weight, self.value = torch.nn.Parameter(torch.ones(1)), loss

    def loss(self, inputs, targets):
        return (self.weight * self.value).sum()


def test_the_first_best_epoch_is_kept_or_the_last_and_every_epoch_is_judged():
    best = tuning.tune(
        Flat(1.0), Scripted("best", [0.2, 0.7, 0.7, 0.1]), settings(epochs=4), seed=0, label="x"
    )
    assert (best["kept_epoch"], best["predictions"]) == (2, {"score": 0.7})
    assert [entry["accuracy"] for entry in best["epochs"]] == [0.2, 0.7, 0.7, 0.1]
    scores = [0.2, 0.9, 0.7, 0.3]
    last = tuning.tune(Flat(1.0), Scripted("last", scores), settings(epochs=4), seed=0, label="x")
    assert (last["kept_epoch"], last["metrics"], last["steps"]) == (4, {"accuracy": 0.3}, 4)
    assert [entry["accuracy"] for entry in last["epochs"]] == scores


def test_the_validation_loss_is_the_mean_over_rows_without_dropout_whatever_the_batches(models, monkeypatch):
    config, tokenizer = backbone.read_config(models / "bert"), load_tokenizer(models / "bert")
    rows = [glue.Example("dog " * (1 + n % 5), None, n % 2) for n in range(11)]
    problem = classify.prepare("sst2", rows, rows, tokenizer, config, settings())
    network = problem.network(backbone.load_backbone(models / "bert", config), settings()).train()
    monkeypatch.setattr(encoding, "EVAL_BATCH", 4)
    found = problem.validate(network, settings()).loss
    network.eval()
    with torch.no_grad():
        alone = [network.loss(*problem.valid.batch([row], "cpu")).item() for row in range(11)]
    assert found == pytest.approx(sum(alone) / 11, rel=1e-5)


def test_to_validate_changes_nothing_of_the_training(models):
    config, tokenizer = backbone.read_config(models / "bert"), load_tokenizer(models / "bert")
    rows = [glue.Example("dog " * (1 + n % 5), None, n % 2) for n in range(24)]
    problem = classify.prepare("sst2", rows, rows, tokenizer, config, settings())
    blind = classify.prepare("sst2", rows, rows, tokenizer, config, settings())
    blind.validate = Scripted("best", [0.5, 0.5]).validate
    ends = []
    for each in (problem, blind):
        torch.manual_seed(0)
        network = each.network(backbone.load_backbone(models / "bert", config), settings())
        tuning.tune(network, each, settings(), seed=0, label="x")
        ends.append(network.state_dict())
    assert all(torch.equal(weight, ends[1][name]) for name, weight in ends[0].items())


def test_a_result_tells_losses_and_scores_of_every_epoch_and_the_seconds_of_training_and_validation(
    models, tmp_path
):
    write_sst2(tmp_path / "data")
    run(models, tmp_path / "data", tmp_path / "out", "--tasks", "sst2", family="bert")
    found = read(tmp_path / "out/sst2/seed-42/result.json")
    assert [entry["epoch"] for entry in found["epochs"]] == [1, 2]
    assert all(entry.keys() >= {"loss", "validation_loss", "accuracy", "f1"} for entry in found["epochs"])
    assert found["training_seconds"] > 0 < found["validation_seconds"]
    assert found["training_seconds"] + found["validation_seconds"] < found["seconds"] + 0.1
    assert "validation_loss" not in found["metrics"], "a loss is no score"


def test_a_loss_that_is_not_finite_is_refused():
    with pytest.raises(UserError, match="rte, seed 1: the loss is not finite in epoch 1: lower --lr"):
        tuning.tune(Flat(float("nan")), Scripted("best", []), settings(), seed=0, label="rte, seed 1")


class Broken(torch.nn.Module):
    """Learns without fault, and gives one logit that is no number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight, self.value = torch.nn.Parameter(torch.ones(1)), value

    def forward(self, inputs):
        logits = torch.zeros(len(inputs["input_ids"]), 2)
        logits[-1, 1] = self.value
        return logits

    def loss(self, inputs, targets):
        return self.weight.sum()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_validation_logits_that_are_not_finite_get_no_score(value):
    rows = encoding.Encoded([[1]] * 8, [(0,)] * 8)
    problem = classify.Classification("rte", rows, rows, [], {})
    with pytest.raises(
        UserError, match="rte, seed 1: the validation logits are not finite in epoch 1: lower"
    ):
        tuning.tune(Broken(value), problem, settings(), seed=0, label="rte, seed 1")


def test_metrics_are_those_of_scikit_learn_by_hand():
    found = classify.metrics([1, 1, 1, 0], [1, 1, 0, 1], 2)
    assert found == pytest.approx({"accuracy": 0.5, "f1": 2 / 3, "mcc": -1 / 3})
    three = classify.metrics([0, 1, 2, 2], [0, 1, 2, 0], 3)
    assert three["f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_mean_and_spread_are_over_seeds():
    def entry(value):
        whole = {"metrics": {"f1": value}, "kept_epoch": 1, "versions": {}, "command": "c", "metric": "f1"}
        keys = ("majority", "notes", "examples", "truncated", "settings", "data")
        return whole | dict.fromkeys(keys)

    found = summarise({1: entry(0.4), 2: entry(0.8)})
    assert (found["score"], found["n"]) == (pytest.approx(0.6), 2)
    assert found["spread"] == pytest.approx(0.08**0.5)
    assert summarise({1: entry(0.4)})["spread"] is None


# --- the program ---


def test_predictions_have_the_official_form_and_ids(models, tmp_path):
    write_sst2(tmp_path / "data", valid=5)
    run(models, tmp_path / "data", tmp_path / "out", "--tasks", "sst2")
    found = read(tmp_path / "out/sst2/seed-42/predictions.json")
    assert list(found) == ["sst2"] and list(found["sst2"]) == ["predictions"]
    assert [row["id"] for row in found["sst2"]["predictions"]] == [f"sst2_{n}" for n in range(5)]
    assert all(set(row) == {"id", "pred"} and row["pred"] in (0, 1) for row in found["sst2"]["predictions"])


def write_rte(data: Path, *, valid: int) -> None:
    for split, count in (("train", 8), ("valid", valid)):
        rows = [{"sentence1": "The dog", "sentence2": "sees", "label": n % 2} for n in range(count)]
        write_rows(data / f"rte.{split}.jsonl", rows)


def test_the_official_tree_gets_the_tasks_that_it_knows_and_a_line_says_which_it_does_not(
    models, tmp_path, capsys
):
    write_sst2(tmp_path / "data", valid=5)
    write_rte(tmp_path / "data", valid=139)
    tree = ["--results", str(tmp_path / "results")]
    run(models, tmp_path / "data", tmp_path / "out", "--tasks", "sst2", "rte", *tree)
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert files == [tmp_path / "results/llama/main/finetune/rte/predictions.json"]
    assert read(files[0]) == read(tmp_path / "out/rte/seed-42/predictions.json")
    assert len(read(files[0])["rte"]["predictions"]) == 139
    assert "the official results tree has no place for sst2: only --out" in capsys.readouterr().out


def test_the_seed_decides_and_nothing_else(models, tmp_path):
    write_sst2(tmp_path / "data", train=16, valid=16)
    found = []
    for out, seeds in (("a", "2 1"), ("b", "1")):
        tuned = run(models, tmp_path / "data", tmp_path / out, "--tasks", "sst2", "--seeds", *seeds.split())
        assert tuned["tasks"]["sst2"]["submitted"] == int(seeds.split()[0])
        found += [read(tmp_path / f"{out}/sst2/seed-{seed}/result.json")["epochs"] for seed in seeds.split()]
    assert found[1] == found[2] != found[0]
    one, other = ((tmp_path / out / "sst2/seed-1/predictions.json").read_bytes() for out in "ab")
    assert one == other


def test_what_is_finished_is_not_run_again_and_the_rest_goes_on(models, tmp_path, capsys, monkeypatch):
    write_sst2(tmp_path / "data")
    for split in ("train", "valid"):
        write_rows(
            tmp_path / f"data/cola.{split}.jsonl", [{"sentence": "x", "label": n % 2} for n in range(8)]
        )
    arguments = (models, tmp_path / "data", tmp_path / "out", "--tasks", "sst2", "cola")
    whole = tuning.tune

    def stop_at_cola(*args, label, **more):
        if label.startswith("cola"):
            raise KeyboardInterrupt
        return whole(*args, label=label, **more)

    monkeypatch.setattr(tuning, "tune", stop_at_cola)
    with pytest.raises(KeyboardInterrupt):
        run(*arguments)
    made = read(tmp_path / "out/finetune.json")["tasks"]["sst2"]
    monkeypatch.setattr(tuning, "tune", whole)
    assert run(*arguments)["tasks"].keys() == {"sst2", "cola"}
    assert "sst2, seed 42: already there" in capsys.readouterr().out
    monkeypatch.setattr(tuning, "tune", None)
    assert run(*arguments)["tasks"]["sst2"] == made
    for change in (["--lr", "2e-3"], ["--seed", "7"], ["--train-limit", "9"]):
        with pytest.raises(TypeError):
            run(*arguments, *change)
    (tmp_path / "out/sst2/seed-42/predictions.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TypeError):
        run(*arguments)


def test_seeds_are_summed_up_over_several_calls(models, tmp_path):
    write_sst2(tmp_path / "data")
    for seed in ("1", "2"):
        found = run(models, tmp_path / "data", tmp_path / "out", "--tasks", "sst2", "--seed", seed)["tasks"][
            "sst2"
        ]
    assert (found["n"], set(found["by_seed"]), len(found["commands"])) == (2, {"1", "2"}, 2)
    assert found["submitted"] == 2, "that of the last call"
    found = run(models, tmp_path / "data", tmp_path / "out", "--tasks", "sst2", "--lr", "2e-3")["tasks"][
        "sst2"
    ]
    assert set(found["by_seed"]) == {"42"}, "seeds with another learning rate are no part of the mean"


def test_limits_are_applied_and_said(models, tmp_path, capsys):
    write_sst2(tmp_path / "data")
    data, out = tmp_path / "data", tmp_path / "out"
    found = run(models, data, out, "--tasks", "sst2", "--limit", "10")["tasks"]["sst2"]
    assert found["examples"] == {"train": 10, "valid": 10}
    assert "only the first 10 training and validation examples" in capsys.readouterr().out
    found = run(models, data, out, "--tasks", "sst2", "--train-limit", "10")["tasks"]["sst2"]
    assert found["examples"] == {"train": 10, "valid": 24}
    assert found["notes"] == ["trained on 10 of 32 examples, drawn by the seed"]


def test_a_task_with_other_rows_than_the_official_ones_says_so(models, tmp_path):
    rows = [{"sentence1": "a", "sentence2": "b", "label": n % 2} for n in range(4)]
    for split in ("train", "valid"):
        write_rows(tmp_path / f"data/full_eval/glue_filtered/rte.{split}.jsonl", rows)
    found = run(models, tmp_path / "data", tmp_path / "out", "--tasks", "rte", family="bert")
    assert found["tasks"]["rte"]["notes"] == ["rte.valid.jsonl has 4 rows, the official file 139"]


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_inputs_beyond_the_models_positions_are_cut_with_one_warning(models, tmp_path, capsys, family):
    rows = [{"sentence": "dog " * (n * 100 + 1), "label": n} for n in (0, 1)]
    for split in ("train", "valid"):
        write_rows(tmp_path / f"data/sst2.{split}.jsonl", rows)
    found = run(
        models, tmp_path / "data", tmp_path / "out", "--tasks", "sst2", "--seeds", "1", "2", family=family
    )
    expected = "sst2: 1 training and 1 validation inputs are longer than 64 tokens and were cut"
    told = capsys.readouterr()
    assert told.err.count(expected) == 1 and told.out.splitlines()[-1] == expected, "a result says so too"
    assert found["tasks"]["sst2"]["settings"]["max_length"] == 64
    assert found["tasks"]["sst2"]["truncated"] == [expected]


def test_random_weights_are_of_the_same_config_and_drawn_by_the_seed(models, tmp_path):
    config = backbone.read_config(models / "gpt2")
    torch.manual_seed(1)
    random_body = backbone.load_backbone(models / "gpt2", config, random_weights=True)
    trained = backbone.load_backbone(models / "gpt2", config)
    assert random_body.wte.weight.shape == trained.wte.weight.shape
    assert not torch.allclose(random_body.wte.weight, trained.wte.weight)
    write_sst2(tmp_path / "data")
    arguments = (models, tmp_path / "data", tmp_path / "out", "--tasks", "sst2")
    losses = []
    for seed in ("1", "2"):
        assert run(*arguments, "--random-weights", "--seed", seed)["random_weights"] is True
        losses.append(read(tmp_path / f"out/sst2/seed-{seed}/result.json")["epochs"][0]["loss"])
    run(models, tmp_path / "data", tmp_path / "trained", "--tasks", "sst2", "--seed", "1")
    losses.append(read(tmp_path / "trained/sst2/seed-1/result.json")["epochs"][0]["loss"])
    assert len(set(losses)) == 3
    with pytest.raises(UserError, match="finetune.json holds results of another model"):
        run(*arguments)


def test_roberta_reads_fewer_tokens_than_its_table_has_rows():
    from transformers import BertConfig, LlamaConfig, RobertaConfig

    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    made = [kind(max_position_embeddings=66, **size) for kind in (RobertaConfig, BertConfig, LlamaConfig)]
    assert [backbone.longest_input(config) for config in made] == [64, 66, 66]


def damaged(models: Path, folder: Path, family: str, change) -> Path:
    """A copy of a model whose weights went through `change`."""
    folder.mkdir(parents=True)
    for path in (models / family).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("family", "change", "complaint"),
    [
        (
            "llama",
            lambda w: w.pop("model.layers.1.mlp.up_proj.weight"),
            r"missing keys: layers.1.mlp.up_proj.weight\)",
        ),
        ("bert", lambda w: w.pop("bert.encoder.layer.0.output.dense.bias"), "missing keys: encoder.layer.0"),
        (
            "gpt2",
            lambda w: w.update({"transformer.h.2.ln_1.bias": torch.ones(32)}),
            "unexpected keys: transformer.h.2",
        ),
        ("bert", lambda w: w.pop("cls.predictions.bias"), None),
        ("gpt2", lambda w: w.update({"transformer.h.0.attn.masked_bias": torch.tensor(-1e4)}), None),
    ],
)
def test_weights_that_do_not_fit_are_refused_but_for_the_old_head(
    models, tmp_path, family, change, complaint
):
    folder = damaged(models, tmp_path / "model", family, change)
    config = backbone.read_config(folder)
    if complaint is None:
        expected = AutoModel.from_pretrained(models / family).get_input_embeddings().weight
        assert torch.equal(backbone.load_backbone(folder, config).get_input_embeddings().weight, expected)
        return
    with pytest.raises(UserError, match=complaint) as error:
        backbone.load_backbone(folder, config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("start", [[], ["--random-weights"]])
def test_a_tokenizer_with_more_entries_than_embeddings_is_refused(models, tmp_path, start):
    write_sst2(tmp_path / "data")
    folder = damaged(models, tmp_path / "models/gpt2", "gpt2", lambda weights: None)
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens(["dog"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="gpt2 has 301 entries up to .*, the model 300 embeddings"):
        run(
            tmp_path / "models", tmp_path / "data", tmp_path / "out", "--tasks", "sst2", *start, family="gpt2"
        )


@pytest.mark.parametrize(("family", "least"), [("bert", 5), ("llama", 3)])
def test_inputs_without_room_for_two_texts_are_refused(models, family, least):
    pair = [glue.Example("the dog", "sees", 0), glue.Example("the dog", "sees", 1)]
    config = backbone.read_config(models / family)

    def prepare(length):
        loaded = load_tokenizer(models / family)
        return classify.prepare("rte", pair, pair, loaded, config, settings(max_length=length))

    assert [len(ids) for ids in prepare(least).train.ids] == [least, least]
    for length in (1, least - 1):
        with pytest.raises(
            UserError, match=f"rte: inputs of {length} tokens .* --max-length {least} or more"
        ):
            prepare(length)


def test_users_mistakes_are_told_before_any_model_is_loaded(models, tmp_path, monkeypatch):
    write_sst2(tmp_path / "data")
    write_rte(tmp_path / "data", valid=4)
    monkeypatch.setattr(backbone, "load_backbone", None)
    tries = {
        "no task 'sst' to fine-tune on: did you mean sst2": ["--tasks", "sst"],
        "qnli needs qnli.train.jsonl and qnli.valid.jsonl, and it is not in": ["--tasks", "qnli"],
        "whole tasks: leave out --limit, or --results": ["--tasks", "sst2", "--limit", "2", "--results", "r"],
        "whole tasks: leave out --train-limit": ["--tasks", "rte", "--train-limit", "4", "--results", "r"],
        "rte.valid.jsonl has 4 rows, the official file 139: .* leave out --results": [
            *("--tasks", "sst2", "rte", "--results", "r")
        ],
        "leave out --random-weights": ["--tasks", "sst2", "--random-weights", "--results", "r"],
        "cannot be the name of a folder": ["--tasks", "sst2", "--results", "r", "--model-name", "a/b"],
    }
    for complaint, arguments in tries.items():
        with pytest.raises(UserError, match=complaint):
            run(models, tmp_path / "data", tmp_path / "out", *arguments)
    with pytest.raises(UserError, match="no folder .*nowhere: correct --data"):
        run(models, tmp_path / "nowhere", tmp_path / "out", "--tasks", "sst2")
    with pytest.raises(UserError, match="sst2.train.jsonl is not a folder: name another one with --out"):
        run(models, tmp_path / "data", tmp_path / "data/sst2.train.jsonl", "--tasks", "sst2")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="--device cuda:9 cannot be used"):
        run(models, tmp_path / "data", tmp_path / "out", "--tasks", "sst2", "--device", "cuda:9")


def test_the_program_explains_itself_and_names_mistakes_without_loading_torch(tmp_path):
    for arguments, status, said in (
        (["--help"], 0, "python -m eval.finetune"),
        (
            ["nowhere", "--tasks", "rte", "--data", "nowhere", "--out", "out"],
            2,
            "error: there is no folder nowhere",
        ),
    ):
        code = (
            f"import sys, runpy; sys.argv = ['x', *{arguments}]\n"
            "try: runpy.run_module('eval.finetune', run_name='__main__')\n"
            "except SystemExit as end: code = end.code\n"
            "loaded = [m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules]\n"
            "sys.exit(f'loaded {loaded}' if loaded else code)"
        )
        root = Path(__file__).parent.parent
        done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
        assert done.returncode == status and said in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
