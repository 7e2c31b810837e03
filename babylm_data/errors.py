"""The one kind of error that a user can cause, and how a stage ends on it."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend. The message is one line that says what is wrong and what to do."""


def run_stage(main: Callable[[list[str]], int | None]) -> None:
    """Run `main(argv)` as a program: a user's error becomes one line on stderr and exit status 2."""
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        fault = str(error)
    except BrokenPipeError:  # `python -m … | head`: the reader left, which is no fault of ours
        sys.exit(141)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that may not be written
        fault = f"{error.filename or 'the file system'}: {error.strerror or error}"
    print(f"error: {fault}", file=sys.stderr)
    sys.exit(2)
