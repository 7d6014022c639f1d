"""What processors do when something fails: nothing is stored of it, and it is tried again with more care."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

import eventlog
from eventlog.batches.format import BatchEncoder
from eventlog.batches.header import seal
from eventlog.clients.transaction import worker as worker_module
from tests.clients.billing import bill, committed, invoices, make_orders
from tests.clients.helpers import (
    flip_last_bit,
    rewrite_batch,
    values,
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


class Bad(Exception):
    """The error of a function for a bad record."""


def refuse(*bad: int, function: Any = bill, error: type[Exception] = Bad) -> tuple[Any, list[int]]:
    """A function that fails for some numbers after it has done its work, and the numbers that it was called with."""
    calls: list[int] = []

    def wrapped(tx: eventlog.Transaction, record: Any) -> None:
        calls.append(record.value)
        function(tx, record)
        if record.value in bad:
            raise error(record.value)

    return wrapped, calls


def test_a_failure_is_tried_again_and_nothing_is_there_twice(log, one):
    """What failed once is rolled back with all its effects, and succeeds the next time."""
    failed: list[int] = []

    def function(tx, record):
        bill(tx, record)
        if record.value == 5 and not failed:
            failed.append(5)
            raise Bad

    with log.processor("orders", function=function, group="billing") as processor:
        assert processor.run_to_end() == 10
    assert invoices(log) == list(range(10))
    assert log.state("count")["all"] == 10


def test_a_bad_record_is_raised_and_those_before_it_are_stored(log, one):
    """After `attempts` of them, with a note that says where; a new processor begins with it."""
    function, calls = refuse(4)
    with log.processor("orders", function=function, group="billing", attempts=3, retry_pause=0.0) as processor:
        with pytest.raises(Bad) as raised:
            processor.run_to_end()
    assert "orders[0] at offset 4 failed for group 'billing', 3 times" in raised.value.__notes__[0]
    assert calls.count(4) == 3
    assert max(calls) == 4, "what comes after it waits for it"
    assert invoices(log) == [0, 1, 2, 3]
    assert committed(log) == [4]
    with log.processor("orders", function=bill, group="billing") as processor:
        assert processor.run_to_end() == 6
    assert invoices(log) == list(range(10))


def test_the_same_processor_may_go_on_after_an_error(log, one):
    """The record has all its attempts again."""
    function, calls = refuse(0)
    with log.processor("orders", function=function, group="billing", attempts=2, retry_pause=0.0) as processor:
        for _ in range(2):
            with pytest.raises(Bad):
                processor.run_to_end()
        assert calls == [0, 0, 0, 0]
        processor._worker.function = bill
        assert processor.run_to_end() == 10
    assert invoices(log) == list(range(10))


def test_one_attempt_is_enough_for_those_before_it(log, one):
    """The bad record is called once, and the others before it are stored all the same."""
    function, calls = refuse(4)
    with log.processor("orders", function=function, group="billing", attempts=1) as processor:
        with pytest.raises(Bad):
            processor.run_to_end()
    assert calls.count(4) == 1
    assert invoices(log) == [0, 1, 2, 3]


def test_other_partitions_go_on_past_a_bad_record(log, orders):
    """They are not held up in the dead-letter case, and those before it in its partition are stored in any."""
    where = {record.value: record for record in orders.read()}
    function, _ = refuse(7)
    with log.processor("orders", function=function, group="billing", attempts=2, retry_pause=0.0) as processor:
        with pytest.raises(Bad):
            processor.run_to_end()
    done = set(invoices(log))
    assert {n for n, r in where.items() if r.partition == where[7].partition and r.offset < where[7].offset} <= done
    assert 7 not in done


def test_dead_letters_go_where_on_failure_sends_them(log, one):
    """In one commit with the offset, and nothing of what the function did."""
    log.topic("dead", key=str, value=str)
    function, calls = refuse(2, 3, 9)

    def bury(tx, record, error):
        tx.send("dead", f"{record.value}: {error!r}", key=record.key)

    with log.processor(
        "orders", function=function, group="billing", attempts=2, retry_pause=0.0, on_failure=bury
    ) as processor:
        assert processor.run_to_end() == 10
    assert values(log.topic("dead").read()) == ["2: Bad(2)", "3: Bad(3)", "9: Bad(9)"]
    assert invoices(log) == [0, 1, 4, 5, 6, 7, 8]
    assert log.state("count")["all"] == 7
    assert committed(log) == [10]
    assert [calls.count(bad) for bad in (2, 3, 9)] == [2, 2, 2]


def test_an_error_of_on_failure_is_raised(log, one):
    """With the note, and nothing of it is stored."""

    def bury(tx, record, error):
        tx.send("invoices", -1, key="x")
        raise LookupError

    function, _ = refuse(2)
    with log.processor(
        "orders", function=function, group="billing", attempts=2, retry_pause=0.0, on_failure=bury
    ) as processor:
        with pytest.raises(LookupError) as raised:
            processor.run_to_end()
    assert "offset 2 failed for group 'billing', and so did on_failure" in raised.value.__notes__[0]
    assert invoices(log) == [0, 1]


def test_later_records_are_together_again_after_a_bad_one(log, one):
    """One transaction for each is the exception."""
    function, _ = refuse(12)
    with log.processor(
        "orders",
        function=function,
        group="billing",
        max_records=10,
        attempts=2,
        retry_pause=0.0,
        on_failure=lambda *_: None,
    ) as processor:
        one.append_many(range(10), keys=["x"] * 10)
        processor.run_to_end()
        one.append_many(range(10, 20), keys=["x"] * 10)
        # 10 and 11 alone, the second try of 12 is stored, 12 is buried, then 13 to 19 at once
        assert rounds_while(log, processor.run_to_end) == 2 + 1 + 1 + 1


def test_an_error_at_the_commit_is_found_to_be_of_one_record(log, one):
    """Where nobody knows which of many it was, each is tried alone."""
    log.topic("accounts", key=str, value=int, index="key")

    def function(tx, record):
        bill(tx, record)
        tx.send("accounts", record.value, key="all", expected_version=7 if record.value == 5 else None)

    buried: list[Any] = []
    with log.processor(
        "orders",
        function=function,
        group="billing",
        attempts=2,
        retry_pause=0.0,
        on_failure=lambda _tx, record, error: buried.append((record.value, type(error))),
    ) as processor:
        assert processor.run_to_end() == 10
    assert buried == [(5, eventlog.WrongVersion)]
    assert invoices(log) == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_a_conflict_is_no_failure_of_the_record(log, one):
    """Twenty of them end well with two attempts."""
    conflicts: list[int] = []

    def function(tx, record):
        bill(tx, record)
        if record.value == 3 and len(conflicts) < 20:
            conflicts.append(1)
            log.transact(lambda other: other.state("count").put("all", log.state("count")["all"]))
            log.transact(lambda other: other.state("count").put("all", -1000 * len(conflicts)))

    log.transact(lambda tx: tx.state("count").put("all", 0))
    with log.processor("orders", function=function, group="billing", attempts=2, retry_pause=0.0) as processor:
        assert processor.run_to_end() == 10
    assert len(conflicts) == 20
    assert invoices(log) == list(range(10))


def test_a_conflict_for_ever_is_raised(log, one, monkeypatch):
    """After a hundred in a row, with a note."""
    pauses: list[int] = []
    monkeypatch.setattr(worker_module, "wait_a_little", pauses.append)

    def function(tx, record):
        raise eventlog.ConflictError("no")

    with log.processor(
        "orders", function=function, group="billing", attempts=2, retry_pause=0.0, on_failure=lambda *_: None
    ) as processor:
        with pytest.raises(eventlog.ConflictError) as raised:
            processor.run_to_end()
    assert "100 times in a row" in raised.value.__notes__[0]
    assert len(pauses) == 99
    assert all(one < two for one, two in pairwise(pauses)), "the pauses grow"


def test_more_than_a_transaction_holds_is_done_in_smaller_ones(log, one):
    """A batch of records that are too large together is no failure of any."""

    def function(tx, record):
        tx.send("invoices", record.value, key="x" * 1000)

    with log.processor("orders", function=function, group="billing", attempts=1, max_bytes=3000) as processor:
        assert processor.run_to_end() == 10
    assert invoices(log) == list(range(10))


def test_what_is_too_large_by_itself_is_a_failure(log, one):
    """It is raised."""

    def function(tx, record):
        tx.send("invoices", record.value, key="x" * 1000)

    with log.processor("orders", function=function, group="billing", max_bytes=500, retry_pause=0.0) as processor:
        with pytest.raises(eventlog.TransactionTooLarge):
            processor.run_to_end()


@pytest.mark.parametrize("way", ["commit", "with"])
def test_a_function_can_not_commit_a_part(log, one, way):
    """The offsets would not be in it."""

    def function(tx, record):
        bill(tx, record)
        if way == "commit":
            tx.commit()
        else:
            with tx:
                pass

    with log.processor("orders", function=function, group="billing", attempts=2, retry_pause=0.0) as processor:
        with pytest.raises(ValueError, match="the processor commits"):
            processor.run_to_end()
    assert invoices(log) == []


def test_a_function_that_aborts_fails(log, one):
    """Nothing of its record is stored, and it is not skipped."""

    def function(tx, record):
        bill(tx, record)
        if record.value == 2:
            tx.abort()

    with log.processor("orders", function=function, group="billing", attempts=2, retry_pause=0.0) as processor:
        with pytest.raises(eventlog.TransactionEnded):
            processor.run_to_end()
    assert invoices(log) == [0, 1]


def test_an_interruption_ends_it_with_nothing_half_done(log, one):
    """The same processor goes on afterwards, with the records that were in hand."""
    interruptions = [0, 3, 7]

    def function(tx, record):
        bill(tx, record)
        if interruptions and record.value == interruptions[0]:
            del interruptions[0]
            raise KeyboardInterrupt

    with log.processor("orders", function=function, group="billing", max_records=4) as processor:
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                processor.run_to_end()
        processor.run_to_end()
    assert invoices(log) == list(range(10))
    assert log.state("count")["all"] == 10


def test_records_before_a_damaged_one_are_processed(log, one):
    """Then it is raised, as a consumer raises it."""
    one.append_many(range(10, 15), keys=["x"] * 5)
    one.append_many(range(15, 20), keys=["x"] * 5)
    rewrite_batch(one, 14, flip_last_bit)
    with log.processor("orders", function=bill, group="billing") as processor:
        with pytest.raises(eventlog.CorruptBatch):
            processor.run_to_end()
    assert invoices(log) == list(range(10))
    assert committed(log) == [10]


def test_records_before_one_that_can_not_be_decoded_are_processed(log):
    """In the same batch, too."""
    log.topic("invoices", key=str, value=int)
    topic = log.topic("orders", value="json")
    topic.append_many([0, 1, 2])
    topic.append_many([3, 4, 8, 5])
    rewrite_batch(topic, 6, _with_a_bad_number)
    with log.processor("orders", function=bill, group="billing") as processor:
        with pytest.raises(eventlog.DecodeError):
            processor.run_to_end()
    assert invoices(log) == [0, 1, 2, 3, 4]


def _with_a_bad_number(data: bytes) -> bytes:
    (batch,) = BatchEncoder().encode(None, [b"3", b"4", b"{", b"5"], timestamps_ms=0)
    return seal(batch, largest_so_far_ms=0, log_position=3)


def test_a_topic_of_a_pattern_may_be_deleted(log, orders):
    """What was in hand of it is rolled back, and the others go on."""
    log.topic("old-orders", key=str, value=int).append_many([77, 78], keys=["x", "y"])

    def function(tx, record):
        bill(tx, record)
        if record.topic == "old-orders" and "old-orders" in log.topics():
            log.delete_topic("old-orders")

    with log.processor(re.compile(".*orders"), function=function, group="billing") as processor:
        assert processor.run_to_end() == 10
    assert sorted(invoices(log)) == list(range(10))


def test_a_deleted_topic_ends_it(log, one):
    """Whether it is deleted while nothing happens or in the middle of a transaction."""

    def function(tx, record):
        bill(tx, record)
        if "orders" in log.topics():
            log.delete_topic("orders")

    with log.processor("orders", function=function, group="billing") as processor:
        with pytest.raises(eventlog.UnknownTopic):
            processor.run_to_end()
    assert invoices(log) == []
