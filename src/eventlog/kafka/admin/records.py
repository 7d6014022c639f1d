"""DeleteRecords: the oldest records of partitions."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.admin.configs import configs_of
from eventlog.kafka.listener.config_values import refused
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.list_offsets import bounds_of
from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_ALL: Final = -1
_NOWHERE: Final = -1


def delete_records(broker: Broker, request: Request) -> Awaitable[dict[str, Any]]:
    """Delete the records before an offset, of each partition by itself; before the end where the offset is -1."""
    return broker.call(partial(_delete_records, broker, request.body))


def _delete_records(broker: Broker, body: dict[str, Any]) -> dict[str, Any]:
    topics = []
    for asked in body["topics"]:
        topic = broker.backend.topic(asked["name"])
        partitions = [_deleted(broker, topic, one) for one in asked["partitions"]]
        if partitions:
            topics.append({"name": asked["name"], "partitions": partitions})
    return {"topics": topics}


def _deleted(broker: Broker, topic: StoredTopic | None, asked: dict[str, Any]) -> dict[str, Any]:
    number = asked["partition_index"]
    try:
        if topic is None or not 0 <= number < topic.partitions:
            raise refused("There is no such partition.", "UNKNOWN_TOPIC_OR_PARTITION")
        policy = configs_of(topic).get("cleanup.policy", "delete")
        if policy and "delete" not in policy:
            raise refused(f"The cleanup.policy of {topic.name} is {policy}, without delete.", "POLICY_VIOLATION")
        bounds = bounds_of(broker.backend, topic, number)
        offset = bounds.high_watermark if asked["offset"] == _ALL else asked["offset"]
        if not 0 <= offset <= bounds.high_watermark:
            raise refused(f"{topic.name}[{number}] ends at {bounds.high_watermark}.", "OFFSET_OUT_OF_RANGE")
        if offset > bounds.log_start:
            broker.backend.delete_records(topic, {number: offset})
    except unless_interrupted(EventLogError) as error:
        return {"partition_index": number, "low_watermark": _NOWHERE, "error_code": code_of(error)}
    low = max(offset, bounds.log_start)
    return {"partition_index": number, "low_watermark": low, "error_code": ErrorCode.NONE}
