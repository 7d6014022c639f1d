"""
The other tables of the new log, brought into agreement with the batches that came back.

What leads to a lost record is removed: entries of indexes, message ids; committed offsets beyond an end are set to it.
What has lost rows and can be made again is: an index from its records, a projection by its next run.
"""

from __future__ import annotations

from collections.abc import Callable

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import decode
from eventlog.batches.header import NO_LOG_POSITION
from eventlog.errors import EventLogError
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.kafka.rebuilding import Losses, aborted_rows, rebuild
from eventlog.store.kafka.sequences import KAFKA_PRODUCERS
from eventlog.store.lmdb.environment import (
    BATCHES,
    FORMAT,
    GROUPS,
    INDEX,
    MEMBERS,
    MESSAGE_TIMES,
    MESSAGES,
    OFFSETS,
    ORDER,
    PRODUCERS,
    PROJECTIONS,
    SEQUENCES,
    SNAPSHOTS,
    STATE,
    STATES,
    EngineMapFull,
    MapFull,
)
from eventlog.store.records.key_reader import last_version
from eventlog.store.records.key_rows import entity_prefix, pack_entries, pack_row, repacked, split_row_key, unpack_row
from eventlog.store.records.key_writer import KeyIndex
from eventlog.store.records.log_order import position_of
from eventlog.store.records.message_ids import StoredMessage, split_time_key, time_key
from eventlog.store.records.producer_epochs import NEXT_PRODUCER_ID_KEY, ProducerRow, split_sequence_key
from eventlog.store.records.snapshots import unpack_snapshot
from eventlog.store.repair.collect import Search
from eventlog.store.repair.partitions import Partitions
from eventlog.store.repair.queues import begin_again
from eventlog.store.repair.schedules import reconcile_schedules
from eventlog.store.repair.target import Target
from eventlog.store.rows.kafka_transactions import TRANSACTION_KEY, TransactionRow
from eventlog.store.rows.tables import (
    LOST_RECORDS_KEY,
    NEXT_TOPIC_ID_KEY,
    pack_offset,
    split_batch_key,
    split_offset_key,
    unpack_commit,
    unpack_count,
)
from eventlog.store.states.projection_rows import build_state_name, unpack_projection
from eventlog.store.states.rows import ID_BYTES, NEXT_STATE_ID_KEY, unpack_state
from eventlog.store.verify.check_message_ids import difference
from eventlog.store.verify.walk import BatchCache, SnapshotReader

_REBUILT_BATCHES = 100


