"""
The actors of the workload: each does one kind of work on a log, step by step, and claims what is stored.

An actor has a number of its own, its *writer*, and what it writes says so. Its steps come one after the other, in
whatever thread, beside those of other actors. Knows nothing of power cuts.
"""

from __future__ import annotations

import contextlib
import random
from typing import Any

import eventlog
from tests.crash.records import Stamp, value_of
from tests.kafka.transactional import Transactional
from tests.power.claims import Claims

PLAIN, PLAIN_PARTITIONS = "plain", 3
LEFT, RIGHT, LAST = "left", "right", "last"
ACCOUNTS, MOVED, PLACES, COUNTS = "accounts", "moved", "places", "counts"
CROWD = "crowd"
KAFKA = "kafka"


class Actor:
    """One of them."""

    def __init__(self, log: eventlog.EventLog, claims: Claims, writer: int, chance: random.Random) -> None:
        self.log = log
        self.claims = claims
        self.writer = writer
        self.chance = chance
        self.call = 0

    def step(self) -> None:
        """Does a little, and claims it."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends what is open."""

    def values(self, count: int) -> list[bytes]:
        """The values of the present call."""
        return [value_of(Stamp(self.writer, self.call, index, count)) for index in range(count)]


class Appender(Actor):
    """Appends single records; several of them at once share their commits."""

    def step(self) -> None:
        """Appends one record."""
        partition = self.chance.randrange(PLAIN_PARTITIONS)
        stored = self.log.topic(PLAIN, partitions=PLAIN_PARTITIONS).append(*self.values(1), partition=partition)
        self.claims.record(stored, self.writer, self.call)
        self.call += 1


class Columns(Actor):
    """Appends columns: one call, all or nothing."""

    def step(self) -> None:
        """Appends a few records, or many."""
        values = self.values(self.chance.choice((2, 5, 60)))
        keys = [b"%d" % self.chance.randrange(99) for _ in values]
        ranges = self.log.topic(PLAIN, partitions=PLAIN_PARTITIONS).append_many(values, keys=keys)
        self.claims.ranges(ranges, self.writer, self.call)
        self.call += 1


class Sender(Actor):
    """Sends through a producer, now and then through a named one; claims what `flush()` returned for."""

    def __init__(self, log: eventlog.EventLog, claims: Claims, writer: int, chance: random.Random) -> None:
        super().__init__(log, claims, writer, chance)
        name = f"producer-{writer}" if chance.random() < 0.5 else None
        self.producer = log.producer(name=name, linger=0.0005)

    def step(self) -> None:
        """Sends some records and flushes; or waits for one delivery alone."""
        deliveries = []
        for _ in range(self.chance.choice((1, 10, 40))):
            [value] = self.values(1)
            partition = self.chance.randrange(PLAIN_PARTITIONS)
            deliveries.append((self.call, self.producer.send(PLAIN, value, partition=partition)))
            self.call += 1
        if self.chance.random() < 0.3:
            deliveries = deliveries[-1:]
        else:
            self.producer.flush()
        for call, delivery in deliveries:
            self.claims.record(delivery.result(), self.writer, call)

    def close(self) -> None:
        """Closes the producer."""
        self.producer.close()


class Transactor(Actor):
    """Commits transactions over two topics and a state."""

    def step(self) -> None:
        """Commits one."""
        values = self.values(self.chance.choice((2, 3, 20)))
        with self.log.transaction() as tx:
            for value in values[:-1]:
                tx.send(LEFT, value, key=b"%d" % self.chance.randrange(99))
            self.between(tx)
            message_id = f"{self.writer} {self.call}"
            delivery = tx.send(
                RIGHT, values[-1], key=str(self.writer), expected_version=self.call, message_id=message_id
            )
            tx.state(LAST)[str(self.writer)] = [self.call, "x" * self.chance.choice((1, 5_000))]
        stored = delivery.result()
        self.claims.record(stored, self.writer, self.call)
        self.claims.claim("state", LAST, str(self.writer), self.call)
        place = (stored.partition, stored.offset)
        self.claims.claim("message", RIGHT, str(self.writer), message_id, *place, self.writer, self.call, len(values))
        self.call += 1

    def between(self, tx: eventlog.Transaction) -> None:
        """Does nothing; a plant ends the transaction here, in the middle."""


