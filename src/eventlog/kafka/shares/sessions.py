"""
Sessions: what takes records for the member of a share group, over one connection (KIP-932).

    a client                                            its session
    -------------------------------------------------   ---------------------------------------------------
    fetches with epoch 0                                begins, with the partitions that it names
    fetches or acknowledges with the epoch that comes   goes on; partitions may be added, and forgotten
    comes with any other epoch                          INVALID_SHARE_SESSION_EPOCH, and nothing is done
    comes with -1                                       ends: what it has is given back, and does not count
    loses its connection, or its membership             ends: what it has comes again at once, and counts
    is not known here                                   SHARE_SESSION_NOT_FOUND: it begins another

Belongs to the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from eventlog.backend.kafka import KafkaRefusal
from eventlog.backend.queues import Acknowledgement
from eventlog.kafka.faults.cluster import NODE
from eventlog.kafka.groups.coordinator import check_group
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.shares.configs import GroupSettings, configs_of, settings_of
from eventlog.kafka.shares.members import ShareMembers
from eventlog.kafka.shares.stored import GroupConfigs
from eventlog.kafka.shares.watching import QueueWatch
from eventlog.kafka.shares.worker import ShareWorker, begin_topics, ensure_share_queue

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

MOST_SESSIONS: Final = 2000
"""Kafka's `group.share.max.share.sessions`."""
FINAL: Final = -1
_MOST_EPOCH: Final = 2**31 - 1
_FEW_PER_RECORD: Final = 64


SessionKey = tuple[str, str, Any]
"""A group, the id of a member, and the broker that the listener seems to be: a client has a session with each."""


class ShareSession:
    """One session: its partitions, its epoch, and its worker."""

    def __init__(self, key: SessionKey, worker: ShareWorker) -> None:
        self.key = key
        self.group = key[0]
        self.worker = worker
        self.epoch = 0
        """That of the next request."""
        self.partitions: dict[tuple[UUID, int], None] = {}
        self.connection: object = None
        self.settled: list[Acknowledgement] = []
        """What the listener settles itself with the next request: offsets without a record for the client."""
        self.record_bytes = _FEW_PER_RECORD
        """About how large a record of late was."""
        self.is_over = False

    def move_on(self) -> None:
        """Expect the next epoch."""
        self.epoch = 1 if self.epoch == _MOST_EPOCH else self.epoch + 1


