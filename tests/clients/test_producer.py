"""The producer: when it stores, in what order, and what of a record."""

from __future__ import annotations

import sys
import threading
import time

import attrs
import pytest

import eventlog
from tests.clients.helpers import PATIENCE_SECONDS, held_up, in_threads, round_count, values


@attrs.define
class Order:
    """An order."""

    items: list[str]


@pytest.fixture
def topic(log):
    """A topic of one partition."""
    return log.topic("orders", value=int)


def wait_for(delivery):
    """Waits without asking for the result, which would store the batch at once."""
    done = threading.Event()
    delivery.add_done_callback(lambda _: done.set())
    assert done.wait(PATIENCE_SECONDS)


# -- when ----------------------------------------------------------------------------------------------------------


def test_send_does_not_wait_for_the_disk(log, topic):
    """It returns while somebody else is in the middle of a commit."""
    producer = log.producer(linger=0.0)
    with held_up(log):
        deliveries = [producer.send(topic, number) for number in range(2000)]
        assert not any(delivery.done() for delivery in deliveries)
        assert repr(deliveries[0]) == "<Delivery to orders[0]: pending>"
    producer.close()
    assert all(delivery.done() for delivery in deliveries)
    assert repr(deliveries[0]) == "<Delivery to orders[0]: stored>"


def test_a_lingering_record_is_stored_by_itself(log, topic):
    """Nobody has to ask for it."""
    with log.producer(linger=0.001) as producer:
        wait_for(producer.send(topic, 1))
        wait_for(producer.send(topic, 2))
    assert values(topic.read()) == [1, 2]


def test_records_wait_for_others_as_long_as_they_may(log, topic):
    """With a long linger nothing is stored before somebody asks."""
    before = round_count(log)
    with log.producer(linger=3600.0) as producer:
        deliveries = [producer.send(topic, number) for number in range(100)]
        assert (round_count(log), topic.bounds()) == (before, {0: (0, 0)})
        assert deliveries[50].result(PATIENCE_SECONDS).offset == 50
        assert round_count(log) == before + 1, "one commit for all of them"
        assert all(delivery.done() for delivery in deliveries)


def test_a_full_batch_is_sealed_by_its_size(log):
    """A batch on disk is never larger than `batch_bytes`, unless one record is."""
    topic = log.topic("orders", max_record_bytes=1 << 20)
    with log.producer(linger=3600.0, batch_bytes=4096) as producer:
        for size in [100] * 500 + [2500] * 10 + [50_000, 10]:
            producer.send(topic, bytes(size))
    batches = list(topic.read_batches())
    assert len(batches) > 20
    assert all(sum(map(len, batch.values)) <= 4096 or len(batch) == 1 for batch in batches)


def test_a_producer_that_sends_much_stores_by_itself(log):
    """Long before flush, though nothing lingered long enough."""
    topic = log.topic("orders")
    with log.producer(linger=3600.0) as producer:
        for _ in range(5000):
            producer.send(topic, bytes(1000))
        with log.consumer(topic) as consumer:
            count = 0
            while count < 2000:
                records = consumer.poll(timeout=10.0)
                assert records
                count += len(records)


# -- order, and nothing twice ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"headers": {"h": b"x"}}, {"timestamp_ms": 5}], ids=["fast", "headers", "time"]
)
def test_one_thread_keeps_its_order(log, topic, options):
    """Whether a record takes the short way or the long one, and when they alternate."""
    with log.producer(linger=0.001) as producer:
        deliveries = [producer.send(topic, n, **(options if n % 3 else {})) for n in range(5000)]
    assert [delivery.result().offset for delivery in deliveries] == list(range(5000))
    assert values(topic.read()) == list(range(5000))


@pytest.mark.parametrize("partitions", [1, 4])
def test_eight_threads_share_a_producer(log, partitions, rng):
    """
    Every record is stored once, each thread's in its order, and every Delivery tells the truth.

    A tiny switch interval puts threads between any two steps of `send`, and others seal batches meanwhile.
    """
    topic = log.topic("orders", partitions=partitions, key=int, value="msgpack")
    producer = log.producer(linger=0.0005, batch_bytes=1024)
    interval_s = sys.getswitchinterval()
    end_s = time.monotonic() + 1.0
    seeds = [rng.random() for _ in range(8)]

    def sender(name):
        def run():
            sent = []
            while time.monotonic() < end_s:
                for n in range(len(sent), len(sent) + 100):
                    options = {"headers": {"n": str(n)}} if n % 17 == name else {}
                    sent.append((n, producer.send(topic, [name, n], key=name, **options)))
                if seeds[name] > 0.6:
                    sent[-1][1].result(PATIENCE_SECONDS)
                elif seeds[name] < 0.2:
                    producer.flush(PATIENCE_SECONDS)
            return sent

        return run

    sys.setswitchinterval(1e-6)
    try:
        sent = in_threads(*map(sender, range(8)))
    finally:
        sys.setswitchinterval(interval_s)
    producer.close()
    stored = {(record.partition, record.offset): record.value for record in topic.read()}
    assert len(stored) == sum(map(len, sent))
    for name, pairs in enumerate(sent):
        placed = []
        for n, delivery in pairs:
            meta = delivery.result(0)
            assert stored[meta.partition, meta.offset] == [name, n]
            placed.append(meta.offset)
        assert placed == sorted(placed), "a thread's records of one key keep their order"


def test_a_key_decides_the_partition_as_for_append(log):
    """With both named partitioners."""
    for partitioner in ("crc32", "murmur2"):
        topic = log.topic(partitioner, partitions=12, key=str, partitioner=partitioner)
        with log.producer() as producer:
            for key in ("user-1", "order-42", ""):
                expected = topic.append(b"x", key=key).partition
                assert producer.send(partitioner, b"x", key=key).result().partition == expected


