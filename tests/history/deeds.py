"""
What a thread of a worker does to a log: appends, sends and reads of all kinds, each written down before and after.

Knows nothing of processes, kills and checks. Transactions and groups are in `transactors.py`.
"""

from __future__ import annotations

import random
import time
import traceback
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import eventlog
from eventlog.options import Durability
from tests.history.operations import (
    FAILED,
    MESSAGE,
    NOTHING,
    OK,
    ORDER,
    SENDS,
    WRONG,
    Read,
    Recorder,
    Sent,
    Stored,
    Writes,
    key_place,
    now_ns,
    offset_place,
    partition_place,
    row_place,
)

T = TypeVar("T")

ORDERS, DONE, ACCOUNTS, MESSAGES = "orders", "done", "accounts", "messages"
TOPICS = {ORDERS: 3, DONE: 2, ACCOUNTS: 2, MESSAGES: 2}
LISTS = "lists"
TEAM = "team"
ROWS = 5
"""How many rows, and how many keys, are in use at a time."""

_WINDOW_S = 0.4
"""Rows and keys are new after so long: short lists are quickly read, and new ones are fought for."""
_KEYS = 7
_TRACE_LINES = 6


def open_topics(log: eventlog.EventLog) -> dict[str, eventlog.Topic[str, bytes]]:
    """The topics of a log, which are made when it has none."""
    return {
        name: log.topic(name, key=str, partitions=count, index="key" if name == ACCOUNTS else None)
        for name, count in TOPICS.items()
    }


def value_of(element: str) -> bytes:
    """The value of a record: the element, and a filling that follows from it, sometimes a long one."""
    number = zlib.crc32(element.encode())
    copies = 2000 if number % 307 == 0 else 100 if number % 41 == 0 else number % 7
    return element.encode() + b" " + element.encode() * copies


def element_of(value: bytes | None) -> str:
    """The element of a value; of one that was not written so, what it is."""
    element = (value or b"").partition(b" ")[0].decode(errors="replace")
    return element if value == value_of(element) else f"damaged {value!r:.60}"


def stored_at(meta: eventlog.RecordMetadata) -> Stored:
    """Where a call said that a record is."""
    return Stored(meta.partition, meta.offset, meta.log_position, meta.version)


