"""The one kind of error that a user can cause, and how a stage ends on it."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend. The message is one line that says what is wrong and what to do."""


def run_stage(main: Callable[[list[str]], int | None]) -> None:
    """Run `main(argv)` as a program: a UserError becomes one line on stderr and exit status 2."""
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `python -m … | head`: the reader left, which is no fault of ours
        sys.exit(141)
