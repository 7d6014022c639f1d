"""
What a signal handler raises: nobody's error but that of the thread that it came to.

Decision record: docs/decisions/0026-signal-handlers.md. Knows nothing of threads.
"""

from __future__ import annotations

import sys
from types import FrameType, TracebackType
from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def is_interruption(error: BaseException | None) -> bool:
    """
    Whether an error came from outside: Ctrl-C, or whatever a signal handler raised.

    Such an error belongs to the thread that it came to, and says nothing about the call that it came out of. It is
    neither handled nor translated, and no other thread sees it.

    Python calls a handler with the frame that it interrupts. So a traceback through a handler has a frame that was
    given the frame before it.
    """
    if not isinstance(error, Exception):
        return error is not None
    trace, interrupted = error.__traceback__, None
    while trace is not None:
        frame = trace.tb_frame
        if interrupted is not None and _is_given(frame, interrupted):
            return True
        trace, interrupted = trace.tb_next, frame
    return False


def _is_given(frame: FrameType, other: FrameType) -> bool:
    for value in frame.f_locals.values():
        if value is other or (type(value) is tuple and any(item is other for item in value)):
            return True
    return False


def unless_interrupted(*kinds: type[E]) -> tuple[type[E], ...]:
    """
    The kinds of an `except` clause, which must not take an interruption for an error of its block.

    `except unless_interrupted(OSError):` lets the `TimeoutError` of a signal handler pass, which is an `OSError`, too.
    """
    return () if is_interruption(sys.exception()) else kinds


class suppress:  # noqa: N801  # as in contextlib
    """`contextlib.suppress`, except for interruptions."""

    __slots__ = ("_kinds",)

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return kind is not None and issubclass(kind, self._kinds) and not is_interruption(error)
