"""
The command that appends record batches of Kafka's clients, each judged by itself.

Header, checksum and records are judged before the commit, in the thread that prepares the request; what depends on the
log, in it: topic, partition, room in the index, sequence numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import attrs

from eventlog.backend.kafka import KafkaAppend, KafkaAppended, KafkaRefusal
from eventlog.backend.records import PartitionRecords, Rows, StoredRecords
from eventlog.backend.topics import StoredTopic
from eventlog.batches.header import EncodedBatch
from eventlog.batches.kafka_batch import KafkaHead, UnfitBatch, accept, check_records, read_records
from eventlog.errors import EventLogError, FormatTooOld, RecordTooLarge, UnknownPartition
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.kafka.producer_ids import next_producer_id
from eventlog.store.kafka.producers import admit, is_writing, note_written, refusal
from eventlog.store.kafka.sequences import (
    NO_PRODUCER_ID,
    KafkaProducerRow,
    SequencedBatch,
    check_sequence,
    find_duplicate,
    last_sequence,
    producer_key,
)
from eventlog.store.lmdb.environment import SEQUENCES, Environment
from eventlog.store.records.append import check_parts, write_part
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction

_EPOCH_AT = 12
_EPOCH = bytes(4)
"""The leader epoch of every partition: one node leads them all, and always has."""
_NOTHING = "Nothing of this batch was stored."


class Membership(NamedTuple):
    """
    The transactional id of a request, and whether its partitions join the transaction by it (KIP-890).

    `code` is that of a batch for a partition that is in no transaction.
    """

    transactional_id: str | None = None
    adds: bool = False
    code: str = "INVALID_TXN_STATE"


@attrs.define(slots=True, eq=False)
class JudgedPart:
    """A record batch whose bytes are right."""

    topic: StoredTopic
    partition: int
    batch: EncodedBatch
    head: KafkaHead
    rows: Rows | None
    """The records, where the topic has an index."""

    @property
    def what(self) -> str:
        """The place it is for, in messages."""
        return f"{self.topic.name}[{self.partition}]"


def judge_part(part: KafkaAppend, latest_ms: int | None) -> JudgedPart:
    """
    Return a record batch whose bytes are right.

    Raises:
        KafkaRefusal, RecordTooLarge, MissingLibrary: they are not, or they cannot be read and have to be.
    """
    topic, partition, sent = part
    data = b"".join((sent[:_EPOCH_AT], _EPOCH, sent[_EPOCH_AT + len(_EPOCH) :]))
    what = f"{topic.name}[{partition}]"
    if len(data) > topic.max_record_bytes:
        raise RecordTooLarge(
            f"cannot store a record batch of {len(data)} bytes in {what}: the topic's max_record_bytes is "
            f"{topic.max_record_bytes}, which bounds a batch of Kafka's as max.message.bytes does.",
            stored=_NOTHING,
            advice="Send smaller batches, or fewer records in each.",
            topic=topic.name,
            partition=partition,
        )
    try:
        batch, head = accept(data)
        check_head(head, latest_ms)
        rows = None
        if topic.index is None and topic.compaction.by is None:
            check_records(data, head, what)
        else:
            columns = read_records(data, f"a record batch for {what}")
            if topic.compaction.by is not None and None in columns.keys:
                raise UnfitBatch("the topic is compacted, and a record has no key", "INVALID_RECORD")
            rows = Rows(columns.keys, columns.values, columns.timestamps_ms, columns.headers)
    except unless_interrupted(UnfitBatch) as error:
        raise KafkaRefusal(
            f"cannot store a record batch in {what}: {error}.",
            code=error.code,
            stored=_NOTHING,
            advice="The client that sent it is at fault, or what lies between.",
            topic=topic.name,
            partition=partition,
        ) from error
    return JudgedPart(topic, partition, batch, head, rows if topic.index is not None else None)


def check_head(head: KafkaHead, latest_ms: int | None) -> None:
    """Raise `UnfitBatch` if a batch of a client says what Kafka's broker refuses, though its bytes are right."""
    if head.record_count != head.last_delta + 1:
        count, span = head.record_count, head.last_delta + 1
        raise UnfitBatch(f"it has {count} records over {span} offsets", "INVALID_RECORD")
    if latest_ms is not None and head.largest_ms > latest_ms:
        raise UnfitBatch(
            f"a record is of the time {head.largest_ms}, and the latest is {latest_ms}", "INVALID_TIMESTAMP"
        )
    if head.producer_id != NO_PRODUCER_ID and (head.producer_id < 0 or head.producer_epoch < 0 or head.sequence < 0):
        numbers = (head.producer_id, head.producer_epoch, head.sequence)
        code = "INVALID_PRODUCER_EPOCH" if head.producer_epoch < 0 else "INVALID_RECORD"
        raise UnfitBatch(f"it has producer id, epoch and sequence {numbers}", code)


