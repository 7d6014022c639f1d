"""Transactions that belong to a consumer: not stored, for whatever reason, means that the records come again."""

from __future__ import annotations

import gc
import selectors
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import eventlog
from eventlog.clients.consumer.given_offsets import GivenOffsets
from tests.clients.helpers import values

Work = Callable[[eventlog.EventLog, Any, list[Any], Any], None]


class Lost(Exception):
    """The error of a program in the middle of its work."""


@pytest.fixture
def orders(log: eventlog.EventLog) -> eventlog.Topic[bytes, int]:
    """Six numbers in two partitions, and a topic for what becomes of them."""
    log.topic("invoices", value=int)
    topic = log.topic("orders", value=int, partitions=2)
    for partition in (0, 1):
        topic.append_many(range(3 * partition, 3 * partition + 3), partition=partition)
    return topic


@pytest.fixture
def one(log: eventlog.EventLog) -> eventlog.Topic[bytes, int]:
    """Six numbers in one partition, and a topic for what becomes of them."""
    log.topic("invoices", value=int)
    topic = log.topic("orders", value=int)
    topic.append_many(range(6))
    return topic


def invoices(log: eventlog.EventLog) -> list[int]:
    """What was stored."""
    return values(log.topic("invoices").read())


def send(tx: eventlog.Transaction, records: list[Any]) -> None:
    """Sends records on."""
    for record in records:
        tx.send("invoices", record.value)


# --- the ways to fail -----------------------------------------------------------------------------------------------


def _raise_at_the_end(log, consumer, records, tx):
    with tx:
        send(tx, records)
        raise Lost


def _raise_before_anything(log, consumer, records, tx):
    with tx:
        raise Lost


def _raise_after_the_offsets(log, consumer, records, tx):
    with tx:
        send(tx, records)
        tx.commit_offsets(consumer)
        raise Lost


def _name_offsets_and_raise(log, consumer, records, tx):
    with tx:
        send(tx, records)
        tx.commit_offsets(consumer, {(record.topic, record.partition): record.offset + 1 for record in records})
        raise Lost


def _conflict(log, consumer, records, tx):
    with tx:
        tx.state("count").get("all")
        log.transact(lambda other: other.state("count").put("all", len(invoices(log)) + 1))
        tx.state("count").put("all", 7)
        send(tx, records)


def _refused_record(log, consumer, records, tx):
    log.topic("accounts", key=str, index="key")
    with tx:
        send(tx, records)
        tx.send("accounts", b"x", key="all", expected_version=7)


def _fenced(log, consumer, records, tx):
    stands = {(o.topic, o.partition): o.committed or 0 for o in log.groups.describe("g").offsets}
    with tx:
        send(tx, records)
        log.groups.reset_offsets("g", to=stands.get(("orders", 0), 0), topics=["orders"], force=True)


def _abort(log, consumer, records, tx):
    send(tx, records)
    tx.abort()
    raise Lost


def _forget(log, consumer, records, tx):
    send(tx, records)
    raise Lost


def _interrupt(log, consumer, records, tx):
    with tx:
        send(tx, records)
        raise KeyboardInterrupt


FAILURES: list[Work] = [
    _raise_at_the_end,
    _raise_before_anything,
    _raise_after_the_offsets,
    _name_offsets_and_raise,
    _conflict,
    _refused_record,
    _fenced,
    _abort,
    _forget,
    _interrupt,
]


@pytest.mark.parametrize("fail", FAILURES, ids=lambda fail: fail.__name__[1:])
@pytest.mark.parametrize("most", [1, 2, 100])
def test_records_of_a_transaction_that_was_not_stored_come_again(log, one, fail, most):
    """At the next `poll()`, whatever kept it from being stored, and each has its effect once."""
    polls = 0
    with log.consumer("orders", group="g", max_poll_records=most) as consumer:
        while records := consumer.poll():
            polls += 1
            try:
                tx = log.transaction(consumer)
                if polls % 2:
                    fail(log, consumer, records, tx)
                with tx:
                    send(tx, records)
            except (Lost, eventlog.EventLogError, KeyboardInterrupt):
                del tx
    assert invoices(log) == list(range(6))
    assert log.groups.describe("g").lag == 0


@pytest.mark.parametrize("fail", [_raise_after_the_offsets, _name_offsets_and_raise], ids=["all", "named"])
def test_offsets_that_a_plain_transaction_was_given_are_gone_back_to(log, orders, fail):
    """`commit_offsets()` alone does it, too."""
    polls = 0
    with log.consumer("orders", group="g", max_poll_records=2) as consumer:
        while records := consumer.poll():
            polls += 1
            try:
                if polls % 2:
                    fail(log, consumer, records, log.transaction())
                with log.transaction() as tx:
                    send(tx, records)
                    tx.commit_offsets(consumer)
            except Lost:
                pass
    assert sorted(invoices(log)) == list(range(6))


