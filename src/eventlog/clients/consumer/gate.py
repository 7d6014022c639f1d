"""
The gate of a member's loop: it hands out a record only after a look at the clock.

A process may be stopped between any two records, and go on long after others have taken its partitions. A flag that a
thread clears is late then: the loop goes on before that thread does. So each record is preceded by the question whether
the lease still runs (decision record: docs/decisions/0031-a-lease-is-a-time.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat, takewhile
from operator import lt, truth
from types import MappingProxyType
from typing import Any, Final

from eventlog.accelerators import accelerated


@accelerated("RecordGate")
def gated(records: Iterator[Any], permit: list[float], monotonic: Callable[[], float], /) -> Iterator[Any]:
    """
    The records while a permit lasts; none is taken from the iterator once it is over.

    All of it runs in C: a signal handler that raises finds a record either taken and handed out, or not taken.

    Args:
        permit: holds the time until which it lasts, which may change.
        monotonic: the clock.
    """
    looks = map(lt, iter(monotonic, None), map(permit.__getitem__, repeat(0)))
    return map(_NOTHING.get, takewhile(truth, looks), records)  # what is not in it: the second argument


_NOTHING: Final[Mapping[bool, Any]] = MappingProxyType({})
