"""A model repository on the hub: calls that outlast a bad connection, and what goes wrong said in one line.

huggingface_hub retries listings and uploads by itself (six tries within half a minute; it waits as long as the server
asks). It does not retry what makes a repository, a branch or a commit, nor the check of the card: that is added here,
with the limit on what a server may ask for. The token goes to the hub alone: no line, log or error shows it.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from babylm_data.errors import UserError

TRIES = 6
FIRST_WAIT = 2.0
"""Seconds before the second try, doubled before each later one."""
LONGEST_WAIT = 330.0
"""Seconds that a server may ask to wait. The hub counts requests over five minutes."""
PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that may be others a moment later; 409 is a commit beside another one."""

Result = TypeVar("Result")


class Repository:
    """`name` ("USER/NAME") on the hub that HF_ENDPOINT names, with a token that may write to it."""

    def __init__(self, name: str, token: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        from huggingface_hub import HfApi

        self.name, self._token, self._sleep = name, token, sleep
        self.api = HfApi(token=token)

    def patiently(self, act: Callable[[], Result], doing: str) -> Result:
        """`act()`, tried again while what goes wrong may pass; a UserError that begins with `doing` if it does not."""
        from huggingface_hub import get_session

        for left in reversed(range(TRIES)):
            hooks = get_session().event_hooks["response"]  # a session is made anew when a connection broke
            if refuse_long_wait not in hooks:
                hooks.append(refuse_long_wait)
            try:
                return act()
            except Exception as caught:  # of the library, its HTTP client, its Xet client, and of JSON
                error = cause(caught)
                if isinstance(error, LongWait) or not (left and passes(error)):
                    raise UserError(self.clean(f"{doing}: {self.explain(error)}")) from None
                wait = asked_wait(headers(error)) or FIRST_WAIT * 2 ** (TRIES - 1 - left)
                print(self.clean(f"{doing}: {first_line(error)}; trying again in {wait:.0f} s"), flush=True)
            self._sleep(wait)
        raise AssertionError("the last try returns or raises")

    def clean(self, text: str) -> str:
        """`text` without the token, wherever it came from: a server may send back what it was sent."""
        return text.replace(self._token, "<token>")

    @contextmanager
    def clean_logs(self) -> Iterator[None]:
        """Keep the token out of what huggingface_hub logs; it hides its own header, but not what a server says."""

        def hide(record: logging.LogRecord) -> bool:
            record.msg, record.args = self.clean(record.getMessage()), ()
            if record.exc_info:  # formatters take the text that is there
                record.exc_text = self.clean(logging.Formatter().formatException(record.exc_info))
            return True

        handlers = list(logging.getLogger("huggingface_hub").handlers)
        for handler in handlers:
            handler.addFilter(hide)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(hide)

    def explain(self, error: BaseException) -> str:
        """What is wrong and what to do."""
        hub = self.api.endpoint
        advice = {
            401: f"the hub does not know the token (401): make one that may write at {hub}/settings/tokens",
            403: f"the token may not write to {self.name} (403): change that at {hub}/settings/tokens, or --repo",
            404: f"the hub has no such address (404): look at --repo {self.name} and at HF_ENDPOINT ({hub})",
        }
        if status(error) == 404 and "xet-write-token" in str(error):
            return f"{hub} has no Xet storage (404): set HF_HUB_DISABLE_XET=1"
        if known := advice.get(status(error)):
            return known
        later = passes(error) or isinstance(error, LongWait)
        return first_line(error) + (": push again later, what has arrived stays there" if later else "")


class LongWait(Exception):
    """The server asks for more patience than a program should have."""


def refuse_long_wait(response: Any) -> None:
    """A hook of the HTTP client: huggingface_hub sleeps as long as it is told, be it a day."""
    wait = asked_wait(response.headers)
    if response.status_code >= 400 and wait and wait > LONGEST_WAIT:
        raise LongWait(f"the hub answers {response.status_code} and asks to wait {wait:,.0f} s")


def asked_wait(answer: Mapping[str, str]) -> float | None:
    """Seconds that the headers of an answer ask to wait; None if they do not say."""
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(answer)
    if limit and limit.remaining == 0:
        return limit.reset_in_seconds + 1.0
    asked = answer.get("retry-after", "").strip()
    return int(asked) + 1.0 if asked.isdecimal() else None


def cause(error: BaseException) -> BaseException:
    """What lies under the library's "Error while uploading", which tells nothing itself."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def status(error: BaseException) -> int | None:
    """The HTTP status that an error tells of, if any; the Xet client has it in its text alone."""
    if response := getattr(error, "response", None):
        return response.status_code
    found = re.search(r"HTTP status \w+ error \((\d{3}) ", str(error))
    return int(found[1]) if found else None


def headers(error: BaseException) -> Mapping[str, str]:
    """The headers of the answer that an error tells of."""
    return getattr(getattr(error, "response", None), "headers", {})


def passes(error: BaseException) -> bool:
    """May the same call succeed a moment later? A connection that broke, a busy server, a page that is no JSON."""
    from json import JSONDecodeError

    from huggingface_hub.errors import HTTPError

    if (code := status(error)) is not None:
        return code in PASSING
    return isinstance(error, HTTPError | JSONDecodeError | ConnectionError | TimeoutError)


def first_line(error: BaseException) -> str:
    """An error in one line."""
    said = getattr(error, "server_message", None) if status(error) else str(error)
    lines = [line.strip() for line in (said or "").splitlines() if line.strip()]
    code = [f"the hub answers {status(error)}"] if status(error) else []
    return ": ".join(code + lines[:2]) or type(error).__name__
