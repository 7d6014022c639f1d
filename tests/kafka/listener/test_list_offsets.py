"""ListOffsets and OffsetForLeaderEpoch: ends, times, and the special times of Kafka."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import eventlog
import eventlog.kafka
from eventlog import testing
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.record_batches import Sent, produce_one, record_batch
from tests.kafka.wire import Wire

BASE_MS = 1_790_000_000_000
LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5


def ask(wire: Wire, version: int, *asked: tuple[int, int], topic: str = "orders", **options: Any) -> list[Any]:
    """Error, offset and timestamp for each partition and time; a request each, as none may have a partition twice."""
    found = []
    for number, moment in asked:
        partition = {"partition_index": number, "timestamp": moment, **options}
        body = {"replica_id": -1, "topics": [{"name": topic, "partitions": [partition]}]}
        [answer] = wire.ask(ApiKey.LIST_OFFSETS, version, body)["topics"]
        found += [(one["error_code"], one["offset"], one["timestamp"]) for one in answer["partitions"]]
    return found


def test_a_partition_that_is_asked_for_twice_is_an_error(log: eventlog.EventLog, wire: Wire) -> None:
    """As with Kafka, which answers once."""
    log.topic("orders")
    partitions = [{"partition_index": 0, "timestamp": moment} for moment in (LATEST, EARLIEST)]
    body = {"replica_id": -1, "topics": [{"name": "orders", "partitions": partitions}]}
    [answer] = wire.ask(ApiKey.LIST_OFFSETS, 7, body)["topics"]
    assert [one["error_code"] for one in answer["partitions"]] == [ErrorCode.INVALID_REQUEST]


def test_what_has_to_be_read_holds_up_no_commit(path: Path) -> None:
    """Nor does a commit that takes long hold it up: each has a thread of its own."""
    with testing.open(path) as log, eventlog.kafka.listen(log) as kafka, Wire(kafka) as wire, Wire(kafka) as other:
        log.topic("orders").append(b"tea")
        broker = kafka._core.broker
        produced = [{"index": 0, "records": record_batch(b"coffee")}]
        body = {"acks": -1, "timeout_ms": 9_000, "topic_data": [{"name": "orders", "partition_data": produced}]}
        for occupy in (broker.read, broker.call):
            free = threading.Event()
            kafka._core.in_loop(partial(occupy, free.wait))
            try:
                if occupy == broker.read:
                    assert (
                        wire.ask(ApiKey.PRODUCE, 9, body)["responses"][0]["partition_responses"][0]["error_code"] == 0
                    )
                else:
                    assert ask(wire, 7, (0, 0))[0][:2] == (ErrorCode.NONE, 0)
                    answer = other.ask(ApiKey.DESCRIBE_LOG_DIRS, 1, {"topics": None})
                    assert [one["name"] for one in answer["results"][0]["topics"]] == ["orders"]
            finally:
                free.set()


@pytest.mark.parametrize("is_native", [True, False], ids=["native", "kafka"])
def test_an_offset_is_found_by_its_time(log: eventlog.EventLog, wire: Wire, *, is_native: bool) -> None:
    """The first from that time on, with its own time; nothing after the last."""
    topic = log.topic("orders")
    moments = [BASE_MS + step for step in (0, 10, 5, 20, 30, 30)]
    for part in (moments[:3], moments[3:]):
        if is_native:
            topic.append_many([b"tea"] * len(part), timestamps_ms=part)
        else:
            produce_one(log, record_batch(*(Sent(b"tea", ms=moment) for moment in part)))
    expected: Sequence[tuple[int, int, int]] = [
        (BASE_MS - 5, 0, BASE_MS), (BASE_MS, 0, BASE_MS), (BASE_MS + 1, 1, BASE_MS + 10),
        (BASE_MS + 11, 3, BASE_MS + 20), (BASE_MS + 30, 4, BASE_MS + 30), (BASE_MS + 31, -1, -1), (0, 0, BASE_MS),
    ]  # fmt: skip
    for version in range(1, 11):
        found = ask(wire, version, *((0, asked) for asked, _, _ in expected))
        assert found == [(0, offset, moment) for _, offset, moment in expected]


def test_special_times_name_the_ends(log: eventlog.EventLog, wire: Wire) -> None:
    """Also after a deletion; there is no tiered storage."""
    topic = log.topic("orders")
    topic.append_many([b"a", b"b", b"c", b"d"], timestamps_ms=[BASE_MS, BASE_MS + 9, BASE_MS + 5, BASE_MS + 9])
    specials = [(0, LATEST), (0, EARLIEST), (0, MAX_TIMESTAMP), (0, EARLIEST_LOCAL), (0, LATEST_TIERED)]
    assert ask(wire, 9, *specials) == [(0, 4, -1), (0, 0, -1), (0, 1, BASE_MS + 9), (0, 0, -1), (0, -1, -1)]
    topic.append(b"e", timestamp_ms=BASE_MS + 3)
    topic.delete_records({0: 4})
    assert ask(wire, 9, *specials) == [(0, 5, -1), (0, 4, -1), (0, 4, BASE_MS + 3), (0, 4, -1), (0, -1, -1)]
    assert ask(wire, 9, *specials[:2], current_leader_epoch=0) == [(0, 5, -1), (0, 4, -1)]


def test_an_empty_partition_has_ends_and_no_times(log: eventlog.EventLog, wire: Wire) -> None:
    """Both ends are 0."""
    log.topic("orders")
    asked = [(0, LATEST), (0, EARLIEST), (0, MAX_TIMESTAMP), (0, BASE_MS)]
    assert ask(wire, 7, *asked) == [(0, 0, -1), (0, 0, -1), (0, -1, -1), (0, -1, -1)]


def test_a_partition_that_is_not_there_has_an_error(log: eventlog.EventLog, wire: Wire) -> None:
    """As has a leader that nobody has seen."""
    log.topic("orders")
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert ask(wire, 7, (1, LATEST), (0, LATEST)) == [(unknown, -1, -1), (0, 0, -1)]
    assert ask(wire, 7, (0, BASE_MS), topic="nowhere") == [(unknown, -1, -1)]
    assert ask(wire, 7, (0, LATEST), current_leader_epoch=3) == [(ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1)]


def test_the_one_epoch_ends_where_the_partition_does(log: eventlog.EventLog, wire: Wire) -> None:
    """Of other epochs nothing is known."""
    topic = log.topic("orders")
    topic.append_many([b"a", b"b"])
    for version in (2, 3, 4):
        asked = [
            {"partition": number, "current_leader_epoch": current, "leader_epoch": epoch}
            for number, current, epoch in ((0, 0, 0), (0, -1, 0), (0, -1, 1), (0, 7, 0), (5, -1, 0))
        ]
        body = {"replica_id": -1, "topics": [{"topic": "orders", "partitions": asked}]}
        [answer] = wire.ask(ApiKey.OFFSET_FOR_LEADER_EPOCH, version, body)["topics"]
        found = [(one["error_code"], one["leader_epoch"], one["end_offset"]) for one in answer["partitions"]]
        assert found == [
            (0, 0, 2),
            (0, 0, 2),
            (0, -1, -1),
            (ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1),
            (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1),
        ]