class Deeds:
    """
    One thread's way to a log, and what it has seen of it.

    `handle` opens the log, and `is_own` says whether this thread may close it.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        name: str,
        seed: str,
        log: eventlog.EventLog | None = None,
        *,
        durability: Durability = "commit",
    ) -> None:
        self.path = path
        self.durability = durability
        self.chance = random.Random(seed)
        self.recorder = Recorder(folder, name)
        self.is_own = log is None
        self.log = eventlog.open(path, durability=durability) if log is None else log
        self.topics = open_topics(self.log)
        self._producer: eventlog.Producer | None = None
        self._reader: eventlog.Consumer[Any, Any] | None = None
        self._readers = 0
        self._ends: defaultdict[str, int] = defaultdict(int)
        self._messages = 0

    # -- names -----------------------------------------------------------------------------------------------

    def keys(self, count: int) -> list[str]:
        """Some of the rows, or keys, that are in use now."""
        window = int(time.monotonic() / _WINDOW_S)
        return [f"{window}.{number}" for number in self.chance.sample(range(ROWS), count)]

    def window(self) -> str:
        """What the rows in use begin with."""
        return f"{int(time.monotonic() / _WINDOW_S)}."

    # -- calls -----------------------------------------------------------------------------------------------

    def call(
        self,
        kind: str,
        function: Callable[[], T],
        seen: Callable[[T], Sequence[Read]] = lambda _: (),
        *,
        writes: Writes = NOTHING,
        stored: Callable[[T], Sequence[Stored]] = lambda _: (),
        refusals: tuple[type[Exception], ...] = (),
        at_refusal: Callable[[Exception], Sequence[Read]] = lambda _: (),
    ) -> T | None:
        """Calls something between its two lines; None when it was refused, or met an error."""
        name = self.recorder.begin(kind, writes)
        try:
            result = function()
        except refusals as error:
            self.recorder.end(name, FAILED, at_refusal(error), note=type(error).__name__)
            return None
        except Exception as error:
            self.wrong(name, error)
            return None
        self.recorder.end(name, OK, seen(result), stored(result))
        return result

    def wrong(self, name: str, error: BaseException) -> None:
        """Writes down an error that should not be."""
        lines = "".join(traceback.format_exception(error)[-_TRACE_LINES:])
        self.recorder.end(name, WRONG, note=lines)

    # -- writing ---------------------------------------------------------------------------------------------

    def append(self) -> None:
        """One record: by its key, into a partition, or wherever."""
        element = self.recorder.next_name()
        key = f"key-{self.chance.randrange(_KEYS)}" if self.chance.random() < 0.5 else None
        name = self.chance.choice((ORDERS, DONE))
        partition = self.chance.choice((None, 0, 1)) if key is None else None
        self.call(
            "append",
            lambda: self.topics[name].append(value_of(element), key=key, partition=partition),
            writes=Writes((Sent(name, partition, key, element),)),
            stored=lambda meta: [stored_at(meta)],
        )

    def append_many(self) -> None:
        """Some records, of several partitions or of one."""
        elements = [f"{self.recorder.next_name()}.{number}" for number in range(self.chance.randint(2, 12))]
        keys: list[str | None] = [None] * len(elements)
        partition = self.chance.choice((None, 0, 1, 2))
        if partition is None:
            keys = [f"key-{self.chance.randrange(_KEYS)}" for _ in elements]
        self.call(
            "append_many",
            lambda: self.topics[ORDERS].append_many(
                map(value_of, elements), keys=keys if partition is None else None, partition=partition
            ),
            writes=Writes(tuple(Sent(ORDERS, partition, key, one) for key, one in zip(keys, elements, strict=True))),
            stored=lambda ranges: _columns_at(ranges) if len(ranges) == 1 else (),
        )

    def sends(self) -> None:
        """Some records by the producer, which may store them in several commits."""
        producer = self._producer = self._producer or self.log.producer()
        first = self.recorder.next_name()
        places = [
            (self.chance.choice((ORDERS, DONE)), self.chance.randrange(2)) for _ in range(self.chance.randint(1, 15))
        ]
        sent = [Sent(name, number, None, f"{first}.{index}") for index, (name, number) in enumerate(places)]
        is_flushed = self.chance.random() < 0.7

        def send() -> list[Stored]:
            deliveries = [producer.send(one.topic, value_of(one.element), partition=one.partition) for one in sent]
            if is_flushed:
                producer.flush()
            return [stored_at(delivery.result()) for delivery in deliveries]

        self.call(SENDS, send, writes=Writes(tuple(sent)), stored=lambda places: places)

    def message(self) -> None:
        """A record under a message id: of its own, or one that others store too."""
        self._messages += 1
        own = f"m{self.recorder.name}.{self._messages}"
        self.store_message(own if self.chance.random() < 0.4 else f"shared-{self._messages // 2}")

    def store_message(self, message_id: str) -> None:
        """Stores the record of a message id, which is the same whoever stores it."""
        partition = zlib.crc32(message_id.encode()) % TOPICS[MESSAGES]
        self.call(
            MESSAGE,
            lambda: self.topics[MESSAGES].append(value_of(message_id), partition=partition, message_id=message_id),
            writes=Writes((Sent(MESSAGES, partition, None, message_id),)),
            stored=lambda meta: [stored_at(meta)],
        )

    def event(self) -> None:
        """One event, or some, of a key, if the version is still what it was."""
        (key,) = self.keys(1)
        version = self.version_of(key)
        if version is None:
            return
        count = self.chance.choice((1, 1, 3))
        elements = [f"{self.recorder.next_name()}.{number}" for number in range(count)]
        topic = self.topics[ACCOUNTS]
        place = key_place(ACCOUNTS, key)

        def append() -> list[Stored]:
            if count == 1:
                return [stored_at(topic.append(value_of(elements[0]), key=key, expected_version=version))]
            ranges = topic.append_many(map(value_of, elements), key=key, expected_version=version)
            return _columns_at(ranges, version + 1)

        self.call(
            "event",
            append,
            lambda _: [Read(place, version, (), True)],
            writes=Writes(tuple(Sent(ACCOUNTS, None, key, element) for element in elements)),
            stored=lambda places: places,
            refusals=(eventlog.WrongVersion,),
            at_refusal=lambda error: (
                [Read(place, error.actual, (), True)] if isinstance(error, eventlog.WrongVersion) else []
            ),
        )

    # -- reading ---------------------------------------------------------------------------------------------

    def read_partition(self) -> None:
        """The last records of a partition, as objects or in columns; or a piece that ends before."""
        topic, partition = self._any_partition()
        place = partition_place(topic.name, partition)
        start = max(0, self._ends[place] - self.chance.randrange(12))
        most = 5 if self.chance.random() < 0.2 else None
        is_column = self.chance.random() < 0.5

        def read() -> list[str]:
            if is_column:
                batches = list(topic.read_batches(partition, start=start, max_records=most))
                found = [
                    (batch.partition, offset, value)
                    for batch in batches
                    for offset, value in zip(batch.offsets, batch.values, strict=True)
                ]
            else:
                records = topic.read(partition, start=start, max_records=most)
                found = [(record.partition, record.offset, record.value) for record in records]
            return _in_a_row(found, partition, start)

        elements = self.call("read", read, lambda found: [Read(place, start, tuple(found), most is None)])
        if elements is not None:
            self._ends[place] = start + len(elements)

    def bounds(self) -> None:
        """The ends of all partitions of a topic, of one moment."""
        topic = self.topics[self.chance.choice(list(TOPICS))]
        self.call(
            "bounds",
            topic.bounds,
            lambda bounds: [
                Read(partition_place(topic.name, number), end, (), True) for number, (_, end) in bounds.items()
            ],
        )

    def position(self) -> None:
        """How many records the log has."""
        self.call("position", self.log.end_log_position, lambda position: [Read(ORDER, position, (), True)])

    def read_all(self) -> None:
        """The last records of the log."""
        start = max(0, self._ends[ORDER] - self.chance.randrange(20))

        def read() -> list[str]:
            return [
                element_of(record.value) if position == start + index else f"position {position}"
                for index, (position, record) in enumerate(self.log.read_all(start))
            ]

        elements = self.call("read_all", read, lambda found: [Read(ORDER, start, tuple(found), True)])
        if elements is not None:
            self._ends[ORDER] = start + len(elements)

    def poll(self) -> None:
        """What a consumer without a group gets next; when that is nothing, it has seen the end of each partition."""
        if self._reader is None:
            self._reader = self.log.consumer(ORDERS, DONE, start="earliest", max_poll_records=200)
            self._readers += 1
            for name in (ORDERS, DONE):
                for number in range(TOPICS[name]):
                    self._reader.seek((name, number), self._ends[partition_place(name, number)])
        reader, began = self._reader, now_ns()
        session = f"{self.recorder.name}-reader-{self._readers}"
        records = reader.poll(self.chance.choice((0.0, 0.0, 0.01)))
        if records:
            self.recorder.note("poll", began, runs_of(records), session=session)
            return
        for name, number in reader.assignment():
            read = Read(partition_place(name, number), reader.position((name, number)), (), True)
            self.recorder.note("poll", began, [read], session=session)

    def version_of(self, key: str) -> int | None:
        """The version of a key."""
        place = key_place(ACCOUNTS, key)
        return self.call(
            "version", lambda: self.topics[ACCOUNTS].version(key), lambda version: [Read(place, version, (), True)]
        )

    def history(self) -> None:
        """The records of a key, or the last one."""
        (key,) = self.keys(1)
        place, topic = key_place(ACCOUNTS, key), self.topics[ACCOUNTS]
        if self.chance.random() < 0.5:
            self.call(
                "latest",
                lambda: topic.latest(key),
                lambda event: [
                    Read(place, 0, (), True)
                    if event is None
                    else Read(place, event.version - 1, (element_of(event.value),), True)
                ],
            )
            return
        self.call("history", lambda: list(topic.history(key)), lambda events: [history_read(place, events)])

    def view(self) -> None:
        """A row, or some, or all that are in use, at one look."""
        keys = self.keys(self.chance.randint(1, ROWS))
        view = self.log.state(LISTS)
        match self.chance.randrange(3):
            case 0:
                self.call("row", lambda: view.get(keys[0], []), lambda row: [row_read(keys[0], row)])
            case 1:
                self.call(
                    "rows", lambda: view.get_many(keys), lambda rows: [row_read(key, rows.get(key, [])) for key in keys]
                )
            case _:
                prefix = self.window()
                self.call("scan", lambda: dict(view.items(prefix=prefix)), lambda rows: scan_reads(prefix, rows))

    def team_offsets(self) -> None:
        """Where the team is, in all partitions at one look."""
        self.call(
            "offsets",
            lambda: self.log.groups.describe(TEAM),
            lambda group: [
                Read(offset_place(TEAM, one.topic, one.partition), one.committed or 0, (), True)
                for one in group.offsets
            ],
            refusals=(eventlog.UnknownGroup,),
        )

    # -- coming and going --------------------------------------------------------------------------------------

    def leave_off(self) -> None:
        """Ends the producer and the reader; others are made when they are wanted."""
        if self._producer is not None:
            self._producer.close()
        if self._reader is not None:
            self._reader.close()
        self._producer = self._reader = None

    def reopen(self) -> None:
        """Closes the log and opens it again, if it is this thread's."""
        self.leave_off()
        if self.is_own:
            self.log.close()
            self.log = eventlog.open(self.path, durability=self.durability)
            self.topics = open_topics(self.log)

    def close(self) -> None:
        """Ends everything."""
        self.leave_off()
        if self.is_own:
            self.log.close()
        self.recorder.close()

    def _any_partition(self) -> tuple[eventlog.Topic[str, bytes], int]:
        name = self.chance.choice(list(TOPICS))
        return self.topics[name], self.chance.randrange(TOPICS[name])