@pytest.mark.parametrize("group", ["member", "by hand"])
def test_a_loop_goes_back_with_its_next_record(log, one, group):
    """It has more of the batch in hand, which it forgets."""
    seen: list[int] = []
    topics = ["orders"] if group == "member" else []
    with log.consumer(*topics, group="g") as consumer:
        if not topics:
            consumer.assign([("orders", 0)])
        for record in consumer:
            seen.append(record.value)
            try:
                with log.transaction(consumer) as tx:
                    send(tx, [record])
                    if seen.count(record.value) == 1 and record.value % 2:
                        raise Lost
            except Lost:
                continue
            if record.value == 5:
                break
    assert invoices(log) == list(range(6))
    assert seen == [0, 1, 1, 2, 3, 3, 4, 5, 5]


def test_batches_come_again_too(log, one):
    """With `poll_batches()`."""
    with log.consumer("orders", group="g") as consumer:
        for is_first in (True, False):
            batches = consumer.poll_batches()
            try:
                with log.transaction(consumer) as tx:
                    for batch in batches:
                        tx.send_many("invoices", batch.values)
                    if is_first:
                        raise Lost
            except Lost:
                pass
    assert invoices(log) == list(range(6))


# --- other attempts before the next poll ------------------------------------------------------------------------------


def test_another_attempt_may_store_them_before_the_next_poll(log, one):
    """Then there is nothing to go back to: `transact()` and loops of the program's own try again at once."""
    with log.consumer("orders", group="g", max_poll_records=4) as consumer:
        while records := consumer.poll():
            calls: list[int] = []

            def work(tx, records=records, calls=calls):
                calls.append(1)
                send(tx, records)
                tx.commit_offsets(consumer)
                if len(calls) < 4:
                    raise eventlog.ConflictError("no")

            log.transact(work)
    assert invoices(log) == list(range(6))


@pytest.mark.parametrize("attempts", [2, 5])
def test_transact_with_a_consumer_goes_back_when_no_attempt_is_stored(log, one, attempts):
    """And not when one is."""
    calls: list[int] = []

    def work(tx):
        calls.append(1)
        send(tx, records)
        if len(calls) < 4:
            raise eventlog.ConflictError("no")

    with log.consumer("orders", group="g", max_poll_records=4) as consumer:
        while records := consumer.poll():
            with suppress(eventlog.ConflictError):
                log.transact(work, consumer=consumer, attempts=attempts)
    assert invoices(log) == list(range(6))


def test_records_that_were_not_stored_are_not_passed_by(log, one):
    """One transaction for each record of a list: those behind a failed one are refused until they come again."""
    failed, refused = 0, []
    with log.consumer("orders", group="g") as consumer:
        while records := consumer.poll():
            for record in records:
                try:
                    with log.transaction() as tx:
                        send(tx, [record])
                        tx.commit_offsets(consumer, {("orders", 0): record.offset + 1})
                        if record.value == 1 and not failed:
                            failed = 1
                            raise Lost
                except Lost:
                    pass
                except eventlog.ConflictError as error:
                    refused.append((error.topic, error.partition, error.offset))
    assert invoices(log) == list(range(6))
    assert (failed, refused) == (1, [("orders", 0, offset) for offset in (3, 4, 5, 6)])


def test_a_second_transaction_for_the_records_of_one_poll_is_refused(log, one):
    """The first has committed all of them, so a crash in between would lose the others."""
    with log.consumer("orders", group="g") as consumer:
        records = consumer.poll()
        with log.transaction(consumer) as tx:
            send(tx, records[:1])
        with pytest.raises(ValueError, match=r"poll\(\) was not called since\. Nothing was stored"):
            with log.transaction(consumer) as tx:
                send(tx, records[1:2])
        assert consumer.poll() == []
        with log.transaction(consumer) as tx:
            tx.send("invoices", 77)
    assert invoices(log) == [0, 77]


# --- the consumer meanwhile -------------------------------------------------------------------------------------------


def test_one_open_transaction_at_a_time(log, one):
    """A second one would not know which records are its own; a dropped one is none any more."""
    with log.consumer("orders", group="g", max_poll_records=2) as consumer:
        consumer.poll()
        tx = log.transaction(consumer)
        with pytest.raises(ValueError, match="has not ended"):
            log.transaction(consumer)
        tx.send("invoices", 1)
        del tx
        gc.collect()
        records = consumer.poll()
        with log.transaction(consumer) as tx:
            send(tx, records)
        assert consumer.committed(("orders", 0)) == 2
    assert invoices(log) == [0, 1]


