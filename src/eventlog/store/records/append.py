"""
The commands that append records: one record, columns of them, or a producer's batch.

A record may say at which version its key has to be, and under which id it is to be stored only once. That is judged
for all records of a command before anything is written, and in the order in which they were given.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

from eventlog.backend.records import (
    AppendReply,
    Condition,
    Location,
    PartitionRecords,
    Rows,
    StoredRecords,
    wrong_version,
)
from eventlog.backend.topics import StoredTopic
from eventlog.batches.header import EncodedBatch
from eventlog.errors import MessageIdReused, UnknownTopic
from eventlog.interruptions import unless_interrupted
from eventlog.records import Headers
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.key_rows import entity_prefix, pack_entries
from eventlog.store.records.message_ids import StoredMessage, digest_of, find, remember
from eventlog.store.records.write_transaction import WriteTransaction

if TYPE_CHECKING:
    from eventlog.batches.compression import Compressor

# -- columns -------------------------------------------------------------------------------------------------


_new = tuple.__new__
"""A named tuple without its constructor, which takes three times as long."""
NOTHING_STORED = AppendReply(None, ())
"""The reply of a request that is not done."""


class AppendColumns(CommitRequest):
    """
    An append of columns of records to some partitions of one topic.

    If `is_placed`, the number of partitions decided where the records go, and nothing is stored if the topic has more.
    """

    __slots__ = ("_conditions", "_is_placed", "_now_ms", "parts", "reply")
    notifies = True

    def __init__(
        self,
        parts: Sequence[PartitionRecords],
        *,
        is_placed: bool = False,
        conditions: Sequence[Condition] = (),
        now_ms: int = 0,
    ) -> None:
        self.is_done = False  # what `CommitRequest.__init__` does, without the call
        self.error = None
        self.wakeups = []
        self.parts = parts
        self.reply = NOTHING_STORED
        self._is_placed = is_placed
        self._conditions = conditions
        self._now_ms = now_ms

    @property
    def subjects(self) -> Collection[int]:
        """The topics."""
        return {part.topic.id for part in self.parts}

    def apply(self, writing: WriteTransaction) -> None:
        """Put every part at the end of its partition."""
        newer = check_parts(writing, self.parts)
        if newer and self._is_placed:
            self.reply = AppendReply(None, newer)
            return
        stored = replies_to(self.parts)
        if self._conditions:
            judge(writing, self.parts, stored, self._conditions, self._now_ms)
        for part, reply in zip(self.parts, stored, strict=True):
            write_part(writing, part, reply, self._now_ms)
        self.reply = _new(AppendReply, (stored, newer))


class AppendBatch(CommitRequest):
    """
    An append of a producer's batch: nothing waits for it but those who want to know.

    A record that may not be stored leaves the others alone. `parts` is empty once the batch is done.
    """

    __slots__ = ("_now_ms", "_when_done", "newer", "parts", "stored")
    notifies = True

    def __init__(self, records: PartitionRecords, now_ms: int, when_done: Callable[[], object]) -> None:
        self.is_done = False  # what `CommitRequest.__init__` does, without the call
        self.error: BaseException | None = None
        self.wakeups = []
        self.parts: Sequence[PartitionRecords] = (records,)
        self.stored: StoredRecords | None = None
        self.newer: StoredTopic | None = None
        self._now_ms = now_ms
        self._when_done = when_done

    @property
    def subjects(self) -> Collection[int]:
        """The topic."""
        return (self.parts[0].topic.id,)

    def apply(self, writing: WriteTransaction) -> None:
        """Put the batch at the end of its partition, unless it is stored already or may not be."""
        (records,) = self.parts
        now_ms = self._now_ms
        stamp, sequences = records.stamp, None
        if stamp is not None:  # `begin_producer` has imported this: few producers have names
            from eventlog.store.records import producer_epochs as epochs

            epochs.check_epoch(writing, stamp.producer)
            writing.check_topic(records.topic)
            sequences = epochs.check_sequence(writing, records.topic, records.partition, stamp)
            if sequences is None:
                self.stored = epochs.find_stored(writing, records, now_ms)
                return
        try:
            newer = check_parts(writing, self.parts)
        except unless_interrupted(UnknownTopic):
            other = writing.topic_named(records.topic.name)
            if not (records.is_by_name and other is not None and _is_alike(other, records.topic)):
                raise
            records.topic = other
            newer = [other, *check_parts(writing, self.parts)][:1]
        stored = StoredRecords(records.partition, 0 if records.rows is None else records.rows.timestamps_ms)
        if records.message_ids:
            conditions = [Condition(0, index, None, one) for index, one in sorted(records.message_ids.items())]
            judge(writing, self.parts, (stored,), conditions, now_ms, is_lenient=True)
        write_part(writing, records, stored, now_ms)
        if stamp is not None and sequences is not None:
            epochs.remember_sequence(  # pyright: ignore[reportPossiblyUnboundVariable]
                writing, records.topic, records.partition, stamp, sequences
            )
        self.stored = stored
        self.newer = newer[0] if newer else None

    def report(self) -> Callable[[], object] | None:
        """Let go of the records, since deliveries keep us alive, and have the producer told."""
        self.parts = ()
        return self._when_done


def _is_alike(one: StoredTopic, other: StoredTopic) -> bool:
    """Whether records that were encoded and placed for one topic are right for another."""
    alike = other._replace(id=one.id, uuid=one.uuid, created_ms=one.created_ms)
    return one == alike._replace(
        retention=one.retention,
        compression=one.compression,
        compaction=one.compaction,
        kafka_configs=one.kafka_configs,
    )


def check_parts(writing: WriteTransaction, parts: Sequence[PartitionRecords]) -> list[StoredTopic]:
    """
    Raise when a part cannot be stored, before any effect.

    The stored topics that have more partitions than the caller knew of, or are compressed otherwise.
    """
    newer: dict[int, StoredTopic] = {}
    for part in parts:
        topic = part.topic
        stored = writing.check_topic(topic)
        if stored.partitions > topic.partitions or stored.compression != topic.compression:
            newer[stored.id] = stored
        writing.check_partition(topic.id, part.partition)
        if topic.index is not None and part.rows is not None:
            keys = set(part.rows.keys) - {None}
            writing.index.check(writing.transaction, [entity_prefix(topic.id, key) for key in keys if key is not None])
    return list(newer.values())


def replies_to(parts: Sequence[PartitionRecords]) -> list[StoredRecords]:
    """A reply for each part, in which nothing is noted yet."""
    return [StoredRecords(part.partition, 0 if part.rows is None else part.rows.timestamps_ms) for part in parts]


def write_part(writing: WriteTransaction, part: PartitionRecords, reply: StoredRecords, now_ms: int) -> None:
    """Put what is not stored yet at the end of the partition, into the index, and under its ids."""
    batches, rows = part.batches, part.rows
    if reply.others and rows is not None:
        reply.kept = [index for index in range(len(rows.values)) if index not in reply.others]
        batches = list(_encoded(writing, part, rows, reply.kept))
    reply.first_offset, reply.first_position = writing.append(part.topic, part.partition, batches)
    if rows is None:
        return
    if part.topic.index is not None:
        kept = range(len(rows.values)) if reply.kept is None else reply.kept
        reply.versions = _write_index(writing, part.topic.id, reply, rows, kept)
    if part.message_ids:
        _remember_ids(writing, part, reply, rows, now_ms)


def _encoded(
    writing: WriteTransaction, part: PartitionRecords, rows: Rows, kept: Sequence[int]
) -> Iterator[EncodedBatch]:
    """The batches of some of the records; of a stamped part, another begins where a number is left out."""
    stamp = part.stamp
    for run in [kept] if stamp is None else _runs(kept):
        if run:
            batches = writing.encoder.encode(
                [rows.keys[index] for index in run],
                [rows.values[index] for index in run],
                timestamps_ms=[rows.timestamp(index) for index in run],
                headers=None if rows.headers is None else [rows.headers[index] for index in run],
                compressor=writing.compressors.of(part.topic.id, part.topic.compression, part.topic.name),
            )
            if stamp is not None:
                stamp.mark(batches, run[0])
            yield from batches


def _runs(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """The longest pieces in which each number is one more than that before it."""
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            yield numbers[start:place]
            start = place


def _write_index(
    writing: WriteTransaction, topic_id: int, reply: StoredRecords, rows: Rows, kept: Sequence[int]
) -> Sequence[int]:
    """Write the rows of the index; the versions of the records."""
    index, transaction = writing.index, writing.transaction
    count, keys = len(kept), rows.keys
    if not count:
        return []
    offsets = range(reply.first_offset, reply.first_offset + count)
    positions = range(reply.first_position, reply.first_position + count)
    is_whole = count == len(keys)
    values = rows.values if is_whole else [rows.values[place] for place in kept]
    headers = repeat(()) if rows.headers is None else [rows.headers[place] for place in kept]
    times = repeat(rows.timestamps_ms) if isinstance(rows.timestamps_ms, int) else map(rows.timestamp, kept)
    entries = pack_entries(reply.partition, offsets, times, positions, values, headers)
    first = keys[kept[0]]
    if is_whole and first is not None and keys.count(first) == count:
        prefix = entity_prefix(topic_id, first)
        versions: Sequence[int] = index.take_versions(transaction, prefix, count)
        index.add(transaction, {prefix: entries})
        return versions
    places: dict[bytes, list[int]] = {}
    for rank, place in enumerate(kept):
        key = keys[place]
        if key is not None:
            places.setdefault(key, []).append(rank)
    numbers = [0] * count
    by_prefix: dict[bytes, list[bytes]] = {}
    for key, ranks in places.items():
        prefix = entity_prefix(topic_id, key)
        by_prefix[prefix] = [entries[rank] for rank in ranks]
        for rank, version in zip(ranks, index.take_versions(transaction, prefix, len(ranks)), strict=True):
            numbers[rank] = version
    if by_prefix:
        index.add(transaction, by_prefix)
    return numbers


def _remember_ids(
    writing: WriteTransaction, part: PartitionRecords, reply: StoredRecords, rows: Rows, now_ms: int
) -> None:
    messages = []
    for index, message_id in part.message_ids.items():
        if index not in reply.others:
            place = reply.location(index)
            digest = digest_of(rows.keys[index], rows.values[index], rows.headers_of(index))
            messages.append((message_id, StoredMessage(*place[:3], now_ms, *place[3:], digest)))
    if messages:
        remember(writing, part.topic.id, messages, since_ms=now_ms - part.topic.duplicate_window_ms)


# -- conditions ----------------------------------------------------------------------------------------------


def judge(
    writing: WriteTransaction,
    parts: Sequence[PartitionRecords],
    stored: Sequence[StoredRecords],
    conditions: Sequence[Condition],
    now_ms: int,
    *,
    is_lenient: bool = False,
) -> None:
    """
    Raise when a record may not be stored, and note in the replies which are stored already.

    A record that is there already under its id is not judged by its version: it is the one that was right then. If
    lenient, a reused id refuses its own record, and no other.
    """
    pending: dict[bytes, int] = {}
    seen: dict[tuple[int, bytes], tuple[int, int]] = {}
    for number, index, expected, message_id in conditions:
        part, others = parts[number], stored[number].others
        rows = part.rows
        assert rows is not None
        if message_id is not None:
            earlier = seen.get((part.topic.id, message_id))
            try:
                if earlier is not None:
                    _check_same(part, index, message_id, _digest(parts[earlier[0]], earlier[1]))
                    others[index] = (stored[earlier[0]], earlier[1])
                    continue
                first = _find_first(writing, part, index, message_id, now_ms)
            except unless_interrupted(MessageIdReused) as error:
                if not is_lenient:
                    raise
                others[index] = error
                continue
            if first is not None:
                others[index] = first
                continue
            seen[part.topic.id, message_id] = (number, index)
        key = rows.keys[index]
        if part.topic.index is None or key is None:
            continue
        prefix = entity_prefix(part.topic.id, key)
        version = pending.get(prefix)
        if version is None:
            version = writing.index.version(writing.transaction, prefix)
        if expected is not None and expected != version:
            raise wrong_version(part.topic.name, key, expected, version)
        pending[prefix] = version + 1


def _find_first(
    writing: WriteTransaction, part: PartitionRecords, index: int, message_id: bytes, now_ms: int
) -> Location | None:
    topic = part.topic
    stored = find(writing, topic.id, message_id, since_ms=now_ms - topic.duplicate_window_ms)
    if stored is None:
        return None
    _check_same(part, index, message_id, stored.digest)
    return stored.location


def _digest(part: PartitionRecords, index: int) -> bytes:
    assert part.rows is not None
    return digest_of(part.rows.keys[index], part.rows.values[index], part.rows.headers_of(index))


def _check_same(part: PartitionRecords, index: int, message_id: bytes, digest: bytes) -> None:
    if _digest(part, index) != digest:
        raise MessageIdReused(
            f"cannot append to topic {part.topic.name!r} under message id {message_id!r}: another record with other "
            "key, value or headers has it.",
            stored="Nothing was stored.",
            advice="Give this record an id of its own.",
            topic=part.topic.name,
        )


# -- one record ----------------------------------------------------------------------------------------------


class AppendOne(CommitRequest):
    """
    An append of one record, which may share a batch with others of its round.

    `is_placed` is as that of `AppendColumns`; `newer` is the stored topic, if it has more partitions.
    """

    __slots__ = (
        "compressor",
        "expected_version",
        "headers",
        "is_placed",
        "key",
        "log_position",
        "newer",
        "offset",
        "partition",
        "prefix",
        "timestamp_ms",
        "topic",
        "value",
        "version",
    )
    notifies = True

    def __init__(
        self,
        topic: StoredTopic,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        is_placed: bool = False,  # noqa: FBT001, FBT002 - of every append: a keyword takes longer
        expected_version: int | None = None,
    ) -> None:
        self.is_done = False  # what `CommitRequest.__init__` does, without the call
        self.error: BaseException | None = None
        self.wakeups = []
        self.topic = topic
        self.partition = partition
        self.key = key
        self.value = value
        self.headers = headers
        self.timestamp_ms = timestamp_ms
        self.is_placed = is_placed
        self.expected_version = expected_version
        self.prefix: bytes | None = None
        self.compressor: Compressor | None = None
        self.offset = self.log_position = -1
        self.version = 0

    @property
    def subjects(self) -> Collection[int]:
        """The topic."""
        return (self.topic.id,)

    def apply(self, writing: WriteTransaction) -> None:
        """Hand the record to the round, unless it has to be placed again."""
        topic = self.topic
        stored = writing.check_topic(topic)
        self.newer: StoredTopic | None = None
        if stored.partitions > topic.partitions:
            self.newer = stored
            if self.is_placed:
                return
        if stored.compression is not None:
            self.compressor = writing.compressors.of(stored.id, stored.compression, stored.name)
        if self.key is not None and topic.index is not None:
            self.prefix = entity_prefix(topic.id, self.key)
            if self.expected_version is not None:
                actual = writing.index.version(writing.transaction, self.prefix)
                if actual != self.expected_version:
                    raise wrong_version(topic.name, self.key, self.expected_version, actual)
        writing.append_record(self)
