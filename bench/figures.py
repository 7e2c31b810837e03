"""What the turns of a comparison come to, as numbers and as a table."""

import statistics
from collections.abc import Callable, Mapping

from bench.spec import Result, Side

MEMORY_VOCABULARY = 16_000  # of the memory ratio: that of the published recipes
Turns = Mapping[Side, list[Result]]
Figure = dict[str, float | list[float]]
"""`median`, `min`, `max`, and `values`, one a turn."""

MEANING = {
    "online_speedup": "s/step of plain over online",
    "cached_speedup": "s/step of plain over cached",
    "peak_memory_ratio": f"peak of online over plain, vocabulary {MEMORY_VOCABULARY:,}",
    "matrix_rate_fraction": "FLOP/s of the kit's cached step with Muon over those of matrix products",
    "muon_share": "part of that step which is Muon's step()",
}


def figures(turns: Turns, memory: Turns) -> dict[str, Figure | None]:
    """The figures of MEANING; None where a side was not measured. Ratios are formed turn by turn.

    `memory` are the turns at the vocabulary of the memory ratio.
    """
    sides = [turns.get(side, []) for side in ("muon", "cached", "online")]
    muon = next((turn for turn in sides if any(result.muon_seconds for result in turn)), [])
    return {
        "online_speedup": _ratio(turns, "plain", "online", step),
        "cached_speedup": _ratio(turns, "plain", "cached", step),
        "peak_memory_ratio": _ratio(memory, "online", "plain", lambda result: result.peak_bytes),
        "matrix_rate_fraction": spread([rate_fraction(result) for result in muon]),
        "muon_share": spread([muon_share(result) for result in muon]),
    }


def step(result: Result) -> float:
    """Seconds of a step: the median of a turn."""
    return statistics.median(result.seconds)


def rate_fraction(result: Result) -> float:
    """FLOP/s of a turn's steps, all of their arithmetic, over those of its matrix products."""
    return sum(result.flops.values()) / step(result) / result.rate


def muon_share(result: Result) -> float:
    """Part of a turn's steps which is Muon's step()."""
    return sum(result.muon_seconds) / sum(result.seconds)


def spread(values: list[float]) -> Figure | None:
    """A figure from its values; None without any."""
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def _ratio(turns: Turns, above: Side, below: Side, of: Callable[[Result], float]) -> Figure | None:
    pairs = zip(turns.get(above, []), turns.get(below, []), strict=False)
    return spread([of(a) / of(b) for a, b in pairs])


def machine_lines(machine: dict, result: Result) -> list[str]:
    """What the numbers were measured on, with the threads of one of its processes."""
    device = "" if result.device == "cpu" else f" and {result.device}"
    threads = f"{result.threads} thread{'s' if result.threads > 1 else ''}"
    lines = [
        f"machine  {machine['processor']}{device}, {threads}, {machine['instructions']}; "
        f"torch {machine['torch']}, transformers {machine['transformers']}"
    ]
    if machine["variables"]:
        lines.append(
            "set      " + " ".join(f"{name}={value}" for name, value in machine["variables"].items())
        )
    return lines


def figures_table(report: dict) -> str:
    """A comparison in a terminal; what spreads is median (min to max)."""
    turns = {side: [Result(**result) for result in results] for side, results in report["turns"].items()}
    memory = {
        side: [Result(**result) for result in results] for side, results in report["memory_turns"].items()
    }
    config, first = report["config"], next(iter(turns.values()))[0]
    data = config["data"]
    lines = [
        *machine_lines(report["machine"], first),
        f"shape    {config['name']}: {config['batch_size']} x {data['seq_len']} tokens a step, "
        f"vocabulary {data['vocab_size']:,}, teachers: {', '.join(config.get('teachers', {})) or 'none'}",
        "",
        f"{'side':<8}{'format':<7}{'compiled':<9}{'optimiser':<10}{'s/step':<26}{'peak GiB':<22}"
        f"{'loaded':<8}{'GFLOP':<10}{'products GFLOP/s':<24}{'of it':<8}",
    ]
    lines += [_row(side, results) for side, results in turns.items()]
    if memory and memory != turns:
        lines += ["", f"at vocabulary {MEMORY_VOCABULARY:,}"] + [
            _row(side, results) for side, results in memory.items()
        ]
    lines += ["", "losses of the first step, nats per token: " + _losses(turns)]
    lines += [""] + [
        f"{name:<22}{'not measured' if figure is None else _shown(figure):<28}{MEANING[name]}"
        for name, figure in report["figures"].items()
    ]
    return "\n".join(lines)


def _row(side: Side, results: list[Result]) -> str:
    """A side over all its turns."""
    first = results[0]
    seconds = spread([value for result in results for value in result.seconds])
    peak = spread([result.peak_bytes / 2**30 for result in results])
    loaded = max(result.loaded_bytes / 2**30 for result in results)
    rate = spread([result.rate / 1e9 for result in results])
    fraction = statistics.median([rate_fraction(result) for result in results])
    return (
        f"{side:<8}{first.precision:<7}{'yes' if first.compiled else 'no':<9}{first.optimizer:<10}"
        f"{_shown(seconds):<26}{_shown(peak):<22}{loaded:<8.2f}{sum(first.flops.values()) / 1e9:<10,.1f}"
        f"{_shown(rate, ',.0f'):<24}{fraction:<8.1%}"
    )


def _losses(turns: Turns) -> str:
    return "; ".join(
        f"{side} " + ", ".join(f"{name} {value:.4f}" for name, value in results[0].losses.items())
        for side, results in turns.items()
    )


def _shown(figure: Figure, form: str = ".3f") -> str:
    return f"{figure['median']:{form}} ({figure['min']:{form}} to {figure['max']:{form}})"
