"""Several models in one call: one process and one folder each, and a failure of one is no failure of the others."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_models import pair, write_rows

from babylm_data.errors import UserError
from eval.__main__ import main, parser

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


@pytest.fixture
def started(monkeypatch, workplace) -> list[list[str]]:
    """The arguments of every `python -m eval` that is started; a model called "broken" fails."""
    commands = []

    def run(command, env, **_):
        commands.append(command[3:])
        assert int(env["OMP_NUM_THREADS"]) >= 1
        return SimpleNamespace(stdout="scored", stderr="", returncode=2 * ("broken" in command[3]))

    monkeypatch.setattr(subprocess, "run", run)
    write_rows(workplace / "data/fast_eval/blimp_fast/order.jsonl", [pair("a b", "b a", "order", "syntax")])
    return commands


def test_each_model_has_a_process_and_a_folder_of_its_own(started, capsys):
    main(["runs/x/revisions/chck_1M", "runs/y/export", *OPTIONS])
    asked = {name: parser().parse_args(command) for name, *command in started}
    assert {name: (str(args.out), args.revision) for name, args in asked.items()} == {
        "runs/x/revisions/chck_1M": (str(Path("scores/chck_1M")), "chck_1M"),
        "runs/y/export": (str(Path("scores/y")), "main"),
    }
    for args in asked.values():
        assert (args.tasks, str(args.data), args.limit, args.partial) == (["blimp_fast"], "data", 3, True)
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
