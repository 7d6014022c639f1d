"""How memberships end: a static member that dies twice, a log that closes under its loops, a lease that is over."""

from __future__ import annotations

import threading
import time

import pytest

import eventlog
from tests.clients.helpers import is_held

PATIENCE_SECONDS = 20.0


def polled_until(consumer, is_enough):
    """Polls until something is true."""
    deadline_s = time.monotonic() + PATIENCE_SECONDS
    while not is_enough():
        consumer.poll(timeout=0.05)
        assert time.monotonic() < deadline_s


def test_a_static_member_that_dies_again_is_noticed_again(log):
    """It took its place under another id, and no row but its own told so."""
    log.topic("orders", partitions=4)
    options = {"group": "billing", "session_timeout": 0.5}
    with log.consumer("orders", **options) as other:
        for _ in range(2):
            static = [log.consumer("orders", instance_id="till-1", **options)]
            polled_until(other, lambda: len(other.assignment()) == 2)
            polled_until(static[0], lambda static=static: len(static[0].assignment()) == 2)
            static.clear()  # dropped without close(): to the others it died
        polled_until(other, lambda: len(other.assignment()) == 4)


def test_a_log_that_closes_ends_the_loops_of_its_members(log):
    """In their own threads, without an error, wherever they are."""
    topic = log.topic("orders", partitions=8, key=int)
    errors, consumers, begun = [], [], threading.Barrier(5)

    def work():
        try:
            with log.consumer("orders", group="billing") as consumer:
                consumers.append(consumer)
                begun.wait(PATIENCE_SECONDS)
                for _ in consumer:
                    pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait(PATIENCE_SECONDS)
    deadline_s = time.monotonic() + PATIENCE_SECONDS
    while not all(is_held(consumer._in_use) for consumer in consumers):  # they wait in their loops
        threading.Event().wait(0.001)
        assert time.monotonic() < deadline_s
    topic.append_many([b"x"] * 1000, keys=range(1000))
    log.close()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    assert errors == []


def test_an_unwilling_member_does_not_keep_the_log_open(log):
    """The error comes out, and the other consumers are closed all the same."""
    log.topic("orders", partitions=2).append_many([b"x"] * 4)
    closed = []

    def refuse(partitions):
        raise ZeroDivisionError

    consumers = [log.consumer("orders", group=f"g{number}", on_revoked=refuse) for number in range(2)]
    consumers += [log.consumer("orders", group=f"h{number}", on_revoked=closed.append) for number in range(2)]
    for consumer in consumers:
        consumer.poll()
    with pytest.raises(ZeroDivisionError):
        log.close()
    assert len(closed) == 2
    for consumer in consumers:
        consumer.close()
    assert log.is_closed


def test_close_of_a_member_that_was_removed_says_that_it_lost(log):
    """State that on_revoked would save belongs to another by now."""
    log.topic("orders").append_many([b"x"] * 4)
    told = []
    consumer = log.consumer(
        "orders",
        group="billing",
        on_revoked=lambda tps: told.append("revoked"),
        on_lost=lambda tps: told.append(("lost", *tps)),
    )
    consumer.poll()
    log.groups.reset_offsets("billing", to="earliest", force=True)
    consumer.close()
    assert told == [("lost", ("orders", 0))]
    assert log.groups.describe("billing").offsets[0].committed == 0


def test_a_loop_stops_after_a_fenced_commit(log):
    """What it had at hand belongs to another: nothing of it is handed out any more."""
    log.topic("orders").append_many([b"x"] * 100)
    told, seen = [], []
    with log.consumer("orders", group="billing", auto_commit=False, on_lost=told.append) as consumer:
        for record in consumer:
            seen.append(record.offset)
            if len(seen) == 3:
                log.groups.reset_offsets("billing", to="earliest", force=True)
                with pytest.raises(eventlog.MemberFenced):
                    consumer.commit()
            if len(seen) == 8:
                break
    assert seen == [0, 1, 2, 0, 1, 2, 3, 4]
    assert told == [[("orders", 0)]]


def test_a_loop_stops_where_the_lease_does(log):
    """While it worked on one record, another member got the partitions: the loop hands out nothing of them."""
    log.topic("orders", partitions=2, key=int).append_many([b"x"] * 400, keys=range(400))
    seen, told = [], []
    options = {"group": "billing", "auto_commit": False}
    with (
        log.consumer("orders", max_poll_interval=0.3, on_lost=told.extend, **options) as slow,
        log.consumer("orders", **options) as other,
    ):
        for record in slow:
            seen.append(record)
            if len(seen) == 5:
                polled_until(other, lambda: len(other.assignment()) == 2)
                slow.wakeup()  # the loop ends when it asks for more than it has at hand
        assert len(seen) == 5
        slow.poll()
        assert len(told) == 1  # the other had been given up before
