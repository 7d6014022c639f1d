"""Attempts: a transaction that met a conflict is tried again after a pause, on every backend."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from eventlog.api.transaction import Transaction
from eventlog.errors import ConflictError, WrongVersion
from eventlog.interruptions import unless_interrupted
from eventlog.options import check_function, check_int

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.0005
_LONGEST_PAUSE_SECONDS = 0.1


def transact(begin: Callable[[], Transaction], function: Callable[[Transaction], T], attempts: int) -> T:
    """Call a function with a transaction and commit it, at most `attempts` times while others are faster."""
    check_int("attempts", attempts, least=1)
    check_function("function", function, "Nothing was stored.")
    for attempt in range(1, attempts + 1):
        try:
            with begin() as tx:
                result = function(tx)
            return result  # noqa: RET504 - inside the block it would come before the commit
        except unless_interrupted(ConflictError, WrongVersion):
            if attempt == attempts:
                raise
            wait_a_little(attempt)
    raise AssertionError("there is at least one attempt")


def wait_a_little(attempt: int) -> None:
    """Sleep before another attempt: longer each time, up to a tenth of a second, and for a random time."""
    from eventlog import chance  # here, since it loads OpenSSL, and few have conflicts

    time.sleep(chance.uniform(0.0, pause_s(attempt)))


def pause_s(attempt: int) -> float:
    """The longest pause before another attempt."""
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(attempt, 30), _LONGEST_PAUSE_SECONDS)
