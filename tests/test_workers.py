"""Several models in one call: one process and one folder each, and a failure of one is no failure of the others."""

import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import tiny_models
from tiny_models import pair, write_rows

from babylm_data import processes
from babylm_data.errors import UserError
from eval.__main__ import main
from eval.finetune.request import FinetuneRequest
from eval.results import workers
from eval.results.official_tree import ResultsTree
from eval.results.request import ScoreRequest, TaskSet

OPTIONS = [
    "--tasks",
    "blimp_fast",
    "--data",
    "data",
    "--out",
    "scores",
    "--processes",
    "2",
    "--limit",
    "3",
    "--partial",
]


class OneByOne:
    """A pool without processes."""

    def __init__(self, _processes, _context, *, initializer, initargs) -> None:
        assert initializer is processes.begin and initargs[0] >= 1

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    map = staticmethod(map)


@pytest.fixture
def started(monkeypatch, workplace) -> list[ScoreRequest]:
    """What is asked for of each model. One called "broken" fails."""
    requests = []

    def score_one(request, *, shows_progress):
        assert not shows_progress
        requests.append(request)
        return "scored", 2 * (request.model == "broken")

    monkeypatch.setattr(workers, "score_one", score_one)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", OneByOne)
    write_rows(workplace / "data/fast_eval/blimp_fast/order.jsonl", [pair("a b", "b a", "order", "syntax")])
    return requests


def test_each_model_has_a_process_and_a_folder_of_its_own(started, capsys):
    main(["runs/x/revisions/chck_1M", "runs/y/export", *OPTIONS])
    assert {request.model: request.out for request in started} == {
        "runs/x/revisions/chck_1M": Path("scores/chck_1M"),
        "runs/y/export": Path("scores/y"),
    }
    for request in started:
        assert request.tasks == TaskSet(("blimp_fast",), Path("data"), limit=3)
        assert request.command == (
            f"python -m eval {request.model} --tasks blimp_fast --data data --limit 3 --out {request.out}"
        )
    assert "== chck_1M\nscored" in capsys.readouterr().out


def test_a_model_that_fails_is_named_after_the_others_are_scored(started):
    with pytest.raises(UserError, match=r"1 of 3 models have no scores \(broken\)"):
        main(["a", "broken", "c", *OPTIONS])
    assert len(started) == 3


def test_two_models_of_one_name_are_refused(started):
    with pytest.raises(UserError, match="two of the models are called x"):
        main(["a/x/export", "b/x", *OPTIONS])
    assert not started


@pytest.mark.parametrize(
    ("models", "options"),
    [
        (["chck_1M", "chck_2M"], []),
        (["chck_1M", "other"], ["--model-name", "m"]),
        (["one", "other"], ["--model-name", "m"]),
    ],
)
def test_in_a_results_tree_models_do_not_take_each_others_place(started, models, options):
    with pytest.raises(UserError, match="either revisions of one"):
        main([*models, *OPTIONS, "--results", "tree", *options])
    assert not started


def test_what_a_model_prints_and_how_it_ended_is_told(workplace):
    rows = [pair("The dog sees the cats.", "The dogs see the cat.", "order", "syntax")]
    write_rows(workplace / "data/fast_eval/blimp_fast/order.jsonl", rows)
    tiny_models.save(workplace / "model")
    tasks = TaskSet(("blimp_fast",), Path("data"))
    said, status = workers.score_one(ScoreRequest("model", tasks, Path("out")))
    assert status == 0 and "blimp_fast by phenomenon" in said
    assert (workplace / "out/scores.json").exists()
    said, status = workers.score_one(ScoreRequest("absent", tasks, Path("out")))
    assert status == 2 and "error: absent is neither a folder" in said


def told(request):
    print("told")


def refused(request):
    raise UserError("come again")


def broken(request):
    raise ValueError("no number")


