"""
Waking the consumers of a loop: one FIFO for all of them.

The FIFO is subscribed to the subjects of all waiting consumers, and the loop watches it. When it becomes readable, one
look at the log tells which partitions have more, and only their consumers go on. A notification may be lost, so every
100 ms one timer compares the number of the last commit.

    consumer                                     writer
    1  subscribes: the FIFO has its subjects     a  commits
    2  looks at the log: nothing                 b  writes a byte into the FIFO
    3  waits for its ear                         c  the loop looks, and rings the ear

If (a) comes before (2), the consumer sees the record. If it comes after, (b) comes after (1), and the ear rings.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from time import monotonic

from eventlog.backend import Backend
from eventlog.backend.reading import ReadMark
from eventlog.backend.waiting import RECHECK_SECONDS, Waiter
from eventlog.clients.awaiting.loop import Future, Loop, Timer
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted

_MOST_ARRIVALS = 4096
_MOST_SUBJECTS = 16
"""A FIFO with more subjects is subscribed to everything: each change of its name costs all writers a look."""
_MEMBERS_AT_ONCE = 64
_NO_FIFO_SECONDS = RECHECK_SECONDS / 20


class Ear:
    """
    One consumer's place to be notified: a `Listener`, for whose notifications tasks wait.

    Belongs to the consumer's thread of the moment, but for `wake`.
    """

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._thread = threading.get_ident()
        self._future: Future[None] | None = None
        self._watched: frozenset[int] = frozenset()
        self._wanted: frozenset[int] = frozenset()
        self.subjects: AbstractSet[int] | None = frozenset()
        self.is_subscribed = False
        self.is_rung = False
        """Whether there is something to look at since this was last set to False."""
        self.is_concerned: Callable[[Iterable[tuple[int, int]]], bool] = bool
        """Whether something has come to one of these partitions that the consumer reads."""
        self.is_at_rest: Callable[[], bool] | None = None
        """Whether a member has nothing to do; None for a consumer that is none."""

    # -- the consumer's side ---------------------------------------------------------------------------------

    async def wait(self, seconds: float) -> None:
        """Wait until something may have come, for `seconds` at most; returns at once if it has."""
        if self.is_rung or seconds <= 0:
            return
        loop = self._waker.loop
        self._watch_wanted()
        future = self._future = loop.future()
        timer = None if seconds == float("inf") else loop.call_later(seconds, self.ring)
        self._waker.begin_watching()
        try:
            await future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()
            self.unwatch()

    def ring(self) -> None:
        """Have the consumer go on; belongs to the loop."""
        self.is_rung = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    @property
    def is_waiting(self) -> bool:
        """Whether the consumer waits now."""
        return self._future is not None

    def _watch_wanted(self) -> None:
        for descriptor in self._wanted:
            self._waker.loop.add_reader(descriptor, self._note_end)
        self._watched = self._wanted

    def _note_end(self) -> None:
        """A watched member is gone: its pipe stays readable, so it is watched no more until we have looked."""
        self.unwatch()
        self.ring()

    def unwatch(self) -> None:
        """Watch no pipes: they may be closed, and their numbers be those of other files."""
        watched, self._watched = self._watched, frozenset()
        for descriptor in watched:
            self._waker.loop.remove_reader(descriptor)

    # -- what the core of a consumer calls -------------------------------------------------------------------

    def subscribe(self, subjects: AbstractSet[int] | None = None) -> bool:
        """Be notified of these subjects; whether that is new."""
        if self.is_subscribed and subjects == self.subjects:
            return False
        self.subjects, self.is_subscribed = subjects, True
        self._waker.add(self)
        return True

    def watch(self, descriptors: AbstractSet[int]) -> None:
        """Let a wait end also when the other side of one of these pipes is gone."""
        self._wanted = frozenset(descriptors)

    def wake(self) -> None:
        """End a wait that goes on, or else the next one; any thread may call it."""
        if threading.get_ident() == self._thread:
            self.ring()
        else:
            self._waker.put(self.ring)

    def close(self) -> None:
        """Give the place up."""
        self._waker.put(partial(self._waker.remove, self))

    def forget(self) -> None:
        """Leave the parent's place alone, in a forked child."""

    def fileno(self) -> int | None:
        """Return None: the loop watches another one for all."""
        return None

    def drain(self) -> bool:
        """Return False: there is nothing to take."""
        return False


