"""Processors and the world outside: pauses between tries, slow work, poisonous records."""

from __future__ import annotations

import logging
import threading
import time
from itertools import pairwise
from typing import Any

import pytest

import eventlog
from eventlog.batches.format import BatchEncoder
from eventlog.batches.header import seal
from eventlog.clients.transaction.pace import Pace
from eventlog.clients.transaction.retries import Pauses
from eventlog.clients.transaction.tries import StoredTries
from tests.clients.billing import bill, committed, invoices, make_orders
from tests.clients.helpers import PATIENCE_SECONDS, in_threads, rewrite_batch, values
from tests.clients.members import hold_time


@pytest.fixture
def one(log: eventlog.EventLog) -> eventlog.Topic[str, int]:
    """Ten numbers in one partition, and a topic for what becomes of them."""
    return make_orders(log, 1)


@pytest.fixture
def two(log: eventlog.EventLog) -> eventlog.Topic[str, int]:
    """Five numbers in each of two partitions."""
    log.topic("invoices", key=str, value=int)
    topic = log.topic("orders", key=str, value=int, partitions=2)
    for partition in (0, 1):
        topic.append_many(range(5 * partition, 5 * partition + 5), keys=["x"] * 5, partition=partition)
    return topic


class Down(Exception):
    """The error of a function whose world outside does not answer."""


# --- pauses ---------------------------------------------------------------------------------------------------------


