"""
Kafka's record batches: appended as clients of Kafka's protocol send them, and read with all that such clients ask.

Each part of a request is judged alone, and all that pass go into one commit. Native producers append to the same
partitions, and native readers read what is stored here; `eventlog.batches.kafka_batch` knows the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, Unpack

from eventlog.backend.reading import StoredBatch
from eventlog.backend.records import Pending
from eventlog.backend.topics import StoredTopic
from eventlog.errors import ErrorParts, EventLogError
from eventlog.named_tuples import NamedTuple


class KafkaRefusal(EventLogError):
    """
    Raised, or put into a reply, when a request of a client of Kafka's protocol breaks one of Kafka's rules.

    `code` is Kafka's name of the error, such as "OUT_OF_ORDER_SEQUENCE_NUMBER".
    """

    def __init__(self, what: str, *, code: str, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.code = code


class KafkaAppend(NamedTuple):
    """
    One record batch of magic 2 for the end of a partition, as the client sent it.

    It is stored byte for byte, but for the base offset and the leader epoch, which becomes 0.
    """

    topic: StoredTopic
    partition: int
    data: bytes | memoryview


class KafkaAppended(NamedTuple):
    """
    What became of one `KafkaAppend`.

    With an error nothing of this part is stored, and the numbers are -1. A batch of an idempotent producer that is
    stored already has the offset that it got then. `append_ms` is -1: records keep the times that clients gave them.
    """

    error: EventLogError | None
    base_offset: int = -1
    log_start: int = -1
    append_ms: int = -1


class PendingProduce(Pending, Protocol):
    """Some `KafkaAppend` on their way into the log; its error is that of the commit, not that of one of them."""

    judged_count: int
    """How many parts it is about: the first ones."""
    replies: Sequence[KafkaAppended]
    """One for each of them, in their order, once the request is done without an error."""


class PendingProducerId(Pending, Protocol):
    """A producer id on its way into the log."""

    producer_id: int
    """The id, once the request is done."""


class KafkaFetch(NamedTuple):
    """
    A request for the batches of one partition that hold `offset` and later ones, of about `max_bytes`.

    `only_committed` ends where the first open transaction begins, and asks for the aborted ones.
    """

    topic_id: int
    partition: int
    offset: int
    max_bytes: int
    only_committed: bool = False


class KafkaFetched(NamedTuple):
    """
    The batches of a partition as they are stored, of native producers and of Kafka's, all of one snapshot.

    `error` is `OffsetOutOfRange` or `CorruptBatch`; the bounds are there with the former. `last_stable` is the end of
    what readers of committed records may see. `aborted` has the aborted transactions that reach into what is returned,
    if only what was committed was asked for: producer id and first offset.
    """

    error: EventLogError | None
    batches: list[StoredBatch]
    log_start: int
    high_watermark: int
    last_stable: int
    aborted: Sequence[tuple[int, int]] = ()


class ListenerNode(NamedTuple):
    """One listener of a log, as clients know it: its number, and the address that they connect to."""

    node_id: int
    host: str
    port: int
    security: str = "PLAINTEXT"
    """How they connect to it, by Kafka's name of the security protocol: TLS, SASL, both or neither."""


class NodeClaim(Protocol):
    """The number of one listener, which no other live listener of the log has, in any process."""

    node: ListenerNode

    def release(self) -> None:
        """
        Give the number back; a second call does nothing.

        The death of the process does it, too.
        """
        ...

    def forget(self) -> None:
        """Leave the number to the parent, in a forked child."""
        ...


class KafkaBackend(Protocol):
    """
    What a listener for Kafka's protocol asks of a store beside what native clients do.

    What is prepared has no effect until it is given to `RecordBackend.submit`; `commit_queued` and `wait` work for it,
    too. `when_done` is called once it is done, by the thread that committed, outside of all locks, in the order of the
    commits; an error in it is logged.
    """

    def prepare_produce(
        self,
        parts: Sequence[KafkaAppend],
        when_done: Callable[[], object],
        *,
        latest_ms: int | None = None,
        transactional_id: str | None = None,
        adds_partitions: bool = False,
        is_abortable: bool = False,
        is_enough: Callable[[], bool] = bool,
    ) -> PendingProduce:
        """
        A request to append record batches, each judged by itself.

        Does not block: header, checksum and records are judged here, sequence numbers, topic and partition at the
        commit. What is stored is durable when the request is done. It is done at once, and must not be submitted,
        when every part is refused here.

        Args:
            latest_ms: batches with a record of a later time are refused; None takes any.
            transactional_id: that of the producer, for transactional batches.
            adds_partitions: their partitions join the transaction; else they must be in it (KIP-890).
            is_abortable: the client knows TRANSACTION_ABORTABLE, the error of those that are not in it.
            is_enough: is asked after each part that was judged; the request is about the parts up to there alone.

        Raises:
            FormatTooOld: the log has format 3, without such batches.
        """
        ...

    def fetch_stored(self, requests: Iterable[KafkaFetch], max_bytes: int) -> tuple[list[KafkaFetched], int]:
        """
        Everything that is stored from some offsets on, and the commit number of the snapshot.

        There is one answer for each request. `max_bytes` bounds all batches together, and each request its own; the
        first batch that is found comes back even if it is larger, so that reading never gets stuck. Partitions that
        the caller does not know to exist look empty.
        """
        ...

    def prepare_producer_id(self, when_done: Callable[[], object]) -> PendingProducerId:
        """A request for the id of an idempotent producer, which nobody else gets, named producers included."""
        ...

    def claim_node(self, node_id: int | None, host: str, port: int, security: str) -> NodeClaim | None:
        """
        A number for a new listener, with the address for clients; None if a live listener has that number.

        Never waits for another process. A log that may only be read, or whose file system has no locks, keeps no
        numbers: then it is the one that is asked for.

        Args:
            node_id: the number that it is to have; None takes the lowest that is free, from 1 on.
            host: where clients connect to it.
            port: the port there.
            security: how they do: "PLAINTEXT", "SSL", "SASL_PLAINTEXT" or "SASL_SSL".
        """
        ...

    def listener_nodes(self) -> list[ListenerNode]:
        """The listeners of the log that live now, in any process, by their numbers; none where no numbers are kept."""
        ...
