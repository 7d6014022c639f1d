"""
From leases to what a client gets: whole record batches, and the ranges of their offsets that it has acquired.

What a lease has beside that is settled by the listener: offsets that were compacted away, deleted or aborted, and the
markers of transactions, are done; what would make the answer too large is given back, and does not count. Offsets that
are missing inside a batch are left to the client, as Kafka does it: it acknowledges them as gaps.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.kafka import KafkaFetch, KafkaFetched
from eventlog.backend.queues import Acknowledgement, Action, Leased
from eventlog.batches.kafka_marks import CONTROL, TRANSACTIONAL
from eventlog.errors import EventLogError, OffsetOutOfRange
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.named_tuples import NamedTuple

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker

_HEAD: Final = struct.Struct(">q13xhiqqq")
"""Of a record batch: base offset, attributes, last offset delta, two times, producer id."""
_STEP_BYTES: Final = 65_536
"""So much is read at a time: a lease may be a small part of what is stored behind it."""
_MOST_COUNT: Final = 2**15 - 1


class _Batch(NamedTuple):
    """One record batch as it is sent: its offsets, and whether a client sees its records."""

    first: int
    end: int
    is_visible: bool
    data: Any


class Acquired:
    """What a client gets of one partition."""

    def __init__(self, partition: tuple[int, int]) -> None:
        self.partition = partition
        self.records: list[Any] = []
        self.ranges: list[dict[str, int]] = []
        self.byte_count = 0
        self.record_count = 0
        self.error: ErrorCode = ErrorCode.NONE

    def add_range(self, first: int, end: int, deliveries: int) -> None:
        """Note offsets that the client has."""
        self.record_count += end - first
        count = min(deliveries, _MOST_COUNT)
        last = self.ranges[-1] if self.ranges else None
        if last is not None and last["last_offset"] + 1 == first and last["delivery_count"] == count:
            last["last_offset"] = end - 1
        else:
            self.ranges.append({"first_offset": first, "last_offset": end - 1, "delivery_count": count})


class Reading:
    """
    Reads the record batches of leases, up to a number of bytes; the first batch comes whatever its size.

    Afterwards `settled` are offsets that no client is to see, and `left` are those that found no room.
    """

    def __init__(self, broker: Broker, most_bytes: int, *, is_committed: bool) -> None:
        self._broker = broker
        self._left_bytes = most_bytes
        self._is_committed = is_committed
        self._is_first = True
        self.settled: list[Acknowledgement] = []
        self.left: list[Acknowledgement] = []

    def read(self, leases: Iterable[Leased]) -> list[Acquired]:
        """What a client gets of some leases, by partition."""
        ordered = sorted(leases, key=lambda one: (one.topic.id, one.partition, one.first))
        return [
            self._partition(place, list(parts))
            for place, parts in groupby(ordered, lambda one: (one.topic.id, one.partition))
        ]

    def _partition(self, place: tuple[int, int], leases: list[Leased]) -> Acquired:
        acquired = Acquired(place)
        at, number = leases[0].first, 0
        while number < len(leases):
            lease = leases[number]
            at = max(at, lease.first)
            if at >= lease.end:
                number += 1
                continue
            if acquired.error or (self._left_bytes <= 0 and not self._is_first):
                self._note(self.left, lease, at, lease.end, Action.GIVE_BACK)
                number += 1
                continue
            batches, upto = self._batches(acquired, lease, at)
            self._take(acquired, leases[number:], batches, at, upto)
            at = upto
        return acquired

    def _batches(self, acquired: Acquired, lease: Leased, at: int) -> tuple[list[_Batch], int]:
        """The next batches from an offset on, and up to where is known then what there is."""
        place = acquired.partition
        most = max(1, min(_STEP_BYTES, self._left_bytes))
        ((fetched,), _) = self._broker.backend.fetch_stored([KafkaFetch(*place, at, most, self._is_committed)], most)
        try:
            if fetched.error is not None:
                raise fetched.error
            wires = self._broker.record_batches.of(*place, fetched.batches)
        except unless_interrupted(OffsetOutOfRange):
            return [], min(lease.end, fetched.log_start) if fetched.log_start > at else lease.end
        except unless_interrupted(EventLogError) as error:
            acquired.error = code_of(error)
            return [], at
        if not wires:
            return [], lease.end  # nothing is stored there any more
        batches = list(_seen(wires, fetched, is_committed=self._is_committed))
        return batches, batches[-1].end

    def _take(self, acquired: Acquired, leases: Sequence[Leased], batches: list[_Batch], at: int, upto: int) -> None:
        """Divide what was read among the leases: records for the client, and offsets that are none."""
        for lease in leases:
            start, end = max(at, lease.first), min(upto, lease.end)
            if start >= end:
                continue
            for batch in batches:
                first, last = max(start, batch.first), min(end, batch.end)
                if first >= last or not batch.is_visible:
                    continue
                if first > start:
                    self._note(self.settled, lease, start, first, Action.ACCEPT)
                self._send(acquired, batch)
                acquired.add_range(first, last, lease.deliveries)
                start = last
            if start < end:
                self._note(self.settled, lease, start, end, Action.ACCEPT)

    def _send(self, acquired: Acquired, batch: _Batch) -> None:
        if acquired.records and acquired.records[-1] is batch.data:
            return
        acquired.records.append(batch.data)
        acquired.byte_count += len(batch.data)
        self._left_bytes -= len(batch.data)
        self._is_first = False

    @staticmethod
    def _note(notes: list[Acknowledgement], lease: Leased, first: int, end: int, action: Action) -> None:
        notes.append(Acknowledgement(lease.topic.id, lease.partition, first, end, lease.number, action))


def _seen(wires: Sequence[Any], fetched: KafkaFetched, *, is_committed: bool) -> Iterable[_Batch]:
    """Record batches, and whether a client sees them: no markers, and nothing aborted where it is not to see that."""
    aborted = sorted(fetched.aborted, key=lambda one: one[1]) if is_committed else []
    active: set[int] = set()
    for data in wires:
        base, attributes, last_delta, _, _, producer = _HEAD.unpack_from(data)
        end = base + last_delta + 1
        while aborted and aborted[0][1] < end:
            active.add(aborted.pop(0)[0])
        is_marker = bool(attributes & CONTROL)
        is_aborted = bool(attributes & TRANSACTIONAL) and producer in active
        if is_marker:
            active.discard(producer)
        yield _Batch(base, end, not is_marker and not is_aborted, data)
