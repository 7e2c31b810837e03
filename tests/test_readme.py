"""What README says is true: its commands parse, its files exist, its table is the committed records."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line.split("  #")[0].split(" #")[0].strip() for block in BLOCKS for line in block.splitlines() if line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_what_exists(command):
    words = shlex.split(command)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert words[1] in targets
    elif words[:2] == ["python", "-m"]:
        assert find_spec(words[2]) is not None
    else:
        assert words[0] == "sbatch"
    for word in words:
        if word.endswith((".yaml", ".slurm")):
            assert (ROOT / word).is_file(), word


def test_every_file_of_the_tree_exists_and_every_module_stands_in_it():
    tree = re.search(r"## What is where\n\n```\n(.*?)```", README, flags=re.DOTALL).group(1)
    folder, listed = None, set()
    for line in tree.splitlines():
        name = line.split("  ")[0].strip() or line.split()[0]
        if not line.startswith(" "):
            folder = name
            assert (ROOT / folder).is_dir(), folder
            continue
        for part in re.split(r",\s*", line[2:21].strip()):
            found = sorted((ROOT / folder).glob(part.rstrip("/")))
            assert found, f"{folder}{part}"
            listed |= set(found)
    for stage in ("babylm_data", "train_teachers", "distill"):
        modules = {path for path in (ROOT / stage).glob("*.py") if not path.name.startswith("__")}
        assert not {path.name for path in modules - listed - {ROOT / stage / "config.py"}} - {
            "errors.py",
            "prepare.py",
        }, stage


def test_the_preset_configs_agree_with_each_other():
    """Data, sequence length, optimiser and budget of a preset are the same for teachers, student and control."""
    from distill.config import DistillConfig
    from train_teachers.config import TrainConfig, load_config

    for preset in ("nursery", "cpu-hour"):
        student = load_config(DistillConfig, ROOT / f"distill/configs/{preset}.yaml")
        assert [t.path for t in student.teachers.values()] == [
            f"runs/{preset}-{family}/export" for family in ("llama", "gpt2")
        ]
        for family in ("llama", "gpt2"):
            teacher = load_config(TrainConfig, ROOT / f"train_teachers/configs/{preset}-{family}.yaml")
            assert teacher.data == student.data
            assert teacher.optim == student.optim
