"""
Programs with transactions that fork, are interrupted, or share a log.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from typing import Any

import eventlog
from tests.processes.child import hear, say
from tests.processes.fork_scenes import in_a_fork, refusal_of
from tests.processes.interrupt_scenes import interrupted

_MOST_PLACES = 100_000


def count_up(path: str, count: int) -> None:
    """Counts to so many in a state that others count in too, and sends each number."""

    def add(tx: eventlog.Transaction) -> None:
        state = tx.state("count")
        state["n"] = number = state.get("n", 0) + 1
        tx.send("numbers", number)

    with eventlog.open(path) as log:
        log.topic("numbers", value=int)
        say("ready")
        hear()
        for _ in range(count):
            log.transact(add, attempts=1_000_000)
    say("done")


def process_orders(path: str, most: int) -> None:
    """Processes orders until it is told to stop, as a member of a group that others come to and leave."""

    def bill(tx: eventlog.Transaction, record: eventlog.Record[Any, Any]) -> None:
        tx.send("invoices", record.value)
        count = tx.state("count")
        count[record.partition] = count.get(record.partition, 0) + 1

    with eventlog.open(path) as log, log.processor("orders", function=bill, group="g", max_records=most) as processor:
        say("ready")
        ending = threading.Thread(target=lambda: (hear(), processor.stop()), daemon=True)
        ending.start()
        count = processor.run()
    say("done", count)


# --- forks --------------------------------------------------------------------------------------------------------


def forks_with_open_transactions(path: str) -> None:
    """Forks inside a block, inside `transact()` and inside a processor's function: the child stores nothing."""
    log = eventlog.open(path)
    topic = log.topic("orders", value=int)
    topic.append_many(range(5))
    log.topic("invoices", value=int)
    consumer = log.consumer("orders", group="by hand")
    consumer.poll()
    tx = log.transaction()
    delivery = tx.send("invoices", 1)
    called_back: list[int] = []
    delivery.add_done_callback(lambda _: called_back.append(1))
    state = tx.state("totals")
    state["n"] = 1
    tx.commit_offsets(consumer)

    def refused() -> None:
        uses = (
            lambda: tx.send("invoices", 2),
            lambda: state.get("n"),
            lambda: state.put("n", 2),
            lambda: tx.state("totals"),
            tx.commit,
            tx.__enter__,
        )
        for use in uses:
            assert "begun before a fork" in refusal_of(use)
        assert isinstance(delivery.exception(), eventlog.TransactionEnded)
        assert called_back == [], "the callbacks are the parent's"
        tx.abort()
        with log.transaction() as mine:
            mine.send("invoices", 100)
            mine.state("totals")["child"] = 1

    in_a_fork(refused)
    in_a_fork(refused, leave=sys.exit)
    tx.commit()
    assert delivery.result().offset == 2
    assert called_back == [1]

    def block() -> None:
        with contextlib.suppress(eventlog.UsedAfterFork), inside:
            pass
        assert inside.is_ended

    with log.transaction() as inside:
        inside.send("invoices", 3)
        in_a_fork(block)

    def function(tx: eventlog.Transaction, record: eventlog.Record[Any, Any]) -> None:
        tx.send("invoices", 10 + record.value)
        if record.value == 2:
            in_a_fork(lambda: run_in_the_child(tx))

    def run_in_the_child(tx: eventlog.Transaction) -> None:
        for use in (processor.run, processor.run_to_end, lambda: tx.send("invoices", 5)):
            try:
                use()
            except (eventlog.UsedAfterFork, eventlog.ConcurrentUse):
                continue
            raise AssertionError("the parent's processor ran in the child")

    with log.processor("orders", function=function, group="g") as processor:
        assert processor.run_to_end() == 5
        in_a_fork(lambda: None, leave=sys.exit)
    log.close()
    with eventlog.open(path) as log:
        assert [record.value for record in log.topic("invoices").read()] == [100, 100, 1, 3, 10, 11, 12, 13, 14]
        assert dict(log.state("totals").items()) == {"child": 1, "n": 1}
        assert log.verify().is_sound
    say("done")


# --- Ctrl-C -------------------------------------------------------------------------------------------------------


def _is_whole(log: eventlog.EventLog, what: str) -> int:
    """How many transactions are stored, of those that `_fill` makes; each has to be there in all its places."""
    orders = [record.value for record in log.topic("orders").read()]
    audit = [record.value for record in log.topic("audit").read()]
    state = dict(log.state("numbers").items())
    assert orders == audit, what
    assert len(orders) == len(set(orders)), f"{what}: something is stored twice"
    assert sorted(orders) == sorted(state), what
    return len(orders)


def _fill(log: eventlog.EventLog, number: int) -> eventlog.Transaction:
    tx = log.transaction()
    tx.send("orders", number)
    tx.send("audit", number)
    tx.state("numbers")[number] = 1
    return tx


