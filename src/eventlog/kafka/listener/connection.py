"""
One connection: requests come in, answers leave in the order of the requests.

A request begins when all before it are answered, as in Kafka; so a long poll holds up what was sent behind it on the
same connection. Only a produce may begin behind other produces, so that one commit stores several.

Everything is bounded: requests that wait, bytes that the peer does not take. Beyond a bound the connection reads no
more, and the peer waits; nobody else does. A packet may hold thousands of requests: after some milliseconds of work for
one connection, the others have their turn.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

from eventlog.interruptions import unless_interrupted
from eventlog.kafka import protocol
from eventlog.kafka.listener.frames import BadFrame, Frames

if TYPE_CHECKING:
    from eventlog.kafka.listener.server import Server

_FLUSH_BYTES: Final = 65_536
_TURN_SECONDS: Final = 0.005
"""So long a connection has its requests begun before others have their turn."""
_ENDING_SECONDS: Final = 0.1
"""So long a client has to take the last answer and to close the connection itself."""


class Refused(Exception):
    """Raised by whoever reads a request that cannot be answered: the connection is closed, and the reason told."""


class Last(Exception):
    """Raised by a handler whose answer is the last of its connection: it is sent, and the reason told."""

    def __init__(self, answer: dict[str, Any], reason: str) -> None:
        super().__init__(reason)
        self.answer = answer


class Answer:
    """The place of one request in the order of the answers."""

    __slots__ = ("buffers", "ending", "is_done", "may_overtake", "waiting")

    def __init__(self, *, may_overtake: bool) -> None:
        self.may_overtake = may_overtake
        """Whether a request of that kind may begin while this one waits for its commit."""
        self.is_done = False
        self.buffers: list[protocol.Buffer] | None = None
        """What is sent; None sends nothing."""
        self.waiting: asyncio.Future[Any] | None = None
        self.ending: str | None = None
        """Why the connection is closed after it."""


class Connection(asyncio.BufferedProtocol):
    """
    One connection of a listener.

    Belongs to the loop.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._frames = Frames(server.options.max_request_bytes, server.shared)
        self._waiting: deque[bytes] = deque()
        """Requests that have come and have not begun."""
        self._in_hand: deque[Answer] = deque()
        """Requests that have begun, and are not answered."""
        self._transport: asyncio.Transport
        self._out: list[protocol.Buffer] = []
        self._out_bytes = 0
        self._is_full = False
        """Whether the peer takes less than we send."""
        self._is_reading = True
        self._is_pumping = False
        self._next_turn: asyncio.Handle | None = None
        """When there is one, the connection goes on once others had their turn, and reads nothing before."""
        self._is_ending = False
        self.is_closed = False
        self.active_s = server.loop.time()
        """When something was last read or sent, by the loop's clock."""
        self._untaken_bytes = 0
        """What the peer had yet to take at the last look for idle connections."""
        self.peer = self.host = "?"
        self.principal = "User:ANONYMOUS"
        self.notes: dict[str, Any] = {}
        """What handlers remember of this connection, such as how far an authentication has come."""

    # -- what the loop calls ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection up, unless there are too many."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address = transport.get_extra_info("peername")
        if address:
            self.peer, self.host = f"{address[0]}:{address[1]}", str(address[0])
        transport.set_write_buffer_limits(high=self._server.options.max_buffered_bytes)
        self._server.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's
        """Return memory for the next bytes."""
        return self._frames.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that came, and begin what can be begun."""
        self.active_s = self._server.loop.time()
        try:
            self._waiting.extend(self._frames.take(nbytes))
        except unless_interrupted(BadFrame) as error:
            self.refuse(str(error))
            return
        if self._waiting:
            self._pump()

    def pause_writing(self) -> None:
        """Begin nothing more: the peer does not take what is sent."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_full = False
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Drop what the peer no longer waits for."""
        self.is_closed = True
        self._waiting.clear()
        self._out.clear()
        for answer in self._in_hand:
            if answer.waiting is not None:
                answer.waiting.cancel()
        self._in_hand.clear()
        self._server.remove(self)

    # -- requests --------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Begin the requests that may begin, send what is answered, and read on if there is room."""
        if self._is_pumping or self.is_closed or self._next_turn is not None:
            return
        self._is_pumping = True
        now_s = self._server.loop.time
        end_s = now_s() + _TURN_SECONDS
        try:
            while self._waiting and self._may_begin():
                self._begin(self._waiting.popleft())
                if self._waiting and now_s() >= end_s:
                    self._next_turn = self._server.loop.call_soon(self._take_turn)
                    break
            self._flush()
        finally:
            self._is_pumping = False
        self._read_on()

    def _take_turn(self) -> None:
        self._next_turn = None
        self._pump()

    def _may_begin(self) -> bool:
        in_hand = self._in_hand
        if self._is_full or self.is_closed or self._is_ending:
            return False
        if not in_hand:
            return True
        if len(in_hand) >= self._server.options.max_in_flight or not in_hand[-1].may_overtake:
            return False
        return self._server.may_overtake(self._waiting[0])

    def _begin(self, frame: bytes) -> None:
        try:
            answer = self._server.begin(frame, self)
        except unless_interrupted(Refused) as error:
            self.refuse(str(error))
            return
        if answer.is_done and not self._in_hand:
            self._send(answer)
        else:
            self._in_hand.append(answer)

    def settle(self, answer: Answer) -> None:
        """Send an answer that is ready now, and those behind it that are."""
        answer.is_done = True
        in_hand = self._in_hand
        while in_hand and in_hand[0].is_done:
            self._send(in_hand.popleft())
        self._pump()

    def _send(self, answer: Answer) -> None:
        buffers = answer.buffers
        if buffers is None or self.is_closed:
            return
        size = sum(map(len, buffers))
        self._out.append(size.to_bytes(4, "big"))
        self._out.extend(buffers)
        self._out_bytes += size
        if answer.ending is not None:
            self._end(answer.ending)
        elif self._out_bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._out:
            out, self._out, self._out_bytes = self._out, [], 0
            self.active_s = self._server.loop.time()
            if not self._transport.is_closing():
                self._transport.writelines(out)

    def _read_on(self) -> None:
        """Read as long as there is room for more requests."""
        has_room = len(self._waiting) + len(self._in_hand) < self._server.options.max_in_flight
        wanted = has_room and not self._is_full and self._next_turn is None
        if wanted != self._is_reading and not self._transport.is_closing():
            self._is_reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def bound_requests(self, most_bytes: int | None) -> None:
        """Bound the requests that are to come; None for the bound that the listener was given."""
        most = self._server.options.max_request_bytes
        self._frames.bound(most if most_bytes is None else min(most, most_bytes))

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS of the connection, if it has any."""
        return self._transport.get_extra_info("ssl_object")  # type: ignore[no-any-return]

    # -- ending ----------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in hand."""
        return not self._in_hand and not self._waiting

    def end_if_idle(self, earliest_s: float) -> None:
        """Close the connection if nothing has happened since a time, at once if the peer takes nothing any more."""
        untaken_bytes, before = self._transport.get_write_buffer_size(), self._untaken_bytes
        self._untaken_bytes = untaken_bytes
        if self.active_s >= earliest_s:
            return
        if untaken_bytes == 0 and self.is_idle:
            self.close()
        elif untaken_bytes == before > 0:
            self.abort()

    @property
    def waits(self) -> list[Awaitable[Any]]:
        """What the requests in hand wait for."""
        return [answer.waiting for answer in self._in_hand if answer.waiting is not None]

    def _end(self, reason: str) -> None:
        """Send the last answer, take nothing more, and close a little later: some clients lose an answer otherwise."""
        self._is_ending = True
        self._server.tell_refusal(self.peer, reason)
        self._flush()
        self._server.loop.call_later(_ENDING_SECONDS, self.close)

    def refuse(self, reason: str) -> None:
        """Close the connection, and say why in one line of the log."""
        if not self.is_closed:
            self._server.tell_refusal(self.peer, reason)
            self._waiting.clear()
            self._flush()
            self.close()

    def close(self) -> None:
        """Close the connection when what is to be sent has been sent."""
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def close_copy(self) -> None:
        """Close a forked child's copy of the socket, without a word to the loop."""
        copy = getattr(self._transport, "_sock", None)
        if copy is not None:
            copy.close()
