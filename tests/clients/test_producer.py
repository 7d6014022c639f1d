"""The producer: when it stores, in what order, and what becomes of what it could not store."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
import tracemalloc

import attrs
import pytest

import eventlog
from tests.clients.helpers import PATIENCE_SECONDS, held_up, in_threads, poll_all, round_count, values


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


def test_a_topic_and_its_name_are_the_same_to_send(log, topic):
    """They share batches, so the order holds across both."""
    with log.producer(linger=3600.0) as producer:
        for n in range(100):
            producer.send(topic if n % 2 else "orders", n)
    assert values(topic.read()) == list(range(100))
    assert len(list(topic.read_batches())) == 1


# -- flush and close ---------------------------------------------------------------------------------------------------


def test_flush_gives_up_after_its_timeout_and_keeps_what_waits(log, topic):
    """TimeoutError, and the next flush stores it."""
    producer = log.producer(linger=3600.0)
    with held_up(log):
        delivery = producer.send(topic, 1)
        with pytest.raises(TimeoutError, match="still queued"):
            producer.flush(timeout=0.01)
        with pytest.raises(TimeoutError, match="still queued"):
            delivery.result(timeout=0.01)
        with pytest.raises(TimeoutError):
            delivery.exception(timeout=0.0)
    producer.flush(PATIENCE_SECONDS)
    assert values(topic.read()) == [1]
    producer.close()


def test_close_gives_up_after_its_timeout_and_nothing_is_lost(path):
    """The producer is closed all the same; closing the log stores what waits."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        producer = log.producer(linger=0.0)
        with held_up(log):
            producer.send(topic, 1)
            with pytest.raises(TimeoutError):
                producer.close(timeout=0.01)
            with pytest.raises(eventlog.LogClosed):
                producer.send(topic, 2)
    with eventlog.open(path) as log:
        assert values(log.topic("orders").read()) == [1]


def test_closing_the_log_closes_its_producers(path):
    """And stores what they were given."""
    log = eventlog.open(path)
    topic = log.topic("orders")
    producer = log.producer(linger=3600.0)
    producer.send(topic, b"tea")
    log.close()
    with pytest.raises(eventlog.LogClosed, match=r"producer is closed.*not taken.*log.producer"):
        producer.send(topic, b"milk")
    with eventlog.open(path) as log:
        assert values(log.topic("orders").read()) == [b"tea"]


def test_a_closed_producer_leaves_no_thread(log, topic):
    """close() waits for it."""
    producer = log.producer(linger=0.0)
    producer.send(topic, 1)
    producer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "eventlog-sender"]


@pytest.mark.parametrize("is_in_a_cycle", [False, True])
def test_a_producer_that_nobody_holds_any_more_stores_what_it_was_given(path, is_in_a_cycle):
    """Though it was not closed, and the collector may take the log first."""

    def send_and_forget():
        log = eventlog.open(path)
        producer = log.producer(linger=3600.0)
        log.topic("orders", value=int)
        for n in range(100):
            producer.send("orders", n)
        if is_in_a_cycle:
            cycle = {"log": log, "producer": producer}
            cycle["me"] = cycle

    send_and_forget()
    gc.collect()
    with eventlog.open(path) as log, log.consumer("orders") as consumer:
        assert values(poll_all(consumer, 100)) == list(range(100))


def test_the_collector_may_come_in_the_middle_of_a_commit(path):
    """A forgotten producer that is collected inside its own thread's commit hangs nobody."""

    def send_and_forget():
        log = eventlog.open(path)
        producer = log.producer(linger=0.05)
        log.topic("orders", value=int)
        environment = log._store.environment
        commit = environment.commit

        def collecting(transaction):
            if threading.current_thread().name == "eventlog-sender":
                gc.collect()
            commit(transaction)

        environment.commit = collecting
        for n in range(100):
            producer.send("orders", n)
        cycle = {"log": log, "producer": producer}
        cycle["me"] = cycle

    gc.disable()
    try:
        send_and_forget()
        with eventlog.open(path) as log, log.consumer("orders") as consumer:
            assert values(poll_all(consumer, 100)) == list(range(100))
    finally:
        gc.enable()


def test_deliveries_that_are_kept_do_not_keep_the_records(log):
    """What was stored is not held in memory as well."""
    topic = log.topic("orders")
    with log.producer() as producer:
        tracemalloc.start()
        try:
            deliveries = [producer.send(topic, bytes(1000)) for _ in range(5000)]
            producer.flush()
            kept_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(deliveries) == 5000
    assert kept_bytes < 1_500_000