def test_an_explicit_partition_overrides_the_key(log):
    """And must be one of the topic's."""
    log.topic("orders", partitions=3)
    with log.producer() as producer:
        assert producer.send("orders", b"x", key=b"k", partition=2).result().partition == 2
        for bad, error in ((3, eventlog.UnknownPartition), (-1, ValueError), (True, TypeError)):
            with pytest.raises(error, match="partition"):
                producer.send("orders", b"x", partition=bad)


def test_records_without_keys_stay_together_and_batches_take_turns(log):
    """Full batches beat a spread of single records."""
    topic = log.topic("orders", partitions=4)
    with log.producer(linger=3600.0) as producer:
        for _ in range(8):
            for _ in range(10):
                producer.send(topic, b"x")
            producer.flush()
    assert [len(list(topic.read(partition))) for partition in range(4)] == [20] * 4


# -- what is stored ----------------------------------------------------------------------------------------------------


def test_headers_and_timestamps_stay_with_their_records(log, topic):
    """Where only some of a batch have them."""
    with log.producer(linger=3600.0) as producer:
        for n in range(300):
            producer.send(
                topic, n, headers={"n": str(n)} if n % 3 == 0 else None, timestamp_ms=n if n % 5 == 0 else None
            )
    for record in topic.read():
        n = record.value
        assert record.headers == ((("n", str(n).encode()),) if n % 3 == 0 else ())
        assert (record.timestamp_ms == n) == (n % 5 == 0)


def test_a_delivery_tells_the_timestamp_that_is_stored(log, topic):
    """The given one, or that of the batch."""
    with log.producer() as producer:
        metas = [producer.send(topic, 1), producer.send(topic, 2, timestamp_ms=77)]
    assert [one.result().timestamp_ms for one in metas] == [record.timestamp_ms for record in topic.read()]
    assert metas[1].result().timestamp_ms == 77


@pytest.mark.parametrize(
    ("codec", "make", "change"),
    [
        (bytes, lambda: bytearray(b"tea"), lambda value: value.extend(b"!")),
        ("json", lambda: {"a": [1]}, lambda value: value["a"].append(2)),
        ("msgpack", lambda: [1, {"b": 2}], lambda value: value[1].clear()),
        (Order, lambda: Order(["tea"]), lambda value: value.items.append("milk")),
    ],
    ids=["bytearray", "dict", "list", "attrs"],
)
def test_changing_what_was_sent_changes_nothing_that_is_stored(log, codec, make, change):
    """Values, keys and headers are taken as they are at the call."""
    topic = log.topic("orders", key=codec, value=codec)
    value, key, header = make(), make(), bytearray(b"h")
    with log.producer(linger=3600.0) as producer:
        producer.send(topic, value, key=key, headers={"h": header})
        producer.send(topic, value)
        change(value)
        change(key)
        header.extend(b"!")
    expected = b"tea" if codec is bytes else make()
    first, second = topic.read()
    assert (first.value, first.key, second.value, first.headers) == (expected, expected, expected, (("h", b"h"),))


def test_large_records_are_stored_among_small_ones(log, rng):
    """In their order, and as they were."""
    topic = log.topic("orders", max_record_bytes=4 << 20)
    sent = [rng.randbytes(rng.choice([10, 2047, 2048, 70_000, 3_000_000])) for _ in range(40)]
    with log.producer(linger=3600.0) as producer:
        for value in sent:
            producer.send(topic, value)
    assert values(topic.read()) == sent


def test_send_many_is_as_many_sends(log):
    """Keys, headers and timestamps in columns; one timestamp may stand for all."""
    topic = log.topic("orders", partitions=3, key=str, value=int)
    with log.producer() as producer:
        assert producer.send_many(topic, []) == []
        first = producer.send_many("orders", range(4), keys=["a", "b", None, "a"])
        second = producer.send_many(topic, [4], headers=[{"h": b"x"}], timestamps_ms=[9], partition=1)
        third = producer.send_many(topic, (n for n in (5, 6)), timestamps_ms=10)
    metas = [delivery.result() for delivery in (*first, *second, *third)]
    stored = {(record.partition, record.offset): record for record in topic.read()}
    records = [stored[meta.partition, meta.offset] for meta in metas]
    assert values(records) == list(range(7))
    assert [record.key for record in records] == ["a", "b", None, "a", None, None, None]
    assert (records[4].headers, [record.timestamp_ms for record in records[4:]]) == ((("h", b"x"),), [9, 10, 10])


@pytest.mark.parametrize("columns", [{"keys": [b"k"]}, {"headers": [None] * 3}, {"timestamps_ms": [1]}])
def test_send_many_refuses_columns_of_different_lengths(log, columns):
    """Before it takes any record."""
    topic = log.topic("orders")
    with log.producer() as producer, pytest.raises(ValueError, match="entries and values has 2"):
        producer.send_many(topic, [b"x", b"y"], **columns)
    assert topic.bounds() == {0: (0, 0)}


def test_a_producer_shows_its_name_and_whether_it_is_open(log):
    """In a debugger, as the other objects of a log do."""
    with log.producer() as producer, log.producer(name="till") as named:
        assert (repr(producer), repr(named)) == ("<Producer: open>", "<Producer 'till': open>")
    assert repr(named) == "<Producer 'till': closed>"


def test_a_topic_and_its_name_are_the_same_to_send(log, topic):
    """They share batches, so the order holds across both."""
    with log.producer(linger=3600.0) as producer:
        for n in range(100):
            producer.send(topic if n % 2 else "orders", n)
    assert values(topic.read()) == list(range(100))
    assert len(list(topic.read_batches())) == 1
