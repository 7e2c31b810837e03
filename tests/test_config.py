from pathlib import Path

import pytest

from babylm_data.errors import UserError
from distill.config import DistillConfig
from distill.jobs import jobs_of_config
from train_teachers.config import TrainConfig, describe, dump_config, load_config

ROOT = Path(__file__).parent.parent
SHIPPED = [
    *((TrainConfig, path) for path in sorted((ROOT / "train_teachers/configs").glob("*.yaml"))),
    *((DistillConfig, path) for path in sorted((ROOT / "distill/configs").glob("*.yaml"))),
]

YAML = """
model: {family: gpt2, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2}
data: {path: runs/data, seq_len: 16, words: 1_000}
optim: {lr: 7e-4}
batch_size: 4
"""
DISTILL = """
teachers: {a: {path: runs/a/export}, b: {path: runs/b/export}}
losses:
  hard: {weight: 0.5}
  soft: {weight: {a: 0.25, b: 0.25}}
  hidden: {weight: {a: 0.1}, layer_map: {a: [{teacher: 4, student: 2}]}}
"""


@pytest.fixture
def load(tmp_path):
    def load(text, *overrides, schema=TrainConfig):
        (tmp_path / "my-run.yaml").write_text(text)
        return load_config(schema, tmp_path / "my-run.yaml", list(overrides))

    return load


@pytest.mark.parametrize(("schema", "path"), SHIPPED, ids=lambda value: getattr(value, "name", None))
def test_every_shipped_config_loads_builds_its_model_and_opens_with_a_comment(schema, path, data_folder):
    import torch

    from babylm_data.tokenizer_files import load_tokenizer
    from train_teachers.language_model import build

    config = load_config(schema, path)
    assert config.name == path.stem
    with torch.device("meta"):
        assert build(config.model, load_tokenizer(data_folder / "tokenizer"), seed=0)
    assert path.read_text().startswith("# ")


def test_a_float_may_be_written_as_7e_4_and_a_word_count_with_underscores(load):
    config = load(YAML)
    assert config.optim.lr == 0.0007
    assert config.data.words == 1000


def test_the_run_is_named_after_the_file(load):
    assert load(YAML).name == "my-run"


def test_an_override_changes_exactly_one_field(load):
    before, after = load(YAML), load(YAML, "optim.lr=1e-3")
    assert after.optim.lr == 1e-3
    assert after.model_copy(update={"optim": before.optim}) == before


def test_an_override_reaches_into_one_teacher_and_one_layer_map(load):
    config = load(
        YAML + DISTILL,
        "losses.soft.weight.b=0.75",
        "losses.hidden.layer_map.a=[{teacher: 3, student: 1}]",
        schema=DistillConfig,
    )
    assert config.losses.soft.weight == {"a": 0.25, "b": 0.75}
    assert config.losses.hidden.layer_map["a"][0].teacher == 3


def test_an_override_of_a_table_replaces_it(load):
    config = load(YAML + DISTILL, "losses.soft.weight={b: 0.5}", schema=DistillConfig)
    assert config.losses.soft.weight == {"b": 0.5}
    with pytest.raises(UserError, match="teacher 'b' has a weight in no loss"):
        load(YAML + DISTILL, "losses.soft.weight={a: 0.5}", schema=DistillConfig)


def test_an_override_inside_a_table_keeps_its_siblings(load):
    config = load(
        YAML + DISTILL, "losses.soft.weight={b: 0.5}", "losses.soft.temperature=1.0", schema=DistillConfig
    )
    assert (config.losses.soft.weight, config.losses.soft.temperature) == ({"b": 0.5}, 1.0)
    config = load(YAML + DISTILL, "losses.hidden.layer_map.a[0].teacher=3", schema=DistillConfig)
    assert config.losses.hidden.layer_map["a"][0].model_dump() == {"teacher": 3, "student": 2}


