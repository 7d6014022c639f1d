"""
What may not grow with partitions, records or groups, or no faster than they do: counted, since time says little.

How long things take is told by `python -m benchmarks.compare.growth`.
"""

from __future__ import annotations

import random
import threading
from typing import ClassVar

import pytest

import eventlog
from eventlog.clients.consumer.positions import Position, Positions
from eventlog.clients.reading import batch_reader
from eventlog.groups.state import Member
from eventlog.store.groups import reader as group_reader
from eventlog.store.lmdb.environment import ORDER
from eventlog.store.records import reader
from eventlog.store.records.log_order import order_key
from tests.clients.helpers import poll_all
from tests.clients.members import QUIET, owned, settle

COUNT = 300


@pytest.fixture
def topic(log):
    """A topic of many partitions, each with two batches."""
    topic = log.topic("orders", partitions=COUNT, key=int)
    for _ in range(2):
        for number in range(COUNT):
            topic.append(b"x", partition=number)
    return topic


def calls_of(monkeypatch, owner, name):
    """A list that gets an item for each call of a function."""
    calls, function = [], getattr(owner, name)

    def counted(*arguments, **options):
        calls.append(name)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)
    return calls


def test_a_fetch_that_is_full_does_not_look_at_the_other_partitions(log, topic, monkeypatch):
    """And the next one begins behind it: to read all, each is looked at when it has something, and at the end."""
    consumer = log.consumer("orders", fetch_max_bytes=1)
    looks = calls_of(monkeypatch, reader, "_partition_row")
    assert len(poll_all(consumer, 2 * COUNT)) == 2 * COUNT
    assert len(looks) == 2 * COUNT
    assert consumer.poll() == []
    assert len(looks) == 3 * COUNT


def test_partitions_take_turns_however_little_a_fetch_brings(log, topic):
    """One batch at a time, each of them comes once before one comes twice."""
    consumer = log.consumer("orders", fetch_max_bytes=1)
    assert {record.partition for record in poll_all(consumer, COUNT)} == set(range(COUNT))
    assert {record.offset for record in poll_all(consumer, COUNT)} == {1}


def test_a_poll_that_finds_nothing_new_walks_through_no_partitions(log, topic, monkeypatch):
    """Neither to look for what is fetched, nor to note what is finished."""
    consumer = log.consumer("orders")
    poll_all(consumer, 2 * COUNT)
    assert consumer.poll() == []
    asked = calls_of(monkeypatch, Positions, "next_offset")
    has_fetched = Position.has_fetched.fget
    monkeypatch.setattr(
        Position, "has_fetched", property(lambda self: asked.append("has_fetched") or has_fetched(self))
    )
    assert consumer.poll() == []
    assert asked == []


class Pair(tuple):
    """A partition's id that counts how often it is compared with another."""

    __slots__ = ()
    compared: ClassVar[int] = 0

    __hash__ = tuple.__hash__

    def __eq__(self, other: object) -> bool:
        Pair.compared += 1
        return tuple.__eq__(self, other)


def test_giving_up_partitions_compares_each_a_few_times(log, monkeypatch):
    """A list of them to look through would be walked once for each."""

    def unpacked(member_id, data, unpack=group_reader.unpack_member):
        member: Member = unpack(member_id, data)
        pairs = {Pair(pair): epoch for pair, epoch in member.owned.items()}
        return member._replace(owned=pairs, target=frozenset(map(Pair, member.target)))

    monkeypatch.setattr(group_reader, "unpack_member", unpacked)
    count = 400
    topic = log.topic("orders", partitions=count, key=int)
    topic.append_many([b"x"] * count * 4, keys=range(count * 4))
    one = log.consumer("orders", max_poll_records=10_000, **QUIET)
    settle(one)
    two = log.consumer("orders", **QUIET)
    Pair.compared = 0
    one.poll()
    assert len(owned(one)) == count // 2
    assert Pair.compared <= 20 * count
    settle(one, two)
    assert sorted(owned(one) + owned(two)) == list(range(count))


def test_a_commit_elsewhere_has_no_partition_looked_at(log, topic, monkeypatch):
    """A consumer that has seen everything asks the log what was stored since, and not each partition."""
    other = log.topic("payments")
    consumer = log.consumer("orders")
    poll_all(consumer, 2 * COUNT)
    assert consumer.poll() == []
    looks = calls_of(monkeypatch, reader, "_partition_row")
    for _ in range(10):
        other.append(b"x")
        assert consumer.poll() == []
    assert looks == []