def commits(path: str, seed: str) -> None:
    """Interrupts a commit everywhere: it is stored or not, wholly, and what was not stored is not stored later."""
    with eventlog.open(path) as log:
        log.topic("orders", value=int)
        log.topic("audit", value=int)
        _fill(log, -1).commit()
        for place in range(1, _MOST_PLACES):
            tx = _fill(log, place)
            before = _is_whole(log, f"place {place}")
            after: list[int] = []
            if not interrupted(tx.commit, place, lambda place=place, after=after: after.append(_is_whole(log, "then"))):
                break
            if not after:  # it came in a finalizer, and Python ignored it there
                after.append(_is_whole(log, "then"))
            assert before <= after[0] <= before + 1
            if tx.is_ended:
                try:
                    tx.commit()
                except eventlog.TransactionEnded:
                    pass
                else:
                    raise AssertionError("it was used after its end")
            else:
                tx.abort()
            log.topic("other").append(b"x")  # takes along whatever was left in the queue
            assert _is_whole(log, f"place {place}") == after[0], f"place {place}: it was stored later"
        assert log.verify().is_sound
    say("done", place)


def commits_beside_a_thread(path: str, seed: str) -> None:
    """
    Interrupts commits while another thread commits: those of the other are all stored.

    What of ours is found missing after `seek_to_committed` is done again, and stands there once.
    """
    stop = threading.Event()
    failures: list[BaseException] = []
    acknowledged: list[int] = []
    with eventlog.open(path) as log:
        source = log.topic("source", value=int)
        source.append_many(range(5000))
        log.topic("orders", value=int)
        log.topic("audit", value=int)
        _fill(log, -1).commit()

        def work() -> None:
            try:
                for number in range(1_000_000, 10_000_000):
                    if stop.is_set():
                        return
                    _fill(log, number).commit()
                    acknowledged.append(number)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        chance = random.Random(seed)
        count = 0
        try:
            with log.consumer("source", group="g", max_poll_records=1) as consumer:
                consumer.commit()

                def step() -> None:
                    (record,) = consumer.poll(timeout=5.0)
                    tx = _fill(log, record.value)
                    tx.commit_offsets(consumer)
                    tx.commit()

                def go_back() -> None:
                    consumer.seek_to_committed()

                place = 1
                while place < _MOST_PLACES:
                    if not interrupted(step, place, go_back):
                        break
                    count += 1
                    place += chance.randrange(1, 6)
                    step()
        finally:
            stop.set()
            thread.join(20.0)
        assert failures == []
        assert not thread.is_alive()
        _is_whole(log, "in the end")
        stored = [record.value for record in log.topic("orders").read()]
        ours = [number for number in stored if 0 <= number < 1_000_000]
        assert ours == list(range(len(ours))), "something is there twice, or lost"
        assert set(acknowledged) <= set(stored)
        assert log.verify().is_sound
    say("done", count)


def consumers(path: str, seed: str) -> None:
    """
    Interrupts loops with transactions that were begun with their consumer: at the polls, inside, and at the commits.

    The program goes on with the next poll, without seeking: each record has its effect once.
    """
    chance = random.Random(seed)
    with eventlog.open(path) as log:
        source = log.topic("source", value=int, partitions=2)
        orders = log.topic("orders", value=int)
        with log.consumer("source", group="g", max_poll_records=3) as consumer:
            number, place, count = 0, 1, 0
            held: list[eventlog.Transaction] = []

            def step() -> None:
                held[:] = [log.transaction(consumer)]  # the program holds it still when it goes on
                with held[0] as tx:  # and polls inside: nothing is received that is in no transaction
                    tx.send_many(orders, [record.value for record in consumer.poll()])

            while place < _MOST_PLACES:
                source.append_many([number, number + 1], partition=place % 2)
                number += 2
                if not interrupted(step, place, lambda: [tx.abort() for tx in held]):
                    break
                while log.groups.describe("g").lag:
                    step()
                count += 1
                place += chance.randrange(1, 8)
            while log.groups.describe("g").lag:
                step()
        assert sorted(record.value for record in orders.read()) == list(range(number)), "something is twice, or lost"
        assert log.verify().is_sound
    say("done", count)


def processors(path: str, seed: str) -> None:
    """Interrupts a processor at places all over its polls, its function and its commits; it goes on each time."""
    chance = random.Random(seed)
    with eventlog.open(path) as log:
        orders = log.topic("orders", value=int, partitions=2)
        invoices = log.topic("invoices", value=int)
        orders.append_many(range(4), partition=0)
        number = 4

        def bill(tx: eventlog.Transaction, record: eventlog.Record[Any, Any]) -> None:
            tx.send("invoices", record.value)
            count = tx.state("count")
            count["n"] = count.get("n", 0) + 1

        with log.processor("orders", function=bill, group="g", max_records=3) as processor:
            processor.run_to_end()
            place, count = 1, 0
            while place < _MOST_PLACES:
                orders.append_many([number, number + 1], partition=place % 2)
                number += 2
                if not interrupted(processor.run_to_end, place, processor.run_to_end):
                    break
                processor.run_to_end()
                count += 1
                place += chance.randrange(1, 6)
        values = [record.value for record in invoices.read()]
        assert sorted(values) == list(range(number)), "something is there twice, or lost"
        assert log.state("count")["n"] == number
        assert log.verify().is_sound
    say("done", count)
