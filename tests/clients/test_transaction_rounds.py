"""Transactions beside others: in one round with them, and while topics change under them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import eventlog
from tests.clients.helpers import PATIENCE_SECONDS, held_up, round_count, values


@pytest.fixture
def two(log: eventlog.EventLog) -> tuple[Any, Any]:
    """Two topics: three partitions by key, and one."""
    return log.topic("orders", key=str, value=int, partitions=3), log.topic("audit", value=str)


def test_transactions_of_many_threads_share_commits(log, two):
    """Those who wait for one commit share the next."""
    threads = 12

    def send():
        with log.transaction() as tx:
            tx.send("audit", "x")
            arrived.release()

    arrived = threading.Semaphore(0)
    before = round_count(log)
    with held_up(log):
        workers = [threading.Thread(target=send, daemon=True) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for _ in workers:
            assert arrived.acquire(timeout=PATIENCE_SECONDS)
        while len(log._store.committer._queue) < threads:
            arrived.acquire(timeout=0.001)
    for worker in workers:
        worker.join(PATIENCE_SECONDS)
    assert round_count(log) - before <= 2
    assert values(two[1].read()).count("x") == threads


def test_a_refused_one_leaves_its_round_to_the_others(log, two):
    """One that may not be stored shares a commit with one that may."""
    log.transact(lambda tx: tx.state("s").put("k", 0))
    good, bad = log.transaction(), log.transaction()
    bad.state("s")["k"] = bad.state("s")["k"] + 1
    bad.send("audit", "bad")
    good.send("audit", "good")
    log.transact(lambda tx: tx.state("s").put("k", 7))
    results: list[object] = []

    def commit(tx):
        try:
            tx.commit()
            results.append("stored")
        except eventlog.ConflictError:
            results.append("refused")

    with held_up(log):
        workers = [threading.Thread(target=commit, args=(tx,), daemon=True) for tx in (bad, good)]
        for worker in workers:
            worker.start()
        waiting = threading.Event()
        while len(log._store.committer._queue) < 2:
            waiting.wait(0.001)
    for worker in workers:
        worker.join(PATIENCE_SECONDS)
    assert sorted(results) == ["refused", "stored"]
    assert values(two[1].read()) == ["good"]


def test_partitions_that_come_before_the_commit_are_used(path):
    """Records are placed when they are stored, once: a key goes where every later record of it goes."""
    with eventlog.open(path) as log, eventlog.open(path) as other:
        orders = log.topic("orders", key=str, value=int)
        tx = log.transaction()
        deliveries = [tx.send(orders, number, key=str(number)) for number in range(50)]
        by_hand = tx.send(orders, 99, key="1", partition=0)
        tx.send("orders", 77)
        tx.state("s")["n"] = 1
        other.topic("orders").create_partitions(4)  # this log has not heard of it
        before = round_count(log)
        tx.commit()
        assert round_count(log) == before + 2, "one was refused, for it was placed by the old number"
        assert len(list(orders.read())) == 52
        assert by_hand.result().partition == 0
        for number, delivery in enumerate(deliveries):
            assert delivery.result().partition == orders.append(number, key=str(number)).partition
        assert len({delivery.result().partition for delivery in deliveries}) == 4


def test_records_placed_by_hand_stay_there(path):
    """More partitions change nothing for them, and cost no second attempt."""
    with eventlog.open(path) as log, eventlog.open(path) as other:
        log.topic("orders", key=str, value=int)
        tx = log.transaction()
        delivery = tx.send("orders", 1, key="1", partition=0)
        other.topic("orders").create_partitions(4)
        before = round_count(log)
        tx.commit()
        assert round_count(log) == before + 1
        assert delivery.result().partition == 0


def test_a_topic_that_was_deleted_and_made_again_is_another(log):
    """What was sent to the first one is not stored in the second."""
    orders = log.topic("orders")
    tx = log.transaction()
    tx.send(orders, b"x")
    tx.send(log.topic("audit"), b"x")
    log.delete_topic("orders")
    log.topic("orders")
    with pytest.raises(eventlog.UnknownTopic, match="deleted"):
        tx.commit()
    assert list(log.topic("orders").read()) == list(log.topic("audit").read()) == []
