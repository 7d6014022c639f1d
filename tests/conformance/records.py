"""The suite on topics and records: writing, reading, producing."""

from __future__ import annotations

import pytest

import eventlog
from tests.conformance.kit import PATIENCE_SECONDS, Base, values


class Topics(Base):
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

    def test_other_codecs_than_the_stored_ones_are_refused(self, log):
        """Nobody reads text as numbers."""
        log.topic("orders", value=str)
        with pytest.raises(eventlog.TopicMismatch, match=r"value=int.*value=str"):
            log.topic("orders", value=int)

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


class Writing(Base):
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


class Reading(Base):
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

    def test_deleted_records_are_not_read(self, log):
        """The others keep their offsets."""
        topic = log.topic("orders", value=int)
        topic.append_many(list(range(10)))
        topic.delete_records({0: 4})
        assert [record.offset for record in topic.read()] == [4, 5, 6, 7, 8, 9]
        assert topic.bounds() == {0: (4, 10)}


class Producing(Base):
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
