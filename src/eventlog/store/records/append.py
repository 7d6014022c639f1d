"""
What can be stored of records: one of them, or columns of them, and what must hold for that.

A record may say at which version its key has to be, and under which id it is to be stored only once. That is judged
for all records of a work before anything is written, and in the order in which they were given. Knows nothing of who
asked, and of how rounds are made.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from itertools import repeat
from typing import NamedTuple

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import EncodedBatch
from eventlog.errors import EventLogError, MessageIdReused, WrongVersion
from eventlog.records import Headers
from eventlog.store.records.key_rows import entity_prefix, pack_entries
from eventlog.store.records.message_ids import StoredMessage, digest_of, find, remember
from eventlog.store.records.write_transaction import CommitRequest, WriteTransaction


class Place(NamedTuple):
    """Is where one record is stored; `version` is 0 where its topic has no index, or it has no key."""

    partition: int
    offset: int
    timestamp_ms: int
    log_position: int
    version: int


@attrs.define(slots=True, eq=False, repr=False)
class Rows:
    """The records of a part in columns: what the index and the ids need of them, and what they are encoded from."""

    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    timestamps_ms: int | Sequence[int]
    headers: Sequence[Headers] | None = None

    def timestamp(self, index: int) -> int:
        """The timestamp of one record."""
        return self.timestamps_ms if isinstance(self.timestamps_ms, int) else self.timestamps_ms[index]

    def headers_of(self, index: int) -> Headers:
        """The headers of one record."""
        return () if self.headers is None else self.headers[index]

    def encoded(self, writing: WriteTransaction, kept: Sequence[int]) -> list[EncodedBatch]:
        """The batches of some of the records."""
        return writing.encoder.encode(
            [self.keys[index] for index in kept],
            [self.values[index] for index in kept],
            timestamps_ms=[self.timestamp(index) for index in kept],
            headers=None if self.headers is None else [self.headers[index] for index in kept],
        )


class Part:
    """
    Is what a work puts into one partition.

    `base` and `log_position` are those of the first record, once it is stored. `rows` is needed where the topic has an
    index, or records have ids; then `place` tells where each record is.
    """

    __slots__ = (
        "_kept",
        "_twins",
        "base",
        "batches",
        "log_position",
        "message_ids",
        "partition",
        "rows",
        "topic",
        "versions",
    )

    def __init__(
        self, topic: StoredTopic, partition: int, batches: list[EncodedBatch], rows: Rows | None = None
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.batches = batches
        self.rows = rows
        self.message_ids: dict[int, bytes] = {}
        self.base = -1
        self.log_position = -1
        self.versions: Sequence[int] | None = None
        self.reset()

    def reset(self) -> None:
        """Forgets what an earlier attempt has found."""
        self._twins: dict[int, Place | tuple[Part, int] | EventLogError] = {}
        self._kept: Sequence[int] | None = None

    def free(self) -> None:
        """Lets go of what only storing needs; `place` still answers."""
        self.batches = []
        if self.rows is not None:
            self.rows = attrs.evolve(self.rows, keys=(), values=(), headers=None)

    def note_twin(self, index: int, first: Place | tuple[Part, int]) -> None:
        """Says that a record is stored already, or comes earlier in the same work."""
        self._twins[index] = first

    def refuse(self, index: int, error: EventLogError) -> None:
        """Says that a record is not stored, for its own sake; the others are."""
        self._twins[index] = error

    @property
    def refusals(self) -> dict[int, EventLogError]:
        """Why some records were not stored."""
        return {index: twin for index, twin in self._twins.items() if isinstance(twin, EventLogError)}

    def place(self, index: int) -> Place:
        """Where one record is stored, or was stored before."""
        twin = self._twins.get(index)
        if isinstance(twin, Place):
            return twin
        if isinstance(twin, EventLogError):
            raise twin
        if twin is not None:
            return twin[0].place(twin[1])
        rank = index if self._kept is None else bisect_left(self._kept, index)
        timestamp_ms = 0 if self.rows is None else self.rows.timestamp(index)
        version = 0 if self.versions is None else self.versions[rank]
        return Place(self.partition, self.base + rank, timestamp_ms, self.log_position + rank, version)

    def write(self, writing: WriteTransaction, now_ms: int) -> None:
        """Puts what is not stored yet at the end of the partition, into the index, and under its ids."""
        batches, rows = self.batches, self.rows
        if self._twins and rows is not None:
            self._kept = [index for index in range(len(rows.values)) if index not in self._twins]
            batches = rows.encoded(writing, self._kept) if self._kept else []
        self.base, self.log_position = writing.append(self.topic, self.partition, batches)
        if rows is None:
            return
        kept = range(len(rows.values)) if self._kept is None else self._kept
        if self.topic.index is not None:
            self.versions = self._index(writing, rows, kept)
        if self.message_ids:
            self._remember(writing, rows, now_ms)

    def _index(self, writing: WriteTransaction, rows: Rows, kept: Sequence[int]) -> Sequence[int]:
        """Writes the rows of the index; the versions of the records."""
        index, transaction = writing.index, writing.transaction
        count, keys = len(kept), rows.keys
        if not count:
            return []
        offsets = range(self.base, self.base + count)
        positions = range(self.log_position, self.log_position + count)
        is_whole = count == len(keys)
        values = rows.values if is_whole else [rows.values[place] for place in kept]
        headers = repeat(()) if rows.headers is None else [rows.headers[place] for place in kept]
        times = repeat(rows.timestamps_ms) if isinstance(rows.timestamps_ms, int) else map(rows.timestamp, kept)
        entries = pack_entries(self.partition, offsets, times, positions, values, headers)
        first = keys[kept[0]]
        if is_whole and first is not None and keys.count(first) == count:
            prefix = entity_prefix(self.topic.id, first)
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
            prefix = entity_prefix(self.topic.id, key)
            by_prefix[prefix] = [entries[rank] for rank in ranks]
            for rank, version in zip(ranks, index.take_versions(transaction, prefix, len(ranks)), strict=True):
                numbers[rank] = version
        if by_prefix:
            index.add(transaction, by_prefix)
        return numbers

    def _remember(self, writing: WriteTransaction, rows: Rows, now_ms: int) -> None:
        messages = []
        for index, message_id in self.message_ids.items():
            if index not in self._twins:
                place = self.place(index)
                digest = digest_of(rows.keys[index], rows.values[index], rows.headers_of(index))
                messages.append((message_id, StoredMessage(*place[:3], now_ms, *place[3:], digest)))
        if messages:
            remember(writing, self.topic.id, messages, since_ms=now_ms - self.topic.duplicate_window_ms)


class Condition(NamedTuple):
    """
    One record of a part whose version or id is to be judged.

    Every record of a topic with an index counts, in the order in which they are stored, where one of them expects a
    version.
    """

    part: Part
    place: int
    expected_version: int | None = None
    message_id: bytes | None = None


def judge(writing: WriteTransaction, conditions: Sequence[Condition], now_ms: int, *, is_lenient: bool = False) -> None:
    """
    Raises when a record may not be stored, and notes which are stored already.

    A record that is there already under its id is not judged by its version: it is the one that was right then. If
    lenient, a reused id refuses its own record, and no other.
    """
    pending: dict[bytes, int] = {}
    seen: dict[tuple[int, bytes], tuple[Part, int]] = {}
    for condition in conditions:
        part, index, expected, message_id = condition
        assert part.rows is not None
        if message_id is not None:
            try:
                first = seen.get((part.topic.id, message_id)) or _stored(writing, part, index, message_id, now_ms)
                if first is not None and not isinstance(first, Place):
                    _check_same(part, index, message_id, _digest(*first))
            except MessageIdReused as error:
                if not is_lenient:
                    raise
                part.refuse(index, error)
                continue
            if first is not None:
                part.note_twin(index, first)
                continue
            seen[part.topic.id, message_id] = (part, index)
        key = part.rows.keys[index]
        if part.topic.index is None or key is None:
            continue
        prefix = entity_prefix(part.topic.id, key)
        version = pending.get(prefix)
        if version is None:
            version = writing.index.version(writing.transaction, prefix)
        if expected is not None and expected != version:
            raise wrong_version(part.topic.name, key, expected, version)
        pending[prefix] = version + 1


def _stored(writing: WriteTransaction, part: Part, index: int, message_id: bytes, now_ms: int) -> Place | None:
    topic = part.topic
    stored = find(writing, topic.id, message_id, since_ms=now_ms - topic.duplicate_window_ms)
    if stored is None:
        return None
    _check_same(part, index, message_id, stored.digest)
    return Place(stored.partition, stored.offset, stored.timestamp_ms, stored.log_position, stored.version)


def _digest(part: Part, index: int) -> bytes:
    assert part.rows is not None
    return digest_of(part.rows.keys[index], part.rows.values[index], part.rows.headers_of(index))


def _check_same(part: Part, index: int, message_id: bytes, digest: bytes) -> None:
    if _digest(part, index) != digest:
        raise MessageIdReused(
            f"cannot append to topic {part.topic.name!r} under message id {message_id!r}: another record with other "
            "key, value or headers has it. Nothing was stored. Give this record an id of its own."
        )


def wrong_version(topic: str, key: bytes, expected: int, actual: int) -> WrongVersion:
    """The error for an entity that is not where the caller thinks it is."""
    return WrongVersion(
        f"cannot append to key {key!r} of topic {topic!r}: it is expected at version {expected}, and is at version "
        f"{actual}. Nothing was stored. Read history() from version {expected + 1} on, decide again, and append with "
        f"expected_version={actual}."
        if actual > expected
        else f"cannot append to key {key!r} of topic {topic!r}: it is expected at version {expected}, and is at "
        f"version {actual}. Nothing was stored. Read its history() anew, and append with expected_version={actual}.",
        expected=expected,
        actual=actual,
    )


class Append(CommitRequest):
    """
    Appends columns of records to some partitions of one topic.

    `newer` is the topic as it is stored now, if it has more partitions than whoever appends knew of. If `is_placed`,
    their number decided where the records go, and nothing is stored then.
    """

    __slots__ = ("conditions", "is_placed", "newer", "now_ms", "parts")
    rings = True
    is_lenient = False
    """Whether a record that may not be stored leaves the others alone."""

    def __init__(
        self, parts: list[Part], *, is_placed: bool = False, conditions: Sequence[Condition] = (), now_ms: int = 0
    ) -> None:
        super().__init__()
        self.parts = parts
        self.is_placed = is_placed
        self.conditions = conditions
        self.now_ms = now_ms
        self.newer: StoredTopic | None = None

    @property
    def subjects(self) -> Collection[int]:
        """The topics."""
        return {part.topic.id for part in self.parts}

    @property
    def is_refused(self) -> bool:
        """Whether nothing was stored, because it has to be placed anew."""
        return self.is_placed and self.newer is not None

    def apply(self, writing: WriteTransaction) -> None:
        """Puts every part at the end of its partition."""
        self.newer = check_parts(writing, self.parts)
        if self.is_refused:
            return
        if self.conditions:
            judge(writing, self.conditions, self.now_ms, is_lenient=self.is_lenient)
        for part in self.parts:
            part.write(writing, self.now_ms)


def check_parts(writing: WriteTransaction, parts: Sequence[Part]) -> StoredTopic | None:
    """
    Raises when a part cannot be stored, before any effect.

    The stored topic of a part whose topic has more partitions than who appends knew of.
    """
    newer: StoredTopic | None = None
    for part in parts:
        stored = writing.check_topic(part.topic)
        if stored.partitions > part.topic.partitions:
            newer = stored
        writing.check_partition(part.topic.id, part.partition)
        if part.topic.index is not None and part.rows is not None:
            keys = set(part.rows.keys) - {None}
            writing.index.check(
                writing.transaction, [entity_prefix(part.topic.id, key) for key in keys if key is not None]
            )
        part.reset()
    return newer


class AppendOne(CommitRequest):
    """
    Appends one record, which may share a batch with others of its round.

    `is_placed` and `newer` are as those of `Append`.
    """

    __slots__ = (
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
    rings = True

    def __init__(
        self,
        topic: StoredTopic,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        *,
        is_placed: bool = False,
        expected_version: int | None = None,
    ) -> None:
        self.is_done = False  # what `CommitRequest.__init__` does, without the call
        self.error = None
        self.bell = None
        self.topic = topic
        self.partition = partition
        self.key = key
        self.value = value
        self.headers = headers
        self.timestamp_ms = timestamp_ms
        self.is_placed = is_placed
        self.expected_version = expected_version
        self.newer: StoredTopic | None = None
        self.prefix: bytes | None = None
        self.offset = -1
        self.log_position = -1
        self.version = 0

    @property
    def subjects(self) -> Collection[int]:
        """The topic."""
        return (self.topic.id,)

    @property
    def is_refused(self) -> bool:
        """Whether nothing was stored, because it has to be placed anew."""
        return self.is_placed and self.newer is not None

    def apply(self, writing: WriteTransaction) -> None:
        """Hands the record to the round, unless it has to be placed anew."""
        topic = self.topic
        stored = writing.check_topic(topic)
        self.newer = None
        if stored.partitions > topic.partitions:
            self.newer = stored
            if self.is_placed:
                return
        if self.key is not None and topic.index is not None:
            self.prefix = entity_prefix(topic.id, self.key)
            if self.expected_version is not None:
                actual = writing.index.version(writing.transaction, self.prefix)
                if actual != self.expected_version:
                    raise wrong_version(topic.name, self.key, self.expected_version, actual)
        writing.append_record(self)