def test_the_resolved_config_reads_back_to_the_same_value(load, tmp_path):
    config = load(YAML + DISTILL, schema=DistillConfig)
    (tmp_path / "resolved.yaml").write_text(dump_config(config))
    assert load_config(DistillConfig, tmp_path / "resolved.yaml") == config


def test_the_control_is_the_same_config_without_teachers_and_losses(load):
    config = load(YAML + DISTILL, schema=DistillConfig)
    control = config.control()
    assert control.name == "my-run-control"
    assert control == load(YAML, "name=my-run-control")
    assert config.revisions and not control.revisions  # nothing scores a control's


@pytest.mark.parametrize("text", ["4e5", "400000", "400_000", "4.0e5"])
def test_a_whole_number_is_whole_however_it_is_written(load, text):
    assert load(YAML, f"data.words={text}").data.words == 400_000


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my config.yaml", "my-config"),
        ("café (2).yaml", "caf-2-"),
        ("_x.yml", "x"),
        ("2026.yaml", "2026"),
        ("a.b-c_d.yaml", "a.b-c_d"),
    ],
)
def test_a_run_is_named_after_any_file(tmp_path, file, name):
    (tmp_path / file).write_text(YAML)
    assert load_config(TrainConfig, tmp_path / file).name == name


@pytest.mark.parametrize("name", ["2026", "007", "1e5", "1_000", "0x10", "1.50"])
def test_a_name_may_be_a_number_and_stays_as_it_is_written(load, name):
    assert load(YAML, f"name={name}").name == load(YAML, f"name='{name}'").name == name
    assert load(YAML, f"wandb={{project: {name}}}").wandb.project == name
    written = load(f"{YAML}\nname: {name}\nwandb: {{project: {name}}}\n")
    assert written.name == written.wandb.project == name


@pytest.mark.parametrize(
    "line", ["name: ${x}", "wandb: [1]", "wandb: ${nowhere}", "wandb: 3", "name: ${oc.env:NOWHERE}"]
)
def test_what_stands_in_the_place_of_a_name_is_one_line(load, line):
    with pytest.raises(UserError, match=r"my-run.yaml") as error:
        load(f"{YAML}\n{line}\n")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["[" * 100_000, "{a: " * 5000, "[" * 51 + "]" * 51, "'" * 5001, "x" * 5000])
def test_a_monstrous_override_is_one_line_that_does_not_echo_it(load, value):
    with pytest.raises(UserError) as error:
        load(YAML, f"seed={value}")
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("deep", ["[" * 100_000, "{a: " * 100_000, "\n- " + "- " * 5000, "[" * 51 + "]" * 51])
def test_a_config_nested_too_deeply_is_one_line(tmp_path, deep):
    (tmp_path / "deep.yaml").write_text(YAML + f"seed: {deep}")
    with pytest.raises(UserError, match=r"deep.yaml: nested too deeply") as error:
        load_config(TrainConfig, tmp_path / "deep.yaml")
    assert "\n" not in str(error.value)