# -- callbacks ---------------------------------------------------------------------------------------------------------


def test_callbacks_come_in_the_order_of_the_offsets(log, topic):
    """Across batches, and whatever the order in which they were added."""
    called = []
    with log.producer(linger=3600.0, batch_bytes=1024) as producer:
        deliveries = [producer.send(topic, n) for n in range(2000)]
        for delivery in reversed(deliveries):
            delivery.add_done_callback(lambda done: called.append(done.result().offset))
    assert sorted(called) == list(range(2000))
    batches = [batch.offsets for batch in topic.read_batches()]
    late = [offset for offset in called if offset in batches[-1]]
    assert late == sorted(late)


def test_a_callback_may_send_flush_and_ask(log, topic):
    """It runs outside all locks."""
    done = threading.Event()

    def again(delivery):
        if delivery.result().offset < 5:
            producer.send(topic, delivery.result().offset + 1).add_done_callback(again)
            producer.flush(PATIENCE_SECONDS)
        else:
            done.set()

    producer = log.producer(linger=0.001)
    producer.send(topic, 0).add_done_callback(again)
    assert done.wait(PATIENCE_SECONDS)
    producer.close()
    assert values(topic.read()) == [0, 1, 2, 3, 4, 5]


def test_a_failing_callback_is_logged_and_keeps_no_other_from_being_called(log, topic, caplog):
    """Before the record is stored, and after."""
    called = []
    with log.producer(linger=3600.0) as producer, caplog.at_level(logging.ERROR, "eventlog"):
        deliveries = [producer.send(topic, n) for n in range(3)]
        deliveries[0].add_done_callback(lambda _: 1 / 0)
        for delivery in deliveries:
            delivery.add_done_callback(lambda done: called.append(done.result().offset))
        producer.flush()
        deliveries[1].add_done_callback(lambda _: 1 / 0)
    assert called == [0, 1, 2]
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError] * 2
    assert values(topic.read()) == [0, 1, 2]


def test_a_callback_for_a_stored_record_is_called_at_once(log, topic):
    """In the thread that adds it."""
    called = []
    with log.producer() as producer:
        delivery = producer.send(topic, 1)
        delivery.result()
        delivery.add_done_callback(lambda done: called.append((done, threading.current_thread())))
    assert called == [(delivery, threading.current_thread())]


# -- failures ----------------------------------------------------------------------------------------------------------


def test_failures_that_nobody_looked_at_come_out_of_flush_once(log, topic):
    """Counted, with the first error as the cause; what was looked at is not counted."""
    producer = log.producer(linger=3600.0)
    deliveries = [producer.send(topic, n) for n in range(5)]
    log.delete_topic("orders")
    assert isinstance(deliveries[2].exception(), eventlog.UnknownTopic)
    with pytest.raises(eventlog.DeliveryError, match="4 sent records were not stored") as caught:
        producer.flush()
    assert (caught.value.count, type(caught.value.__cause__)) == (4, eventlog.UnknownTopic)
    producer.flush()
    with pytest.raises(eventlog.UnknownTopic, match="Nothing was stored"):
        deliveries[0].result()
    assert repr(deliveries[0]) == "<Delivery to orders[0]: failed>"
    producer.close()


def test_failures_that_were_looked_at_stay_quiet(log, topic):
    """The caller knows already."""
    with log.producer(linger=3600.0) as producer:
        delivery = producer.send(topic, 1)
        log.delete_topic("orders")
        assert delivery.exception() is not None


def test_closing_the_log_tells_of_failures(path):
    """A `with` block around the log alone loses no error."""
    log = eventlog.open(path)
    producer = log.producer(linger=3600.0)
    producer.send(log.topic("orders"), b"x")
    log.delete_topic("orders")
    with pytest.raises(eventlog.DeliveryError, match="1 sent records"):
        log.close()
    assert log.is_closed


