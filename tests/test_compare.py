"""`python -m eval.compare`: what it calls a difference is one, as often as it says, and nothing is compared unequal."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm, spearmanr

from babylm_data.errors import UserError
from babylm_data.sealed import sha256
from eval.compare.__main__ import main
from eval.compare.comparison_table import p_text
from eval.compare.paired import (
    choice_difference,
    correlation_difference,
    holm,
    run_difference,
    sign_test,
    weights_of,
)
from eval.scorer.items import Choice, Item
from eval.tasks.choices import Choices
from eval.tasks.correlation import spearman
from eval.tasks.perplexity import LOSSY

ROOT = Path(__file__).parent.parent


def alike(*sides: dict, weights: dict | None = None) -> dict:
    """The difference where all subtasks count alike, unless `weights` say otherwise."""
    return choice_difference(*sides, weights or dict.fromkeys(sides[0], 1 / len(sides[0])))


def choice_task(items: dict[str, list[float]], phenomena: dict[str, str] | None = None) -> tuple[dict, dict]:
    """(entry of scores.json, items.json) as `python -m eval` writes them for credits of subtasks."""
    phenomena = phenomena or {}
    subtasks = {
        name: {"score": float(np.mean(values)), "standard_error": 0.01, "items": len(values), "ties": 0}
        | {"weight": 1 / len(items)}
        | ({"phenomenon": phenomena[name]} if name in phenomena else {})
        for name, values in items.items()
    }
    grouped = {
        group: {
            "score": float(
                np.mean([subtasks[name]["score"] for name in subtasks if phenomena[name] == group])
            )
        }
        for group in set(phenomena.values())
    }
    result = {
        "metric": "accuracy",
        "score": float(np.mean([cell["score"] for cell in subtasks.values()])),
        "by_subtask": subtasks,
        "by_phenomenon": grouped,
    }
    return result, {name: {"credit": list(values)} for name, values in items.items()}


def wug_task(prob: list[float], ratio: list[float]) -> tuple[dict, dict]:
    score = float(spearmanr(prob, ratio).statistic)
    result = {"metric": "spearman", "score": score, "by_subtask": {}, "by_phenomenon": {}}
    return result, {"wug_adj": {"prob": list(prob), "ratio": list(ratio)}}


def write_folder(
    folder: Path, tasks: dict[str, tuple], *, model: str | None = None, asked: str = "same"
) -> Path:
    """An --out folder; a task is (entry of scores.json, items.json or None)."""
    folder.mkdir(parents=True)
    entries = {name: result | {"measured_on": asked} for name, (result, _) in tasks.items()}
    for name, (_, items) in tasks.items():
        if items is not None:
            (folder / name).mkdir()
            (folder / name / "items.json").write_text(json.dumps(items), encoding="utf-8")
            entries[name]["items_sha256"] = sha256(folder / name / "items.json")
    scores = {"model": str(folder), "model_sha256": model or folder.name, "tasks": entries}
    (folder / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    return folder


def planted(rng, skills: tuple[float, float], *, subtasks: int = 4, items: int = 60) -> tuple[dict, dict]:
    """Credits of two models that find the same items hard: right with probability skill - 0.3 … skill + 0.3."""
    sides: tuple[dict, dict] = ({}, {})
    for number in range(subtasks):
        ease = rng.uniform(-0.3, 0.3, items)
        for side, skill in zip(sides, skills, strict=True):
            side[f"s{number}"] = (rng.random(items) < skill + ease).astype(float)
    return sides


def test_the_intervals_of_two_equal_models_hold_the_truth_in_95_of_100_data_sets():
    rng = np.random.default_rng(0)
    found = [alike(*planted(rng, (0.65, 0.65))) for _ in range(1000)]
    for kind in ("interval_items", "interval_subtasks"):
        held = np.mean([cell[kind][0] <= 0 <= cell[kind][1] for cell in found])
        assert 0.92 <= held <= 0.98, kind
    assert 0.03 <= np.mean([cell["p_value"] < 0.05 for cell in found]) <= 0.07


def test_a_gain_and_a_loss_of_one_size_are_no_difference_of_the_score_however_many_items_each_has():
    rng = np.random.default_rng(9)
    found = []
    for _ in range(1000):
        (a_few,), (b_few,) = (side.values() for side in planted(rng, (0.65, 0.45), subtasks=1, items=30))
        (a_many,), (b_many,) = (side.values() for side in planted(rng, (0.45, 0.65), subtasks=1, items=300))
        found.append(alike({"few": a_few, "many": a_many}, {"few": b_few, "many": b_many}))
    assert 0.03 <= np.mean([cell["p_value"] < 0.05 for cell in found]) <= 0.07
    assert all(cell["better"] < cell["worse"] for cell in found)


def test_a_single_subtask_has_the_exact_sign_test_which_keeps_its_level_with_few_items():
    rng = np.random.default_rng(10)
    found = [alike(*planted(rng, (0.65, 0.65), subtasks=1, items=12)) for _ in range(500)]
    assert np.mean([cell["p_value"] < 0.05 for cell in found]) <= 0.05
    assert all(cell["p_value"] == sign_test(cell["better"], cell["worse"]) for cell in found)


def test_a_planted_difference_is_found_as_often_as_its_error_says():
    rng = np.random.default_rng(1)
    skills, n, runs = (0.70, 0.62), 4 * 60, 200
    # given an item both are Bernoulli draws, of variance p (1 - p) - var(ease) on average
    variance = sum(p * (1 - p) - 0.6**2 / 12 for p in skills)
    error = math.sqrt(variance / n)
    power = norm.sf(1.96 - (skills[0] - skills[1]) / error)
    found = [alike(*planted(rng, skills)) for _ in range(runs)]
    assert np.mean([cell["standard_error"] for cell in found]) == pytest.approx(error, rel=0.05)
    seen = np.mean([cell["interval_items"][0] > 0 for cell in found])
    assert abs(seen - power) < 3 * math.sqrt(power * (1 - power) / runs)
    held = [cell["interval_items"][0] <= 0.08 <= cell["interval_items"][1] for cell in found]
    assert 0.92 <= np.mean(held) <= 0.98


def test_pairing_makes_the_error_smaller_than_two_sets_of_items_would():
    rng = np.random.default_rng(2)
    a, b = planted(rng, (0.65, 0.65), items=500)
    alone = math.sqrt(sum(np.var(values) / 500 for side in (a, b) for values in side.values())) / 4
    assert alike(a, b)["standard_error"] < 0.97 * alone
    same = alike(a, a)
    assert same["difference"] == 0 and same["p_value"] == 1 and same["standard_error"] < 0.002


def test_figures_worked_by_hand():
    found = alike({"x": [1, 1, 1, 1], "y": [1, 0]}, {"x": [0, 0, 1, 0.5], "y": [1, 1]})
    assert (found["a"], found["b"]) == (0.75, pytest.approx((0.375 + 1) / 2))
    assert found["difference"] == pytest.approx((0.625 - 0.5) / 2)
    assert (found["better"], found["worse"], found["items"]) == (3, 1, 6)
    # Agresti and Min: (sum d^2 + 1 - (sum d)^2 / (n + 2)) / (n + 2)^2, for x and for y
    squares = (2.25 + 1 - 2.5**2 / 6) / 6**2, (1 + 1 - 1 / 4) / 4**2
    assert found["standard_error"] == pytest.approx(math.sqrt(sum(squares)) / 2)
    assert found["p_value"] == pytest.approx(math.erfc(0.0625 / found["standard_error"] / math.sqrt(2)))
    # two subtasks: 12.706 is Student's t with one degree of freedom, |0.625 + 0.5| / 2 the error of their mean
    assert found["interval_subtasks"][1] - found["difference"] == pytest.approx(12.7062 * 0.5625, rel=1e-4)


def test_a_subtask_that_all_items_agree_on_is_not_certain():
    low, high = alike({"x": [1, 1, 1]}, {"x": [0, 0, 0]})["interval_items"]
    assert low < 1 < high
    assert alike({"x": [1]}, {"x": [0]})["interval_subtasks"] is None
    assert alike({"x": [1], "y": [1]}, {"x": [0], "y": [0]})["interval_subtasks"] is None
    assert sign_test(3, 0) == 0.25 and sign_test(0, 0) == 1 and sign_test(9, 1) == pytest.approx(22 / 1024)


def test_a_subtask_counts_what_the_result_says_and_of_some_of_them_in_proportion():
    names = [f"{file}_ops_{n}" for file, count in (("regular", 3), ("ambiref", 1)) for n in range(count)]
    items = [
        Item(f"{name}_0", name, (Choice("", "a"), Choice("", "b")), phenomenon=name[:7]) for name in names
    ]
    result = Choices(items, mean_over="phenomena").summarise([[-1.0, -2.0]] * 4)
    weights = weights_of(result)
    assert list(weights.values()) == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    sides = [{name: [right] * 4 for name in names} for right in (0.0, 0.0)]
    sides[0][names[-1]] = [1.0] * 4
    assert alike(*sides, weights=weights)["difference"] == pytest.approx(1 / 2)
    some = [{name: side[name] for name in names[2:]} for side in sides]
    assert alike(*some, weights=weights)["difference"] == pytest.approx(3 / 4)
    assert list(weights_of(Choices(items).summarise([[-1.0, -2.0]] * 4)).values()) == [1 / 4] * 4


def test_holms_correction_is_the_published_one():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06]) and holm([]) == []


def test_rank_correlations_are_scipys_and_those_of_constants_are_0():
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 5, 40).astype(float), rng.normal(size=40)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert spearman(np.ones(40), y) == 0
    both = spearman(np.stack([x, y]), np.stack([y, y]))
    assert both == pytest.approx([spearmanr(x, y).statistic, 1])


def test_the_bootstrap_of_two_correlations_covers_and_tells_a_better_model():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(60):
        truth = rng.random(60)
        a, b = (truth + rng.normal(0, 0.5, 60) for _ in range(2))
        low, high = correlation_difference(a, b, truth, resamples=300)["interval_items"]
        held += low <= 0 <= high
    assert 53 <= held  # 60 of 60 would be no fault: 57 are due
    truth = rng.random(200)
    found = correlation_difference(truth + rng.normal(0, 0.1, 200), rng.random(200), truth, resamples=300)
    assert found["interval_items"][0] > 0.5
    assert found["interval_items"][1] - found["interval_items"][0] < 0.5
    assert "interval_items" not in correlation_difference(
        [0.1], [0.2], [0.3]
    )  # one item, which shows no spread
    again = correlation_difference(truth, truth, truth)
    assert again["difference"] == 0 and again["interval_items"] == [0, 0]


def test_runs_are_compared_by_welchs_interval():
    found = run_difference([0.70, 0.72, 0.71], [0.66, 0.70])
    difference, error = 0.71 - 0.68, math.sqrt(0.01**2 / 3 + 0.0008 / 2)
    assert found["difference"] == pytest.approx(difference)
    freedom = error**4 / ((0.01**2 / 3) ** 2 / 2 + (0.0008 / 2) ** 2 / 1)
    from scipy.stats import t

    assert found["interval_runs"][1] == pytest.approx(difference + t.ppf(0.975, freedom) * error)
    assert found["p_value"] == pytest.approx(2 * t.sf(difference / error, freedom))
    for sides in (([0.7], [0.6, 0.7]), ([0.7, 0.7], [0.7, 0.7])):
        assert run_difference(*sides)["interval_runs"] is None and run_difference(*sides)["p_value"] is None


PHENOMENA = {"npi_1": "npi", "npi_2": "npi", "passive": "voice"}


def blimp(rng, skill: float, gain: float = 0.0) -> tuple[dict, dict]:
    """BLiMP of three paradigms; `gain` is what the skill on the two of npi has above the other."""
    return choice_task(
        {
            name: (rng.random(400) < skill + gain * (term == "npi")).astype(float).tolist()
            for name, term in PHENOMENA.items()
        },
        PHENOMENA,
    )


@pytest.fixture
def folders(tmp_path) -> list[Path]:
    """A, better at npi and at wugs, and B; each also has a task that the other lacks."""
    rng = np.random.default_rng(5)
    ratio = rng.random(100)
    perplexity = ({"all": {"bits_per_byte": 1.5}}, None)
    reading = {"metric": "r2_gain", "by_subtask": {}, "by_phenomenon": {}}, {"reading": {"pred": [1.0, 2.0]}}
    a = {
        "blimp_filtered": blimp(rng, 0.6, 0.2),
        "wug_adj": wug_task(ratio + rng.normal(0, 0.1, 100), ratio),
        "perplexity": perplexity,
        "reading": (reading[0] | {"score": 0.03}, reading[1]),
        "comps": choice_task({"base": [1.0, 0.0]}),
    }
    b = {
        "blimp_filtered": blimp(rng, 0.6),
        "wug_adj": wug_task(rng.random(100), ratio),
        "perplexity": ({"all": {"bits_per_byte": 1.75}}, None),
        "reading": (reading[0] | {"score": 0.02}, reading[1]),
    }
    return [write_folder(tmp_path / "a", a), write_folder(tmp_path / "b", b)]


def test_two_folders_become_a_table_and_a_file(folders, tmp_path, capsys):
    main([*map(str, folders), "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    (comparison,) = found["comparisons"]
    cell = comparison["tasks"]["blimp_filtered"]
    assert cell["by_phenomenon"]["npi"]["p_holm"] < 0.001 < 0.05 < cell["by_phenomenon"]["voice"]["p_holm"]
    assert cell["by_phenomenon"]["npi"]["p_holm"] == 2 * cell["by_phenomenon"]["npi"]["p_value"]
    assert cell["by_subtask"]["npi_1"]["items"] == 400
    assert comparison["tasks"]["wug_adj"]["interval_items"][0] > 0
    assert comparison["tasks"]["perplexity"]["difference"] == -0.25
    assert comparison["tasks"]["reading"]["difference"] == pytest.approx(0.01)
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line for line in printed.splitlines() if line and line[0].isalpha()}
    assert lines["npi"].endswith("*") and not lines["voice"].endswith("*")
    assert "bits per byte, less is better" in lines["perplexity"] and "-0.2500" in lines["perplexity"]
    assert lines["reading"].endswith("+1.00  no interval: the difference alone")
    assert found["left_out"] == [f"comps is left out: it is not scored in {folders[1]}"]
    assert found["left_out"][0] in printed and "noise of training is in none" in printed


def test_bits_per_byte_of_a_part_of_the_text_are_marked(tmp_path, capsys):
    whole = {"all": {"bits_per_byte": 1.5}, "whole_text": True}
    sides = [whole, whole | {"whole_text": False}, whole]
    a, b, c = (
        str(write_folder(tmp_path / name, {"perplexity": (result, None)}))
        for name, result in zip("abc", sides, strict=True)
    )
    main([a, c])
    assert LOSSY not in capsys.readouterr().out
    for words in ([a, b], [b, a], ["--a", a, b, "--b", c]):
        main(words)
        assert f"perplexity: of one or more of the models {LOSSY}" in capsys.readouterr().out


def test_a_star_is_for_the_corrected_p_value():
    assert p_text({"p_value": 0.03, "p_holm": 0.09}).split() == ["0.0900"]
    assert p_text({"p_value": 0.03}).split() == ["0.0300*"]
    assert p_text({"p_value": None}).split() == ["-"]


def test_only_the_tasks_asked_for_are_compared(folders, tmp_path, capsys):
    main([*map(str, folders), "--tasks", "wug_adj", "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found["comparisons"][0]["tasks"]) == ["wug_adj"] and found["left_out"] == []
    with pytest.raises(UserError, match=r"comps is not scored in .*b: .*--tasks comps"):
        main([*map(str, folders), "--tasks", "comps"])


def test_the_first_of_three_is_compared_with_each_other(folders, tmp_path, capsys):
    third = write_folder(tmp_path / "c", {"blimp_filtered": blimp(np.random.default_rng(6), 0.9)})
    main([*map(str, [*folders, third]), "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())["comparisons"]
    assert [comparison["b"] for comparison in found] == [[str(folders[1])], [str(third)]]
    assert found[1]["tasks"]["blimp_filtered"]["difference"] < -0.1


def test_several_runs_a_side_give_the_spread_over_seeds(tmp_path, capsys):
    rng = np.random.default_rng(7)
    a = [write_folder(tmp_path / f"a{n}", {"blimp_filtered": blimp(rng, 0.6, 0.2)}) for n in range(3)]
    b = [write_folder(tmp_path / f"b{n}", {"blimp_filtered": blimp(rng, 0.6)}) for n in range(3)]
    main(["--a", *map(str, a), "--b", *map(str, b), "--json", str(tmp_path / "found.json")])
    (comparison,) = json.loads((tmp_path / "found.json").read_text())["comparisons"]
    cell = comparison["tasks"]["blimp_filtered"]
    assert cell["runs"] == [3, 3] and cell["interval_runs"][0] > 0
    assert cell["by_phenomenon"]["npi"]["difference"] == pytest.approx(0.2, abs=0.04)
    assert cell["by_subtask"]["npi_1"]["p_holm"] >= cell["by_subtask"]["npi_1"]["p_value"]
    printed = capsys.readouterr().out
    assert "includes the noise of training" in printed and "3:3" in printed
    main(["--a", str(a[0]), "--b", *map(str, b)])
    assert "1:3" in capsys.readouterr().out
    for sides in (["--a", a[0], a[0], "--b", *b], ["--a", *a, "--b", b[0], a[1]], [a[0], a[0]]):
        with pytest.raises(UserError, match="one and the same model"):
            main(list(map(str, sides)))


def test_scores_of_an_earlier_version_are_told_to_be_made_again(tmp_path):
    result, items = blimp(np.random.default_rng(8), 0.6)
    name = next(iter(result["by_subtask"]))
    del result["by_subtask"][name]["weight"]
    sides = [write_folder(tmp_path / side, {"blimp_filtered": (result, items)}) for side in "ab"]
    with pytest.raises(
        UserError, match=f"blimp_filtered, {name}, of an earlier version, lacks weight: score the"
    ):
        main(list(map(str, sides)))


def test_other_items_and_damaged_ones_are_refused(folders, tmp_path):
    rng = np.random.default_rng(8)
    other = write_folder(tmp_path / "other", {"blimp_filtered": blimp(rng, 0.6)}, asked="other rows")
    with pytest.raises(UserError, match="scored on other items of blimp_filtered"):
        main([str(folders[0]), str(other)])
    strange = write_folder(tmp_path / "strange", {"glue": ({"metric": "accuracy", "score": 0.5}, None)})
    with pytest.raises(UserError, match="no task in common"):
        main([str(folders[0]), str(strange)])
    path = folders[0] / "blimp_filtered/items.json"
    whole = json.loads(path.read_text())
    whole["passive"]["credit"][0] = 1 - whole["passive"]["credit"][0]
    path.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=r"items.json is not the file that .*scores.json sums up"):
        main([*map(str, folders)])
    path.unlink()
    with pytest.raises(UserError, match="items.json is missing"):
        main([*map(str, folders)])


def test_scores_by_two_tie_rules_are_refused(tmp_path):
    result, items = choice_task({"base": [1.0, 0.0]})
    a, b = (
        write_folder(tmp_path / rule, {"comps": (result | {"tie_rule": rule}, items)})
        for rule in ("shared", "official")
    )
    with pytest.raises(
        UserError, match=r"comps by the rule 'shared', .*official by 'official': .*same --ties"
    ):
        main([str(a), str(b)])


def test_items_of_another_number_are_refused(tmp_path):
    a = write_folder(tmp_path / "a", {"comps": choice_task({"base": [1.0, 0.0]})})
    b = write_folder(tmp_path / "b", {"comps": choice_task({"base": [1.0, 0.0, 1.0]})})
    with pytest.raises(UserError, match="have other items of comps"):
        main([str(a), str(b)])


def test_surprisals_are_left_out_as_no_score(folders, tmp_path, capsys):
    aoa = {"metric": "surprisal", "score": 9.93, "by_subtask": {}, "by_phenomenon": {}}, None
    a, b = (
        write_folder(tmp_path / name, {"aoa": aoa, "comps": choice_task({"base": [n, 0.0]})})
        for n, name in enumerate(("x", "y"))
    )
    main([str(a), str(b)])
    printed = capsys.readouterr().out
    assert "\naoa is left out: its surprisals are no score" in printed and "993" not in printed
    with pytest.raises(UserError, match="aoa cannot be compared"):
        main([str(a), str(b), "--tasks", "aoa"])


def test_a_task_without_its_measure_is_named(folders):
    path = folders[1] / "scores.json"
    scores = json.loads(path.read_text())
    del scores["tasks"]["wug_adj"]["measured_on"]
    path.write_text(json.dumps(scores))
    with pytest.raises(UserError, match=r"wug_adj in .*scores.json lacks measured_on: score the model again"):
        main([*map(str, folders)])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["A"], "nothing to be compared with"),
        ([], "name two folders"),
        (["--a", "A"], "name two folders"),
        (["A", "B", "--a", "A", "--b", "B"], "not both"),
        (["nowhere", "A"], "scores.json is missing: name a folder"),
    ],
)
def test_wrong_arguments_are_named(folders, words, complaint):
    places = {"A": str(folders[0]), "B": str(folders[1])}
    with pytest.raises(UserError, match=complaint):
        main([places.get(word, word) for word in words])


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from eval.compare.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(str([m for m in ('torch', 'scipy', 'statsmodels', 'numpy') if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "python -m eval.compare" in done.stdout and done.stderr.strip() == ""