def test_a_record_has_its_own_partition_looked_at(log, topic, monkeypatch):
    """However many others the consumer reads, and though there is always something new."""
    consumer = log.consumer("orders")
    poll_all(consumer, 2 * COUNT)
    assert consumer.poll() == []
    looks = calls_of(monkeypatch, reader, "_partition_row")
    for number in range(2 * COUNT):
        topic.append(b"x", partition=number % COUNT)
        [record] = consumer.poll()
        assert record.partition == number % COUNT
    assert len(looks) == 2 * COUNT


class Reading:
    """Does anything to a consumer of many partitions, and knows what it has to be handed."""

    def __init__(self, log, seed):
        self.random = random.Random(seed)
        self.log = log
        self.count = 40
        self.topic = log.topic("orders", partitions=self.count, value=int)
        self.other = log.topic("payments")
        self.consumer = log.consumer("orders", fetch_max_bytes=self.random.choice([1, 300, 1 << 20]))
        self.stored = [0] * self.count
        self.next = [0] * self.count

    def append(self):
        """Stores some records."""
        chosen = self.random.choices(range(self.count), k=self.random.randrange(1, 6))
        with self.log.transaction() as transaction:
            for number in chosen:
                transaction.send(self.topic, self.stored[number], partition=number)
                self.stored[number] += 1

    def append_elsewhere(self):
        """Stores what does not concern the consumer."""
        self.other.append(b"x")

    def poll(self):
        """Everything comes in order, and nothing twice."""
        try:
            records = self.consumer.poll(max_records=self.random.choice([1, 3, 500]))
        except eventlog.OffsetOutOfRange:
            self.rewind()
            return
        for record in records:
            assert record.offset == record.value == self.next[record.partition]
            self.next[record.partition] += 1

    def rewind(self):
        """Goes to the first records that are there."""
        self.consumer.seek_to_beginning()
        self.next = [first for first, _ in self.topic.bounds().values()]

    def pause(self):
        """Pauses some partitions."""
        self.consumer.pause(*self.random.sample(self.consumer.assignment(), 5))

    def resume(self):
        """Resumes some or all."""
        paused = self.consumer.paused()
        self.consumer.resume(*paused[: self.random.randrange(len(paused) + 1)])

    def seek(self):
        """Goes anywhere in one partition."""
        _, number = self.random.choice(self.consumer.assignment())
        first, end = self.topic.bounds()[number]
        self.next[number] = self.random.randrange(first, end + 1)
        self.consumer.seek(("orders", number), self.next[number])

    def delete(self):
        """Deletes what was read, and sometimes what was not."""
        number = self.random.randrange(self.count)
        first, end = self.topic.bounds()[number]
        self.topic.delete_records({number: self.random.randrange(first, end + 1)})

    def grow(self):
        """Makes another partition."""
        self.count += 1
        self.topic.create_partitions(self.count)
        self.stored.append(0)
        self.next.append(0)

    def finish(self):
        """Reads all that is left."""
        self.consumer.resume()
        for _ in range(10_000):
            before = list(self.next)
            self.poll()
            if before == self.next and self.next == self.stored:
                return
        raise AssertionError(f"{self.next} of {self.stored} came")


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_missed_or_repeated_whatever_is_done_to_a_consumer(log, seed):
    """With many partitions, of which it looks at those alone that got something."""
    reading = Reading(log, seed)
    steps = [reading.append] * 6 + [reading.poll] * 8 + [reading.append_elsewhere, reading.pause, reading.resume]
    steps += [reading.resume, reading.seek, reading.delete]
    for number in range(250):
        reading.random.choice(steps)()
        if number % 60 == 59:
            reading.grow()
    reading.finish()


def test_deleted_records_are_never_passed_in_silence(log, topic):
    """Also when they came and went since the consumer looked."""
    consumer = log.consumer("orders")
    poll_all(consumer, 2 * COUNT)
    assert consumer.poll() == []
    topic.append(b"x", partition=7)
    topic.delete_records({7: 3})
    with pytest.raises(eventlog.OffsetOutOfRange):
        consumer.poll()


