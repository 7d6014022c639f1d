"""Sessions of fetches: a client names its partitions once, and is told what has changed."""

from __future__ import annotations

from typing import Any

import pytest

import eventlog
import eventlog.kafka
from eventlog.kafka.protocol import ApiKey, ErrorCode
from tests.kafka.listener.test_fetch import by_id, parts, request
from tests.kafka.wire import Wire

COUNT = 200
SMALL_BYTES = 100


def told(answer: dict[str, Any]) -> dict[tuple[str, int], int]:
    """How far each partition of an answer is known to be written, by topic and number."""
    return {
        (topic["topic"], part["partition_index"]): part["high_watermark"]
        for topic in answer["responses"]
        for part in topic["partitions"]
    }


class Reader:
    """A client in a session."""

    def __init__(self, wire: Wire, *places: tuple[str, int, int], version: int = 11, **options: Any) -> None:
        self._wire, self._version = wire, version
        self.options = options
        self.first = self.ask(*places, epoch=0)
        self.number, self.epoch = self.first["session_id"], 1

    def ask(self, *places: tuple[str, int, int], epoch: int, **more: Any) -> dict[str, Any]:
        """One request, with those partitions that change."""
        body = request(*places, **{**self.options, **more})
        number = 0 if epoch == 0 else self.number
        return self._wire.ask(ApiKey.FETCH, self._version, {**body, "session_id": number, "session_epoch": epoch})

    def next(self, *places: tuple[str, int, int], **more: Any) -> dict[str, Any]:
        """The next request in the session."""
        answer = self.ask(*places, epoch=self.epoch, **more)
        self.epoch += 1
        return answer


def test_only_what_has_changed_is_told(log: eventlog.EventLog, wire: Wire) -> None:
    """Of hundreds of partitions that nobody names again; and what nobody has appended to is not in the answer."""
    topic = log.topic("orders", partitions=COUNT)
    reader = Reader(wire, *(("orders", number, 0) for number in range(COUNT)))
    assert reader.number > 0
    assert len(parts(reader.first)) == COUNT
    size = len(wire.encoded(ApiKey.FETCH, 11, request(session_id=reader.number)))
    assert size < SMALL_BYTES
    assert told(reader.next()) == {}
    topic.append(b"tea", partition=7)
    topic.append(b"milk", partition=9)
    assert told(reader.next()) == {("orders", 7): 1, ("orders", 9): 1}
    assert told(reader.next(("orders", 7, 1))) == {("orders", 9): 1}, "what was not read on comes again"
    assert told(reader.next(("orders", 9, 1))) == {}
    topic.append(b"sugar", partition=9)
    [part] = parts(reader.next())
    assert (part["partition_index"], part["high_watermark"], bool(part["records"])) == (9, 2, True)


def test_a_long_poll_in_a_session_ends_with_what_comes(log: eventlog.EventLog, wire: Wire) -> None:
    """The request names nothing, and waits for all partitions of the session."""
    topic = log.topic("orders", partitions=2)
    reader = Reader(wire, ("orders", 0, 0), ("orders", 1, 0))
    body = {**request(max_wait_ms=30_000), "session_id": reader.number, "session_epoch": 1}
    wire.send(ApiKey.FETCH, 11, body)
    topic.append(b"tea", partition=1)
    assert told(wire.receive()) == {("orders", 1): 1}


def test_partitions_come_and_go(log: eventlog.EventLog, wire: Wire) -> None:
    """A session without any ends."""
    log.topic("orders", partitions=3)
    reader = Reader(wire, ("orders", 0, 0))
    assert told(reader.next(("orders", 1, 0))) == {("orders", 1): 0}
    for number in range(3):
        log.topic("orders").append(b"tea", partition=number)
    forgotten = [{"topic": "orders", "partitions": [0]}]
    assert told(reader.next(forgotten_topics_data=forgotten)) == {("orders", 1): 1}
    answer = reader.next(forgotten_topics_data=[{"topic": "orders", "partitions": [1]}])
    assert (answer["session_id"], answer["responses"]) == (0, [])
    assert reader.next()["error_code"] == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_an_error_is_told_until_it_is_over(log: eventlog.EventLog, wire: Wire) -> None:
    """Also one of a topic that is made later."""
    log.topic("orders")
    reader = Reader(wire, ("orders", 0, 0), ("later", 0, 0))
    for _ in range(2):
        [part] = parts(reader.next())
        assert part["error_code"] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    log.topic("later")
    assert told(reader.next()) == {("later", 0): 0}
    assert told(reader.next()) == {}


def test_all_partitions_have_their_turn(log: eventlog.EventLog, wire: Wire) -> None:
    """Where an answer has room for one of them, those that were not answered come first the next time."""
    topic = log.topic("orders", partitions=3)
    for number in range(3):
        topic.append_many([b"tea"] * 3, partition=number)
    reader = Reader(wire, *(("orders", number, 0) for number in range(3)), max_bytes=1)
    seen = [part["partition_index"] for part in parts(reader.first) if part["records"]]
    for _ in range(5):
        seen += [part["partition_index"] for part in parts(reader.next()) if part["records"]]
    assert seen == [0, 1, 2, 0, 1, 2]


def test_a_session_by_ids_of_topics(log: eventlog.EventLog, wire: Wire) -> None:
    """From version 13 on; a request by names does not fit into it."""
    log.topic("orders")
    body = by_id(request(("orders", 0, 0)), log)
    number = wire.ask(ApiKey.FETCH, 13, {**body, "session_epoch": 0})["session_id"]
    log.topic("orders").append(b"tea")
    nothing = {**request(), "session_id": number, "session_epoch": 1}
    assert wire.ask(ApiKey.FETCH, 12, nothing)["error_code"] == ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR
    assert [part["high_watermark"] for part in parts(wire.ask(ApiKey.FETCH, 13, nothing))] == [1]


@pytest.mark.parametrize(
    ("number", "epoch", "code"),
    [
        (0, -1, ErrorCode.NONE),
        (5, -1, ErrorCode.NONE),
        (5, 1, ErrorCode.FETCH_SESSION_ID_NOT_FOUND),
        (0, 3, ErrorCode.FETCH_SESSION_ID_NOT_FOUND),
    ],
)
def test_a_session_that_was_never_made_is_unknown(
    log: eventlog.EventLog, wire: Wire, number: int, epoch: int, code: int
) -> None:
    """A request that names everything needs none."""
    log.topic("orders").append(b"tea")
    body = request(("orders", 0, 0), session_id=number)
    answer = wire.ask(ApiKey.FETCH, 11, {**body, "session_epoch": epoch})
    assert (answer["session_id"], answer["error_code"]) == (0, code)
    assert len(parts(answer)) == (0 if code else 1)


def test_a_session_belongs_to_its_connection(
    kafka: eventlog.kafka.Listener, log: eventlog.EventLog, wire: Wire
) -> None:
    """Nobody else reads by it; an epoch that does not follow ends nothing, and the next session ends it."""
    log.topic("orders")
    reader = Reader(wire, ("orders", 0, 0))
    assert reader.ask(epoch=4)["error_code"] == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    assert reader.next()["error_code"] == 0
    nothing = {**request(), "session_id": reader.number, "session_epoch": reader.epoch}
    with Wire(kafka) as other:
        assert other.ask(ApiKey.FETCH, 11, nothing)["error_code"] == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    second = Reader(wire, ("orders", 0, 0))
    assert second.number != reader.number
    assert wire.ask(ApiKey.FETCH, 11, nothing)["error_code"] == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert second.next()["error_code"] == 0
