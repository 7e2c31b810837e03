"""The page of records: a table for each file that `python -m bench.record --json` wrote, and each machine in it."""

from itertools import chain
from statistics import fmean, stdev

from eval.compare.paired import run_difference
from eval.runs.run_folder import machines
from eval.tasks import title as named

HEAD = """# Records

What came out within a budget of minutes, all counted but the scoring. Scores are means over seeds ± their standard
deviation; in brackets the difference from the first recipe of the table, its 95 % interval and p by Welch's t-test over
seeds, of each comparison by itself. Recipes need not fill the budget alike, nor read equally much: this tells which is
best within it, not what a loss or a teacher is worth. Rendered by `python -m bench.record --table`, from the files in
`records/`.

"""

APART = 1.01  # more than a step or two: how many words a recipe reads is then told from the least to the most


def page(records: list[dict]) -> str:
    """The page of all records, the first given first; of those of the same minutes, recipes and machines one table.

    A recipe is the same where it was made of the same config, text and options, as far as attempts tell.
    """
    of: dict[tuple, dict] = {}
    for record in chain.from_iterable(map(by_machine, records)):
        alike = {(each["recipe"], each["prepared"], each.get("made_of")) for each in record["attempts"]}
        key = record["minutes"], frozenset(alike), frozenset(machines(record["attempts"]))
        both = [*of.get(key, {"attempts": []})["attempts"], *record["attempts"]]
        attempts = {(each["recipe"], each["seed"]): each for each in both}  # the last of the same
        commands = [*of.get(key, {"commands": []})["commands"], *record["commands"]]
        of[key] = {"minutes": record["minutes"], "commands": commands, "attempts": list(attempts.values())}
    return HEAD + "\n".join(section(record) for record in of.values())


def by_machine(record: dict) -> list[dict]:
    """A record as one for each machine that it was made on; a failure that names none stands with the first."""
    first = machines(record["attempts"])[:1] or [None]
    of: dict[str | None, list[dict]] = {}
    for each in record["attempts"]:
        (machine,) = machines([each]) or first
        of.setdefault(machine, []).append(each)
    return [record | {"attempts": attempts} for attempts in of.values()]


def section(record: dict) -> str:
    """A table of one record: a row for each recipe, means over seeds."""
    recipes: dict[str, list[dict]] = {each["recipe"]: [] for each in record["attempts"]}
    for each in record["attempts"]:
        recipes[each["recipe"]].append(each)
    whole = [each for each in record["attempts"] if "failed" not in each]
    tasks = list(dict.fromkeys(task for each in whole for task in each["scores"]))
    commits = _all(
        f"`{(each['commit'] or 'unknown')[:10]}`{' with changes' if each['dirty'] else ''}" for each in whole
    )
    titles = ["recipe", "seeds", "parameters", "words its student reads", "minutes", *map(title, tasks)]
    first, dates = next(iter(recipes.values())), _all(each["started"][:10] for each in whole)
    commands = ", ".join(f"`{command}`" for command in dict.fromkeys(record["commands"]))
    lines = [
        f"## {record['minutes']:g} minutes on {', '.join(machines(whole))}",
        "",
        f"{dates}; products: {rates(whole)}; commit {commits}; {commands}",
        *["The text was prepared beforehand, which is not counted."]
        * any(each["prepared"] for each in whole),
        "",
        f"| {' | '.join(titles)} |",
        "| --- " + "| ---: " * (len(titles) - 1) + "|",
        *(row(name, runs, first, tasks, record["minutes"]) for name, runs in recipes.items()),
        "",
    ]
    return "\n".join(lines)


def rates(whole: list[dict]) -> str:
    """What the machine multiplied beside the attempts, from the least to the most of each format."""
    found = [each for attempt in whole for each in attempt["gflops"]]
    of = {name: sorted(each[name] for each in found if name in each) for name in dict.fromkeys(chain(*found))}
    told = (f"{name} {each[0]:,}" + f" to {each[-1]:,}" * (each[-1] > each[0]) for name, each in of.items())
    return f"{', '.join(told)} GFLOP/s"


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
    read = [run["words_seen"] for run in whole]
    fewest, most = min(read), max(read)
    words = f"{fewest:,}" + (f" to {most:,}" if most > APART * fewest else "")
    cells = [name, seeds, f"{whole[0]['parameters']:,}", words, taken]
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
    if not (mine and theirs) or (found := run_difference(mine, theirs))["p_value"] is None:
        return ""
    low, high = found["interval_runs"]
    return f" ({found['difference']:+{form}}, {low:+{form}} to {high:+{form}}, p = {found['p_value']:.2g})"


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
