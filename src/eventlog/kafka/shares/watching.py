"""
The other workers of a queue, native ones and those of other listeners: the kernel tells when one of them dies.

Its leases are taken by whoever asks for jobs next, and the fetches that wait are told to ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eventlog.backend.queues import StoredQueue

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker

_WATCHED_COUNT: Final = 16
_LOOK_S: Final = 2.0
"""The pause between two looks at all others: not each of them is watched, and hung ones do not die."""
_REST_S: Final = 0.1
_NEVER_S: Final = float("inf")


class QueueWatch:
    """
    Watches the workers of one queue that belong to others.

    Belongs to the loop.
    """

    def __init__(self, broker: Broker, queue: StoredQueue) -> None:
        self.queue = queue
        self._broker = broker
        self._watch = broker.backend.watch_members()
        self._epoch = -1
        self._look_at_s = self._quiet_until_s = _NEVER_S
        self._descriptors: set[int] = set()
        self._has_died = False

    def meet(self, epoch: int, own: set[str]) -> None:
        """Note who works for the queue now, if somebody has come or gone."""
        if epoch == self._epoch:
            return
        others = [one for one in self._broker.backend.queues().worker_ids(self.queue) if one not in own]
        self._ignore()
        self._watch.choose(others[:_WATCHED_COUNT])
        for descriptor in self._watch.descriptors:
            self._broker.loop.add_reader(descriptor, self._tell, descriptor)
            self._descriptors.add(descriptor)
        now_s = self._now_s()
        self._look_at_s = now_s + _LOOK_S if others else _NEVER_S
        self._quiet_until_s = _NEVER_S
        if others:
            self._learn(now_s)
        self._epoch = epoch

    @property
    def wake_at_s(self) -> float:
        """When to look again, by the clock of the log."""
        return min(self._look_at_s, self._quiet_until_s)

    def is_sweep_due(self) -> bool:
        """Whether a worker has died or hangs, or it is time to look at all of them."""
        now_s = self._now_s()
        if self._has_died or self._watch.died() or now_s >= self._look_at_s:
            return True
        if now_s < self._quiet_until_s:
            return False
        self._learn(now_s)
        return now_s >= self._quiet_until_s

    def note_sweep(self) -> None:
        """Note that the leases of the dead were taken."""
        now_s, self._has_died = self._now_s(), False
        if self._look_at_s != _NEVER_S:
            self._look_at_s = now_s + _LOOK_S
            self._learn(now_s)
            self._quiet_until_s = max(self._quiet_until_s, now_s + _REST_S)

    def close(self) -> None:
        """Watch nobody any more."""
        self._ignore()
        self._watch.close()

    def _learn(self, now_s: float) -> None:
        quiet_until_s = self._watch.quiet_until_s()
        self._quiet_until_s = quiet_until_s if quiet_until_s >= 0 else now_s + _LOOK_S

    def _now_s(self) -> float:
        return self._broker.backend.clock.monotonic()

    def _ignore(self) -> None:
        for descriptor in self._descriptors:
            self._broker.loop.remove_reader(descriptor)
        self._descriptors.clear()

    def _tell(self, descriptor: int) -> None:
        """Have the waiting fetches ask: a worker has died."""
        self._broker.loop.remove_reader(descriptor)
        self._descriptors.discard(descriptor)
        self._has_died = True
        self._broker.ring_group(self.queue.name)
