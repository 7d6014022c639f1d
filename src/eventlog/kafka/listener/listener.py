"""A Kafka listener: its address, and its end."""

from __future__ import annotations

import atexit
import socket
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from eventlog.errors import LogClosed, UsedAfterFork
from eventlog.kafka.errors import CannotListen
from eventlog.kafka.faults.face import FaultsOnDemand
from eventlog.kafka.listener.apis import TABLE, Apis
from eventlog.kafka.listener.broker import Broker
from eventlog.kafka.listener.loop_thread import LoopThread
from eventlog.kafka.listener.server import Server
from eventlog.notices import LISTENING, LISTENING_ENDED, tell

if TYPE_CHECKING:
    from eventlog.api.event_log import EventLog
    from eventlog.backend.kafka import NodeClaim
    from eventlog.kafka.listener.options import Options
    from eventlog.log.event_log import EmbeddedLog


T = TypeVar("T")


class Core:
    """
    What goes on while the listener is open; knows nothing of the `Listener`, which may be dropped.

    Args:
        owns_log: closes the log in the end.
    """

    def __init__(self, log: EmbeddedLog, sock: socket.socket, options: Options, *, owns_log: bool) -> None:
        self.log = log
        self.host, self.port = sock.getsockname()[:2]
        self._sock = sock
        self._options = options
        self._owns_log = owns_log
        self._backend = log._store
        self._user = object()
        self.advertised = (options.advertised_host or self.host, options.advertised_port or self.port)
        self._claim = self._claimed()
        try:
            self._thread = LoopThread("eventlog-kafka")
            self.broker = Broker(log, self._thread.loop, options, Apis(TABLE), self._claim.node)
            self.server = Server(self.broker, options, self.broker.apis)
        except BaseException:
            self._claim.release()
            raise
        self._stopping: Future[None] | None = None
        self.is_forked = False
        self.is_closed = False

    def _claimed(self) -> NodeClaim:
        node_id = self._options.node_id
        claim = self._backend.claim_node(node_id, *self.advertised, self._options.security_protocol)
        if claim is None:
            raise CannotListen(
                f"another listener of the log at {self._backend.path} is node {node_id}.",
                stored="Nothing was opened.",
                advice="Pass another node_id=, or none: then it is the lowest that is free.",
                host=self.host,
                port=self.port,
            )
        return claim

    def start(self) -> None:
        """Accept connections."""
        self._backend.on_fork(self)
        try:
            self._thread.start()
        except BaseException:
            self._claim.release()
            raise
        self._backend.hold(self._user)
        self._thread.begin(lambda: self.server.start(self._sock, self._options.ssl_context)).result()
        atexit.register(self.stop)  # a program that forgets close() still answers what is in hand
        tell(LISTENING, address=self.bootstrap_servers, path=self._backend.path)

    def in_loop(self, function: Callable[[], T]) -> T:
        """Have a function called in the loop, and return what it returns."""

        async def call() -> T:
            return function()

        return self._thread.begin(call).result()

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients."""
        host, port = self.advertised
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def stop(self) -> None:
        """
        Answer what is in hand, close all connections, and end the thread.

        Called again, because a signal handler has interrupted it, it does what is left.
        """
        if self.is_closed:
            return
        if self._backend.is_interrupted or self._thread.is_ours:
            self.abandon()  # what is in hand waits for the interrupted call, or for this very thread
            return
        if self._stopping is None:
            self._stopping = self._thread.begin(self._end)  # type: ignore[assignment]
        assert self._stopping is not None
        self._stopping.result()
        self._thread.stop()
        self.is_closed = True
        atexit.unregister(self.stop)
        self._backend.release(self._user)
        if self._owns_log:
            self.log.close()
        tell(LISTENING_ENDED, address=self.bootstrap_servers, path=self._backend.path)

    def abandon(self) -> None:
        """
        End it from where nothing may be waited for: from a finalizer or a signal handler, in the middle of anything.

        The log that it has opened is closed by its own finalizer.
        """
        if not self.is_closed and self._stopping is None and not self._thread.loop.is_closed():
            self._stopping = self._thread.begin(self._end_alone)  # type: ignore[assignment]

    async def _end(self) -> None:
        await self.server.stop()
        self._claim.release()
        self.broker.close()

    async def _end_alone(self) -> None:
        await self._end()
        self.is_closed = True
        atexit.unregister(self.stop)
        self._backend.abandon(self._user)
        self._thread.loop.call_soon(self._thread.loop.stop)

    def _after_fork(self) -> None:
        """Leave connections, loop and threads to the parent, in a forked child."""
        self.is_forked = self.is_closed = True
        self.broker.forget()
        if self.broker.faults is not None:
            self.broker.faults.forget()
        self.server.close_copies()
        self._sock.close()
        self._thread.forget()
        self._claim.forget()


class Listener(FaultsOnDemand):
    """
    A Kafka listener over a log: see `eventlog.kafka.listen`.

    Any thread may use it. Close it, or use it in a `with` block: requests in hand are answered, and what was
    acknowledged is stored as the log's durability says.

    Example:
        >>> import eventlog.kafka
        >>> with eventlog.open(":memory:") as log, eventlog.kafka.listen(log) as kafka:
        ...     kafka.bootstrap_servers == f"127.0.0.1:{kafka.port}"
        True
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._finalizer = weakref.finalize(self, core.abandon)
        self._finalizer.atexit = False

    @property
    def bootstrap_servers(self) -> str:
        """
        The address that clients are given: `bootstrap.servers`, `bootstrap_servers=`.

        Raises:
            UsedAfterFork: in a forked child, which does not listen. Make another listener there.
        """
        self._check()
        return self._core.bootstrap_servers

    @property
    def log(self) -> EventLog:
        """The log that it serves."""
        return self._core.log

    @property
    def host(self) -> str:
        """The address of this machine that it listens on."""
        self._check()
        return str(self._core.host)

    @property
    def port(self) -> int:
        """The port that it listens on; with `port=0` the one that the system chose."""
        self._check()
        return int(self._core.port)

    @property
    def is_closed(self) -> bool:
        """Whether it listens no more."""
        return self._core.is_closed

    def close(self) -> None:
        """
        Stop listening: requests in hand are answered, long polls end, and all connections are closed.

        Blocks until that is done, for some seconds at most. Called again, it does nothing. In a signal handler that
        interrupts a commit or a read of the same thread it waits for nothing, and the rest is done when that is over.
        """
        self._core.stop()
        self._finalizer.detach()

    @property
    def _faulty(self) -> Core:
        self._check()
        return self._core

    def _check(self) -> None:
        if self._core.is_forked:
            raise UsedAfterFork(
                f"the Kafka listener of the log at {self._core.log.path} was opened by the parent process.",
                stored="Nothing was changed.",
                advice="Call eventlog.kafka.listen() in the child, after the fork.",
            )
        if self._core.is_closed:
            raise LogClosed(
                f"the Kafka listener of the log at {self._core.log.path} is closed.",
                stored="Nothing was changed.",
                advice="Call eventlog.kafka.listen() again.",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._core.is_closed else self._core.bootstrap_servers
        return f"<eventlog.kafka.Listener {str(self._core.log.path)!r}: {state}>"


def start(log: EmbeddedLog, sock: socket.socket, options: Options, *, owns_log: bool) -> Listener:
    """Begin to listen at a socket that is bound."""
    core = Core(log, sock, options, owns_log=owns_log)
    core.start()
    return Listener(core)
