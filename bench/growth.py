"""How a step of the kit grows with the teachers, the vocabulary and the length, one factor at a time."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from babylm_data.errors import UserError
from bench.figures import machine_lines, spread, step
from bench.shapes import Config, sides_of, with_length, with_teachers, with_vocabulary
from bench.spec import Request, Result, Side
from bench.turns import machine, take_turns

FACTORS: dict[str, tuple[Callable[[Config, int], Config], tuple[int, ...]]] = {
    "teachers": (with_teachers, (1, 2, 4, 8)),
    "vocabulary": (with_vocabulary, (4096, 8192, 16384, 32768, 65536)),
    "length": (with_length, (64, 128, 256, 512)),
}


def grow(request: Request, config: Config, place: Path) -> dict:
    """Every point, for the table, the plot and the JSON file; the other two factors are as the shape has them."""
    sides, points, known = sides_of(request, config), [], {}
    for factor, (change, values) in FACTORS.items():
        for value in values:
            changed = change(config, value)
            shape = (len(changed.teachers), changed.data.vocab_size, changed.data.seq_len)
            if shape not in known:  # where the factors meet
                label = f"{factor} {value:,}, "
                try:
                    known[shape] = take_turns(changed, sides, request.turns, request, place, label=label)
                except UserError as error:  # such as a full memory, for which the others are not thrown away
                    known[shape] = {}
                    print(f"{label}left out: {error}", flush=True)
            points += [_point(factor, value, side, results) for side, results in known[shape].items()]
    if not points:
        raise UserError("no point could be measured: see above")
    return {
        "machine": machine(),
        "request": asdict(request),
        "config": config.model_dump(mode="json"),
        "points": points,
    }


def _point(factor: str, value: int, side: Side, results: list[Result]) -> dict:
    return {
        "factor": factor,
        "value": value,
        "side": side,
        "seconds": spread([step(result) for result in results]),
        "tokens_per_step": results[0].tokens_per_step,
        "peak_bytes": max(result.peak_bytes for result in results),
        "turns": [result.model_dump() for result in results],
    }


def growth_table(report: dict) -> str:
    """The points in a terminal; seconds a step are median (min to max) of the turns."""
    config, points = report["config"], report["points"]
    first = Result(**points[0]["turns"][0])
    data = config["data"]
    lines = [
        *machine_lines(report["machine"], first),
        f"shape    {config['name']}: {config['batch_size']} sequences of {data['seq_len']} tokens, vocabulary "
        f"{data['vocab_size']:,}, {len(config['teachers'])} teachers, but for the factor; {first.precision}"
        f"{', compiled' if first.compiled else ''}",
        "",
        f"{'factor':<12}{'value':>8}  {'side':<8}{'s/step':<28}{'peak GiB':<10}",
    ]
    for point in points:
        seconds = point["seconds"]
        shown = f"{seconds['median']:.3f} ({seconds['min']:.3f} to {seconds['max']:.3f})"
        lines.append(
            f"{point['factor']:<12}{point['value']:>8,}  {point['side']:<8}{shown:<28}"
            f"{point['peak_bytes'] / 2**30:<10.2f}"
        )
    return "\n".join(lines)
