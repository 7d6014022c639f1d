"""
The commands of transactional producers, by the rules of Kafka's coordinator.

A command reads the row of its transactional id, judges, and writes the row that follows; both in the transaction of its
round, so the write lock is the coordinator. How a transaction ends is in `ending.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

import attrs

from eventlog.backend.kafka import KafkaRefusal
from eventlog.backend.kafka_transactions import (
    AddGroup,
    AddOffsets,
    AddPartitions,
    InitProducer,
    TransactionCommand,
    TransactionReply,
)
from eventlog.backend.topics import StoredTopic
from eventlog.store.kafka.producer_ids import take_producer_id
from eventlog.store.kafka.sequences import NO_TRANSACTION, KafkaProducerRow
from eventlog.store.lmdb.environment import FORMAT
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.kafka_transactions import (
    EMPTY,
    MOST_EPOCH,
    MOST_ID_BYTES,
    NO_EPOCH,
    ONGOING,
    TRANSACTION_KEY,
    OpenRow,
    TransactionRow,
    ongoing_key,
    open_key,
    pack_deadline,
    transaction_key,
)
from eventlog.store.rows.tables import partition_key

EXPIRATION_MS = 604_800_000
"""How long an id is remembered that does nothing: Kafka's `transactional.id.expiration.ms`, a week."""
_LOOKED_AT_COUNT = 100
_LAST_EPOCH = MOST_EPOCH - 1
"""The last epoch that a client gets; a fence may raise it once more."""


_Command = TypeVar("_Command", bound=TransactionCommand)


class TransactionRequest(CommitRequest, Generic[_Command]):
    """A command about a transactional id; `reply` is set when it is done."""

    __slots__ = ("_command", "_when_done", "now_ms", "reply")
    bound_share = 1.0

    def __init__(self, command: _Command, when_done: Callable[[], object], now_ms: int) -> None:
        super().__init__()
        self._command = command
        self._when_done = when_done
        self.now_ms = now_ms
        self.reply = TransactionReply()

    def report(self) -> Callable[[], object] | None:
        """Have the caller told."""
        return self._when_done


class EndingRequest(TransactionRequest[_Command]):
    """A command that may end transactions, and wakes who waits for their records and offsets."""

    __slots__ = ("_subjects",)
    notifies = True

    def __init__(self, command: _Command, when_done: Callable[[], object], now_ms: int) -> None:
        super().__init__(command, when_done, now_ms)
        self._subjects: set[int] = set()

    @property
    def subjects(self) -> Collection[int]:
        """The topics with records of them, and the groups of which they stored offsets."""
        return self._subjects


# -- rows ----------------------------------------------------------------------------------------------------


def load(writing: WriteTransaction, transactional_id: str) -> TransactionRow | None:
    """The row of a transactional id."""
    key = transaction_key(checked_id(transactional_id))
    data = writing.get(FORMAT, key)
    return None if data is None else TransactionRow.unpack(key, data)


def save(writing: WriteTransaction, row: TransactionRow) -> None:
    """Write a row, and the note of an ongoing transaction that belongs to it."""
    writing.put(FORMAT, transaction_key(row.id), row.pack())
    if row.state == ONGOING:
        writing.put(FORMAT, ongoing_key(row.id), pack_deadline(row.deadline_ms))
    else:
        writing.delete(FORMAT, ongoing_key(row.id))


def forget_silent(writing: WriteTransaction, transactional_id: str, now_ms: int) -> int:
    """
    Forget ids of which nothing was heard for a week, as Kafka does; the number of rows that went.

    Each new id looks at some of those behind it, so that a log that gets new ones all the time keeps no more than those
    of a week.
    """
    doomed, left = [], _LOOKED_AT_COUNT
    with writing.transaction.cursor(db=writing.table(FORMAT)) as cursor:
        is_found = cursor.set_range(transaction_key(transactional_id)) or cursor.set_range(TRANSACTION_KEY)
        if is_found and not cursor.key().startswith(TRANSACTION_KEY):
            is_found = cursor.set_range(TRANSACTION_KEY)
        while is_found and left > 0 and (key := bytes(cursor.key())).startswith(TRANSACTION_KEY):
            row = TransactionRow.unpack(key, writing.environment.value(FORMAT, key, cursor.value()))
            if row.state != ONGOING and row.updated_ms < now_ms - EXPIRATION_MS:
                doomed.append(key)
            left -= 1
            is_found = cursor.next()
    for key in doomed:
        writing.delete(FORMAT, key)
    return len(doomed)


def checked_id(transactional_id: str) -> str:
    """The id, if one may be like this."""
    if not 1 <= len(transactional_id.encode("utf-8", "surrogatepass")) <= MOST_ID_BYTES:
        raise refusal(
            transactional_id[:40], "INVALID_REQUEST", f"a transactional id has 1 to {MOST_ID_BYTES} bytes of UTF-8"
        )
    return transactional_id


