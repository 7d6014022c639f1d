"""The deliveries of a transaction, its bounds, and its arguments."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

import eventlog
from tests.clients.helpers import values
from tests.clients.transactions import Stop


@pytest.fixture
def two(log: eventlog.EventLog) -> tuple[Any, Any]:
    """Two topics: three partitions by key, and one."""
    return log.topic("orders", key=str, value=int, partitions=3), log.topic("audit", value=str)


# --- deliveries ---------------------------------------------------------------------------------------------------


def test_a_delivery_before_the_end_can_not_be_waited_for(log, two):
    """It would wait for ever; it says so, and the transaction is as it was."""
    with log.transaction() as tx:
        delivery = tx.send("audit", "x")
        assert not delivery.done()
        for use in (delivery.result, delivery.exception, lambda: delivery.result(timeout=0.0)):
            with pytest.raises(ValueError, match="once the transaction has ended"):
                use()
    assert delivery.done()
    assert delivery.result().offset == 0
    assert delivery.exception() is None


def test_callbacks_are_called_at_the_end_in_the_order_of_the_records(log, two, caplog):
    """After a commit and after an abort; one that comes later at once; one that fails keeps no other from it."""
    told: list[object] = []

    def fail(_):
        raise Stop

    for way in ("commit", "abort"):
        told.clear()
        tx = log.transaction()
        first, second = tx.send("audit", "x"), tx.send("audit", "y")
        second.add_done_callback(lambda delivery: told.append(("second", delivery.exception() is None)))
        first.add_done_callback(fail)
        first.add_done_callback(lambda delivery: told.append(("first", delivery.exception() is None)))
        assert told == []
        getattr(tx, way)()
        assert told == [("first", way == "commit"), ("second", way == "commit")]
        first.add_done_callback(lambda _: told.append("late"))
        assert told[-1] == "late"
    assert "callback" in caplog.text


def test_a_refused_transaction_fails_its_deliveries_with_the_reason(log, two):
    """The error of the commit."""
    log.topic("accounts", key=str, value=int, index="key")
    tx = log.transaction()
    delivery = tx.send("accounts", 1, key="a", expected_version=4)
    other = tx.send("audit", "x")
    with pytest.raises(eventlog.WrongVersion) as raised:
        tx.commit()
    assert delivery.exception() is other.exception() is raised.value


def test_a_stored_transaction_keeps_no_records(log, two):
    """Its deliveries may live for long, and know places alone; without a circle it is freed at once."""
    tx = log.transaction()
    delivery = tx.send("orders", 1, key="x" * 100_000)
    tx.state("totals")["all"] = 1
    gone = weakref.ref(tx)
    tx.commit()
    del tx
    assert gone() is None
    sends = delivery._batch()._sends
    assert not sends._sends
    assert all(not part.rows.keys for part in sends.parts)
    assert delivery.result().offset == 0


def test_a_commit_inside_a_commit_of_the_same_thread_is_refused(log, two, monkeypatch):
    """A signal handler that interrupts a commit cannot wait for another; its transaction can be committed later."""
    environment = log._store.environment
    commit, inner = environment.commit, log.transaction()
    inner.send("audit", "inner")

    def interrupted(transaction):
        monkeypatch.undo()
        with pytest.raises(RuntimeError, match="Nothing was stored"):
            inner.commit()
        commit(transaction)

    monkeypatch.setattr(environment, "commit", interrupted)
    two[1].append("outer")
    two[1].append("next")
    assert values(two[1].read()) == ["outer", "next"]
    inner.commit()
    assert values(two[1].read()) == ["outer", "next", "inner"]


# --- bounds and arguments -----------------------------------------------------------------------------------------


def test_what_does_not_fit_is_not_taken_and_the_rest_can_be_committed(log, two):
    """Records, rows and what was read count; the message says how much there is."""
    log.transact(lambda other: other.state("totals").put("big", "x" * 3000))
    tx = log.transaction(max_bytes=4000)
    kept = tx.send("orders", 1, key="x" * 1000)
    state = tx.state("totals")
    for use in (
        lambda: tx.send("orders", 2, key="x" * 3000),
        lambda: tx.send_many("orders", [3], keys=["x" * 3000]),
        lambda: state.put("k", "x" * 4000),
        lambda: state.get("big"),
    ):
        with pytest.raises(eventlog.TransactionTooLarge, match="max_bytes=4000"):
            use()
    assert not tx.is_ended
    state["k"] = "small"
    tx.commit()
    assert kept.result().offset == 0
    assert values(two[0].read()) == [1]
    assert dict(log.state("totals").items()) == {"big": "x" * 3000, "k": "small"}


def test_send_many_is_as_many_sends(log, two):
    """Columns with everything in them, and such as hold tombstones and missing keys, are stored in their order."""
    orders, audit = two
    with log.transaction() as tx:
        deliveries = [
            *tx.send_many(orders, [1, 2, 3], keys=["a", "b", "a"], timestamps_ms=[7, 8, 9]),
            *tx.send_many(orders, [4, None], keys=["a", None], timestamps_ms=10),
            *tx.send_many("orders", [], keys=[]),
            *tx.send_many("orders", [5], keys=["a"], headers=[{"h": b"x"}], partition=0),
            *tx.send_many(audit, iter(["one", "two"])),
        ]
    found = {(one.topic, one.partition, one.offset): one for topic in two for one in topic.read()}
    stored = [found[one.topic, one.partition, one.offset] for one in (each.result() for each in deliveries)]
    assert [one.value for one in stored] == [1, 2, 3, 4, None, 5, "one", "two"]
    assert [one.key for one in stored] == ["a", "b", "a", "a", None, "a", None, None]
    assert [one.timestamp_ms for one in stored[:5]] == [7, 8, 9, 10, 10]
    assert [one.headers for one in stored[4:7]] == [(), (("h", b"x"),), ()]


@pytest.mark.parametrize(
    ("values_", "keys", "times", "error"),
    [
        ([1, "x", 3], None, None, TypeError),
        ([1, 2, 3], ["k", 2, "k"], None, TypeError),
        ([1, 2, 3], ["k", "k" * 2_000_000, "k"], None, eventlog.RecordTooLarge),
        ([1, 2, 3], ["k", "k" * 40_000, "k"], None, eventlog.TransactionTooLarge),
        ([1, 2, 3], None, [7, 1.5, 7], TypeError),
    ],
)
def test_send_many_takes_the_records_before_a_refused_one(log, two, values_, keys, times, error):
    """As sending one by one would."""
    with log.transaction(max_bytes=40_000) as tx:
        with pytest.raises(error):
            tx.send_many("orders", values_, keys=keys, timestamps_ms=times)
        tx.send("orders", 9, key="k")
    assert sorted(values(two[0].read())) == [1, 9]


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda tx: tx.send("nobody", b"x"), eventlog.UnknownTopic),
        (lambda tx: tx.send(7, b"x"), TypeError),
        (lambda tx: tx.send("orders", "x", key="k"), TypeError),
        (lambda tx: tx.send("orders", 1, key=1), TypeError),
        (lambda tx: tx.send("orders", 1, partition=3), eventlog.UnknownPartition),
        (lambda tx: tx.send("orders", 1, timestamp_ms=1.5), TypeError),
        (lambda tx: tx.send("orders", 1, headers=7), TypeError),
        (lambda tx: tx.send("orders", 1, key="k" * 2_000_000), eventlog.RecordTooLarge),
        (lambda tx: tx.send("orders", 1, key="k", expected_version=0), ValueError),
        (lambda tx: tx.send("orders", 1, message_id=""), ValueError),
        (lambda tx: tx.send_many("orders", [1, 2], keys=["k"]), ValueError),
        (lambda tx: tx.state(""), ValueError),
        (lambda tx: tx.state(3), TypeError),
        (lambda tx: tx.commit_offsets("orders"), TypeError),
    ],
)
def test_wrong_arguments_leave_the_transaction_as_it_was(log, two, use, error):
    """They fail at the call; the rest is committed."""
    with log.transaction() as tx:
        tx.send("orders", 1, key="k")
        with pytest.raises(error):
            use(tx)
        tx.send("orders", 2, key="k")
    assert values(two[0].read()) == [1, 2]


def test_a_topic_of_another_log_is_refused(log, two):
    """And so is a consumer of one."""
    with eventlog.open(":memory:") as other:
        strange = other.topic("orders")
        with log.transaction() as tx, other.consumer("orders", group="g") as consumer:
            with pytest.raises(ValueError, match="log"):
                tx.send(strange, b"x")
            with pytest.raises(ValueError, match="log"):
                tx.commit_offsets(consumer)


def test_bounds_of_the_options(log):
    """They are judged at the call."""
    for bad in (0, -1):
        with pytest.raises(ValueError, match="max_bytes"):
            log.transaction(max_bytes=bad)
        with pytest.raises(ValueError, match="attempts"):
            log.transact(lambda tx: None, attempts=bad)
    with pytest.raises(TypeError):
        log.transaction(max_bytes="many")