def killed(request):
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize(
    ("action", "status", "said"),
    [
        (told, 0, "told"),
        (refused, 2, "error: come again"),
        (broken, 1, "ValueError: no number"),
        (killed, 1, "error: its process was killed"),
    ],
)
def test_a_part_in_a_process_of_its_own_fails_by_itself(capfd, action, status, said):
    assert workers.alone(action, ScoreRequest("m", TaskSet(()), Path("out"))) == status
    out, err = capfd.readouterr()
    assert said in out + err


def test_a_command_that_nobody_typed_asks_for_the_same():
    from eval.finetune.__main__ import parser

    request = FinetuneRequest(
        "m", ("rte",), (Path("d"),), Path("o"), (1, 2), limit=3, lr=1e-4, head="official", pool="first",
        stride=7, random_weights=True, precision="bf16", tree=ResultsTree(Path("t"), "m", "chck_1M"),
    )  # fmt: skip
    args = parser().parse_args(request.words)
    assert (args.model, args.tasks, args.data, args.out, args.seeds) == (
        "m",
        ["rte"],
        [Path("d")],
        Path("o"),
        [1, 2],
    )
    for name in ("limit", "lr", "head", "pool", "stride", "random_weights", "precision", "epochs", "device"):
        assert getattr(args, name) == getattr(request, name)
    assert (args.results, args.model_name, args.revision) == (Path("t"), "m", "chck_1M")


def test_a_process_ends_with_the_one_that_began_it(tmp_path):
    code = """
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from babylm_data.processes import begin

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=begin, initargs=(1,))
    print(pool.submit(os.getpid).result(), flush=True)
    os.kill(os.getpid(), 9)
"""
    with open(tmp_path / "said", "w") as said:  # a pipe would stay open for as long as the process lives
        assert subprocess.run([sys.executable, "-c", code], stdout=said, check=False).returncode == -9
    with suppress(psutil.NoSuchProcess):
        worker = psutil.Process(int((tmp_path / "said").read_text()))
        try:
            worker.wait(timeout=20)  # or a TimeoutExpired
        finally:
            worker.kill()


@pytest.mark.slow
def test_two_models_in_two_processes_score_as_each_does_alone(workplace):
    rows = [pair("The dog sees the cats.", "The dogs see the cat.", "order", "syntax")]
    write_rows(workplace / "data/fast_eval/blimp_fast/order.jsonl", rows)
    for seed in range(3):
        tiny_models.save(workplace / f"m{seed}", seed=seed)
    options = ["--tasks", "blimp_fast", "--data", "data", "--out"]
    main(["m0", "m1", "m2", *options, "many", "--processes", "2"])
    for seed in range(3):
        main([f"m{seed}", *options, f"alone{seed}"])
        name = "blimp_fast/items.json"
        assert (workplace / f"many/m{seed}" / name).read_bytes() == (
            workplace / f"alone{seed}" / name
        ).read_bytes()


class Killed(OneByOne):
    """A pool in which the process that scores "huge" is killed, and "large" where it is not alone."""

    def __init__(self, processes, *args, **options) -> None:
        super().__init__(processes, *args, **options)
        self.processes = processes

    def map(self, score, requests):
        for request in requests:
            if request.model == "huge" or (request.model == "large" and self.processes > 1):
                raise BrokenProcessPool
            yield score(request)


def test_where_a_process_is_killed_the_rest_is_scored_one_at_a_time(monkeypatch, capsys):
    monkeypatch.setattr(
        workers, "score_one", lambda request, *, shows_progress: (f"{request.model} {shows_progress}", 0)
    )
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Killed)
    names = ["small", "large", "huge", "last"]
    found = list(workers.score_each([ScoreRequest(name, TaskSet(()), Path(name)) for name in names], 2))
    killed = ("error: its process was killed, as it is where memory is short", 1)
    assert found == [("small False", 0), ("large True", 0), killed, ("last True", 0)]
    assert "warning: a process was killed" in capsys.readouterr().err
