"""
What a signal handler raises: nobody's error but that of the thread that it came to.

Decision record: docs/decisions/0026-signal-handlers.md. Knows nothing of threads.
"""

from __future__ import annotations

import sys
from _signal import NSIG, getsignal  # type: ignore[import-not-found]  # `signal` takes long to import, and to ask
from functools import partial
from types import CodeType, FrameType, TracebackType
from typing import Any, TypeVar

E = TypeVar("E", bound=BaseException)

_SIGNALS = range(1, NSIG)


def is_interruption(error: BaseException | None) -> bool:
    """
    Whether an error came from outside: Ctrl-C, or whatever a signal handler raised.

    Such an error belongs to the thread that it came to, and says nothing about the call that it came out of. It is
    neither handled nor translated, and no other thread sees it.

    Python calls a handler with the frame that it interrupts. So a traceback through a handler has a frame that was
    given the frame before it. A handler that has forgotten what it was given (`del signum, frame`) is known by its
    code.
    """
    if not isinstance(error, Exception):
        return error is not None
    trace, interrupted, codes = error.__traceback__, None, set()
    while trace is not None:
        frame = trace.tb_frame
        if interrupted is not None:
            if _is_given(frame, interrupted):
                return True
            codes.add(frame.f_code)
        trace, interrupted = trace.tb_next, frame
    return bool(codes) and not codes.isdisjoint(map(_code_of, map(getsignal, _SIGNALS)))


def _is_given(frame: FrameType, other: FrameType) -> bool:
    for value in frame.f_locals.values():
        if value is other or (type(value) is tuple and any(item is other for item in value)):
            return True
    return False


def _code_of(handler: Any) -> CodeType | None:
    """The code that a signal handler begins with; None where that is none of Python's."""
    if handler is None or isinstance(handler, int):
        return None
    while isinstance(handler, partial):
        handler = handler.func
    if not hasattr(handler, "__code__"):  # a method has it, too
        handler = type(handler).__call__
    code = getattr(handler, "__code__", None)
    return code if isinstance(code, CodeType) else None


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
