"""
Queues: groups of workers that take records one by one, and acknowledge each.

A record has a row only while it is an exception. Below the cursor of its partition and without a row it is done; from
the cursor on it was not handed out yet. What was handed out is a *lease*: a range of offsets of one partition that one
worker has. A worker asks for everything by one `QueueRequest`: what it acknowledges, and what it wants, in one commit.

The words are those of KIP-932: accept, release, reject, renew. A lease lasts as long as its worker lives, which its
`MemberLease` tells; a time limit may be set besides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

from eventlog.errors import UnknownGroup
from eventlog.named_tuples import NamedTuple

if TYPE_CHECKING:
    from eventlog.backend.groups import MemberLease
    from eventlog.backend.topics import StoredTopic
    from eventlog.groups.state import Life

FIRST_ATTEMPTS: Final = 5
"""How often a job is handed out at most, unless the queue says otherwise."""
FIRST_BACKOFF_MS: Final = (1000, 300_000)
MOST_WAITING: Final = 10_000
"""How many records wait for others of their keys at most; then the cursor rests."""
MOST_ATTEMPTS: Final = 2**16 - 2
ANY_LEASE: Final = -1
"""The number of a lease in an acknowledgement that is of whatever lease the worker has there."""
NO_LIMIT: Final = 2**63 - 1
"""The limit of a lease that lasts as long as its worker."""


class QueueOptions(NamedTuple):
    """
    The options that are stored with a queue.

    `dead_letters` is the name of the topic that gets what is rejected, None for none. `backoff_ms` is the first pause
    before a job that failed comes again, and the longest. `per_key` is how many jobs of one key are handed out at a
    time, None for any number. `timeout_ms` limits each lease, None does not.
    """

    attempts: int
    dead_letters: str | None
    backoff_ms: tuple[int, int]
    per_key: int | None
    timeout_ms: int | None


class StoredQueue(NamedTuple):
    """A queue as it was stored when somebody read it; `id` is never given to another queue of the log."""

    name: str
    id: int
    options: QueueOptions
    is_paused: bool
    created_ms: int


class Action(IntEnum):
    """What becomes of a job; the first four have the numbers of Kafka's protocol."""

    ACCEPT = 1
    RELEASE = 2
    REJECT = 3
    RENEW = 4
    GIVE_BACK = 5
    """As RELEASE, and the delivery does not count."""


class Acknowledgement(NamedTuple):
    """
    What becomes of the offsets from `first` to `end`, exclusive, of one partition.

    They have to be leased to the worker under that number. `delay_ms` is how long a released one rests, or for how long
    a lease is renewed. `reason` says why it is rejected, and `details` says more, for the headers of the dead letter.
    """

    topic_id: int
    partition: int
    first: int
    end: int
    number: int
    action: Action
    delay_ms: int = 0
    reason: str = ""
    details: str = ""


class Leased(NamedTuple):
    """
    Offsets of one partition that a worker has got, from `first` to `end`, exclusive; some may hold no record.

    `deliveries` counts this one too. `limit_ms` is on the monotonic clock.
    """

    topic: StoredTopic
    partition: int
    first: int
    end: int
    number: int
    deliveries: int
    first_ms: int
    limit_ms: int


class ShareRules(NamedTuple):
    """
    What Kafka's share groups ask beside what workers of ours do.

    Acknowledgements of one partition are carried out all or none, and those of offsets before its first job that is not
    done are passed by. `partitions` are the places that jobs are taken of, and no others; `most_locks` is how many jobs
    of a partition may be leased, to all workers together. `sees_uncommitted` takes records of open transactions, too.
    """

    partitions: frozenset[tuple[int, int]]
    most_locks: int
    sees_uncommitted: bool


class QueueRequest(NamedTuple):
    """
    What a worker asks for in one commit: acknowledgements first, then jobs.

    Args:
        member_id: 32 hexadecimal digits.
        number: that of the leases that it gets; the worker has used it for no other request.
        acknowledgements: each is judged by itself.
        wants: topics, and how many jobs of each are wanted at most; then more of any, up to `most`.
        most: how many jobs are wanted in all; 0 for none.
        turn: a number by which partitions take turns.
        sweeps: also take the leases of workers that are dead.
        confirms: begin the worker's lease again; it joins again, if others have removed it.
        withdrawn: numbers of requests whose replies the worker has not got: their leases are given back.
        rules: those of Kafka's share groups; None for a worker of ours.
    """

    queue: StoredQueue
    member_id: str
    number: int = 0
    acknowledgements: Sequence[Acknowledgement] = ()
    wants: Sequence[tuple[StoredTopic, int]] = ()
    most: int = 0
    turn: int = 0
    sweeps: bool = False
    confirms: MemberLease | None = None
    withdrawn: Sequence[int] = ()
    rules: ShareRules | None = None


class QueueReply(NamedTuple):
    """
    What a request has brought.

    `refused` are the acknowledgements that came too late: their offsets are not leased to the worker under that number,
    and nothing of them was stored. `removed` are workers that were dead. `epoch` rises when workers come or go.
    """

    leased: Sequence[Leased]
    refused: Sequence[Acknowledgement]
    removed: Sequence[str]
    epoch: int


