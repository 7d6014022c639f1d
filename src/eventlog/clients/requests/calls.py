"""
The requests of a process that wait for replies, by their correlation ids.

Which thread or task reads the replies is decided elsewhere; whoever reads gives them out here.
Knows nothing of waiting.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from os import urandom
from typing import Any

from eventlog.clients.requests.headers import correlation_of, group_of
from eventlog.records import Record

Reply = Record[bytes | None, bytes | None]


class Call:
    """
    One request that waits.

    Args:
        expected: how many replies it waits for.
        wake: called when it is done, by whoever reads.
    """

    __slots__ = ("_groups", "error", "expected", "id", "is_waiting", "replies", "wake")

    def __init__(self, id: bytes, expected: int, wake: Callable[[], object]) -> None:  # noqa: A002
        self.id = id
        self.expected = expected
        self.wake = wake
        self.error: Exception | None = None
        """Why no reply can come, if whoever reads has found that out."""
        self.is_waiting = False
        """Whether its thread or task waits, and may read on when it is woken."""
        self.replies: list[Reply] = []
        self._groups: set[str] = set()
        """The groups that have answered: one that answers twice, after a crash, counts once."""

    @property
    def is_done(self) -> bool:
        """Whether all replies are there."""
        return len(self.replies) >= self.expected

    def take(self, reply: Reply) -> None:
        """Take a reply."""
        group = group_of(reply.headers) if self.expected > 1 else None
        if self.is_done or group in self._groups:
            return
        if group is not None:
            self._groups.add(group)
        self.replies.append(reply)


class Calls:
    """
    The requests that wait.

    Any thread may use it: each method is one step on a dict.
    """

    def __init__(self) -> None:
        self._calls: dict[bytes, Call] = {}
        self._ids = map(urandom(8).__add__, map(_eight_bytes, itertools.count()))
        """Eight random bytes, which no other process has, and a number."""

    def begin(self, expected: int, wake: Callable[[], object]) -> Call:
        """Begin to wait for replies."""
        call = Call(next(self._ids), expected, wake)
        self._calls[call.id] = call
        return call

    def end(self, call: Call) -> None:
        """Wait no longer; replies that come later are nobody's."""
        self._calls.pop(call.id, None)

    def give_out(self, replies: Iterable[Record[Any, Any]]) -> None:
        """Give replies to the calls that wait for them, and wake those that are done; others' are passed by."""
        for reply in replies:
            call = self._calls.get(correlation_of(reply.headers) or b"")
            if call is not None:
                call.take(reply)
                if call.is_done:
                    call.wake()

    @property
    def are_waiting(self) -> bool:
        """Whether any of them waits for more."""
        return any(not call.is_done for call in list(self._calls.values()))

    def fail(self, error: Exception) -> None:
        """Tell all that no reply will come."""
        for call in list(self._calls.values()):
            call.error = error
            call.wake()

    def wake_one(self) -> None:
        """Wake some call that waits, so that it reads on."""
        for call in list(self._calls.values()):
            if call.is_waiting and not call.is_done:
                call.wake()
                return


def _eight_bytes(number: int) -> bytes:
    return number.to_bytes(8, "big")
