"""What happens to those who still hold something when a log, a topic or a batch is closed under them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import eventlog
from eventlog.batches.format import BatchEncoder


def test_a_topic_of_a_closed_log_is_closed_though_another_log_has_the_directory_open(tmp_path: Path) -> None:
    """Two logs of one directory share a store, and not their lives."""
    with eventlog.open(tmp_path / "log") as other:
        with eventlog.open(tmp_path / "log") as log:
            topic = log.topic("orders")
            topic.append(b"tea")
        for call in (lambda: topic.append(b"milk"), topic.bounds, topic.read, lambda: topic.append_many([b"milk"])):
            with pytest.raises(eventlog.LogClosed):
                call()
        assert len(list(other.topic("orders").read())) == 1


def test_closing_the_log_ends_a_loop_that_waits_in_another_thread(tmp_path: Path) -> None:
    """The loop ends as by wakeup(), and what it finished is committed."""
    log = eventlog.open(tmp_path / "log")
    log.topic("orders").append(b"tea")
    consumer = log.consumer("orders", group="billing", auto_commit_interval=3600.0)
    has_record = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        for record in consumer:
            seen.append(record.value)
            has_record.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert has_record.wait(10.0)
    log.close()
    reader.join(10.0)
    assert not reader.is_alive()
    assert seen == [b"tea"]


def test_a_commit_for_a_deleted_topic_is_an_error_when_it_is_named_and_nothing_else(tmp_path: Path) -> None:
    """No row of a topic that is gone is stored."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders").append(b"tea")
        consumer = log.consumer("orders", group="billing")
        assert consumer.poll()
        log.delete_topic("orders")
        with pytest.raises(eventlog.UnknownTopic):
            consumer.commit({("orders", 0): 1})
        consumer.commit()
        consumer.close()
        assert log.topic("orders").bounds() == {0: (0, 0)}


def test_an_interruption_while_a_batch_is_sealed_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch stays open, and its deliveries keep their places."""
    with eventlog.open(":memory:") as log, log.producer(linger=3600.0) as producer:
        log.topic("orders")
        deliveries = [producer.send("orders", b"%d" % number) for number in range(5)]
        encode = BatchEncoder.encode

        def interrupted(*arguments: object, **options: object) -> object:
            monkeypatch.setattr(BatchEncoder, "encode", encode)
            raise KeyboardInterrupt

        monkeypatch.setattr(BatchEncoder, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            producer.flush()
        deliveries.append(producer.send("orders", b"5"))
        producer.flush()
        assert [delivery.result().offset for delivery in deliveries] == list(range(6))
        assert [record.value for record in log.topic("orders").read()] == [b"%d" % number for number in range(6)]


def test_a_batch_that_was_queued_twice_is_stored_once() -> None:
    """An interrupted thread may not know whether it had queued its batch."""
    with eventlog.open(":memory:") as log, log.producer(linger=3600.0) as producer:
        log.topic("orders")
        delivery = producer.send("orders", b"tea")
        producer._accumulator.seal_all()
        pending = delivery._batch().pending
        log._store.submit(pending)
        producer.flush()
        log._store.submit(pending)
        producer.flush()
        log.topic("orders").append(b"milk")
        assert [record.value for record in log.topic("orders").read()] == [b"tea", b"milk"]


@pytest.mark.parametrize("members", [1, 3])
def test_closing_does_not_wait_for_processors_that_wait(log: eventlog.EventLog, members: int) -> None:
    """Their threads poll again when they are woken, and must not be faster than the close each time."""
    log.topic("orders", value=int, partitions=3).append_many(range(30))
    ended: list[int] = []

    def run(processor: eventlog.Processor) -> None:
        ended.append(processor.run())

    processors = [log.processor("orders", function=lambda tx, record: None, group="g") for _ in range(members)]
    threads = [threading.Thread(target=run, args=[processor]) for processor in processors]
    for thread in threads:
        thread.start()
    log.groups.wait("g", timeout=10.0)
    began_s = time.monotonic()
    log.close()
    for thread in threads:
        thread.join(10.0)
        assert not thread.is_alive()
    assert time.monotonic() - began_s < 5.0, "each was waited for in vain"
    assert sum(ended) == 30


def test_closing_waits_for_all_stuck_consumers_together(
    log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four threads in callbacks of their user cost the time of one, and a thread that can end has it meanwhile."""
    monkeypatch.setattr("eventlog.log.clients.CLOSE_SECONDS", 1.0)
    for number in range(4):
        log.topic(f"orders-{number}")
    entered, may_go_on = threading.Semaphore(0), threading.Event()
    refused: list[str] = []

    def stick(_: object) -> None:
        entered.release()
        may_go_on.wait(30.0)

    def poll(number: int) -> None:
        consumer = log.consumer(f"orders-{number}", group=f"g{number}", on_assigned=stick)
        try:
            while True:
                consumer.poll(30.0)
        except eventlog.LogClosed:
            refused.append(f"g{number}")

    threads = [threading.Thread(target=poll, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=30.0)
    began_s = time.monotonic()
    log.close()
    took_s = time.monotonic() - began_s
    assert log.is_closed
    may_go_on.set()
    for thread in threads:
        thread.join(30.0)
    assert 0.9 < took_s < 3.5
    assert sorted(refused) == ["g0", "g1", "g2", "g3"]


@pytest.mark.parametrize("closes", ["consumer", "log"])
def test_closing_is_not_held_up_by_polls_that_follow_each_other(log: eventlog.EventLog, closes: str) -> None:
    """The poll that comes after the woken one is refused, however soon it comes."""
    topic = log.topic("orders", value=int)
    consumer = log.consumer(topic)
    begun, refused = threading.Event(), []

    def poll() -> None:
        try:
            while True:
                begun.set()
                consumer.poll(30.0)
        except eventlog.LogClosed:
            refused.append(True)

    thread = threading.Thread(target=poll)
    thread.start()
    assert begun.wait(10.0)
    began_s = time.monotonic()
    (consumer if closes == "consumer" else log).close()
    thread.join(10.0)
    assert refused
    assert time.monotonic() - began_s < 5.0
