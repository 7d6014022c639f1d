"""Transactions: all of it is stored in one commit, or nothing; until then nobody sees it."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

import eventlog
from tests.clients.helpers import PATIENCE_SECONDS, in_threads, last_transaction, round_count, values
from tests.clients.transactions import Stop, contents, fill, stopped


@pytest.fixture
def two(log: eventlog.EventLog) -> tuple[Any, Any]:
    """Two topics: three partitions by key, and one."""
    return log.topic("orders", key=str, value=int, partitions=3), log.topic("audit", value=str)


# --- all or nothing -----------------------------------------------------------------------------------------------


def test_all_of_it_is_stored(log, two):
    """Records of several topics and partitions, offsets and state, and each delivery tells its place."""
    orders, audit = two
    audit.append("zero")
    with log.consumer("audit", group="g") as consumer:
        consumer.poll()
        with log.transaction() as tx:
            deliveries = fill(tx, consumer)
        assert consumer.committed(("audit", 0)) == 1
    stored = {(record.topic, record.partition, record.offset): record.value for record in orders.read()}
    stored |= {(record.topic, record.partition, record.offset): record.value for record in audit.read()}
    places = [delivery.result() for delivery in deliveries]
    assert [stored[place.topic, place.partition, place.offset] for place in places] == [*range(20), "one", "two"]
    assert {place.partition for place in places[:20]} == {0, 1, 2}
    assert log.state("totals")["all"] == 20
    assert log.verify().is_sound


def test_positions_and_timestamps_are_those_of_the_stored_records(log, two):
    """What a delivery says is what a reader finds."""
    with log.transaction() as tx:
        deliveries = fill(tx)
        deliveries.append(tx.send("audit", "late", timestamp_ms=77))
    ordered = dict(log.read_all())
    for delivery in deliveries:
        place = delivery.result()
        record = ordered[place.log_position]
        assert (record.topic, record.partition, record.offset, record.timestamp_ms) == (
            place.topic,
            place.partition,
            place.offset,
            place.timestamp_ms,
        )
    assert ordered[deliveries[-1].result().log_position].timestamp_ms == 77


def test_an_exception_in_the_block_goes_on_and_stores_nothing(log, two):
    """Neither records nor offsets nor state."""
    two[1].append("zero")
    with log.consumer("audit", group="g") as consumer:
        consumer.poll()
        log.transact(lambda tx: tx.state("totals", key=str, value=int))
        before = contents(log)
        tx = log.transaction()
        with stopped(tx):
            deliveries = fill(tx, consumer)
            raise Stop
        assert contents(log) == before
    assert tx.is_ended
    for delivery in deliveries:
        assert isinstance(delivery.exception(), eventlog.TransactionEnded)
    assert two[0].append(1, key="x").offset == 0, "no offset was taken"


@pytest.mark.parametrize("bad", ["version", "conflict", "message", "topic", "state"])
def test_one_thing_that_may_not_be_stored_keeps_all_out(log, two, bad):
    """The other records, topics and states of a refused transaction leave no trace."""
    accounts = log.topic("accounts", key=str, value=int, index="key")
    accounts.append(1, key="alice", message_id="m")
    log.topic("doomed").append(b"x")
    log.transact(lambda tx: tx.state("balances").put("alice", 1))
    log.transact(lambda tx: tx.state("doomed").put("alice", 1))
    error = {
        "version": eventlog.WrongVersion,
        "conflict": eventlog.ConflictError,
        "message": eventlog.MessageIdReused,
        "topic": eventlog.UnknownTopic,
        "state": eventlog.UnknownState,
    }[bad]
    tx = log.transaction()
    fill(tx)
    if bad == "version":
        tx.send("accounts", 2, key="alice", expected_version=0)
    elif bad == "message":
        tx.send("accounts", 2, key="alice", message_id="m")
    elif bad == "conflict":
        tx.state("balances")["alice"] = tx.state("balances")["alice"] + 1
        log.transact(lambda other: other.state("balances").put("alice", 5))
    elif bad == "topic":
        tx.send("doomed", b"y")
        log.delete_topic("doomed")
    else:
        tx.state("doomed")["bob"] = 1
        log.delete_state("doomed")
    before, transaction = contents(log), last_transaction(log)
    with pytest.raises(error):
        tx.commit()
    assert contents(log) == before
    assert last_transaction(log) == transaction, "not even an empty commit"
    assert tx.is_ended
    assert log.verify().is_sound


def test_offsets_have_no_holes(log, two):
    """However many transactions are aborted or refused between others; positions have none either."""
    orders, _ = two
    for number in range(30):
        tx = log.transaction()
        tx.send("orders", number, key="x")
        tx.send("orders", -number, key="y")
        if number % 3 == 0:
            tx.commit()
        elif number % 3 == 1:
            tx.abort()
        else:
            tx.state("s")["k"] = tx.state("s").get("k", 0)
            log.transact(lambda other, number=number: other.state("s").put("k", number))
            with pytest.raises(eventlog.ConflictError):
                tx.commit()
    assert [(first, end - first) for first, end in orders.bounds().values()] == [
        (0, len(list(orders.read(partition)))) for partition in range(3)
    ]
    assert [log_position for log_position, _ in log.read_all()] == list(range(20))
    for partition in range(3):
        offsets = [record.offset for record in orders.read(partition)]
        assert offsets == list(range(len(offsets)))


def test_an_empty_transaction_makes_no_commit(log, two):
    """Nor does one that is aborted, or that only reads."""
    log.transact(lambda tx: tx.state("totals", key=str, value=int).put("all", 1))
    before = last_transaction(log)
    with log.transaction():
        pass
    with log.transaction() as tx:
        tx.state("totals").get("all")
        list(tx.state("totals").items())
    tx = log.transaction()
    fill(tx)
    tx.abort()
    assert last_transaction(log) == before


def test_any_transaction_is_one_commit_with_one_sync(path, monkeypatch):
    """A thousand records of five topics with offsets and state cost what one record costs."""
    with eventlog.open(path) as log:
        topics = [log.topic(f"t{number}", key=int, partitions=4) for number in range(5)]
        topics[0].append(b"x", key=1)
        log.transact(lambda tx: tx.state("totals"))
        syncs: list[int] = []
        commit = log._store.environment.commit
        monkeypatch.setattr(log._store.environment, "commit", lambda one: syncs.append(1) or commit(one))
        with log.consumer("t0", group="g", auto_commit=False) as consumer:
            consumer.poll()
            syncs.clear()
            before = round_count(log), last_transaction(log)
            with log.transaction() as tx:
                for number in range(1000):
                    tx.send(topics[number % 5], b"x", key=number)
                tx.state("totals")["all"] = 1000
                tx.commit_offsets(consumer)
            assert (round_count(log) - before[0], last_transaction(log) - before[1], len(syncs)) == (1, 1, 1)


# --- nobody sees it -----------------------------------------------------------------------------------------------


def test_nothing_is_seen_before_the_commit(log, two):
    """Not by readers, consumers, the order of all records, states, or other transactions; afterwards by all."""
    orders, audit = two
    log.transact(lambda tx: tx.state("totals", key=str, value=int))
    with log.consumer("orders", "audit") as consumer, log.transaction() as other:
        tx = log.transaction()
        fill(tx)
        assert consumer.poll() == []
        assert list(orders.read()) == list(audit.read()) == list(log.read_all()) == []
        assert log.end_log_position() == 0
        assert list(log.state("totals").items()) == []
        assert other.state("totals").get("all") is None
        assert set(orders.bounds().values()) == {(0, 0)}
        assert tx.state("totals")["all"] == 20, "but by itself"
        tx.commit()
        assert len(consumer.poll()) == 22
        assert len(list(log.read_all())) == 22
        assert log.state("totals")["all"] == 20
        other.abort()


def test_a_commit_is_seen_all_at_once(log, two):
    """A reader beside a writer never finds one topic ahead of the other."""
    audit = two[1]
    stop = threading.Event()
    log.transact(lambda tx: tx.state("count").put("n", 0))

    def write():
        try:
            for number in range(300):
                with log.transaction() as tx:
                    tx.send("orders", number, key="x")
                    tx.send("audit", str(number))
                    tx.state("count")["n"] = number + 1
        finally:
            stop.set()

    def look():
        while not stop.is_set():
            end = log.end_log_position()
            records = [record.topic for _, record in log.read_all(end=end)]
            assert records.count("orders") == records.count("audit"), "half of a transaction"
            before = log.state("count")["n"]
            count = len(list(audit.read()))
            assert before <= count <= log.state("count")["n"]

    in_threads(write, look)


def test_a_consumer_that_waits_is_woken_by_a_commit(log, two):
    """As by an append."""
    with log.consumer("audit") as consumer:

        def send():
            with log.transaction() as tx:
                tx.send("audit", "x")

        records, _ = in_threads(lambda: consumer.poll(timeout=PATIENCE_SECONDS), send)
        assert values(records) == ["x"]


def test_many_may_be_open_in_one_thread(log, two):
    """They know nothing of each other, and their records come in the order of the commits."""
    transactions = [log.transaction() for _ in range(5)]
    for number, tx in enumerate(transactions):
        tx.send("audit", f"{number} a")
    for number, tx in enumerate(transactions):
        tx.send("audit", f"{number} b")
    for place in (3, 0, 4):
        transactions[place].commit()
    transactions[1].abort()
    assert values(two[1].read()) == ["3 a", "3 b", "0 a", "0 b", "4 a", "4 b"]


def test_one_inside_another_is_on_its_own(log, two):
    """The inner one is stored though the outer one is rolled back."""
    with stopped(log.transaction()) as outer:
        outer.send("audit", "outer")
        with log.transaction() as inner:
            inner.send("audit", "inner")
        raise Stop
    assert values(two[1].read()) == ["inner"]


# --- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["commit", "abort", "refused"])
def test_every_use_after_the_end_says_so(log, two, way):
    """And changes nothing."""
    tx = log.transaction()
    state = tx.state("totals")
    state["all"] = 1
    items = state.items()
    if way == "abort":
        tx.abort()
    else:
        if way == "refused":
            state.get("bob")
            log.transact(lambda other: other.state("totals").put("bob", 1))
        try:
            tx.commit()
        except eventlog.ConflictError:
            assert way == "refused"
    before = contents(log)
    with log.consumer("audit", group="g") as consumer:
        for use in (
            lambda: tx.send("audit", "x"),
            lambda: tx.send_many("audit", ["x"]),
            lambda: tx.send_many("audit", []),
            lambda: tx.commit_offsets(consumer),
            lambda: tx.state("totals"),
            tx.commit,
            tx.__enter__,
            lambda: state.get("all"),
            lambda: state["all"],
            lambda: "all" in state,
            lambda: state.put("all", 2),
            lambda: state.delete("all"),
            lambda: list(state.items()),
            lambda: next(iter(items)),
        ):
            with pytest.raises(eventlog.TransactionEnded, match=re.escape("Begin another with log.transaction()")):
                use()
    tx.abort()
    assert contents(log) == {**before, **{key: value for key, value in contents(log).items() if "group" in key}}
    assert tx.is_ended


def test_a_block_may_be_ended_inside(log, two):
    """By `commit()` or `abort()`; its end adds nothing."""
    with log.transaction() as tx:
        tx.send("audit", "x")
        tx.commit()
    with log.transaction() as tx:
        tx.send("audit", "y")
        tx.abort()
    with stopped(log.transaction()) as tx:
        tx.send("audit", "z")
        tx.commit()
        raise Stop
    assert values(two[1].read()) == ["x", "z"]


def test_a_closed_log_takes_no_transactions(log, two):
    """Neither new ones nor the end of open ones."""
    tx = log.transaction()
    tx.send("audit", "x")
    log.close()
    with pytest.raises(eventlog.LogClosed):
        tx.commit()
    with pytest.raises(eventlog.LogClosed):
        log.transaction()
