"""Reading everything that is stored from some offsets on, for clients of Kafka's protocol."""

from __future__ import annotations

from collections.abc import Iterable

from eventlog.backend.kafka import KafkaFetch, KafkaFetched
from eventlog.backend.reading import StoredBatch
from eventlog.batches.header import COMPRESSION_AT, COMPRESSION_MASK, unpacked_bytes
from eventlog.batches.kafka_marks import kafka_marks
from eventlog.errors import CorruptBatch, OffsetOutOfRange
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import BATCHES, CopyingCursor, Environment, Transaction
from eventlog.store.records.reader import bounds_within, unsorted_batches
from eventlog.store.records.visibility import aborted_between, first_opens
from eventlog.store.rows.packing import LARGEST
from eventlog.store.rows.tables import BATCH_KEY_BYTES, batch_key, partition_key


def fetch_stored(
    environment: Environment, requests: Iterable[KafkaFetch], max_bytes: int
) -> tuple[list[KafkaFetched], int]:
    """Everything that is stored from some offsets on, and the commit number of the snapshot."""

    def look(transaction: Transaction) -> tuple[list[KafkaFetched], int]:
        return fetch_stored_within(environment, transaction, requests, max_bytes), transaction.id()

    return environment.read(look)


def fetch_stored_within(
    environment: Environment, transaction: Transaction, requests: Iterable[KafkaFetch], max_bytes: int
) -> list[KafkaFetched]:
    """The batches of several partitions with their bounds, in the order of the requests."""
    answers: list[KafkaFetched] = []
    requests, is_first = list(requests), True
    opens = first_opens(environment, transaction, [(request.topic_id, request.partition) for request in requests])
    with transaction.cursor(db=environment.tables[BATCHES]) as cursor:
        for request in requests:
            batches: list[StoredBatch] = []
            try:
                ((first, end),) = bounds_within(environment, transaction, [request[:2]])
                stable = min(end, max(first, opens.get((request.topic_id, request.partition), end)))
                if not first <= request.offset <= end:
                    answers.append(KafkaFetched(_out_of_range(request, first, end), [], first, end, stable))
                    continue
                stop = stable if request.only_committed else end
                room = min(max_bytes, request.max_bytes)
                if request.offset < stop and (room > 0 or is_first):
                    batches, size = _batches(cursor, request, stop, room, is_forced=is_first)
                    max_bytes -= size
                    is_first = is_first and not batches
                aborted = _aborted(environment, transaction, request, batches)
            except unless_interrupted(CorruptBatch) as error:
                answers.append(KafkaFetched(error, [], -1, -1, -1))
                continue
            answers.append(KafkaFetched(None, batches, first, end, stable, aborted))
    return answers


def _aborted(
    environment: Environment, transaction: Transaction, request: KafkaFetch, batches: list[StoredBatch]
) -> list[tuple[int, int]]:
    """The aborted transactions that reach into some batches, which one of them alone can tell of."""
    if not request.only_committed or not any(kafka_marks(batch.data).is_transactional for batch in batches):
        return []
    rows = aborted_between(
        environment, transaction, request.topic_id, request.partition, request.offset, batches[-1].last + 1
    )
    return [(row.producer_id, row.first) for row in rows]


def _batches(
    cursor: CopyingCursor, request: KafkaFetch, stop: int, room: int, *, is_forced: bool
) -> tuple[list[StoredBatch], int]:
    """The batches before `stop` that fit, the first one even if it does not where that is forced; and their bytes."""
    topic_id, partition, offset = request[:3]
    prefix = partition_key(topic_id, partition)
    batches: list[StoredBatch] = []
    total = 0
    is_found = cursor.set_range(batch_key(topic_id, partition, offset))
    while is_found and offset < stop:
        key = cursor.key()
        if not key.startswith(prefix):
            break
        data, last = cursor.value(), int.from_bytes(key[8:], "big")
        if len(key) != BATCH_KEY_BYTES or not offset <= last < LARGEST:
            raise unsorted_batches(topic_id, partition)
        size = len(data)
        if size > COMPRESSION_AT and data[COMPRESSION_AT] & COMPRESSION_MASK:
            size = unpacked_bytes(data)
        if total + size > room and (batches or not is_forced):
            break
        batches.append(StoredBatch(last, data))
        offset = last + 1
        total += size
        is_found = cursor.next()
    return batches, total


def _out_of_range(request: KafkaFetch, first: int, end: int) -> OffsetOutOfRange:
    return OffsetOutOfRange(
        f"cannot read offset {request.offset} of partition {request.partition} of topic id {request.topic_id}: it "
        f"begins at {first} and ends at {end}.",
        stored="Nothing was changed.",
        advice="Ask for an offset between them.",
        first=first,
        end=end,
        partition=request.partition,
        offset=request.offset,
    )