def test_a_transaction_may_span_several_polls(log, one):
    """It commits what was handed out by its end, and goes back to where it began."""
    with log.consumer("orders", group="g", max_poll_records=2) as consumer:
        for is_first in (True, False):
            try:
                with log.transaction(consumer) as tx:
                    for _ in range(2):
                        send(tx, consumer.poll())
                    if is_first:
                        raise Lost
            except Lost:
                assert consumer.position(("orders", 0)) == 0
                assert consumer.lag()["orders", 0] == 6
    assert invoices(log) == [0, 1, 2, 3]


@pytest.mark.parametrize("is_taken_again", [False, True])
def test_a_partition_that_moves_in_the_middle_of_a_transaction_refuses_it(log, orders, is_taken_again):
    """Its records are in it, and come again to the new owner, or here: each has its effect once."""
    with log.consumer("orders", group="g") as one:
        tx = log.transaction(one)
        send(tx, one.poll())
        other = log.consumer("orders", group="g")
        came = other.poll()
        while len(other.assignment()) < 1:
            send(tx, one.poll())
            came += other.poll()
        if is_taken_again:
            other.close()
            while len(one.assignment()) < 2:
                send(tx, one.poll())
        with pytest.raises(eventlog.ConflictError if is_taken_again else eventlog.MemberFenced):
            tx.commit()
        assert invoices(log) == []
        if not is_taken_again:
            with log.transaction(other) as tx:
                send(tx, [*came, *other.poll()])
            other.close()
        while records := one.poll():
            with log.transaction(one) as tx:
                send(tx, records)
    assert sorted(invoices(log)) == list(range(6))


def test_an_interrupted_commit_that_was_stored_is_not_gone_back_from(log, one, monkeypatch):
    """The consumer asks the log where its group stands."""
    commit = log._store.commit_transaction

    def interrupted(request):
        commit(request)
        raise KeyboardInterrupt

    with log.consumer("orders", group="g", max_poll_records=2) as consumer:
        records = consumer.poll()
        tx = log.transaction(consumer)
        send(tx, records)
        with monkeypatch.context() as patch:
            patch.setattr(log._store, "commit_transaction", interrupted)
            with pytest.raises(KeyboardInterrupt):
                tx.commit()
        while records := consumer.poll():
            with log.transaction(consumer) as tx:
                send(tx, records)
    assert invoices(log) == list(range(6))


def test_a_commit_that_is_interrupted_when_it_is_stored_leaves_nothing_open(log, one, monkeypatch):
    """The next transaction begins though the program still holds the old one, and nothing is done twice."""
    settle = GivenOffsets.settle
    interruptions = [1]

    def interrupted(given):
        if interruptions:
            del interruptions[0]
            raise KeyboardInterrupt
        settle(given)

    monkeypatch.setattr(GivenOffsets, "settle", interrupted)
    with log.consumer("orders", group="g", max_poll_records=2) as consumer:
        while records := consumer.poll():
            tx = log.transaction(consumer)
            send(tx, records)
            with suppress(KeyboardInterrupt):
                tx.commit()
    assert invoices(log) == list(range(6))


def test_a_transaction_of_two_consumers_takes_both_back(log, one):
    """One it was begun with, the other gives its offsets."""
    log.topic("payments", value=int).append_many(range(10, 13))
    failures = 1
    with log.consumer("orders", group="g") as first, log.consumer("payments", group="h") as second:
        for _ in range(2):
            try:
                with log.transaction(first) as tx:
                    send(tx, first.poll() + second.poll())
                    tx.commit_offsets(second)
                    if failures:
                        failures = 0
                        raise Lost
            except Lost:
                pass
    assert invoices(log) == [0, 1, 2, 3, 4, 5, 10, 11, 12]


def test_the_consumer_commits_nothing_by_itself_from_the_beginning(log, one, monkeypatch):
    """So an exception in the first block commits nothing with the interval either."""
    now_s = [0.0]
    monkeypatch.setattr(type(log._store.clock), "monotonic", lambda _: now_s[0])
    with log.consumer("orders", group="g", max_poll_records=2, session_timeout=1e6) as consumer:
        consumer.poll()
        with pytest.raises(Lost), log.transaction(consumer):
            raise Lost
        now_s[0] += 100.0
        assert values(consumer.poll()) == [0, 1]
        assert consumer.committed(("orders", 0)) is None


