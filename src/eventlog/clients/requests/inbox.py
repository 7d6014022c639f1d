"""
The inbox: a topic of one process for the replies to its requests.

Its name is that of a sign of life in `members/`, which is made before the topic, and which the kernel lets go of when
the process dies. So every topic of such a name whose sign of life is gone is one that a killed process left behind, and
whoever makes an inbox deletes those.
"""

from __future__ import annotations

from copy import copy
from os import urandom
from typing import Any, Final

from eventlog.backend import Backend
from eventlog.backend.groups import MemberLease
from eventlog.backend.topics import DUPLICATE_WINDOW_MS, NewTopic
from eventlog.batches.partitioners import partitioner_for
from eventlog.clients.topic.topic import EmbeddedTopic, Owner
from eventlog.clients.topic_handle import TopicHandle
from eventlog.codecs import codec_for
from eventlog.errors import EventLogError, UnknownTopic
from eventlog.groups.lease import Terms
from eventlog.groups.state import Life
from eventlog.interruptions import suppress

PREFIX: Final = "_inbox."
MOST_REPLY_BYTES: Final = 16 << 20
"""The most bytes of one reply to an inbox."""
_TERMS: Final = Terms(session_timeout=3600.0, max_poll_interval=float("inf"))
"""The kernel tells of a death at once; the rest is for a reboot."""
_FREED_COUNT = 1_000


class RawTopic(EmbeddedTopic[Any, Any]):
    """A topic whose keys and values are bytes to us, whatever codecs it has."""

    def __init__(self, backend: Backend, route: TopicHandle, owner: Owner) -> None:
        raw = copy(route)
        raw.key_codec = raw.value_codec = codec_for(None, topic=route.row.name, role="value")
        super().__init__(backend, raw, owner)


class Inbox:
    """
    The inbox of an open log.

    Belongs to the thread that reads it, but for its name.
    """

    def __init__(self, backend: Backend, owner: Owner) -> None:
        name = f"{PREFIX}{urandom(8).hex()}"
        self._backend = backend
        self._lease: MemberLease = backend.begin_lease(name, _TERMS)
        self.topic = RawTopic(backend, TopicHandle(backend.ensure_topic(_new(name)), backend), owner)
        self._freed = 0

    def is_due(self, position: int) -> bool:
        """Whether there is enough before an offset to be deleted."""
        return position - self._freed >= _FREED_COUNT

    def free(self, position: int) -> None:
        """Delete the replies before an offset, from time to time."""
        if self.is_due(position):
            self.topic.delete_records({0: position})
            self._freed = position

    def close(self) -> None:
        """Delete the topic, and give up the sign of life."""
        try:
            with suppress(UnknownTopic):
                self._backend.delete_topic(self.topic.name)
        finally:
            self._lease.leave()


def sweep(backend: Backend) -> list[str]:
    """Delete the inboxes of processes that were killed; their names."""
    names = [row.name for row in backend.topics() if row.name.startswith(PREFIX)]
    lives = backend.look_at_members(names)
    swept = [name for name in names if lives[name] is not Life.ALIVE]
    for name in swept:
        with suppress(EventLogError):  # another process sweeps at the same time, or the volume is full
            backend.delete_topic(name)
    if swept:
        backend.discard_abandoned_leases()
    return swept


def _new(name: str) -> NewTopic:
    stored = codec_for(None, topic=name, role="value").to_stored()
    return NewTopic(
        name,
        partitions=1,
        key=stored,
        value=stored,
        partitioner=partitioner_for(None)[0],
        max_record_bytes=MOST_REPLY_BYTES,
        index=None,
        duplicate_window_ms=DUPLICATE_WINDOW_MS,
        snapshot=codec_for("msgpack", topic=name, role="snapshot").to_stored(),
    )
