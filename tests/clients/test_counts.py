"""
Costs that do not depend on the machine: transactions, system calls' worth of waiting, looks at the log.

What is slow on every disk is a commit. These are the guard that nobody makes more of them.
"""

from __future__ import annotations

import threading

import eventlog
from tests.clients.helpers import (
    PATIENCE_SECONDS,
    held_up,
    in_threads,
    last_transaction,
    note_reads,
    poll_all,
    round_count,
)
from tests.clients.members import hold_time


def rounds_of(log, do):
    """How many transactions something costs, as this process and as LMDB count them."""
    before = round_count(log), last_transaction(log)
    do()
    after = round_count(log), last_transaction(log)
    assert after[0] - before[0] == after[1] - before[1]
    return after[0] - before[0]


def test_columns_cost_one_transaction(log):
    """For any number of records and partitions."""
    topic = log.topic("orders", partitions=8, key=int)
    assert rounds_of(log, lambda: topic.append_many([b"x"] * 10_000, keys=range(10_000))) == 1


def test_a_single_append_costs_one_transaction(log):
    """Each is durable when it returns."""
    topic = log.topic("orders")
    assert rounds_of(log, lambda: [topic.append(b"x") for _ in range(50)]) == 50


def test_threads_that_append_share_transactions(disk_log):
    """Sixty-four threads, a thousand records: those who wait for one commit share the next."""
    topic = disk_log.topic("orders")
    threads, each = 64, 16

    def append():
        for _ in range(each):
            topic.append(b"x")

    assert rounds_of(disk_log, lambda: in_threads(*[append] * threads)) < threads * each / 3


def test_what_waits_behind_a_commit_is_committed_at_once(log):
    """However much it is."""
    topic = log.topic("orders")

    def pile_up():
        arrived = threading.Semaphore(0)

        def append():
            arrived.release()
            topic.append(b"x")

        with held_up(log):
            threads = [threading.Thread(target=append, daemon=True) for _ in range(32)]
            for thread in threads:
                thread.start()
            for _ in threads:
                assert arrived.acquire(timeout=PATIENCE_SECONDS)
            while len(log._store.committer._queue) < 32:
                arrived.acquire(timeout=0.001)
        for thread in threads:
            thread.join(PATIENCE_SECONDS)

    before = round_count(log)
    pile_up()
    assert round_count(log) - before <= 2


def test_a_producer_of_small_records_commits_seldom(log, monkeypatch):
    """
    A hundred thousand records cost at most one transaction for each 4,000 of them, whoever is scheduled when.

    Time stands still: a producer that takes long commits more often.
    """
    hold_time(monkeypatch)
    topic = log.topic("orders")

    def send():
        with log.producer(linger=3600.0) as producer:
            for _ in range(100_000):
                producer.send(topic, b"x" * 100, key=b"12345678")

    assert rounds_of(log, send) <= 25


def test_flush_costs_one_transaction_for_all_partitions(log):
    """And none when there is nothing to store."""
    topic = log.topic("orders", partitions=8, key=int)
    with log.producer(linger=3600.0) as producer:
        for number in range(1000):
            producer.send(topic, b"x", key=number)
        assert rounds_of(log, producer.flush) == 1
        assert rounds_of(log, producer.flush) == 0


def test_opening_what_is_there_costs_no_transaction(path):
    """Neither the log nor a topic nor a client."""
    with eventlog.open(path) as log:
        log.topic("orders").append(b"x")
        before = last_transaction(log)
    with eventlog.open(path) as log:
        log.topic("orders")
        with log.producer(), log.consumer("orders") as consumer:
            assert len(consumer.poll()) == 1
        assert last_transaction(log) == before


def test_a_consumer_that_waits_commits_nothing(log):
    """Once its position is committed."""
    log.topic("orders")
    with log.consumer("orders", group="g", auto_commit_interval=0.0) as consumer:
        consumer.poll()
        assert rounds_of(log, lambda: [consumer.poll(timeout=0.01) for _ in range(5)]) == 0


def test_a_consumer_commits_as_often_as_it_was_told(log, monkeypatch):
    """Once an interval, whatever it reads meanwhile."""
    topic = log.topic("orders")
    topic.append_many([b"x"] * 10_000)
    now_s = [0.0]
    monkeypatch.setattr(type(log._store.clock), "monotonic", lambda _: now_s[0])
    options = {"group": "g", "auto_commit_interval": 1.0, "max_poll_records": 10, "session_timeout": 100.0}
    with log.consumer("orders", **options) as consumer:

        def read():
            for _ in range(1000):
                assert len(consumer.poll()) == 10
                now_s[0] += 0.01

        assert 9 <= rounds_of(log, read) <= 10
        assert rounds_of(log, consumer.close) == 1


def test_an_idle_consumer_does_not_read(log, monkeypatch):
    """While nobody commits it looks at one number, and begins no transaction."""
    log.topic("orders", partitions=100)
    with log.consumer("orders") as consumer:
        consumer.poll(timeout=0.01)
        reads = note_reads(log, monkeypatch)
        assert consumer.poll(timeout=0.25) == []
        assert reads == []


def test_a_fetch_costs_one_read_transaction_for_all_partitions(log, monkeypatch):
    """However many there are."""
    topic = log.topic("orders", partitions=50, key=int)
    topic.append_many([b"x"] * 1000, keys=range(1000))
    with log.consumer("orders", max_poll_records=10_000) as consumer:
        reads = note_reads(log, monkeypatch)
        assert len(poll_all(consumer, 1000)) == 1000
        assert len(reads) == 1


def test_a_sender_sleeps_while_another_thread_commits(log, monkeypatch):
    """It waits for the batch to be stored instead of asking for it again and again."""
    topic = log.topic("orders")
    producer = log.producer(linger=0.0)
    accumulator = producer._accumulator
    next_deadline, looks = accumulator.next_deadline, []
    monkeypatch.setattr(accumulator, "next_deadline", lambda: looks.append(1) or next_deadline())
    with held_up(log):
        delivery = producer.send(topic, b"x")
        threading.Event().wait(0.05)
        assert len(looks) < 20
    delivery.result(PATIENCE_SECONDS)
    producer.close()