class QueueView(NamedTuple):
    """
    What a worker that waits has to know, of one snapshot.

    `next_due_ms` is when the first delayed job is due, by wall time, None if there is none. `limit_ms` is when the
    first lease is over its limit, on the monotonic clock. A time that is over and `has_more` say that there may be
    something to take.
    """

    has_more: bool
    next_due_ms: int | None
    limit_ms: int
    epoch: int
    transaction: int


class QueuePiece(NamedTuple):
    """Acknowledgements that are a part of a transaction: if one of them comes too late, nothing is stored."""

    queue: StoredQueue
    member_id: str
    acknowledgements: Sequence[Acknowledgement]


class WorkerDetails(NamedTuple):
    """One worker of a queue: how many jobs it has, and since when the oldest of them was first handed out."""

    member_id: str
    process_id: int
    joined_ms: int
    life: Life
    leased: int
    oldest_ms: int | None


class PartitionDetails(NamedTuple):
    """A partition of a queue: all below `start` is done, `next` is handed out next, and `end` is where it ends."""

    topic: str
    partition: int
    start: int
    next: int
    end: int


class QueueDetails(NamedTuple):
    """
    All that is known of a queue, of one snapshot, and the lives of its workers right after it.

    `ready` may be taken now, `delayed` later. `waiting` records wait for others of their keys. `dead` and `expired`
    count since the queue was made: dead letters, and jobs whose records were gone.
    """

    queue: StoredQueue
    ready: int
    leased: int
    delayed: int
    waiting: int
    dead: int
    expired: int
    workers: Sequence[WorkerDetails]
    partitions: Sequence[PartitionDetails]


class QueueBackend(Protocol):
    """
    The queues of a log.

    What stores something blocks for the turn to commit and its flush, and is durable when it returns. Any thread may
    call. An error has stored nothing.
    """

    def queue(self, name: str) -> StoredQueue | None:
        """A queue; None if there is none of that name."""
        ...

    def queue_names(self) -> list[str]:
        """The names of all queues, sorted."""
        ...

    def ensure_queue(
        self,
        name: str,
        options: QueueOptions,
        *,
        starts: Mapping[tuple[int, int], int],
    ) -> StoredQueue:
        """
        The queue of that name, made with these options if there is none.

        Args:
            starts: where a new queue begins, by topic id and partition; at the first record where it does not say.

        Raises:
            GroupMismatch: it is a consumer group.
            FormatTooOld: the log has format 3.
        """
        ...

    def begin_work(
        self, queue: StoredQueue, member_id: str, lease: MemberLease, topics: Sequence[StoredTopic]
    ) -> QueueReply:
        """Make a worker one of a queue, which has jobs of these topics from now on, and take the leases of the dead."""
        ...

    def end_work(
        self, queue: StoredQueue, member_id: str, acknowledgements: Sequence[Acknowledgement]
    ) -> Sequence[Acknowledgement]:
        """
        Store a worker's last acknowledgements, give back what else it has, and remove it.

        Returns the acknowledgements that came too late. A queue that was deleted is no error.
        """
        ...

    def request_jobs(self, request: QueueRequest) -> QueueReply:
        """
        Carry out what a worker asks for, in one commit.

        Raises:
            UnknownGroup: the queue was deleted. Nothing was stored.
        """
        ...

    def queue_view(
        self, queue: StoredQueue, topics: Sequence[StoredTopic], rules: ShareRules | None = None
    ) -> QueueView:
        """What a worker that waits for jobs of some topics has to know."""
        ...

    def queue_topics(self, queue: StoredQueue) -> set[int]:
        """The ids of the topics whose records are jobs of a queue, as far as anybody has come for them."""
        ...

    def worker_ids(self, queue: StoredQueue) -> list[str]:
        """The ids of a queue's workers, in order."""
        ...

    def queue_details(self, name: str) -> QueueDetails:
        """
        All that is known of a queue.

        Raises:
            UnknownGroup: there is no such queue.
        """
        ...

    def pause_queue(self, name: str, *, is_paused: bool) -> None:
        """Hand out nothing more of a queue, or go on; what is handed out may be acknowledged."""
        ...

    def purge_queue(self, name: str) -> int:
        """Take all that is stored now for done, but for what is leased; return how many jobs that were."""
        ...

    def alter_queue(self, name: str, options: QueueOptions) -> StoredQueue:
        """Give a queue other options: jobs that are handed out from now on have them, and what is leased has not."""
        ...

    def move_queue(self, name: str, starts: Mapping[tuple[int, int], int], *, only_new: bool = False) -> None:
        """
        Have a queue go on at some offsets, by topic id and partition, whatever it has done there.

        Args:
            only_new: leave the topics alone that it has jobs of already.
        """
        ...

    def forget_topics(self, name: str, topic_ids: Collection[int]) -> None:
        """Take the records of some topics for no jobs of a queue any more."""
        ...

    def delete_queue(self, name: str) -> None:
        """Delete a queue: its workers find it gone."""
        ...


def unknown_queue(name: str, what: str) -> UnknownGroup:
    """The error for a queue that is not there."""
    return UnknownGroup(
        f"cannot {what} queue {name!r}: there is no such queue.",
        stored="Nothing was changed.",
        advice="log.queues.list() names those that are there, and so does `eventlog queues list`.",
        group=name,
    )


class QueuesBackend(Protocol):
    """The part of a log that has queues."""

    def queues(self) -> QueueBackend:
        """The queues of the log; costs nothing."""
        ...
