"""A study as text for a terminal: a block for each measure, its best cell first."""

from eval.study.cells import UNKNOWN, Compared, heading, scale_of, sign_of
from eval.tasks.perplexity import LOSSY


def cells_table(compared: Compared) -> str:
    """The sentence that says what came out, and every cell by every measure."""
    plan = compared.plan
    lines = [f"{plan.name}: {plan.question}", compared.said]
    lines += compared.left_out
    lines += compared.answers
    for measure, cells in compared.cells.items():
        wide = max(len(label) for label in [*cells, "cell"])
        times, digits = scale_of(measure)
        lines += ["", f"{heading(measure)}{' (less is better)' * (times == 1)}"]
        lines.append(
            f"  {'cell':<{wide}} {'mean':>8} {'sd':>7} {'control':>8} {'its sd':>7} {'less it':>8} "
            f"{'95 %, ' + ('seeds and items' if _has_items(cells) else 'seeds alone'):<22} {'p, Holm':>8} "
            f"{'seeds to settle':>15}"
        )
        for label in sorted(cells, key=lambda label: -sign_of(measure) * cells[label]["difference"]):
            lines.append(f"  {label:<{wide}} {_line(cells[label], times, digits)}")
        lines += [f"  {LOSSY}"] * any(cell["lossy"] for cell in cells.values())
    return "\n".join(lines)


def _has_items(cells: dict[str, dict]) -> bool:
    """Whether an interval holds the noise of drawing the items."""
    return any(cell["item_error"] for cell in cells.values())


def _line(cell: dict, times: int, digits: int) -> str:
    def number(value: float | None, width: int, sign: str = "") -> str:
        return f"{'-':>{width}}" if value is None else f"{times * value:>{sign}{width}.{digits}f}"

    interval, p = "-", "-"
    if cell["interval"]:
        ends = [f"{times * end:+.{digits}f}" for end in cell["interval"]]
        interval = f"[{', '.join(ends)}]"
        p = f"{cell['p_holm']:.4f}{'*' * (cell['verdict'] != UNKNOWN)}"
    settle = cell["seeds_to_settle"]
    return (
        f"{number(cell['mean'], 8)} {number(cell['standard_deviation'], 7)} {number(cell['control_mean'], 8)} "
        f"{number(cell['noise'], 7)} {number(cell['difference'], 8, '+')} {interval:<22} {p:>8} {settle or '-':>15}"
    )