class KafkaTransactor(Actor):
    """Commits or aborts transactions as a client of Kafka's does: records over two partitions, and then an end."""

    def __init__(self, log: eventlog.EventLog, claims: Claims, writer: int, chance: random.Random) -> None:
        super().__init__(log, claims, writer, chance)
        self._producer: Transactional | None = None

    @staticmethod
    def is_committed(call: int) -> bool:
        """Whether a call is one to be committed; the others are aborted."""
        return call % 3 != 2

    def step(self) -> None:
        """Does one."""
        if self._producer is None:
            self._producer = Transactional(self.log, f"writer-{self.writer}", bumps=bool(self.writer % 2))
        values = self.values(self.chance.choice((2, 3, 20)))
        offsets = []
        for index, value in enumerate(values):
            offsets.append((index % 2, self._producer.send(value, topic=KAFKA, partition=index % 2)))
        self._producer.end(is_commit=self.is_committed(self.call))
        if self.is_committed(self.call):
            for partition, offset in offsets:
                self.claims.claim("range", KAFKA, partition, offset, offset + 1, self.writer, self.call)
        self.call += 1


class Accountant(Actor):
    """Appends events with the version they expect, some under a message id, and keeps snapshots."""

    def __init__(self, log: eventlog.EventLog, claims: Claims, writer: int, chance: random.Random) -> None:
        super().__init__(log, claims, writer, chance)
        self.versions = dict.fromkeys((f"{writer}-{number}" for number in range(6)), 0)

    def step(self) -> None:
        """Appends one event or several of one key, or keeps a snapshot, or expects the wrong version."""
        accounts = self.log.topic(ACCOUNTS)
        key = self.chance.choice(list(self.versions))
        version = self.versions[key]
        choice = self.chance.random()
        if choice < 0.2 and version:
            accounts.save_snapshot(key, {"version": version}, version=version)
            self.claims.claim("snapshot", ACCOUNTS, key, version)
        elif choice < 0.3:
            with contextlib.suppress(eventlog.WrongVersion):
                accounts.append(b"never stored", key=key, expected_version=version + 1)
        elif choice < 0.6:
            values = self.values(self.chance.choice((1, 4)))
            ranges = accounts.append_many(values, key=key, expected_version=version)
            self.claims.ranges(ranges, self.writer, self.call)
            self._claim_version(key, len(values))
        else:
            message_id = f"{self.writer} {self.call}"
            stored = accounts.append(*self.values(1), key=key, expected_version=version, message_id=message_id)
            self.claims.record(stored, self.writer, self.call)
            place = (stored.partition, stored.offset)
            self.claims.claim("message", ACCOUNTS, key, message_id, *place, self.writer, self.call, 1)
            self._claim_version(key, 1)

    def _claim_version(self, key: str, count: int) -> None:
        self.versions[key] += count
        self.claims.claim("version", ACCOUNTS, key, self.versions[key])
        self.call += 1


class Mover(Actor):
    """Consumes, transforms and produces exactly once: records, a state and the group's offsets in one commit."""

    def __init__(self, log: eventlog.EventLog, claims: Claims, writer: int, chance: random.Random) -> None:
        super().__init__(log, claims, writer, chance)
        self.group = f"mover-{writer}"
        self.consumer: eventlog.Consumer[Any, Any] = log.consumer(PLAIN, group=self.group, auto_commit=False)

    def step(self) -> None:
        """Moves what one poll hands out."""
        records = self.consumer.poll(max_records=self.chance.choice((3, 25)))
        if not records:
            return
        places = {record.partition: record.offset + 1 for record in records}
        values = self.values(len(records))
        with self.log.transaction() as tx:
            for record, value in zip(records, values, strict=True):
                tx.send(MOVED, value, key=f"{self.group}/{record.partition}")
            for partition, offset in places.items():
                tx.state(PLACES)[f"{self.group}/{partition}"] = [offset]
            tx.commit_offsets(self.consumer)
        for partition, offset in places.items():
            self.claims.claim("offset", self.group, PLAIN, partition, offset)
            self.claims.claim("state", PLACES, f"{self.group}/{partition}", offset)
            self.claims.claim("version", MOVED, f"{self.group}/{partition}", offset)
        self.call += 1

    def close(self) -> None:
        """Leaves the group."""
        self.consumer.close()