def test_a_topic_that_was_made_anew_is_found_by_its_name(log, topic):
    """After a failure, and by the same producer."""
    with log.producer() as producer:
        producer.send("orders", 1).result()
        log.delete_topic("orders")
        new = log.topic("orders", value=int)
        assert isinstance(producer.send("orders", 2).exception(), eventlog.UnknownTopic)
        assert producer.send("orders", 3).result().offset == 0
        assert isinstance(producer.send(topic, 4).exception(), eventlog.UnknownTopic)
    assert values(new.read()) == [3]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"value": "text"}, TypeError),
        ({"value": 1, "key": 5}, TypeError),
        ({"value": 2**63}, TypeError),
        ({"value": 1, "headers": {"h": 5}}, TypeError),
        ({"value": 1, "headers": {"h": "\ud800"}}, TypeError),
        ({"value": 1, "headers": [("h",)]}, TypeError),
        ({"value": 1, "timestamp_ms": 1.5}, TypeError),
        ({"value": 1, "timestamp_ms": 2**63}, ValueError),
        ({"value": 1, "partition": "0"}, TypeError),
    ],
)
def test_what_does_not_fit_fails_at_the_call(log, arguments, error):
    """Before any effect; the records before and after are stored."""
    topic = log.topic("orders", key=str, value=int)
    with log.producer(linger=3600.0) as producer:
        producer.send(topic, 0)
        with pytest.raises(error, match=r"Nothing was stored|not taken"):
            producer.send(topic, **arguments)
        producer.send(topic, 1)
    assert values(topic.read()) == [0, 1]


@pytest.mark.parametrize("bad", [5, None, b"orders"])
def test_a_topic_that_is_none_is_refused(log, bad):
    """A topic is its name or a Topic."""
    with log.producer() as producer, pytest.raises(TypeError, match="name or a Topic"):
        producer.send(bad, b"x")


# -- back-pressure -----------------------------------------------------------------------------------------------------


def test_a_full_buffer_blocks_until_there_is_room(log):
    """Nothing is lost, nothing is refused, and memory stays bounded."""
    topic = log.topic("orders")
    producer = log.producer(linger=3600.0, max_buffered_bytes=100_000)
    sent = 0
    started = threading.Event()

    def send():
        nonlocal sent
        while sent < 500:
            producer.send(topic, bytes(1000))
            sent += 1
            if sent == 100:
                started.set()
        return sent

    with held_up(log):
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        assert started.wait(PATIENCE_SECONDS)
        thread.join(0.05)
        assert thread.is_alive()
        assert sent < 400
    thread.join(PATIENCE_SECONDS)
    producer.close()
    assert topic.bounds() == {0: (0, 500)}


def test_a_buffer_that_stays_full_refuses_the_record(log):
    """BufferFull after `max_block`, which may be tried again; those before it are kept."""
    topic = log.topic("orders")
    producer = log.producer(linger=3600.0, max_buffered_bytes=100_000, max_block=0.02)
    deliveries = []

    def send_much():
        for _ in range(500):
            deliveries.append(producer.send(topic, bytes(1000)))  # noqa: PERF401 - those before the error count

    with held_up(log):
        with pytest.raises(eventlog.BufferFull, match=r"max_block=0.02 s.*not taken") as caught:
            send_much()
        assert caught.value.retriable
    deliveries.append(producer.send(topic, b"last"))
    producer.close()
    assert [delivery.result().offset for delivery in deliveries] == list(range(len(deliveries)))
    assert topic.bounds() == {0: (0, len(deliveries))}


@pytest.mark.parametrize(
    ("option", "bad", "error"),
    [
        ("linger", -1, ValueError),
        ("linger", "5", TypeError),
        ("linger", float("nan"), ValueError),
        ("batch_bytes", 10, ValueError),
        ("batch_bytes", 1 << 20, ValueError),
        ("max_buffered_bytes", 10, ValueError),
        ("max_block", -0.1, ValueError),
    ],
)
def test_an_option_out_of_its_bounds_makes_no_producer(log, option, bad, error):
    """The message names the option, the value and the bounds."""
    with pytest.raises(error, match=option):
        log.producer(**{option: bad})


def test_threads_that_wait_for_one_batch_wake_at_once(log, topic):
    """All of them, when the commit that stores it is done."""
    producer = log.producer(linger=3600.0)
    deliveries = [producer.send(topic, n) for n in range(16)]
    woken_s = []

    def wait(delivery):
        delivery.result(PATIENCE_SECONDS)
        woken_s.append(time.monotonic())

    threads = [threading.Thread(target=wait, args=(delivery,), daemon=True) for delivery in deliveries]
    with held_up(log):
        for thread in threads:
            thread.start()
        threads[0].join(0.05)
        released_s = time.monotonic()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    producer.close()
    assert len(woken_s) == 16
    assert max(woken_s) - released_s < 0.5
