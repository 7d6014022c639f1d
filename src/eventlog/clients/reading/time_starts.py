"""Where a time begins in the order of the log."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from eventlog.backend import Backend
from eventlog.backend.reading import PASSED_BY, Fetch
from eventlog.batches.header import NO_LOG_POSITION, read_header
from eventlog.clients.reading.log_reader import LogReader
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import EventLogError, UnknownTopic
from eventlog.interruptions import unless_interrupted


def position_of_time(
    backend: Backend, topics: Mapping[int, TopicHandle], names: Collection[str] | None, timestamp_ms: int, end: int
) -> int:
    """
    The position of the first record of some topics that has this timestamp or a later one; `end` when there is none.

    Times need not rise along the log, so each partition is asked for its first such record; as a rule their batches
    tell the positions. A merged batch has records of several places: then we read on from the first of them.
    """
    lowest, is_exact = end, True
    for topic in topics.values():
        if names is not None and topic.row.name not in names:
            continue
        for position, is_known in _positions(backend, topic, timestamp_ms):
            if position < lowest:
                lowest, is_exact = position, is_known
    if is_exact:
        return lowest
    reader = LogReader(backend, lambda: topics, names, lowest)
    while reader.log_position < end:
        before = reader.log_position
        try:
            batches = reader.read()
        except unless_interrupted(EventLogError):
            return before  # whoever reads meets it there
        for first, batch in batches:
            for number, moment_ms in enumerate(batch.timestamps_ms):
                if moment_ms >= timestamp_ms:
                    return min(first + batch.offsets[number] - batch.offsets[0], end)
        if reader.log_position == before:
            break
    return end


def _positions(backend: Backend, topic: TopicHandle, timestamp_ms: int) -> Iterator[tuple[int, bool]]:
    """For each partition the position of its first record of a time, and whether it is that and not one before it."""
    row = topic.row
    for partition in range(row.partitions):
        try:
            offset = backend.offset_of_time(row, partition, timestamp_ms)
        except unless_interrupted(UnknownTopic):
            return  # deleted since
        answers, _ = backend.fetch([Fetch(row.id, partition, offset)], 1)
        for stored in answers[0].batches[:1] if answers else ():
            if stored.data == PASSED_BY:
                yield 0, False  # its header is hidden as well
                continue
            header = read_header(stored.data, f"the batch of {row.name}[{partition}] up to offset {stored.last}")
            base = stored.last - header.span + 1
            if header.log_position == NO_LOG_POSITION:
                yield 0, False
            elif header.runs_at is not None:
                yield header.log_position, False
            else:
                yield header.log_position + max(offset - base, 0), True
