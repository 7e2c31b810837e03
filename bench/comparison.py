"""The field's plain loop against the kit's step, in turns."""

from dataclasses import asdict, replace
from pathlib import Path

from bench.figures import MEMORY_VOCABULARY, Turns, figures
from bench.shapes import Config, sides_of, with_vocabulary
from bench.spec import Request
from bench.turns import machine, take_turns

MEMORY_TURNS = 2


def compare(request: Request, config: Config, place: Path) -> dict:
    """All that was measured and what it comes to, for the table, the plot and the JSON file."""
    sides = sides_of(request, config)
    turns = take_turns(config, sides, request.turns, request, place)
    memory: Turns = {}
    if config.data.vocab_size == MEMORY_VOCABULARY:
        memory = turns
    elif request.memory and {"plain", "online"} <= set(sides):
        memory = take_turns(
            with_vocabulary(config, MEMORY_VOCABULARY),
            ("plain", "online"),
            min(MEMORY_TURNS, request.turns),
            replace(request, warmup=1, steps=1),  # the second step has the optimiser's state, and so the peak
            place,
            label=f"vocabulary {MEMORY_VOCABULARY:,}, ",
        )
    found = figures(turns, memory)
    return {
        "machine": machine(),
        "request": asdict(request),
        "config": config.model_dump(mode="json"),
        "turns": _as_json(turns),
        "memory_turns": _as_json(memory),
        "figures": found,
        "summary": {name: value and value["median"] for name, value in found.items()},
    }


def _as_json(turns: Turns) -> dict:
    return {side: [result.model_dump() for result in results] for side, results in turns.items()}
