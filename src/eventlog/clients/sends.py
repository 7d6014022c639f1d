"""
The records that a transaction was given: kept as they came, and put into partitions when it commits.

So a topic that gets more partitions meanwhile is no harm: the records are placed anew. Knows nothing of states or
offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eventlog.batches.format import BatchEncoder
from eventlog.clients.route import Route
from eventlog.records import Headers
from eventlog.store.appends import Condition, Part, Place, Rows
from eventlog.store.tables import TopicRow


class _Send:
    """Is one record, with what was asked of it."""

    __slots__ = ("expected", "headers", "key", "message_id", "partition", "place", "route", "timestamp_ms", "value")

    def __init__(
        self,
        route: Route,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        partition: int | None,
        expected: int | None,
        message_id: bytes | None,
    ) -> None:
        self.route = route
        self.key = key
        self.value = value
        self.headers = headers
        self.timestamp_ms = timestamp_ms
        self.partition = partition
        self.expected = expected
        self.message_id = message_id
        self.place: tuple[Part, int] | None = None


class Sends:
    """Holds records in the order of the calls."""

    def __init__(self) -> None:
        self._sends: list[_Send] = []
        self._routes: dict[int, Route] = {}
        self._scattered: set[int] = set()
        """The topics with an index of which the caller has chosen a partition: a key may be in several."""
        self.parts: list[Part] = []

    @property
    def count(self) -> int:
        """How many records there are."""
        return len(self._sends)

    def add(
        self,
        route: Route,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        partition: int | None,
        expected: int | None,
        message_id: bytes | None,
    ) -> int:
        """Takes a record; its number."""
        route = self._routes.setdefault(route.row.id, route)
        if partition is not None and route.row.index is not None:
            self._scattered.add(route.row.id)
        self._sends.append(_Send(route, key, value, headers, timestamp_ms, partition, expected, message_id))
        return len(self._sends) - 1

    def place(self) -> None:
        """
        Puts the records into parts, one for each partition, and encodes these.

        Where a key of a topic with an index goes to another partition than before, the topic's next parts begin: the
        records of a key are stored in the order of their versions.
        """
        groups: dict[tuple[int, int, int], list[_Send]] = {}
        keyless: dict[int, int] = {}
        turns: dict[int, int] = {}
        homes: dict[tuple[int, bytes | None], tuple[int, int]] = {}
        for send in self._sends:
            route = send.route
            row = route.row
            number = send.partition
            if number is None and send.key is None:
                if row.id not in keyless:
                    keyless[row.id] = route.keyless_partition(row.partitions)
                number = keyless[row.id]
            elif number is None:
                number = 0 if row.partitions == 1 else route.partition_of(send.key or b"", row.partitions)
            if row.id in self._scattered and send.key is not None:
                turn = turns.setdefault(row.id, 0)
                before, home = homes.get((row.id, send.key), (turn, number))
                if before == turn and home != number:
                    turns[row.id] = turn = turn + 1
                homes[row.id, send.key] = (turn, number)
            groups.setdefault((turns.get(row.id, 0), row.id, number), []).append(send)
        encoder = BatchEncoder()
        self.parts = [self._part(encoder, number, sends) for (_, _, number), sends in sorted(groups.items())]

    @staticmethod
    def _part(encoder: BatchEncoder, partition: int, sends: list[_Send]) -> Part:
        moments = [send.timestamp_ms for send in sends]
        times = moments[0] if moments.count(moments[0]) == len(moments) else moments
        headers = [send.headers for send in sends]
        rows = Rows(
            [send.key for send in sends], [send.value for send in sends], times, headers if any(headers) else None
        )
        keys = None if rows.keys.count(None) == len(sends) else rows.keys
        batches = encoder.encode(keys, rows.values, timestamps_ms=times, headers=rows.headers)
        part = Part(sends[0].route.row, partition, batches, rows)
        for index, send in enumerate(sends):
            send.place = (part, index)
            if send.message_id is not None:
                part.message_ids[index] = send.message_id
        return part

    def conditions(self) -> list[Condition]:
        """What is to be judged; where one record of a topic expects a version, all of them count."""
        counting = {send.route.row.id for send in self._sends if send.expected is not None}
        return [
            Condition(*send.place, send.expected, send.message_id)
            for send in self._sends
            if send.place is not None and (send.message_id is not None or send.route.row.id in counting)
        ]

    def placed_topics(self) -> frozenset[int]:
        """The topics of which the number of partitions decided where a record goes."""
        return frozenset(send.route.row.id for send in self._sends if send.partition is None)

    def learn(self, newer: Iterable[TopicRow]) -> None:
        """Takes over that topics have more partitions."""
        for row in newer:
            self._routes[row.id].learn(row)

    def stored(self, number: int) -> tuple[TopicRow, Place]:
        """Where one record is stored."""
        send = self._sends[number]
        assert send.place is not None
        return send.route.row, send.place[0].place(send.place[1])

    def free(self) -> None:
        """Lets go of the records; `stored` still answers."""
        for part in self.parts:
            part.free()
        for send in self._sends:
            send.key = send.value = None
            send.headers = ()

    def topics(self) -> Sequence[str]:
        """The names of the topics, for messages."""
        return sorted({send.route.row.name for send in self._sends})
