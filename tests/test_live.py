"""The page of a run while it trains: how far it is, what it has logged, and no word that would stop it."""

import json
import re
from pathlib import Path

import pytest

from babylm_data.errors import UserError
from babylm_data.sealed import LOCK, lock
from eval.report import live
from eval.report.__main__ import main
from eval.report.live import LiveRun, live_page


@pytest.fixture
def run(workplace):
    """A student at a quarter of its words, and its finished control."""
    for name in ("st", "st-control"):
        folder = Path("runs", name)
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("name: <st>\n")
        lines = [{"step": 0, "words_seen": 0, "val/hard": 7.0}]
        for step in range(1, 26):
            line = {
                "step": step,
                "words_seen": 10 * step,
                "seconds": 0.5 * step,
                "lr": 1e-3,
                "loss/hard": 7 - step / 9,
            }
            lines.append(line | ({"layer/hidden.t@2-1": 1 / step} if name == "st" else {}))
        lines.append({"step": 25, "words_seen": 250, "val/hard": 4.5})
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 26, "los')
    Path("runs/st/status.json").write_text(json.dumps({"done": 20, "of": 100}))
    Path("runs/st/environment.json").write_text(json.dumps({"command": "python -m distill st.yaml"}))
    return Path("runs/st")


def test_it_says_how_far_the_run_is_and_how_to_go_on_with_one_that_stands_still(run):
    assert LiveRun(run).state == (
        "20 % done, 250 words read; no program is at it now. To go on: python -m distill st.yaml."
    )
    with lock(run / LOCK):
        assert LiveRun(run).state == "25 % done, 250 words read, about 38 s left."
    assert LiveRun(run).losses == "Held-out hard loss 4.5000 nats a token after 250 words, 7.0000 at first."


def test_the_page_draws_what_is_logged_beside_the_control_and_comes_again_by_itself(run):
    text = live_page(LiveRun(run), 7)
    assert '<meta http-equiv="refresh" content="7">' in text and "://" not in text
    assert re.findall(r'aria-label="([^"]*)"', text) == [
        "st: all that is logged, against words of exposure",
        "st: what is compared layer by layer, against words of exposure",
    ]
    assert "Dashed: st-control" in text and "&lt;st&gt;" in text and text.count("var(--control)") > 2
    for key in ("val/hard", "loss/hard", "lr"):
        assert f">{key}</text>" in text


def test_a_run_that_has_logged_nothing_has_a_page(workplace):
    folder = Path("runs/new")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: new\n")
    text = live_page(LiveRun(folder), 7)
    assert "0 % done; no program is at it now." in text and "Nothing has been logged yet." in text


def test_watching_ends_with_the_run_and_writes_a_last_page_that_stays(run, monkeypatch, capsys):
    turns = []

    def sleep(seconds):
        turns.append(seconds)
        assert 'http-equiv="refresh"' in Path("page.html").read_text()
        (run / "summary.json").write_text(json.dumps({"words_seen": 1000, "seconds": 61.0}))

    monkeypatch.setattr(live.time, "sleep", sleep)
    main([str(run), "--watch", "--every", "3", "--out", "page.html"])
    text = Path("page.html").read_text()
    assert turns == [3] and 'http-equiv="refresh"' not in text
    assert "Finished: 1,000 words in 1 min 01 s." in text
    assert "page.html is written every 3 s until st is finished" in capsys.readouterr().out


def test_what_is_no_run_is_not_watched(workplace):
    with pytest.raises(UserError, match="nothing is no run folder"):
        main(["nothing", "--watch"])