@pytest.mark.parametrize("start", ["latest", 4])
def test_a_group_without_offsets_goes_back_to_where_it_began(log, one, start):
    """And not to what `start` means by then."""
    with log.consumer(group="g", start=start) as consumer:
        consumer.assign([("orders", 0)])
        one.append_many([6, 7])
        expected = [6, 7] if start == "latest" else [4, 5, 6, 7]
        for _ in range(2):
            assert values(consumer.poll()) == expected
            with pytest.raises(Lost), log.transaction(consumer):
                raise Lost


def test_a_seek_is_where_it_goes_back_to(log, one):
    """Records that the program has skipped stay skipped, before the transaction and after it failed."""
    with log.consumer("orders", group="g") as consumer:
        consumer.seek(("orders", 0), 3)
        assert values(consumer.poll()) == [3, 4, 5]
        with pytest.raises(Lost), log.transaction(consumer):
            raise Lost
        assert values(consumer.poll()) == [3, 4, 5]
        with pytest.raises(Lost), log.transaction(consumer):
            raise Lost
        consumer.seek(("orders", 0), 4)
        records = consumer.poll()
        with log.transaction(consumer) as tx:
            send(tx, records)
        assert consumer.committed(("orders", 0)) == 6
    assert invoices(log) == [4, 5]


def test_a_commit_by_hand_gives_them_up(log, one):
    """It says that everything received is finished."""
    with log.consumer("orders", group="g", max_poll_records=2) as consumer:
        consumer.poll()
        with pytest.raises(Lost), log.transaction(consumer):
            raise Lost
        consumer.commit()
        assert values(consumer.poll()) == [2, 3]


def test_a_paused_partition_goes_back_and_stays_paused(log, orders):
    """It hands nothing out until it is resumed, and then from where the group stands."""
    with log.consumer("orders", group="g") as consumer:
        assert len(consumer.poll()) == 6
        with pytest.raises(Lost), log.transaction(consumer):
            raise Lost
        consumer.pause(("orders", 0))
        assert values(consumer.poll()) == [3, 4, 5]
        consumer.resume()
        assert values(consumer.poll()) == [0, 1, 2]


def test_partitions_that_moved_meanwhile_begin_where_the_group_stands(log, orders):
    """With their new owner; the other ones come again here."""
    with log.consumer("orders", group="g") as one:
        assert len(one.poll()) == 6
        with pytest.raises(Lost), log.transaction(one):
            raise Lost
        with log.consumer("orders", group="g") as other:
            came: list[int] = []
            for _ in range(4):
                came += values(one.poll()) + values(other.poll())
            assert sorted(came) == list(range(6))


def test_closing_commits_nothing_of_it(log, one):
    """Not even where `on_revoked` commits."""

    def on_revoked(partitions):
        consumer.commit()
        with log.transaction(consumer) as tx:
            tx.send("invoices", 77)

    consumer = log.consumer("orders", group="g", on_revoked=on_revoked)

    def work():
        with consumer:
            for record in consumer:
                with log.transaction(consumer) as tx:
                    send(tx, [record])
                    if record.value == 2:
                        raise Lost

    with pytest.raises(Lost):
        work()
    with log.consumer("orders", group="g") as again:
        assert values(again.poll()) == [2, 3, 4, 5]


def test_a_consumer_that_was_closed_meanwhile_is_left_alone(log, one):
    """The commit says so, and an abort does not."""
    consumer = log.consumer("orders", group="g")
    consumer.poll()
    tx = log.transaction(consumer)
    tx.send("invoices", 1)
    consumer.close()
    with pytest.raises(eventlog.LogClosed):
        tx.commit()
    assert invoices(log) == []


def test_a_loop_of_the_program_hears_of_it(log, one):
    """The descriptor is readable though nothing was committed."""
    with log.consumer("orders", group="g") as consumer, selectors.DefaultSelector() as selector:
        selector.register(consumer, selectors.EVENT_READ)
        assert len(consumer.poll(0)) == 6
        tx = log.transaction(consumer)
        while consumer.poll(0):
            pass
        assert not selector.select(0)
        tx.abort()
        assert selector.select(0)
        assert len(consumer.poll(0)) == 6
        selector.unregister(consumer)


@pytest.mark.parametrize("what", ["no group", "no consumer", "another log"])
def test_a_consumer_that_can_not_be_in_it_is_refused_at_once(log, one, path, what):
    """Nothing is begun, and the consumer is as it was."""
    with eventlog.open(path) as elsewhere:
        elsewhere.topic("orders")
        consumer: Any = {
            "no group": lambda: log.consumer("orders"),
            "no consumer": lambda: "orders",
            "another log": lambda: elsewhere.consumer("orders", group="g"),
        }[what]()
        with pytest.raises((ValueError, TypeError)):
            log.transaction(consumer)
