"""
The check of topic indexes: every record with a key has its entry, and every entry its record.

The index is sorted by key and the batches by partition, so looking up each entry's record would read the log many times
over. Instead both sides are summed up, in any order; if the sums of a topic differ, because of damage or of a writer
in the meantime, `compare` looks up every record and every entry. Snapshots belong to keys and are checked here too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import Columns, decode
from eventlog.batches.header import NO_LOG_POSITION
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import BATCHES, INDEX, Environment
from eventlog.store.records.key_reader import last_version
from eventlog.store.records.key_rows import (
    LEAST_KEY_BYTES,
    Entry,
    entity_prefix,
    escaped,
    pack_entries,
    repacked,
    split_row_key,
    unescaped,
    unpack_row,
    version_key,
)
from eventlog.store.records.snapshots import unpack_snapshot
from eventlog.store.rows.tables import RECORD_ROWS, split_batch_key
from eventlog.store.verify.walk import UNREADABLE, BatchCache, Problems, SnapshotReader, said, walk

_SUM_MASK = 2**64 - 1


class IndexSums:
    """
    The sums over the records of each topic, from its batches and from its index.

    Args:
        end: the log position from which records are ignored: those appended during the walks would be counted on one
            side only.
    """

    def __init__(self, end: int) -> None:
        self._end = end
        self._batches: Counter[int] = Counter()
        self._index: Counter[int] = Counter()

    def add_batch(
        self, snapshot: SnapshotReader, topic: StoredTopic, partition: int, last: int, columns: Columns
    ) -> None:
        """Add the readable records of a batch that have a key."""
        if columns.log_position == NO_LOG_POSITION:
            return  # older than every index
        total = 0
        first = snapshot.bounds(topic.id, partition)[0]
        offsets = columns.offsets(last)
        positions = columns.log_positions(last)
        entries = pack_entries(partition, offsets, columns.timestamps_ms, positions, columns.values, columns.headers)
        for offset, position, key, entry in zip(offsets, positions, columns.keys, entries, strict=True):
            if key is not None and offset >= first and position < self._end:
                total += _fingerprint(key, entry)
        self._batches[topic.id] = (self._batches[topic.id] + total) & _SUM_MASK

    def add_entry(self, topic_id: int, key: bytes, entry: Entry) -> None:
        """Add an entry of the index."""
        if entry[3] < self._end:
            total = self._index[topic_id] + _fingerprint(key, repacked(entry))
            self._index[topic_id] = total & _SUM_MASK

    def unequal_topics(self) -> list[int]:
        """Return the ids of the topics whose sums differ."""
        return sorted(
            topic_id for topic_id in {*self._batches, *self._index} if self._batches[topic_id] != self._index[topic_id]
        )


def _fingerprint(key: bytes, entry: bytes) -> int:
    return hash((key, entry)) & _SUM_MASK


class IndexCheck:
    """
    Checks each row of the index, and that the rows of a key follow each other.

    Versions may be missing where records were deleted, and no more of them than the topic has lost. Since versions are
    in the order of the log, there are never more between two records than positions.
    """

    def __init__(self, problems: Problems, sums: IndexSums) -> None:
        self._problems = problems
        self._sums = sums
        self._topic_id = -1
        self._missing = 0
        self._deleted = -1
        self._prefix = b""
        self._next_version = 1
        self._last = (0, -1)
        self._is_empty = False
        self._is_unknown = False

    def unreadable(self, key: bytes, error: BaseException) -> None:
        """Report a row that cannot be read."""
        self._problems.add(f"{_named(key)}: {said(error)}")
        self._is_unknown = True  # where the next row of the key has to begin

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        """Check one row."""
        prefix, version = split_row_key(key)
        topic_id = int.from_bytes(prefix[:4], "big")
        topic = snapshot.topic(topic_id)
        name = _named(key, topic)
        if topic is None or topic.index is None:
            self._problems.add(f"{name}: its topic {'does not exist' if topic is None else 'has no index'}.")
            return
        if topic_id != self._topic_id:
            self._topic_id, self._missing, self._deleted = topic_id, 0, -1
        if prefix != self._prefix:
            self._prefix, self._next_version, self._last = prefix, 1, (0, -1)
            self._is_empty = self._is_unknown = False
        entries = unpack_row(data, name)
        self._check_begin(snapshot, name, version, entries)
        record_key = unescaped(prefix[4:])
        for number, entry in enumerate(entries, version):
            if entry is not None and not _is_left(snapshot, topic_id, entry):
                self._check_entry(snapshot, name, topic, number, entry)
                self._sums.add_entry(topic_id, record_key, entry)

    def _check_begin(self, snapshot: SnapshotReader, name: str, version: int, entries: Sequence[Entry | None]) -> None:
        add, expected = self._problems.add, self._next_version
        if self._is_empty:
            add(f"{name}: it comes after an empty row, which must be the last of its key.")
        if not self._is_unknown and version < expected:
            add(f"{name}: it begins at version {version}, but the row before it ends at {expected}.")
        gone = entries.count(None) + (0 if self._is_unknown else max(version - expected, 0))
        if gone and not self._is_deleted(snapshot, gone):
            add(f"{name}: versions are missing before it or in it, but no deletion of records explains that.")
        elif not entries and version - self._last[0] > snapshot.end_position() - self._last[1]:
            add(f"{name}: its version is beyond the end of the log.")
        self._next_version, self._is_empty, self._is_unknown = version + len(entries), not entries, False

    def _is_deleted(self, snapshot: SnapshotReader, count: int) -> bool:
        """Whether that number of further records may have been deleted from the topic; if not, they are not counted."""
        if self._missing + count > self._deleted:
            self._deleted = snapshot.deleted_count(self._topic_id)
        if self._missing + count > self._deleted:
            return False
        self._missing += count
        return True

    def _check_entry(self, snapshot: SnapshotReader, name: str, topic: StoredTopic, number: int, entry: Entry) -> None:
        partition, offset, _, log_position, _, _ = entry
        first, end = snapshot.bounds(topic.id, partition)
        if partition >= topic.partitions or not first <= offset < end:
            self._problems.add(
                f"{name}: version {number} is at offset {offset} of partition {partition}, where there is no record."
            )
        last_version, last_position = self._last
        if log_position <= last_position:
            self._problems.add(
                f"{name}: version {number} has position {log_position}, but the one before it {last_position}."
            )
        elif number - last_version > log_position - last_position:
            self._problems.add(
                f"{name}: version {number} has position {log_position}, and version {last_version} {last_position}: "
                "there is no room for those between."
            )
        self._last = number, max(last_position, log_position)


def _is_left(snapshot: SnapshotReader, topic_id: int, entry: Entry) -> bool:
    """Whether an entry is of a record that was deleted in steps, which have not come to it yet."""
    first = snapshot.bounds(topic_id, entry[0])[0]
    return entry[1] < first and snapshot.has_left(RECORD_ROWS, topic_id)


def _named(key: bytes, topic: StoredTopic | None = None) -> str:
    topic_id = int.from_bytes(key[:4], "big")
    name = f"topic id {topic_id}" if topic is None else topic.name
    return f"index of {name}, key {unescaped(key[4:-8])!r} from version {int.from_bytes(key[-8:], 'big')} on"


# --- one by one -----------------------------------------------------------------------------------------------------


def compare(
    environment: Environment, topic_id: int, problems: Problems, cache: BatchCache, tick: Callable[[], object]
) -> None:
    """Look up the record of every entry and the entry of every record of a topic, until the report is full."""
    prefix = topic_id.to_bytes(4, "big")
    walk(environment, INDEX, _EntriesHaveRecords(problems), cache=cache, prefix=prefix, tick=tick)
    walk(environment, BATCHES, _RecordsHaveEntries(problems), cache=cache, prefix=prefix, tick=tick)


class _EntriesHaveRecords:
    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def unreadable(self, key: bytes, error: BaseException) -> None:
        """Do nothing: the row was reported before."""

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        if self._problems.is_full:
            return
        prefix, version = split_row_key(key)
        topic_id = int.from_bytes(prefix[:4], "big")
        name = _named(key, snapshot.topic(topic_id))
        for number, entry in enumerate(unpack_row(data, name), version):
            if entry is None:
                continue
            partition, offset = entry[:2]
            first, end = snapshot.bounds(topic_id, partition)
            if first <= offset < end:
                found = snapshot.batch(topic_id, partition, offset)
                if found is None:
                    self._problems.add(f"{name}: version {number} is at offset {offset}, which is in no batch.")
                elif found[1] is not None and (what := _difference(unescaped(prefix[4:]), entry, *found)):
                    self._problems.add(
                        f"{name}: {what} of version {number} is not that of offset {offset} of partition {partition}."
                    )


def _difference(key: bytes, entry: Entry, last: int, columns: Columns | None) -> str | None:
    """The part in which an entry differs from its record; None if there is none."""
    assert columns is not None
    _, offset, timestamp_ms, log_position, value, headers = entry
    try:
        place = columns.offsets(last).index(offset)
    except unless_interrupted(ValueError):
        return "the offset"
    if columns.keys[place] != key:
        return "the key"
    if columns.timestamps_ms[place] != timestamp_ms:
        return "the timestamp"
    if columns.log_positions(last)[place] != log_position:
        return "the position"
    if headers is not None and (columns.values[place], columns.headers[place]) != (value, headers):
        return "the content"
    return None


class _RecordsHaveEntries:
    """Remembers the row of the last record of some keys, because the next record is there or in a later row."""

    _MOST_KNOWN = 10_000

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._rows: dict[bytes, int] = {}

    def unreadable(self, key: bytes, error: BaseException) -> None:
        """Do nothing: the row was reported before."""

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        topic_id, partition, last = split_batch_key(key)
        topic = snapshot.topic(topic_id)
        if topic is None or topic.index is None or self._problems.is_full:
            return
        columns = decode(data, "a batch")
        first = snapshot.bounds(topic_id, partition)[0]
        if len(self._rows) > self._MOST_KNOWN:
            self._rows.clear()
        for offset, record_key in zip(columns.offsets(last), columns.keys, strict=True):
            if record_key is None or offset < first:
                continue
            prefix = entity_prefix(topic_id, record_key)
            known = self._rows.get(prefix, 1)
            if not self._is_found(snapshot, prefix, known, partition, offset) and (
                known == 1 or not self._is_found(snapshot, prefix, 1, partition, offset)
            ):
                self._problems.add(
                    f"{topic.name}[{partition}] offset {offset}: the index of its topic does not have it under key "
                    f"{record_key!r}."
                )

    def _is_found(self, snapshot: SnapshotReader, prefix: bytes, version: int, partition: int, offset: int) -> bool:
        """Whether a row from a version on has the record; also if a row is damaged, which was reported before."""
        with snapshot.transaction.cursor(db=snapshot.environment.table(INDEX)) as cursor:
            is_there = cursor.set_range(prefix + version_key(version))
            while is_there and bytes(cursor.key())[:-8] == prefix:
                try:
                    entries = unpack_row(bytes(cursor.value()), "a row")
                except unless_interrupted(*UNREADABLE):
                    return True
                if any(_is_at(entry, partition, offset) for entry in entries):
                    self._rows[prefix] = int.from_bytes(bytes(cursor.key())[-8:], "big")
                    return True
                is_there = cursor.next()
        return False


def _is_at(entry: object, partition: int, offset: int) -> bool:
    return isinstance(entry, tuple) and entry[:2] == (partition, offset)


def entry_at(snapshot: SnapshotReader, prefix: bytes, version: int) -> Entry | None:
    """Return the entry of a version of a key, or None."""
    with snapshot.transaction.cursor(db=snapshot.environment.table(INDEX)) as cursor:
        is_behind = cursor.set_range(prefix + version_key(version + 1))
        if not (cursor.prev() if is_behind else cursor.last()):
            return None
        key, data = bytes(cursor.key()), bytes(cursor.value())
    if key[:-8] != prefix:
        return None
    entries = unpack_row(data, _named(key))
    place = version - int.from_bytes(key[-8:], "big")
    return entries[place] if place < len(entries) else None


# --- snapshots ------------------------------------------------------------------------------------------------------


class SnapshotCheck:
    """Checks each snapshot: its version must not be above that of its key."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def unreadable(self, key: bytes, error: BaseException) -> None:
        """Report a row that cannot be read."""
        self._problems.add(f"snapshot of {_key_named(key, None)}: {said(error)}")

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        """Check one row."""
        topic = snapshot.topic(int.from_bytes(key[:4], "big"))
        name = f"snapshot of {_key_named(key, topic)}"
        if len(key) < LEAST_KEY_BYTES - 8 or escaped(unescaped(key[4:])) != key[4:]:
            raise ValueError("its key is not what was written.")
        if topic is None or topic.index is None:
            self._problems.add(f"{name}: its topic {'does not exist' if topic is None else 'has no index'}.")
            return
        version = unpack_snapshot(data)[0]
        actual = last_version(snapshot.environment, snapshot.transaction, key)
        if not 1 <= version <= actual:
            self._problems.add(f"{name}: it is of version {version}, but the key is at version {actual}.")


def _key_named(key: bytes, topic: StoredTopic | None) -> str:
    name = f"topic id {int.from_bytes(key[:4], 'big')}" if topic is None else topic.name
    return f"key {unescaped(key[4:])!r} of {name}"
