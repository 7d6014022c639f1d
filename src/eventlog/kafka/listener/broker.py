"""What a handler is given beside its request: the log, the loop, and what all requests of a listener share."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from eventlog.backend import Backend
from eventlog.backend.deferred import Deferred
from eventlog.backend.kafka import ListenerNode
from eventlog.backend.records import Pending
from eventlog.backend.topics import StoredTopic
from eventlog.errors import TopicMismatch
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.commits import Commits
from eventlog.kafka.listener.polls import Poll, Polls
from eventlog.kafka.listener.record_batches import RecordBatches
from eventlog.kafka.listener.room import Room
from eventlog.kafka.transactions.expiry import TransactionExpiry

if TYPE_CHECKING:
    from eventlog.kafka.faults.rules import Faults
    from eventlog.kafka.listener.apis import Apis
    from eventlog.kafka.listener.connection import Connection
    from eventlog.kafka.listener.options import Options
    from eventlog.kafka.security.gate import Gate
    from eventlog.log.event_log import EmbeddedLog

_NODES_SECONDS: Final = 0.5
"""So long the list of live listeners is kept."""

T = TypeVar("T")
P = TypeVar("P", bound=Pending)


class Broker:
    """
    One listener, as the handlers of its requests see it.

    Belongs to the loop's thread: state that handlers keep here needs no lock.

    Args:
        node: the number of the listener, with the host and port that clients are told to connect to.
    """

    def __init__(
        self,
        log: EmbeddedLog,
        loop: asyncio.AbstractEventLoop,
        options: Options,
        apis: Apis,
        node: ListenerNode,
    ) -> None:
        self.log = log
        self.backend: Backend = log._store
        self.loop = loop
        self.options = options
        self.apis = apis
        self.node = node
        self.node_id = node.node_id
        self.cluster_id = base64.urlsafe_b64encode(log.uuid.bytes).decode().rstrip("=")
        self.address = (node.host, node.port)
        self.record_batches = RecordBatches()
        self.groups: Any = None
        """The coordinator of groups, which its handlers make with the first request for it."""
        self.consumers: Any = None
        """The members of groups by the new protocol of consumers, likewise."""
        self.shares: Any = None
        """The share groups, likewise."""
        self.room = Room(self)
        """How many of all these there may be."""
        self.faults: Faults | None = None
        """The faults that a test has asked for."""
        self.when_stopping: list[Callable[[], object]] = []
        """Called when a stop begins: to answer, with an error that has the client try again, what still waits."""
        self.when_disconnected: list[Callable[[Connection], object]] = []
        """Called for each connection that has ended."""
        self.is_stopping = False
        self.transactions = TransactionExpiry(self)
        """Aborts the transactions whose time is over."""
        self.gate: Gate | None = None
        """Who may do what; None where everybody may do everything."""
        if options.security.is_needed:
            from eventlog.kafka.security.gate import Gate

            self.gate = Gate(self, options.security)
        self._commits = Commits(self.backend, loop)
        self._polls = Polls(self.backend, loop)
        self._nodes: list[ListenerNode] = []
        self._nodes_end_s = 0.0
        self._topics_version = -1
        self._topics_by_id: dict[UUID, StoredTopic] = {}

    # -- storing ---------------------------------------------------------------------------------------------

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """
        Have the thread that commits call a function which may block for a commit: to create a topic, say.

        Await the future: it has what the function returns or raises. A log in memory does it at once.
        """
        return self._commits.call(function)

    def read(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """
        Have another thread call a function which reads much, and commits nothing.

        Await the future, as with `call`.
        """
        return self._commits.read(function)

    def store(self, defer: Callable[[Callable[[], object]], Deferred[T]]) -> asyncio.Future[T]:
        """
        Store a request together with all that are queued: one commit for all of them.

        Await the future: it has the request's reply, or its error.

        Args:
            defer: queues the request, and is given the function to be called when it is stored or refused:
                `lambda when_done: deferring.defer_offsets(commit, when_done=when_done)`.
        """
        return self._commits.store(defer)

    def commit(self, prepare: Callable[[Callable[[], object]], P]) -> asyncio.Future[P]:
        """
        Store what the backend has prepared, together with all that is queued.

        Await the future: it has the request, which is done, or its error.

        Args:
            prepare: makes the request, and is given the function to be called when it is done:
                `lambda when_done: backend.prepare_produce(parts, when_done)`.
        """
        return self._commits.commit(prepare)

    def commit_and_call(self, prepare: Callable[[Callable[[], object]], P], when_stored: Callable[[P], object]) -> None:
        """The same without a future, for what comes often: calls a function in the loop once the request is done."""
        self._commits.commit_and_call(prepare, when_stored)

    # -- waiting ---------------------------------------------------------------------------------------------

    def poll(self, partitions: Iterable[tuple[int, int]], group: str | None = None) -> Poll:
        """
        A wait for appends to some partitions, by topic id and number, and for changes of a queue, of any process.

        Enter it (`with`), look at the log, and `await poll.wait(seconds)` if there was nothing.
        """
        return self._polls.open(partitions, group)

    def ring_group(self, group: str) -> None:
        """End the waits for a queue: there may be something to take."""
        self._polls.ring_group(group)

    # -- topics ----------------------------------------------------------------------------------------------

    def topic_of_id(self, topic_id: UUID) -> StoredTopic | None:
        """The topic that has this id; None if there is none."""
        version = self.backend.topics_version()
        if version != self._topics_version:
            self._topics_by_id = {topic.uuid: topic for topic in self.backend.topics()}
            self._topics_version = version
        return self._topics_by_id.get(topic_id)

    def create_topic(self, name: str, partitions: int | None = None) -> asyncio.Future[StoredTopic]:
        """Create a topic of bytes unless there is one of that name; with the default count of partitions if None."""
        return self.call(partial(self._create_topic, name, partitions or self.options.partitions))

    def _create_topic(self, name: str, partitions: int) -> StoredTopic:
        try:
            self.log.topic(name, partitions=partitions)
        except unless_interrupted(TopicMismatch):  # somebody else was faster, and chose another count
            return self.backend.require_topic(name)
        return self.backend.require_topic(name)

    # -- nodes -----------------------------------------------------------------------------------------------

    def live_nodes(self) -> list[ListenerNode]:
        """
        All live listeners of the log, in any process, this one among them; as they were half a second ago.

        Only those that clients reach in the same way: one without TLS cannot go on at a listener that has it.
        """
        now_s = self.loop.time()
        if now_s >= self._nodes_end_s:
            others = [one for one in self.backend.listener_nodes() if one.node_id != self.node_id]
            self._nodes = sorted([self.node, *(one for one in others if one.security == self.node.security)])
            self._nodes_end_s = now_s + _NODES_SECONDS
        return self._nodes

    def nodes(self) -> list[dict[str, Any]]:
        """The same, as Metadata names them."""
        return [{"node_id": one.node_id, "host": one.host, "port": one.port, "rack": None} for one in self.live_nodes()]

    @property
    def controller_id(self) -> int:
        """The node that takes the requests of administrators: each does, and all name the same one."""
        return self.live_nodes()[0].node_id

    # -- life ------------------------------------------------------------------------------------------------

    def forget_connection(self, connection: Connection) -> None:
        """Tell those that keep something for a connection that it has ended."""
        for tell in self.when_disconnected:
            tell(connection)

    def begin_stop(self) -> None:
        """End all waits: the listener stops."""
        self.is_stopping = True
        self._polls.stop()
        for tell in self.when_stopping:
            tell()

    def close(self) -> None:
        """End the thread that commits, and give the FIFO up."""
        self._polls.close()
        self._commits.stop()
        if self.gate is not None:
            self.gate.close()

    def forget(self) -> None:
        """Leave all to the parent, in a forked child."""
        self._polls.forget()
