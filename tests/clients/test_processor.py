"""Processors: each record once in effect, whatever fails in between."""

from __future__ import annotations

import random
import re
import threading
from functools import partial

import pytest

import eventlog
from tests.clients.billing import bill, committed, invoices, make_orders
from tests.clients.helpers import (
    PATIENCE_SECONDS,
    in_threads,
    is_held,
    last_transaction,
)
from tests.clients.members import rounds_while


@pytest.fixture
def orders(log: eventlog.EventLog) -> eventlog.Topic[str, int]:
    """Ten numbers in four partitions, and a topic for what becomes of them."""
    return make_orders(log, 4)


@pytest.fixture
def one(log: eventlog.EventLog) -> eventlog.Topic[str, int]:
    """Ten numbers in one partition, and a topic for what becomes of them."""
    return make_orders(log, 1)


# --- the usual ----------------------------------------------------------------------------------------------------


def test_all_that_is_there_is_processed_once(log, orders):
    """The effects and the offsets are stored, and a second run finds nothing to do."""
    with log.processor("orders", function=bill, group="billing") as processor:
        assert processor.run_to_end() == 10
        assert processor.run_to_end() == 0
    assert sorted(invoices(log)) == list(range(10))
    assert log.state("count")["all"] == 10
    assert sum(committed(log)) == 10
    with log.processor("orders", function=bill, group="billing") as processor:
        assert processor.run_to_end() == 0


def test_a_poll_costs_one_transaction(log, one):
    """The effects of up to `max_records` records and their offsets are one commit."""
    with log.processor("orders", function=bill, group="billing", max_records=4) as processor:
        processor.run_to_end()
        one.append_many(range(10, 20), keys=["x"] * 10)
        before = last_transaction(log)
        assert rounds_while(log, processor.run_to_end) == 3
        assert last_transaction(log) - before == 3


def test_transactions_begin_small_and_double(log, one):
    """So that a restart after a record that ends its process gets nearer to it; the first try is a commit."""
    log.transact(lambda tx: tx.state("count"))
    with log.processor("orders", function=bill, group="billing", max_records=4) as processor:
        # the table of tries, the try of the first record; then 1, 2, 4 and 3 records
        assert rounds_while(log, processor.run_to_end) == 2 + 4
        assert log.states() == ["count"]


def test_run_goes_on_until_it_is_stopped(log, one):
    """What comes later is processed too; `stop()` ends it from another thread."""
    done = threading.Event()

    def function(tx, record):
        bill(tx, record)
        if record.value == 99:
            done.set()

    def feed():
        one.append(99, key="x")
        assert done.wait(PATIENCE_SECONDS)
        processor.stop()

    with log.processor("orders", function=function, group="billing") as processor:
        counts = in_threads(processor.run, feed)
    assert counts[0] == 11
    assert invoices(log) == [*range(10), 99]


def test_stop_before_the_run_ends_the_next_one(log, one):
    """So that a signal just before it is not lost; the run after that goes on."""
    with log.processor("orders", function=bill, group="billing") as processor:
        processor.stop()
        assert processor.run() == 0
        assert processor.run_to_end() == 10


def test_stop_commits_what_is_done_and_goes(log, one):
    """With the record in hand; it does not go on to the end of its transaction, and no other begins."""
    with log.processor("orders", function=bill, group="billing") as processor:

        def function(tx, record):
            bill(tx, record)
            if record.value in (4, 8):
                processor.stop()

        processor._worker.function = function
        assert processor.run() == 5
        assert committed(log) == [5]
        assert processor.run_to_end() == 4
        assert processor.run_to_end() == 1
    assert invoices(log) == list(range(10))


def test_several_topics_and_patterns_are_read(log, orders):
    """As a consumer reads them."""
    log.topic("old-orders", key=str, value=int).append(77, key="x")
    with log.processor(orders, re.compile("old-.*"), function=bill, group="billing") as processor:
        assert processor.run_to_end() == 11
    assert sorted(invoices(log)) == [*range(10), 77]


def test_start_says_where_a_new_group_begins(log, one):
    """And where it began is kept, though nothing was processed."""
    with log.processor("orders", function=bill, group="billing", start="latest") as processor:
        assert processor.run_to_end() == 0
    one.append(10, key="x")
    with log.processor("orders", function=bill, group="billing", start="latest") as processor:
        assert processor.run_to_end() == 1
    assert invoices(log) == [10]


def test_run_to_end_does_not_wait_for_what_comes_meanwhile(log, one):
    """It ends though each record makes another one."""

    def function(tx, record):
        tx.send("orders", record.value, key="again")

    with log.processor("orders", function=function, group="billing", max_records=2) as processor:
        assert 10 <= processor.run_to_end() <= 12


def test_run_to_end_gives_up_in_time(log, one, monkeypatch):
    """It says so, and what it has processed is stored."""
    now_s = [0.0]
    monkeypatch.setattr(type(log._store.clock), "monotonic", lambda _: now_s[0])

    def function(tx, record):
        bill(tx, record)
        now_s[0] += 1.0

    with log.processor("orders", function=function, group="billing", max_records=2, session_timeout=1e3) as processor:
        with pytest.raises(TimeoutError, match="The 3 records that it has processed are stored"):
            processor.run_to_end(timeout=3.0)
    assert invoices(log) == [0, 1, 2]


# --- groups -------------------------------------------------------------------------------------------------------