BAD = {
    "unknown key names the nearest": ("optim.lrr=1", "optim: unknown key 'lrr' (nearest: 'lr')"),
    "a student's key": ("teachers={}", "'teachers' stands in files for python -m distill"),
    "a study's key": ("base=x", "'base' stands in files for python -m distill.study"),
    "unknown top-level key": ("batchsize=1", "unknown key 'batchsize' (nearest: 'batch_size')"),
    "text for a number": ("batch_size=many", "batch_size: "),
    "number as text": ("batch_size='4'", "batch_size: "),
    "fraction for a count": ("seed=1.5", "seed: "),
    "truth for a count": ("batch_size=true", "batch_size: "),
    "negative": ("data.words=-5", "data.words: "),
    "not a number": ("optim.lr=.nan", "optim.lr: "),
    "decay below 0": ("optim.weight_decay=-0.1", "optim.weight_decay: write a number from 0 on"),
    "decay without an end": ("optim.weight_decay={start: 0.1}", "optim.weight_decay.end: is not there"),
    "two means": ("averaging={ema: 0.05, tail: 0.2}", "averaging: averaging is by ema or over the tail"),
    "mean of all": ("averaging={ema: 0.5}", "averaging.ema: write a number up to 0.1"),
    "infinite": ("optim.lr=.inf", "optim.lr: "),
    "the text None": ("model.intermediate_size='None'", "write null"),
    "no family": ("model.family=lama", "model.family: "),
    "heads do not divide": ("model.num_attention_heads=5", "no multiple"),
    "too long a sequence": ("data.seq_len=999", "max_position_embeddings"),
    "micro batch does not divide": ("micro_batch_size=3", "no multiple"),
    "beta of one": ("optim.betas=[1.0, 0.95]", "optim.betas"),
    "neurons without Muon": ("optim={lr: 1e-3, per_neuron: true}", "belongs to optimizer: muon"),
    "warm-up and decay overlap": ("optim={lr: 1e-3, schedule: wsd, warmup: 0.9}", "overlap"),
    "odd rotary width": (
        "model={family: llama, hidden_size: 6, num_hidden_layers: 1, num_attention_heads: 2}",
        "even",
    ),
    "name leaves runs": ("name=../elsewhere", "name: "),
    "key without value": ("seed", "write key.path=value"),
    "value without key": ("=1", "write key.path=value"),
    "broken YAML in a value": ("seed=[", "override 'seed=['"),
    "broken path": ("[=1", "override '[=1'"),
    "section replaced by a number": ("optim=3", "optim: write a table of `key: value` lines, not 3"),
    "no value": ("name=", "override 'name=' has no value"),
    "a name that leaves letters": ("name='my run'", "name: write letters, digits, and - _ . between them"),
    "a name that is too long": (f"name={'a' * 300}", "name: write a text of at most 200 letters, not "),
    "a list for a text": ("data.path=[a, b]", 'data.path: write a text, not ["a", "b"]'),
    "a text for a list": ("optim.betas=high", "optim.betas: write a list, [a, b], not "),
    "a text for truth": ("competition=perhaps", 'competition: write true or false, not "perhaps"'),
    "a table for a number": ("batch_size={a: 1}", "batch_size: write a whole number"),
    "too few": ("optim.betas=[0.9]", "optim.betas"),
    "a project with a slash": ("wandb.project=babylm/strict-small", "wandb takes no / in a name"),
    "a project with signs": ("wandb.project='a#b%c'", "wandb takes no # % in a name"),
    "too many blocks": (
        "model.num_hidden_layers=1000000",
        "num_hidden_layers: write a number up to 1000, not 1000000",
    ),
    "too wide": ("model.hidden_size=1000000000", "hidden_size: write a number up to 65536"),
    "too long a table": ("model.max_position_embeddings=10000000000", "write a number up to 1048576"),
    "too many validations": ("validations=1000000000", "validations: write a number up to 100000"),
    "more places than there are": ("data.offset=1000000000000", "there are no more than seq_len"),
    "missing value of an interpolation": ("name=${nowhere}", "nowhere"),
}


@pytest.mark.parametrize(("override", "expected"), BAD.values(), ids=BAD)
def test_a_bad_value_is_one_line_that_names_file_and_key(load, override, expected):
    with pytest.raises(UserError) as error:
        load(YAML, override)
    message = str(error.value)
    assert expected in message
    assert "\n" not in message
    assert not any(
        words in message for words in ("Input should", "valid dictionary", "should match", "instance")
    )
    assert "my-run.yaml" in message or "override" in message


