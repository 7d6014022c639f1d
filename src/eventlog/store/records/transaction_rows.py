"""The rows of transactions that go with the records of a topic or of a partition."""

from __future__ import annotations

from eventlog.store.lmdb.environment import FORMAT
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.kafka_transactions import split_aborted_key
from eventlog.store.rows.tables import KAFKA_ABORTED_KEY, KAFKA_OPEN_KEY, partition_key


def forget_transactions_of(writing: WriteTransaction, topic: bytes, *, most: int) -> int:
    """Remove what is known of transactions in a topic that is gone, `most` rows at most; return their number."""
    count = 0
    for prefix in (KAFKA_OPEN_KEY, KAFKA_ABORTED_KEY):
        count += writing.delete_prefix(FORMAT, prefix + topic, most=most - count)
    return count


def forget_aborted_before(writing: WriteTransaction, topic_id: int, partition: int, first: int) -> None:
    """Forget the aborted transactions of which no record is left."""
    gone = []
    for key in writing.keys(FORMAT, KAFKA_ABORTED_KEY + partition_key(topic_id, partition)):
        if split_aborted_key(key)[2] >= first:
            break
        gone.append(bytes(key))
    for key in gone:
        writing.delete(FORMAT, key)
