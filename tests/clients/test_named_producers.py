"""Producers with a name: fenced by the next one, and ended by a commit that failed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import lmdb
import pytest

import eventlog
from eventlog.backend.records import PartitionRecords, Rows
from eventlog.batches.format import BatchEncoder
from eventlog.batches.header import NO_PRODUCER, read_header
from eventlog.store.lmdb.environment import BATCHES
from tests.clients.helpers import in_threads, values

NAME = "importer-1"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is committed but by a flush: else a slow machine commits between two calls of a test."""
    monkeypatch.setattr("eventlog.clients.producer.backlog._BUSY_SECONDS", 3600.0)


@contextmanager
def failing(log: eventlog.EventLog, *, is_stored: bool) -> Iterator[None]:
    """The disk fails in a commit: before LMDB has stored it, or after."""
    environment = log._store.environment
    commit = environment.commit

    def fail(transaction):
        if is_stored:
            transaction.commit()
        raise environment.fail(lmdb.Error("Input/output error"))

    environment.commit = fail
    try:
        yield
    finally:
        environment.commit = commit


def stored_headers(log: eventlog.EventLog) -> list:
    """The headers of all stored batches."""
    environment = log._store.environment
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        return [read_header(value, "a batch") for _, value in cursor]


# -- names -------------------------------------------------------------------------------------------------------------


def test_without_a_name_batches_say_of_no_producer(log):
    """Nothing is numbered."""
    topic = log.topic("orders")
    with log.producer() as producer:
        assert producer.name is None
        producer.send(topic, b"tea").result()
    assert [header.producer for header in stored_headers(log)] == [NO_PRODUCER]


def test_batches_carry_id_epoch_and_sequence(log):
    """The id is the name's, the epoch rises, and each partition of an epoch is counted from 0."""
    topic = log.topic("orders", partitions=2)
    for _ in range(2):
        with log.producer(name=NAME) as producer:
            for values_, partition in (("ab", 0), ("c", 0), ("d", 1)):
                for value in values_:
                    producer.send(topic, value.encode(), partition=partition)
                producer.flush()
    with log.producer(name="other") as other:
        other.send(topic, b"x", partition=0)
    marks = [header.producer for header in stored_headers(log)]
    assert marks == [(1, 0, 0), (1, 0, 2), (1, 1, 0), (1, 1, 2), (2, 0, 0), (1, 0, 0), (1, 1, 0)]


@pytest.mark.parametrize(
    ("name", "error"), [("", ValueError), ("a\n", ValueError), ("x" * 250, ValueError), (5, TypeError)]
)
def test_a_name_that_is_none_makes_no_producer(log, name, error):
    """The rule is that of a group's name."""
    with pytest.raises(error, match="producer"):
        log.producer(name=name)


def test_a_bad_option_fences_nobody(log):
    """It fails before any effect."""
    topic = log.topic("orders")
    with log.producer(name=NAME) as producer:
        with pytest.raises(ValueError, match="linger"):
            log.producer(name=NAME, linger=-1)
        producer.send(topic, b"tea").result()


# -- fencing -----------------------------------------------------------------------------------------------------------


def test_an_older_producer_of_the_name_is_fenced(log):
    """What it still had is not stored, and it takes nothing more."""
    topic = log.topic("orders")
    old = log.producer(name=NAME, linger=3600.0)
    assert old.send(topic, b"0").result().offset == 0
    waiting = old.send(topic, b"lost")
    new = log.producer(name=NAME)
    assert new.send(topic, b"1").result().offset == 1
    assert isinstance(waiting.exception(), eventlog.ProducerFenced)
    with pytest.raises(eventlog.ProducerFenced, match=r"epoch 0.*newer one"):
        old.send(topic, b"lost too")
    old.close()
    new.close()
    assert values(topic.read()) == [b"0", b"1"]


def test_a_fenced_producer_tells_of_it_when_closed(log):
    """Nothing is lost in silence."""
    old = log.producer(name=NAME, linger=3600.0)
    old.send(log.topic("orders"), b"lost")
    log.producer(name=NAME)
    with pytest.raises(eventlog.DeliveryError) as caught:
        old.close()
    assert isinstance(caught.value.__cause__, eventlog.ProducerFenced)


_CHILD = """
import sys
import eventlog

with eventlog.open(sys.argv[1]) as log, log.producer(name="importer-1") as producer:
    producer.send("orders", b"child").result()
"""


def test_a_producer_of_another_process_fences_too(disk_log, path):
    """The name is the log's, not the process's."""
    topic = disk_log.topic("orders")
    with disk_log.producer(name=NAME) as producer:
        producer.send(topic, b"parent").result()
        subprocess.run([sys.executable, "-c", _CHILD, str(path)], check=True, timeout=60)
        assert isinstance(producer.send(topic, b"lost").exception(), eventlog.ProducerFenced)
    assert values(topic.read()) == [b"parent", b"child"]


def test_producers_of_other_names_are_left_alone(log):
    """Each name has its own epochs."""
    topic = log.topic("orders")
    with log.producer(name="a") as one, log.producer(name="b") as two, log.producer() as three:
        for producer in (one, two, three):
            producer.send(topic, b"x").result()
    assert topic.bounds() == {0: (0, 3)}


def test_one_of_many_producers_made_at_once_is_left(log):
    """The newest, whichever that is."""
    topic = log.topic("orders")
    producers = in_threads(*[lambda: log.producer(name=NAME)] * 8)
    errors = [producer.send(topic, b"x").exception() for producer in producers]
    assert errors.count(None) == 1
    assert topic.bounds() == {0: (0, 1)}


