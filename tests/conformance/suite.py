"""
What every backend does alike, seen through the public API alone.

A backend subclasses `Conformance`, gives a `log` fixture with an empty log, and says in `capabilities` what it can
do beyond the common ground. See `test_embedded.py`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

import pytest

import eventlog
from eventlog import TopicPartition

T = TypeVar("T", bound=Callable[..., Any])
PATIENCE_SECONDS = 20.0


class Capability(enum.Enum):
    """What a backend may or may not be able to do."""

    REOPEN = "a `reopen` fixture opens the same log once more"
    DELETE_RECORDS = "records before an offset can be deleted"
    DELETE_TOPICS = "a topic can be deleted, and made anew"
    STORED_OPTIONS = "codecs and partitioner are kept with the topic"
    ATOMIC_COLUMNS = "append_many stores all partitions' records or none"
    GROUPS = "the members of a group share its partitions"
    MORE_PARTITIONS = "partitions can be added to a topic"


def needs(*capabilities: Capability) -> Callable[[T], T]:
    """Skips a test on backends that lack a capability."""

    def mark(function: T) -> T:
        function.needs = capabilities  # type: ignore[attr-defined]
        return function

    return mark


def values(records: Any) -> list[Any]:
    """The values of some records."""
    return [record.value for record in records]


def poll_all(consumer: Any, count: int) -> list[Any]:
    """Polls until so many records came."""
    records: list[Any] = []
    while len(records) < count:
        came = consumer.poll(timeout=PATIENCE_SECONDS)
        assert came, f"{len(records)} of {count} records came"
        records += came
    return records


def settle(*members: Any) -> list[Any]:
    """Has the members of a group poll in turn until nothing moves and nothing comes; the records that came."""
    records: list[Any] = []
    deadline_s = monotonic() + PATIENCE_SECONDS
    rest = 0
    while rest < 2:
        assert monotonic() < deadline_s, "the group does not come to rest"
        before = [member.assignment() for member in members]
        came = [record for member in members for record in member.poll()]
        records += came
        rest = 0 if came or before != [member.assignment() for member in members] else rest + 1
    return records


class _Base:
    capabilities: frozenset[Capability] = frozenset()

    @pytest.fixture
    def log(self) -> Any:
        raise NotImplementedError("a backend gives an empty log")

    @pytest.fixture(autouse=True)
    def _is_capable(self, request):
        missing = set(getattr(request.function, "needs", ())) - self.capabilities
        if missing:
            pytest.skip("the backend lacks: " + ", ".join(sorted(one.name for one in missing)))


class Topics(_Base):
    """Topics and their names."""

    def test_a_topic_is_made_once_and_opened_after(self, log):
        """The second call opens what the first one made."""
        log.topic("orders", partitions=3)
        assert (log.topic("orders").partitions, log.topics()) == (3, ["orders"])

    def test_topics_are_listed_by_name(self, log):
        """The order of making does not show."""
        for name in ("b", "a", "B.2-x_"):
            log.topic(name)
        assert log.topics() == ["B.2-x_", "a", "b"]

    @pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "\xe4", "a\n", "x" * 250])
    def test_a_name_that_kafka_refuses_is_refused(self, log, name):
        """Topics can move to a cluster and back."""
        with pytest.raises(eventlog.InvalidTopicName, match="249"):
            log.topic(name)
        assert log.topics() == []

    def test_other_partitions_than_the_stored_ones_are_refused(self, log):
        """The message names both numbers, and the topic stays as it is."""
        log.topic("orders", partitions=3)
        with pytest.raises(eventlog.TopicMismatch, match=r"partitions=4.*partitions=3"):
            log.topic("orders", partitions=4)
        assert log.topic("orders").partitions == 3

    @needs(Capability.STORED_OPTIONS)
    def test_other_codecs_than_the_stored_ones_are_refused(self, log):
        """Nobody reads text as numbers."""
        log.topic("orders", value=str)
        with pytest.raises(eventlog.TopicMismatch, match=r"value=int.*value=str"):
            log.topic("orders", value=int)

    @needs(Capability.DELETE_TOPICS)
    def test_a_deleted_topic_begins_anew(self, log):
        """Records, offsets and the id of the old one are gone."""
        old = log.topic("orders")
        old.append(b"tea")
        with log.consumer("orders", group="g") as consumer:
            consumer.commit({("orders", 0): 1})
        log.delete_topic("orders")
        assert log.topics() == []
        new = log.topic("orders")
        assert (new.bounds(), new.uuid != old.uuid) == ({0: (0, 0)}, True)
        with log.consumer("orders", group="g") as consumer:
            assert consumer.committed(("orders", 0)) is None


class Writing(_Base):
    """Appending one, and many."""

    def test_offsets_of_a_partition_are_dense(self, log):
        """0, 1, 2 and so on, in each partition."""
        topic = log.topic("orders", partitions=2)
        placed = [topic.append(b"x", partition=number % 2) for number in range(6)]
        assert [(meta.partition, meta.offset) for meta in placed] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
        assert topic.bounds() == {0: (0, 3), 1: (0, 3)}

    def test_a_record_comes_back_as_it_was_given(self, log):
        """Key, value, headers, time and place."""
        topic = log.topic("orders", key=str, value="json")
        headers = [("trace", b"\x00\xff"), ("trace", None), ("empty", b"")]
        meta = topic.append({"tea": [1, 2.5, None]}, key="alice", headers=headers, timestamp_ms=1_700_000_000_123)
        (record,) = topic.read()
        assert record == eventlog.Record(
            "orders", 0, meta.offset, 1_700_000_000_123, "alice", {"tea": [1, 2.5, None]}, tuple(headers)
        )

    def test_one_key_has_one_partition(self, log):
        """However it is written."""
        topic = log.topic("orders", partitions=5, key=str)
        placed = {topic.append(b"x", key="alice").partition for _ in range(3)}
        placed |= {one.partition for one in topic.append_many([b"x"] * 3, keys=["alice"] * 3)}
        with log.producer() as producer:
            placed.add(producer.send("orders", b"x", key="alice").result(PATIENCE_SECONDS).partition)
        assert len(placed) == 1

    def test_columns_are_stored_in_order(self, log):
        """Each partition keeps the order of the columns, and the ranges say where."""
        topic = log.topic("orders", partitions=3, key=int, value=int)
        ranges = topic.append_many(list(range(100)), keys=[number % 7 for number in range(100)])
        assert sum(one.end - one.first for one in ranges) == 100
        for one in ranges:
            read = values(topic.read(one.partition))
            assert read == sorted(read)
        assert sorted(values(topic.read())) == list(range(100))

    def test_none_is_a_tombstone_and_no_key_is_none(self, log):
        """Absent is not empty."""
        topic = log.topic("orders")
        topic.append_many([None, b"", b"x"], keys=[b"", b"k", None])
        assert [(record.key, record.value) for record in topic.read()] == [(b"", None), (b"k", b""), (None, b"x")]

    def test_a_value_that_does_not_fit_stores_nothing(self, log):
        """Neither the bad record nor the good ones beside it."""
        topic = log.topic("orders", value=int)
        with pytest.raises(TypeError, match="str"):
            topic.append_many([1, 2, "three"])
        assert topic.bounds() == {0: (0, 0)}


class Reading(_Base):
    """Reading without a group."""

    def test_reading_ends_where_the_log_ended_at_the_call(self, log):
        """What is appended while we read is for the next reader."""
        topic = log.topic("orders", value=int)
        topic.append_many([0, 1, 2])
        seen = []
        for record in topic.read():
            topic.append(record.value + 10)
            seen.append(record.value)
        assert seen == [0, 1, 2]

    def test_reading_begins_and_ends_where_it_is_told(self, log):
        """`start` is included, `end` is not."""
        topic = log.topic("orders", value=int)
        topic.append_many(list(range(10)))
        assert values(topic.read(start=3, end=6)) == [3, 4, 5]
        assert values(topic.read(start=8)) == [8, 9]
        assert values(topic.read(start="latest")) == []
        assert values(topic.read(max_records=2)) == [0, 1]

    def test_an_offset_outside_the_partition_is_refused(self, log):
        """The error holds the bounds."""
        topic = log.topic("orders")
        topic.append(b"x")
        with pytest.raises(eventlog.OffsetOutOfRange) as caught:
            topic.read(start=2)
        assert (caught.value.first, caught.value.end) == (0, 1)

    @needs(Capability.DELETE_RECORDS)
    def test_deleted_records_are_not_read(self, log):
        """The others keep their offsets."""
        topic = log.topic("orders", value=int)
        topic.append_many(list(range(10)))
        topic.delete_records({0: 4})
        assert [record.offset for record in topic.read()] == [4, 5, 6, 7, 8, 9]
        assert topic.bounds() == {0: (4, 10)}


class Producing(_Base):
    """Sending without waiting."""

    def test_what_was_sent_is_stored_in_order(self, log):
        """One thread, one partition: the order of the calls."""
        topic = log.topic("orders", value=int)
        with log.producer() as producer:
            deliveries = [producer.send("orders", number) for number in range(3000)]
        assert [delivery.result().offset for delivery in deliveries] == list(range(3000))
        assert values(topic.read()) == list(range(3000))

    def test_flush_stores_what_was_sent_before(self, log):
        """After it every delivery is done."""
        topic = log.topic("orders")
        producer = log.producer(linger=60.0)
        delivery = producer.send(topic, b"tea")
        producer.flush(PATIENCE_SECONDS)
        assert delivery.done()
        assert values(topic.read()) == [b"tea"]
        producer.close()

    def test_what_is_changed_after_sending_is_stored_as_it_was(self, log):
        """send() takes the value as it is then."""
        topic = log.topic("orders", value="json")
        order = {"tea": [1]}
        with log.producer(linger=60.0) as producer:
            producer.send("orders", order)
            order["tea"].append(2)
        assert values(topic.read()) == [{"tea": [1]}]

    def test_a_closed_producer_takes_nothing(self, log):
        """It says so instead of losing the record."""
        log.topic("orders")
        producer = log.producer()
        producer.close()
        producer.close()
        with pytest.raises(eventlog.LogClosed, match="not taken"):
            producer.send("orders", b"tea")

    def test_a_topic_that_is_not_there_takes_nothing(self, log):
        """Sending makes no topics."""
        with log.producer() as producer, pytest.raises(eventlog.UnknownTopic, match="orders"):
            producer.send("orders", b"tea")
        assert log.topics() == []


class Consuming(_Base):
    """Consumers of one member."""

    def test_a_group_goes_on_where_it_committed(self, log):
        """The second consumer begins behind the first."""
        log.topic("orders", value=int).append_many(list(range(10)))
        with log.consumer("orders", group="g", max_poll_records=4) as consumer:
            assert values(consumer.poll(PATIENCE_SECONDS)) == [0, 1, 2, 3]
            consumer.commit()
        with log.consumer("orders", group="g") as consumer:
            assert consumer.committed(("orders", 0)) == 4
            assert values(poll_all(consumer, 6)) == [4, 5, 6, 7, 8, 9]

    @needs(Capability.REOPEN)
    def test_a_committed_offset_survives_reopening(self, log, reopen):
        """The group's position is in the log."""
        log.topic("orders", value=int).append_many([0, 1, 2])
        with log.consumer("orders", group="g") as consumer:
            consumer.commit({("orders", 0): 2})
        log.close()
        with reopen() as again, again.consumer("orders", group="g") as consumer:
            assert values(poll_all(consumer, 1)) == [2]

    def test_without_a_group_every_consumer_begins_at_the_start(self, log):
        """Nothing is kept for it."""
        log.topic("orders", value=int).append_many([0, 1])
        for _ in range(2):
            with log.consumer("orders") as consumer:
                assert values(poll_all(consumer, 2)) == [0, 1]

    def test_latest_sees_only_what_comes_after(self, log):
        """The start is taken when the consumer is made."""
        topic = log.topic("orders", value=int)
        topic.append(0)
        with log.consumer("orders", start="latest") as consumer:
            topic.append(1)
            assert values(poll_all(consumer, 1)) == [1]

    def test_a_record_in_hand_comes_again(self, log):
        """Leaving the loop says that the last record was not finished."""
        log.topic("orders", value=int).append_many([0, 1, 2])
        with log.consumer("orders", group="g") as consumer:
            for record in consumer:
                if record.value == 1:
                    break
        with log.consumer("orders", group="g") as consumer:
            assert values(poll_all(consumer, 2)) == [1, 2]

    def test_seeking_moves_and_position_tells(self, log):
        """To an offset, a time, and both ends."""
        topic = log.topic("orders", value=int)
        for number in range(5):
            topic.append(number, timestamp_ms=1000 * number)
        tp = TopicPartition("orders", 0)
        with log.consumer("orders") as consumer:
            consumer.seek(tp, 3)
            assert (consumer.position(tp), consumer.lag()) == (3, {tp: 2})
            assert values(poll_all(consumer, 2)) == [3, 4]
            consumer.seek_to_beginning(tp)
            assert consumer.position(tp) == 0
            consumer.seek_to_end()
            assert consumer.position(tp) == 5
            consumer.seek_to_time(1500)
            assert consumer.position(tp) == 2

    def test_a_paused_partition_waits(self, log):
        """The others go on, and it goes on when resumed."""
        topic = log.topic("orders", partitions=2, value=int)
        topic.append(0, partition=0)
        topic.append(1, partition=1)
        with log.consumer("orders") as consumer:
            consumer.pause(("orders", 0))
            assert consumer.paused() == [("orders", 0)]
            assert values(poll_all(consumer, 1)) == [1]
            assert consumer.poll() == []
            consumer.resume()
            assert values(poll_all(consumer, 1)) == [0]

    def test_wakeup_ends_the_next_wait(self, log):
        """A loop ends, and the consumer is still of use."""
        topic = log.topic("orders", value=int)
        with log.consumer("orders") as consumer:
            consumer.wakeup()
            assert list(consumer) == []
            topic.append(1)
            assert values(poll_all(consumer, 1)) == [1]


