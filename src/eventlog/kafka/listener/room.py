"""
How many groups and members a listener may have: each has a file open, and files are what a process runs out of.

A client needs no more than a name to have one, so half of the files of the process are left to the program and to the
connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eventlog.interruptions import unless_interrupted
from eventlog.notices import REQUEST_FAILED, tell

try:
    import resource
except ImportError:  # no such bounds here
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker

_MOST: Final = 20_000


class Room:
    """
    The room for groups and members of one listener.

    Belongs to the loop.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._was_full = False

    def is_full(self) -> bool:
        """Whether no group can be claimed, and no member can join, before another one has left; told once."""
        groups, consumers, shares = self._broker.groups, self._broker.consumers, self._broker.shares
        count = (0 if groups is None else groups.claim_count) + (0 if consumers is None else consumers.count)
        count += 0 if shares is None else shares.count
        most = _most()
        is_full = count >= most
        if is_full and not self._was_full:
            what = f"the listener has {count} groups and members, and this process may have files for {most}"
            tell(REQUEST_FAILED, error=f"{what}: raise its limit of open files (ulimit -n).")
        self._was_full = is_full
        return is_full


def _most() -> int:
    if resource is None:
        return _MOST
    try:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except unless_interrupted(OSError):
        return _MOST
    return _MOST if soft == resource.RLIM_INFINITY else min(soft // 2, _MOST)
