"""A study as text for a terminal: a block for each measure, its best cell first."""

from eval.study.cells import TITLES, Compared, sign_of
from eval.tasks import title


def cells_table(compared: Compared) -> str:
    """The sentence that says what came out, and every cell by every measure."""
    plan = compared.plan
    lines = [f"{plan.name}: {plan.question}", compared.said]
    if compared.unfinished:
        more = ", …" if compared.unfinished[3:] else ""
        lines.append(
            f"{len(compared.unfinished)} runs are not finished: {', '.join(compared.unfinished[:3])}{more}"
        )
    for measure, cells in compared.cells.items():
        wide = max(len(label) for label in [*cells, "cell"])
        times, digits = (1, 4) if sign_of(measure) < 0 else (100, 2)
        lines += ["", f"{TITLES.get(measure, f'{title(measure)}, %')}{' (less is better)' * (times == 1)}"]
        lines.append(
            f"  {'cell':<{wide}} {'mean':>8} {'sd':>7} {'control':>8} {'its sd':>7} {'less it':>8} "
            f"{'95 %, seeds and items':<22} {'p, Holm':>8} {'seeds to settle':>15}"
        )
        for label in sorted(cells, key=lambda label: -sign_of(measure) * cells[label]["difference"]):
            lines.append(f"  {label:<{wide}} {_line(cells[label], times, digits)}")
    return "\n".join(lines)


def _line(cell: dict, times: int, digits: int) -> str:
    def number(value: float | None, width: int, sign: str = "") -> str:
        return f"{'-':>{width}}" if value is None else f"{times * value:>{sign}{width}.{digits}f}"

    interval, p = "-", "-"
    if cell["interval"]:
        ends = [f"{times * end:+.{digits}f}" for end in cell["interval"]]
        interval = f"[{', '.join(ends)}]"
        p = f"{cell['p_holm']:.4f}{'*' * (cell['verdict'] != 'not distinguishable')}"
    settle = cell["seeds_to_settle"] if cell["interval"] else None
    return (
        f"{number(cell['mean'], 8)} {number(cell['standard_deviation'], 7)} {number(cell['control_mean'], 8)} "
        f"{number(cell['noise'], 7)} {number(cell['difference'], 8, '+')} {interval:<22} {p:>8} {settle or '-':>15}"
    )
