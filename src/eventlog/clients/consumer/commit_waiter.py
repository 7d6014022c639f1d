"""
A place to sleep until somebody commits.

Knows nothing of what was committed, or of who sleeps.
"""

from __future__ import annotations

from eventlog.store.store import Store


class CommitWaiter:
    """
    Sleeps until somebody commits.

    Belongs to one thread, but for `wake`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiter = store.waiter()
        self._is_armed = False
        self.wake = self._waiter.wake
        self.close = self._waiter.close

    def sleep(self, deadline_s: float | None, longest_s: float, seen: int) -> bool:
        """
        Sleeps until there is another commit than `seen`, or it is woken, or for `longest_s`.

        False when the time is over.
        """
        clock = self._store.clock
        now_s = clock.monotonic()
        if deadline_s is not None and now_s >= deadline_s:
            return False
        if not self._is_armed:
            self._is_armed = True
            self._waiter.arm()
            return True  # look once more: what came before the bell hung there rings no bell
        until_s = now_s + longest_s if deadline_s is None else min(now_s + longest_s, deadline_s)
        while not self._waiter.wait(until_s - now_s) and (seen < 0 or self._store.last_transaction() == seen):
            now_s = clock.monotonic()
            if now_s >= until_s:
                break
        return True

    def forget(self) -> None:
        """Leaves the parent's place to sleep alone, in a forked child."""
        self._waiter.forget()
        self.close = self._waiter.forget
