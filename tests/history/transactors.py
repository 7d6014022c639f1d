"""
What a thread of a worker does in transactions, and as a member of a group; each written down before and after.

A transaction reads rows, appends to some of them, and sends records. Before it may commit, what it read and what it
is to write is written down, for each attempt anew: an element belongs to one attempt.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

import attrs

import eventlog
from tests.history.deeds import ACCOUNTS, DONE, LISTS, ORDERS, ROWS, TEAM, TOPICS, Deeds, runs_of, stored_at, value_of
from tests.history.operations import (
    FAILED,
    OK,
    Advance,
    Put,
    Read,
    Sent,
    Stored,
    Writes,
    key_place,
    offset_place,
    partition_place,
    row_place,
)

ATTEMPTS = 30
SESSION_S = 1.0
_MOST_RECORDS = 25


class Abandoned(Exception):
    """The error of a transaction that must not be stored."""


@attrs.define
class Attempt:
    """The reads and the writes of one attempt of a transaction."""

    prefix: str
    reads: list[Read] = attrs.field(factory=list)
    records: list[Sent] = attrs.field(factory=list)
    puts: list[Put] = attrs.field(factory=list)
    advances: list[Advance] = attrs.field(factory=list)
    deliveries: list[eventlog.Delivery] = attrs.field(factory=list)

    def element(self) -> str:
        """A new one."""
        return f"{self.prefix}.{len(self.records) + len(self.puts)}"

    @property
    def writes(self) -> Writes:
        """All of it."""
        return Writes(tuple(self.records), tuple(self.puts), tuple(self.advances))

    def stored(self) -> list[Stored]:
        """Where the records are, after the commit."""
        return [stored_at(delivery.result()) for delivery in self.deliveries]


class Transactor(Deeds):
    """A thread that makes transactions, too."""

    _pause = threading.Event()
    _finisher: eventlog.Consumer[Any, Any] | None = None
    _group = ""
    _committed: dict[tuple[str, int], int]

    # -- rows and records --------------------------------------------------------------------------------------

    def transact(self) -> None:
        """Reads some rows, appends to some, sends some records; again while others are faster."""
        name = self.recorder.begin("transact")
        numbers = itertools.count(1)
        last: list[Attempt] = []

        def function(tx: eventlog.Transaction) -> None:
            attempt = Attempt(f"{name}.{next(numbers)}")
            last[:] = [attempt]
            self._fill(tx, attempt)
            self.recorder.attempt(name, attempt.writes, attempt.reads)

        try:
            self.log.transact(function, attempts=ATTEMPTS)
        except (eventlog.ConflictError, eventlog.WrongVersion) as error:
            self.recorder.end(name, FAILED, note=type(error).__name__)
        except Exception as error:
            self.wrong(name, error)
        else:
            self.recorder.end(name, OK, stored=last[0].stored())

    def transaction(self) -> None:
        """The same once, whatever becomes of it."""
        name = self.recorder.begin("transaction")
        attempt = Attempt(f"{name}.1")
        try:
            with self.log.transaction() as tx:
                self._fill(tx, attempt)
                self.recorder.attempt(name, attempt.writes, attempt.reads)
        except (eventlog.ConflictError, eventlog.WrongVersion) as error:
            self.recorder.end(name, FAILED, note=type(error).__name__)
        except Exception as error:
            self.wrong(name, error)
        else:
            self.recorder.end(name, OK, stored=attempt.stored())

    def abandon(self) -> None:
        """One that ends by an exception, or without a commit."""
        name = self.recorder.begin("abandon")
        attempt = Attempt(f"{name}.1")
        is_raised = self.chance.random() < 0.5
        try:
            with self.log.transaction() as tx:
                self._fill(tx, attempt)
                self.recorder.attempt(name, attempt.writes, attempt.reads)
                if is_raised:
                    raise Abandoned
                tx.abort()
        except Abandoned:
            pass
        except Exception as error:
            self.wrong(name, error)
            return
        self.recorder.end(name, FAILED, note="Abandoned")

    def skew(self) -> None:
        """Reads two rows and appends to one of them: two such ones may not both have missed the other."""
        name = self.recorder.begin("skew")
        attempt = Attempt(f"{name}.1")
        one, other = self.keys(2)
        try:
            with self.log.transaction() as tx:
                rows = tx.state(LISTS)
                found = {key: self._row(rows, key, attempt) for key in (one, other)}
                self._dawdle()
                self._append(rows, one, found[one], attempt)
                self.recorder.attempt(name, attempt.writes, attempt.reads)
        except eventlog.ConflictError as error:
            self.recorder.end(name, FAILED, note=type(error).__name__)
        except Exception as error:
            self.wrong(name, error)
        else:
            self.recorder.end(name, OK)

    def look(self) -> None:
        """Reads some rows in one transaction, which is to show them as they were together."""
        name = self.recorder.begin("look")
        attempt = Attempt(name)
        try:
            with self.log.transaction() as tx:
                rows = tx.state(LISTS)
                if self.chance.random() < 0.5:
                    self._scan(rows, attempt)
                else:
                    for key in self.keys(self.chance.randint(2, ROWS)):
                        self._row(rows, key, attempt)
                        self._dawdle()
        except eventlog.ConflictError as error:
            self.recorder.end(name, FAILED, note=type(error).__name__)
        except Exception as error:
            self.wrong(name, error)
        else:
            self.recorder.end(name, OK, attempt.reads)

    def _fill(self, tx: eventlog.Transaction, attempt: Attempt) -> None:
        rows = tx.state(LISTS)
        keys = self.keys(self.chance.randint(1, 3))
        match self.chance.randrange(3):
            case 0:
                found = {key: self._row(rows, key, attempt) for key in keys}
            case 1:
                many = rows.get_many(keys)
                found = {key: list(many.get(key, [])) for key in keys}
                attempt.reads += [_row_read(key, found[key]) for key in keys]
            case _:
                found = self._scan(rows, attempt)
        self._dawdle()
        for key in keys[: self.chance.randint(0, len(keys))]:
            for _ in range(self.chance.choice((1, 1, 2))):
                if key not in found:  # the window has moved on since it was scanned
                    continue
                self._append(rows, key, found[key], attempt)
        if self.chance.random() < 0.4:
            self._send_event(tx, attempt)
        for _ in range(self.chance.randint(0, 3)):
            self._send(tx, attempt, self.chance.choice((ORDERS, DONE)))

    def _row(self, rows: eventlog.State[Any, Any], key: str, attempt: Attempt) -> list[str]:
        row = list(rows.get(key, []))
        attempt.reads.append(_row_read(key, row))
        return row

    def _scan(self, rows: eventlog.State[Any, Any], attempt: Attempt) -> dict[str, list[str]]:
        prefix = self.window()
        stored = dict(rows.items(prefix=prefix))
        found = {key: list(stored.get(key, [])) for key in (f"{prefix}{number}" for number in range(ROWS))}
        attempt.reads += [_row_read(key, row) for key, row in found.items()]
        return found

    def _append(self, rows: eventlog.State[Any, Any], key: str, row: list[str], attempt: Attempt) -> None:
        element = attempt.element()
        row.append(element)
        rows[key] = row
        attempt.puts.append(Put(row_place(LISTS, key), element))
        if rows[key] != row:
            raise AssertionError(f"the transaction wrote {row} and reads {rows[key]}")

    def _send(self, tx: eventlog.Transaction, attempt: Attempt, topic: str) -> None:
        element = attempt.element()
        key = f"key-{self.chance.randrange(5)}" if self.chance.random() < 0.5 else None
        partition = self.chance.randrange(TOPICS[topic]) if key is None else None
        attempt.deliveries.append(tx.send(topic, value_of(element), key=key, partition=partition))
        attempt.records.append(Sent(topic, partition, key, element))

    def _send_event(self, tx: eventlog.Transaction, attempt: Attempt) -> None:
        (key,) = self.keys(1)
        element = attempt.element()
        topic = self.topics[ACCOUNTS]
        version = topic.version(key)
        self._dawdle()
        attempt.deliveries.append(tx.send(topic, value_of(element), key=key, expected_version=version))
        attempt.records.append(Sent(ACCOUNTS, None, key, element))
        attempt.reads.append(Read(key_place(ACCOUNTS, key), version, (), True))

    def _dawdle(self) -> None:
        """Gives others time to be faster."""
        if self.chance.random() < 0.3:
            self._pause.wait(self.chance.uniform(0.0, 0.004))

    # -- offsets -----------------------------------------------------------------------------------------------

    def finish(self, group: str) -> None:
        """Reads on for a group that no other process has now, and says how far it came: by itself, or with records."""
        if self._finisher is None:
            self._join(group)
        consumer = self._finisher
        assert consumer is not None
        records = consumer.poll(max_records=self.chance.randint(1, _MOST_RECORDS))
        if not records:
            return
        ends: dict[tuple[str, int], int] = {}
        for record in records:
            ends[record.topic, record.partition] = record.offset + 1
        advances = self._advances(group, ends, dict(self._committed))
        if self.chance.random() < 0.5:
            done = self.call("commit", lambda: self._commit(consumer, ends), writes=Writes(advances=advances))
        else:
            name = self.recorder.begin("finish")
            attempt = Attempt(f"{name}.1", runs_of(records), advances=list(advances))
            done = self._finish(name, attempt, consumer, ends)
        if done is None:
            self.leave_off()
        else:
            self._committed.update(ends)

    def _join(self, group: str) -> None:
        places = [(ORDERS, number) for number in range(TOPICS[ORDERS])]
        self._finisher = consumer = self.log.consumer(group=group, auto_commit=False)
        self._group, self._committed = group, {}
        consumer.assign(places)
        for name, number in places:
            offset = self.call(
                "committed",
                lambda name=name, number=number: consumer.committed((name, number)) or 0,  # type: ignore[misc]
                lambda found, name=name, number=number: [  # type: ignore[misc]
                    Read(offset_place(group, name, number), found, (), True)
                ],
            )
            self._committed[name, number] = offset or 0

    def _commit(self, consumer: eventlog.Consumer[Any, Any], ends: dict[tuple[str, int], int]) -> bool:
        if self.chance.random() < 0.5:
            consumer.commit()
        else:
            consumer.commit(ends)
        return True

    def _advances(
        self, group: str, ends: dict[tuple[str, int], int], firsts: dict[tuple[str, int], int]
    ) -> tuple[Advance, ...]:
        return tuple(
            Advance(offset_place(group, topic, number), firsts[topic, number], end)
            for (topic, number), end in ends.items()
        )

    def _finish(
        self, name: str, attempt: Attempt, consumer: eventlog.Consumer[Any, Any], ends: dict[tuple[str, int], int]
    ) -> bool | None:
        """Stores offsets, a record and an element of a row in one transaction; None if it was refused."""
        try:
            with self.log.transaction() as tx:
                if self.chance.random() < 0.5:
                    rows = tx.state(LISTS)
                    (key,) = self.keys(1)
                    self._append(rows, key, self._row(rows, key, attempt), attempt)
                self._send(tx, attempt, DONE)
                tx.commit_offsets(consumer, ends)
                self.recorder.attempt(name, attempt.writes, attempt.reads)
        except (eventlog.ConflictError, eventlog.MemberFenced) as error:
            self.recorder.end(name, FAILED, note=type(error).__name__)
            return None
        except Exception as error:
            self.wrong(name, error)
            return None
        self.recorder.end(name, OK, stored=attempt.stored())
        return True

    def leave_off(self) -> None:
        """Ends the consumer of the group as well."""
        if self._finisher is not None:
            self._finisher.close()
            self._finisher = None
        super().leave_off()


class Member(Transactor):
    """A thread that shares the work of a group with others, in transactions."""

    def run(self, is_over: threading.Event) -> None:
        """Works until it is over."""
        with self.log.consumer(
            ORDERS, group=TEAM, auto_commit=False, session_timeout=SESSION_S, max_poll_records=_MOST_RECORDS
        ) as consumer:
            while not is_over.is_set():
                records = consumer.poll(0.05, max_records=self.chance.randint(1, _MOST_RECORDS))
                if records and not self._work(consumer, records):
                    consumer.seek_to_committed()

    def _work(self, consumer: eventlog.Consumer[Any, Any], records: Sequence[eventlog.Record[Any, Any]]) -> bool:
        name = self.recorder.begin("work")
        runs = runs_of(records)
        ends = {(record.topic, record.partition): record.offset + 1 for record in records}
        firsts: dict[tuple[str, int], int] = {}
        for record in records:
            firsts.setdefault((record.topic, record.partition), record.offset)
        places = [partition_place(*place) for place in ends]
        if [run.place for run in runs] != places:
            self.recorder.end(name, "wrong", note=f"poll() left something out: {[str(run) for run in runs]}")
            return False
        self._dawdle()
        attempt = Attempt(f"{name}.1", runs, advances=list(self._advances(TEAM, ends, firsts)))
        return self._finish(name, attempt, consumer, ends) is True


def _row_read(key: str, row: Sequence[str]) -> Read:
    return Read(row_place(LISTS, key), 0, tuple(row), True)