class Waker:
    """
    The one FIFO of a log in a loop, and the ears that it rings.

    `add` may be called by the thread of a consumer's step while the loop runs; all else belongs to the loop.
    """

    def __init__(self, backend: Backend, loop: Loop, put: Callable[[Callable[[], object]], None]):
        self._backend = backend
        self.loop = loop
        self.put = put
        self._ears: dict[Ear, None] = {}
        self._guard = threading.Lock()
        self._waiter: Waiter | None = None
        self._subjects: AbstractSet[int] | None = frozenset()
        self._descriptor: int | None = None
        self._timer: Timer | None = None
        self._mark: ReadMark | None = None
        self._seen = -1
        self._unasked: deque[Ear] = deque()

    def ear(self) -> Ear:
        """A place to wait for one consumer."""
        return Ear(self)

    def add(self, ear: Ear) -> None:
        """Have the FIFO subscribed to the subjects of one more ear."""
        with self._guard:
            self._ears[ear] = None
            wanted = self._subjects
            if wanted is not None:
                wanted = None if ear.subjects is None else wanted | ear.subjects
                if wanted is not None and len(wanted) > _MOST_SUBJECTS:
                    wanted = None
            if self._waiter is None:
                self._waiter = self._backend.waiter()
            self._waiter.subscribe(wanted)
            self._subjects = wanted

    def remove(self, ear: Ear) -> None:
        """Forget an ear; the last one takes the FIFO along."""
        ear.unwatch()
        ear.ring()
        with self._guard:
            self._ears.pop(ear, None)
            if not self._ears:
                self._close()

    def close(self) -> None:
        """Give the FIFO up."""
        with self._guard:
            ears, self._ears = self._ears, {}
            self._close()
        for ear in ears:
            ear.ring()  # whoever waits finds the log closed

    def _after_fork(self) -> None:
        """Leave everything to the parent, in a forked child."""
        if self._waiter is not None:
            self._waiter.forget()
        self._waiter, self._descriptor, self._timer = None, None, None

    def _close(self) -> None:
        if self._descriptor is not None:
            self.loop.remove_reader(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None:
            self._waiter.close()
        self._waiter, self._descriptor, self._timer = None, None, None
        self._subjects = frozenset()

    # -- in the loop -----------------------------------------------------------------------------------------

    def begin_watching(self) -> None:
        """Watch the FIFO, and look at the clock, from the first wait on."""
        if self._descriptor is None and self._waiter is not None:
            self._descriptor = self._waiter.fileno()
            if self._descriptor is not None:
                self.loop.add_reader(self._descriptor, self._look)
        if self._timer is None:
            pause_s = _NO_FIFO_SECONDS if self._descriptor is None else RECHECK_SECONDS
            self._timer = self.loop.call_later(pause_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if any(ear.is_waiting for ear in self._ears):
            try:
                self._backend.notice_schedules()
                has_come = self._backend.last_transaction() != self._seen
            except unless_interrupted(EventLogError):
                has_come = True  # whoever looks meets it
            if has_come:
                self._look()
            self.begin_watching()

    def _look(self) -> None:
        """Ring the ears of those to whom something has come; of all where that cannot be known: they meet the error."""
        try:
            self._ring_concerned()
        except unless_interrupted(EventLogError):
            for ear in list(self._ears):
                ear.ring()

    def _ring_concerned(self) -> None:
        assert self._waiter is not None
        self._waiter.drain()
        self._seen = self._backend.last_transaction()
        if self._ring_only_one():
            return
        arrived: list[tuple[int, int]] | None = None
        if self._mark is None:
            self._mark = self._backend.fetch_and_mark((), 0)[1]
        else:
            arrived, self._mark = self._backend.arrivals(self._mark, _MOST_ARRIVALS)
        topics = {topic_id for topic_id, _ in arrived or ()}
        for ear in list(self._ears):
            is_all = arrived is None or not ear.is_waiting or ear.subjects is None
            if is_all or self._is_for(ear, topics, arrived or ()):
                ear.ring()
            elif ear.is_at_rest is not None:
                self._unasked.append(ear)
        self._ask_members()

    def _ring_only_one(self) -> bool:
        """Ring the ear of a consumer that is alone and no member: its own look costs no more than the one for whom."""
        ears = list(self._ears)
        if len(ears) != 1 or ears[0].is_at_rest is not None:
            return False
        self._mark = None  # it stays behind, and the order of the log may be long when another ear comes
        ears[0].ring()
        return True

    @staticmethod
    def _is_for(ear: Ear, topics: AbstractSet[int], arrived: Sequence[tuple[int, int]]) -> bool:
        """Whether something has come to a partition of this ear's consumer."""
        return bool(arrived) and not topics.isdisjoint(ear.subjects or ()) and ear.is_concerned(arrived)

    def _ask_members(self) -> None:
        """Ring the members whose group has changed, which the order of the log does not tell; some at a time."""
        for _ in range(min(len(self._unasked), _MEMBERS_AT_ONCE)):
            ear = self._unasked.popleft()
            if ear.is_waiting and not ear.is_rung and ear.is_at_rest is not None and not ear.is_at_rest():
                ear.ring()
        if self._unasked:
            self.loop.call_soon(self._ask_members)


async def wait_until(waker: Waker, is_reached: Callable[[], bool], timeout: float | None) -> bool:
    """Look after each commit until something is so; False when it is not after `timeout` seconds."""
    ear = waker.ear()
    deadline_s = float("inf") if timeout is None else monotonic() + timeout
    ear.subscribe(None)
    try:
        while True:
            ear.is_rung = False
            if is_reached():
                return True
            left_s = deadline_s - monotonic()
            if left_s <= 0:
                return False
            await ear.wait(left_s)
    finally:
        waker.remove(ear)
