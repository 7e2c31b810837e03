"""The one rule of structure, and what every module must not do."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UPSTREAM = {
    "babylm_data": {"babylm_data"},
    "train_teachers": {"babylm_data", "train_teachers"},
    "distill": {"babylm_data", "train_teachers", "distill"},
    "eval": {"babylm_data", "eval"},
}
MODULES = [path for stage in UPSTREAM for path in sorted((ROOT / stage).rglob("*.py"))]
BELIEVING = (
    ROOT / "tests/test_hostile_payloads.py"
)  # which shows that its payloads run where they are believed
EVERYTHING = MODULES + [
    path
    for folder in ("bench", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path != BELIEVING
]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_only_point_upstream(path):
    stage = path.relative_to(ROOT).parts[0]
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            top = name.split(".")[0]
            assert top not in UPSTREAM or top in UPSTREAM[stage], f"{path} imports {name}"
            assert not (isinstance(node, ast.Import) and top == "eval"), "write `from eval.x import y`"


FLOORS = [
    ("scorer",),
    ("tasks",),
    ("results",),
    ("finetune", "aoa", "harness", "compare", "sample"),
    ("runs",),
    ("probe",),
    ("report",),
    ("study",),
    ("submission",),
]
"""The rooms of `eval`, from the ground up: each knows its own and those on floors below."""
ROOMS = {room: {room}.union(*FLOORS[:floor]) for floor, rooms in enumerate(FLOORS) for room in rooms}


def imported(path: Path) -> set[str]:
    """The modules of `eval` that a module imports, wherever in it, as the parts of their names behind `eval`."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return {node.module.removeprefix("eval.") for node in nodes if (node.module or "").startswith("eval.")}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_eval_knows_those_on_floors_below_it(room):
    assert (ROOT / "eval" / room / "__init__.py").read_text().startswith('"""')
    for path in (ROOT / "eval" / room).rglob("*.py"):
        strange = {name for name in imported(path) if name.split(".")[0] not in ROOMS[room]}
        assert not strange, f"{named(path)} imports {strange}"


def test_eval_has_no_modules_beside_its_rooms():
    assert {path.stem for path in (ROOT / "eval").glob("*.py")} <= {"__init__", "__main__"}
    assert {path.name for path in (ROOT / "eval").iterdir() if path.is_dir()} - {"__pycache__"} == set(ROOMS)


PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
BUILT_IN = {"eval", "exec"}
CALLS = BUILT_IN | {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
CALLS |= {"torch.load", "torch.save", "torch.serialization.load", "torch.serialization.save"}
LOADERS = {"load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all"}
LOADERS |= {"Loader", "UnsafeLoader", "FullLoader", "CLoader", "CUnsafeLoader", "CFullLoader"}
OPTIONS = {"allow_pickle": False, "shell": False, "trust_remote_code": False, "weights_only": True}
"""What these may be, if they are given at all."""


def running_code(tree: ast.AST) -> list[str]:
    """What in a module would run code that a file or the hub brings, or that is made as it runs."""
    found, meant = [], {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            origin = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                name = f"{origin}{alias.name}"
                meant[alias.asname or alias.name] = name
                found += [name] if PICKLES & set(name.split(".")) or is_forbidden(name) else []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            first, dot, rest = ast.unparse(node).removeprefix("builtins.").partition(".")
            name = f"{meant.get(first, first)}{dot}{rest}"
            called = name not in BUILT_IN or any(
                getattr(call, "func", None) is node for call in ast.walk(tree)
            )
            found += [name] if is_forbidden(name) and called else []
        if isinstance(node, (ast.Call, ast.Dict, ast.Subscript)):
            found += [name for name, value in options(node) if not is_allowed(name, value)]
    return found


def is_forbidden(name: str) -> bool:
    """Is this dotted name one that runs what it is given?"""
    holder, _, last = name.rpartition(".")
    return name in CALLS or (holder == "yaml" and last in LOADERS) or last == "ForkingPickler"


def options(node: ast.Call | ast.Dict | ast.Subscript) -> list[tuple[object, ast.AST]]:
    """Names and values: of a call `f(name=value)`, of a table `{"name": value}`; a key of one has none of its own."""
    if isinstance(node, ast.Call):
        return [(keyword.arg, keyword.value) for keyword in node.keywords]
    if isinstance(node, ast.Subscript):
        return [(node.slice.value, node)] if isinstance(node.slice, ast.Constant) else []
    pairs = zip(node.keys, node.values, strict=True)
    return [(key.value, value) for key, value in pairs if isinstance(key, ast.Constant)]


def is_allowed(name: object, value: ast.AST) -> bool:
    """Is this no option that could let code run, or its harmless value, written out?"""
    return name not in OPTIONS or (isinstance(value, ast.Constant) and value.value is OPTIONS[name])


@pytest.mark.parametrize("path", EVERYTHING, ids=named)
def test_nothing_runs_code_from_a_file_or_the_hub(path):
    assert not running_code(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import dill as d",
        "from torch import load",
        "import torch as t; t.load(path)",
        "torch.serialization.load(path)",
        "from yaml import unsafe_load",
        "yaml.UnsafeLoader(text).get_single_data()",
        "from os import system",
        "subprocess.getoutput(command)",
        "from multiprocessing.reduction import ForkingPickler",
        "from joblib import load",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.save(model, path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=asked)",
        "subprocess.run(command, shell=True)",
        "eval(text)",
        "builtins.exec(text)",
        "yaml.load(text, Loader=loader)",
        "yaml.unsafe_load(text)",
        "os.system(command)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=asked)",
        "AutoModel.from_pretrained(name, **{'trust_remote_code': True})",
        "options['trust_remote_code'] = True",
    ],
)
def test_what_would_run_code_is_seen(code):
    assert running_code(ast.parse(code))


def test_what_runs_no_code_is_allowed():
    harmless = (
        "model.eval(); json.load(file); np.load(path, allow_pickle=False); yaml.safe_load(text); evaluate(x)"
    )
    assert not running_code(ast.parse(harmless + "; from_pretrained(name, trust_remote_code=False)"))


PROGRAMS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for stage in [*UPSTREAM, "bench"]
    for path in (ROOT / stage).rglob("*.py")
    if "run_stage(main)" in path.read_text(encoding="utf-8")
    and path.name != "side.py"  # called by a program alone
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_explains_itself_without_loading_torch_on_a_terminal_of_any_kind(program):
    code = (
        f"import sys, runpy; sys.argv = ['{program}', '--help']\n"
        f"try: runpy.run_module('{program}', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end: code = end.code\n"
        "loaded = [m for m in ('torch', 'transformers', 'datasets', 'accelerate') if m in sys.modules]\n"
        "sys.exit(f'loaded {loaded}' if loaded else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"python -m {program}" in done.stdout and len(done.stdout.splitlines()) > 3


@pytest.mark.parametrize(
    "command",
    [
        "babylm_data --raw nowhere --out out",
        "train_teachers nowhere.yaml",
        "train_teachers train_teachers/configs/nursery-llama.yaml data.path=nowhere",
        "distill distill/configs/nursery.yaml losses.sofd.temperature=1.0",
        "eval nowhere --tasks blimp_filtered --data nowhere --out out",
        "eval.submission build nowhere",
        "eval.submission evaluate nowhere --data nowhere",
        "eval.submission check nowhere",
        "eval.submission push nowhere --repo user/name",
        "eval.submission standing nowhere",
    ],
)
def test_a_users_mistake_is_one_line_and_exit_status_2(command, tmp_path):
    words = [
        str(ROOT / word) if word.endswith("/nursery.yaml") or "nursery-llama" in word else word
        for word in command.split()
    ]
    import os

    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
