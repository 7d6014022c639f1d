"""
The connections of a listener, and the way of a request from its bytes to its answer.

Belongs to the loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.interruptions import unless_interrupted
from eventlog.kafka import protocol
from eventlog.kafka.listener.acceptor import Acceptor
from eventlog.kafka.listener.apis import Api, Apis, Handler
from eventlog.kafka.listener.connection import Answer, Connection, Last, Refused
from eventlog.kafka.listener.failures import refusal
from eventlog.kafka.listener.fetch_sessions import in_session
from eventlog.kafka.listener.request import Request
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.notices import CONNECTION_REFUSED, tell

if TYPE_CHECKING:
    import socket

    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.options import Options

_SHARED_BYTES: Final = 262_144
_MOST_OTHER_BYTES: Final = 4_194_304
"""The most bytes of a request without records: millions of names would hold up all others while they are read."""
STOP_SECONDS: Final = 5.0
"""So long a stop waits for requests in hand, and for peers to take their answers."""


class Server:
    """
    All connections of one listener.

    Belongs to the loop.
    """

    def __init__(self, broker: Broker, options: Options, apis: Apis) -> None:
        self.broker = broker
        self.options = options
        self.loop = broker.loop
        self.shared = memoryview(bytearray(_SHARED_BYTES))
        """Where all connections read into; see `frames.py`."""
        self._apis = apis
        self._gate = broker.gate
        self._connections: set[Connection] = set()
        self._acceptor: Acceptor | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._all_gone: asyncio.Future[None] | None = None
        self._is_stopping = False

    # -- life ------------------------------------------------------------------------------------------------

    async def start(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept connections from now on."""
        self._acceptor = Acceptor(self.loop, sock, lambda: Connection(self), context)
        self._acceptor.start()
        self._look_for_idle()
        self.broker.transactions.start()

    async def stop(self) -> None:
        """Answer what is in hand, let the long polls end now, and close all connections."""
        self._is_stopping = True
        if self._acceptor is not None:
            self._acceptor.stop()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self.broker.begin_stop()
        deadline_s = self.loop.time() + STOP_SECONDS
        waits = [wait for connection in self._connections for wait in connection.waits]
        if waits:
            await asyncio.wait(waits, timeout=STOP_SECONDS)  # type: ignore[type-var]
            await asyncio.sleep(0)  # their answers are sent by callbacks, which come after ours
        for connection in list(self._connections):
            connection.close()
        if not await self._wait_for_ends(max(deadline_s - self.loop.time(), 0.05)):
            for connection in list(self._connections):
                connection.abort()
            await self._wait_for_ends(STOP_SECONDS)

    async def _wait_for_ends(self, seconds: float) -> bool:
        if self._connections:
            self._all_gone = self.loop.create_future()
            await asyncio.wait([self._all_gone], timeout=seconds)
        return not self._connections

    def add(self, connection: Connection) -> None:
        """Know one more connection, or refuse it."""
        self._connections.add(connection)
        if self._is_stopping:
            connection.abort()
        elif len(self._connections) > self.options.max_connections:
            self.tell_refusal(
                connection.peer, f"there are {self.options.max_connections:,} connections, the bound max_connections="
            )
            connection.abort()
        if self._gate is not None:
            self._gate.begin(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)
        if not self._connections and self._all_gone is not None and not self._all_gone.done():
            self._all_gone.set_result(None)
        if self._gate is not None:
            self._gate.end(connection)
        self.broker.forget_connection(connection)

    def abort_all(self, concerns: Callable[[Connection], bool]) -> None:
        """Close some of the connections at once."""
        for connection in list(self._connections):
            if concerns(connection):
                connection.abort()

    @property
    def connection_count(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def _look_for_idle(self) -> None:
        """Close the connections on which nothing has happened for too long."""
        idle_s = self.options.idle_timeout
        earliest_s = self.loop.time() - idle_s
        for connection in list(self._connections):
            connection.end_if_idle(earliest_s)
        self._idle_timer = self.loop.call_later(max(idle_s / 4, 0.01), self._look_for_idle)

    def close_copies(self) -> None:
        """Close a forked child's copies of the sockets; the loop's own files are closed with it."""
        for connection in self._connections:
            connection.close_copy()
        if self._gate is not None:
            self._gate.forget()
        self._connections.clear()

    # -- requests --------------------------------------------------------------------------------------------

    def may_overtake(self, frame: bytes) -> bool:
        """Whether a request may begin behind others of its kind that wait for their commit."""
        return frame[:2] == b"\0\0"  # the key of Produce

    def begin(self, frame: bytes, connection: Connection) -> Answer:
        """
        Begin one request.

        Raises:
            Refused: if it cannot be answered, and its connection has to be closed.
        """
        if self._gate is not None and (token := self._gate.token(frame, connection)) is not None:
            answer = Answer(may_overtake=False)
            self._await(token, connection, answer, None, lambda outcome: [outcome])
            return answer
        try:
            header = protocol.decode_request_header(frame)
        except unless_interrupted(protocol.MalformedMessage) as error:
            raise Refused(f"it sent no request of Kafka: {error}") from error
        api = self._apis.get(header.api_key)
        if api is None:
            raise Refused(f"it sent a request with API key {header.api_key}, which is not served here")
        if self._gate is not None:
            self._gate.check(header.api_key, connection)
        if len(frame) > _MOST_OTHER_BYTES and header.api_key != ApiKey.PRODUCE:
            raise Refused(f"it sent a {api.name} request of {len(frame):,} bytes; {_MOST_OTHER_BYTES:,} are the most")
        answer = Answer(may_overtake=header.api_key == ApiKey.PRODUCE)
        encode = partial(_encode, header.api_key, header.api_version, header.correlation_id)
        if not api.least <= header.api_version <= api.most:
            answer.buffers = self._refuse_version(api, header)
            answer.is_done = True
            return answer
        try:
            body = protocol.decode_request(header.api_key, header.api_version, frame, header.body_at)
        except unless_interrupted(protocol.MalformedMessage) as error:
            raise Refused(f"its {api.name} request cannot be read: {error}") from error
        request = Request(header.api_key, header.api_version, header.client_id, body, connection)
        handle = self._handler(api, header.api_key)
        try:
            outcome = handle(self.broker, request)
        except unless_interrupted(Exception) as error:
            outcome = self._failed(request, answer, error)
        if request.holds_up:
            answer.may_overtake = False
        if outcome is None or isinstance(outcome, dict):
            answer.buffers = None if outcome is None else encode(outcome)
            answer.is_done = True
            return answer
        self._await(outcome, connection, answer, request, encode)
        return answer

    def _handler(self, api: Api, api_key: int) -> Handler:
        """The handler of an API, behind those that look at its requests first."""
        handle = api.handler if self._gate is None else self._gate.handler(api)
        if self.broker.faults is not None:
            handle = self.broker.faults.handler(handle)
        return in_session(handle) if api_key == ApiKey.FETCH else handle

    def _await(
        self,
        outcome: Awaitable[Any],
        connection: Connection,
        answer: Answer,
        request: Request | None,
        encode: Callable[[Any], list[protocol.Buffer]],
    ) -> None:
        waiting = answer.waiting = asyncio.ensure_future(outcome, loop=self.loop)
        waiting.add_done_callback(partial(self._settle, connection, answer, request, encode))

    def _settle(
        self,
        connection: Connection,
        answer: Answer,
        request: Request | None,
        encode: Callable[[Any], list[protocol.Buffer]],
        waiting: asyncio.Future[Any],
    ) -> None:
        if connection.is_closed:
            if not waiting.cancelled():
                waiting.exception()  # nobody else asks for it
            return
        if waiting.cancelled():
            connection.refuse("the listener stops")
            return
        error = waiting.exception()
        try:
            outcome = waiting.result() if error is None else self._failed(request, answer, error)
            answer.buffers = None if outcome is None else encode(outcome)
        except unless_interrupted(Refused) as refused:
            connection.refuse(str(refused))
            return
        answer.waiting = None
        connection.settle(answer)

    def _failed(self, request: Request | None, answer: Answer, error: BaseException) -> dict[str, Any]:
        """The answer to a request whose handler failed; None is bytes without a header."""
        if isinstance(error, Refused):
            raise error
        if isinstance(error, Last):
            answer.ending = str(error)
            return error.answer
        if request is None:
            raise Refused(f"its authentication failed: {error!r}")
        failure = refusal(request, error)
        if failure is None:
            raise Refused(f"its {ApiKey(request.api_key).name} request failed: {error!r}")
        return failure

    def _refuse_version(self, api: Api, header: protocol.RequestHeader) -> list[protocol.Buffer]:
        """The answer to a version that is not served: KIP-511 for ApiVersions, and the end for all others."""
        if header.api_key != ApiKey.API_VERSIONS:
            raise Refused(f"it sent {api.name} of version {header.api_version}; {api.least} to {api.most} are served")
        answer = {"error_code": ErrorCode.UNSUPPORTED_VERSION, "api_keys": self._apis.ranges()}
        return _encode(header.api_key, 0, header.correlation_id, answer)

    def tell_refusal(self, peer: str, reason: str) -> None:
        """Say in the log why a connection is closed."""
        tell(CONNECTION_REFUSED, peer=peer, reason=reason)


def _encode(api_key: int, version: int, correlation_id: int, answer: dict[str, Any]) -> list[protocol.Buffer]:
    header = protocol.encode_response_header(api_key, version, correlation_id)
    return [header, *protocol.encode_response(api_key, version, answer)]
