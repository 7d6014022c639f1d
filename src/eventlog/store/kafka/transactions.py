"""The methods of a store for the transactions of Kafka's clients (`eventlog.backend.kafka_transactions`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from eventlog.backend.kafka_transactions import (
    AbortExpired,
    AddGroup,
    AddOffsets,
    AddPartitions,
    EndTransaction,
    InitProducer,
    ProducerView,
    TransactionCommand,
    TransactionView,
)
from eventlog.errors import FormatTooOld
from eventlog.store.kafka.ending import AbortExpiredRequest, EndTransactionRequest
from eventlog.store.kafka.producers import (
    AddGroupRequest,
    AddPartitionsRequest,
    InitProducerRequest,
    TransactionRequest,
)
from eventlog.store.kafka.sequences import KAFKA_PRODUCERS, KafkaProducerRow
from eventlog.store.lmdb.environment import FORMAT, SEQUENCES, Environment, Snapshot
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.rows.kafka_transactions import (
    TRANSACTION_KEY,
    TransactionRow,
    transaction_key,
    transactional_id,
    unpack_deadline,
)
from eventlog.store.rows.tables import KAFKA_ONGOING_KEY, partition_key

if TYPE_CHECKING:
    from collections.abc import Iterator


def request_of(
    environment: Environment, command: TransactionCommand, when_done: Callable[[], object], now_ms: int
) -> TransactionRequest[Any]:
    """
    The request that carries out a command.

    Raises:
        FormatTooOld: the log has format 3, which has no batch that could end a transaction.
    """
    if environment.seal is None:
        raise FormatTooOld(
            f"cannot carry out a transaction of Kafka's: the log at {environment.path} has format 3, without such "
            "batches.",
            stored="Nothing was stored.",
            advice="Close it in all programs and run `eventlog upgrade` on it, or open it with upgrade=True.",
        )
    match command:
        case InitProducer():
            return InitProducerRequest(command, when_done, now_ms)
        case AddPartitions():
            return AddPartitionsRequest(command, when_done, now_ms)
        case AddGroup() | AddOffsets():
            return AddGroupRequest(command, when_done, now_ms)
        case EndTransaction():
            return EndTransactionRequest(command, when_done, now_ms)
        case AbortExpired():
            return AbortExpiredRequest(command, when_done, now_ms)


def views(environment: Environment) -> list[TransactionView]:
    """All transactional ids."""
    with environment.reading() as transaction:
        return [_view(TransactionRow.unpack(*row)) for row in _rows(environment, transaction, TRANSACTION_KEY)]


def view(environment: Environment, name: str) -> TransactionView | None:
    """One of them."""
    key = transaction_key(name)
    data = environment.read(lambda transaction: environment.row(transaction, FORMAT, key)) if len(key) <= 500 else None
    return None if data is None else _view(TransactionRow.unpack(key, data))


def next_deadline(environment: Environment) -> int | None:
    """The earliest deadline of an ongoing transaction."""
    with environment.reading() as transaction:
        rows = _rows(environment, transaction, KAFKA_ONGOING_KEY)
        return min((unpack_deadline(data) for _, data in rows), default=None)


def producers_of(
    environment: Environment, partitions: Collection[tuple[int, int]]
) -> dict[tuple[int, int], list[ProducerView]]:
    """The producers that some partitions know; goes once through the rows of all producers."""
    found: dict[tuple[int, int], list[ProducerView]] = {one: [] for one in partitions}
    places = {partition_key(*one): views for one, views in found.items()}
    with environment.reading() as transaction:
        rows = _rows(environment, transaction, TRANSACTION_KEY)
        transactional = {TransactionRow.unpack(key, data).producer_id for key, data in rows}
        with transaction.cursor(db=environment.table(SEQUENCES)) as cursor:
            is_found = cursor.set_range(KAFKA_PRODUCERS.to_bytes(8, "big"))
            while is_found:
                key = bytes(cursor.key())
                views_there = places.get(key[8:])
                if views_there is not None:
                    producer_id = int.from_bytes(key[:8], "big") - KAFKA_PRODUCERS
                    row = KafkaProducerRow.unpack(bytes(environment.value(SEQUENCES, key, cursor.value())))
                    last = row.batches[-1].last if row.batches else -1
                    coordinator = 0 if producer_id in transactional else -1
                    views_there.append(
                        ProducerView(producer_id, row.epoch, last, row.last_ms, coordinator, row.transaction_first)
                    )
                is_found = cursor.next()
    return found


def abort_expired(environment: Environment, run: Callable[[CommitRequest], object], now_ms: int) -> None:
    """End the transactions whose time is over; one look if none is open."""
    deadline_ms = next_deadline(environment)
    if deadline_ms is not None and deadline_ms <= now_ms:
        run(AbortExpiredRequest(AbortExpired(), bool, now_ms))


def pending_offsets(environment: Environment, group: str) -> Mapping[tuple[int, int], int]:
    """The offsets of a group that wait for the ends of transactions."""
    found: dict[tuple[int, int], int] = {}
    with environment.reading() as transaction:
        for key, _ in list(_rows(environment, transaction, KAFKA_ONGOING_KEY)):
            name = transaction_key(transactional_id(key))
            data = environment.row(transaction, FORMAT, name)
            if data is not None:
                offsets = TransactionRow.unpack(name, data).groups.get(group, ())
                found.update({(topic_id, partition): offset for _, topic_id, partition, offset, _, _ in offsets})
    return found


def _view(row: TransactionRow) -> TransactionView:
    return TransactionView(
        row.id, row.producer_id, row.epoch, row.state, row.timeout_ms, row.started_ms, row.partitions, tuple(row.groups)
    )


def _rows(environment: Environment, transaction: Snapshot, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    with transaction.cursor(db=environment.table(FORMAT)) as cursor:
        is_found = cursor.set_range(prefix)
        while is_found and (key := bytes(cursor.key())).startswith(prefix):
            yield key, bytes(environment.value(FORMAT, key, cursor.value()))
            is_found = cursor.next()
