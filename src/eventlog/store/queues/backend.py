"""The queue methods of `Store` (`eventlog.backend.queues`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from eventlog.backend.queues import (
    Acknowledgement,
    QueueDetails,
    QueueOptions,
    QueuePiece,
    QueueReply,
    QueueRequest,
    QueueView,
    ShareRules,
    StoredQueue,
    unknown_queue,
)
from eventlog.errors import UnknownGroup
from eventlog.interruptions import suppress
from eventlog.store.groups.liveness import LivenessFile, Members
from eventlog.store.lmdb.environment import QUEUES
from eventlog.store.queues import reader
from eventlog.store.queues.admin import AlterQueue, DeleteQueue, PauseQueue, PurgeQueue
from eventlog.store.queues.commands import (
    AcknowledgeInTransaction,
    EnsureQueue,
    LeaveQueue,
    MakeTable,
    QueueChange,
    QueueCommand,
)
from eventlog.store.queues.moving import ForgetTopics, MoveQueue

if TYPE_CHECKING:
    from eventlog.backend.groups import MemberLease
    from eventlog.backend.topics import StoredTopic
    from eventlog.clock import Clock
    from eventlog.store.committer import Committer
    from eventlog.store.lmdb.environment import Environment


class Queues:
    """
    The queues of a log; any thread may call.

    Made with the first use of one: few programs have queues.
    """

    def __init__(self, environment: Environment, committer: Committer, members: Members, clock: Clock) -> None:
        self._environment = environment
        self._committer = committer
        self._members = members
        self._clock = clock

    def _times(self) -> tuple[int, int]:
        """Wall time, and that of the monotonic clock, in ms."""
        return self._clock.now_ms(), int(self._clock.monotonic() * 1000)

    def queue(self, name: str) -> StoredQueue | None:
        """A queue; None if there is none of that name."""
        return reader.read_queue(self._environment, name)

    def queue_names(self) -> list[str]:
        """The names of all queues, sorted."""
        return reader.queue_names(self._environment)

    def ensure_queue(self, name: str, options: QueueOptions, *, starts: Mapping[tuple[int, int], int]) -> StoredQueue:
        """The queue of that name, made with these options if there is none."""
        environment = self._environment
        if not environment.has_later(QUEUES):
            table = MakeTable()
            self._committer.run(table)
            assert table.table is not None
            environment.tables |= {QUEUES: table.table}
        command = EnsureQueue(name, options, starts, self._clock.now_ms())
        self._committer.run(command)
        assert command.queue is not None
        return command.queue

    # -- work ------------------------------------------------------------------------------------------------

    def begin_work(
        self, queue: StoredQueue, member_id: str, lease: MemberLease, topics: Sequence[StoredTopic]
    ) -> QueueReply:
        """Make a worker one of a queue, and take the leases of the dead."""
        request = QueueRequest(queue, member_id, wants=[(topic, 0) for topic in topics], sweeps=True)
        return self._work(QueueCommand(request, self._members, *self._times(), joins=True, confirm=_confirm(lease)))

    def request_jobs(self, request: QueueRequest) -> QueueReply:
        """Carry out what a worker asks for, in one commit."""
        confirm = None if request.confirms is None else _confirm(request.confirms)
        return self._work(QueueCommand(request, self._members, *self._times(), confirm=confirm))

    def _work(self, command: QueueCommand) -> QueueReply:
        self._change(command)
        return QueueReply(command.leased, command.refused, command.removed, command.epoch)

    def end_work(
        self, queue: StoredQueue, member_id: str, acknowledgements: Sequence[Acknowledgement]
    ) -> Sequence[Acknowledgement]:
        """Store a worker's last acknowledgements, give back what else it has, and remove it."""
        command = LeaveQueue(queue, member_id, acknowledgements, *self._times())
        with suppress(UnknownGroup):
            self._committer.run(command)
            return command.refused
        return tuple(acknowledgements)

    def piece_of(self, piece: QueuePiece) -> AcknowledgeInTransaction:
        """The part of a transaction that acknowledges jobs."""
        return AcknowledgeInTransaction(piece, *self._times())

    def queue_view(
        self, queue: StoredQueue, topics: Sequence[StoredTopic], rules: ShareRules | None = None
    ) -> QueueView:
        """What a worker that waits for jobs of some topics has to know."""
        return reader.queue_view(self._environment, queue, topics, rules)

    def queue_topics(self, queue: StoredQueue) -> set[int]:
        """The ids of the topics whose records are jobs of a queue, as far as anybody has come for them."""
        return reader.queue_topics(self._environment, queue)

    def worker_ids(self, queue: StoredQueue) -> list[str]:
        """The ids of a queue's workers, in order."""
        return reader.worker_ids(self._environment, queue)

    # -- administration --------------------------------------------------------------------------------------

    def queue_details(self, name: str) -> QueueDetails:
        """All that is known of a queue."""
        details = reader.queue_details(self._environment, name, self._clock.now_ms())
        lives = self._members.look(worker.member_id for worker in details.workers)
        return details._replace(workers=[one._replace(life=lives[one.member_id]) for one in details.workers])

    def pause_queue(self, name: str, *, is_paused: bool) -> None:
        """Hand out nothing more of a queue, or go on."""
        command = PauseQueue(self._named(name, "pause" if is_paused else "resume"), *self._times())
        command.is_paused = is_paused
        self._change(command)

    def purge_queue(self, name: str) -> int:
        """Take all that is stored now for done, but for what is leased."""
        command = PurgeQueue(self._named(name, "purge"), *self._times())
        self._change(command)
        return command.count

    def alter_queue(self, name: str, options: QueueOptions) -> StoredQueue:
        """Give a queue other options."""
        command = AlterQueue(self._named(name, "alter"), *self._times())
        command.options = options
        self._change(command)
        return command.queue

    def move_queue(self, name: str, starts: Mapping[tuple[int, int], int], *, only_new: bool = False) -> None:
        """Have a queue go on at some offsets."""
        command = MoveQueue(self._named(name, "move"), *self._times())
        command.starts, command.only_new = starts, only_new
        self._change(command)

    def forget_topics(self, name: str, topic_ids: Collection[int]) -> None:
        """Take the records of some topics for no jobs of a queue any more."""
        command = ForgetTopics(self._named(name, "move"), *self._times())
        command.topic_ids = topic_ids
        self._change(command)

    def delete_queue(self, name: str) -> None:
        """Delete a queue."""
        self._change(DeleteQueue(self._named(name, "delete"), *self._times()))

    def _named(self, name: str, what: str) -> StoredQueue:
        queue = self.queue(name)
        if queue is None:
            raise unknown_queue(name, what)
        return queue

    def _change(self, command: QueueChange) -> None:
        self._committer.run(command)
        self._members.discard(command.removed)


def _confirm(lease: MemberLease) -> Callable[[], None]:
    return cast(LivenessFile, lease).confirm
