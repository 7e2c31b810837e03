"""One self-contained HTML page about a study: what came out, each cell, each axis, how it went, and what it cost."""

import shlex
from pathlib import Path
from statistics import fmean

from babylm_data.files import json_table
from eval.compare.measures import Measure, p_shown
from eval.compare.seeds import MOST
from eval.probe.probed import read_probe
from eval.report.charts import differences_chart
from eval.report.curves import layers_chart
from eval.report.page import probe_pictures, templates
from eval.runs.run_folder import how_prepared
from eval.study import charts
from eval.study.cells import UNKNOWN, Compared
from eval.study.plan import RUNS
from eval.tasks.perplexity import LOSSY

TEMPLATES = Path(__file__).with_name("templates")
OF_AXES = "the one less the other"


def study_page(compared: Compared, command: str) -> str:
    """The page as one HTML text that loads nothing; `command` is what scored the runs."""
    plan = compared.plan
    first_runs = [compared.runs[cell["runs"][0]] for cell in compared.judged.values()]
    configs = [RUNS / run.name / "config.yaml" for run in first_runs[:1]]
    return (
        templates(TEMPLATES)
        .get_template("study.html")
        .render(
            compared=compared,
            record=compared.record,
            plan=plan,
            command=command,
            commands=[shlex.join(cell.command) for cell in plan.cells],
            measures=[block(compared, measure) for measure in compared.measures.values()],
            curves_chart=charts.curves_chart(compared),
            terms_chart=charts.terms_chart(compared),
            looks=charts.cell_looks(compared),
            layers={run.name: drawn for run in first_runs if (drawn := layers_chart(run))},
            probes=probes(first_runs),
            costs=costs(compared),
            ledger=ledger(compared),
            tables=len(compared.cells) + len(compared.contrasts),
            data_command=how_prepared(Path(first_runs[0].summary["data"])) if first_runs else None,
            files={
                str(path): path.read_text(encoding="utf-8")
                for path in [*map(Path, [*plan.files, plan.base]), *configs]
                if path.is_file()
            },
            environment=json_table(RUNS / next(iter(compared.runs)) / "environment.json")
            if compared.runs
            else None,
            lossy=LOSSY,
            most=f"{MOST:,}",
        )
    )


def block(compared: Compared, measure: Measure) -> dict:
    """One measure: its tables, their rows as text, and its pictures."""
    found = {"measure": measure, "parts": []}
    values = {cell.label: cell.values for cell in compared.plan.cells}
    of_cells = f"less {compared.plan.rival}"
    for what, side in ((of_cells, compared.cells), (OF_AXES, compared.contrasts)):
        if cells := side.get(measure.name):
            found["parts"].append(
                {
                    "of_cells": what == of_cells,
                    "chart": differences_chart(cells, measure, what),
                    "rows": [
                        row(label, cells[label], measure, values.get(label, {}))
                        for label in measure.best_first(cells)
                    ],
                    "items": any(cell["item_error"] for cell in cells.values()),
                    "gains": any(cell.get("of_gains") for cell in cells.values()),
                    "lossy": any(cell["lossy"] for cell in cells.values()),
                }
            )
    return found


def row(label: str, cell: dict, measure: Measure, values: dict[str, str]) -> dict:
    """One difference as text."""

    def number(value: float | None, sign: str = "") -> str:
        return "–" if value is None else measure.shown(value, sign).replace("-", "\N{MINUS SIGN}")

    ends = [number(end, "+") for end in cell["interval"]] if cell["interval"] else None
    return {
        "label": label,
        "values": values,
        "mean": number(cell.get("mean", cell["a"])),
        "spread": number(cell.get("standard_deviation")),
        "control": number(cell.get("control_mean", cell["b"])),
        "noise": number(cell.get("noise")),
        "difference": number(cell["difference"], "+"),
        "interval": f"{ends[0]} to {ends[1]}" if ends else "–",
        "from": cell["interval"][0] if cell["interval"] else None,
        "p": "–" if cell["p_value"] is None else p_shown(cell["p_holm"]),
        "verdict": cell["verdict"],
        "known": cell["verdict"] != UNKNOWN,
        "seeds": cell["seeds"],
        "settles": cell["settles"],
    }


def probes(runs: list) -> dict[str, dict]:
    """What was found of the first run of each cell, if anybody looked, with its pictures."""
    found = {}
    for run in runs:
        probe, _ = read_probe(RUNS / run.name)
        if probe:
            found[run.name] = {"probe": probe, **probe_pictures(probe)}
    return found


def costs(compared: Compared) -> list[dict]:
    """What a run of each cell takes, and one of each control: means over seeds."""
    sides = {label: cell["runs"] for label, cell in compared.judged.items()} | charts.controls_of(compared)
    found = []
    for label, names in sides.items():
        summaries = [compared.runs[name].summary for name in names]
        mean = {key: fmean(each[key] for each in summaries) for key in ("seconds", "flops", "tokens_seen")}
        found.append(
            {
                "label": label,
                "parameters": sorted({each["parameters"] for each in summaries}),
                "words": sorted({each["words_seen"] for each in summaries}),
                "seconds": mean["seconds"],
                "petaflops": mean["flops"] / 1e15,
                "tokens_per_second": mean["tokens_seen"] / max(mean["seconds"], 1e-9),
            }
        )
    return found


def ledger(compared: Compared) -> list[dict]:
    """Words read: by the students, by the controls, by each teacher."""
    students = {cell.run for cell in compared.plan.cells if compared.plan.distilled} & set(compared.runs)
    controls = set(compared.runs) - students
    lines = [
        {
            "what": f"{len(names)} {what}",
            "words": sum(compared.runs[name].summary["words_seen"] for name in names),
            "seconds": sum(compared.runs[name].summary["seconds"] for name in names),
        }
        for what, names in (("students", students), ("controls" if students else "cells", controls))
        if names
    ]
    paths = {each["path"] for name in students for each in compared.runs[name].summary.get("teachers") or []}
    for path in sorted(paths):
        summary = json_table(Path(path).parent / "summary.json") or {}
        name = Path(path).parent.name if Path(path).name == "export" else path
        if name not in compared.runs:
            line = {
                "what": f"teacher {name}",
                "words": summary.get("words_seen"),
                "seconds": summary.get("seconds"),
            }
            lines.append(line)
    return lines
