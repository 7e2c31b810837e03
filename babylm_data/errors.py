"""The one kind of error that a user can cause, and how a stage begins and ends on it."""

import argparse
import contextlib
import gc
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from babylm_data.stopping import Stopped, listen
from babylm_data.threads import give_way

# New objects after which Python looks for unused ones. The libraries make a million that live to the end: to look after
# every 700, as is the default, takes half a second of a start, and to look through all at the end most of another.
LOOK_AFTER = 10_000
LONGEST = 900  # letters of an error
STATUS = (
    "BABYLM_STATUS"  # in the environment: the file in which whoever started the program wants status.json too
)
DIGITS = 15  # of a whole number on a command line: the libraries count in 64 bits


class UserError(Exception):
    """Something the user can mend. The message is one line that says what is wrong and what to do."""


def parser_of(program: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """The command line of `python -m PROGRAM`, without options yet; none may be shortened, or a new one would change
    what a script asks for.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def positive(text: str) -> int:
    """A whole number above 0, as a type for argparse."""
    if not text.isdecimal() or int(text[:DIGITS]) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return from_zero(text)


def from_zero(text: str) -> int:
    """A whole number from 0 on, such as a seed, as a type for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    if len(text) > DIGITS:
        raise argparse.ArgumentTypeError(f"{text[:20]}… is too large: at most {DIGITS} digits")
    return int(text)


def _importing(error: Exception) -> str | None:
    """The library whose import raised this, as by a setting in the environment that it cannot read; None for ours."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [frame for frame in frames if frame.f_code.co_name == "<module>"]
    if not modules or "site-packages" not in modules[-1].f_code.co_filename:
        return None
    return modules[-1].f_globals["__name__"].split(".")[0]


def leave_mark(ended: Literal["failed", "stopped"]) -> None:
    """Say how it ended beside the file in which whoever started the program wants its status: of several tasks the one
    exit status that a launcher tells may be that of another.
    """
    if place := os.environ.get(STATUS):
        with contextlib.suppress(OSError):
            Path(f"{place}.{ended}").touch()


def run_stage(main: Callable[[list[str]], int | None]) -> None:
    """Run `main(argv)` as a program: a user's error becomes one line on stderr and exit status 2, a stop status 85."""
    listen()
    give_way()
    gc.set_threshold(LOOK_AFTER)
    for stream in (sys.stdout, sys.stderr):  # a log or a terminal that is not UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        for word in sys.argv[1:]:
            word.encode()  # what is no text in this locale could not be written down at the end of the work
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        fault = str(error)
    except BrokenPipeError:  # `python -m … | head`: the reader left, which is no fault of ours
        sys.exit(141)
    except Stopped as stopped:
        print(stopped.said, file=sys.stderr)
        leave_mark("stopped")
        raise
    except UnicodeEncodeError as error:  # a name that Python could not read in this locale
        name = error.object.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        fault = f"{name[:200]!r} is no text in this locale: export LC_ALL=C.UTF-8 and try again"
    except OSError as error:  # a full disk, a folder that may not be written
        fault = f"{error.filename or type(error).__name__}: {error.strerror or error}"
    except Exception as error:
        if not (library := _importing(error)):
            leave_mark("failed")
            raise
        reason = " ".join(str(error).split())
        fault = f"{library} cannot be imported ({reason}): look at the environment variables that it reads"
    finally:
        gc.freeze()
    leave_mark("failed")
    fault = fault.replace("\n", "\\n")  # a name may have one in it
    if len(fault) > LONGEST:  # it quotes a monster: what to do stands at the end
        fault = f"{fault[: LONGEST // 2]} … {fault[-LONGEST // 3 :]}"
    print(f"error: {fault}", file=sys.stderr)
    sys.exit(2)
