"""The handlers of committed offsets: OffsetCommit, OffsetFetch, OffsetDelete."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from eventlog.backend.groups import OffsetCommit
from eventlog.backend.topics import StoredTopic
from eventlog.errors import EventLogError, GroupMismatch, GroupNotEmpty, InvalidTopicName, MemberFenced, UnknownGroup
from eventlog.groups.state import CommittedOffset, PartitionId
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.groups.claims import has_members, is_known
from eventlog.kafka.groups.consumer.members import consumer_members
from eventlog.kafka.groups.coordinator import check_group, coordinator
from eventlog.kafka.groups.subscriptions import CONSUMER
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.slices import in_slices
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.options import MAX_METADATA_BYTES, check_topic_name

if TYPE_CHECKING:
    from eventlog.kafka.groups.classic.group import ClassicGroup
    from eventlog.kafka.groups.consumer.members import ConsumerMember
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_FIRST_TOPIC_IDS: Final = 10
_FIRST_BATCHED_FETCH: Final = 8
_FIRST_UNKNOWN_GROUP: Final = 9
_NONE: Final = CommittedOffset(-1, 0)


def find_topic(broker: Broker, asked: dict[str, Any], *, by_id: bool) -> tuple[StoredTopic | None, ErrorCode]:
    """The topic that a request names, or why there is none."""
    if by_id:
        topic_id: UUID = asked["topic_id"]
        topic = broker.topic_of_id(topic_id)
        return topic, ErrorCode.NONE if topic is not None else ErrorCode.UNKNOWN_TOPIC_ID
    try:
        topic = broker.backend.topic(check_topic_name(asked["name"]))
    except unless_interrupted(InvalidTopicName):
        topic = None
    return topic, ErrorCode.NONE if topic is not None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def _named(asked: dict[str, Any]) -> dict[str, Any]:
    """What names a topic in an answer: what named it in the request."""
    return {name: asked[name] for name in ("name", "topic_id") if name in asked}


# -- OffsetCommit ----------------------------------------------------------------------------------------------


async def offset_commit(broker: Broker, request: Request) -> dict[str, Any]:
    """Store the offsets of a group, all in one commit."""
    body, groups = request.body, coordinator(broker)
    name = body["group_id"]
    member = None if broker.consumers is None else consumer_members(broker).get(name, body["member_id"])
    refusal = await groups.check_commit(
        name, body["member_id"], body["group_instance_id"], body["generation_id_or_member_epoch"]
    )
    if refusal is ErrorCode.GROUP_ID_NOT_FOUND:
        refusal = _unknown(broker, request, name)
    if refusal is not ErrorCode.NONE:
        return _committed(request, refusal)
    accepted = Accepted()
    topics = [_judge(broker, request, asked, accepted) for asked in body["topics"]]
    if not accepted.offsets:
        return {"topics": topics}
    if member is not None:
        commit = _by_consumer(name, member, accepted)
    else:
        claim = groups.claim_of(name)
        commit = _by_kafka(name, None if claim is None else claim.id, accepted)
    try:
        if commit is None:
            return _committed(request, ErrorCode.STALE_MEMBER_EPOCH)
        await broker.store(partial(_defer, broker, commit))
    except unless_interrupted(MemberFenced):
        groups.lost(name)
        code = ErrorCode.UNKNOWN_MEMBER_ID if member is None else ErrorCode.STALE_MEMBER_EPOCH
        return _committed(request, code)
    except unless_interrupted(GroupMismatch):  # it is a share group
        return _committed(request, ErrorCode.GROUP_ID_NOT_FOUND)
    except unless_interrupted(EventLogError) as error:
        return _committed(request, code_of(error))
    return {"topics": topics}


def _unknown(broker: Broker, request: Request, name: str) -> ErrorCode:
    """The answer to a member of a group that has no members here."""
    if has_members(broker.backend, name):
        return ErrorCode.UNKNOWN_MEMBER_ID
    is_told = request.version >= _FIRST_UNKNOWN_GROUP
    return ErrorCode.GROUP_ID_NOT_FOUND if is_told else ErrorCode.ILLEGAL_GENERATION


def _by_kafka(name: str, claim: str | None, accepted: Accepted) -> OffsetCommit:
    """A commit that the listener has judged, by its claim to the group if it has one."""
    return OffsetCommit(
        name, accepted.offsets, is_automatic=False, member_id=claim, notes=accepted.notes, has_kafka_rules=True
    )


def _by_consumer(name: str, member: ConsumerMember, accepted: Accepted) -> OffsetCommit | None:
    """A commit behind the fence of native groups; None if the member does not own one of the partitions."""
    pairs = {(topic.id, number) for topic, number, _ in accepted.offsets}
    if not pairs <= member.owned.keys():
        return None
    epochs = {pair: member.owned[pair] for pair in pairs}
    return _by_kafka(name, member.place.id, accepted)._replace(epochs=epochs)


class Accepted:
    """The partitions of a request whose offsets can be stored."""

    def __init__(self) -> None:
        self.offsets: list[tuple[StoredTopic, int, int]] = []
        self.notes: dict[PartitionId, tuple[int, str]] = {}

    def judge(self, topic: StoredTopic, partition: dict[str, Any]) -> ErrorCode:
        """Take one partition in, or say why not."""
        number, metadata = partition["partition_index"], partition["committed_metadata"] or ""
        offset, epoch = partition["committed_offset"], partition["committed_leader_epoch"]
        if not 0 <= number < topic.partitions:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if len(metadata.encode()) > MAX_METADATA_BYTES:
            return ErrorCode.OFFSET_METADATA_TOO_LARGE
        if offset < 0:
            return ErrorCode.OFFSET_OUT_OF_RANGE
        self.offsets.append((topic, number, offset))
        if metadata or epoch >= 0:
            self.notes[topic.id, number] = (max(epoch, -1), metadata)
        return ErrorCode.NONE


def _judge(broker: Broker, request: Request, asked: dict[str, Any], accepted: Accepted) -> dict[str, Any]:
    topic, missing = find_topic(broker, asked, by_id=request.version >= _FIRST_TOPIC_IDS)
    partitions = [
        {
            "partition_index": partition["partition_index"],
            "error_code": missing if topic is None else accepted.judge(topic, partition),
        }
        for partition in asked["partitions"]
    ]
    return {**_named(asked), "partitions": partitions}


def _defer(broker: Broker, commit: OffsetCommit, when_done: Any) -> Any:
    return broker.backend.deferring().defer_offsets(commit, when_done=when_done)


def _committed(request: Request, code: ErrorCode) -> dict[str, Any]:
    """The answer to a commit that failed as a whole."""
    return {
        "topics": [
            {
                **_named(asked),
                "partitions": [
                    {"partition_index": partition["partition_index"], "error_code": code}
                    for partition in asked["partitions"]
                ],
            }
            for asked in request.body["topics"]
        ]
    }


# -- OffsetFetch -----------------------------------------------------------------------------------------------


@in_slices("groups", "groups")
def offset_fetch(broker: Broker, request: Request) -> dict[str, Any]:
    """Tell which offsets a group has committed, or several groups."""
    body = request.body
    if request.version < _FIRST_BATCHED_FETCH:
        return _fetched(broker, request, body["group_id"], body["topics"])
    return {
        "groups": [{"group_id": asked["group_id"], **_fetched_by(broker, request, asked)} for asked in body["groups"]]
    }


def _fetched_by(broker: Broker, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
    """The offsets for a member that perhaps says who it is."""
    name, member_id, epoch = asked["group_id"], asked["member_id"], asked["member_epoch"]
    if member_id is not None and epoch >= 0 and broker.consumers is not None:
        member = consumer_members(broker).get(name, member_id)
        if member is not None and epoch != member.epoch:
            return {"error_code": ErrorCode.STALE_MEMBER_EPOCH, "topics": []}
    return _fetched(broker, request, name, asked["topics"])


def _fetched(broker: Broker, request: Request, name: str, topics: list[dict[str, Any]] | None) -> dict[str, Any]:
    code = check_group(name)
    if code is not ErrorCode.NONE:
        return {"error_code": code, "topics": []}
    pending = _pending(broker, request, name)
    if topics is None:
        return {"error_code": ErrorCode.NONE, "topics": _all_fetched(broker, name, pending)}
    answers = []
    for asked in topics:
        topic, missing = find_topic(broker, asked, by_id=request.version >= _FIRST_TOPIC_IDS)
        numbers = asked["partition_indexes"]
        if topic is None:
            code = missing if missing is ErrorCode.UNKNOWN_TOPIC_ID else ErrorCode.NONE
            partitions = [_partition(number, _NONE, code) for number in numbers]
        else:
            known = [number for number in numbers if 0 <= number < topic.partitions]
            commits = broker.backend.committed_with_notes(name, [(topic.id, number) for number in known])
            found = dict(zip(known, commits, strict=True))
            partitions = [
                _partition(number, found.get(number) or _NONE, _stable((topic.id, number), pending))
                for number in numbers
            ]
        answers.append({**_named(asked), "partitions": partitions})
    return {"error_code": ErrorCode.NONE, "topics": answers}


def _all_fetched(broker: Broker, name: str, pending: frozenset[PartitionId]) -> list[dict[str, Any]]:
    """All offsets of a group, and the partitions in which a transaction is about to commit some."""
    try:
        details = broker.backend.group_details(name)
    except unless_interrupted(UnknownGroup):
        return []
    by_topic: dict[int, list[dict[str, Any]]] = {}
    for (topic_id, number), commit in sorted(details.commits.items()):
        code = _stable((topic_id, number), pending)
        by_topic.setdefault(topic_id, []).append(_partition(number, commit, code))
    return [
        {"name": details.topics[topic_id].name, "topic_id": details.topics[topic_id].uuid, "partitions": partitions}
        for topic_id, partitions in by_topic.items()
        if topic_id in details.topics
    ]


def _pending(broker: Broker, request: Request, name: str) -> frozenset[PartitionId]:
    """The partitions for which an open transaction has offsets, if the client wants to wait for its end."""
    if not request.body["require_stable"]:
        return frozenset()
    return frozenset(broker.backend.pending_offsets(name))


def _stable(partition: PartitionId, pending: frozenset[PartitionId]) -> ErrorCode:
    return ErrorCode.UNSTABLE_OFFSET_COMMIT if partition in pending else ErrorCode.NONE


def _partition(number: int, commit: CommittedOffset, code: ErrorCode) -> dict[str, Any]:
    if code is not ErrorCode.NONE:
        commit = _NONE
    return {
        "partition_index": number,
        "committed_offset": commit.offset,
        "committed_leader_epoch": commit.leader_epoch,
        "metadata": commit.metadata,
        "error_code": code,
    }


# -- OffsetDelete ----------------------------------------------------------------------------------------------


async def offset_delete(broker: Broker, request: Request) -> dict[str, Any]:
    """Delete the offsets of a group in some partitions, of topics that no member subscribes to."""
    name = request.body["group_id"]
    groups = coordinator(broker)
    code = check_group(name)
    group = groups.find(name) if groups.claim_of(name) is not None else None
    if code is ErrorCode.NONE and group is None:
        if groups.elsewhere(name) is not None:
            code = ErrorCode.NOT_COORDINATOR
        elif not is_known(broker.backend, name):
            code = ErrorCode.GROUP_ID_NOT_FOUND
    elif group is not None and group.protocol_type != CONSUMER:
        code = ErrorCode.NON_EMPTY_GROUP
    if code is not ErrorCode.NONE:
        return {"error_code": code, "topics": []}
    answers = []
    for asked in request.body["topics"]:
        numbers = [partition["partition_index"] for partition in asked["partitions"]]
        codes = await _delete(broker, name, group, asked, numbers)
        answers.append(
            {
                "name": asked["name"],
                "partitions": [
                    {"partition_index": number, "error_code": code} for number, code in zip(numbers, codes, strict=True)
                ],
            }
        )
    return {"error_code": ErrorCode.NONE, "topics": answers}


async def _delete(
    broker: Broker, name: str, group: ClassicGroup | None, asked: dict[str, Any], numbers: list[int]
) -> list[ErrorCode]:
    """Delete offsets in one topic; the outcome of each partition."""
    topic, missing = find_topic(broker, asked, by_id=False)
    if topic is None:
        return [missing] * len(numbers)
    topics = None if group is None else group.members.topics
    if group is not None and (topics is None or topic.name in topics):
        return [ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC] * len(numbers)
    there = [number for number in numbers if 0 <= number < topic.partitions]
    claim = coordinator(broker).claim_of(name)
    delete = partial(
        broker.backend.delete_offsets,
        name,
        topic,
        is_forced=False,
        partitions=frozenset(there),
        claim=None if claim is None else claim.id,
    )
    try:
        await broker.call(delete)
    except unless_interrupted(GroupNotEmpty):
        return [ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC] * len(numbers)
    except unless_interrupted(EventLogError) as error:
        return [code_of(error)] * len(numbers)
    return [ErrorCode.NONE if number in there else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION for number in numbers]
