"""
The records that a transaction was given: kept as they came, and put into partitions when it commits.

So a topic that gets more partitions meanwhile is no harm: the records are placed again. Pure: every backend's
transactions may keep their records here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TypeAlias

from eventlog.backend.records import Condition, Location, PartitionRecords, Rows, StoredRecords
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import BatchEncoder
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import WrongVersion
from eventlog.records import Headers

# A plain tuple: an object with these fields takes half a microsecond to build, and a transaction has many.
Send: TypeAlias = "tuple[TopicHandle, bytes | None, bytes | None, Headers, int, int | None, int | None, bytes | None]"
"""
One record, with what was asked of it.

Topic, key, value, headers, timestamp in ms, partition, expected version, message id.
"""


class TransactionRecords:
    """The records of a transaction, in the order of the calls."""

    _places: list[tuple[int, int]] | None = None
    """For each record, its part and its place there; None while there is no more than one part."""
    _stored: Sequence[StoredRecords] = ()
    _names: Sequence[str] = ()
    """The topics of the parts, once these are freed."""

    def __init__(self) -> None:
        self._sends: list[Send] = []
        self._routes: dict[int, TopicHandle] = {}
        self._rows: dict[int, StoredTopic] = {}
        """The topics as they were when the records were placed."""
        self._scattered: set[int] = set()
        """The topics with an index of which the caller has chosen a partition: a key may be in several."""
        self._counting: set[int] = set()
        """The topics of which a record expects a version."""
        self._has_ids = False
        self._has_chosen = False
        """Whether the caller has chosen a partition of any topic."""
        self._freed_count = 0
        self.parts: list[PartitionRecords] = []

    @property
    def count(self) -> int:
        """The number of records."""
        return len(self._sends) + self._freed_count

    def with_key(self, error: WrongVersion) -> WrongVersion:
        """The same error with the key instead of its bytes."""
        return next(route for route in self._routes.values() if route.row.name == error.topic).with_key(error)

    def route(self, route: TopicHandle) -> TopicHandle:
        """The one route of its topic, that all of our records take."""
        return self._routes.setdefault(route.row.id, route)

    def add(
        self,
        route: TopicHandle,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        partition: int | None,
        expected: int | None,
        message_id: bytes | None,
    ) -> int:
        """Take a record that goes by a route of ours; its number."""
        if partition is not None:
            self._has_chosen = True
            if route.row.index is not None:
                self._scattered.add(route.row.id)
        if expected is not None:
            self._counting.add(route.row.id)
        if message_id is not None:
            self._has_ids = True
        self._sends.append((route, key, value, headers, timestamp_ms, partition, expected, message_id))
        return len(self._sends) - 1

    def add_many(
        self, route: TopicHandle, keys: Sequence[bytes | None], values: Sequence[bytes | None], times: Sequence[int]
    ) -> int:
        """Take records without headers, which all or each have a time; the number of the first."""
        first = len(self._sends)
        moments = repeat(times[0]) if len(times) == 1 else times
        nothing = repeat(None)
        self._sends.extend(zip(repeat(route), keys, values, repeat(()), moments, nothing, nothing, nothing))
        return first

    def place(self) -> None:
        """
        Put the records into parts, one for each partition, and encode these.

        Parts are stored in their order. Where the caller chose partitions of a topic with an index, a key may be in
        several, so the parts of that topic follow the order of the calls.
        """
        sends = self._sends
        # Another thread may learn of more partitions while we place: then all are placed by the number from before,
        # and the store says that it is an old one.
        self._rows = {topic_id: route.row for topic_id, route in self._routes.items()}
        self._places = None
        if not sends:
            self.parts = []
            return
        encoder = BatchEncoder()
        if len(self._routes) == 1 and not self._has_chosen and self._rows[sends[0][0].row.id].partitions == 1:
            self.parts = [self._part(encoder, 0, sends)]
            return
        groups = sorted(self._groups().items())
        self.parts = [
            self._part(encoder, partition, [sends[number] for number in numbers])
            for (_, _, partition), numbers in groups
        ]
        if len(groups) > 1:
            self._places = places = [(0, 0)] * len(sends)
            for index, (_, numbers) in enumerate(groups):
                for rank, number in enumerate(numbers):
                    places[number] = (index, rank)

    def _groups(self) -> dict[tuple[int, int, int], list[int]]:
        """The numbers of the records of each part, by run, topic and partition."""
        groups: dict[tuple[int, int, int], list[int]] = {}
        keyless: dict[int, int] = {}
        runs: dict[int, int] = {}
        latest: dict[int, int] = {}
        for place, (route, key, _, _, _, partition, _, _) in enumerate(self._sends):
            row = self._rows[route.row.id]
            number = partition
            if number is None and key is None:
                if row.id not in keyless:
                    keyless[row.id] = route.keyless_partition(row.partitions)
                number = keyless[row.id]
            elif number is None:
                number = 0 if row.partitions == 1 else route.partition_of(key or b"", row.partitions)
            if row.id in self._scattered and latest.get(row.id, number) != number:
                runs[row.id] = runs.get(row.id, 0) + 1
            latest[row.id] = number
            groups.setdefault((runs.get(row.id, 0), row.id, number), []).append(place)
        return groups

    def _part(self, encoder: BatchEncoder, partition: int, sends: Sequence[Send]) -> PartitionRecords:
        if len(sends) == 1 and sends[0][0].row.compression is None:
            return self._part_of_one(encoder, partition, *sends[0])
        routes, keys, values, headers, moments, _, _, identities = zip(*sends, strict=True)
        times = moments[0] if moments.count(moments[0]) == len(moments) else moments
        rows = Rows(keys, values, times, headers if any(headers) else None)
        batches = encoder.encode(
            None if keys[0] is None and keys.count(None) == len(keys) else keys,
            values,
            timestamps_ms=times,
            headers=rows.headers,
            compressor=None if routes[0].row.compression is None else routes[0].compressor,
        )
        ids = None
        if self._has_ids:
            ids = {index: one for index, one in enumerate(identities) if one is not None}
        return PartitionRecords(self._rows[routes[0].row.id], partition, batches, rows, message_ids=ids)

    def _part_of_one(
        self,
        encoder: BatchEncoder,
        partition: int,
        route: TopicHandle,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        _partition: int | None,
        _expected: int | None,
        message_id: bytes | None,
    ) -> PartitionRecords:
        """The same for one record of a topic that is not compressed, without its columns."""
        batch = encoder.encode_one(key, value, timestamp_ms=timestamp_ms, headers=headers)
        rows = Rows((key,), (value,), timestamp_ms, (headers,) if headers else None)
        ids = None if message_id is None else {0: message_id}
        return PartitionRecords(self._rows[route.row.id], partition, [batch], rows, ids)

    def _place_of(self, number: int) -> tuple[int, int]:
        """The part of one record, and its place there."""
        return (0, number) if self._places is None else self._places[number]

    def conditions(self) -> list[Condition]:
        """The records to be judged; where one record of a topic expects a version, all of them count."""
        counting = self._counting
        if not counting and not self._has_ids:
            return []
        return [
            Condition(*self._place_of(number), expected, message_id)
            for number, (route, _, _, _, _, _, expected, message_id) in enumerate(self._sends)
            if message_id is not None or route.row.id in counting
        ]

    def placed_topics(self) -> frozenset[int]:
        """The topics of which the number of partitions decided where a record goes."""
        if not self._has_chosen:
            return frozenset(self._routes)
        return frozenset(send[0].row.id for send in self._sends if send[5] is None)

    def learn(self, newer: Iterable[StoredTopic]) -> None:
        """Take over that topics have more partitions."""
        for row in newer:
            self._routes[row.id].learn(row)

    def note_stored(self, stored: Sequence[StoredRecords]) -> None:
        """Note what became of the parts, in their order."""
        self._stored = stored

    def location(self, number: int) -> tuple[str, Location]:
        """The topic of one record, and its place there."""
        part, index = self._place_of(number)
        return self._names[part], self._stored[part].location(index)

    def free(self) -> None:
        """Let go of the records; `location` still answers."""
        self._names = [part.topic.name for part in self.parts]
        self.parts = []
        self._freed_count = self.count
        self._sends = []

    def topics(self) -> Sequence[str]:
        """The names of the topics, for messages."""
        return sorted({route.row.name for route in self._routes.values()})