def test_pauses_double_up_to_the_longest_and_are_left_to_chance_in_part():
    """Twenty-five attempts by default take minutes and not a second."""
    exact = Pauses(0.5, 30.0, 0.0)
    assert [exact.after(count) for count in range(1, 9)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert sum(exact.after(count) for count in range(1, 25)) > 500
    assert exact.after(10**6) == 30.0
    shaky = Pauses(0.5, 30.0, 0.5)
    found = {shaky.after(2) for _ in range(100)}
    assert len(found) > 50
    assert all(0.5 < pause_s <= 1.0 for pause_s in found)


def test_a_record_waits_before_it_is_tried_again_and_other_partitions_do_not(log, two):
    """Nor do the records before it; those behind it do."""
    tried: list[float] = []
    done: list[int] = []

    def function(tx, record):
        if record.value == 2 and len(tried) < 2:
            tried.append(time.monotonic())
            raise Down
        done.append(record.value)
        tx.send("invoices", record.value, key="x")

    with log.processor("orders", function=function, group="g", retry_pause=0.25, retry_jitter=0.0) as processor:
        assert processor.run_to_end() == 10
        end = time.monotonic()
    assert tried[1] - tried[0] >= 0.25
    assert end - tried[1] >= 0.5
    assert sorted(invoices(log)) == list(range(10))
    assert invoices(log)[-3:] == [2, 3, 4], "all others were done meanwhile"


def test_a_pause_is_ended_by_stop(log, one):
    """At once, though the record is due in an hour; the next run waits for it, too."""
    failed = threading.Event()

    def function(tx, record):
        bill(tx, record)
        if record.value == 3:
            failed.set()
            raise Down

    def stop():
        assert failed.wait(PATIENCE_SECONDS)
        processor.stop()

    with log.processor(
        "orders", function=function, group="billing", retry_pause=3600.0, max_retry_pause=3600.0
    ) as processor:
        in_threads(processor.run, stop)
        with pytest.raises(TimeoutError):
            processor.run_to_end(timeout=0.05)
    assert invoices(log) == [0, 1, 2]


def test_partitions_that_wait_may_move(log, two):
    """Another member tries the record, and goes on counting."""
    calls: list[str] = []

    def function(name):
        def work(tx, record):
            if record.value == 0:
                calls.append(name)
                if name == "first":
                    first.stop()
                raise Down
            tx.send("invoices", record.value, key="x")

        return work

    options: dict[str, Any] = {"group": "g", "attempts": 3, "on_failure": lambda *_: None}
    with log.processor(
        "orders", function=function("first"), retry_pause=3600.0, max_retry_pause=3600.0, **options
    ) as first:
        first.run()
    with log.processor("orders", function=function("second"), retry_pause=0.0, **options) as second:
        second.run_to_end()
    assert sorted(invoices(log)) == list(range(1, 10))
    assert calls == ["first", "second", "second"]


# --- tries in the log -------------------------------------------------------------------------------------------------


def test_tries_are_counted_in_the_log_and_forgotten_with_the_record(log, one):
    """Each record has its own; a table that users do not see."""
    (record, other) = list(one.read(0, max_records=2))
    with log.processor("orders", function=bill, group="billing") as processor:
        begin = processor._worker._begin
        assert [StoredTries(begin, "billing").note(record, known) for known in (0, 0, 7)] == [(0, 0), (1, 0), (7, 0)]
        tries = StoredTries(begin, "billing")
        assert tries.note(record, 0) == (8, 0)
        tries.take_back(record)
        assert tries.note(record, 0) == (8, 0)
        tries.forget(record)
        assert tries.note(record, 0) == (0, 0)
        assert tries.note(other, 0) == (0, 0)
        assert StoredTries(begin, "others").note(other, 0) == (0, 0)
    assert log.states() == []
    for name in ("processor:billing", "projection:x"):
        with pytest.raises(ValueError, match="not a valid state name"):
            log.transact(lambda tx, name=name: tx.state(name))
    assert log.verify().is_sound


@pytest.mark.parametrize("is_given", [True, False])
def test_a_record_that_was_tried_by_processes_that_died_is_given_up(log, one, is_given):
    """Without another try; then it has all its attempts again."""
    (record,) = one.read(0, start=0, max_records=1)
    given: list[tuple[int, Exception]] = []

    def give_up(tx, record, error):
        given.append((record.value, error))

    calls: list[int] = []

    def function(tx, record):
        calls.append(record.value)
        bill(tx, record)

    options: dict[str, Any] = {"on_failure": give_up} if is_given else {}
    with log.processor("orders", function=function, group="billing", attempts=2, **options) as processor:
        for _ in range(2):
            StoredTries(processor._worker._begin, "billing").note(record, 0)  # as processes do that die of it
        if is_given:
            processor.run_to_end()
        else:
            with pytest.raises(eventlog.ProcessDied) as raised:
                processor.run_to_end()
            given.append((0, raised.value))
            assert calls == []
            processor.run_to_end()
    ((value, error),) = given
    assert value == 0
    assert isinstance(error, eventlog.ProcessDied)
    assert (error.topic, error.partition, error.offset, error.group) == ("orders", 0, 0, "billing")
    assert calls == list(range(1 if is_given else 0, 10))


def test_a_process_that_dies_in_on_failure_is_no_endless_story(log, one):
    """After as many tries again the error is raised, whatever `on_failure` would do."""
    (record,) = one.read(0, max_records=1)
    with log.processor(
        "orders", function=bill, group="billing", attempts=2, on_failure=lambda *_: pytest.fail("called")
    ) as processor:
        for _ in range(4):
            StoredTries(processor._worker._begin, "billing").note(record, 0)
        with pytest.raises(eventlog.ProcessDied) as raised:
            processor.run_to_end()
        assert "ended in on_failure, too" in raised.value.__notes__[0]
        assert processor.run_to_end() == 10


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_try(log, one, kind):
    """However often the first record is interrupted, it is not given up."""
    interrupted: list[int] = []

    def function(tx, record):
        bill(tx, record)
        if len(interrupted) < 5:
            interrupted.append(1)
            raise kind

    for _ in range(5):
        with log.processor("orders", function=function, group="billing", attempts=2) as processor:
            with pytest.raises(kind):
                processor.run_to_end()
    with log.processor("orders", function=function, group="billing", attempts=2) as processor:
        assert processor.run_to_end() == 10
    assert invoices(log) == list(range(10))


# --- slow work --------------------------------------------------------------------------------------------------------


def test_the_pace_doubles_and_keeps_to_what_fits():
    """A single slow record of few that came changes nothing; it begins small again when it is told to."""
    pace = Pace(100, 10.0)
    sizes = []
    for _ in range(8):
        sizes.append(pace.most)
        assert not pace.note(pace.most, 0.01, is_cut=False)
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 100]
    assert not pace.is_beginning
    assert not pace.note(1, 5.0, is_cut=False)
    assert pace.most == 100
    assert pace.note(100, 20.0, is_cut=False)
    assert pace.most == 50
    assert pace.note(7, 14.0, is_cut=True)
    assert pace.most == 5
    pace.begin_small()
    assert (pace.most, pace.is_beginning) == (1, True)
    assert pace.note(1, 60.0, is_cut=False)
    assert pace.most == 1


