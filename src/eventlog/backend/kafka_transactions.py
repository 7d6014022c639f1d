"""
The transactions of Kafka's clients: who may write under a transactional id, what belongs to its transaction, its end.

A client's records lie in their partitions at once, and nobody who reads committed records sees them before the
transaction ends. Its end is one commit: the control batches of all partitions, the offsets of groups and the rows that
say so. So there is no state between open and ended, and none that a crash could leave.

Each request is a value; the rules are those of Kafka's coordinator (KIP-98, KIP-360, KIP-890).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias

from eventlog.backend.records import Pending
from eventlog.backend.topics import StoredTopic
from eventlog.named_tuples import NamedTuple

MOST_TIMEOUT_MS = 900_000
"""Kafka's `transaction.max.timeout.ms`: 15 minutes."""
PendingOffset: TypeAlias = tuple[StoredTopic, int, int, int, str]
"""An offset of a group that is stored when a transaction commits: topic, partition, offset, leader epoch, metadata."""


class InitProducer(NamedTuple):
    """
    A new epoch for a transactional id, which fences the producer that had it, and aborts its transaction.

    `producer_id` and `epoch` are those of a producer that goes on after an error, -1 for one that begins.
    """

    transactional_id: str
    timeout_ms: int
    producer_id: int = -1
    epoch: int = -1
    most_timeout_ms: int = MOST_TIMEOUT_MS


class AddPartitions(NamedTuple):
    """Partitions that join a transaction, which begins with the first; or a look whether they are in it."""

    transactional_id: str
    producer_id: int
    epoch: int
    partitions: Sequence[tuple[StoredTopic, int]]
    only_verifies: bool = False


class AddGroup(NamedTuple):
    """A group whose offsets will be a part of a transaction, which begins with it if it has not."""

    transactional_id: str
    producer_id: int
    epoch: int
    group: str


class AddOffsets(NamedTuple):
    """Offsets of a group that are stored when the transaction commits; `adds_group` as `AddGroup` does (KIP-890)."""

    transactional_id: str
    producer_id: int
    epoch: int
    group: str
    offsets: Sequence[PendingOffset]
    adds_group: bool = False


class EndTransaction(NamedTuple):
    """The end of a transaction; `bumps_epoch` gives the producer its next epoch (KIP-890)."""

    transactional_id: str
    producer_id: int
    epoch: int
    is_commit: bool
    bumps_epoch: bool = False


class AbortExpired(NamedTuple):
    """The end of the transactions whose time is over, of any listener of any process."""


TransactionCommand: TypeAlias = "InitProducer | AddPartitions | AddGroup | AddOffsets | EndTransaction | AbortExpired"


class TransactionReply(NamedTuple):
    """
    The reply to a command: the producer id and the epoch with which the producer goes on.

    `aborted` has the transactional ids of the transactions that the command has aborted.
    """

    producer_id: int = -1
    epoch: int = -1
    aborted: tuple[str, ...] = ()


class PendingTransaction(Pending, Protocol):
    """A command on its way into the log."""

    reply: TransactionReply
    """The reply, once it is done without an error."""


class TransactionView(NamedTuple):
    """
    A transactional id as it is stored; `state` is Kafka's name of it.

    `partitions` are those of the open transaction: topic name, topic id, number. `started_ms` is -1 without one.
    """

    transactional_id: str
    producer_id: int
    epoch: int
    state: str
    timeout_ms: int
    started_ms: int
    partitions: Sequence[tuple[str, int, int]]
    groups: Collection[str]


class ProducerView(NamedTuple):
    """A producer of Kafka's that a partition knows; numbers are -1 where there are none."""

    producer_id: int
    epoch: int
    last_sequence: int
    last_ms: int
    coordinator_epoch: int
    transaction_first: int


class KafkaTransactions(Protocol):
    """What a listener asks of a store about transactions; what is prepared is as in `KafkaBackend`."""

    def prepare_transaction(self, command: TransactionCommand, when_done: Callable[[], object]) -> PendingTransaction:
        """
        A request to carry out a command.

        Does not block. Its `error` is a `KafkaRefusal` where Kafka's coordinator answers with an error; nothing was
        stored then.

        Raises:
            FormatTooOld: the log has format 3, without such batches.
        """
        ...

    def kafka_transactions(self) -> list[TransactionView]:
        """All transactional ids, sorted."""
        ...

    def kafka_transaction(self, transactional_id: str) -> TransactionView | None:
        """One of them; None if it is not known."""
        ...

    def kafka_producers(self, partitions: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], list[ProducerView]]:
        """The producers that some partitions know, in the order of their ids; by topic id and number."""
        ...

    def next_expiry_ms(self) -> int | None:
        """When the first open transaction is to be aborted, in ms since 1970 UTC; None if none is open."""
        ...

    def pending_offsets(self, group: str) -> Mapping[tuple[int, int], int]:
        """The offsets of a group that wait for the ends of transactions, by topic id and partition."""
        ...