# -- after a failure ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stored", [False, True])
def test_after_a_failed_commit_a_message_id_stores_each_record_once(path, is_stored):
    """Whether the failure came before or after LMDB had stored it: nobody can tell, and nobody needs to."""
    log = eventlog.open(path)
    topic = log.topic("orders", value=int)
    producer = log.producer(name=NAME, linger=3600.0)
    with failing(log, is_stored=is_stored):
        failed = [producer.send(topic, n, message_id=f"id-{n}") for n in range(5)]
        with pytest.raises(eventlog.DeliveryError, match=r"may be stored all the same.*message_id="):
            producer.flush()
    with pytest.raises(eventlog.StorageError):
        producer.send(topic, 5)
    assert {type(delivery.exception()) for delivery in failed} == {eventlog.StorageError}
    log.close()

    with eventlog.open(path) as log, log.producer(name=NAME) as producer:
        again = [producer.send("orders", n, message_id=f"id-{n}") for n in range(5)]
        assert [delivery.result().offset for delivery in again] == [0, 1, 2, 3, 4]
        assert values(log.topic("orders", value=int).read()) == [0, 1, 2, 3, 4]
        assert log.verify().is_sound


def test_one_failure_stops_the_producer_even_if_the_log_goes_on(log):
    """Else later records would be stored before those that failed."""
    topic = log.topic("orders", value=int)
    environment = log._store.environment
    producer = log.producer(name=NAME, linger=3600.0)
    begin = environment.begin_writing

    second = []

    def fail():
        second.append(producer.send(topic, 1))  # while the first is being stored
        raise eventlog.StorageError("too many readers")

    first = producer.send(topic, 0)
    environment.begin_writing = fail
    assert first.exception() is not None
    environment.begin_writing = begin
    error = second[0].exception()
    assert isinstance(error, eventlog.OutOfOrderSequence)
    assert re.search(r"records 1 to 1 of epoch 0 for orders\[0\]: .* end at 0.*message_id=", str(error))
    log.topic("other")  # the log goes on
    with pytest.raises(eventlog.OutOfOrderSequence, match=r"takes no records, since.*records 1 to 1"):
        producer.send(topic, 2)
    producer.close()
    with log.producer(name=NAME) as producer:
        producer.send_many(topic, [0, 1, 2])
    assert values(topic.read()) == [0, 1, 2]


def test_a_restored_log_takes_nothing_behind_what_it_has_lost(path, tmp_path):
    """A batch that comes to a copy from before its predecessor would leave a hole that nobody sees."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        producer = log.producer(name=NAME, linger=3600.0)
        log.compact(tmp_path / "backup")
        producer.send(topic, 0).result()
        producer.flush()
        stamp = producer._accumulator._producer.stamp(1, 1)
    with eventlog.open(tmp_path / "backup") as log:
        topic = log.topic("orders", value=int)
        rows = Rows([None], [b"1"], 7)
        batches = BatchEncoder().encode(None, rows.values, timestamps_ms=7)
        pending = log._store.prepare_append(
            PartitionRecords(topic._route.row, 0, batches, rows, stamp=stamp), lambda: None
        )
        log._store.submit(pending)
        assert log._store.wait(pending, 10.0)
        assert isinstance(pending.error, eventlog.OutOfOrderSequence)
        assert "backup" in str(pending.error)


# -- together with the rest --------------------------------------------------------------------------------------------


def test_a_record_refused_for_its_own_sake_leaves_no_hole(log):
    """Its number is used up, and the batches after it go on."""
    topic = log.topic("orders", value=int)
    with log.producer(name=NAME, linger=3600.0) as producer:
        producer.send(topic, 1, message_id="a").result()
        assert isinstance(producer.send(topic, 2, message_id="a").exception(), eventlog.MessageIdReused)
        assert producer.send(topic, 3).result().offset == 1
    assert [header.producer[2] for header in stored_headers(log)] == [0, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_can_not_use_it(disk_log):
    """Its records are the parent's; a new producer of the name in the child would fence the parent."""
    topic = disk_log.topic("orders")
    with disk_log.producer(name=NAME, linger=3600.0) as producer:
        waiting = producer.send(topic, b"parent")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with pytest.raises(eventlog.UsedAfterFork):
                    producer.send(topic, b"child")
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert waiting.result().offset == 0
    assert values(topic.read()) == [b"parent"]


def test_a_growing_map_numbers_nothing_twice(path):
    """A round that is taken back and done again is one attempt."""
    with eventlog.open(path, map_size=1 << 20) as log:
        topic = log.topic("orders")
        with log.producer(name=NAME) as producer:
            for n in range(300):
                producer.send(topic, n.to_bytes(2, "big") * 5000)
        assert topic.bounds() == {0: (0, 300)}
        assert [int.from_bytes(one.value[:2], "big") for one in topic.read()] == list(range(300))
        sequence = 0
        for header in stored_headers(log):
            assert header.producer == (1, 0, sequence)
            sequence += header.count


def test_threads_that_share_a_named_producer_lose_nothing(log):
    """Numbers are given in the order of the batches."""
    topic = log.topic("orders", partitions=3, value=int)
    with log.producer(name=NAME) as producer:
        in_threads(*[lambda: [producer.send(topic, n, partition=n % 3) for n in range(3000)]] * 4)
    assert len(list(topic.read())) == 12_000
    counts: dict[int, int] = {}
    for header in stored_headers(log):  # partition after partition
        first = header.producer[2]
        assert first in {0, counts.get(first, first)}
        counts[first + header.count] = first + header.count
    assert log.verify().is_sound