class Member(Actor):
    """Joins a group that others are in, reads, commits, and leaves."""

    def __init__(self, log: eventlog.EventLog, claims: Claims, writer: int, chance: random.Random) -> None:
        super().__init__(log, claims, writer, chance)
        self.consumer: eventlog.Consumer[Any, Any] | None = None

    def step(self) -> None:
        """Does one of these."""
        if self.consumer is None:
            instance_id = f"static-{self.writer}" if self.chance.random() < 0.3 else None
            self.consumer = self.log.consumer(PLAIN, group=CROWD, auto_commit=False, instance_id=instance_id)
        elif self.chance.random() < 0.3:
            self.close()
        else:
            self._read(self.consumer)

    def _read(self, consumer: eventlog.Consumer[Any, Any]) -> None:
        consumer.poll(max_records=10)
        places = {partition: consumer.position(partition) for partition in consumer.assignment()}
        try:
            consumer.commit()
        except eventlog.MemberFenced:
            return
        for partition, offset in places.items():
            self.claims.claim("offset", CROWD, partition.topic, partition.partition, offset)

    def close(self) -> None:
        """Leaves the group."""
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            consumer.close()


class Trimmer(Actor):
    """Appends to a topic of its own and deletes its oldest records."""

    def step(self) -> None:
        """Does one of both."""
        topic = self.log.topic(f"trimmed-{self.writer}")
        first, end = topic.bounds()[0]
        if end - first > 30:
            offset = self.chance.randint(first, end)
            self.claims.claim("trimming", topic.name, 0, offset)
            topic.delete_records({0: offset})
            self.claims.claim("first", topic.name, 0, offset)
            return
        ranges = topic.append_many(self.values(12))
        self.claims.ranges(ranges, self.writer, self.call)
        self.call += 1


class Maker(Actor):
    """Makes topics, gives them more partitions, and deletes them."""

    def __init__(self, log: eventlog.EventLog, claims: Claims, writer: int, chance: random.Random) -> None:
        super().__init__(log, claims, writer, chance)
        self.names: list[str] = []

    def step(self) -> None:
        """Does one of these."""
        choice = self.chance.random()
        if choice < 0.6 or not self.names:
            name = f"made-{self.writer}-{self.call}"
            topic = self.log.topic(name, partitions=2, index=self.chance.choice((None, "key")))
            self.claims.claim("topic", name, 2)
            self.claims.record(topic.append(*self.values(1), key=b"a"), self.writer, self.call)
            self.names.append(name)
            self.call += 1
        elif choice < 0.8:
            topic = self.log.topic(self.names[-1])
            topic.create_partitions(topic.partitions + 1)
            self.claims.claim("topic", topic.name, topic.partitions)
        else:
            name = self.names.pop(0)
            self.claims.claim("deleting", name)
            self.log.delete_topic(name)
            self.claims.claim("gone", name)


class Administrator(Actor):
    """Makes groups by setting their offsets, moves them, and deletes them."""

    def step(self) -> None:
        """Does all of it for one group, or leaves it there."""
        name = f"group-{self.writer}-{self.call}"
        self.call += 1
        ends = {partition: end for partition, (_, end) in self.log.topic(PLAIN).bounds().items()}
        offsets = {eventlog.TopicPartition(PLAIN, partition): end // 2 for partition, end in ends.items()}
        for _ in range(2):
            stored = self.log.groups.reset_offsets(name, offsets=offsets)
            for place, offset in stored.items():
                self.claims.claim("offset", name, *place, offset)
            offsets = {eventlog.TopicPartition(PLAIN, partition): end for partition, end in ends.items()}
        if self.chance.random() < 0.5:
            self.claims.claim("deleting group", name)
            self.log.groups.delete(name)
            self.claims.claim("no group", name)


class Folder(Actor):
    """Keeps a projection of the events, and now and then rebuilds it."""

    def step(self) -> None:
        """Catches up, or begins anew."""
        projection = self.log.projection(COUNTS, counted, topics=[ACCOUNTS], key=str, value=int)
        try:
            if self.chance.random() < 0.2:
                projection.rebuild(timeout=5.0)
            else:
                projection.catch_up(timeout=5.0)
            self.claims.claim("projection", COUNTS, projection.log_position)
        except TimeoutError:
            return
        finally:
            projection.close()


def counted(state: Any, record: Any) -> None:
    """Counts the records of each key."""
    state[record.key] = state.get(record.key, 0) + 1


class Syncer(Actor):
    """Forces to the disk what was committed before, by whomever."""

    def step(self) -> None:
        """Calls `sync()`."""
        number = self.writer * 1_000_000 + self.call
        self.call += 1
        self.claims.claim("syncing", number)
        self.log.sync()
        self.claims.claim("sync", number)
