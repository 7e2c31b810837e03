"""From a finished run to the leaderboard.

python -m eval.submission evaluate runs/x --data DIR            # scores what is not scored yet
python -m eval.submission build runs/x --rules 2025             # writes runs/x/submission/
python -m eval.submission check FILE --rules 2025 --data DIR    # finds every fault of a submission file
python -m eval.submission standing runs/x                       # beside the published scores
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from babylm_data.errors import parser_of, run_stage
from eval.results.request import requested
from eval.submission import bundle, evaluate
from eval.submission.check import file
from eval.submission.push import send
from eval.submission.standing import place


@dataclass(frozen=True)
class Action:
    """What a word on the command line stands for."""

    module: ModuleType
    request: type
    carry_out: Callable[[Any], int | None]
    meaning: str


ACTIONS = {
    "evaluate": Action(
        evaluate, evaluate.EvaluateRequest, evaluate.evaluate, "score all that a submission needs"
    ),
    "build": Action(
        bundle,
        bundle.BuildRequest,
        bundle.write_bundle,
        "bundle a finished, scored student, with the leaderboard's file",
    ),
    "check": Action(file, file.CheckRequest, file.print_faults, "find every fault of a submission file"),
    "push": Action(send, send.PushRequest, send.show_or_push, "send the bundle and the revisions to the hub"),
    "standing": Action(
        place, place.StandingRequest, place.print_standing, "place the scores beside the published ones"
    ),
}


def main(argv: list[str]) -> int | None:
    """Hand what is asked for to the action that the command line names."""
    parser = parser_of("eval.submission", __doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    for name, action in ACTIONS.items():
        words = actions.add_parser(
            name,
            help=action.meaning,
            description=action.module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        action.module.add_arguments(words)
    arguments = vars(parser.parse_args(argv))
    action = ACTIONS[arguments["action"]]
    return action.carry_out(requested(action.request, arguments))


if __name__ == "__main__":
    run_stage(main)
