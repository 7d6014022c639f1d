"""Producers with a name: fenced by the next one, and what a failed commit left open is stored once."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import lmdb
import pytest

import eventlog
from eventlog.batches.format import NO_PRODUCER, read_header
from eventlog.store.lmdb.environment import BATCHES
from tests.clients.helpers import in_threads, values

NAME = "importer-1"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is committed but by a flush: else a slow machine commits between two calls of a test."""
    monkeypatch.setattr("eventlog.clients.producer.accumulator._BUSY_SECONDS", 3600.0)


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


def shut(log: eventlog.EventLog) -> None:
    """Closes a log that has failed."""
    with contextlib.suppress(eventlog.DeliveryError):
        log.close()


def unconfirmed_of(path, numbers, *, is_stored: bool, send: Callable[..., object] | None = None, **options):
    """What a producer of a new log leaves unconfirmed, in one commit."""
    log = eventlog.open(path)
    topic = log.topic("orders", value=int, **options)
    producer = log.producer(name=NAME, linger=3600.0)
    with failing(log, is_stored=is_stored):
        for number in numbers:
            if send is None:
                producer.send(topic, number)
            else:
                send(producer, topic, number)
        rest = producer.unconfirmed()
    log.close()
    assert rest
    return rest


def stored_headers(log: eventlog.EventLog) -> list:
    """The headers of all stored batches."""
    environment = log._store.environment
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        return [read_header(value, "a batch") for _, value in cursor]


# -- names -------------------------------------------------------------------------------------------------------------


def test_without_a_name_batches_say_of_no_producer(log):
    """And nothing can be sent again."""
    topic = log.topic("orders")
    with log.producer() as producer:
        assert producer.name is None
        producer.send(topic, b"tea").result()
        with pytest.raises(ValueError, match="needs a producer with a name"):
            producer.unconfirmed()
        with pytest.raises(ValueError, match="needs a producer with a name"):
            producer.resend(None)
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
    assert len(old.unconfirmed()) == 0
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


# -- sending again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize("count", [1, 3, 20_000])
def test_after_a_failed_commit_each_record_is_stored_once(path, is_stored, count):
    """Whether the failure came before or after LMDB had stored it: nobody can tell, and nobody needs to."""
    log = eventlog.open(path)
    topic = log.topic("orders", value=int)
    producer = log.producer(name=NAME, linger=3600.0, max_buffered_bytes=1 << 30)
    producer.send(topic, -1).result()
    with failing(log, is_stored=is_stored):
        deliveries = []
        with contextlib.suppress(eventlog.StorageError):
            for n in range(count):
                deliveries.append(producer.send(topic, n))  # noqa: PERF401 - those before the error count
        assert isinstance(deliveries[0].exception(), eventlog.StorageError)
    count = len(deliveries)
    rest = producer.unconfirmed()
    assert len(rest) == len(deliveries)
    with pytest.raises(eventlog.StorageError):
        producer.send(topic, -2)
    log.close()  # says nothing of what was handed over

    with eventlog.open(path) as log, log.producer(name=NAME) as producer:
        again = producer.resend(rest)
        after = producer.send("orders", count)
        assert [delivery.result().offset for delivery in again] == list(range(1, count + 1))
        assert [delivery.result().position for delivery in again] == list(range(1, count + 1))
        assert after.result().offset == count + 1
        assert values(log.topic("orders", value=int).read()) == list(range(-1, count + 1))
        assert log.verify().is_sound


def test_what_was_sent_after_the_failure_is_sent_again_too(path):
    """Batches that no commit ever saw keep their order behind those of the failed one."""
    log = eventlog.open(path)
    topic = log.topic("orders", partitions=2, value=int)
    producer = log.producer(name=NAME, linger=3600.0)
    with failing(log, is_stored=True):
        for n in range(10):
            producer.send(topic, n, partition=n % 2)
        with pytest.raises(eventlog.DeliveryError, match=r"Some may be stored: give unconfirmed\(\) to resend"):
            producer.flush()
    with pytest.raises(eventlog.StorageError, match="takes no records"):
        producer.send(topic, 10, partition=0)
    shut(log)
    rest = producer.unconfirmed()
    assert repr(rest) == "<UnconfirmedRecords of 'importer-1': 10>"

    with eventlog.open(path) as log, log.producer(name=NAME) as producer:
        producer.resend(pickle.loads(pickle.dumps(rest)))
        producer.flush()
        topic = log.topic("orders", value=int)
        assert values(topic.read(0)) == [0, 2, 4, 6, 8]
        assert values(topic.read(1)) == [1, 3, 5, 7, 9]


def test_an_open_batch_is_among_what_is_unconfirmed(path):
    """Records in memory when the log failed are not lost."""
    log = eventlog.open(path)
    topic = log.topic("orders", partitions=2, value=int)
    producer = log.producer(name=NAME, linger=3600.0)
    failed = producer.send(topic, 0, partition=0)
    open_one = producer.send(topic, 1, partition=1)
    with failing(log, is_stored=False):
        failed._batch().settle(None)
    assert not open_one.done()
    rest = producer.unconfirmed()
    assert len(rest) == 2
    assert isinstance(open_one.exception(), eventlog.StorageError)
    shut(log)
    with eventlog.open(path) as log, log.producer(name=NAME) as producer:
        assert [delivery.result().partition for delivery in producer.resend(rest)] == [0, 1]


