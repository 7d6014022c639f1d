"""
The end of a transaction of a client of Kafka's: all of it in one commit, or none.

Each partition of it gets a control batch, as on Kafka's broker. What says that the records are open goes; an abort
leaves a row for the readers to come, a commit stores the offsets of groups.
"""

from __future__ import annotations

import attrs

from eventlog.backend.kafka_transactions import AbortExpired, EndTransaction, TransactionReply
from eventlog.backend.waiting import commits_subject
from eventlog.batches.kafka_marks import end_marker
from eventlog.groups.state import CommittedOffset
from eventlog.store.groups.commands import put_offset
from eventlog.store.kafka.producer_ids import take_producer_id
from eventlog.store.kafka.producers import EndingRequest, fenced, load, refusal, save
from eventlog.store.kafka.sequences import NO_TRANSACTION, KafkaProducerRow, producer_key
from eventlog.store.lmdb.environment import FORMAT, SEQUENCES
from eventlog.store.records.visibility import first_open
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.kafka_transactions import (
    COMPLETE_ABORT,
    COMPLETE_COMMIT,
    EMPTY,
    MOST_EPOCH,
    ONGOING,
    AbortedRow,
    OpenRow,
    TransactionRow,
    aborted_key,
    open_key,
    transactional_id,
    unpack_deadline,
)
from eventlog.store.rows.tables import KAFKA_ONGOING_KEY, offset_key, partition_key


def end(
    writing: WriteTransaction, row: TransactionRow, *, is_commit: bool, now_ms: int
) -> tuple[TransactionRow, set[int]]:
    """
    Write the end of an ongoing transaction; the row that is to be saved, and the subjects of the commit.

    The control batches have the epoch of the row.
    """
    subjects: set[int] = set()
    for name, topic_id, partition in row.partitions:
        topic = writing.topic_named(name)
        if topic is None or topic.id != topic_id:
            continue  # it was deleted, and its rows with it
        place = partition_key(topic_id, partition)
        begun = writing.get(FORMAT, open_key(place, row.producer_id))
        marker = end_marker(is_commit=is_commit, producer_id=row.producer_id, producer_epoch=row.epoch, now_ms=now_ms)
        last = writing.append(topic, partition, [marker])[0]
        subjects.add(topic_id)
        note_end(writing, row, topic_id, partition, now_ms)
        if begun is None:
            continue
        writing.delete(FORMAT, open_key(place, row.producer_id))
        if not is_commit:
            first = OpenRow.unpack(begun).first
            stable = min(first_open(writing.environment, writing.transaction, topic_id, partition), last + 1)
            aborted = AbortedRow(last, row.producer_id, first, stable)
            writing.put(FORMAT, aborted_key(place, last), aborted.pack())
    if is_commit:
        subjects |= _store_offsets(writing, row, now_ms)
    state = COMPLETE_COMMIT if is_commit else COMPLETE_ABORT
    return attrs.evolve(row, state=state, updated_ms=now_ms, started_ms=-1, partitions=(), groups={}), subjects


def note_end(writing: WriteTransaction, row: TransactionRow, topic_id: int, partition: int, now_ms: int) -> None:
    """Note in the row of a producer that its transaction has ended, and what epoch it has by now."""
    key = producer_key(row.producer_id, topic_id, partition)
    data = writing.get(SEQUENCES, key)
    known = KafkaProducerRow(row.epoch, now_ms) if data is None else KafkaProducerRow.unpack(data)
    batches = known.batches if known.epoch == row.epoch else ()
    writing.put(SEQUENCES, key, KafkaProducerRow(row.epoch, now_ms, NO_TRANSACTION, batches).pack())


def _store_offsets(writing: WriteTransaction, row: TransactionRow, now_ms: int) -> set[int]:
    subjects = set()
    for group, offsets in row.groups.items():
        for name, topic_id, partition, offset, leader_epoch, metadata in offsets:
            topic = writing.topic_named(name)
            if topic is not None and topic.id == topic_id:
                commit = CommittedOffset(offset, now_ms, leader_epoch, metadata)
                put_offset(writing, offset_key(group, topic_id, partition), commit, has_kafka_rules=True)
        subjects.add(commits_subject(group))
    return subjects