def test_slow_work_is_done_in_smaller_transactions_with_one_warning(log, one, monkeypatch, caplog):
    """Each in half of the interval; the line names the time, the interval and both options."""
    held = hold_time(monkeypatch)
    one.append_many(range(10, 100), keys=["x"] * 90)
    polls: list[float] = []

    def function(tx, record):
        held.now_s += 1.0
        bill(tx, record)

    with (
        caplog.at_level(logging.WARNING, "eventlog"),
        log.processor(
            "orders", function=function, group="billing", max_poll_interval=20.0, session_timeout=1e3
        ) as processor,
    ):
        poll = processor._consumer.poll

        def noted(*arguments, **options):
            polls.append(held.now_s)
            return poll(*arguments, **options)

        monkeypatch.setattr(processor._consumer, "poll", noted)
        assert processor.run_to_end() == 100
    assert max(two - one for one, two in pairwise(polls)) <= 10.0
    (line,) = caplog.messages
    assert "takes 8.00 s for 8 records; max_records=100" in line
    assert "max_poll_interval=20.0 s" in line
    assert invoices(log) == list(range(100))


def test_a_transaction_that_turns_out_slow_ends_early(log, one, monkeypatch):
    """The processor commits the records that it has worked on in half of the interval; the rest come again."""
    held = hold_time(monkeypatch)
    with log.processor("orders", function=bill, group="billing", max_poll_interval=20.0) as processor:
        processor.run_to_end()
        one.append_many(range(10, 18), keys=["x"] * 8)

        def slow(tx, record):
            held.now_s += 4.0
            bill(tx, record)

        processor._worker.function = slow
        assert processor._worker.process(0.0) == 3
        assert committed(log) == [13]
        assert processor.run_to_end() == 5
    assert invoices(log) == list(range(18))


def test_a_record_that_alone_is_too_slow_is_a_failure(log, one, monkeypatch):
    """Its partition is another's each time; the error names the time, the interval and the options."""
    held = hold_time(monkeypatch)
    given: list[Exception] = []

    def function(tx, record):
        bill(tx, record)
        if record.value == 3:
            held.now_s += 40.0
            with log.consumer("orders", group="billing", session_timeout=0.1):
                pass  # removes the silent member

    with log.processor(
        "orders",
        function=function,
        group="billing",
        max_poll_interval=20.0,
        attempts=2,
        retry_pause=0.0,
        on_failure=lambda _tx, _record, error: given.append(error),
    ) as processor:
        processor.run_to_end()
    (error,) = given
    assert isinstance(error, eventlog.MemberFenced)
    assert "The last poll() was 40 s ago; max_poll_interval is 20 s." in error.what
    assert "max_poll_interval=" in error.advice
    assert "max_records=" in error.advice
    assert invoices(log) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_a_member_that_was_too_slow_is_told_so(log, one, monkeypatch):
    """In the error of its commit, by hand and in a transaction; not when something else took its partitions."""
    held = hold_time(monkeypatch)
    for how in ("commit", "transaction"):
        with log.consumer("orders", group=how, max_poll_interval=20.0) as consumer:
            consumer.poll()
            held.now_s += 33.5
            with log.consumer("orders", group=how):
                commit = consumer.commit if how == "commit" else log.transaction(consumer).commit
                with pytest.raises(eventlog.MemberFenced, match=r"33\.5 s ago; max_poll_interval is 20 s") as raised:
                    commit()
            assert "max_poll_records=" in raised.value.advice
    with log.consumer("orders", group="reset", max_poll_interval=20.0) as consumer:
        consumer.poll()
        log.groups.reset_offsets("reset", to=0, topics=["orders"], force=True)
        with pytest.raises(eventlog.MemberFenced) as raised:
            consumer.commit()
        assert "max_poll_interval" not in str(raised.value)


