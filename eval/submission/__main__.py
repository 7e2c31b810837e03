"""From a finished run to the leaderboard.

python -m eval.submission evaluate runs/x --data DIR            # scores what is not scored yet
python -m eval.submission build runs/x --rules 2025             # writes runs/x/submission/
python -m eval.submission check FILE --rules 2025 --data DIR    # finds every fault of a submission file
python -m eval.submission standing runs/x                       # beside the published scores
"""

import argparse

from babylm_data.errors import run_stage
from eval.submission import bundle, evaluate
from eval.submission.check import file
from eval.submission.push import send
from eval.submission.standing import place

ACTIONS = {
    "evaluate": (evaluate, "score all that a submission needs"),
    "build": (bundle, "bundle a finished, scored student, with the leaderboard's file"),
    "check": (file, "find every fault of a submission file"),
    "push": (send, "send the bundle and the revisions to the hub"),
    "standing": (place, "place the scores beside the published ones"),
}


def main(argv: list[str]) -> int | None:
    """Hand the command line to the action that it names."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.submission",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, (module, meaning) in ACTIONS.items():
        action = actions.add_parser(
            name,
            help=meaning,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(action)
    arguments = parser.parse_args(argv)
    return ACTIONS[arguments.action][0].main(arguments)


if __name__ == "__main__":
    run_stage(main)
