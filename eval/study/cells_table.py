"""A study as text for a terminal: a block for each measure, its best cell first."""

from eval.compare.measures import Measure, p_shown
from eval.study.cells import UNKNOWN, Compared
from eval.tasks.perplexity import LOSSY


def cells_table(compared: Compared) -> str:
    """The sentences that say what came out, and every cell by every measure."""
    lines = [f"{compared.plan.name}: {compared.plan.question}", compared.said, *compared.answers]
    lines += compared.left_out
    for name, cells in compared.cells.items():
        measure = compared.measures[name]
        wide = max(len(label) for label in [*cells, "cell"])
        rival = "control" if compared.plan.distilled else "first"
        lines += ["", f"{measure.heading}{' (less is better)' * measure.less_is_better}"]
        lines.append(
            f"  {'cell':<{wide}} {'mean':>8} {'sd':>7} {rival:>8} {'its sd':>7} {'less it':>8} "
            f"{'95 %, ' + ('seeds and items' if _has_items(cells) else 'seeds alone'):<22} {'p, Holm':>9} "
            f"{'seeds to settle':>20}"
        )
        lines += [f"  {label:<{wide}} {_line(cells[label], measure)}" for label in measure.best_first(cells)]
        lines += [f"  {LOSSY}"] * any(cell["lossy"] for cell in cells.values())
    return "\n".join(lines)


def _has_items(cells: dict[str, dict]) -> bool:
    """Whether an interval holds the noise of drawing the items."""
    return any(cell["item_error"] for cell in cells.values())


def _line(cell: dict, measure: Measure) -> str:
    def number(value: float | None, width: int, sign: str = "") -> str:
        return f"{'-' if value is None else measure.shown(value, sign):>{width}}"

    interval, p = "-", "-"
    if cell["interval"]:
        interval = f"[{', '.join(measure.shown(end, '+') for end in cell['interval'])}]"
        p = f"{p_shown(cell['p_holm'])}{'*' * (cell['verdict'] != UNKNOWN)}"
    return (
        f"{number(cell['mean'], 8)} {number(cell['standard_deviation'], 7)} {number(cell['control_mean'], 8)} "
        f"{number(cell['noise'], 7)} {number(cell['difference'], 8, '+')} {interval:<22} {p:>9} {cell['settles']:>20}"
    )
