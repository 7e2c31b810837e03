"""The page of records: a table for each file that `python -m bench.record --json` wrote."""

from statistics import fmean, stdev

from eval.tasks import title as named

HEAD = """# Records

What came out within a budget of minutes, all counted but the scoring. Scores are means over seeds ± their standard
deviation; in brackets the difference from the first recipe of the table, its 95 % interval and p by Welch's t-test over
seeds, of each comparison by itself. Rendered by `python -m bench.record --table`, from the files in `records/`.

"""


def page(records: list[dict]) -> str:
    """The page of all records, the first given first."""
    return HEAD + "\n".join(section(record) for record in records)


def section(record: dict) -> str:
    """A table of one record: a row for each recipe, means over seeds."""
    recipes: dict[str, list[dict]] = {each["recipe"]: [] for each in record["attempts"]}
    for each in record["attempts"]:
        recipes[each["recipe"]].append(each)
    whole = [each for each in record["attempts"] if "failed" not in each]
    tasks = list(dict.fromkeys(task for each in whole for task in each["scores"]))
    machines = _all(each["processor"] if each["device"] == "cpu" else each["device"] for each in whole)
    commits = _all(
        f"`{(each['commit'] or 'unknown')[:10]}`{' with changes' if each['dirty'] else ''}" for each in whole
    )
    titles = [
        "recipe", "seeds", "parameters", "words of exposure", "minutes", *map(title, tasks)
    ]  # fmt: skip
    first = next(iter(recipes.values()))
    return "\n".join(
        [
            f"## {record['minutes']:g} minutes on {machines}",
            "",
            f"{_all(each['started'][:10] for each in whole)}; {_all(each['products'] for each in whole)}; commit "
            f"{commits}; {', '.join(f'`{command}`' for command in record['commands'])}",
            "",
            f"| {' | '.join(titles)} |",
            "| --- " + "| ---: " * (len(titles) - 1) + "|",
            *(row(name, runs, first, tasks, record["minutes"]) for name, runs in recipes.items()),
            "",
        ]
    )


def row(name: str, runs: list[dict], first: list[dict], tasks: list[str], minutes: float) -> str:
    """A recipe's line: what it came to, and how that differs from the first."""
    whole, others = ([run for run in side if "failed" not in run] for side in (runs, first))
    seeds = f"{len(whole)}" + (f", and {len(runs) - len(whole)} failed" if len(whole) < len(runs) else "")
    if not whole:
        return f"| {name} | {seeds} |" + " |" * (3 + len(tasks))
    over = sum(run["minutes"] > minutes for run in whole)
    taken = spread([run["minutes"] for run in whole], ".1f") + (
        f", **{over} over the budget**" if over else ""
    )
    cells = [name, seeds, f"{whole[0]['parameters']:,}", f"{whole[0]['words_seen']:,}", taken]
    for task in tasks:
        scale, form = (1, ".4f") if task.startswith("perplexity") else (100, ".2f")
        mine, theirs = (
            [scale * run["scores"][task] for run in side if task in run["scores"]] for side in (whole, others)
        )
        told = spread(mine, form) if mine else "–"
        cells.append(told + ("" if runs is first else difference(mine, theirs, form)))
    return "| " + " | ".join(cells) + " |"


def difference(mine: list[float], theirs: list[float], form: str) -> str:
    """From the first recipe; nothing where one side has no spread."""
    from scipy.stats import ttest_ind

    if min(len(mine), len(theirs)) < 2:
        return ""
    test = ttest_ind(mine, theirs, equal_var=False)
    low, high = test.confidence_interval()
    return f" ({fmean(mine) - fmean(theirs):+{form}}, {low:+{form}} to {high:+{form}}, p = {test.pvalue:.2g})"


def title(task: str) -> str:
    """Of a column."""
    task, *backend = task.split(", ")
    return "held-out text, bits per byte" if task == "perplexity" else ", ".join([named(task), *backend, "%"])


def spread(values: list[float], form: str) -> str:
    """Mean ± standard deviation; one value alone."""
    if len(values) < 2:
        return f"{values[0]:{form}}"
    return f"{fmean(values):{form}} ± {stdev(values):{form}}"


def _all(values) -> str:
    """Each that is there, once."""
    return ", ".join(dict.fromkeys(values))