def _columns_at(ranges: Sequence[eventlog.PartitionRange], version: int | None = None) -> list[Stored]:
    return [
        Stored(one.partition, offset, one.log_position + rank, None if version is None else version + rank)
        for one in ranges
        for rank, offset in enumerate(range(one.first, one.end))
    ]


def _in_a_row(found: Iterable[tuple[int, int, bytes]], partition: int, start: int) -> list[str]:
    """The elements; what has not the next offset says which it has."""
    return [
        element_of(value) if (number, offset) == (partition, start + index) else f"{number}/{offset}"
        for index, (number, offset, value) in enumerate(found)
    ]


def runs_of(records: Iterable[eventlog.Record[Any, Any]]) -> list[Read]:
    """The records of each partition as reads without a gap."""
    runs: list[tuple[str, int, list[str]]] = []
    last: dict[str, tuple[str, int, list[str]]] = {}
    for record in records:
        place = partition_place(record.topic, record.partition)
        run = last.get(place)
        if run is None or run[1] + len(run[2]) != record.offset:
            run = last[place] = (place, record.offset, [])
            runs.append(run)
        run[2].append(element_of(record.value))
    return [Read(place, first, tuple(elements), False) for place, first, elements in runs]


def history_read(place: str, events: Sequence[eventlog.Event[str, bytes]]) -> Read:
    """All records of a key; what has not the next version says which it has."""
    elements = [
        element_of(event.value) if event.version == version else f"version {event.version}"
        for version, event in enumerate(events, 1)
    ]
    return Read(place, 0, tuple(elements), True)


def row_read(key: str, row: Sequence[str]) -> Read:
    """A row; one that is not there is an empty list."""
    return Read(row_place(LISTS, key), 0, tuple(row), True)


def scan_reads(prefix: str, rows: dict[str, list[str]]) -> list[Read]:
    """All rows that a scan found, and those that it found to be missing."""
    return [row_read(key, rows.get(key, [])) for key in (f"{prefix}{number}" for number in range(ROWS))]
