"""The pages as a browser shows them: no error, no request, nothing too wide or too pale, tables that sort.

Needs Chromium and playwright, which `.ci/run` installs; passed over where they are not there.
"""

import contextlib
import json
import re
import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from run_tree import write_json, write_runs
from test_study_scores import write_study

from eval.probe.alikeness import calibration
from eval.probe.probed import FILE, FORMAT, KEYS
from eval.report.live import LiveRun, live_page
from eval.runs.lineup import read_lineup
from eval.scorer.model import model_sha256
from eval.study import cells as cells_module
from eval.study import finished as finished_module
from eval.study.__main__ import main as compare
from eval.submission.bundle import build

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PLAYWRIGHT = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]
KINDS = ("run", "submission", "study", "live")
NARROW, WIDE, PAPER = 400, 1200, 718
"""Pixels; the last of A4 without its margins."""
ENOUGH, OF_LARGE = 4.5, 3.0
"""Contrast that WCAG 2 asks of text, and of that of 24 pixels or more, or 18.66 in bold."""
PALE = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const linear = x => x / 255 <= 0.03928 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4;
  const light = colour => colour.slice(0, 3).map(linear)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (let each = node; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].filter(each => each.nodeType === 3).map(each => each.textContent.trim()).join("");
    if (!own || node.closest("[aria-hidden], script, style")) continue;
    const style = getComputedStyle(node), size = parseFloat(style.fontSize);
    const [a, b] = [light(parse(node.ownerSVGElement ? style.fill : style.color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    if (ratio < (large ? OF_LARGE : ENOUGH)) found.push(`${own.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
}""".replace("OF_LARGE", str(OF_LARGE)).replace("ENOUGH", str(ENOUGH))


def write_probe(student: Path) -> None:
    """What `python -m eval.probe` might have found of a student, an early revision, its control and its teachers."""
    rng, lineup = np.random.default_rng(0), read_lineup(student)
    names = {student.name: "student", "chck_1M": "early", lineup.control.name: "control"}
    names |= {run.name: "teacher" for run in lineup.teachers}
    error, bins = calibration(rng.random(500), rng.random(500) < 0.5)
    speed = {
        "parameters": 10**6,
        "bytes": 4 * 10**6,
        "tokens": 128,
        "latency": 0.01,
        "tokens_per_second": 1e4,
    }
    speed |= {"memory": 2 * 10**7, "flops_per_token": 2e6}
    found = dict.fromkeys(KEYS) | {
        "format": FORMAT,
        "command": "python -m eval.probe runs/x",
        "device": "cpu",
    }
    found |= {
        "processor": "Acme 9",
        "threads": 2,
        "left_out": [],
        "positions": 500,
        "states": 100,
        "drawn": 20,
    }
    found |= {"masked": False, "models": []}
    for name, role in names.items():
        one = {"name": name, "role": role, "words": 10, "nats": 3.0, "right": 0.3, "confidence": 0.4}
        one |= {"calibration_error": error, "bins": bins, "model_sha256": model_sha256(student / "export")}
        one |= {"from_teachers": {run.name: 0.1 for run in lineup.teachers if run.name != name}} | (
            {"pace": speed} if role != "early" else {}
        )
        found["models"].append(one)
    others = [name for name, role in names.items() if role != "teacher"]
    planes = [
        {"model": name, "layer": n, "teacher_layer": n}
        | {side: rng.normal(size=(20, 2)).tolist() for side in ("points", "teacher")}
        for name in others[:2]
        for n in (1, 2, 3)
    ]
    alike = {"same_likeliest": dict.fromkeys(others, 0.5), "planes": planes}
    alike["cka"] = {name: rng.random((4, 5)).tolist() for name in others}
    found["alikeness"] = {run.name: alike for run in lineup.teachers}
    found["samples"] = [{"prompt": "Once", "texts": dict.fromkeys(names, "Once upon a time " * 9)}]
    write_json(student / FILE, found)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """One page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    student = write_runs(folder / "runs")
    write_probe(student)
    lines = [json.loads(line) for line in (student / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line |= (
            {f"layer/hidden.llama@{2 * n}-{n}": n / line["step"] for n in (1, 2, 3)} if "lr" in line else {}
        )
    (student / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = {"submission": build(student) / "report.html"}
    found |= {"run": folder / "run.html", "live": folder / "live.html"}
    shutil.copy(found["submission"], found["run"])
    found["live"].write_text(live_page(LiveRun(student), 600), encoding="utf-8")
    quiet = (
        patch.object(cells_module, "refuse_strangers", lambda student, control: None),
        patch.object(finished_module, "model_sha256", lambda export: export.parent.name),
        patch("eval.results.workers.score_all", lambda requests, processes: None),
    )
    with contextlib.chdir(folder), quiet[0], quiet[1], quiet[2]:
        compare([write_study()])
    return found | {"study": folder / "runs/studies/st/report.html"}


@pytest.fixture(scope="module")
def browser():
    with PLAYWRIGHT.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(browser, pages):
    """show(kind, width, scheme): the page, and what went wrong on it and what it asked for."""
    shown = []

    def one(kind, width, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        shown.append(page)
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))
        page.goto(pages[kind].as_uri())
        return page, said

    yield one
    for page in shown:
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_shown_without_a_fault(show, pages, kind, width, scheme):
    page, said = show(kind, width, scheme)
    assert said == [pages[kind].as_uri()]  # no error, and no request but for itself
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(PALE) == []
    for details in page.locator("details").all():
        details.evaluate("each => each.open = true")
    boxes = [svg.bounding_box() for svg in page.locator("svg").all()]
    assert boxes and all(box["width"] > 100 and box["height"] > 50 for box in boxes)
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != "rgb(255, 255, 255)"
    assert dark is (scheme == "dark")


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_of_a_page_is_there(show, pages, kind):
    page, _ = show(kind, WIDE)
    drawn = page.evaluate(
        "[...document.querySelectorAll('svg')].map(each => each.getAttribute('aria-label'))"
    )
    assert all(drawn) and len(set(drawn)) == len(drawn)
    needed = {
        "run": [
            "phenomenon",
            "Held-out loss",
            "Loss terms",
            "layer by layer",
            "Linear CKA",
            "t-SNE",
            "how sure",
        ],
        "study": [
            "less the control",
            "the one less the other",
            "less that of the control",
            "Loss terms",
            "layer by layer",
        ],
        "live": ["all that is logged", "layer by layer"],
    }
    for what in needed[kind if kind != "submission" else "run"]:
        assert any(what in label for label in drawn), what


@pytest.mark.parametrize("kind", ["run", "study"])
def test_a_table_sorts_by_the_column_that_is_clicked_and_by_the_keyboard(show, kind):
    page, said = show(kind, WIDE)
    table = page.locator("table.sorts", has_text={"study": "difference", "run": "subtask"}[kind]).first
    heads = table.locator("thead th")
    titles = heads.all_text_contents()
    column = next(n for n, title in enumerate(titles) if title == "difference" or "student" in title)

    def values():
        cells = table.locator(f"tbody tr:not(.stays) > *:nth-child({column + 1})").all_text_contents()
        return [
            float(re.search(r"[-+]?\d[\d.]*", cell.replace("\N{MINUS SIGN}", "-").replace(",", ""))[0])
            for cell in cells
        ]

    assert len(set(values())) > 1
    heads.nth(column).locator("button").click()
    assert (
        values() == sorted(values(), reverse=True)
        and heads.nth(column).get_attribute("aria-sort") == "descending"
    )
    heads.nth(column).locator("button").press("Enter")
    assert values() == sorted(values()) and heads.nth(column).get_attribute("aria-sort") == "ascending"
    heads.nth(0).locator("button").press(" ")
    names = [
        name.strip() for name in table.locator("tbody tr:not(.stays) > *:first-child").all_text_contents()
    ]
    assert names == sorted(names, key=str.lower) and heads.nth(column).get_attribute("aria-sort") is None
    assert len(said) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_prints_whole(show, kind):
    page, _ = show(kind, PAPER)
    page.emulate_media(media="print")
    cut = "[...document.querySelectorAll('.wide, figure')].filter(each => each.scrollWidth > each.clientWidth + 1)"
    assert page.evaluate(f"{cut}.map(each => each.textContent.slice(0, 60))") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER
    hidden = page.evaluate(
        "[...document.querySelectorAll('pre')].filter(each => each.getBoundingClientRect().height === 0).length"
    )
    assert hidden == 0
    assert len(page.pdf()) > 20_000
