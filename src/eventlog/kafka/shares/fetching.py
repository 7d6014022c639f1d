"""
ShareFetch: records for the member of a share group, at once or when there are some.

Acknowledgements that come with it are stored in the commit that takes the next records. What is there is answered at
once; else the request waits, for `max_wait_ms` at most, for appends, for records that come again and for deaths of
other workers.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from eventlog.backend.queues import NO_LIMIT, QueueView, ShareRules
from eventlog.errors import EventLogError, GroupMismatch, UnknownGroup
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.fetch import MOST_BYTES
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.shares.acknowledging import NO_RECORDS, NOBODY, Said, check_member, lost, message_of, text_of
from eventlog.kafka.shares.acquired import Acquired, Reading
from eventlog.kafka.shares.sessions import FINAL, ShareGroups, ShareSession, refused, share_groups

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_MOST_RECORDS: Final = 10_000
_LEAST_REST_S: Final = 0.001
_MOST_REST_S: Final = 60.0
_RETRY_S: Final = 0.1
"""After a look that promised records and found none: all that may be leased of their partitions is, say."""

_Place = tuple[UUID, int]


async def share_fetch(broker: Broker, request: Request) -> dict[str, Any]:
    """Take in acknowledgements, and hand out records."""
    body, shares = request.body, share_groups(broker)
    try:
        check_member(body)
        epoch, is_renewal = body["share_session_epoch"], bool(body.get("is_renew_ack"))
        if is_renewal and (body["max_records"] or body["max_bytes"] or body["min_bytes"] or body["max_wait_ms"]):
            raise refused("A fetch that renews locks takes no records.", "INVALID_REQUEST")
        if epoch == 0:
            if any(part["acknowledgement_batches"] for topic in body["topics"] for part in topic["partitions"]):
                raise refused("A session begins without acknowledgements.", "INVALID_REQUEST")
            session = await shares.begin(request, _topics(broker, body))
        else:
            session = shares.continued(request)
        fetching = _ShareFetch(broker, shares, session, request)
        return await fetching.run()
    except unless_interrupted(GroupMismatch) as error:
        return _refusal(ErrorCode.GROUP_ID_NOT_FOUND, str(error))
    except unless_interrupted(EventLogError) as error:
        return _refusal(code_of(error), text_of(error))


def _refusal(code: ErrorCode, message: str) -> dict[str, Any]:
    return {"error_code": code, "error_message": message, "responses": [], "node_endpoints": []}


def _topics(broker: Broker, body: dict[str, Any]) -> list[StoredTopic]:
    found = (broker.topic_of_id(topic["topic_id"]) for topic in body["topics"])
    return [topic for topic in found if topic is not None]


class _ShareFetch:
    """One request: what it says, what it wants, and its answer."""

    def __init__(self, broker: Broker, shares: ShareGroups, session: ShareSession, request: Request) -> None:
        body = request.body
        self._broker, self._shares, self._session = broker, shares, session
        self._is_full = body["share_session_epoch"] == 0
        self._is_last = body["share_session_epoch"] == FINAL
        self._settings = shares.settings(session.group)
        self._said = Said(broker, request, lock_ms=self._settings.lock_ms, may_renew=self._settings.may_renew)
        self._new_topics = [] if self._is_last else self._learn_partitions(body)
        self._max_bytes = min(body["max_bytes"], MOST_BYTES)
        self._most = min(body["max_records"], _MOST_RECORDS)
        if self._is_last or self._max_bytes <= 0:
            self._most = 0
        self._end_s = broker.loop.time() + max(0, body["max_wait_ms"]) / 1000
        self._errors: dict[_Place, ErrorCode] = {}
        self._places: dict[tuple[int, int], _Place] = {}
        self._topics: dict[int, StoredTopic] = {}
        self._acquired: list[Acquired] = []
        self._wake_in_s = _RETRY_S

    def _learn_partitions(self, body: dict[str, Any]) -> list[StoredTopic]:
        """Note what is added to the session and what is forgotten; returns the topics that are added."""
        session = self._session
        known = {topic_id for topic_id, _ in session.partitions}
        for topic in body["topics"]:
            for part in topic["partitions"]:
                session.partitions.setdefault((topic["topic_id"], part["partition_index"]))
        for topic in body["forgotten_topics_data"]:
            for number in topic["partitions"]:
                session.partitions.pop((topic["topic_id"], number), None)
        return [topic for topic in _topics(self._broker, body) if topic.uuid not in known]

    async def run(self) -> dict[str, Any]:
        """Store, take and wait; returns the answer."""
        broker, session = self._broker, self._session
        if self._new_topics and not self._is_full:
            await self._shares.begin_topics(session, self._new_topics)
        if not self._is_last:
            self._look_up()
        self._rules = ShareRules(frozenset(self._places), self._settings.most_locks, self._settings.sees_uncommitted)
        if self._most > 0 and self._places:
            with broker.poll(self._places, session.group) as poll:
                while not await self._take():
                    rest_s = self._rest_s()
                    if rest_s is None:
                        break
                    await poll.wait(rest_s)
        elif self._said.acknowledgements or session.settled:
            await self._request(0)
        if self._is_last:
            await self._shares.end(session)
        return self._answer()

    def _look_up(self) -> None:
        """The topics of the session's partitions as they are now."""
        for topic_id, number in self._session.partitions:
            topic = self._broker.topic_of_id(topic_id)
            if topic is None:
                self._errors[topic_id, number] = ErrorCode.UNKNOWN_TOPIC_ID
            elif not 0 <= number < topic.partitions:
                self._errors[topic_id, number] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            else:
                self._places[topic.id, number] = (topic_id, number)
                self._topics[topic.id] = topic

    # -- taking ------------------------------------------------------------------------------------------------

    async def _take(self) -> bool:
        """Ask for records, if there may be some or something is to be stored; whether the request is answered now."""
        view = self._view()
        now_ms, monotonic_ms = self._broker.backend.clock.now_ms(), self._broker.backend.clock.monotonic() * 1000
        is_due = view.next_due_ms is not None and view.next_due_ms <= now_ms
        watch = self._shares.watch(self._session, view.epoch)
        sweeps = watch.is_sweep_due()
        has_said = bool(self._said.acknowledgements or self._session.settled)
        self._wake(view, min(watch.wake_at_s * 1000, float(view.limit_ms)), now_ms, monotonic_ms)
        if not (view.has_more or is_due or sweeps or has_said or view.limit_ms <= monotonic_ms):
            return bool(self._errors) and self._is_full
        await self._request(self._most, sweeps=sweeps)
        if sweeps:
            watch.note_sweep()
        return any(one.ranges or one.error for one in self._acquired) or any(self._said.codes.values())

    def _view(self) -> QueueView:
        session = self._session
        queues = self._broker.backend.queues()
        try:
            return queues.queue_view(session.worker.queue, list(self._topics.values()), self._rules)
        except unless_interrupted(UnknownGroup) as error:
            raise lost(self._shares, session) from error

    async def _request(self, most: int, *, sweeps: bool = False) -> None:
        session, said, broker = self._session, self._said, self._broker
        settled, session.settled = session.settled, []
        acknowledgements = [*settled, *said.acknowledgements]
        most = min(most, max(1, self._max_bytes // max(1, session.record_bytes))) if most else 0
        topics = list(self._topics.values())
        request = partial(session.worker.request, self._rules, acknowledgements, topics, most, sweeps=sweeps)
        try:
            reply = await broker.call(request)
        except unless_interrupted(UnknownGroup) as error:
            raise lost(self._shares, session) from error
        said.refuse(reply.refused)
        said.acknowledgements = []
        reading = Reading(broker, self._max_bytes, is_committed=not self._settings.sees_uncommitted)
        self._acquired = reading.read(reply.leased)
        session.settled += reading.settled
        self._learn_size()
        if reading.left:
            await broker.call(partial(session.worker.request, NO_RECORDS, reading.left, (), 0))

    def _learn_size(self) -> None:
        """Note how large records are, so that the next request takes no more than its answer may hold."""
        count = sum(one.record_count for one in self._acquired)
        if count:
            size = sum(one.byte_count for one in self._acquired) // count
            self._session.record_bytes = max(1, (self._session.record_bytes + size) // 2)

    # -- waiting -----------------------------------------------------------------------------------------------

    def _wake(self, view: QueueView, wake_ms: float, now_ms: int, monotonic_ms: float) -> None:
        """Note when there may be something to take, if nobody says so before."""
        self._wake_in_s = (wake_ms - monotonic_ms) / 1000 if wake_ms < NO_LIMIT else _MOST_REST_S
        if view.next_due_ms is not None:
            self._wake_in_s = min(self._wake_in_s, (view.next_due_ms - now_ms) / 1000)
        if view.has_more or self._wake_in_s <= 0:
            self._wake_in_s = _RETRY_S

    def _rest_s(self) -> float | None:
        """How long to wait before the next look; None if the request is to be answered."""
        left_s: float = self._end_s - self._broker.loop.time()
        if left_s <= 0 or self._broker.is_stopping or self._session.is_over or any(self._said.codes.values()):
            return None
        return max(_LEAST_REST_S, min(left_s, self._wake_in_s))

    # -- the answer --------------------------------------------------------------------------------------------

    def _answer(self) -> dict[str, Any]:
        acquired = {self._places[one.partition]: one for one in self._acquired if one.ranges or one.error}
        shown = dict.fromkeys([*self._session.partitions] if self._is_full else [])
        shown |= dict.fromkeys([*self._said.codes, *self._errors, *acquired])
        return {
            "error_code": ErrorCode.NONE,
            "acquisition_lock_timeout_ms": self._settings.lock_ms,
            "responses": [
                {
                    "topic_id": topic_id,
                    "partitions": [self._part(place, acquired.get(place)) for place in shown if place[0] == topic_id],
                }
                for topic_id in dict.fromkeys(topic_id for topic_id, _ in shown)
            ],
            "node_endpoints": [],
        }

    def _part(self, place: _Place, acquired: Acquired | None) -> dict[str, Any]:
        said = self._said.codes.get(place, ErrorCode.NONE)
        code = self._errors.get(place, ErrorCode.NONE if acquired is None else acquired.error)
        return {
            "partition_index": place[1],
            "error_code": code,
            "error_message": None,
            "acknowledge_error_code": said,
            "acknowledge_error_message": message_of(said),
            "current_leader": NOBODY,
            "records": [] if acquired is None else acquired.records,
            "acquired_records": [] if acquired is None else acquired.ranges,
        }