class EndTransactionRequest(EndingRequest[EndTransaction]):
    """The end that a client asks for (`EndTransaction`)."""

    __slots__ = ()

    def apply(self, writing: WriteTransaction) -> None:
        """Judge, and write all of it."""
        command, self._subjects = self._command, set()
        row = load(writing, command.transactional_id)
        has_ended = row is not None and row.bumps and row.state in (COMPLETE_COMMIT, COMPLETE_ABORT)
        is_overflowed = (
            row is not None
            and has_ended
            and row.last_producer_id == command.producer_id
            and command.epoch >= MOST_EPOCH - 1
            and row.epoch == 0
        )
        if row is None or (row.producer_id != command.producer_id and not is_overflowed):
            known = "it is not known" if row is None else f"it has producer id {row.producer_id}"
            raise refusal(
                command.transactional_id, "INVALID_PRODUCER_ID_MAPPING", f"{known}, not {command.producer_id}"
            )
        # An end that comes once more is that of the transaction before, and must not end one that has begun since.
        is_again = is_overflowed or (has_ended and row.epoch == command.epoch + 1)
        if command.epoch != row.epoch and not (is_again and command.bumps_epoch):
            raise fenced(row, command.epoch)
        self.reply = TransactionReply(row.producer_id, row.epoch)
        if row.state != ONGOING and self._is_ended(row, is_again=is_again):
            return
        row = attrs.evolve(row, bumps=command.bumps_epoch)
        before = row
        if command.bumps_epoch:
            row = attrs.evolve(row, epoch=row.epoch + 1, last_epoch=row.epoch)
        if before.state == ONGOING:
            row, self._subjects = end(writing, row, is_commit=command.is_commit, now_ms=self.now_ms)
        else:
            row = attrs.evolve(row, state=COMPLETE_ABORT, updated_ms=self.now_ms)
        if row.epoch >= MOST_EPOCH and command.bumps_epoch:
            row = attrs.evolve(row, producer_id=take_producer_id(writing), epoch=0, last_producer_id=row.producer_id)
        save(writing, row)
        self.reply = TransactionReply(row.producer_id, row.epoch)

    def _is_ended(self, row: TransactionRow, *, is_again: bool) -> bool:
        """Whether the transaction ended like this before; an abort of nothing is carried out where epochs rise."""
        command = self._command
        if row.bumps:
            ended = COMPLETE_COMMIT if command.is_commit else COMPLETE_ABORT
            if is_again and row.state == ended:
                return True
            if not is_again and not command.is_commit:
                return False
        elif row.state != EMPTY and row.state == (COMPLETE_COMMIT if command.is_commit else COMPLETE_ABORT):
            return True
        elif command.bumps_epoch and not command.is_commit:
            return False
        verb = "commit" if command.is_commit else "abort"
        raise refusal(row.id, "INVALID_TXN_STATE", f"there is no transaction to {verb}: it is in the state {row.state}")


class AbortExpiredRequest(EndingRequest[AbortExpired]):
    """The end of the transactions whose time is over (`AbortExpired`), which fences their producers."""

    __slots__ = ()

    def apply(self, writing: WriteTransaction) -> None:
        """Abort each of them."""
        self._subjects, aborted = set(), []
        for key, data in list(writing.items(FORMAT, KAFKA_ONGOING_KEY)):
            if unpack_deadline(data) > self.now_ms:
                continue
            row = load(writing, transactional_id(key))
            if row is None or row.state != ONGOING:
                writing.delete(FORMAT, key)
                continue
            fenced_epoch = row.epoch
            row = attrs.evolve(row, epoch=min(row.epoch + 1, MOST_EPOCH))
            row, subjects = end(writing, row, is_commit=False, now_ms=self.now_ms)
            # By its last epoch the producer that was too slow may ask for the new one, and go on: KIP-588.
            save(writing, attrs.evolve(row, last_epoch=fenced_epoch))
            self._subjects |= subjects
            aborted.append(row.id)
        self.reply = TransactionReply(aborted=tuple(aborted))
