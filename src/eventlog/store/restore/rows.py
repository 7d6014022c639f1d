"""
The small tables of a restored log.

They are those of the last backup that ended at the wanted log position or before it, as they were: their offsets,
states and checkpoints lead to nothing that is not there. If the first backup ended behind it, its tables are cut:
states and projections are of a later moment and are left out, and offsets end where their partitions do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgpack

from eventlog.backend.topics import StoredTopic
from eventlog.store.backup.files import TABLES, read_entries
from eventlog.store.backup.manifest import Manifest, Moment
from eventlog.store.backup.tables import COPIED, Rows
from eventlog.store.lmdb.environment import (
    FORMAT,
    MESSAGE_TIMES,
    MESSAGES,
    OFFSETS,
    PARTITIONS,
    PROJECTIONS,
    QUEUES,
    SCHEDULE,
    SEQUENCES,
    SNAPSHOTS,
    STATE,
    STATES,
    TOPICS,
)
from eventlog.store.records.key_reader import last_version
from eventlog.store.records.log_order import (
    DELETIONS_KEY,
    END_POSITION_KEY,
    order_key,
    pack_deletion,
    position_of,
    unpack_deletion,
)
from eventlog.store.records.message_ids import StoredMessage, time_key
from eventlog.store.records.snapshots import unpack_snapshot
from eventlog.store.repair.schedules import reconcile_schedules
from eventlog.store.repair.target import Target
from eventlog.store.restore.batches import Place, Placed
from eventlog.store.rows.compaction import COMPACTION_KEY, CompactionRow, split_compaction_key
from eventlog.store.rows.queues import QUEUE
from eventlog.store.rows.schedules import FAILED, WAITING
from eventlog.store.rows.tables import (
    BRANCH_KEY,
    FORMAT_KEY,
    FORMAT_VERSION,
    KEYLESS_KEY,
    LEFT_ROWS,
    FormatRow,
    PartitionRow,
    pack_offset,
    partition_key,
    split_offset_key,
    split_partition_key,
    unpack_commit,
    unpack_topic,
)
from eventlog.store.states.projection_rows import unpack_projection
from eventlog.store.states.rows import unpack_state

_IDS = (b"next topic id", b"next state id", b"next producer id", b"topics version")
"""The rows of numbers that never go back."""
_SCHEDULES = "all schedules"
_OF_LATER_STATE = frozenset({STATES, STATE, PROJECTIONS, SEQUENCES, QUEUES, SCHEDULE})


class TableFiles:
    """
    The tables of the backups beside a log position.

    `before` is the last backup that ended there or before, `after` the next one; one of the two may be None.
    """

    def __init__(self, folder: str, manifest: Manifest, before: Moment | None, after: Moment | None) -> None:
        self._folder = folder
        self._manifest = manifest
        self.before = before
        self.after = after

    @property
    def is_cut(self) -> bool:
        """Whether the tables are of a later moment, and have to be cut."""
        return self.before is None

    @property
    def base(self) -> Moment:
        """The backup that the tables are of."""
        found = self.before or self.after
        assert found is not None
        return found

    def rows(self, moment: Moment) -> Iterator[tuple[bytes, Rows]]:
        """The rows of the tables of a backup, some at a time."""
        file = moment.file(TABLES)
        assert file is not None
        for entry in read_entries(self._folder, file, sound_end=self._manifest.sound_end(moment)):
            table, rows = msgpack.unpackb(entry)
            yield table, rows

    def of(self, moment: Moment | None, *tables: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        """The rows of some tables of a backup; what comes behind them in the file is not read."""
        last = max(map(COPIED.index, tables))
        for table, rows in () if moment is None else self.rows(moment):
            if COPIED.index(table) > last:
                return
            if table in tables:
                for key, value in rows:
                    yield table, key, value

    def firsts(self, moment: Moment) -> dict[Place, int]:
        """The first offsets of the partitions that had lost records."""
        return {
            split_partition_key(key): PartitionRow.unpack(value).first for _, key, value in self.of(moment, PARTITIONS)
        }


class Topics:
    """
    The topics of a restored log: those of the backup before, and those of the next one that had records by then.

    A topic that was deleted in between is there: nobody knows whether that was before or after the wanted position.
    """

    def __init__(self, files: TableFiles) -> None:
        self._earlier = {key: value for _, key, value in files.of(files.before, TOPICS)}
        self._later = {key: value for _, key, value in files.of(files.after, TOPICS)}
        self.rows: dict[bytes, bytes] = {}
        self.by_id: dict[int, StoredTopic] = {}

    def indexed(self) -> set[int]:
        """The ids of those with an index."""
        rows = [*self._earlier.items(), *self._later.items()]
        return {topic.id for topic in (unpack_topic(*row) for row in rows) if topic.index is not None}

    def choose(self, with_records: set[int]) -> None:
        """Choose, now that it is known which topic ids have records."""
        self.rows = dict(self._earlier)
        for name, row in self._later.items():
            if unpack_topic(name, row).id in with_records or (name in self.rows and self._is_same(name, row)):
                self.rows[name] = row
        self.by_id = {topic.id: topic for topic in (unpack_topic(*item) for item in self.rows.items())}

    def _is_same(self, name: bytes, row: bytes) -> bool:
        """Whether a topic is the same in both, and has been given partitions in between, maybe."""
        earlier, later = unpack_topic(name, self._earlier[name]), unpack_topic(name, row)
        return earlier.id == later.id and later.partitions > earlier.partitions


class Restoring:
    """Writes the small tables, once the batches are in their place."""

    def __init__(self, target: Target, files: TableFiles, topics: Topics, placed: Placed, end: int) -> None:
        self._target = target
        self._files = files
        self._topics = topics
        self._placed = placed
        self._end = end
        self.cut_offsets = 0
        self.left_out: list[str] = []
        self.firsts: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}

    def bounds(self) -> None:
        """Write the topics, and where partitions begin."""
        for name, row in self._topics.rows.items():
            self._target.put(TOPICS, name, row)
        stored = {
            split_partition_key(key): PartitionRow.unpack(value)
            for _, key, value in self._files.of(self._files.base, PARTITIONS)
        }
        for place in {*stored, *self._placed.firsts}:
            topic = self._topics.by_id.get(place[0])
            if topic is None or place[1] >= topic.partitions:
                continue
            bounds = stored.get(place, PartitionRow())
            first = max(bounds.first, self._placed.firsts.get(place, 0))
            end = max(first, bounds.end)
            if self._files.is_cut:
                end = max(first, min(bounds.end, self._placed.ends.get(place, 0)))
            self.firsts[place], self._ends[place] = first, end
            self._target.put(PARTITIONS, partition_key(*place), PartitionRow(first, end, bounds.largest_ms).pack())
        self._target.flush()

    def write(self, tick: Callable[[], object]) -> None:
        """Write all other tables."""
        states = self._state_ids()
        for table, rows in self._files.rows(self._files.base):
            for key, value in rows:
                self._row(table, key, value, states)
            tick()
        if self._files.before is not None and self._files.before.end < self._end:
            for table, key, value in self._files.of(self._files.after, MESSAGES, FORMAT):
                if table == MESSAGES and self._files.before.end <= StoredMessage.unpack(value).log_position:
                    self._message(key, value)
                elif key in _IDS:
                    self._target.put(FORMAT, key, value)
                elif key.startswith(COMPACTION_KEY):
                    self._format_row(key, value)  # batches that it has since compacted are here without those records
        self._target.put(FORMAT, END_POSITION_KEY, order_key(self._end))
        reconcile_schedules(self._target, self._topics.by_id, is_damaged=False)  # those of topics that are not there go
        self._target.flush()

    def check_snapshots(self) -> None:
        """Remove the snapshots of keys that are not at their version."""
        environment = self._target.environment
        for key, value in self._target.items(SNAPSHOTS):
            topic = self._topics.by_id.get(int.from_bytes(key[:4], "big"))
            version = 0
            if topic is not None and topic.index is not None:
                version = environment.read(lambda transaction, key=key: last_version(environment, transaction, key))  # type: ignore[misc]
            if unpack_snapshot(value).version > version:
                self._target.delete(SNAPSHOTS, key)
        self._target.flush()

    def _state_ids(self) -> set[int]:
        """The ids of the states whose rows are copied; the rows of others were being deleted."""
        ids: set[int] = set()
        for table, key, value in self._files.of(self._files.base, STATES, PROJECTIONS):
            if table == STATES:
                ids.add(unpack_state(key, value).id)
            else:
                ids.update(unpack_projection(key, value).doomed)
        return ids

    def _row(self, table: bytes, key: bytes, value: bytes, states: set[int]) -> None:
        if self._files.is_cut and table in _OF_LATER_STATE:
            self._leave_out(table, key)
        elif table == FORMAT:
            self._format_row(key, value)
        elif table == OFFSETS:
            self._offset(key, value)
        elif table == MESSAGES:
            self._message(key, value)
        elif table not in (TOPICS, PARTITIONS) and self._has_owner(table, key, states):
            self._target.put(table, key, value)

    def _has_owner(self, table: bytes, key: bytes, states: set[int]) -> bool:
        """Whether the state or the topic is there that a row is of."""
        if table == STATE:
            return int.from_bytes(key[:4], "big") in states
        if table in (SEQUENCES, SNAPSHOTS):
            topic = key[8:12] if table == SEQUENCES else key[:4]
            return int.from_bytes(topic, "big") in self._topics.by_id
        return True

    def _leave_out(self, table: bytes, key: bytes) -> None:
        if table == PROJECTIONS or (table == STATES and not key.startswith(b"projection:")):
            self.left_out.append(f"{'state' if table == STATES else 'projection'} {key.decode()!r}")
        elif table == QUEUES and key.startswith(QUEUE):
            self.left_out.append(f"queue {key[1:].decode()!r}")
        elif table == SCHEDULE and key[:1] in (WAITING, FAILED):
            if _SCHEDULES not in self.left_out:
                self.left_out.append(_SCHEDULES)

    def _format_row(self, key: bytes, value: bytes) -> None:
        if key == FORMAT_KEY:
            value = FormatRow.unpack(value, "the backup")._replace(version=FORMAT_VERSION).pack()
        elif key.startswith((LEFT_ROWS, KEYLESS_KEY)) or key in (BRANCH_KEY, END_POSITION_KEY):
            return
        elif key.startswith(DELETIONS_KEY):
            if key != DELETIONS_KEY and int.from_bytes(key[-8:-4], "big") not in self._topics.by_id:
                return
            position, number = unpack_deletion(value)
            value = pack_deletion(min(position, self._end), number)
        elif key.startswith(COMPACTION_KEY):
            place = split_compaction_key(key)
            if place[0] not in self._topics.by_id:
                return
            # What was dropped since it was copied is back: no part is clean.
            dropped = min(CompactionRow.unpack(value).dropped_count, self._placed.hole_counts.get(place, 0))
            value = CompactionRow(dropped_count=dropped).pack()
        elif key == b"old positions":
            value = order_key(min(position_of(value), self._end))
        self._target.put(FORMAT, key, value)

    def _offset(self, key: bytes, value: bytes) -> None:
        _, topic_id, partition = split_offset_key(key)
        topic = self._topics.by_id.get(topic_id)
        if topic is None or partition >= topic.partitions:
            return
        commit, end = unpack_commit(value), self._partition_end(topic_id, partition)
        if commit.offset > end and self._files.is_cut:
            self.cut_offsets += 1
            value = pack_offset(commit._replace(offset=end))
        self._target.put(OFFSETS, key, value)

    def _partition_end(self, topic_id: int, partition: int) -> int:
        place = topic_id, partition
        return max(self._placed.ends.get(place, 0), self._ends.get(place, 0))

    def _message(self, key: bytes, value: bytes) -> None:
        message = StoredMessage.unpack(value)
        topic_id = int.from_bytes(key[:4], "big")
        is_there = topic_id in self._topics.by_id and message.offset < self._partition_end(topic_id, message.partition)
        if is_there and message.log_position < self._end:
            self._target.put(MESSAGES, key, value)
            self._target.put(MESSAGE_TIMES, time_key(topic_id, max(message.stored_ms, 0)) + key[4:], b"")