class ShareGroups:
    """The share groups of one listener: members, sessions, and what they share."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.configs = GroupConfigs(broker.log)
        self.members = ShareMembers(broker, self.configs, self._member_left)
        self._sessions: dict[SessionKey, ShareSession] = {}
        self._watches: dict[int, QueueWatch] = {}
        self._opening = 0
        broker.when_stopping.append(self.stop)
        broker.when_disconnected.append(self._disconnected)

    @property
    def session_count(self) -> int:
        """How many there are, or are about to be."""
        return len(self._sessions) + self._opening

    @property
    def count(self) -> int:
        """How many sessions and members there are."""
        return self.session_count + self.members.count

    def settings(self, group: str) -> GroupSettings:
        """What the configs of a group and of its queue mean now."""
        return settings_of(configs_of(self.configs.of(group), self._broker.backend.queues().queue(group)))

    # -- sessions --------------------------------------------------------------------------------------------

    def find(self, request: Request) -> ShareSession | None:
        """The session that a request is of."""
        return self._sessions.get(_key(request))

    def of_group(self, group: str) -> list[ShareSession]:
        """The sessions of a group."""
        return [one for one in self._sessions.values() if one.group == group]

    def continued(self, request: Request) -> ShareSession:
        """
        The session that a request goes on with, which expects the epoch after this one then.

        Raises:
            KafkaRefusal: there is none, or it expects another epoch.
        """
        body = request.body
        session = self.find(request)
        if session is None:
            raise refused("There is no such session here: begin one with epoch 0.", "SHARE_SESSION_NOT_FOUND")
        epoch = body["share_session_epoch"]
        if epoch not in (FINAL, session.epoch):
            raise refused(f"The session expects epoch {session.epoch}.", "INVALID_SHARE_SESSION_EPOCH")
        if epoch != FINAL:
            session.move_on()
        session.connection = request.connection
        return session

    async def begin(self, request: Request, topics: list[StoredTopic]) -> ShareSession:
        """
        Begin a session, or begin it again; the records that it has stay with it.

        Raises:
            KafkaRefusal: there are too many, or the name is none of a share group.
            GroupMismatch: it is a consumer group.
        """
        broker = self._broker
        key = _key(request)
        group = key[0]
        if check_group(group) is not ErrorCode.NONE:
            raise refused("GroupId is a name of 1 to 249 bytes of printable characters.", "INVALID_GROUP_ID")
        session = self.find(request)
        if session is None:
            if broker.is_stopping or self.session_count >= MOST_SESSIONS or broker.room.is_full():
                raise refused("The listener has no room for another session.", "SHARE_SESSION_LIMIT_REACHED")
            self._opening += 1
            try:
                worker = await broker.call(partial(self._open, group, topics))
            finally:
                self._opening -= 1
            session = ShareSession(key, worker)
            before = self._sessions.pop(key, None)
            if before is not None:  # another connection was as fast
                self._end(before, before.worker.die)
            if self._broker.is_stopping or request.connection.is_closed:
                self._end(session, worker.die)
                raise refused("The listener stops.", "SHARE_SESSION_LIMIT_REACHED")
            self._sessions[key] = session
        session.epoch, session.connection = 1, request.connection
        session.partitions = {}
        return session

    def _open(self, group: str, topics: list[StoredTopic]) -> ShareWorker:
        backend = self._broker.backend
        queue = ensure_share_queue(backend, self.configs, group)
        begin_topics(backend, self.configs, queue, topics)
        return ShareWorker(backend, queue, topics)

    def begin_topics(self, session: ShareSession, topics: list[StoredTopic]) -> asyncio.Future[None]:
        """Have the queue of a session begin with topics that are new to it."""
        return self._broker.call(
            partial(begin_topics, self._broker.backend, self.configs, session.worker.queue, topics)
        )

    async def end(self, session: ShareSession) -> None:
        """End a session as its client has asked: what it has is given back."""
        if self._sessions.get(session.key) is session:
            await self._end(session, partial(session.worker.end, tuple(session.settled)))

    def drop(self, session: ShareSession) -> None:
        """End a session without a word of its client: what it has comes again, and counts."""
        if self._sessions.get(session.key) is session:
            self._end(session, session.worker.die).add_done_callback(_forget_outcome)

    def _end(self, session: ShareSession, how: Callable[[], None]) -> asyncio.Future[None]:
        session.is_over = True
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]
        queue = session.worker.queue
        if not any(one.worker.queue.id == queue.id for one in self._sessions.values()):
            watch = self._watches.pop(queue.id, None)
            if watch is not None:
                watch.close()
        ended = self._broker.call(how)
        ended.add_done_callback(lambda _: self._broker.ring_group(session.group))
        return ended

    def watch(self, session: ShareSession, epoch: int) -> QueueWatch:
        """What watches the other workers of a session's queue."""
        queue = session.worker.queue
        watch = self._watches.get(queue.id)
        if watch is None:
            watch = self._watches[queue.id] = QueueWatch(self._broker, queue)
        watch.meet(epoch, {one.worker.id for one in self._sessions.values()})
        return watch

    def by_worker(self) -> dict[str, ShareSession]:
        """All sessions, by the ids of their workers."""
        return {one.worker.id: one for one in self._sessions.values()}

    # -- ends --------------------------------------------------------------------------------------------------

    def _member_left(self, group: str, member_id: str, *, is_dead: bool) -> None:
        for session in [one for one in self._sessions.values() if one.key[:2] == (group, member_id)]:
            how = session.worker.die if is_dead else partial(session.worker.end, tuple(session.settled))
            self._end(session, how).add_done_callback(_forget_outcome)

    def _disconnected(self, connection: object) -> None:
        self.members.disconnected(connection)
        for session in list(self._sessions.values()):
            if session.connection is connection:
                self.drop(session)

    def stop(self) -> None:
        """End all sessions: the listener stops."""
        self.members.stop()
        for session in list(self._sessions.values()):
            self._end(session, partial(session.worker.end, tuple(session.settled))).add_done_callback(_forget_outcome)


def _key(request: Request) -> SessionKey:
    body = request.body
    return body["group_id"] or "", body["member_id"], request.connection.notes.get(NODE)


def share_groups(broker: Broker) -> ShareGroups:
    """The share groups of a listener, made with the first request for them."""
    if broker.shares is None:
        broker.shares = ShareGroups(broker)
    found: ShareGroups = broker.shares
    return found


def refused(what: str, code: str) -> KafkaRefusal:
    """The error for a request that is answered by a code."""
    return KafkaRefusal(what, code=code, stored="Nothing was changed.", advice="")


def _forget_outcome(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
