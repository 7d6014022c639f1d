"""
Dead letters: records that a queue gives up, put into another topic in the commit in which it does.

Key, value and headers are copied as they are stored, and headers are added by the names that Kafka gives them from 4.4
on (KIP-1191). The partition is that of the record, modulo their number, which is Kafka's rule too.
"""

from __future__ import annotations

from bisect import bisect_left

from eventlog.backend.queues import StoredQueue
from eventlog.backend.reading import PASSED_BY, Fetch
from eventlog.backend.records import PartitionRecords, Rows, StoredRecords
from eventlog.backend.topics import DUPLICATE_WINDOW_MS, NewTopic, StoredTopic
from eventlog.batches.format import decode
from eventlog.named_tuples import NamedTuple
from eventlog.options import MAX_RECORD_BYTES
from eventlog.records import Headers
from eventlog.store.records.append import write_part
from eventlog.store.records.reader import fetch_within
from eventlog.store.records.topics import EnsureTopic
from eventlog.store.records.write_transaction import WriteTransaction

HEADERS_BEGIN = "__dlq.errors."
"""How the names of all headers begin that a dead letter has for being one."""
TOO_OFTEN = "Offset delivery count exceeded the threshold."
"""Kafka's words for a record that was handed out as often as it may be."""
REJECTED = "Offset rejected by client."
"""Kafka's words for one that a client has rejected."""
GONE = "Record is gone: deleted before it could be read."
TRACEBACK = "eventlog.traceback"
"""The header that says more than the reason, which Kafka has not."""
_MOST_BYTES = 8192
_BYTES: dict[str, object] = {"name": "bytes"}


class StoredRecord(NamedTuple):
    """One record as it is stored."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def stored_records(
    writing: WriteTransaction, topic_id: int, partition: int, first: int, end: int
) -> list[StoredRecord]:
    """
    The records of some offsets that are still there.

    Raises:
        CorruptBatch, FormatTooNew, MissingLibrary: one cannot be read.
    """
    found: list[StoredRecord] = []
    first = max(first, writing.partition_first(topic_id, partition))
    while first < end:
        (answer,) = fetch_within(
            writing.environment, writing.transaction, [Fetch(topic_id, partition, first)], max_bytes=1
        )
        if not answer.batches:
            break
        last, data = answer.batches[0]
        if data != PASSED_BY:
            columns = decode(data, f"the batch of topic id {topic_id}[{partition}] up to offset {last}")
            offsets = columns.offsets(last)
            for index in range(bisect_left(offsets, first), bisect_left(offsets, end)):
                headers = tuple(columns.headers[index]) if columns.headers else ()
                found.append(StoredRecord(offsets[index], columns.keys[index], columns.values[index], headers))
        first = last + 1
    return found


class DeadLetter(NamedTuple):
    """A record that is given up: where it is, how often it was handed out, and why."""

    topic: str
    partition: int
    record: StoredRecord
    deliveries: int
    reason: str
    details: str = ""

    def headers(self, group: str) -> Headers:
        """Its own headers and those for being a dead letter, whose values are text."""
        added = {
            "topic": self.topic,
            "partition": str(self.partition),
            "offset": str(self.record.offset),
            "group": group,
            "delivery.count": str(self.deliveries),
            "message": self.reason,
        }
        kept = [pair for pair in self.record.headers if not pair[0].startswith((HEADERS_BEGIN, TRACEBACK))]
        kept += [(HEADERS_BEGIN + name, text.encode(errors="replace")[:_MOST_BYTES]) for name, text in added.items()]
        if self.details:
            kept.append((TRACEBACK, self.details.encode(errors="replace")[-_MOST_BYTES:]))
        return tuple(kept)


def bury(writing: WriteTransaction, queue: StoredQueue, letters: list[DeadLetter], now_ms: int) -> int | None:
    """Put dead letters into the topic of a queue; return its id, None if it keeps none."""
    name = queue.options.dead_letters
    if name is None or not letters:
        return None
    topic = _topic(writing, name, now_ms)
    for number in sorted({letter.partition % topic.partitions for letter in letters}):
        part = [letter for letter in letters if letter.partition % topic.partitions == number]
        keys = [letter.record.key for letter in part]
        values = [letter.record.value for letter in part]
        headers = [letter.headers(queue.name) for letter in part]
        compressor = writing.compressors.of(topic.id, topic.compression, topic.name)
        batches = writing.encoder.encode(keys, values, timestamps_ms=now_ms, headers=headers, compressor=compressor)
        records = PartitionRecords(topic, number, batches, Rows(keys, values, now_ms, headers))
        write_part(writing, records, StoredRecords(number, now_ms), now_ms)
    return topic.id


def _topic(writing: WriteTransaction, name: str, now_ms: int) -> StoredTopic:
    """The topic; made again, of bytes, if somebody has deleted it: no letter is lost for that."""
    topic = writing.topic_named(name)
    if topic is not None:
        return topic
    new = NewTopic(name, 1, _BYTES, _BYTES, "crc32", MAX_RECORD_BYTES, None, DUPLICATE_WINDOW_MS, {"name": "msgpack"})
    made = EnsureTopic(new, now_ms)
    made.apply(writing)
    assert made.topic is not None
    return made.topic