@pytest.mark.parametrize("is_stored", [False, True])
def test_sending_again_twice_stores_once(path, is_stored):
    """Also by another producer still, and after the log has gone on."""
    rest = unconfirmed_of(path, range(5), is_stored=is_stored)
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        for number in range(3):
            with log.producer(name=NAME) as producer:
                first = producer.resend(rest)
                second = producer.resend(rest)
                assert [one.result().offset for one in first + second] == [0, 1, 2, 3, 4] * 2
                producer.send(topic, 100 + number)
        assert values(topic.read()) == [0, 1, 2, 3, 4, 100, 101, 102]


@pytest.mark.parametrize("is_stored", [False, True])
def test_new_records_sent_before_are_no_harm(path, is_stored):
    """Numbers are an epoch's own: those of new records are never taken for those sent again."""
    rest = unconfirmed_of(path, range(5), is_stored=is_stored)
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        with log.producer(name=NAME) as producer:
            producer.send_many(topic, range(10, 15))
            producer.resend(rest)
        expected = [0, 1, 2, 3, 4, 10, 11, 12, 13, 14] if is_stored else [10, 11, 12, 13, 14, 0, 1, 2, 3, 4]
        assert values(topic.read()) == expected


@pytest.mark.parametrize("first_stored", [False, True])
@pytest.mark.parametrize("then_stored", [False, True])
def test_sending_again_may_fail_again(path, first_stored, then_stored):
    """What is unconfirmed then has the older records and the newer ones, each under its own epoch."""
    rest = unconfirmed_of(path, range(5), is_stored=first_stored)
    log = eventlog.open(path)
    producer = log.producer(name=NAME, linger=3600.0)
    with failing(log, is_stored=then_stored):
        producer.resend(rest)
        producer.send_many(log.topic("orders", value=int), range(5, 10))
        with pytest.raises(eventlog.DeliveryError):
            producer.flush()
    both = producer.unconfirmed()
    assert len(both) == 10
    log.close()
    for records in (both, rest, both):
        with eventlog.open(path) as log, log.producer(name=NAME) as producer:
            producer.resend(records)
    with eventlog.open(path) as log:
        assert values(log.topic("orders", value=int).read()) == list(range(10))


def test_the_same_producer_can_not_send_again(path):
    """It knows no more than before; a later one does."""
    log = eventlog.open(path)
    topic = log.topic("orders")
    producer = log.producer(name=NAME, linger=3600.0)
    with failing(log, is_stored=False):
        assert producer.send(topic, b"tea").exception() is not None
    with pytest.raises(eventlog.OutOfOrderSequence, match="no later one"):
        producer.resend(producer.unconfirmed())
    shut(log)


def test_records_of_another_name_or_log_are_refused(path, log):
    """Before any effect."""
    rest = unconfirmed_of(path, range(5), is_stored=False)
    with log.producer(name=NAME) as producer, pytest.raises(ValueError, match="another name or of another log"):
        producer.resend(rest)
    with eventlog.open(path) as log, log.producer(name="other") as producer:
        with pytest.raises(ValueError, match="another name or of another log"):
            producer.resend(rest)
        with pytest.raises(TypeError, match="not list"):
            producer.resend([])