class Sharing(_Base):
    """Groups of several members."""

    @needs(Capability.GROUPS)
    def test_two_members_share(self, log):
        """Each partition has one owner, and each record goes to one of them."""
        topic = log.topic("orders", partitions=4, value=int)
        for number in range(40):
            topic.append(number, partition=number % 4)
        with log.consumer("orders", group="g") as one, log.consumer("orders", group="g") as other:
            assert sorted(values(settle(one, other))) == list(range(40))
            assert sorted(one.assignment() + other.assignment()) == [("orders", number) for number in range(4)]
            assert len(one.assignment()) == len(other.assignment()) == 2

    @needs(Capability.GROUPS)
    def test_a_partition_that_moves_goes_on_where_it_was(self, log):
        """What its owner had finished does not come again; the other is told of what it gets."""
        topic = log.topic("orders", partitions=2, value=int)
        for number in range(20):
            topic.append(number, partition=number % 2)
        told = []
        with log.consumer("orders", group="g", max_poll_records=7, on_revoked=told.extend) as one:
            first = one.poll(PATIENCE_SECONDS)
            with log.consumer("orders", group="g", on_assigned=told.extend) as other:
                rest = settle(one, other)
                assert told == other.assignment() * 2
        assert sorted(values(first + rest)) == list(range(20))

    @needs(Capability.GROUPS)
    def test_who_leaves_is_replaced(self, log):
        """The other gets its partitions, at what it had finished."""
        topic = log.topic("orders", partitions=2, value=int)
        one = log.consumer("orders", group="g")
        with log.consumer("orders", group="g") as other:
            settle(one, other)
            topic.append_many([0, 1], partition=one.assignment()[0].partition)
            assert values(poll_all(one, 2)) == [0, 1]
            one.commit()
            one.close()
            topic.append(2, partition=0)
            topic.append(2, partition=1)
            assert values(settle(other)) == [2, 2]
            assert len(other.assignment()) == 2

    @needs(Capability.GROUPS)
    def test_a_member_commits_only_what_it_owns(self, log):
        """The other's offset is not touched."""
        log.topic("orders", partitions=2, value=int).append_many([0, 1], partition=0)
        with log.consumer("orders", group="g") as one, log.consumer("orders", group="g") as other:
            settle(one, other)
            [mine], [others] = one.assignment(), other.assignment()
            with pytest.raises(eventlog.MemberFenced):
                one.commit({others: 2})
            one.commit({mine: 2})
            assert one.committed(mine) == 2

    @needs(Capability.GROUPS)
    def test_a_pattern_takes_what_appears(self, log):
        """From the first record, wherever the group began."""
        log.topic("orders-1", value=int).append(1)
        with log.consumer(re.compile("orders-.*"), group="g", start="latest") as consumer:
            assert settle(consumer) == []
            log.topic("orders-2", value=int).append(2)
            log.topic("payments", value=int).append(3)
            assert values(poll_all(consumer, 1)) == [2]
            assert settle(consumer) == []

    @needs(Capability.GROUPS, Capability.MORE_PARTITIONS)
    def test_partitions_that_are_added_are_shared(self, log):
        """And read from their first record."""
        topic = log.topic("orders", partitions=2, value=int)
        with log.consumer("orders", group="g") as one, log.consumer("orders", group="g") as other:
            settle(one, other)
            topic.create_partitions(4)
            topic.append(7, partition=3)
            assert values(settle(one, other)) == [7]
            assert len(one.assignment()) == len(other.assignment()) == 2

    @needs(Capability.GROUPS)
    def test_a_static_member_keeps_its_place(self, log):
        """It closes and comes back, and nothing moves."""
        log.topic("orders", partitions=4)
        with log.consumer("orders", group="g") as other:
            one = log.consumer("orders", group="g", instance_id="left")
            settle(one, other)
            had = sorted(one.assignment())
            one.close()
            settle(other)
            assert len(other.assignment()) == 2
            with log.consumer("orders", group="g", instance_id="left") as one:
                with pytest.raises(eventlog.InstanceInUse):
                    log.consumer("orders", group="g", instance_id="left")
                settle(one, other)
                assert sorted(one.assignment()) == had


class Conformance(Topics, Writing, Reading, Producing, Consuming, Sharing):
    """Everything."""
