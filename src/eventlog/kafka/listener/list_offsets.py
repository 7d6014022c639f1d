"""
ListOffsets: the ends of partitions, and the first offset from a time on.

Kafka's special times: -1 the end, -2 the beginning, -3 the record with the largest timestamp, -4 the beginning of what
lies on this machine, which is all; -5 and -6 ask for tiered storage, which there is none of.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.kafka import KafkaFetch, KafkaFetched
from eventlog.batches.format import decode
from eventlog.batches.header import read_header
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.metadata import LEADER_EPOCH
from eventlog.kafka.listener.partitions import judge, topic_asked
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.options import MAX_OFFSET

if TYPE_CHECKING:
    from eventlog.backend import Backend
    from eventlog.backend.reading import StoredBatch
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
EARLIEST_LOCAL: Final = -4
_TIERED: Final = (-5, -6)
_COMMITTED: Final = 1
_SCAN_BYTES: Final = 4 << 20

_Place = tuple[int, int, int]
"""A timestamp, an offset and a leader epoch; -1 where there is none."""
_NOWHERE: Final[_Place] = (-1, -1, -1)


def list_offsets(broker: Broker, request: Request) -> dict[str, Any] | Awaitable[dict[str, Any]]:
    """Answer for each partition; what has to read the log for that is done in a thread."""
    asked = [one for topic in request.body["topics"] for one in topic["partitions"]]
    if all(one["timestamp"] in (LATEST, EARLIEST, EARLIEST_LOCAL) for one in asked):
        return _answer(broker, request)
    return broker.read(partial(_answer, broker, request))


def _answer(broker: Broker, request: Request) -> dict[str, Any]:
    is_committed = request.body.get("isolation_level", 0) == _COMMITTED
    topics = []
    for name, (numbers, parts) in _by_topic(request).items():
        topic, missing = topic_asked(broker, {"name": name}, is_by_id=False)
        partitions = [
            _one(broker, topic, missing, one, is_committed=is_committed, is_double=numbers[at] > 1)
            for at, one in parts.items()
        ]
        topics.append({"name": name, "partitions": partitions})
    return {"topics": topics}


def _by_topic(request: Request) -> dict[str, tuple[Counter[int], dict[int, dict[str, Any]]]]:
    """The partitions of each topic, each once, and how often it was asked for."""
    topics: dict[str, tuple[Counter[int], dict[int, dict[str, Any]]]] = {}
    for topic in request.body["topics"]:
        for part in topic["partitions"]:
            numbers, parts = topics.setdefault(topic["name"], (Counter(), {}))
            numbers[part["partition_index"]] += 1
            parts[part["partition_index"]] = part
    return topics


def _one(
    broker: Broker,
    topic: StoredTopic | None,
    missing: ErrorCode,
    asked: dict[str, Any],
    *,
    is_committed: bool,
    is_double: bool,
) -> dict[str, Any]:
    number = asked["partition_index"]
    code = missing if topic is None else judge(topic, number, asked.get("current_leader_epoch", -1))
    if asked["timestamp"] < min(_TIERED):
        code = ErrorCode.UNSUPPORTED_VERSION  # Kafka's code for a special time of a release to come
    if is_double:
        code = ErrorCode.INVALID_REQUEST
    place = _NOWHERE
    if topic is not None and not code:
        try:
            place = _place(broker.backend, topic, number, asked["timestamp"], is_committed=is_committed)
        except unless_interrupted(EventLogError) as error:
            code = code_of(error)
    timestamp_ms, offset, epoch = place
    return {
        "partition_index": number,
        "error_code": code,
        "timestamp": timestamp_ms,
        "offset": offset,
        "leader_epoch": epoch,
    }


def _place(backend: Backend, topic: StoredTopic, number: int, asked: int, *, is_committed: bool) -> _Place:
    bounds = bounds_of(backend, topic, number)
    if asked == LATEST:
        return -1, bounds.last_stable if is_committed else bounds.high_watermark, LEADER_EPOCH
    if asked in (EARLIEST, EARLIEST_LOCAL):
        return -1, bounds.log_start, LEADER_EPOCH
    if asked == MAX_TIMESTAMP:
        return _latest_record(backend, topic, number, bounds)
    if asked in _TIERED:
        return _NOWHERE
    offset = backend.offset_of_time(topic, number, asked)
    end = bounds.last_stable if is_committed else bounds.high_watermark
    if offset >= end:
        return _NOWHERE
    return _time_of(backend, topic, number, offset), offset, LEADER_EPOCH


def bounds_of(backend: Backend, topic: StoredTopic, number: int) -> KafkaFetched:
    """The bounds of a partition, without a record; raises what keeps it from being read."""
    [found], _ = backend.fetch_stored((KafkaFetch(topic.id, number, MAX_OFFSET, 0),), 0)
    if found.error is not None and found.high_watermark < 0:
        raise found.error
    return found


def _time_of(backend: Backend, topic: StoredTopic, number: int, offset: int) -> int:
    """The timestamp of a record."""
    last, data = _batch_of(backend, topic, number, offset)
    columns = decode(data, f"the batch of {topic.name}[{number}] up to offset {last}")
    at = bisect_left(columns.offsets(last), offset)
    return columns.timestamps_ms[at]


def _batch_of(backend: Backend, topic: StoredTopic, number: int, offset: int) -> StoredBatch:
    """The batch that holds an offset."""
    [found], _ = backend.fetch_stored((KafkaFetch(topic.id, number, offset, 1),), 1)
    if found.error is not None:
        raise found.error
    return found.batches[0]


def _latest_record(backend: Backend, topic: StoredTopic, number: int, bounds: KafkaFetched) -> _Place:
    """The first record with the largest timestamp of a partition."""
    if bounds.log_start >= bounds.high_watermark:
        return _NOWHERE
    last, data = _batch_of(backend, topic, number, bounds.high_watermark - 1)
    largest_ms = read_header(data, f"the batch of {topic.name}[{number}] up to offset {last}").largest_so_far_ms
    offset = backend.offset_of_time(topic, number, largest_ms)
    if offset >= bounds.high_watermark:  # that record was deleted: the largest of what is left is smaller
        largest_ms = _largest_ms(backend, topic, number, bounds)
        offset = backend.offset_of_time(topic, number, largest_ms)
    if largest_ms < 0 or offset >= bounds.high_watermark:
        return _NOWHERE
    return largest_ms, offset, LEADER_EPOCH


def _largest_ms(backend: Backend, topic: StoredTopic, number: int, bounds: KafkaFetched) -> int:
    """The largest timestamp of what is stored, by a look at each batch."""
    largest_ms, offset = -1, bounds.log_start
    while offset < bounds.high_watermark:
        [found], _ = backend.fetch_stored((KafkaFetch(topic.id, number, offset, _SCAN_BYTES),), _SCAN_BYTES)
        if found.error is not None:
            raise found.error
        if not found.batches:
            break
        for last, data in found.batches:
            place = f"the batch of {topic.name}[{number}] up to offset {last}"
            largest_ms = max(largest_ms, read_header(data, place).largest_ms)
        offset = found.batches[-1].last + 1
    return largest_ms
