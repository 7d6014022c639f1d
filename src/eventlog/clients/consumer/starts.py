"""
The first offset of a consumer in a partition: the group's committed offset, or else its start.

It asks the backend; the positions themselves are in `clients/consumer/positions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from eventlog.backend import Backend
from eventlog.clients.consumer.positions import Position
from eventlog.clients.reading.batch_reader import resolve_start, resolve_starts
from eventlog.clients.topic_handle import TopicHandle
from eventlog.groups.state import CommittedOffset
from eventlog.options import Start
from eventlog.records import TopicPartition


class StartOffsets:
    """
    The first offsets of one consumer.

    Belongs to the consumer's thread.
    """

    def __init__(
        self, backend: Backend, open_topic: Callable[[str], TopicHandle], *, group: str | None, start: Start
    ) -> None:
        self._backend = backend
        self._open_topic = open_topic
        self._group = group
        self._start: Start = start

    def positions(
        self, chosen: Iterable[tuple[TopicHandle, TopicPartition]], *, start: Start | None = None
    ) -> list[Position]:
        """
        Positions in some partitions, at the committed offset or else at a start.

        All or none: an offset that a partition does not have is an error.
        """
        pairs = list(chosen)
        stored: list[int | None] = [None] * len(pairs)
        if self._group is not None and pairs:
            stored = self._backend.committed(self._group, [(topic.row.id, tp.partition) for topic, tp in pairs])
        new = [(topic.row, tp.partition) for (topic, tp), offset in zip(pairs, stored, strict=True) if offset is None]
        firsts = iter(resolve_starts(self._backend, new, self._start if start is None else start) if new else ())
        return [
            Position(tp, topic, next(firsts) if offset is None else offset, offset)
            for (topic, tp), offset in zip(pairs, stored, strict=True)
        ]

    def committed(self, tp: TopicPartition) -> int | None:
        """The offset that the log has for the group."""
        found = self.committed_metadata(tp)
        return None if found is None else found.offset

    def committed_metadata(self, tp: TopicPartition) -> CommittedOffset | None:
        """The same with what was stored beside it."""
        assert self._group is not None
        topic = self._open_topic(tp.topic)
        place = (topic.row.id, topic.check_partition(tp.partition))
        return self._backend.committed_with_notes(self._group, [place])[0]

    def group_offset(self, position: Position) -> int:
        """Where the group stands in a partition, or would begin."""
        committed = self.committed(position.tp)
        return self.resolved(position, self._start) if committed is None else committed

    def resolved(self, position: Position, start: Start) -> int:
        """The offset that a start means in a partition now."""
        return resolve_start(self._backend, position.cursor.route.row, position.tp.partition, start)

    def of_time(self, position: Position, timestamp_ms: int) -> int:
        """The first offset of a time or later in a partition."""
        return self._backend.offset_of_time(position.cursor.route.row, position.tp.partition, timestamp_ms)

    def lags(self, positions: Iterable[tuple[Position, int]]) -> dict[TopicPartition, int]:
        """How many offsets lie between the next offset of each position and the end of its partition."""
        pairs = list(positions)
        places = [(position.cursor.route.row.id, position.tp.partition) for position, _ in pairs]
        bounds = self._backend.bounds_of(places)
        return {position.tp: max(end - offset, 0) for (position, offset), (_, end) in zip(pairs, bounds, strict=True)}
