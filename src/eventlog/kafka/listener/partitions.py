"""What the handlers of reads share: topics by name or id, and the judgement of a leader's epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from eventlog.kafka.listener.metadata import LEADER_EPOCH
from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker

NO_ID: Final = UUID(int=0)
NO_EPOCH: Final = -1


def topic_asked(broker: Broker, asked: dict[str, Any], *, is_by_id: bool) -> tuple[StoredTopic | None, ErrorCode]:
    """The topic that a part of a request names, or the code to answer where there is none."""
    if is_by_id:
        return broker.topic_of_id(asked["topic_id"]), ErrorCode.UNKNOWN_TOPIC_ID
    name = asked["topic"] if "topic" in asked else asked["name"]
    return broker.backend.topic(name) if name else None, _UNKNOWN


def judge(topic: StoredTopic, partition: int, current_leader_epoch: int) -> ErrorCode:
    """The code for a partition that is not there, or for a leader that a client knows and we do not; else NONE."""
    if not 0 <= partition < topic.partitions:
        return _UNKNOWN
    if current_leader_epoch > LEADER_EPOCH:
        return ErrorCode.UNKNOWN_LEADER_EPOCH
    if current_leader_epoch < NO_EPOCH:  # as Kafka judges it: an epoch that is over
        return ErrorCode.FENCED_LEADER_EPOCH
    return ErrorCode.NONE


_UNKNOWN: Final = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
