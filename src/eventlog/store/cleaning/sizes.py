"""
The sizes of topics: the bytes of their stored batches, kept up to date without walking over all of them.

A first look walks over the topic. Later ones add what the order of the log has got since. Where somebody else has
deleted records in between, the topic is walked over again. So is a topic that is compacted or repacked, each time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from eventlog.backend.topics import StoredTopic
from eventlog.store.cleaning.expiry import Doomed
from eventlog.store.lmdb.environment import BATCHES, ORDER, PARTITIONS, Environment, Snapshot
from eventlog.store.records.log_order import end_log_position, order_key
from eventlog.store.rows.tables import PartitionRow, split_batch_key


class TopicSizes:
    """The sizes of some topics in bytes."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._bytes: dict[int, int] = {}
        self._firsts: dict[int, dict[bytes, int]] = {}
        """The first offsets of the partitions of a topic, as they were when its size was right."""
        self._end = 0
        """The log position up to which all batches are counted."""

    def refresh(self, transaction: Snapshot, topics: Collection[StoredTopic]) -> None:
        """Bring the sizes of these topics up to date with a snapshot, and forget those of others."""
        wanted = {topic.id for topic in topics}
        rewritten = {topic.id for topic in topics if topic.compaction.is_on}
        self._bytes = {one: size for one, size in self._bytes.items() if one in wanted}
        self._add_new(transaction)
        for topic_id in wanted:
            firsts = self._firsts_of(transaction, topic_id)
            if topic_id in rewritten or topic_id not in self._bytes or firsts != self._firsts.get(topic_id):
                self._bytes[topic_id] = self._walk(transaction, topic_id)
                self._firsts[topic_id] = firsts

    def of(self, topic: StoredTopic) -> int:
        """The size of a topic when it was refreshed, without what was deleted since."""
        return self._bytes[topic.id]

    def deleted(self, topic: StoredTopic, batches: Iterable[Doomed]) -> None:
        """Note that these batches were deleted."""
        firsts = self._firsts[topic.id]
        for batch in batches:
            self._bytes[topic.id] -= batch.stored_bytes
            key = topic.id.to_bytes(4, "big") + batch.partition.to_bytes(4, "big")
            firsts[key] = max(batch.end, firsts.get(key, 0))

    def _add_new(self, transaction: Snapshot) -> None:
        table, order = self._environment.table(BATCHES), self._environment.table(ORDER)
        end = end_log_position(self._environment, transaction)
        if not self._bytes:
            self._end = end
            return
        with transaction.cursor(db=order) as cursor:
            is_found = cursor.set_range(order_key(self._end))
            while is_found:
                key = bytes(self._environment.value(ORDER, *cursor.item()))
                topic_id = split_batch_key(key)[0]
                if topic_id in self._bytes and (data := transaction.get(key, db=table)) is not None:
                    self._bytes[topic_id] += len(data)
                is_found = cursor.next()
        self._end = end

    def _firsts_of(self, transaction: Snapshot, topic_id: int) -> dict[bytes, int]:
        prefix, firsts = topic_id.to_bytes(4, "big"), {}
        with transaction.cursor(db=self._environment.table(PARTITIONS)) as cursor:
            is_found = cursor.set_range(prefix)
            while is_found and (key := bytes(cursor.key())).startswith(prefix):
                firsts[key] = PartitionRow.unpack(self._environment.value(PARTITIONS, key, cursor.value())).first
                is_found = cursor.next()
        return firsts

    def _walk(self, transaction: Snapshot, topic_id: int) -> int:
        prefix, size = topic_id.to_bytes(4, "big"), 0
        with transaction.cursor(db=self._environment.table(BATCHES)) as cursor:
            if cursor.set_range(prefix):
                for key, data in cursor.iternext():
                    if bytes(key[:4]) != prefix:
                        break
                    size += len(data)
        return size
