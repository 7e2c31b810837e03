"""The results as text for a terminal: scores times 100, as the leaderboard has them."""

from eval.tasks import extent_note
from eval.tasks.perplexity import LOSSY, is_lossy

UNITS = {"accuracy": "%", "r2_gain": "% of the unexplained variance"}


def is_scored(result: dict) -> bool:
    """Is this a score, of which more is better? Held-out text and the surprisals of one checkpoint have none."""
    return result.get("metric", "surprisal") != "surprisal"


def unit(metric: str) -> str:
    """What a score times 100 is: percent, or for a correlation no more than that."""
    return UNITS.get(metric, f"{metric} x 100")


def percent(value: float, error: float | None) -> str:
    """A score and its standard error, times 100; no ± where the error is not known."""
    return f"{100 * value:.2f}" + (f" ± {100 * error:.2f}" if error is not None else "")


def tie_note(result: dict) -> str:
    """What a tie was worth and what the other rule would have given; empty where no rule changes anything."""
    if "tie_rule" not in result:
        return ""
    choices = result["metric"] == "accuracy"
    shared, official = (
        f"{100 * result[f'{rule}_score']:.2f}{' %' if choices else ''}" for rule in ("shared", "official")
    )
    if result["tie_rule"] == "official":
        ruled = (
            "each decided for the first choice"
            if choices
            else "which count for nothing, and shares in float32"
        )
        other = "shared ties" if choices else "all their digits"
        return f", {ruled} (the official rule of 2025); with {other} it has {shared}"
    note = ", each worth one part in as many choices as share it" if choices else ", which count for nothing"
    if result["official_score"] != result["score"]:
        ruled = "the first choice wins a tie" if choices else "the model's shares are in float32"
        note += f"; by the official rule of 2025, under which {ruled}, it has {official}"
    return note


def scores_table(tasks: dict[str, dict], ends: int = 5) -> str:
    """All results; of the subtasks only the worst and the best `ends`."""
    scored = {name: result for name, result in tasks.items() if is_scored(result)}
    lines = []
    if scored:
        columns = (
            f"{'items':>8} {'ties':>6} {'chance':>7} {'± subtasks':>11} {'tie = 1/k':>10} {'tie = first':>12}"
        )
        lines += [f"{'task':<28} {'metric':<9} {'score x 100':>15} {columns}"]
        lines += [_line(name, result) for name, result in scored.items()]
    for name, result in scored.items():
        lines += _notes(name, result)
    for name, result in scored.items():
        subtasks = sorted(result["by_subtask"].items(), key=lambda entry: entry[1]["score"])
        if result["by_phenomenon"]:
            lines += ["", f"{name} by phenomenon", *_cells(sorted(result["by_phenomenon"].items()))]
        if len(subtasks) > 2 * ends:
            lines += ["", f"{name}, the {ends} worst and the {ends} best of {len(subtasks)} subtasks"]
            lines += [*_cells(subtasks[:ends]), "  …", *_cells(subtasks[-ends:])]
        elif len(subtasks) > 1:
            lines += ["", f"{name} by subtask", *_cells(subtasks)]
    for name, result in tasks.items():
        if result.get("metric") == "surprisal":
            mean = f"{result['score']:.3f} nats a word, over {result['words']:,} words in {result['items']:,} contexts"
            lines += ["", f"{name}: {mean}; `python -m eval.aoa` says what the checkpoints make of them"]
    if text := tasks.get("perplexity"):
        lines += ["", *_held_out(text)]
    return "\n".join(lines).strip()


def _line(name: str, result: dict) -> str:
    clusters = result.get("standard_error_clusters")
    spread = f"{100 * clusters:.2f}" if clusters is not None else "-"
    shared = f"{100 * result.get('shared_score', result['score']):.2f}"
    return (
        f"{name:<28} {result['metric']:<9} {percent(result['score'], result['standard_error']):>15} "
        f"{result['items']:>8,} {result['ties']:>6,} {result['chance']:>7.1%} {spread:>11} {shared:>10} "
        f"{100 * result['official_score']:>12.2f}"
    )


def _notes(name: str, result: dict) -> list[str]:
    lines = []
    if note := extent_note(result["limit"], result["partial"], result.get("synthetic", False)):
        lines += [f"{name} is no score of the whole task: {note}"]
    if same := result.get("identical"):
        more = ", …" if same[3:] else ""
        lines += [
            f"{name}: {len(same):,} items have the answer twice among their choices: {', '.join(same[:3])}{more}"
        ]
    return lines


def _cells(cells: list[tuple[str, dict]]) -> list[str]:
    return [
        f"  {name[:52]:<52} {percent(cell['score'], cell['standard_error']):>15} {cell['items']:>8,}"
        for name, cell in cells
    ]


def _held_out(text: dict) -> list[str]:
    lines = [f"{'held-out text':<40} {'words':>9} {'nats/token':>11} {'perplexity':>11} {'bits/byte':>10}"]
    for name, row in (*text["files"].items(), *text["splits"].items(), ("all", text["all"])):
        perplexity = "-" if row["perplexity"] is None else f"{row['perplexity']:,.2f}"
        numbers = f"{row['nats_per_token']:>11.4f} {perplexity:>11} {row['bits_per_byte']:>10.4f}"
        lines += [f"{name:<40} {row['words']:>9,} {numbers}"]
    return lines + [f"held-out text: {LOSSY}"] * is_lossy(text)