def check_transactional(part: JudgedPart, membership: Membership) -> None:
    """Raise `KafkaRefusal` if a batch says that it is of a transaction, and its request or its header names none."""
    name, head = membership.transactional_id, part.head
    if name is None:
        code, why = "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "its request has no transactional id"
    elif head.producer_id == NO_PRODUCER_ID:
        code, why = "INVALID_RECORD", "it has no producer id"
    else:
        return
    raise KafkaRefusal(
        f"cannot store a record batch of a transaction in {part.what}: {why}.",
        code=code,
        stored=_NOTHING,
        advice="The client that sent it is at fault.",
        topic=part.topic.name,
        partition=part.partition,
    )


def prepare_produce(
    environment: Environment,
    parts: Sequence[KafkaAppend],
    when_done: Callable[[], object],
    *,
    now_ms: int,
    latest_ms: int | None,
    membership: Membership,
    is_enough: Callable[[], bool] = bool,
) -> ProduceBatches:
    """
    Return a request to append record batches, whose bytes are judged here, up to the first after which it is enough.

    Raises:
        FormatTooOld: the log has format 3.
    """
    if environment.seal is None:
        raise FormatTooOld(
            f"cannot store record batches of Kafka's: the log at {environment.path} has format 3, without such "
            "batches.",
            stored="Nothing was stored.",
            advice="Close it in all programs and run `eventlog upgrade` on it, or open it with upgrade=True.",
        )
    judged: list[JudgedPart | EventLogError] = []
    for part in parts:
        try:
            one = judge_part(part, latest_ms)
            if one.head.is_transactional:
                check_transactional(one, membership)
            judged.append(one)
        except unless_interrupted(EventLogError) as error:
            judged.append(_without_frames(error))
        if is_enough():
            break
    return ProduceBatches(judged, when_done, now_ms, membership)


def _without_frames(error: EventLogError) -> EventLogError:
    """An error that is kept: its frames, and those of its causes, hold what records became when decompressed."""
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


class ProduceBatches(CommitRequest):
    """
    An append of record batches, of which those that may be stored are.

    `parts` has the error of each batch that was refused before. `replies` are those of the last `apply`.
    """

    __slots__ = ("_membership", "_now_ms", "_parts", "_when_done", "judged_count", "replies")
    notifies = True

    def __init__(
        self,
        parts: Sequence[JudgedPart | EventLogError],
        when_done: Callable[[], object],
        now_ms: int,
        membership: Membership,
    ) -> None:
        super().__init__()
        self._membership = membership
        self._parts = parts
        self.judged_count = len(parts)
        self._when_done = when_done
        self._now_ms = now_ms
        self.replies: Sequence[KafkaAppended] = ()
        if not any(isinstance(part, JudgedPart) for part in parts):
            self.replies = [KafkaAppended(part) for part in parts if isinstance(part, EventLogError)]
            self.is_done = True

    @property
    def subjects(self) -> Collection[int]:
        """The topics."""
        return {part.topic.id for part in self._parts if isinstance(part, JudgedPart)}

    def apply(self, writing: WriteTransaction) -> None:
        """Put each batch at the end of its partition, unless it is stored already or may not be."""
        replies = []
        for part in self._parts:
            if isinstance(part, EventLogError):
                replies.append(KafkaAppended(part))
                continue
            try:
                row, stored = judge(writing, part, self._membership, self._now_ms)
            except unless_interrupted(EventLogError) as error:  # damage, too: nothing of the part was written
                replies.append(KafkaAppended(error))
                continue
            offset = store(writing, part, row, self._now_ms) if stored is None else stored.offset
            replies.append(KafkaAppended(None, offset, writing.partition_first(part.topic.id, part.partition)))
        self.replies = replies

    def report(self) -> Callable[[], object] | None:
        """Let go of the batches, and have the caller told."""
        self._parts = ()
        return self._when_done


