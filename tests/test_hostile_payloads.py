"""Files that carry code, or names that lead elsewhere: refused in one line or not read at all, and nothing of it runs.

Each payload would make a file named `ran` where it is believed; who seals a folder anew has an intact one.
"""

import json
import struct
import zipfile
from io import BytesIO
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from shutil import copytree

import jinja2
import numpy as np
import pytest
import tiny_models
import yaml
from safetensors.torch import load_file, save_file
from test_soft_targets import make_cached as make_cached

from babylm_data.errors import UserError
from babylm_data.hub import find_folder
from babylm_data.sealed import SEAL, seal, sha256
from babylm_data.tokens import open_data, open_tokens
from distill.__main__ import objective_of
from eval.harness.__main__ import main as harness
from eval.scorer.model import load_for_scoring
from eval.submission.bundle import build
from eval.submission.push.branches import planned
from train_teachers.config import TrainConfig, load_config
from train_teachers.pretrained import load_pretrained
from train_teachers.stage import check

MARKER = "ran"
CODE = f"open({MARKER!r}, 'w').close()"  # where the current folder is
PICKLE = f"cbuiltins\nexec\n(V{CODE}\ntR.".encode()  # written by hand: exec(CODE) when it is read
YAML_TAG = f"!!python/object/apply:builtins.exec [{json.dumps(CODE)}]"
TEMPLATE = f"{{{{ cycler.__init__.__globals__.__builtins__.exec({json.dumps(CODE)}) }}}}"
OWN_CODE = {
    "config.json": {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"},
    },
    "tokenizer_config.json": {"tokenizer_class": "T", "auto_map": {"AutoTokenizer": ["own.T", None]}},
}


def zipped(name: str) -> bytes:
    """A zip file whose one member is an object array of NumPy, or pickled tensors as torch has them."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, object_array() if name.endswith(".npy") else PICKLE)
    return file.getvalue()


def object_array() -> bytes:
    """An array of Python objects as NumPy saves it: a header, and a pickle."""
    file = BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": (1,)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + PICKLE


def lying_header(**entry) -> bytes:
    """A file of safetensors whose header says other things of its tensor than are there."""
    right = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"model.norm.weight": right | entry}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(8)


CARRIERS = {
    "a pickle": PICKLE,
    "a zip of pickled tensors": zipped("archive/data.pkl"),
    "an object array": object_array(),
    "a zip of object arrays": zipped("weight.npy"),
}


@pytest.fixture(autouse=True)
def nothing_ran(workplace, monkeypatch):
    """In a new folder; whatever a test reads there, no code of it may run, though the user would say yes."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    monkeypatch.setattr(
        "torch.load", lambda *_, **__: pytest.fail("a pickle was opened")
    )  # though it may refuse
    yield
    assert not list(Path.cwd().rglob(MARKER)), "code of a payload ran"


def line(call, *arguments, **options) -> str:
    """The one line of the UserError that a call raises."""
    with pytest.raises(UserError) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def unsealed(folder: Path, place: str) -> Path:
    """A copy without a seal, as of a folder from elsewhere."""
    copytree(folder, place)
    Path(place, SEAL).unlink(missing_ok=True)
    return Path(place)


def test_the_payloads_run_where_they_are_believed():
    for believe in (
        lambda: ForkingPickler.loads(PICKLE),
        lambda: yaml.UnsafeLoader(YAML_TAG).get_single_data(),
        lambda: jinja2.Environment().from_string(TEMPLATE).render(),
    ):
        believe()
        Path(MARKER).unlink()


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"]
)
def test_a_teacher_whose_weights_carry_code_is_refused(teachers_folder, name, carrier):
    folder = unsealed(teachers_folder / "a", "teacher")
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(CARRIERS[carrier])
    assert "teacher" in line(load_pretrained, find_folder("teacher", absent="absent"))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "training_args.bin", "optimizer.pt", "adapter.npz"])
def test_what_carries_code_beside_sound_weights_is_not_read(teachers_folder, name):
    folder = unsealed(teachers_folder / "a", "teacher")
    (folder / name).write_bytes(PICKLE)
    load_pretrained(find_folder("teacher", absent="absent"))


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_an_index_of_shards_that_carry_code_is_refused(teachers_folder, index):
    folder = unsealed(teachers_folder / "a", "teacher")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes(PICKLE)
    (folder / index).write_text(json.dumps({"weight_map": {"model.norm.weight": "pytorch_model.bin"}}))
    assert "teacher" in line(load_pretrained, folder)


def test_first_weights_that_carry_code_are_refused_before_a_folder_is_made(train_tiny, teachers_folder):
    folder = unsealed(teachers_folder / "a", "origin")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(PICKLE)
    assert "origin" in line(train_tiny, init={"path": "origin"}, competition=False)
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", ["module.safetensors", "optimizer.safetensors", "state.json"])
def test_a_checkpoint_that_carries_code_is_refused_though_it_was_sealed_anew(train_tiny, name):
    folder = train_tiny(data={"words": 100})
    (folder / "summary.json").unlink()
    newest = max((folder / "state").iterdir())
    for content in CARRIERS.values():
        (newest / name).write_bytes(content)
        seal(newest)
        assert "is no checkpoint of this kit" in line(train_tiny, data={"words": 100})


def test_a_checkpoint_of_other_shapes_is_refused_though_it_was_sealed_anew(train_tiny):
    folder = train_tiny()
    (folder / "summary.json").unlink()
    newest = max((folder / "state").iterdir())
    weights = load_file(newest / "module.safetensors")
    key = next(iter(weights))
    save_file(weights | {key: weights[key][:1].contiguous()}, newest / "module.safetensors")
    seal(newest)
    assert "is of another version of the kit" in line(train_tiny)


