"""What clients say of records: read out of their requests, judged, and the handler of ShareAcknowledge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from eventlog.backend.kafka import KafkaRefusal
from eventlog.backend.queues import ANY_LEASE, Acknowledgement, Action, ShareRules
from eventlog.errors import EventLogError, UnknownGroup
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.shares.sessions import FINAL, ShareGroups, ShareSession, refused, share_groups

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_GAP: Final = 0
_ACTIONS: Final = {_GAP: Action.ACCEPT} | {int(one): one for one in (Action.ACCEPT, Action.RELEASE, Action.REJECT)}
_MESSAGES: Final[Mapping[ErrorCode, str]] = {
    ErrorCode.INVALID_RECORD_STATE: "The offset cannot be acknowledged. The offset is not acquired.",
    ErrorCode.INVALID_REQUEST: "The acknowledgement batches are not what they may be.",
}
NOBODY: Final = {"leader_id": 0, "leader_epoch": 0}

NO_RECORDS: Final = ShareRules(frozenset(), 0, sees_uncommitted=False)
"""The rules of a request that takes nothing."""

Places = dict[tuple[UUID, int], ErrorCode]
"""The partitions of which a request says something, and what comes of it."""


class Said:
    """The acknowledgements of a request: what can be carried out, and the codes of what cannot."""

    def __init__(self, broker: Broker, request: Request, *, lock_ms: int, may_renew: bool) -> None:
        self.codes: Places = {}
        self.acknowledgements: list[Acknowledgement] = []
        self._ids: dict[tuple[int, int], tuple[UUID, int]] = {}
        self._lock_ms = lock_ms
        self._may_renew = may_renew and bool(request.body.get("is_renew_ack"))
        for topic in request.body["topics"]:
            stored = broker.topic_of_id(topic["topic_id"])
            for part in topic["partitions"]:
                number, batches = part["partition_index"], part["acknowledgement_batches"]
                if not batches:
                    continue
                place = (topic["topic_id"], number)
                code = ErrorCode.NONE
                if stored is None:
                    code = ErrorCode.UNKNOWN_TOPIC_ID
                elif not 0 <= number < stored.partitions:
                    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                else:
                    self._ids[stored.id, number] = place
                    code = self._read(stored.id, number, batches)
                self.codes[place] = code

    def _read(self, topic_id: int, partition: int, batches: Sequence[dict[str, Any]]) -> ErrorCode:
        """Read what is said of one partition: all of it, or nothing."""
        found: list[Acknowledgement] = []
        before = -1
        for batch in batches:
            first, last, types = batch["first_offset"], batch["last_offset"], batch["acknowledge_types"]
            count = last - first + 1
            if first < 0 or count < 1 or first < before or len(types) not in (1, count):
                return ErrorCode.INVALID_REQUEST
            before = first
            for start, end, kind in _runs(first, last + 1, types):
                action = _ACTIONS.get(kind, Action.RENEW if kind == Action.RENEW and self._may_renew else None)
                if action is None:
                    return ErrorCode.INVALID_REQUEST
                delay_ms = self._lock_ms if action is Action.RENEW else 0
                found.append(Acknowledgement(topic_id, partition, start, end, ANY_LEASE, action, delay_ms))
        self.acknowledgements += found
        return ErrorCode.NONE

    def refuse(self, late: Sequence[Acknowledgement]) -> None:
        """Note what came too late."""
        for one in late:
            place = self._ids.get(one[:2]) if one.number == ANY_LEASE else None
            if place is not None:
                self.codes[place] = ErrorCode.INVALID_RECORD_STATE

    def fail(self, code: ErrorCode) -> None:
        """Note that nothing could be stored."""
        self.codes = {place: own or code for place, own in self.codes.items()}


def _runs(first: int, end: int, types: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Offsets with one type each, as ranges with one type."""
    if len(types) == 1:
        yield first, end, types[0]
        return
    start = first
    for offset in range(first + 1, end + 1):
        if offset == end or types[offset - first] != types[start - first]:
            yield start, offset, types[start - first]
            start = offset


def message_of(code: ErrorCode) -> str | None:
    """What is said beside a code."""
    return _MESSAGES.get(code)


def check_member(body: dict[str, Any]) -> None:
    """Refuse a request that names no member."""
    if not body["member_id"]:
        raise refused("MemberId can't be empty.", "INVALID_REQUEST")


async def share_acknowledge(broker: Broker, request: Request) -> dict[str, Any]:
    """Store what becomes of records that a client has acquired."""
    body, shares = request.body, share_groups(broker)
    try:
        check_member(body)
        if body["share_session_epoch"] == 0:
            raise refused("A session begins with a fetch.", "INVALID_SHARE_SESSION_EPOCH")
        session = shares.continued(request)
        settings = shares.settings(session.group)
        said = Said(broker, request, lock_ms=settings.lock_ms, may_renew=settings.may_renew)
        if said.acknowledgements:
            await _store(broker, shares, session, said)
        if body["share_session_epoch"] == FINAL:
            await shares.end(session)
    except unless_interrupted(EventLogError) as error:
        return {"error_code": code_of(error), "error_message": text_of(error), "responses": [], "node_endpoints": []}
    return {
        "error_code": ErrorCode.NONE,
        "acquisition_lock_timeout_ms": settings.lock_ms,
        "responses": [
            {
                "topic_id": topic_id,
                "partitions": [
                    {
                        "partition_index": number,
                        "error_code": code,
                        "error_message": message_of(code),
                        "current_leader": NOBODY,
                    }
                    for (own, number), code in said.codes.items()
                    if own == topic_id
                ],
            }
            for topic_id in dict.fromkeys(topic_id for topic_id, _ in said.codes)
        ],
        "node_endpoints": [],
    }


async def _store(broker: Broker, shares: ShareGroups, session: ShareSession, said: Said) -> None:
    """
    Store what a client says of records, and take nothing.

    Raises:
        KafkaRefusal: the queue was deleted; the session is over.
    """
    settled, session.settled = session.settled, []
    request = partial(session.worker.request, NO_RECORDS, [*settled, *said.acknowledgements], (), 0)
    try:
        reply = await broker.call(request)
    except unless_interrupted(UnknownGroup) as error:
        raise lost(shares, session) from error
    said.refuse(reply.refused)


def lost(shares: ShareGroups, session: ShareSession) -> KafkaRefusal:
    """End a session whose queue was deleted, and return what its client is told."""
    shares.drop(session)
    return refused("The group was deleted: begin a session with epoch 0.", "SHARE_SESSION_NOT_FOUND")


def text_of(error: EventLogError) -> str:
    """What a client is told of an error beside its code."""
    return error.what if isinstance(error, KafkaRefusal) else str(error)
