"""OffsetForLeaderEpoch: where an epoch of a leader ends; there is one epoch here, and it has not ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.list_offsets import bounds_of
from eventlog.kafka.listener.metadata import LEADER_EPOCH
from eventlog.kafka.listener.partitions import judge, topic_asked
from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request


def offset_for_leader_epoch(broker: Broker, request: Request) -> dict[str, Any]:
    """Name the end of each partition for the one epoch there is; nothing is known of any other."""
    topics = []
    for asked in request.body["topics"]:
        topic, missing = topic_asked(broker, asked, is_by_id=False)
        partitions = [_one(broker, topic, missing, one) for one in asked["partitions"]]
        topics.append({"topic": asked["topic"], "partitions": partitions})
    return {"topics": topics}


def _one(broker: Broker, topic: StoredTopic | None, missing: ErrorCode, asked: dict[str, Any]) -> dict[str, Any]:
    number = asked["partition"]
    answer = {"partition": number, "error_code": missing, "leader_epoch": -1, "end_offset": -1}
    if topic is None:
        return answer
    answer["error_code"] = judge(topic, number, asked.get("current_leader_epoch", -1))
    if answer["error_code"] or asked["leader_epoch"] != LEADER_EPOCH:
        return answer
    try:
        end = bounds_of(broker.backend, topic, number).high_watermark
    except unless_interrupted(EventLogError) as error:
        answer["error_code"] = code_of(error)
    else:
        answer.update(leader_epoch=LEADER_EPOCH, end_offset=end)
    return answer
