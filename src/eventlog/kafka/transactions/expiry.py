"""
The end of transactions that nobody ends: a listener aborts them when their time is over.

It looks for those of other listeners too, also of processes that died: each look is one short read. A listener that has
served a transactional producer looks every second, any other every ten, and both at the moment when one is due.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.kafka_transactions import AbortExpired
from eventlog.errors import EventLogError, LogClosed
from eventlog.interruptions import unless_interrupted
from eventlog.notices import REQUEST_FAILED, tell

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker

_OFTEN_S: Final = 1.0
_SELDOM_S: Final = 10.0
_SOON_S: Final = 0.1
_LEAST_S: Final = 0.01


class TransactionExpiry:
    """
    The timer of a listener that aborts what has no time left.

    Belongs to the loop.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._timer: asyncio.TimerHandle | None = None
        self._most_s = _SELDOM_S
        self._is_aborting = False
        broker.when_stopping.append(self.stop)

    def start(self) -> None:
        """Look from now on; the first time in a moment, so that nothing that starts waits for it."""
        if self._broker.backend.is_read_only:
            return
        self._timer = self._broker.loop.call_later(_SOON_S, self._look)

    def look_often(self) -> None:
        """Look every second from now on: there are transactions here."""
        if self._most_s != _OFTEN_S:
            self._most_s = _OFTEN_S
            self._look()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self.stop()
        broker = self._broker
        if broker.is_stopping:
            return
        wait_s = self._most_s
        try:
            broker.backend.notice_schedules()
            deadline_ms = broker.backend.next_expiry_ms()
            if deadline_ms is not None:
                left_s = (deadline_ms - broker.backend.clock.now_ms() + 1) / 1000
                if left_s <= 0 and not self._is_aborting:
                    self._abort()
                wait_s = min(max(left_s, _LEAST_S), wait_s) if left_s > 0 else wait_s
        except unless_interrupted(LogClosed):
            return  # the log has ended under the listener, in a test of a crash: there is nothing left to look at
        except unless_interrupted(EventLogError) as error:
            tell(REQUEST_FAILED, exc_info=error, error=error)
        self._timer = broker.loop.call_later(wait_s, self._look)

    def _abort(self) -> None:
        broker = self._broker
        self._is_aborting = True
        done = broker.commit(lambda when_done: broker.backend.prepare_transaction(AbortExpired(), when_done))
        done.add_done_callback(self._aborted)

    def _aborted(self, done: asyncio.Future[Any]) -> None:
        self._is_aborting = False
        error = None if done.cancelled() else done.exception()
        if error is not None:
            tell(REQUEST_FAILED, exc_info=error, error=error)
        elif self._timer is not None:
            self._look()
