"""
Long polls: waiting until something is appended to some partitions, by any process.

One FIFO serves all polls of a loop; it is subscribed to the topics that any of them has asked for. When it becomes
readable, one look at the log tells which partitions have more, and only their polls go on. A notification may be lost,
so every 100 ms one timer compares the number of the last commit.

    poll                                    writer
    1  opens: the FIFO has its topics       a  commits
    2  looks at the log: nothing            b  writes a byte into the FIFO
    3  waits                                c  the loop looks, and ends the waits

If (a) comes before (2), the poll sees the records. If it comes after, (b) comes after (1), and the wait ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from eventlog.backend.waiting import RECHECK_SECONDS, group_subject
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted

if TYPE_CHECKING:
    from eventlog.backend import Backend
    from eventlog.backend.reading import ReadMark
    from eventlog.backend.waiting import Waiter

_MOST_ARRIVALS: Final = 4096
_MOST_SUBJECTS: Final = 16
"""A FIFO with more subjects is subscribed to everything: each change of its name costs all writers a look."""
_NO_FIFO_SECONDS: Final = RECHECK_SECONDS / 20


class Poll:
    """
    One wait for some partitions, by topic id and number, and for the changes of a queue if it names one.

    Use it in a `with` block: open it, look at the log, and wait if there was nothing.
    """

    __slots__ = ("_future", "_polls", "is_rung", "partitions", "subjects")

    def __init__(self, polls: Polls, partitions: Iterable[tuple[int, int]], group: str | None) -> None:
        self._polls = polls
        self.partitions = frozenset(partitions)
        subjects = {topic_id for topic_id, _ in self.partitions}
        self.subjects = frozenset(subjects if group is None else subjects | {group_subject(group)})
        """What it is notified of: topics by their ids, and a group by its number below zero."""
        self.is_rung = False
        self._future: asyncio.Future[None] | None = None

    async def wait(self, seconds: float) -> None:
        """Wait until something may have come since the last wait, for so long at most."""
        if not self.is_rung and seconds > 0 and not self._polls.is_stopped:
            loop = self._polls.loop
            future = self._future = loop.create_future()
            timer = loop.call_later(seconds, self.ring)
            try:
                await future
            finally:
                self._future = None
                timer.cancel()
        self.is_rung = False

    def ring(self) -> None:
        """End the wait that runs, or else the next one."""
        self.is_rung = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def __enter__(self) -> Self:
        self._polls.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._polls.remove(self)


class Polls:
    """
    The open polls of a loop, and the FIFO that ends their waits.

    Belongs to the loop.
    """

    def __init__(self, backend: Backend, loop: asyncio.AbstractEventLoop) -> None:
        self._backend = backend
        self.loop = loop
        self.is_stopped = False
        """Whether no poll waits any more: the listener stops."""
        self._polls: dict[int, set[Poll]] = {}
        """By topic id, and by the numbers of groups, which are below zero."""
        self._waiter: Waiter | None = None
        self._subjects: frozenset[int] | None = frozenset()
        self._descriptor: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._mark: ReadMark | None = None
        self._seen = -1

    def open(self, partitions: Iterable[tuple[int, int]], group: str | None = None) -> Poll:
        """A poll of some partitions, by topic id and number, and of a queue; enter it before looking at the log."""
        return Poll(self, partitions, group)

    def add(self, poll: Poll) -> None:
        """Have the FIFO subscribed to the topics of one more poll."""
        for subject in poll.subjects:
            self._polls.setdefault(subject, set()).add(poll)
        wanted = None if self._subjects is None else self._subjects | poll.subjects
        if wanted is not None and len(wanted) > _MOST_SUBJECTS:
            wanted = None
        if self._waiter is None:
            self._waiter = self._backend.waiter()
        if self._waiter.subscribe(wanted):
            self._watch()
        self._subjects = wanted
        if self._timer is None:
            self._timer = self.loop.call_later(
                _NO_FIFO_SECONDS if self._descriptor is None else RECHECK_SECONDS, self._tick
            )

    def remove(self, poll: Poll) -> None:
        """Forget a poll; the subscription stays, because the next poll will be of the same topics."""
        for subject in poll.subjects:
            polls = self._polls[subject]
            polls.discard(poll)
            if not polls:
                del self._polls[subject]

    def ring_group(self, group: str) -> None:
        """End the waits for a queue."""
        for poll in list(self._polls.get(group_subject(group), ())):
            poll.ring()

    def ring_all(self) -> None:
        """End all waits."""
        for polls in list(self._polls.values()):
            for poll in list(polls):
                poll.ring()

    def stop(self) -> None:
        """End all waits, and let none begin."""
        self.is_stopped = True
        self.ring_all()

    def close(self) -> None:
        """Give the FIFO up."""
        self.stop()
        if self._descriptor is not None:
            self.loop.remove_reader(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None:
            self._waiter.close()
        self._waiter, self._descriptor, self._timer = None, None, None

    def forget(self) -> None:
        """Leave the FIFO to the parent, in a forked child."""
        if self._waiter is not None:
            self._waiter.forget()
        self._waiter, self._descriptor, self._timer = None, None, None

    def _watch(self) -> None:
        assert self._waiter is not None
        if self._descriptor is None:
            self._descriptor = self._waiter.fileno()
            if self._descriptor is not None:
                self.loop.add_reader(self._descriptor, self._look)

    def _tick(self) -> None:
        self._timer = None
        if not self._polls:
            return
        try:
            has_come = self._backend.last_transaction() != self._seen
        except unless_interrupted(EventLogError):
            has_come = True  # whoever looks meets it
        if has_come:
            self._look()
        self._timer = self.loop.call_later(
            _NO_FIFO_SECONDS if self._descriptor is None else RECHECK_SECONDS, self._tick
        )

    def _look(self) -> None:
        """End the waits for whose partitions something has come; all of them where that cannot be known."""
        try:
            arrived = self._arrived()
        except unless_interrupted(EventLogError):
            arrived = None
        if arrived is None:
            self.ring_all()
            return
        for subject in [one for one in self._polls if one < 0]:
            for poll in list(self._polls.get(subject, ())):
                poll.ring()  # it looks at its queue, which is cheap
        for partition in arrived:
            for poll in list(self._polls.get(partition[0], ())):
                if partition in poll.partitions:
                    poll.ring()

    def _arrived(self) -> list[tuple[int, int]] | None:
        if self._waiter is not None:
            self._waiter.drain()
        self._seen = self._backend.last_transaction()
        if not self._polls:
            self._mark = None  # it stays behind, and the order of the log may be long when another poll comes
            return []
        if self._mark is None:
            self._mark = self._backend.fetch_and_mark((), 0)[1]
            return None
        arrived, self._mark = self._backend.arrivals(self._mark, _MOST_ARRIVALS)
        return arrived
