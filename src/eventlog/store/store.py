"""
A log directory, open: its topics, its batches, its committed offsets.

One `Store` serves a whole process: opening a directory twice gives the same one, counted. Knows nothing of codecs,
partitioners, producers or consumers.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING, Protocol, cast
from uuid import UUID, uuid4

from eventlog.backend.records import AppendReply, TransactionRequest
from eventlog.backend.states import StateChanges
from eventlog.clock import Clock
from eventlog.errors import EventLogError, FilesChanged, NotALog
from eventlog.interruptions import is_interruption, unless_interrupted
from eventlog.store.committer import Committer
from eventlog.store.folder import Folder, stored_mode
from eventlog.store.groups.backend import StoreGroups
from eventlog.store.groups.heartbeat import HeartbeatThread
from eventlog.store.groups.liveness import Members
from eventlog.store.lmdb.data_file import DATA_FILE, WAITERS
from eventlog.store.lmdb.environment import (
    FORMAT,
    LATER_TABLES,
    SCHEDULE,
    TABLES,
    EngineError,
    EngineMapFull,
    Environment,
    Transaction,
    lost_tables,
)
from eventlog.store.lmdb.room import Bound
from eventlog.store.records.appending import StoreAppends
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.history import StoreHistory
from eventlog.store.records.reading import StoreReading
from eventlog.store.records.topic_store import StoreTopics
from eventlog.store.records.transaction import CommitTransaction, Piece
from eventlog.store.rows.checksums import seal_row, unseal_row
from eventlog.store.rows.tables import (
    FORMAT_KEY,
    FORMAT_VERSION,
    KAFKA_ONGOING_KEY,
    LEFT_ROWS,
    UNSEALED_VERSION,
    FormatRow,
)
from eventlog.store.states.backend import StoreStates
from eventlog.store.states.commands import ApplyStateChanges
from eventlog.store.verify.backend import StoreMaintenance
from eventlog.store.wakeup.notifier import Notifier
from eventlog.store.wakeup.waiter import Waiter
from eventlog.uninterruptible import WeakMembers

if TYPE_CHECKING:  # few programs have groups: `import eventlog` is fast
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from eventlog.backend.deferred import DeferringBackend
    from eventlog.backend.groups import OffsetCommit
    from eventlog.backend.kafka import (
        KafkaAppend,
        KafkaFetch,
        KafkaFetched,
        ListenerNode,
        NodeClaim,
        PendingProduce,
        PendingProducerId,
    )
    from eventlog.backend.kafka_transactions import (
        PendingTransaction,
        ProducerView,
        TransactionCommand,
        TransactionView,
    )
    from eventlog.backend.queues import QueuePiece
    from eventlog.backend.schedules import SchedulePiece
    from eventlog.store.kafka.listeners import Listeners
    from eventlog.store.queues.backend import Queues
    from eventlog.store.schedules.backend import Schedules
    from eventlog.store.schedules.server import ScheduleServer
    from eventlog.store.temporary import TemporaryDirectory


_NOTICE_SECONDS = 1.0


class Users(Protocol):
    """Whoever counts the users of open stores (`store/registry.py`)."""

    def hold(self, store: Store, user: object) -> None:
        """Keep the store open until this user is released."""
        ...

    def release(self, user: object) -> None:
        """Forget a user, and close the store without the last one; called again, do what is left."""
        ...

    def abandon(self, user: object) -> None:
        """Forget a user, now or later; waits for nothing."""
        ...

    def crash(self, store: Store) -> None:
        """End the store for all of its users, as the death of the process would."""
        ...

    @property
    def is_interrupted(self) -> bool:
        """Whether this very thread opens or closes a store: then a signal handler or a finalizer asks."""
        ...


class Store(StoreTopics, StoreAppends, StoreReading, StoreGroups, StoreHistory, StoreStates, StoreMaintenance):
    """
    One open log directory.

    Any thread may call anything. After a fork the child's first use opens the directory again; whoever registered
    with `on_fork` is told in the child.
    """

    def __init__(
        self,
        path: str,
        *,
        durability: str,
        mode: int,
        map_bytes: int | None,
        clock: Clock,
        users: Users,
        temporary: TemporaryDirectory | None = None,
        before_commit: Callable[[], None] | None = None,
        upgrade: bool = False,
        keep_copy: str | None = None,
        is_read_only: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        """The bound of the data file, for what this process appends."""
        self.is_read_only = is_read_only
        self.durability = durability
        self.clock = clock
        self.is_memory = durability == "memory"
        self._users = users
        self.temporary = temporary
        self.has_ended = False
        """Whether `close()` has come to its end; a signal handler may have interrupted it before."""
        self._fold_holders = {}
        self._next_notice_s, self._sends_schedules = 0.0, False
        self._fork_listeners: WeakMembers[object] = WeakMembers()
        self.old_format: int | None = None
        """The format that the log had before it was upgraded when it was opened here."""
        self.environment = Environment(
            path,
            durability=durability,
            mode=mode,
            map_bytes=map_bytes,
            is_memory=self.is_memory,
            clock=clock,
            is_read_only=is_read_only,
            before_commit=before_commit,
            bound=None if max_bytes is None else Bound(max_bytes),
        )
        try:
            self.format = self._read_or_write_format(upgrade=upgrade, keep_copy=keep_copy)
            self.environment.identity = (FORMAT, FORMAT_KEY, self._format_mark)
            mode = self._mode = stored_mode(os.path.join(path, DATA_FILE))
            waiters = self._waiters = Folder(os.path.join(path, WAITERS), mode)
            if not is_read_only:
                waiters.make()
            self._notifier = Notifier(waiters)
            self.committer = Committer(self.environment, self._notifier)
            self.committer.clean_for_room = self._clean_for_room
            self.members = Members(Folder(os.path.join(path, "members"), mode), clock)
            self.heartbeat = HeartbeatThread()
            if self._has_left_rows and not is_read_only:
                from eventlog.store.records.emptying import empty

                empty(self.environment, self.committer.run)
            if self._has_ongoing and not is_read_only:
                self.abort_expired()
        except BaseException as error:
            self.environment.close()
            if isinstance(error, OSError) and not is_interruption(error):
                raise self.environment.os_error(error, "open") from error
            raise

    @property
    def uuid(self) -> UUID:
        """The id of this log, which no other has."""
        return self.format.uuid

    @property
    def is_closed(self) -> bool:
        """Whether the last user closed it."""
        return self.environment.is_closed

    @property
    def is_in_place(self) -> bool:
        """Whether the names of its files still lead to them."""
        try:
            self.environment.check_files()
        except unless_interrupted(FilesChanged):
            return False
        except unless_interrupted(EventLogError):
            return True
        return True

    def close(self) -> None:
        """Store what is still queued, and end the environment; a log in memory is gone; called again, go on."""
        try:
            self.heartbeat.stop()
            if self._cleaner is not None:
                self._cleaner.stop()
            if self._schedule_server is not None:
                self._schedule_server.stop()
            if not (self.environment.is_closed or self.environment.has_failed or self.is_read_only):
                self.committer.commit_queued()
        finally:
            self.environment.close()
            self._notifier.close()
            if self.temporary is not None:
                self.temporary.remove()
            self.has_ended = True

    def end(self) -> None:
        """End the environment as the death of the process would: what is queued is lost, and no member leaves."""
        self.heartbeat.stop()
        if self._cleaner is not None:
            self._cleaner.stop()
        if self._schedule_server is not None:
            self._schedule_server.stop()
        self.environment.close()
        self._notifier.close()

    # -- users -----------------------------------------------------------------------------------------------

    def hold(self, user: object) -> None:
        """Keep this open until the user is released."""
        self._users.hold(self, user)

    def release(self, user: object) -> None:
        """Forget a user, and close without the last one; called again after an interruption, do what is left."""
        self._users.release(user)

    def abandon(self, user: object) -> None:
        """Forget a user, from a finalizer: it waits for nothing, so this may be closed later."""
        self._users.abandon(user)

    def crash(self) -> None:
        """End this for all of its users, as the death of the process would."""
        self._users.crash(self)

    @property
    def is_interrupted(self) -> bool:
        """Whether this very thread is in the middle of something that others wait for."""
        return super().is_interrupted or self._users.is_interrupted or self.heartbeat.is_interrupted

    # -- records ---------------------------------------------------------------------------------------------

    def run(self, work: CommitRequest) -> None:
        """Stores one piece of work, or raises its error."""
        self.committer.run(work)

    # -- Kafka's clients: what is here imports at the call, because few programs have a listener --------------

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
        """A request to append record batches, each judged by itself."""
        from eventlog.store.kafka.produce import Membership, prepare_produce

        return prepare_produce(
            self.environment,
            parts,
            when_done,
            now_ms=self.clock.now_ms(),
            latest_ms=latest_ms,
            membership=Membership(
                transactional_id, adds_partitions, "TRANSACTION_ABORTABLE" if is_abortable else "INVALID_TXN_STATE"
            ),
            is_enough=is_enough,
        )

    def prepare_transaction(self, command: TransactionCommand, when_done: Callable[[], object]) -> PendingTransaction:
        """A request to carry out a command of a transactional producer."""
        from eventlog.store.kafka.transactions import request_of

        return request_of(self.environment, command, when_done, self.clock.now_ms())

    def kafka_transactions(self) -> list[TransactionView]:
        """All transactional ids."""
        from eventlog.store.kafka.transactions import views

        return views(self.environment)

    def kafka_transaction(self, transactional_id: str) -> TransactionView | None:
        """One of them."""
        from eventlog.store.kafka.transactions import view

        return view(self.environment, transactional_id)

    def kafka_producers(self, partitions: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], list[ProducerView]]:
        """The producers of Kafka's that some partitions know."""
        from eventlog.store.kafka.transactions import producers_of

        return producers_of(self.environment, partitions)

    def next_expiry_ms(self) -> int | None:
        """When the first open transaction is to be aborted."""
        from eventlog.store.kafka.transactions import next_deadline

        return next_deadline(self.environment)

    def pending_offsets(self, group: str) -> Mapping[tuple[int, int], int]:
        """The offsets of a group that wait for the ends of transactions."""
        from eventlog.store.kafka.transactions import pending_offsets

        return pending_offsets(self.environment, group)

    def fetch_stored(self, requests: Iterable[KafkaFetch], max_bytes: int) -> tuple[list[KafkaFetched], int]:
        """Everything that is stored from some offsets on, and the commit number of the snapshot."""
        from eventlog.store.kafka.fetching import fetch_stored

        return fetch_stored(self.environment, requests, max_bytes)

    def prepare_producer_id(self, when_done: Callable[[], object]) -> PendingProducerId:
        """A request for the id of an idempotent producer."""
        from eventlog.store.kafka.producer_ids import TakeProducerId

        return TakeProducerId(when_done, self.clock.now_ms())

    def claim_node(self, node_id: int | None, host: str, port: int, security: str) -> NodeClaim | None:
        """A number for a new listener; None if a live listener has that number."""
        return self._listeners().claim(node_id, host, port, security)

    def listener_nodes(self) -> list[ListenerNode]:
        """The listeners of the log that live now."""
        return self._listeners().live()

    def _listeners(self) -> Listeners:
        from eventlog.store.kafka.listeners import Listeners

        return Listeners(None if self.is_read_only else Folder(os.path.join(self.path, "listeners"), self._mode))

    # -- queues ----------------------------------------------------------------------------------------------

    def queues(self) -> Queues:
        """The queues of the log."""
        from eventlog.store.queues.backend import Queues  # few programs have any

        return Queues(self.environment, self.committer, self.members, self.clock)

    # -- waiting ---------------------------------------------------------------------------------------------

    def waiter(self) -> Waiter:
        """A place to wait until somebody commits."""
        return Waiter(
            None if self.is_read_only else self._waiters,
            last_transaction=self._noticed_transaction,
            glance=self.environment.glance,
            monotonic=self.clock.monotonic,
        )

    def _noticed_transaction(self) -> int:
        """The commit number of the newest commit of any process; who waits asks for it, and looks at schedules too."""
        self.notice_schedules()
        return self.environment.last_transaction()

    def send_schedules(self) -> None:
        """Send from now on what anybody has scheduled, in the background; one look if nobody has."""
        self._sends_schedules = True
        if SCHEDULE in self.environment.tables:
            self.schedules().notice()

    def notice_schedules(self) -> None:
        """Look once a second whether others have scheduled something, and may be gone when it is due."""
        now_s = monotonic()
        if self._sends_schedules and now_s >= self._next_notice_s:
            self._next_notice_s = now_s + _NOTICE_SECONDS
            if self.environment.has_later(SCHEDULE):
                self.schedules().notice()

    # -- schedules -------------------------------------------------------------------------------------------

    def schedules(self) -> Schedules:
        """The schedules of the log."""
        from eventlog.store.schedules.backend import Schedules  # few programs have any

        server = self._made_schedule_server()
        return Schedules(self.environment, self.committer, server, self.clock, sends=self._sends_schedules)

    @property
    def _schedule_server(self) -> ScheduleServer | None:
        return cast("ScheduleServer | None", self.__dict__.get("the schedule server"))

    def _made_schedule_server(self) -> ScheduleServer:
        made = self._schedule_server
        if made is None:
            from eventlog.store.cleaning.turn import Turn
            from eventlog.store.schedules.server import ScheduleServer

            folder = None if self.is_memory else Folder(os.path.join(self.path, "cleaning"), self._mode)
            turn = Turn(folder, "schedules", "send schedules")
            made = ScheduleServer(self.environment, self.committer, turn, self.waiter, self.clock)
            made = cast("ScheduleServer", self.__dict__.setdefault("the schedule server", made))
        return made

    # -- transactions ----------------------------------------------------------------------------------------

    def commit_transaction(self, request: TransactionRequest) -> AppendReply:
        """Store all of a transaction, or nothing."""
        pieces = [self.piece_of(value) for value in request.pieces] if request.pieces else ()
        command = CommitTransaction(request, pieces, self.clock.now_ms())
        try:
            self.committer.run(command)
        except BaseException:
            if not command.is_done:  # Ctrl-C, or a signal handler that must not wait
                command.withdraw()
            raise
        return command.reply

    def piece_of(self, value: object) -> Piece:
        """The piece of a transaction that a value of its request stands for."""
        if isinstance(value, StateChanges):
            return ApplyStateChanges(value)
        if hasattr(value, "check"):
            return cast("Piece", value)  # a test's own
        if hasattr(value, "acknowledgements"):
            return self.queues().piece_of(cast("QueuePiece", value))
        if hasattr(value, "schedules"):
            return self.schedules().piece_of(cast("SchedulePiece", value))
        return self.offsets_command(cast("OffsetCommit", value))

    def deferring(self) -> DeferringBackend:
        """The requests that can be queued."""
        from eventlog.store.records.deferred import StoreDeferring  # for event loops alone

        return StoreDeferring(self.clock, self.committer, self.piece_of, self.offsets_command)

    # -- forks -----------------------------------------------------------------------------------------------

    def on_fork(self, listener: object) -> None:
        """Has `listener._after_fork()` called in a child, for as long as the listener lives."""
        self._fork_listeners.add(listener)

    def after_fork(self) -> object | None:
        """
        Makes this store usable in the child: nothing queued, no locks held, no shared handles.

        Returns what has to be kept for as long as the child lives, if anything.
        """
        kept = self.environment.reset_after_fork()
        self._notifier.forget()
        self.committer.reset()
        self.heartbeat.after_fork()
        self.members.after_fork()
        if self._cleaner is not None:
            self._cleaner.after_fork()
        if self._schedule_server is not None:
            self._schedule_server.after_fork()
        self._fold_holders = {}
        for listener in list(self._fork_listeners):
            listener._after_fork()  # type: ignore[attr-defined]
        return kept

    # -- opening ---------------------------------------------------------------------------------------------

    def _read_or_write_format(self, *, upgrade: bool, keep_copy: str | None) -> FormatRow:
        """Return the row of a log that can be used: one that was there, one that was upgraded, or that of a new log."""
        environment = self.environment
        found: list[FormatRow] = []

        def is_current(transaction: Transaction) -> bool:
            row = self._format_row(transaction)  # judged before anything else is touched
            found.append(row)
            return row.version >= (FORMAT_VERSION if upgrade else UNSEALED_VERSION)

        if self.is_read_only:
            stored, last_commit = environment.stored_tables()
            if FORMAT in stored:
                environment.open_tables([FORMAT])
                environment.read(is_current)
        else:
            stored, last_commit = environment.open_stored_tables(FORMAT, is_current)
        if stored and FORMAT not in stored:
            raise NotALog(
                f"cannot open {self.path}: data.mdb is an LMDB file of something else.",
                stored="It was left as it was.",
                advice="Choose another directory.",
            )
        if last_commit and not stored:
            raise NotALog(
                f"cannot open {self.path}: data.mdb has no tables although {last_commit} commits were made to it.",
                stored="It was left as it was.",
                advice="Restore a backup: the page that leads to the tables is damaged.",
            )
        if renamed := lost_tables(stored):
            raise NotALog(
                f"cannot open {self.path}: its list of tables is damaged, and has no {', '.join(renamed)} any more.",
                stored="It was left as it was.",
                advice="Run `eventlog repair` to make a new log of it, or restore a backup.",
            )
        if len(environment.tables) <= 1:  # else all that are known are open
            if found and found[0].version < (FORMAT_VERSION if upgrade else UNSEALED_VERSION):
                self._upgrade(found[0].version, upgrade=upgrade, keep_copy=keep_copy)
            self._open_tables(stored)
            found.append(environment.read(self._format_row))
        row = found[-1]
        if row.version > UNSEALED_VERSION:
            environment.seal, environment.unseal = seal_row, unseal_row
        return row

    def _open_tables(self, stored: set[bytes]) -> None:
        """Open all tables, of which these are stored; make those that are missing."""
        missing = set(TABLES) - stored
        if not missing:
            self.environment.open_tables((*TABLES, *(stored & set(LATER_TABLES))))
        elif self.is_read_only:
            from eventlog.backend.read_only import lacks_tables

            raise lacks_tables(self.path, missing)
        else:
            self._create_tables()

    def _upgrade(self, version: int, *, upgrade: bool, keep_copy: str | None) -> None:
        from eventlog.store import upgrade as upgrading  # few programs meet an older log

        if not upgrade:
            raise upgrading.too_old(self.path, version)
        with self.environment.alone():
            if keep_copy is not None:
                self.compact(keep_copy)
            upgrading.upgrade(self.environment, self.path)
            self.old_format = version

    def _create_tables(self) -> None:
        while True:
            try:
                self._write_tables()
            except unless_interrupted(EngineMapFull):
                self.environment.grow(1.0)
                continue
            except unless_interrupted(EngineError) as error:
                raise self.environment.fail(error) from error
            return

    def _write_tables(self) -> None:
        transaction = self.environment.begin_writing()
        try:
            self.environment.create_tables(transaction)
            table = self.environment.table(FORMAT)
            if transaction.get(FORMAT_KEY, db=table) is None:  # another process may be first
                row = FormatRow(uuid4(), self.clock.now_ms())
                transaction.put(FORMAT_KEY, row.pack(), db=table)
            self.environment.commit(transaction)
        except BaseException:
            self.environment.abort(transaction)
            raise

    def _format_row(self, transaction: Transaction) -> FormatRow:
        table = self.environment.table(FORMAT)
        data = transaction.get(FORMAT_KEY, db=table) or b""
        with transaction.cursor(db=table) as cursor:
            self._has_left_rows = cursor.set_range(LEFT_ROWS) and cursor.key().startswith(LEFT_ROWS)
            self._has_ongoing = cursor.set_range(KAFKA_ONGOING_KEY) and cursor.key().startswith(KAFKA_ONGOING_KEY)
        row = FormatRow.unpack(data, self.path)
        self._format_mark = data[: data.index(row.uuid.bytes) + len(row.uuid.bytes)]
        return row
