"""
From the log into a consumer's hands: fetch what its positions want, hand it out in turn, sleep until there is more.

Knows nothing of groups, of commits, or of who may call.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from eventlog.clients.fetcher import Fetcher
from eventlog.clients.positions import Positions
from eventlog.records import RecordBatch
from eventlog.store.store import Store


class Intake:
    """
    Fills a consumer's positions from the log, and empties them into batches.

    Belongs to the consumer's thread, but for `wake`.
    """

    def __init__(self, store: Store, positions: Positions, fetch_max_bytes: int) -> None:
        self._store = store
        self._positions = positions
        self._fetch_max_bytes = fetch_max_bytes
        self._fetcher = Fetcher(store)
        self._waiter = store.waiter()
        self._is_armed = False
        self._seen_transaction = -1
        self._seen_version = -1
        self.wake = self._waiter.wake
        """Ends a wait that runs now, or else the next one; any thread may call it."""

    def take(self, left: int, *, is_loop: bool) -> list[RecordBatch[Any, Any]]:
        """
        Hands out what is fetched, after fetching when nothing is.

        A loop gets one batch at a time: what it has not seen must not look handed out.
        """
        if not self._positions.have_fetched and not self._fetch():
            return []
        return self._positions.take(left, is_loop=is_loop)

    def _fetch(self) -> bool:
        version = self._positions.version
        if self._store.last_transaction() == self._seen_transaction and version == self._seen_version:
            return False
        self._positions.rotate()
        active = [position for position in self._positions.order if not position.is_paused]
        cursors = [position.cursor for position in active]
        batches, transaction = self._fetcher.fetch(cursors, self._fetch_max_bytes)
        self._positions.fill(batches)
        if not batches:
            self._seen_transaction, self._seen_version = transaction, version
            self._positions.pass_by(active)
        return bool(batches)

    def look_again(self) -> None:
        """Says that the positions changed, so that the next look is at the log, whatever was seen before."""
        self._seen_transaction = -1

    def wait(self, deadline_s: float | None, watched: AbstractSet[int], longest_s: float) -> bool:
        """
        Sleeps until there may be more.

        False when the time is over.

        Args:
            watched: reading ends of pipes; it ends also when the other side of one is gone.
            longest_s: it ends after so many seconds in any case.
        """
        clock, store, waiter = self._store.clock, self._store, self._waiter
        now_s = clock.monotonic()
        if deadline_s is not None and now_s >= deadline_s:
            return False
        if not self._is_armed:
            self._is_armed = True
            waiter.arm()
            return True  # look once more: what came before the bell hung there rings no bell
        waiter.watch(watched)
        until_s = now_s + longest_s if deadline_s is None else min(now_s + longest_s, deadline_s)
        seen = self._seen_transaction
        # Nothing but this runs while nothing happens: ten times a second, for each consumer that waits.
        while not waiter.wait(until_s - now_s) and store.last_transaction() == seen:
            now_s = clock.monotonic()
            if now_s >= until_s:
                break
        return True

    def close(self) -> None:
        """Removes the place to sleep."""
        self._waiter.close()

    def forget(self) -> None:
        """Leaves the parent's place to sleep alone, in a forked child."""
        self._waiter.forget()