def refusal(transactional_id: str, code: str, why: str) -> KafkaRefusal:
    """The error for a command that may not be carried out."""
    return KafkaRefusal(
        f"transactional id {transactional_id!r}: {why}.",
        code=code,
        stored="Nothing was changed.",
        advice="The client knows by the error code what to do.",
    )


# -- judging -------------------------------------------------------------------------------------------------


def current(writing: WriteTransaction, transactional_id: str, producer_id: int, epoch: int) -> TransactionRow:
    """The row of a transactional id, if it is this producer's."""
    row = load(writing, transactional_id)
    if row is None or row.producer_id != producer_id:
        known = "it is not known" if row is None else f"it has producer id {row.producer_id}"
        raise refusal(transactional_id, "INVALID_PRODUCER_ID_MAPPING", f"{known}, not {producer_id}")
    if row.epoch != epoch:
        raise fenced(row, epoch)
    return row


def fenced(row: TransactionRow, epoch: int) -> KafkaRefusal:
    """The error for a producer of another epoch."""
    return refusal(row.id, "PRODUCER_FENCED", f"its producer {row.producer_id} has epoch {row.epoch}, not {epoch}")


def began(row: TransactionRow, now_ms: int) -> TransactionRow:
    """The row with a transaction that goes on or begins now."""
    if row.state == ONGOING:
        return attrs.evolve(row, updated_ms=now_ms)
    return attrs.evolve(row, state=ONGOING, started_ms=now_ms, updated_ms=now_ms, partitions=(), groups={})


# -- records -------------------------------------------------------------------------------------------------


def admit(
    writing: WriteTransaction,
    transactional_id: str | None,
    producer_id: int,
    epoch: int,
    topic: StoredTopic,
    partition: int,
    now_ms: int,
    *,
    adds: bool,
    code: str = "INVALID_TXN_STATE",
) -> None:
    """
    Let a transactional batch into a partition, which joins the transaction where the client leaves that to us.

    Args:
        adds: whether it does (KIP-890, from version 12 of Produce on).
        code: Kafka's code for a partition that is in no transaction, where it may not join.

    Raises:
        KafkaRefusal: the producer was fenced, or the partition is in no transaction of it.
    """
    row = None if transactional_id is None else load(writing, transactional_id)
    if row is None or row.producer_id != producer_id:
        raise refusal(str(transactional_id), "INVALID_PRODUCER_ID_MAPPING", f"it is not that of producer {producer_id}")
    if row.epoch != epoch:
        raise refusal(
            row.id, "INVALID_PRODUCER_EPOCH", f"its producer {row.producer_id} has epoch {row.epoch}, not {epoch}"
        )
    member = (topic.name, topic.id, partition)
    if row.state == ONGOING and member in row.partitions:
        return
    if not adds:
        raise refusal(row.id, code, f"{topic.name}[{partition}] is in no transaction of it")
    row = began(row, now_ms)
    save(writing, attrs.evolve(row, partitions=(*row.partitions, member)))


def note_written(
    writing: WriteTransaction,
    topic: StoredTopic,
    partition: int,
    producer_id: int,
    first: int,
    log_position: int,
    row: KafkaProducerRow,
) -> KafkaProducerRow:
    """
    Note a batch of an open transaction; the row of its producer with where that begins.

    From the first of them on, readers of committed records wait.
    """
    if row.transaction_first != NO_TRANSACTION:
        return row
    writing.put(FORMAT, open_key(partition_key(topic.id, partition), producer_id), OpenRow(first, log_position).pack())
    return row._replace(transaction_first=first)


def is_writing(writing: WriteTransaction, topic: StoredTopic, partition: int, producer_id: int) -> bool:
    """Whether a producer has an open transaction with records in a partition: then others than those are refused."""
    return writing.get(FORMAT, open_key(partition_key(topic.id, partition), producer_id)) is not None


# -- commands ------------------------------------------------------------------------------------------------


