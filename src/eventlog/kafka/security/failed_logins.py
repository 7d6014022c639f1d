"""
The bound of failed logins: how many attempts an address has at once, and in a time.

An address has some attempts at once. Each that failed takes one of them away for a while, so that after a few failures
there is one attempt a second. Further attempts wait for their turn; nobody of another address does. An attempt that
succeeds costs nothing: a program with hundreds of connections is not held up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

ATTEMPTS: Final = 20
FAILURES_PER_SECOND: Final = 1.0


class _Address:
    """The attempts of one address."""

    __slots__ = ("at_s", "attempts", "failures", "timer", "waiting")

    def __init__(self, now_s: float) -> None:
        self.attempts = 0
        self.failures = 0.0
        self.at_s = now_s
        """When `failures` was counted."""
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.timer: asyncio.TimerHandle | None = None

    def count(self, now_s: float) -> float:
        """The failures that count now."""
        self.failures = max(0.0, self.failures - (now_s - self.at_s) * FAILURES_PER_SECOND)
        self.at_s = now_s
        return self.failures


class FailedLogins:
    """
    The failed logins of a listener, by address.

    Belongs to the loop. Each `enter` is followed by one `leave`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, most_attempts: int = ATTEMPTS) -> None:
        self._loop = loop
        self._most_attempts = most_attempts
        self._addresses: dict[str, _Address] = {}

    async def enter(self, address: str) -> None:
        """Wait for the turn of an attempt."""
        one = self._addresses.get(address)
        if one is None:
            one = self._addresses[address] = _Address(self._loop.time())
        if not one.waiting and self._has_room(one):
            one.attempts += 1
            return
        turn = self._loop.create_future()
        one.waiting.append(turn)
        self._plan(address, one)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(address, has_failed=False)
            else:
                one.waiting.remove(turn)
            raise

    def leave(self, address: str, *, has_failed: bool) -> None:
        """End an attempt."""
        one = self._addresses[address]
        one.attempts -= 1
        if has_failed:
            one.failures = one.count(self._loop.time()) + 1
        self._grant(address, one)

    def _has_room(self, one: _Address) -> bool:
        return one.attempts + one.count(self._loop.time()) <= self._most_attempts - 1

    def _grant(self, address: str, one: _Address) -> None:
        """Have those go on whose turn it is, and forget an address that nothing is to be known of."""
        while one.waiting and self._has_room(one):
            one.attempts += 1
            one.waiting.popleft().set_result(None)
        self._plan(address, one)

    def _plan(self, address: str, one: _Address) -> None:
        """Look again when a failure counts no more."""
        if one.timer is not None:
            one.timer.cancel()
            one.timer = None
        if one.waiting and one.attempts < self._most_attempts:
            over = one.attempts + one.count(self._loop.time()) - (self._most_attempts - 1)
            wait_s = max(over, 0.001) / FAILURES_PER_SECOND
        elif one.failures and not one.waiting:
            wait_s = one.failures / FAILURES_PER_SECOND
        elif one.attempts or one.waiting:
            return
        else:
            self._addresses.pop(address, None)
            return
        one.timer = self._loop.call_later(wait_s, self._look, address, one)

    def _look(self, address: str, one: _Address) -> None:
        one.timer = None
        one.count(self._loop.time())
        self._grant(address, one)

    def close(self) -> None:
        """Forget all addresses, when the loop ends."""
        for one in self._addresses.values():
            if one.timer is not None:
                one.timer.cancel()
        self._addresses.clear()
