"""Where share groups stand: DescribeShareGroupOffsets, AlterShareGroupOffsets, DeleteShareGroupOffsets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.queues import PartitionDetails, QueueDetails
from eventlog.errors import EventLogError, GroupMismatch, UnknownGroup
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.groups.coordinator import check_group
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.partitions import NO_ID
from eventlog.kafka.listener.slices import in_slices
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.shares.describing import has_share_members
from eventlog.kafka.shares.sessions import share_groups
from eventlog.kafka.shares.worker import ensure_share_queue

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_UNKNOWN: Final = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
_NO_SUCH: Final = "This server does not host this topic-partition."
_NOWHERE: Final = -1


# -- DescribeShareGroupOffsets -----------------------------------------------------------------------------------


@in_slices("groups", "groups")
def describe_share_group_offsets(broker: Broker, request: Request) -> dict[str, Any]:
    """Tell where share groups stand: their first offsets that are not done."""
    return {"groups": [_described(broker, group["group_id"], group["topics"]) for group in request.body["groups"]]}


def _described(broker: Broker, group: str, topics: list[dict[str, Any]] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"group_id": group, "topics": [], "error_code": ErrorCode.NONE, "error_message": None}
    if check_group(group) is not ErrorCode.NONE:
        return {**answer, "error_code": ErrorCode.INVALID_GROUP_ID, "error_message": "This is no name of a group."}
    found: dict[tuple[str, int], PartitionDetails] = {}
    details: QueueDetails | None = None
    try:
        details = broker.backend.queues().queue_details(group)
    except unless_interrupted(UnknownGroup):
        if topics is None:
            return answer  # as Kafka has it
    if details is not None:
        found = {(one.topic, one.partition): one for one in details.partitions}
    if topics is None:
        names: dict[str, list[int]] = {}
        for name, number in found:
            names.setdefault(name, []).append(number)
        topics = [{"topic_name": name, "partitions": numbers} for name, numbers in names.items()]
    answer["topics"] = [_topic(broker, asked, found) for asked in topics]
    return answer


def _topic(broker: Broker, asked: dict[str, Any], found: dict[tuple[str, int], PartitionDetails]) -> dict[str, Any]:
    name = asked["topic_name"]
    topic = broker.backend.topic(name) if name else None
    return {
        "topic_name": name,
        "topic_id": NO_ID if topic is None else topic.uuid,
        "partitions": [_partition(number, found.get((name, number))) for number in asked["partitions"]],
    }


def _partition(number: int, found: PartitionDetails | None) -> dict[str, Any]:
    return {
        "partition_index": number,
        "start_offset": _NOWHERE if found is None else found.start,
        "leader_epoch": 0,
        "lag": _NOWHERE if found is None else found.end - found.start,
        "error_code": ErrorCode.NONE,
        "error_message": None,
    }


# -- AlterShareGroupOffsets --------------------------------------------------------------------------------------


async def alter_share_group_offsets(broker: Broker, request: Request) -> dict[str, Any]:
    """Have a share group that nobody works for go on at some offsets."""
    group, topics = request.body["group_id"], request.body["topics"]
    refusal = _refusal(broker, group)
    if refusal is not None:
        return refusal
    queues, configs = broker.backend.queues(), share_groups(broker).configs
    starts: dict[tuple[int, int], int] = {}
    responses = []
    for asked in topics:
        name = asked["topic_name"]
        topic = broker.backend.topic(name) if name else None
        parts = []
        for part in asked["partitions"]:
            number, code = part["partition_index"], ErrorCode.NONE
            if topic is None or not 0 <= number < topic.partitions:
                code = _UNKNOWN
            elif part["start_offset"] < 0:
                code = ErrorCode.INVALID_REQUEST
            else:
                starts[topic.id, number] = part["start_offset"]
            parts.append({"partition_index": number, "error_code": code, "error_message": (code and _NO_SUCH) or None})
        responses.append({"topic_name": name, "topic_id": NO_ID if topic is None else topic.uuid, "partitions": parts})

    def move() -> None:
        queues.move_queue(ensure_share_queue(broker.backend, configs, group).name, starts)

    refusal = await _changed(broker, move) if starts else None
    return refusal or {"error_code": ErrorCode.NONE, "error_message": None, "responses": responses}


# -- DeleteShareGroupOffsets -------------------------------------------------------------------------------------


async def delete_share_group_offsets(broker: Broker, request: Request) -> dict[str, Any]:
    """Have a share group that nobody works for know nothing of some topics any more."""
    group = request.body["group_id"]
    refusal = _refusal(broker, group)
    if refusal is not None:
        return refusal
    queue = broker.backend.queues().queue(group)
    if queue is None:
        return _refused(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group} not found.")
    known = broker.backend.queues().queue_topics(queue)
    ids: list[int] = []
    responses = []
    for asked in request.body["topics"]:
        name = asked["topic_name"]
        topic = broker.backend.topic(name) if name else None
        if topic is not None and topic.id not in known:
            topic = None
        if topic is not None:
            ids.append(topic.id)
        responses.append(
            {
                "topic_name": name,
                "topic_id": NO_ID if topic is None else topic.uuid,
                "error_code": _UNKNOWN if topic is None else ErrorCode.NONE,
                "error_message": _NO_SUCH if topic is None else None,
            }
        )
    refusal = await _changed(broker, partial(broker.backend.queues().forget_topics, group, ids)) if ids else None
    return refusal or {"error_code": ErrorCode.NONE, "error_message": None, "responses": responses}


def _refusal(broker: Broker, group: str) -> dict[str, Any] | None:
    """The answer for a group that cannot be moved; None if it can."""
    if check_group(group) is not ErrorCode.NONE:
        return _refused(ErrorCode.INVALID_GROUP_ID, "This is no name of a group.")
    if has_share_members(broker, group):
        return _refused(ErrorCode.NON_EMPTY_GROUP, "The group is not empty.")
    return None


async def _changed(broker: Broker, change: Any) -> dict[str, Any] | None:
    try:
        await broker.call(change)
    except unless_interrupted(GroupMismatch) as error:
        return _refused(ErrorCode.GROUP_ID_NOT_FOUND, str(error))
    except unless_interrupted(EventLogError) as error:
        return _refused(code_of(error), str(error))
    return None


def _refused(code: ErrorCode, message: str) -> dict[str, Any]:
    return {"error_code": code, "error_message": message, "responses": []}
