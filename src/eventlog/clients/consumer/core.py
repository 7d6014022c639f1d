"""
Polling: says what is finished, keeps step with the group or the topics, hands out, and sleeps until there is more.

Knows nothing of who may call (`clients/consumer/consumer.py` does), or of how records are fetched
(`clients/consumer/fetcher.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from eventlog.clients.consumer.fetcher import Fetcher
from eventlog.clients.consumer.options import ConsumerOptions
from eventlog.clients.consumer.positions import Hand, Positions
from eventlog.clients.consumer.topic_discovery import TopicDiscovery
from eventlog.clock import Clock
from eventlog.errors import LogClosed
from eventlog.records import Record, RecordBatch

if TYPE_CHECKING:  # clients/consumer/consumer.py imports them for the first consumer of a group
    from eventlog.clients.consumer.group.membership import Membership
    from eventlog.clients.consumer.offset_commits import OffsetCommits

_FIRST_CHUNK = 16
_ALL = 1 << 62
_NEVER_S = float("inf")
_SLOW_SECONDS = 0.5
"""Work that takes a member so long is slow, where no interval of commits says so."""


class ConsumerCore:
    """
    Is what a consumer does in `poll()` and in its loop.

    Belongs to the consumer's thread, but for `wake`.
    """

    def __init__(
        self,
        clock: Clock,
        options: ConsumerOptions,
        positions: Positions,
        intake: Fetcher,
        membership: Membership | None,
        following: TopicDiscovery | None,
        commits: OffsetCommits | None,
    ) -> None:
        self._clock = clock
        self._max_records = options.max_poll_records
        self._positions = positions
        self._intake = intake
        self._membership = membership
        self._following = following
        self._commits = commits
        self._interval_s = options.auto_commit_interval if options.auto_commit and commits is not None else None
        self._is_woken = False
        self._is_closed = False
        self.is_handing = False
        """Whether records are on their way to the caller: an interruption before they arrive hands out nothing."""

    def take(
        self, timeout: float | None, max_records: int | None, *, is_loop: bool = False
    ) -> list[RecordBatch[Any, Any]]:
        """The next records, none when the time is over or `wake` was called; `is_handing` holds until it is unset."""
        self._positions.reclaim()
        self._positions.finish_handed()
        if self._commits is not None:
            self._commits.commit_if_due()
        if is_loop and self._is_woken:  # even while there is more to read: a busy loop must end too
            self._is_woken = False
            return []
        deadline_s = None if timeout is None else self._clock.monotonic() + timeout
        while True:
            if self._attend():
                self.is_handing = True
                batches = self._intake.take(_ALL if max_records is None else max_records, is_loop=is_loop)
                if batches:
                    return batches
                self.is_handing = False
            if self._is_woken:
                self._is_woken = False
                return []
            if not self._wait(deadline_s):
                return []
            if self._commits is not None:
                self._commits.commit_if_due()

    def chunks(
        self, take: Callable[[int], list[RecordBatch[Any, Any]]]
    ) -> Generator[Iterator[Record[Any, Any]], None, None]:
        """
        What a loop walks through, one batch after the other.

        Slow work means small batches, so that a crash repeats no more than an interval's work, and others get what is
        theirs soon.

        Args:
            take: gives a loop up to so many records, for a caller who may have them.
        """
        interval_s, membership = self._interval_s, self._membership
        slow_s = _SLOW_SECONDS if interval_s is None else interval_s / 2
        is_measured = interval_s is not None or membership is not None
        chunk = _FIRST_CHUNK if is_measured else self._max_records
        is_begun = False
        while True:
            try:
                batches = take(chunk)
            except LogClosed:
                if is_begun and self._is_closed:
                    return  # another thread closed us: the loop ends as by wakeup()
                raise
            if not batches:
                return
            is_begun = True
            began_s = self._clock.monotonic()
            batch = batches[0]
            permits = None if membership is None else membership.permits
            hand = Hand(self._positions[batch.topic, batch.partition], batch, permits)
            self._positions.hand, self.is_handing = hand, False
            yield hand.records
            is_slow = is_measured and self._clock.monotonic() - began_s > slow_s
            chunk = max(1, chunk // 2) if is_slow else min(2 * chunk, self._max_records)

    def _attend(self) -> bool:
        """Keeps step with the group, or with the topics; whether the positions are ours to read then."""
        if self._membership is not None:
            return self._membership.attend(is_busy=self._positions.have_fetched)
        if self._following is not None and not self._positions.have_fetched:
            self._following.attend()
        return True

    def _wait(self, deadline_s: float | None) -> bool:
        """
        Sleeps until there may be more.

        False when the time is over.
        """
        now_s = self._clock.monotonic()
        until_s = _NEVER_S if deadline_s is None else deadline_s
        if now_s >= until_s:
            return False
        if self._commits is not None:
            until_s = min(until_s, self._commits.next_at_s)
        membership = self._membership
        if membership is not None:
            until_s = min(until_s, membership.next_at_s(now_s))
            self._intake.wait(now_s, until_s, membership.watched, membership.subjects)
        elif self._following is not None:
            self._intake.wait(now_s, until_s, others=self._following.subjects)
        else:
            self._intake.wait(now_s, until_s)
        return True

    def take_back(self) -> None:
        """Has what did not arrive handed out again."""
        if self.is_handing:
            self._positions.rewind()
            self.is_handing = False

    def stop_following(self) -> None:
        """Leaves the positions as they are, whatever topics come."""
        self._following = None

    def wake(self) -> None:
        """Ends a wait that runs now, or else the next one, and a loop; any thread may call it."""
        self._is_woken = True
        self._intake.wake()

    def close(self) -> None:
        """Ends a loop that goes on: it gets nothing any more."""
        self._positions.reclaim()
        self._intake.close()
        self._is_closed = True