def test_a_topic_that_is_deleted_is_told(log, topic):
    """Though nothing was stored in it."""
    consumer = log.consumer("orders")
    poll_all(consumer, 2 * COUNT)
    assert consumer.poll() == []
    log.delete_topic("orders")
    with pytest.raises(eventlog.UnknownTopic):
        consumer.poll()


def test_a_damaged_row_of_the_order_stops_no_consumer(log, topic):
    """It asks each partition then, as one of few partitions does."""
    consumer = log.consumer("orders")
    poll_all(consumer, 2 * COUNT)
    assert consumer.poll() == []
    topic.append(b"x", partition=7)
    environment = log._store.environment
    transaction = environment.begin_writing()
    transaction.put(order_key(2 * COUNT), b"damaged", db=environment.table(ORDER))
    environment.commit(transaction)
    assert [record.partition for record in consumer.poll()] == [7]


def test_an_empty_topic_that_is_deleted_is_told(log):
    """No batch was removed with it."""
    log.topic("orders", partitions=COUNT)
    consumer = log.consumer("orders")
    assert consumer.poll() == []
    log.delete_topic("orders")
    with pytest.raises(eventlog.UnknownTopic):
        consumer.poll()


def test_what_a_paused_partition_has_left_comes_when_it_is_resumed(log, topic):
    """Whatever was fetched meanwhile."""
    topic.append_many([b"x"] * 5, partition=3)
    consumer = log.consumer("orders")
    consumer.seek_to_end()
    consumer.seek(("orders", 3), 2)
    assert [record.offset for record in consumer.poll(max_records=2)] == [2, 3]
    consumer.pause(("orders", 3))
    for number in range(4):
        topic.append(b"x", partition=number)
        expected = [] if number == 3 else [number]
        assert [record.partition for record in consumer.poll()] == expected
    consumer.resume()
    assert [record.offset for record in poll_all(consumer, 4)] == [4, 5, 6, 7]


def test_reading_one_record_decodes_one_batch(log, monkeypatch):
    """Wherever it is; and who reads on gets more and more at once."""
    topic = log.topic("orders")
    topic.append_many([b"x" * 1_000] * 2_000)
    decoded = calls_of(monkeypatch, batch_reader, "decode")
    assert next(topic.read(0, start=1_234)).offset == 1_234
    assert len(decoded) == 1
    fetches = calls_of(monkeypatch, reader, "fetch_within")
    assert len(list(topic.read())) == 2_000
    assert len(fetches) <= 7


def test_where_groups_are_listed_their_offsets_are_passed_by(log, monkeypatch):
    """One look for each group, however many partitions it has."""
    topic = log.topic("orders", partitions=50)
    for group in ("a", "b", "a b"):
        log.groups.reset_offsets(group, to="earliest", topics=[topic])
    with log.consumer(topic, group="member"):
        split = calls_of(monkeypatch, group_reader, "name_of_key")
        assert log.groups.list() == ["a", "a b", "b", "member"]
    assert len(split) == 4


def test_where_a_consumer_begins_is_found_in_one_look(log, topic, monkeypatch):
    """And how far it is behind."""
    reads = calls_of(monkeypatch, log._store.environment, "reading")
    consumer = log.consumer("orders")
    few = len(reads)
    assert few < 20
    assert len(consumer.lag()) == COUNT
    assert len(reads) == few + 1


def test_when_to_send_is_told_by_the_oldest_batch_alone(log, topic):
    """The sender asks it every few milliseconds, and senders wait meanwhile."""

    class Walked(dict):
        """Counts the steps that we take through it; the sender's thread looks now and then, too."""

        steps = 0
        walker = threading.get_ident()

        def __iter__(self):
            for key in super().__iter__():
                Walked.steps += threading.get_ident() == self.walker
                yield key

    with log.producer(linger=3600.0) as producer:
        accumulator = producer._accumulator
        for number in range(COUNT):
            producer.send(topic, b"x", partition=number)
        accumulator._open_buffers = Walked(accumulator._open_buffers)
        oldest_s = accumulator.buffers(topic._route.row)[0].batch.opened_s
        assert accumulator.next_deadline() == oldest_s + 3600.0
        assert Walked.steps <= 1
