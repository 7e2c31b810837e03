"""What the READMEs say is true: its commands parse, its files exist, its table is the committed records."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("babylm_data", "train_teachers", "distill", "eval", "bench")
READMES = [ROOT / "README.md", *(ROOT / name / "README.md" for name in (*PACKAGES, "slurm"))]
BLOCKS = [
    block
    for path in READMES
    for block in re.findall(r"```bash\n(.*?)```", path.read_text("utf-8"), flags=re.DOTALL)
]
COMMANDS = [
    line.split("  #")[0].split(" #")[0].strip() for block in BLOCKS for line in block.splitlines() if line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_what_exists(command):
    words = [word.rpartition("=")[2] for word in shlex.split(command)]
    while words[0].endswith(".yaml"):  # a variable before the command
        words = words[1:]
    if words[0] == "make":
        targets = re.findall(r"^([a-z./-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert words[1] in targets
    elif words[0].removeprefix(".venv/bin/") == "python":
        assert words[1] == "-m"
        assert find_spec(words[2]) is not None
    else:
        assert words[0] in ("sbatch", "accelerate", "slurm/pipeline.sh", "slurm/study.sh")
    for word in words:
        if word.endswith((".yaml", ".slurm")):
            assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_of_a_package_stands_in_its_readme_and_nothing_that_is_not_there(package):
    text = (ROOT / package / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    (tree,) = (block for language, block in blocks if not language)
    listed = set()
    for line in tree.splitlines():
        for part in re.split(r",\s*", line.split("  ")[0].strip()):
            found = sorted((ROOT / package).glob(part.rstrip("/")))
            assert found, f"{package}/{part}"
            listed |= set(found)
    modules = (path for path in (ROOT / package).rglob("*.py") if not path.name.startswith("__"))
    missing = [path.name for path in modules if not listed & {path, *path.parents}]
    assert not missing, f"{package}/ has modules that its README does not name: {missing}"


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_every_link_leads_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / target).exists(), target


def test_the_first_screen_has_the_line_a_picture_and_a_table():
    first = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40]
    assert any(line.startswith("make submission") for line in first)
    assert any(line.startswith("![") for line in first) and any(
        line.startswith("| model |") for line in first
    )


CONFIGS = {path.stem: path for path in sorted((ROOT / "distill/configs").glob("*.yaml"))}


def made_by(path):
    """The config that `runs/NAME/export` is made by; None for a hub name."""
    name = Path(path).parent.name
    if (student := name.removesuffix("-control")) in CONFIGS:
        return CONFIGS[student]
    return ROOT / f"train_teachers/configs/{name}.yaml" if path.startswith("runs/") else None


@pytest.mark.parametrize("recipe", CONFIGS)
def test_the_teachers_of_a_recipe_are_made_by_a_config_for_its_data(recipe):
    from distill.config import DistillConfig
    from train_teachers.config import TrainConfig, load_config
    from train_teachers.stand_ins import config_of_run

    student = load_config(DistillConfig, CONFIGS[recipe])
    for name, teacher in student.teachers.items():
        if not (path := made_by(teacher.path)):
            assert teacher.model, f"--check needs a shape for {teacher.path}"
            continue
        schema = DistillConfig if path in CONFIGS.values() else TrainConfig
        config = load_config(schema, config_of_run(path.parent, path.stem))
        assert (config.data.path, config.data.vocab_size or student.data.vocab_size) == (
            student.data.path,
            student.data.vocab_size,
        ), name


@pytest.mark.parametrize("preset", ["nursery", "cpu-hour"])
def test_the_models_of_a_preset_differ_in_nothing_but_their_shape_and_what_was_tuned_for_it(preset):
    from distill.config import DistillConfig
    from train_teachers.config import TrainConfig, load_config

    student = load_config(DistillConfig, CONFIGS[preset])
    assert student.data.path == f"runs/{preset}-data"
    assert list(student.teachers) == ["llama", "gpt2"]
    for family, teacher in student.teachers.items():
        config = load_config(TrainConfig, ROOT / f"train_teachers/configs/{preset}-{family}.yaml")
        assert teacher.path == f"runs/{config.name}/export"
        assert config.model.family == family
        tuned = ("weight_decay",) if preset == "nursery" else ()
        optim = config.optim.model_copy(update={name: getattr(student.optim, name) for name in tuned})
        own = {"name": student.name, "model": student.model, "revisions": True, "optim": optim}
        own |= {
            name: getattr(student, name) for name in ("control_name", "words_scale", "teachers", "losses")
        }
        assert student.model_dump() == student.model_validate(config.model_dump() | own).model_dump()


RECIPES = [
    name
    for name in CONFIGS
    if not name.endswith("-tiny") and name not in ("nursery", "nursery-cached", "cpu-hour")
]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_a_twin_a_line_in_readme_and_says_where_it_is_from_and_what_it_takes(name):
    assert f"{name}-tiny" in CONFIGS and f"`{name}`" in (ROOT / "distill/README.md").read_text(
        encoding="utf-8"
    )
    comment = CONFIGS[name].read_text(encoding="utf-8").split("model:")[0]
    for words in ("# Source", "iffer", " GB", "hours", "# Strict-small"):
        assert words in comment, words
