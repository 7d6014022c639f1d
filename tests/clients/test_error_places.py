"""Errors say in fields where they happened, so that a program goes on there without reading their text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import eventlog
from eventlog import EventLog, EventLogError
from eventlog.batches.format import BatchEncoder
from eventlog.batches.header import seal
from tests.clients.helpers import rewrite_batch

Place = tuple[str | None, int | None, int | None, str | None]


def _place(error: EventLogError) -> Place:
    return error.topic, error.partition, error.offset, error.group


def _poll_behind_the_end(log: EventLog) -> None:
    consumer = log.consumer("orders")
    consumer.seek(("orders", 1), 9)
    consumer.poll()


def _commit_of_a_fenced_member(log: EventLog) -> None:
    consumer = log.consumer("orders", group="billing")
    while not consumer.poll(timeout=0.1):
        pass
    log.groups.delete("billing", force=True)
    consumer.commit({("orders", 1): 2})


def _append_at_the_wrong_version(log: EventLog) -> None:
    log.topic("events", key=str, index="key").append(b"a", key="k", expected_version=7)


def _send_too_much(log: EventLog) -> None:
    log.topic("small", max_record_bytes=10).append(b"x" * 11)


CASES: list[tuple[Callable[[EventLog], object], type[EventLogError], Place]] = [
    (lambda log: log.topic("orders").append(b"a", partition=9), eventlog.UnknownPartition, ("orders", 9, None, None)),
    (lambda log: log.delete_topic("nowhere"), eventlog.UnknownTopic, ("nowhere", None, None, None)),
    (lambda log: log.topic("or ders"), eventlog.InvalidTopicName, ("or ders", None, None, None)),
    (lambda log: log.topic("orders", value=int), eventlog.TopicMismatch, ("orders", None, None, None)),
    (lambda log: log.topic("orders", partitions=7), eventlog.TopicMismatch, ("orders", None, None, None)),
    (lambda log: list(log.topic("orders").read(1, start=9)), eventlog.OffsetOutOfRange, ("orders", 1, 9, None)),
    (_poll_behind_the_end, eventlog.OffsetOutOfRange, ("orders", 1, 9, None)),
    (lambda log: log.topic("orders").delete_records({1: 9}), eventlog.OffsetOutOfRange, ("orders", 1, 9, None)),
    (lambda log: log.groups.delete("nobody"), eventlog.UnknownGroup, (None, None, None, "nobody")),
    (_commit_of_a_fenced_member, eventlog.MemberFenced, ("orders", 1, 2, "billing")),
    (_append_at_the_wrong_version, eventlog.WrongVersion, ("events", None, None, None)),
    (_send_too_much, eventlog.RecordTooLarge, ("small", None, None, None)),
]


@pytest.mark.parametrize(("act", "kind", "place"), CASES)
def test_an_error_has_its_place(
    log: EventLog, act: Callable[[EventLog], object], kind: type[EventLogError], place: Place
) -> None:
    """Topic, partition, offset and group, and None for what is no part of the place."""
    log.topic("orders", partitions=2).append_many([b"a", b"b"], partition=1)
    with pytest.raises(kind) as caught:
        act(log)
    assert _place(caught.value) == place


def test_a_record_that_cannot_be_decoded_is_passed_by_its_place(path: Path) -> None:
    """The reader goes on behind it, and has not read the message."""
    with eventlog.open(path) as log:
        log.topic("orders", value=str).append_many(["x", "unreadable", "z"])
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=str)
        rewrite_batch(topic, 2, _with_bad_text)
        records = topic.read()
        assert next(records).value == "x"
        with pytest.raises(eventlog.DecodeError) as caught:
            next(records)
        assert _place(caught.value) == ("orders", 0, 1, None)
        assert caught.value.offset is not None
        assert [record.value for record in topic.read(start=caught.value.offset + 1)] == ["z"]


def _with_bad_text(_data: bytes) -> bytes:
    (batch,) = BatchEncoder().encode(None, [b"x", b"\xff", b"z"], timestamps_ms=0)
    return seal(batch, largest_so_far_ms=0, log_position=0)


def test_a_damaged_batch_has_its_place(path: Path) -> None:
    """Its last offset: behind that a reader goes on."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", partitions=2)
        topic.append_many([b"precious 1", b"precious 2"], partition=1)
        topic.append_many([b"after"], partition=1)
    file = path / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"precious", b"preciou5"))
    with eventlog.open(path) as log, log.consumer("orders") as consumer:
        with pytest.raises(eventlog.CorruptBatch) as caught:
            consumer.poll()
        error = caught.value
        assert _place(error) == ("orders", 1, 1, None)
        assert error.topic is not None
        assert error.partition is not None
        assert error.offset is not None
        consumer.seek((error.topic, error.partition), error.offset + 1)
        assert [record.value for record in consumer.poll()] == [b"after"]


def _put_into_a_deleted_state(log: EventLog) -> None:
    with log.transaction() as tx:
        tx.state("stock")["tea"] = b"1"
    with log.transaction() as tx:
        tx.state("stock")["tea"] = b"2"
        log.delete_state("stock")


def _open_a_state_with_another_codec(log: EventLog) -> None:
    with log.transaction() as tx:
        tx.state("stock", value=int)["tea"] = 1
    log.state("stock", value=str)


def _open_a_projection_with_another_codec(log: EventLog) -> None:
    log.projection("sums", print, value=int)
    _ = log.projection("sums", print, value=str).state


@pytest.mark.parametrize(
    ("act", "kind", "state", "projection"),
    [
        (lambda log: log.state("nowhere"), eventlog.UnknownState, "nowhere", None),
        (lambda log: log.delete_projection("nowhere"), eventlog.UnknownProjection, None, "nowhere"),
        (_put_into_a_deleted_state, eventlog.UnknownState, "stock", None),
        (_open_a_state_with_another_codec, eventlog.StateMismatch, "stock", None),
        (_open_a_projection_with_another_codec, eventlog.StateMismatch, None, "sums"),
    ],
)
def test_an_error_of_a_state_or_a_projection_names_it(
    log: EventLog, act: Callable[[EventLog], object], kind: type[EventLogError], state: str, projection: str
) -> None:
    """As those of topics and groups do."""
    with pytest.raises(kind) as caught:
        act(log)
    assert (caught.value.state, caught.value.projection) == (state, projection)