class InitProducerRequest(EndingRequest[InitProducer]):
    """The next epoch of a transactional id (`InitProducer`)."""

    __slots__ = ()

    def apply(self, writing: WriteTransaction) -> None:
        """Judge, abort what is open, and write the row."""
        from eventlog.store.kafka.ending import end

        command = self._command
        self._subjects = set()
        aborted: tuple[str, ...] = ()
        if not 0 < command.timeout_ms <= command.most_timeout_ms:
            what = f"a timeout of {command.timeout_ms} ms is not from 1 to {command.most_timeout_ms}"
            raise refusal(command.transactional_id, "INVALID_TRANSACTION_TIMEOUT", what)
        row = load(writing, command.transactional_id)
        if row is None:
            forget_silent(writing, command.transactional_id, self.now_ms)
            row = TransactionRow(command.transactional_id, -1, NO_EPOCH, command.timeout_ms, self.now_ms)
        self._check(row)
        if row.state == ONGOING:
            last_epoch = NO_EPOCH if command.epoch == -1 else row.epoch
            row = attrs.evolve(row, epoch=min(row.epoch + 1, MOST_EPOCH))
            row, self._subjects = end(writing, row, is_commit=False, now_ms=self.now_ms)
            # Who says that this was its epoch gets the one of the fence, as often as it asks: KIP-360.
            row, aborted = attrs.evolve(row, last_epoch=last_epoch), (row.id,)
        row = self._next(writing, row, command)
        save(writing, row)
        self.reply = TransactionReply(row.producer_id, row.epoch, aborted)

    def _check(self, row: TransactionRow) -> None:
        command = self._command
        if (command.producer_id, command.epoch) == (-1, -1) or row.epoch == NO_EPOCH:
            return
        is_last = command.producer_id == row.last_producer_id and command.epoch >= _LAST_EPOCH
        if command.producer_id != row.producer_id and not is_last:
            raise fenced(row, command.epoch)
        if row.state == ONGOING and command.epoch != row.epoch:
            raise fenced(row, command.epoch)

    def _next(self, writing: WriteTransaction, row: TransactionRow, command: InitProducer) -> TransactionRow:
        """The row of the epoch that the client gets."""
        row = attrs.evolve(
            row,
            timeout_ms=command.timeout_ms,
            updated_ms=self.now_ms,
            state=EMPTY,
            started_ms=-1,
            partitions=(),
            groups={},
        )
        has_expected = command.epoch != -1 or command.producer_id != -1
        if row.epoch == NO_EPOCH:
            return attrs.evolve(row, producer_id=take_producer_id(writing), epoch=0)
        # A fence has taken the very last epoch: nobody gets that one, since nothing could fence it.
        is_slow = row.epoch >= MOST_EPOCH and command.epoch == row.last_epoch
        if row.epoch >= _LAST_EPOCH and (not has_expected or command.epoch == row.epoch or is_slow):
            return attrs.evolve(
                row,
                producer_id=take_producer_id(writing),
                epoch=0,
                last_producer_id=row.producer_id,
                last_epoch=command.epoch if has_expected else NO_EPOCH,
            )
        if not has_expected:
            return attrs.evolve(row, epoch=row.epoch + 1, last_epoch=NO_EPOCH)
        if command.epoch == row.epoch:
            return attrs.evolve(row, epoch=row.epoch + 1, last_epoch=row.epoch)
        if command.epoch == row.last_epoch and command.producer_id in (row.producer_id, row.last_producer_id):
            return row
        raise fenced(row, command.epoch)


class AddPartitionsRequest(TransactionRequest[AddPartitions]):
    """Partitions that join a transaction (`AddPartitions`)."""

    __slots__ = ()

    def apply(self, writing: WriteTransaction) -> None:
        """Judge, and write the row."""
        command = self._command
        row = current(writing, command.transactional_id, command.producer_id, command.epoch)
        members = [(topic.name, topic.id, partition) for topic, partition in command.partitions]
        self.reply = TransactionReply(row.producer_id, row.epoch)
        if command.only_verifies:
            if row.state != ONGOING or not set(members) <= set(row.partitions):
                raise refusal(row.id, "INVALID_TXN_STATE", "a partition is in no transaction of it")
            return
        for topic, _ in command.partitions:
            writing.check_topic(topic)
        joined = joining(began(row, self.now_ms), members)
        if joined is not row:
            save(writing, joined)


def joining(row: TransactionRow, members: Sequence[tuple[str, int, int]]) -> TransactionRow:
    """The row with more partitions."""
    return attrs.evolve(row, partitions=tuple(dict.fromkeys((*row.partitions, *members))))


class AddGroupRequest(TransactionRequest[AddGroup | AddOffsets]):
    """A group that joins a transaction, with offsets or without any yet (`AddGroup`, `AddOffsets`)."""

    __slots__ = ()

    def apply(self, writing: WriteTransaction) -> None:
        """Judge, and write the row."""
        command = self._command
        row = current(writing, command.transactional_id, command.producer_id, command.epoch)
        offsets = command.offsets if isinstance(command, AddOffsets) else ()
        adds = not isinstance(command, AddOffsets) or command.adds_group
        if not adds and (row.state != ONGOING or command.group not in row.groups):
            raise refusal(row.id, "INVALID_TXN_STATE", f"group {command.group!r} is in no transaction of it")
        row = began(row, self.now_ms)
        known = {one[1:3]: one for one in row.groups.get(command.group, ())}
        for topic, partition, offset, leader_epoch, metadata in offsets:
            writing.check_topic(topic)
            known[topic.id, partition] = (topic.name, topic.id, partition, offset, leader_epoch, metadata)
        groups = {**row.groups, command.group: tuple(known.values())}
        save(writing, attrs.evolve(row, groups=groups))
        self.reply = TransactionReply(row.producer_id, row.epoch)