def test_a_log_that_lost_what_was_acknowledged_takes_nothing_more(path, tmp_path):
    """A restored backup: to store the rest would leave a hole that nobody sees."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        for _ in range(3):
            log.producer(name=NAME).close()
        log.compact(tmp_path / "backup")
        producer = log.producer(name=NAME, linger=3600.0)
        producer.send(topic, 0).result()
        with failing(log, is_stored=True):
            producer.send(topic, 1)
            rest = producer.unconfirmed()
    with eventlog.open(tmp_path / "backup") as log:
        with log.producer(name=NAME) as producer, pytest.raises(eventlog.OutOfOrderSequence, match="backup"):
            producer.resend(rest)
        with log.producer(name=NAME) as producer:
            [delivery] = producer.resend(rest)
            assert isinstance(delivery.exception(), eventlog.OutOfOrderSequence)
        assert values(log.topic("orders", value=int).read()) == []


def test_what_is_too_old_to_be_told_is_refused(path):
    """After five newer epochs nobody knows, and says so."""
    rest = unconfirmed_of(path, range(5), is_stored=False)
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        for number in range(6):
            with log.producer(name=NAME) as producer:
                producer.send(topic, number)
        with log.producer(name=NAME) as producer:
            errors = [delivery.exception() for delivery in producer.resend(rest)]
            assert {type(error) for error in errors} == {eventlog.OutOfOrderSequence}
            assert "5 newer epochs" in str(errors[0])
        assert values(topic.read()) == list(range(6))


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
    assert isinstance(second[0].exception(), eventlog.StorageError)
    log.topic("other")  # the log goes on
    with pytest.raises(eventlog.StorageError, match=r"takes no records, since.*too many readers"):
        producer.send(topic, 2)
    rest = producer.unconfirmed()
    producer.close()
    with log.producer(name=NAME) as producer:
        producer.resend(rest)
        producer.send(topic, 2)
    assert values(topic.read()) == [0, 1, 2]


# -- together with the rest --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stored", [False, True])
def test_keys_headers_times_and_tombstones_come_again(path, is_stored):
    """All of a record, byte for byte."""

    def send(producer, topic, number):
        value = None if number == 3 else number
        producer.send(topic, value, key=str(number), headers={"n": str(number)}, timestamp_ms=1000 * number)

    rest = unconfirmed_of(path, range(5), is_stored=is_stored, send=send, key=str)
    with eventlog.open(path) as log, log.producer(name=NAME) as producer:
        metadata = [delivery.result() for delivery in producer.resend(rest)]
        records = list(log.topic("orders", key=str, value=int).read())
    assert [one.timestamp_ms for one in metadata] == [0, 1000, 2000, 3000, 4000]
    assert [(one.key, one.value, one.headers, one.timestamp_ms) for one in records] == [
        (str(n), None if n == 3 else n, (("n", str(n).encode()),), 1000 * n) for n in range(5)
    ]


@pytest.mark.parametrize("is_stored", [False, True])
def test_records_of_an_indexed_topic_have_their_versions(path, is_stored):
    """Those that they got when they were stored."""

    def send(producer, topic, number):
        producer.send(topic, number, key="ab"[number % 2])

    rest = unconfirmed_of(path, range(6), is_stored=is_stored, send=send, key=str, index="key")
    with eventlog.open(path) as log, log.producer(name=NAME) as producer:
        topic = log.topic("orders", key=str, value=int, index="key")
        again = producer.resend(rest)
        later = producer.send(topic, 6, key="a")
        assert [one.result().version for one in again] == [1, 1, 2, 2, 3, 3]
        assert later.result().version == 4
        assert [event.value for event in topic.history("a")] == [0, 2, 4, 6]
        assert [event.value for event in topic.history("b")] == [1, 3, 5]


@pytest.mark.parametrize("is_stored", [False, True])
def test_records_known_by_their_message_ids_are_left_out(path, is_stored):
    """The numbers of those between them still say which is which."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        for number in (1, 3):
            topic.append(number, message_id=f"id-{number}")

    def send(producer, topic, number):
        producer.send(topic, number, message_id=None if number in (0, 4, 5) else f"id-{number}")

    rest = unconfirmed_of(path, range(6), is_stored=is_stored, send=send)
    with eventlog.open(path) as log, log.producer(name=NAME) as producer:
        for _ in range(2):
            offsets = [one.result().offset for one in producer.resend(rest)]
            assert offsets == [2, 0, 3, 1, 4, 5]
        assert values(log.topic("orders", value=int).read()) == [1, 3, 0, 2, 4, 5]


def test_a_record_refused_for_its_own_sake_is_not_unconfirmed(log):
    """It is not stored for certain, and the batches after it go on."""
    topic = log.topic("orders", value=int)
    with log.producer(name=NAME, linger=3600.0) as producer:
        producer.send(topic, 1, message_id="a").result()
        assert isinstance(producer.send(topic, 2, message_id="a").exception(), eventlog.MessageIdReused)
        assert len(producer.unconfirmed()) == 0
        assert producer.send(topic, 3).result().offset == 1
    assert [header.producer[2] for header in stored_headers(log)] == [0, 2]


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_topic_that_got_partitions_takes_them_where_they_were(path, is_stored):
    """A retry is not placed anew."""
    rest = unconfirmed_of(
        path, range(8), is_stored=is_stored, send=lambda one, topic, n: one.send(topic, n, key=str(n)), key=str
    )
    with eventlog.open(path) as log, log.producer(name=NAME) as producer:
        topic = log.topic("orders", key=str, value=int)
        topic.create_partitions(4)
        assert [one.result().partition for one in producer.resend(rest)] == [0] * 8
        producer.send(topic, 8, partition=3)
        producer.flush()
        assert values(topic.read(0)) == list(range(8))


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_records_of_a_deleted_topic_fail(path, is_made_anew):
    """Those of the other topics are stored; a new topic of the name is another."""
    with eventlog.open(path) as log:
        topics = [log.topic(name) for name in ("orders", "returns")]
        producer = log.producer(name=NAME, linger=3600.0)
        with failing(log, is_stored=True):
            for topic in topics:
                producer.send(topic, b"tea")
            rest = producer.unconfirmed()
    with eventlog.open(path) as log, log.producer(name=NAME) as producer:
        log.delete_topic("orders")
        if is_made_anew:
            log.topic("orders")
        gone, kept = producer.resend(rest)
        assert isinstance(gone.exception(), eventlog.UnknownTopic)
        assert kept.result().offset == 0
        assert producer.send(log.topic("orders"), b"new").result().offset == 0


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
                assert len(producer.unconfirmed()) == 0
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