@pytest.mark.parametrize("name", ["train.starts.npy", "train.bin"])
def test_a_cache_that_carries_code_is_refused_though_it_was_sealed_anew(make_cached, name):
    config, _ = make_cached({"top": 4})
    for content in (*CARRIERS.values(), b""):
        Path("cache-a", name).write_bytes(content)
        seal(Path("cache-a"))
        assert "cache-a is no cache of this kit" in line(check, config, objective_of(config))


@pytest.mark.parametrize("dtype", ["O", "object", "float64", "V8", ["u2", "O"], None, {}])
def test_tokens_that_would_be_read_as_objects_are_refused(data_folder, dtype):
    folder = unsealed(data_folder, "data")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"dtype": dtype}))
    seal(folder)
    open_data(folder)
    assert "manifest.json says that tokens are" in line(open_tokens, folder, "train")


@pytest.mark.parametrize("file", OWN_CODE)
def test_code_beside_a_model_is_refused_and_never_run(file):
    """As with what `auto_map` names."""
    folder = tiny_models.save(Path("model"))
    content = json.loads((folder / file).read_text()) | OWN_CODE[file]
    (folder / file).write_text(json.dumps(content))
    (folder / "own.py").write_text(CODE)
    said = line(load_for_scoring, folder)
    assert "code of its own to load" in said and "trust_remote_code=False" in said
    if file == "config.json":
        assert "code of its own to load" in line(load_pretrained, folder)


def test_a_template_for_conversations_is_not_rendered():
    folder = tiny_models.save(Path("model"))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": TEMPLATE}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    model, tokenizer = load_for_scoring(folder)
    assert tokenizer.chat_template == TEMPLATE
    tiny_models.sentence_logprobs(model, tokenizer, ["The dog sees."])


@pytest.mark.parametrize("place", ["a config", "an override", "the config of a run"])
def test_a_tag_of_python_in_yaml_is_refused(make_config, train_tiny, place):
    if place == "the config of a run":
        (train_tiny() / "config.yaml").write_text(f"seed: {YAML_TAG}\n")
        assert "config.yaml" in line(train_tiny)
        return
    Path("config.yaml").write_text("seed: 0\n" if place == "an override" else f"seed: {YAML_TAG}\n")
    overrides = [f"seed={YAML_TAG}"] if place == "an override" else []
    assert "config.yaml" in (said := line(load_config, TrainConfig, "config.yaml", overrides)) or (
        "override" in said
    )


def test_task_files_that_may_run_code_are_not_read_unless_it_is_allowed():
    tiny_models.save(Path("model"))
    Path("tasks").mkdir()
    Path("tasks/own.yaml").write_text("task: own\ndataset_path: json\ndoc_to_text: !function own.text\n")
    Path("tasks/own.py").write_text(CODE)
    words = "model --tasks own --include-path tasks --out out".split()
    assert "task files of lm_eval can run code: look through tasks, and add --allow-code" in line(
        harness, words
    )


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/../../x", "~/x", "a b/c", "a/b/c", "$(id)", "-x", "a\nb"]
)
def test_a_name_of_a_model_that_leads_elsewhere_is_asked_of_no_hub(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked"))
    assert line(find_folder, name, absent="absent") == "absent"


@pytest.mark.parametrize(
    "name",
    ["../x", "/tmp/x", "a/../../x", "..", ".", "a\nb", "x; touch ran", "$(touch ran)", "`ran`", "a|b", "-rf"],
)
def test_a_name_of_a_run_that_leads_elsewhere_is_refused(make_config, name):
    values = make_config().model_dump(mode="json") | {"name": name}
    Path("config.yaml").write_text(json.dumps(values))
    assert "config.yaml: name: write letters, digits, and - _ . between them" in line(
        load_config, TrainConfig, "config.yaml"
    )


@pytest.mark.parametrize("name", ["../secret", "/{place}/secret", "sub/../../secret"])
def test_a_seal_that_names_a_file_outside_its_folder_is_damaged(data_folder, name):
    """Or a push would send it."""
    folder = unsealed(data_folder, "data")
    Path("secret").write_text("secret")
    digests = {name.replace("/{place}", str(Path.cwd())): sha256(Path("secret"))}
    (folder / SEAL).write_text(json.dumps(digests, indent=1) + "\n")
    assert f"{SEAL} is damaged" in line(open_data, folder)


@pytest.mark.parametrize("below", ["submission", "submission/export"])
def test_a_link_out_of_a_submission_is_not_sent(runs_template, below):
    copytree(runs_template, "runs")
    run = Path("runs/nursery")
    build(run, partial=True)
    Path("secret").write_text("secret")
    (run / below / "notes.txt").symlink_to(Path("secret").resolve())
    assert "notes.txt was put there after" in line(planned, run, "someone/baby")


@pytest.mark.parametrize(
    "content",
    [
        lying_header(data_offsets=[0, 2**40]),
        lying_header(data_offsets=[-8, 0]),
        lying_header(shape=[2**40]),
        lying_header(shape=[2**63, 2**63]),
        lying_header(dtype="O"),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
    ],
    ids=range(8),
)
def test_weights_that_lie_about_their_sizes_are_refused(teachers_folder, content):
    folder = unsealed(teachers_folder / "a", "teacher")
    (folder / "model.safetensors").write_bytes(content)
    assert "does not load" in line(load_pretrained, folder)