def test_members_share_the_work(log, orders):
    """Three processors in threads, and each record is processed once."""
    orders.append_many(range(10, 1000), keys=[str(number) for number in range(10, 1000)])
    left = threading.Semaphore(0)

    def function(tx, record):
        tx.send("invoices", record.value, key=record.key)
        left.release()

    processors = [log.processor("orders", function=function, group="billing", max_records=7) for _ in range(3)]

    def stop():
        for _ in range(1000):
            assert left.acquire(timeout=PATIENCE_SECONDS)
        while sum(offset or 0 for offset in committed(log)) < 1000:
            left.acquire(timeout=0.001)
        for processor in processors:
            processor.stop()

    counts = in_threads(*(processor.run for processor in processors), stop)
    for processor in processors:
        processor.close()
    assert sum(counts[:3]) == 1000
    assert sorted(invoices(log)) == list(range(1000))


def test_members_that_come_and_go_lose_nothing_and_repeat_nothing(log, orders, rng):
    """Partitions move while their records are processed; each record has its effect once."""
    orders.append_many(range(10, 600), keys=[str(number) for number in range(10, 600)])

    def function(tx, record):
        tx.send("invoices", record.value, key=record.key)

    def come_and_go(seed: float):
        chance = random.Random(seed)
        for _ in range(8):
            with log.processor(
                "orders", function=function, group="billing", max_records=chance.randrange(1, 9)
            ) as processor:
                for _ in range(chance.randrange(1, 10)):
                    processor._worker.process(0.0)

    in_threads(*[partial(come_and_go, rng.random()) for _ in range(3)])
    with log.processor("orders", function=function, group="billing") as processor:
        processor.run_to_end()
    assert sorted(invoices(log)) == list(range(600))


def test_a_fenced_member_stores_nothing_and_goes_on(log, one):
    """It lost its partitions in the middle of a transaction; what it did is rolled back, and done again."""
    fenced: list[int] = []

    def function(tx, record):
        bill(tx, record)
        if record.value == 5 and len(fenced) < 3:
            fenced.append(1)
            log.groups.reset_offsets("billing", to=committed(log)[0] or 0, topics=["orders"], force=True)

    with log.processor("orders", function=function, group="billing", attempts=1) as processor:
        assert processor.run_to_end() == 10
    assert len(fenced) == 3
    assert invoices(log) == list(range(10))
    assert log.state("count")["all"] == 10


def test_partitions_that_come_later_are_processed(log, one):
    """What is given to this member during the run belongs to its end."""
    with log.processor("orders", function=bill, group="billing") as first:
        assert first.run_to_end() == 10
        one.create_partitions(3)
        one.append(33, partition=2, key="x")
        assert first.run_to_end() == 1
    assert invoices(log) == [*range(10), 33]


# --- life ---------------------------------------------------------------------------------------------------------


def test_two_threads_can_not_run_it(log, one):
    """The second one is told so, and the first goes on."""
    refused = threading.Event()

    def function(tx, record):
        assert refused.wait(PATIENCE_SECONDS)
        bill(tx, record)

    def second():
        try:
            while True:
                processor.run_to_end(timeout=PATIENCE_SECONDS) if is_held(processor._in_use) else None
        except eventlog.ConcurrentUse:
            refused.set()

    with log.processor("orders", function=function, group="billing") as processor:
        assert in_threads(processor.run_to_end, second)[0] == 10
    assert invoices(log) == list(range(10))


@pytest.mark.parametrize("what", ["processor", "log"])
def test_closing_from_another_thread_ends_the_run(log, one, what):
    """The transaction in hand is refused, and the records come again to others."""
    began, may_go_on = threading.Event(), threading.Event()

    def function(tx, record):
        if record.value == 6:
            began.set()
            assert may_go_on.wait(PATIENCE_SECONDS)
        bill(tx, record)

    def close():
        assert began.wait(PATIENCE_SECONDS)
        (processor if what == "processor" else log).close()
        may_go_on.set()

    processor = log.processor("orders", function=function, group="billing", max_records=4)
    assert in_threads(processor.run, close)[0] == 3
    if what == "processor":
        assert invoices(log) == [0, 1, 2]
        assert committed(log) == [3]
        with pytest.raises(eventlog.LogClosed):
            processor.run()
        processor.close()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"function": None}, TypeError),
        ({"on_failure": 3}, TypeError),
        ({"group": None}, TypeError),
        ({"group": ""}, ValueError),
        ({"attempts": 0}, ValueError),
        ({"max_records": 0}, ValueError),
        ({"max_bytes": 0}, ValueError),
        ({"retry_pause": -1.0}, ValueError),
        ({"max_retry_pause": "long"}, TypeError),
        ({"retry_jitter": 1.5}, ValueError),
        ({"retry_jitter": True}, TypeError),
        ({"on_out_of_range": "never"}, ValueError),
        ({"start": "middle"}, ValueError),
        ({"session_timeout": 0.0}, ValueError),
        ({"assignor": "nobody"}, ValueError),
    ],
    ids=str,
)
def test_wrong_options_make_nothing(log, one, options, error):
    """Nor is there a member of the group."""
    with pytest.raises(error):
        log.processor("orders", **{"function": bill, "group": "billing", **options})
    assert "billing" not in log.groups.list()


def test_it_needs_a_topic_that_is_there(log):
    """One at least."""
    with pytest.raises(ValueError, match="at least one topic"):
        log.processor(function=bill, group="billing")
    with pytest.raises(eventlog.UnknownTopic):
        log.processor("orders", function=bill, group="billing")


def test_a_closed_one_says_so(log, one):
    """As does one of a closed log."""
    with log.processor("orders", function=bill, group="billing") as processor:
        pass
    for use in (processor.run, processor.run_to_end):
        with pytest.raises(eventlog.LogClosed):
            use()
    log.close()
    with pytest.raises(eventlog.LogClosed):
        log.processor("orders", function=bill, group="billing")