class Finish:
    """Goes through the tables that depend on the batches."""

    def __init__(self, search: Search, target: Target, partitions: Partitions, missing: set[bytes]) -> None:
        self._search = search
        self._target = target
        self._partitions = partitions
        self._missing = missing
        """The tables of which rows are lost."""
        self._rebuilt: set[int] = set()
        self.notes: list[str] = []

    def go(self, tick: Callable[[int], object]) -> None:
        """Bring all tables into agreement."""
        self._index(tick)
        self._snapshots()
        self._messages()
        self._groups()
        self._producers()
        self._states()
        self._transactions()
        self._queues()
        self._schedules()
        self._ids()
        self._target.flush()

    def rebuild_indexes(self, tick: Callable[[int], object]) -> None:
        """Make all indexes again from the records."""
        for topic in self._partitions.topics.values():
            if topic.index is not None and topic.id not in self._rebuilt:
                self._rebuild(topic, tick)
        self._snapshots()
        self._messages()
        self._target.flush()

    # -- indexes ---------------------------------------------------------------------------------------------

    def _index(self, tick: Callable[[int], object]) -> None:
        topics, target = self._partitions.topics, self._target
        for key, data in target.items(INDEX):
            topic = topics.get(int.from_bytes(key[:4], "big"))
            if topic is None or topic.index is None:
                target.delete(INDEX, key)
                continue
            split_row_key(key)
            entries = unpack_row(data, "a row of the index")
            kept = [
                None if entry is None or not self._partitions.has(topic.id, entry[0], entry[1]) else entry
                for entry in entries
            ]
            if kept != list(entries):
                target.put(INDEX, key, pack_row(len(kept), b"".join(map(repacked, kept))))
        for topic in topics.values():
            if topic.index is None:
                continue
            if INDEX in self._missing and self._has_lost(INDEX, topic.id):
                self._rebuild(topic, tick)
            elif lost := self._partitions.lost_count(topic.id):
                known = unpack_count(target.get(FORMAT, LOST_RECORDS_KEY + topic.id.to_bytes(4, "big")), "lost records")
                target.put(FORMAT, LOST_RECORDS_KEY + topic.id.to_bytes(4, "big"), (lost + known).to_bytes(8, "big"))

    def _has_lost(self, table: bytes, number: int) -> bool:
        """Whether rows whose keys begin with an id may be lost."""
        low, high = number.to_bytes(ID_BYTES, "big"), (number + 1).to_bytes(ID_BYTES, "big")
        spans = self._search.walk.lost.get(table, ())
        return any(span.low < high and (span.high is None or span.high > low) for span in spans)

    def _rebuild(self, topic: StoredTopic, tick: Callable[[int], object]) -> None:
        """Make the index of a topic again from its records, in the order of the log."""
        target, prefix = self._target, topic.id.to_bytes(4, "big")
        for key, _ in target.items(INDEX):
            if key[:4] == prefix:
                target.delete(INDEX, key)
        target.flush()
        index = KeyIndex(target.environment)
        rows: list[tuple[int, bytes]] = []
        for position, key in target.items(ORDER):
            if key[:4] == prefix:
                rows.append((position_of(position), key))
            if len(rows) >= _REBUILT_BATCHES:
                self._add_to_index(index, topic, rows)
                rows.clear()
                tick(0)
        self._add_to_index(index, topic, rows)
        self._rebuilt.add(topic.id)
        self.notes.append(
            f"{topic.name}: its index was made again from its records; versions of keys count from 1, and message ids "
            "and snapshots that do not agree with them were left out."
        )

    def _add_to_index(self, index: KeyIndex, topic: StoredTopic, rows: list[tuple[int, bytes]]) -> None:
        target, entries = self._target, dict[bytes, list[bytes]]()
        for position, key in rows:
            data = target.get(BATCHES, key)
            if data is not None:
                self._collect_entries(topic, position, key, data, entries)
        environment = target.environment
        while entries:
            transaction = environment.begin_writing()
            try:
                index.add(transaction, entries)
                environment.commit(transaction)
            except unless_interrupted(EngineMapFull, MapFull):
                environment.abort(transaction)
                index.forget()
                environment.grow()
                continue
            except BaseException:
                environment.abort(transaction)
                raise
            return

    def _collect_entries(
        self, topic: StoredTopic, last_position: int, key: bytes, data: bytes, entries: dict[bytes, list[bytes]]
    ) -> None:
        """Add the entries of the run of a batch that ends with a position."""
        _, partition, last = split_batch_key(key)
        columns = decode(data, "a batch")
        if columns.log_position == NO_LOG_POSITION:
            return  # older than every index
        run = next(run for run in columns.runs(last) if run.end_position == last_position + 1)
        first = max(run.first, self._partitions.partitions[topic.id, partition].first)
        offsets, positions = columns.offsets(last), columns.log_positions(last)
        packed = pack_entries(partition, offsets, columns.timestamps_ms, positions, columns.values, columns.headers)
        for offset, record_key, entry in zip(offsets, columns.keys, packed, strict=True):
            if record_key is not None and first <= offset < run.end:
                entries.setdefault(entity_prefix(topic.id, record_key), []).append(entry)

    def _snapshots(self) -> None:
        environment, topics = self._target.environment, self._partitions.topics
        for key, data in self._target.items(SNAPSHOTS):
            topic = topics.get(int.from_bytes(key[:4], "big"))
            version = 0
            if topic is not None and topic.index is not None:
                with suppress(EventLogError), environment.reading() as transaction:
                    version = last_version(environment, transaction, key)
            if unpack_snapshot(data).version > version:
                self._target.delete(SNAPSHOTS, key)

    # -- message ids -----------------------------------------------------------------------------------------

    def _messages(self) -> None:
        target, environment, topics = self._target, self._target.environment, self._partitions.topics
        target.flush()
        with environment.reading() as transaction:
            snapshot = SnapshotReader(environment, transaction, BatchCache())
            for key, data in target.items(MESSAGES):
                topic = topics.get(int.from_bytes(key[:ID_BYTES], "big"))
                message = StoredMessage.unpack(data)
                is_there = topic is not None and self._partitions.has(topic.id, message.partition, message.offset)
                if topic is None or not is_there or difference(snapshot, topic, message) is not None:
                    target.delete(MESSAGES, key)
                else:
                    target.put(MESSAGE_TIMES, time_key(topic.id, message.stored_ms) + key[ID_BYTES:], b"")
        for key, _ in target.items(MESSAGE_TIMES):
            _, stored_ms, message_id = split_time_key(key)
            row = target.get(MESSAGES, key[:4] + message_id)
            if row is None or max(StoredMessage.unpack(row).stored_ms, 0) != stored_ms:
                target.delete(MESSAGE_TIMES, key)

    # -- groups, producers, states ---------------------------------------------------------------------------

    def _groups(self) -> None:
        target = self._target
        for key, data in target.items(OFFSETS):
            _, topic_id, partition = split_offset_key(key)
            topic = self._partitions.topics.get(topic_id)
            if topic is None or partition >= topic.partitions:
                target.delete(OFFSETS, key)
                continue
            with suppress(EventLogError):
                commit = unpack_commit(data)
                found = self._partitions.partitions.get((topic_id, partition))
                end = 0 if found is None else found.end
                if commit.offset > end:
                    has_metadata = target.environment.seal is not None
                    target.put(OFFSETS, key, pack_offset(commit._replace(offset=end), has_metadata=has_metadata))
        for key, _ in target.items(MEMBERS):
            if target.get(GROUPS, key.split(b"\0", 1)[0]) is None:
                target.delete(MEMBERS, key)

    def _producers(self) -> None:
        target = self._target
        ids = {ProducerRow.unpack(key.decode(), data).id for key, data in target.items(PRODUCERS)}
        for key, _ in target.items(SEQUENCES):
            producer_id, topic_id, partition = split_sequence_key(key)
            topic = self._partitions.topics.get(topic_id)
            is_known = producer_id in ids or producer_id >= KAFKA_PRODUCERS
            if not is_known or topic is None or partition >= topic.partitions:
                target.delete(SEQUENCES, key)

    def _transactions(self) -> None:
        gaps = {place: found.lost for place, found in self._partitions.partitions.items() if found.lost}
        losses = Losses(gaps, aborted_rows(self._target), FORMAT not in self._missing)
        count = rebuild(self._target, self._partitions.topics, losses)
        if count:
            self.notes.append(f"transactions of Kafka's clients that have no end: {count}. They will be aborted.")

    def _queues(self) -> None:
        if self._search.is_damaged:
            ends = {place: found.end for place, found in self._partitions.partitions.items()}
            names = begin_again(self._target, self._partitions.topics, ends)
            if names:
                self.notes.append(f"queues begin again at their first job that was not done: {', '.join(names)}.")

    def _schedules(self) -> None:
        topics, is_damaged = self._partitions.topics, self._search.is_damaged
        self.notes.extend(reconcile_schedules(self._target, topics, is_damaged=is_damaged))

    def _states(self) -> None:
        target = self._target
        states = {key: unpack_state(key, data).id for key, data in target.items(STATES)}
        doomed: set[int] = set()
        for name, data in target.items(PROJECTIONS):
            row = unpack_projection(name, data)
            builds = [row.active, *([row.rebuilding] if row.rebuilding else [])]
            names = [build_state_name(row.name, build.state_id).encode() for build in builds]
            is_whole = all(one in states for one in names) and not (
                STATE in self._missing and any(self._has_lost(STATE, build.state_id) for build in builds)
            )
            if is_whole:
                doomed.update(row.doomed)
                continue
            target.delete(PROJECTIONS, name)
            self.notes.append(f"projection {row.name!r} was left out: it is folded again when it is opened.")
            for one in names:
                if states.pop(one, None) is not None:
                    target.delete(STATES, one)
        known = {*states.values(), *doomed}
        for key, _ in target.items(STATE):
            if int.from_bytes(key[:ID_BYTES], "big") not in known:
                target.delete(STATE, key)
        self._next_id(NEXT_STATE_ID_KEY, known, 4)

    def _ids(self) -> None:
        target = self._target
        self._next_id(NEXT_TOPIC_ID_KEY, {*self._partitions.topics, *self._partitions.unknown}, 4)
        ids = {ProducerRow.unpack(key.decode(), data).id for key, data in target.items(PRODUCERS)}
        numbers = (split_sequence_key(key)[0] for key, _ in target.items(SEQUENCES))
        kafka_ids = {number - KAFKA_PRODUCERS for number in numbers if number >= KAFKA_PRODUCERS}
        for key, data in self._target.items(FORMAT):
            if key.startswith(TRANSACTION_KEY):
                kafka_ids.add(TransactionRow.unpack(key, data).producer_id)
        self._next_id(NEXT_PRODUCER_ID_KEY, ids | kafka_ids, 8)

    def _next_id(self, key: bytes, ids: set[int], size_bytes: int) -> None:
        """Let no id be given twice."""
        stored = int.from_bytes(self._target.get(FORMAT, key) or b"", "big")
        least = max(ids, default=0) + 1
        if stored < least and ids:
            self._target.put(FORMAT, key, least.to_bytes(size_bytes, "big"))