BAD_DISTILL = {
    "a weight for no teacher": ("losses.soft.weight.c=1.0", "'c'"),
    "a teacher without weight": ("teachers.c={path: x}", "'c' has a weight in no loss"),
    "a zero weight": ("losses.soft.weight.a=0.0", "losses.soft.weight.a: "),
    "a map without weight": ("losses.hidden.layer_map.b=[{teacher: 1, student: 1}]", "same teachers"),
    "a student layer that is not there": (
        "losses.hidden.layer_map.a=[{teacher: 1, student: 3}]",
        "no index 3",
    ),
    "an empty map": ("losses.hidden.layer_map.a=[]", "layer_map.a"),
    "a pair without direction": ("losses.hidden.layer_map.a=[[4, 2]]", "layer_map.a"),
    "a name with a dot": ("teachers={a.b: {path: x}}", "teachers"),
    "a schedule with a misspelt key": (
        "losses.soft.weight.a={start: 1.0, ende: 0.0}",
        "weight.a: unknown key 'ende'",
    ),
    "a step that never comes": (
        "losses.soft.temperature={start: 4.0, end: 1.0, shape: step}",
        "soft.temperature: shape: step needs until below 1",
    ),
    "temperature zero": ("losses.soft.temperature=0.0", "temperature"),
}


@pytest.mark.parametrize(("override", "expected"), BAD_DISTILL.values(), ids=BAD_DISTILL)
def test_an_impossible_distillation_is_refused(load, override, expected):
    with pytest.raises(UserError, match="my-run.yaml") as error:
        load(YAML + DISTILL, override, schema=DistillConfig)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        YAML + "batch_size: 8\n",
        YAML + "seed: [",
        "just text",
        "",
        "- 1\n- 2\n",
        YAML.replace("batch_size: 4", ""),
    ],
    ids=["doubled key", "broken YAML", "a text", "empty", "a list", "missing key"],
)
def test_a_file_that_is_no_config_is_one_line(load, text):
    with pytest.raises(UserError, match="my-run.yaml") as error:
        load(text)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    Path(tmp_path / "nursery.yaml").touch()
    with pytest.raises(UserError, match=r"nursry.yaml: no such config file \(nearest: nursery.yaml\)"):
        load_config(TrainConfig, tmp_path / "nursry.yaml")
    with pytest.raises(UserError, match="nothing.yaml: no such config file"):
        load_config(TrainConfig, tmp_path / "nothing.yaml")


def test_help_describes_every_field_of_every_section():
    text = describe(DistillConfig)
    for name in ("layer_map", "temperature", "seq_len", "final_lr", "intermediate_size", "path", "student"):
        assert f"{name}" in text


RECIPES = Path(__file__).parent.parent / "distill/configs"


def test_a_run_of_another_name_and_seed_has_a_control_teachers_and_a_cache_of_its_own():
    config = load_config(DistillConfig, RECIPES / "ensemble-3.yaml", ["name=x", "seed=3"])
    names = [teacher.path.split("/")[1] for teacher in config.teachers.values()]
    assert names == ["x-control", "strict-small-llama-seed13", "strict-small-llama-seed23"]
    assert list(config.caches) == ["runs/x-targets"] and config.control().name == "x-control"
    named = ["name=x", "control_name=y", "init.path=runs/{control}/export"]
    config = load_config(DistillConfig, RECIPES / "ensemble-3.yaml", named)
    assert config.teachers["first"].path == config.control().init.path == "runs/y/export"
    with pytest.raises(
        UserError,
        match=r"\{contol\} is not known in teachers and init: write \{name\}, \{seed\} or \{control\}",
    ):
        load_config(DistillConfig, RECIPES / "ensemble-3.yaml", ["teachers.first.path=runs/{contol}/export"])


def test_a_recipe_under_another_name_is_taught_by_its_own_control(monkeypatch):
    monkeypatch.chdir(RECIPES.parent.parent)
    jobs = jobs_of_config(["distill/configs/born-again.yaml", "name=x", "seed=1"])
    assert [(job.kind, name) for name, job in jobs.items()] == [
        ("control", "x-control"),
        ("cache", "runs/x-targets"),
        ("student", "x"),
    ]
    assert jobs["x-control"].config.seed == 1 and jobs["x-control"].words[-1] == "--control"