def test_a_member_that_commits_by_itself_is_told_once_in_the_log(log, one, monkeypatch, caplog):
    """It gets no error, and would do the same work again and again without a trace."""
    held = hold_time(monkeypatch)
    with (
        caplog.at_level(logging.WARNING, "eventlog"),
        log.consumer("orders", group="g", max_poll_interval=20.0) as consumer,
    ):
        for _ in range(3):
            consumer.poll()
            held.now_s += 33.5
            with log.consumer("orders", group="g"):
                consumer.poll()
    (line,) = [record.getMessage() for record in caplog.records if record.event == "silent"]
    assert "lost its partitions: it called poll() after 33.5 s, and max_poll_interval is 20 s." in line
    assert "max_poll_records=" in line


# --- records that cannot be read, or are gone ------------------------------------------------------------------------


def _with_bad_numbers(_: bytes) -> bytes:
    (batch,) = BatchEncoder().encode([b"k"] * 4, [b"3", b"{", b"[", b"5"], timestamps_ms=0)
    return seal(batch, largest_so_far_ms=0, log_position=3)


@pytest.mark.parametrize("attempts", [1, 3])
def test_records_that_cannot_be_decoded_go_to_on_failure_in_bytes(log, attempts):
    """At once, for another try would be no better; in one commit with the offset."""
    topic = log.topic("orders", key=str, value="json")
    out, dead = log.topic("invoices", value="json"), log.topic("dead")
    topic.append_many([0, 1, 2], keys=["k"] * 3)
    topic.append_many([3, 4, 8, 5], keys=["k"] * 4)
    rewrite_batch(topic, 6, _with_bad_numbers)
    errors: list[Exception] = []

    def bury(tx, record, error):
        errors.append(error)
        tx.send(dead, record.value, key=record.key)

    with log.processor(
        "orders",
        function=lambda tx, record: tx.send(out, record.value),
        group="g",
        attempts=attempts,
        on_failure=bury,
    ) as processor:
        assert processor.run_to_end() == 7
    assert values(out.read()) == [0, 1, 2, 3, 5]
    assert [(record.key, record.value) for record in dead.read()] == [(b"k", b"{"), (b"k", b"[")]
    assert [type(error) for error in errors] == [eventlog.DecodeError] * 2
    assert [error.offset for error in errors] == [4, 5]
    assert committed(log, "g") == [7]


def test_without_on_failure_the_advice_is_what_a_processor_can_do(log):
    """It has no `seek()`."""
    topic = log.topic("orders", key=str, value="json")
    topic.append_many([3, 4, 8, 5], keys=["k"] * 4)
    rewrite_batch(topic, 3, _with_bad_numbers)
    with log.processor("orders", function=lambda *_: None, group="g") as processor:
        with pytest.raises(eventlog.DecodeError) as raised:
            processor.run_to_end()
    assert "on_failure=" in raised.value.advice
    assert "seek" not in str(raised.value)


@pytest.mark.parametrize("option", ["raise", "earliest", "latest"])
def test_offsets_that_are_gone(log, one, option):
    """A processor has the option that a consumer has."""
    with log.processor("orders", function=bill, group="billing") as processor:
        processor.run_to_end()
    one.append_many(range(10, 15), keys=["x"] * 5)
    one.delete_records({0: 13})
    with log.processor("orders", function=bill, group="billing", on_out_of_range=option) as processor:
        if option == "raise":
            with pytest.raises(eventlog.OffsetOutOfRange, match=r"on_out_of_range=") as raised:
                processor.run_to_end()
            assert "seek" not in str(raised.value)
            return
        processor.run_to_end()
        one.append(99, key="x")
        processor.run_to_end()
    assert invoices(log) == [*range(10), *([13, 14] if option == "earliest" else []), 99]
