"""The check of the transactions of Kafka's clients: who is in one, and what readers do not see."""

from __future__ import annotations

from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import FORMAT, Environment
from eventlog.store.rows.kafka_transactions import (
    KAFKA_ROWS,
    ONGOING,
    TRANSACTION_KEY,
    AbortedRow,
    OpenRow,
    TransactionRow,
    split_aborted_key,
    split_open_key,
    transactional_id,
    unpack_deadline,
)
from eventlog.store.rows.tables import KAFKA_ABORTED_KEY, KAFKA_ONGOING_KEY, KAFKA_OPEN_KEY, TOPIC_ROWS
from eventlog.store.verify.walk import UNREADABLE, BatchCache, Problems, SnapshotReader, said


def check_transactions(environment: Environment, problems: Problems) -> None:
    """Check all rows of transactions, in one snapshot."""
    with environment.reading() as transaction:
        check = _Check(SnapshotReader(environment, transaction, BatchCache()), problems)
        with transaction.cursor(db=environment.table(FORMAT)) as cursor:
            is_found = cursor.set_range(KAFKA_ROWS)
            while is_found and (key := bytes(cursor.key())).startswith(KAFKA_ROWS):
                try:
                    check.row(key, environment.value(FORMAT, key, cursor.value()))
                except unless_interrupted(*UNREADABLE) as error:
                    problems.add(f"table 'format', row {key!r}: {said(error)}")
                is_found = cursor.next()
        check.end()


class _Check:
    def __init__(self, snapshot: SnapshotReader, problems: Problems) -> None:
        self._snapshot = snapshot
        self._problems = problems
        self._members: set[tuple[int, int, int]] = set()
        """Topic id, partition and producer id of the partitions of ongoing transactions."""
        self._open: list[tuple[int, int, int]] = []
        self._ongoing: set[str] = set()
        self._noted: set[str] = set()
        self._ids: dict[int, str] = {}

    def row(self, key: bytes, data: bytes) -> None:
        """Check one row by itself."""
        if key.startswith(TRANSACTION_KEY):
            row = TransactionRow.unpack(key, data)
            if row.producer_id in self._ids:
                self._problems.add(f"transactional ids {row.id!r} and {self._ids[row.producer_id]!r}: one producer id.")
            self._ids[row.producer_id] = row.id
            if row.state == ONGOING:
                self._ongoing.add(row.id)
                self._members.update((topic_id, number, row.producer_id) for _, topic_id, number in row.partitions)
        elif key.startswith(KAFKA_ONGOING_KEY):
            unpack_deadline(data)
            self._noted.add(transactional_id(key))
        elif key.startswith(KAFKA_OPEN_KEY):
            place = split_open_key(key)
            self._open.append(place)
            self._check_place(*place[:2], OpenRow.unpack(data).first, "an open transaction")
        elif key.startswith(KAFKA_ABORTED_KEY):
            self._check_place(*split_aborted_key(key)[:2], AbortedRow.unpack(key, data).last, "an aborted transaction")
        else:
            self._problems.add(f"table 'format', row {key!r}: it is no row of a transaction.")

    def _check_place(self, topic_id: int, partition: int, offset: int, what: str) -> None:
        topic = self._snapshot.topic(topic_id)
        if self._snapshot.has_left(TOPIC_ROWS, topic_id):
            return
        name = f"{topic.name if topic else f'topic id {topic_id}'}[{partition}]"
        if topic is None or partition >= topic.partitions:
            self._problems.add(f"{name}: it has {what}, but there is no such partition.")
        elif offset >= self._snapshot.bounds(topic_id, partition)[1]:
            self._problems.add(f"{name}: it has {what} at offset {offset}, which is behind its end.")

    def end(self) -> None:
        """Check that the rows agree."""
        for topic_id, partition, producer_id in self._open:
            if (topic_id, partition, producer_id) not in self._members:
                if self._snapshot.topic(topic_id) is not None:
                    self._problems.add(
                        f"topic id {topic_id}[{partition}]: producer {producer_id} has an open transaction there, "
                        "which is none of its transactional id."
                    )
        for name in sorted(self._ongoing ^ self._noted):
            self._problems.add(f"transactional id {name!r}: its transaction is ongoing in one of two rows.")
