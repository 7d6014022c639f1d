"""
The worker of a queue that a listener keeps for a session of a client; all of it may wait for a commit.

What a client acknowledges names no lease (`ANY_LEASE`); what the listener settles itself, offsets without a record for
the client, names the lease that it has just got.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from eventlog.backend import Backend
from eventlog.backend.queues import Acknowledgement, QueueReply, QueueRequest, ShareRules, StoredQueue
from eventlog.backend.topics import StoredTopic
from eventlog.clients.reading.batch_reader import resolve_starts
from eventlog.groups.lease import Terms
from eventlog.kafka.shares.configs import configs_of, duration_of, options_of, settings_of
from eventlog.kafka.shares.stored import GroupConfigs

if TYPE_CHECKING:
    from eventlog.options import Start

_TERMS: Final = Terms(session_timeout=30.0, max_poll_interval=10.0**9)
"""A listener whose process is stopped for that long loses its leases; one that dies loses them at once."""
_NOBODY: Final = "0" * 32


def ensure_share_queue(backend: Backend, configs: GroupConfigs, group: str) -> StoredQueue:
    """
    The queue of a share group, made by the configs of the group if there is none.

    Raises:
        GroupMismatch: it is a consumer group.
    """
    queues = backend.queues()
    return queues.queue(group) or queues.ensure_queue(group, options_of(configs.of(group)), starts={})


def begin_topics(
    backend: Backend, configs: GroupConfigs, queue: StoredQueue, topics: Sequence[StoredTopic], *, is_late: bool = False
) -> None:
    """
    Have a queue begin with topics that are new to it, where the configs of the group say.

    Args:
        is_late: they were made when members waited for them already: then with their first records.
    """
    known = backend.queues().queue_topics(queue)
    places = [(topic, number) for topic in topics if topic.id not in known for number in range(topic.partitions)]
    if not places:
        return
    reset = settings_of(configs_of(configs.of(queue.name), queue)).reset
    back = duration_of(reset)
    start: Start = "earliest" if is_late or reset == "earliest" else "latest"
    if back is not None and not is_late:
        start = max(datetime.fromtimestamp(backend.clock.now_ms() / 1000, UTC) - back, datetime(1970, 1, 1, tzinfo=UTC))
    starts = resolve_starts(backend, places, start)
    backend.queues().move_queue(
        queue.name,
        {(topic.id, number): offset for (topic, number), offset in zip(places, starts, strict=True)},
        only_new=True,
    )


class ShareWorker:
    """One worker of a queue, for one session; a lease of it lasts as long as the listener, and no longer."""

    def __init__(self, backend: Backend, queue: StoredQueue, topics: Sequence[StoredTopic]) -> None:
        self.queue = queue
        self.id = uuid4().hex
        self._backend = backend
        self._queues = backend.queues()
        self._number = 0
        backend.discard_abandoned_leases()
        self._lease = backend.begin_lease(self.id, _TERMS)
        try:
            self._queues.begin_work(queue, self.id, self._lease, topics)
        except BaseException:
            self._lease.leave()
            raise

    def request(
        self,
        rules: ShareRules,
        acknowledgements: Sequence[Acknowledgement],
        topics: Sequence[StoredTopic],
        most: int,
        *,
        sweeps: bool = False,
    ) -> QueueReply:
        """Store acknowledgements, and take jobs of some topics, in one commit."""
        self._number += 1
        number, count = self._number, max(1, len(topics))
        turn = number % count
        wants = [(topic, -(-most // count)) for topic in (*topics[turn:], *topics[:turn])]
        now_s = self._backend.clock.monotonic()
        confirms = None if self._lease.is_usable(now_s) else self._lease
        return self._queues.request_jobs(
            QueueRequest(
                self.queue,
                self.id,
                number,
                acknowledgements,
                wants,
                most,
                number,
                sweeps,
                confirms,
                rules=rules,
            )
        )

    def end(self, acknowledgements: Sequence[Acknowledgement]) -> None:
        """End well: what it has still is given back, and does not count."""
        try:
            self._queues.end_work(self.queue, self.id, acknowledgements)
        finally:
            self._lease.leave()

    def die(self) -> None:
        """End as the client did, without a word: what it had comes again, and counts."""
        self._lease.abandon()
        self._queues.request_jobs(QueueRequest(self.queue, _NOBODY, sweeps=True))
