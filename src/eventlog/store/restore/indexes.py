"""Making the indexes of a restored log again, with the versions that the records had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import decode
from eventlog.batches.header import NO_LOG_POSITION
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import BATCHES, INDEX, EngineMapFull, MapFull
from eventlog.store.records.key_reader import last_version
from eventlog.store.records.key_rows import entity_prefix, pack_entries, pack_row, version_key
from eventlog.store.records.key_writer import KeyIndex
from eventlog.store.records.log_order import position_of
from eventlog.store.repair.target import Target
from eventlog.store.rows.tables import split_batch_key

_ENTRIES_AT_ONCE = 100_000
_BYTES_AT_ONCE = 32 << 20
"""What is collected before it is written: the more, the more often a key's entries go into its row together."""


class Indexes:
    """
    Goes through the order of a new log, and writes the entries of the records with a key.

    Args:
        topics: those with an index, by their ids.
        firsts: the first offset that may be read, of partitions where that is not 0.
        versions: by their log positions, of records that do not have the next version of their key.
    """

    def __init__(
        self,
        target: Target,
        topics: dict[int, StoredTopic],
        firsts: dict[tuple[int, int], int],
        versions: dict[int, int],
    ) -> None:
        self._target = target
        self._topics = topics
        self._firsts = firsts
        self._versions = versions
        self._index = KeyIndex(target.environment)
        self._entries: dict[bytes, list[bytes]] = {}
        self._jumps: dict[bytes, int] = {}
        """The version with which the entries of a key begin, where that is not the next one."""
        self._dropped: dict[bytes, int] = {}
        """The version of the last record of a key, if it was deleted: the next one goes on from there."""
        self._count = self._size_bytes = 0
        self.missing: Counter[int] = Counter()
        """By topic ids, how many versions no record has."""

    def add_row(self, position: bytes, key: bytes) -> None:
        """Add the records to which a row of the order leads; those that were deleted since count as versions."""
        topic_id, partition, last = split_batch_key(key)
        if topic_id not in self._topics:
            return
        data = self._target.get(BATCHES, key)
        columns = decode(data or b"", "a batch of a backup")
        if columns.log_position == NO_LOG_POSITION:
            return  # older than every index
        behind = position_of(position) + 1
        run = next(run for run in columns.runs(last) if run.end_position == behind)
        first = self._firsts.get((topic_id, partition), 0)
        offsets, positions = columns.offsets(last), columns.log_positions(last)
        packed = pack_entries(partition, offsets, columns.timestamps_ms, positions, columns.values, columns.headers)
        for offset, place, record_key, entry in zip(offsets, positions, columns.keys, packed, strict=True):
            if record_key is not None and run.first <= offset < run.end:
                prefix = entity_prefix(topic_id, record_key)
                if offset < first:
                    self._drop(prefix, place)
                else:
                    self._add(prefix, place, entry)
        if self._count >= _ENTRIES_AT_ONCE or self._size_bytes >= _BYTES_AT_ONCE:
            self.flush()

    def _drop(self, prefix: bytes, position: int) -> None:
        version = self._versions.get(position)
        if version is None and (version := self._dropped.get(prefix)) is not None:
            version += 1
        elif version is None:
            if prefix in self._entries:
                self.flush()
            version = self._stored(prefix) + 1
        self._dropped[prefix] = version

    def _stored(self, prefix: bytes) -> int:
        environment = self._target.environment
        return environment.read(lambda transaction: last_version(environment, transaction, prefix))

    def _add(self, prefix: bytes, position: int, entry: bytes) -> None:
        version, dropped = self._versions.get(position), self._dropped.pop(prefix, None)
        if version is None and dropped is not None:
            version = dropped + 1
        if version is not None:
            if prefix in self._entries:
                self.flush()
            self._jumps[prefix] = version
        self._entries.setdefault(prefix, []).append(entry)
        self._count += 1
        self._size_bytes += len(entry)

    def flush(self) -> None:
        """Write what was collected."""
        environment = self._target.environment
        while self._entries:
            transaction, missing = environment.begin_writing(), Counter[int]()
            try:
                for prefix, version in self._jumps.items():
                    if (gap := version - self._index.version(transaction, prefix) - 1) > 0:
                        self._index.skip_to(prefix, version)
                        missing[int.from_bytes(prefix[:4], "big")] += gap
                self._index.add(transaction, self._entries)
                environment.commit(transaction)
            except unless_interrupted(EngineMapFull, MapFull):
                environment.abort(transaction)
                self._index.forget()
                environment.grow()
                continue
            except BaseException:
                environment.abort(transaction)
                raise
            self.missing += missing
            self._index.trim()
            self._entries, self._jumps, self._count, self._size_bytes = {}, {}, 0, 0

    def end_keys(self, keys: list[tuple[bytes, int, bool]], tick: Callable[[], object]) -> None:
        """Let keys whose last records are gone go on with the version that comes next."""
        target = self._target
        versions = dict(self._dropped)
        for prefix, version, _ in keys:
            if int.from_bytes(prefix[:4], "big") in self._topics:
                versions[prefix] = max(version, versions.get(prefix, 0))
        for prefix, version in versions.items():
            if (gap := version - self._stored(prefix)) > 0:
                self.missing[int.from_bytes(prefix[:4], "big")] += gap
                target.put(INDEX, prefix + version_key(version + 1), pack_row(0, b""))
            tick()
        target.flush()
