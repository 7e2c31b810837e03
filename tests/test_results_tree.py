"""The official results tree: names, places, and the bytes of the two files."""

import json
from pathlib import Path

import pytest
from choice_rows import write_task

from babylm_data.errors import UserError
from eval.results.official_tree import ResultsTree, model_name, refuse_one_place
from eval.tasks import LISTS, TASKS, on_list

BLIMP = """\
TEMPERATURE: 1.00

### FIELD ACCURACY
syntax/semantics: 62.50

### UID ACCURACY
island: 25.00
principle_A_one: 100.00

### LINGUISTICS_TERM ACCURACY
islands: 25.00
binding: 100.00

### AVERAGE ACCURACY
62.50

"""
ENTITY = """\
TEMPERATURE: 1.00

### UID ACCURACY
ambiref_0_ops: 100.00
ambiref_2_ops: 0.00
move_contents_0_ops: 0.00
regular_0_ops: 0.00
regular_1_ops: 50.00
regular: 25.00
ambiref: 50.00
move_contents: 0.00

### AVERAGE ACCURACY
25.00

"""
WUG = """\
TEMPERATURE: 1.00

### UID SPEARMAN'S RHO
avg: 0.20

### AVERAGE SPEARMAN'S RHO
0.20

"""


def write(folder: Path, task: str, scores: list[list[float]]) -> Path:
    """One task's files in a tree; the folder that holds them."""
    found = TASKS[task].load(write_task(folder / "data", task))
    tree = ResultsTree(folder / "results", "L0.1", "chck_1M", "causal")
    return tree.write(task, found, found.summarise(scores), found.predictions(scores), found.per_item(scores))


RIGHT, WRONG = [-1.0, -2.0], [-2.0, -1.0]
BEST, WORST = [-1.0, *[-2.0] * 4], [*[-2.0] * 4, -1.0]


@pytest.mark.parametrize(
    ("task", "scores", "text"),
    [
        ("blimp_filtered", [RIGHT] + [WRONG] * 3 + [RIGHT] * 4, BLIMP),
        ("entity_tracking", [BEST, WORST, WORST, WORST, BEST, WORST], ENTITY),
        ("wug_adj_nominalization", [[float(s), 0.0] for s in (-2, -1, 0, 2, 1)], WUG),
    ],
)
def test_the_report_has_the_official_wording(tmp_path, task, scores, text):
    place = write(tmp_path, task, scores)
    assert (place / "best_temperature_report.txt").read_text(encoding="utf-8") == text


def test_predictions_are_in_the_default_form_of_json(tmp_path):
    place = write(tmp_path, "blimp_filtered", [RIGHT] * 8)
    assert place == tmp_path / "results/L0.1/chck_1M/zero_shot/causal/blimp/blimp_filtered"
    text = (place / "predictions.json").read_text(encoding="utf-8")
    assert text.startswith(
        '{"island": {"predictions": [{"id": "island_0", "pred": "The caf\\u00e9 0 \\u2013 sleeps."}, '
    )
    assert text == json.dumps(json.loads(text))


@pytest.mark.parametrize("year", [LISTS[:2], LISTS[2:]], ids=["2025", "2026"])
def test_every_task_of_a_year_has_a_place_of_its_own_that_is_called_after_its_data(year):
    asked = dict.fromkeys(task for name in year for task in on_list(name))
    places = [TASKS[task].tree for task in asked]
    assert len(set(places)) == len(places) == 12
    assert all(
        place.endswith(Path(TASKS[task].folder).name) for task, place in zip(asked, places, strict=True)
    )
    refuse_one_place([*asked, "perplexity", "aoa", "reading_spaced"])


def test_two_years_of_a_task_have_one_place_and_go_into_two_trees():
    with pytest.raises(UserError, match="^ewok_filtered and ewok_contexts have one place in a results tree"):
        refuse_one_place(["blimp_filtered", "ewok_filtered", "comps", "ewok_contexts"])


@pytest.mark.parametrize("name", ["L0.1", "student", "v1.", ".hidden", "a.b.c", "x"])
def test_the_collator_is_given_what_it_cuts_to_the_right_folder(tmp_path, name):
    given = ResultsTree(tmp_path, name).collator_arguments.split()[1]
    assert Path(given).stem == name  # how the official programs make a folder's name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b"])
def test_a_name_that_is_no_folder_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="--model-name"):
        ResultsTree(tmp_path, name)
    with pytest.raises(UserError, match="--revision"):
        ResultsTree(tmp_path, "model", name)


def test_a_model_is_called_after_its_run_its_folder_or_its_hub_name(tmp_path):
    (tmp_path / "run.1/export").mkdir(parents=True)
    assert model_name(str(tmp_path / "run.1/export")) == "run.1"
    assert model_name(str(tmp_path / "run.1")) == "run.1"
    assert model_name("someone/baby-0.5") == "baby-0.5"
