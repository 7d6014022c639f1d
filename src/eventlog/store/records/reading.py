"""The reading methods of `Store` (`eventlog.backend.reading`): each is one short read transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, cast

from eventlog.backend.reading import Fetch, Fetched, ReadMark, ScannedOrder
from eventlog.backend.topics import StoredTopic
from eventlog.store.records import log_order, reader

if TYPE_CHECKING:
    from eventlog.store.lmdb.environment import Environment, Transaction


class StoreReading:
    """Reads of records; any thread may call."""

    environment: Environment

    def last_transaction(self) -> int:
        """The commit number of the newest commit of any process."""
        return self.environment.last_transaction()

    def changed_since(self, transaction: int) -> bool:
        """Whether anything was committed after the commit of that number."""
        return self.environment.last_transaction() != transaction

    def fetch(self, requests: Iterable[Fetch], max_bytes: int) -> tuple[list[Fetched], int]:
        """The batches of several partitions, and the commit number of the snapshot."""
        environment = self.environment

        def look(transaction: Transaction) -> tuple[list[Fetched], int]:
            return reader.fetch_within(environment, transaction, requests, max_bytes), transaction.id()

        return environment.read(look)

    def fetch_and_mark(self, requests: Iterable[Fetch], max_bytes: int) -> tuple[list[Fetched], log_order.StoredMark]:
        """The same, with a mark of the snapshot."""
        environment = self.environment

        def look(transaction: Transaction) -> tuple[list[Fetched], log_order.StoredMark]:
            fetched = reader.fetch_within(environment, transaction, requests, max_bytes)
            return fetched, log_order.mark_within(environment, transaction)

        return environment.read(look)

    def arrivals(self, since: ReadMark, most: int) -> tuple[list[tuple[int, int]] | None, log_order.StoredMark]:
        """The partitions to which something was appended since a mark, and a mark of now."""
        return log_order.arrivals(self.environment, cast(log_order.StoredMark, since), most)

    def bounds(self, topic: StoredTopic, partitions: Sequence[int] | None = None) -> list[tuple[int, int]]:
        """The first and the end offset of some or all partitions of a topic."""
        chosen = range(topic.partitions) if partitions is None else partitions
        return self.bounds_of([(topic.id, partition) for partition in chosen])

    def bounds_of(self, partitions: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """The same of partitions of several topics, by topic id and number."""
        with self.environment.reading() as transaction:
            return reader.visible_bounds_within(self.environment, transaction, partitions)

    def offset_of_time(self, topic: StoredTopic, partition: int, timestamp_ms: int) -> int:
        """The first offset whose record has this timestamp or a later one."""
        with self.environment.reading() as transaction:
            return reader.offset_of_time_within(self.environment, transaction, topic.id, partition, timestamp_ms)

    def end_log_position(self) -> int:
        """The log position behind all that native readers see."""
        return log_order.visible_end_log_position(self.environment)

    def next_log_position(self) -> int:
        """The log position that the next record gets."""
        return log_order.stored_end_log_position(self.environment)

    def scan_order(self, start: int, max_bytes: int, *, topic_ids: Collection[int] | None = None) -> ScannedOrder:
        """The batches that hold a log position and later ones, in order."""
        return log_order.scan_order(self.environment, start, max_bytes, topic_ids=topic_ids)
