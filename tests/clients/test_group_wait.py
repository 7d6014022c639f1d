"""`log.groups.wait()`: until a group has committed what is stored at the call."""

from __future__ import annotations

import pickle
import threading

import pytest

import eventlog
from eventlog import TopicPartition
from eventlog.backend.waiting import commits_subject, group_subject, is_quiet
from tests.clients.helpers import in_threads
from tests.clients.members import hold_time


def see_it_wait(log):
    """Returns when somebody waits for a commit."""
    while not any(".fifo" in file.name for file in (log.path / "waiters").iterdir()):
        pass


def test_it_returns_at_once_when_everything_is_committed(log):
    """Nothing is waited for that is done."""
    orders = log.topic("orders", partitions=3)
    orders.append_many([b"tea"] * 9, keys=[b"%d" % number for number in range(9)])
    with log.consumer(orders, group="billing") as consumer:
        assert len(consumer.poll()) == 9
        consumer.commit()
        log.groups.wait("billing", timeout=0.0)
    log.groups.wait("billing", topics=["orders"], timeout=0.0)


def test_it_says_what_is_missing(log):
    """The error has the lag of each partition, and is a `TimeoutError`."""
    orders = log.topic("orders", partitions=2)
    for partition, count in ((0, 2), (1, 5)):
        orders.append_many([b"tea"] * count, partition=partition)
    with log.consumer(group="billing") as consumer:
        consumer.assign([("orders", 0), ("orders", 1)])
        consumer.commit({("orders", 0): 1, ("orders", 1): 5})
    with pytest.raises(TimeoutError, match=r"1 records to commit after 0.0 s \(orders\[0\]: 1\)") as raised:
        log.groups.wait("billing", timeout=0.0)
    error = raised.value
    assert isinstance(error, eventlog.GroupBehind)
    assert (error.lag, error.lags, error.group) == (1, {TopicPartition("orders", 0): 1}, "billing")
    assert pickle.loads(pickle.dumps(error)).lags == error.lags


def test_a_partition_of_its_topic_without_an_offset_counts(log):
    """A group that has committed in one partition has not finished the others."""
    orders = log.topic("orders", partitions=2)
    orders.append_many([b"tea"] * 2, partition=0)
    orders.append_many([b"tea"] * 3, partition=1)
    with log.consumer(group="billing") as consumer:
        consumer.assign([("orders", 0)])
        consumer.commit({("orders", 0): 2})
    with pytest.raises(eventlog.GroupBehind) as raised:
        log.groups.wait("billing", timeout=0.0)
    assert raised.value.lags == {TopicPartition("orders", 1): 3}


def test_a_group_that_is_not_there_yet_is_waited_for(log):
    """A service may still be starting."""
    log.topic("orders").append(b"tea")
    with pytest.raises(eventlog.GroupBehind, match="neither members nor offsets") as raised:
        log.groups.wait("billing", timeout=0.0)
    assert raised.value.lag == 0
    with pytest.raises(eventlog.GroupBehind) as raised:
        log.groups.wait("billing", topics=["orders"], timeout=0.0)
    assert raised.value.lag == 1

    def serve():
        with log.consumer("orders", group="billing", auto_commit=False) as consumer:
            while not consumer.poll(timeout=10.0):
                pass
            consumer.commit()

    in_threads(lambda: log.groups.wait("billing", timeout=10.0), serve)


def test_it_waits_for_what_was_stored_at_the_call_alone(log):
    """Otherwise it would never end while somebody writes."""
    orders = log.topic("orders", value=int)
    orders.append(1)
    consumer = log.consumer(orders, group="billing")
    done = threading.Event()

    def wait():
        log.groups.wait("billing", timeout=10.0)
        done.set()

    def serve():
        see_it_wait(log)
        assert [record.value for record in consumer.poll()] == [1]
        orders.append(2)
        consumer.commit({("orders", 0): 1})
        assert done.wait(10.0)
        consumer.close()

    in_threads(wait, serve)


def test_a_commit_wakes_it(log, monkeypatch):
    """By a notification: the clock stands still, and no look is due."""
    monkeypatch.setattr("eventlog.store.wakeup.waiter.RECHECK_SECONDS", 5.0)
    orders = log.topic("orders")
    orders.append(b"tea")
    consumer = log.consumer(orders, group="billing")
    consumer.poll()
    hold_time(monkeypatch)
    waiting = threading.Thread(target=log.groups.wait, args=["billing"], kwargs={"timeout": 60.0})
    waiting.start()
    see_it_wait(log)
    consumer.commit()
    waiting.join(4.0)
    assert not waiting.is_alive()
    consumer.close()


def test_a_transaction_and_a_reset_wake_it(log):
    """Offsets change in three ways, and each of them counts."""
    orders = log.topic("orders")
    orders.append_many([b"tea"] * 2)

    def process():
        processor = log.processor(orders, function=lambda tx, record: None, group="billing")
        with processor:
            processor.run_to_end(timeout=10.0)

    in_threads(lambda: log.groups.wait("billing", timeout=10.0), process)
    orders.append(b"milk")

    def reset():
        log.groups.reset_offsets("billing", to="latest")

    in_threads(lambda: log.groups.wait("billing", timeout=10.0), reset)


def test_deleted_records_and_topics_are_not_waited_for(log):
    """Nobody can commit them any more."""
    orders, returns = log.topic("orders"), log.topic("returns")
    orders.append_many([b"tea"] * 2)
    returns.append(b"tea")
    with log.consumer(group="billing") as consumer:
        consumer.assign([("orders", 0), ("returns", 0)])
        consumer.commit({("orders", 0): 0, ("returns", 0): 0})

    def delete():
        orders.delete_records({0: 2})
        log.delete_topic("returns")

    in_threads(lambda: log.groups.wait("billing", timeout=10.0), delete)


def test_a_group_that_begins_at_the_end_has_nothing_to_do(log):
    """`start="latest"` stores where a group begins, so what was there before is not waited for."""
    orders = log.topic("orders", partitions=2)
    orders.append_many([b"tea"] * 2, partition=0)
    with log.consumer(orders, group="billing", start="latest") as consumer:
        consumer.poll()
        log.groups.wait("billing", timeout=0.0)


def test_wrong_arguments_are_refused_at_the_call(log):
    """Before anything is waited for."""
    log.topic("orders")
    with pytest.raises(TypeError, match="topics is a list of topics"):
        log.groups.wait("billing", topics="orders")
    with pytest.raises(eventlog.UnknownTopic):
        log.groups.wait("billing", topics=["returns"])
    with pytest.raises(ValueError, match="timeout"):
        log.groups.wait("billing", timeout=-1.0)


def test_a_closed_log_ends_it(log):
    """Else a program could not end."""
    log.topic("orders")
    raised = []

    def wait():
        with pytest.raises(eventlog.LogClosed) as error:
            log.groups.wait("billing")
        raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    see_it_wait(log)
    log.close()
    waiting.join(10.0)
    assert raised


def test_commits_wake_only_those_who_ask_for_them():
    """A reader of everything has nothing to do when a group commits."""
    for group in ("billing", "g", ""):
        assert is_quiet(commits_subject(group))
        assert not is_quiet(group_subject(group))
