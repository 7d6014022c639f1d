"""
The waist: the one face of a store that the clients see.

The clients hold one object, a `Backend`, call its methods with values, and get values back. The store implements it
(`store/store.py` puts it together); another implementation may stand in front of it in tests, or count its calls.
Here are the protocols, one module for each subject, and the values that go across:

* `topics.py`: topics and their partitions.
* `records.py`: appends, producers and transactions.
* `deferred.py`: requests that are queued and not waited for.
* `maintenance.py`: sync, verification and copies.
* `reading.py`: stored batches, bounds, times, the order of the log, what has changed since.
* `kafka_transactions.py`: the transactions of these clients.
* `kafka.py`: record batches of Kafka's clients, appended and read as they are.
* `groups.py`: requests to a group's coordinator, committed offsets, the liveness of members, administration.
* `queues.py`: queues, what their workers ask for, and administration.
* `schedules.py`: records that are stored now and appended later.
* `waiting.py`: waiting until somebody commits.
* `history.py`: the records of a key, and snapshots.
* `states.py`: keyed tables that change in transactions.
* `projections.py`: states that are folded from the records, and their checkpoints.

**Rules**

1. Only values cross: no environment, transaction, cursor, page, table name or row bytes. A limit of the engine is
   asked for (`max_key_bytes`), never known.
2. The values know nothing of the store. Code that runs inside a write transaction is the store's; no code of a client
   ever does, but for functions that a method's contract names.
3. Batches go in and out as they are stored, too (`EncodedBatch`): decoding is the clients' business.
4. Each method says in its docstring what is durable when it returns, which threads may call it, whether it blocks, and
   what an error leaves behind. Where it says nothing, these hold: any thread may call it; it reads one snapshot of
   what was committed and does not wait; an error changed nothing.

**Vocabulary**

* *log position*: the place of a record in the order of the whole log, across topics. An *offset* counts within a
  partition, a *version* within the records of one key.
* *commit number*: rises with every commit of any process; two reads with the same number saw the same log.
* *durable*: as the log's `durability` says: on the disk ("commit"), in order ("ordered"), or in memory ("memory").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from uuid import UUID

if TYPE_CHECKING:  # the protocols are for type checkers: composing them would make every start slower
    from eventlog.backend.deferred import DeferredRequests
    from eventlog.backend.groups import GroupBackend
    from eventlog.backend.history import HistoryBackend
    from eventlog.backend.kafka import KafkaBackend
    from eventlog.backend.kafka_transactions import KafkaTransactions
    from eventlog.backend.maintenance import MaintenanceBackend
    from eventlog.backend.projections import ProjectionBackend
    from eventlog.backend.queues import QueuesBackend
    from eventlog.backend.reading import ReadingBackend
    from eventlog.backend.records import RecordBackend
    from eventlog.backend.schedules import SchedulesBackend
    from eventlog.backend.states import StateBackend
    from eventlog.backend.topics import TopicBackend
    from eventlog.backend.waiting import WaitingBackend
    from eventlog.clock import Clock
    from eventlog.errors import ReadOnlyLog


class LogBackend(Protocol):
    """The log as a whole: its identity and its clock."""

    path: str
    """The directory, or what stands for it in messages."""

    durability: str
    """What a stored record survives: "commit", "ordered" or "memory"."""

    is_read_only: bool
    """Whether calls that would write raise `ReadOnlyLog`."""

    clock: Clock
    """The clock that gives records their timestamps."""

    @property
    def uuid(self) -> UUID:
        """The id of the log, which no other log has; a copy has the same."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether the last user closed the log; every other call then raises `LogClosed`."""
        ...

    def hold(self, user: object) -> None:
        """Keep the log open until this user is released."""
        ...

    def release(self, user: object) -> None:
        """
        Forget a user; without the last one the log closes: it stores what is queued, and blocks for that.

        Called again, because a signal handler has interrupted it, it does what is left.
        """
        ...

    def abandon(self, user: object) -> None:
        """Forget a user, from a finalizer: waits for nothing, so the log may be closed later."""
        ...

    def crash(self) -> None:
        """
        End the log for all of its users, as the death of the process would, for tests of that.

        Queued requests are lost, and no member of a group leaves. Stored records are there when it is opened again.
        """
        ...

    def on_fork(self, listener: object) -> None:
        """Have `listener._after_fork()` called in a forked child, for as long as the listener lives."""
        ...


if TYPE_CHECKING:

    class Backend(
        LogBackend,
        TopicBackend,
        RecordBackend,
        DeferredRequests,
        ReadingBackend,
        KafkaBackend,
        KafkaTransactions,
        GroupBackend,
        QueuesBackend,
        SchedulesBackend,
        WaitingBackend,
        HistoryBackend,
        StateBackend,
        ProjectionBackend,
        MaintenanceBackend,
        Protocol,
    ):
        """Everything that the clients ask of a store; composed of one protocol for each subject."""

else:
    Backend = LogBackend


def refusal(what: str, backend: LogBackend) -> ReadOnlyLog:
    """
    Return the error for a call that would write to a log that was opened for reading.

    Args:
        what: what it would do, with a verb.
    """
    from eventlog.backend.read_only import read_only_error  # few logs are

    return read_only_error(what, backend.path)