def judge(
    writing: WriteTransaction, part: JudgedPart, membership: Membership, now_ms: int
) -> tuple[KafkaProducerRow | None, SequencedBatch | None]:
    """
    Return what the partition knows of the batch's producer, and where the batch is if it is stored already.

    Raises:
        EventLogError: it may not be stored. Nothing was written.
    """
    topic, partition, head = part.topic, part.partition, part.head
    stored = writing.check_topic(topic)
    if not 0 <= partition < stored.partitions:
        raise UnknownPartition(
            f"topic {topic.name!r} has no partition {partition}, but 0 to {stored.partitions - 1}.",
            stored=_NOTHING,
            advice="Ask for the topic's metadata again.",
            topic=topic.name,
            partition=partition,
        )
    check_parts(writing, [PartitionRecords(topic, partition, [part.batch], part.rows)])
    if head.producer_id == NO_PRODUCER_ID:
        return None, None
    data = writing.get(SEQUENCES, producer_key(head.producer_id, topic.id, partition))
    row = None if data is None else KafkaProducerRow.unpack(data)
    if row is None and head.producer_id >= next_producer_id(writing):
        raise KafkaRefusal(
            f"cannot store a batch of {part.what}: this log has given the id {head.producer_id} to no producer.",
            code="UNKNOWN_PRODUCER_ID",
            stored=_NOTHING,
            advice="The producer has to ask for another id; it got this one from another log.",
            topic=topic.name,
            partition=partition,
        )
    duplicate = find_duplicate(row, head.producer_epoch, head.sequence, head.record_count)
    if duplicate is None:
        check_sequence(row, head.producer_id, head.producer_epoch, head.sequence, part.what)
        if row is None and head.is_transactional and membership.adds and head.sequence:
            # Each transaction of the second protocol begins with sequence 0: what came before this was refused.
            unknown = KafkaProducerRow(head.producer_epoch, now_ms)
            check_sequence(unknown, head.producer_id, head.producer_epoch, head.sequence, part.what)
        _check_transaction(writing, part, membership, now_ms)
    return row, duplicate


def _check_transaction(writing: WriteTransaction, part: JudgedPart, membership: Membership, now_ms: int) -> None:
    """Raise `KafkaRefusal` if a batch is of no transaction that is open, or of none where its producer has one."""
    topic, partition, head = part.topic, part.partition, part.head
    if head.is_transactional and topic.index is not None:
        raise KafkaRefusal(
            f"cannot store a record batch of a transaction in {part.what}: the topic has an index, whose versions are "
            "in the order of the log.",
            code="POLICY_VIOLATION",
            stored=_NOTHING,
            advice="Send it outside of a transaction, or into a topic without an index.",
            topic=topic.name,
            partition=partition,
        )
    if head.is_transactional:
        admit(
            writing,
            membership.transactional_id,
            head.producer_id,
            head.producer_epoch,
            topic,
            partition,
            now_ms,
            adds=membership.adds,
            code=membership.code,
        )
    elif is_writing(writing, topic, partition, head.producer_id):
        raise refusal(str(membership.transactional_id), "INVALID_TXN_STATE", "a batch outside of its transaction came")


def store(writing: WriteTransaction, part: JudgedPart, row: KafkaProducerRow | None, now_ms: int) -> int:
    """Put a batch at the end of its partition, into the index, and behind what its producer sent; its first offset."""
    topic, partition, head = part.topic, part.partition, part.head
    reply = StoredRecords(partition, 0 if part.rows is None else part.rows.timestamps_ms)
    write_part(writing, PartitionRecords(topic, partition, [part.batch], part.rows), reply, now_ms)
    if head.producer_id != NO_PRODUCER_ID:
        last = last_sequence(head.sequence, head.record_count)
        batch = SequencedBatch(head.sequence, last, reply.first_offset)
        before = KafkaProducerRow(head.producer_epoch, now_ms) if row is None else row
        new = before.with_batch(head.producer_epoch, batch, now_ms)
        if head.is_transactional:
            new = note_written(
                writing, topic, partition, head.producer_id, reply.first_offset, reply.first_position, new
            )
        writing.put(SEQUENCES, producer_key(head.producer_id, topic.id, partition), new.pack())
    return reply.first_offset
