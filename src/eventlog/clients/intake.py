"""
From the log into a consumer's hands: fetch what its positions want, hand it out in turn, sleep until there is more.

Knows nothing of groups, of commits, or of who may call.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from eventlog.clients.fetcher import Fetcher
from eventlog.clients.positions import Position, Positions
from eventlog.records import RecordBatch
from eventlog.store.order import Mark, arrivals
from eventlog.store.store import Store

_FEW = 16
"""So many positions are all looked at when something was stored: to ask which of them have it is no faster."""


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
        self._mark: Mark | None = None
        """Up to where every position has seen everything, if it is known."""
        self._turn = 0
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
        if version != self._seen_version:
            self._mark = None
        elif self._store.environment.last_transaction() == self._seen_transaction:
            return False
        if self._mark is not None:
            ids, now = arrivals(self._store.environment, self._mark, len(self._positions.order))
            if ids is not None:
                return self._fetch_at(self._in_turn(self._positions.of_ids(ids)), version, now)
            self._mark = None
        self._positions.rotate()
        return self._fetch_at(self._positions.order, version, None)

    def _in_turn(self, positions: list[Position]) -> list[Position]:
        """Each time another first: one that can not be read, or has more than fits, does not keep others waiting."""
        self._turn += 1
        place = self._turn % (len(positions) or 1)
        return positions[place:] + positions[:place]

    def _fetch_at(self, positions: list[Position], version: int, known: Mark | None) -> bool:
        """
        Fetches what some positions want; the others have seen all before a mark that is known.

        When nothing is left, all have: up to that mark, or else up to the fetch, which marks where it is worth it.
        """
        active = [position for position in positions if not position.is_paused]
        if known is not None and not active:
            self._positions.fill(())
            self._note(version, known, known.transaction)
            return False
        is_marking = known is None and len(active) > _FEW
        cursors = [position.cursor for position in active]
        batches, transaction, is_all, mark = self._fetcher.fetch(cursors, self._fetch_max_bytes, is_marking=is_marking)
        if known is not None:
            mark, transaction = known, known.transaction
        self._positions.fill(batches)
        if not batches:
            self._positions.pass_by(active)
            self._note(version, mark, transaction)
        elif is_all:
            self._note(version, mark, self._seen_transaction)
        return bool(batches)

    def _note(self, version: int, known: Mark | None, transaction: int) -> None:
        self._mark, self._seen_version, self._seen_transaction = known, version, transaction

    def look_again(self) -> None:
        """Says that the positions changed, so that the next look is at the log, whatever was seen before."""
        self._seen_transaction = -1
        self._mark = None

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
