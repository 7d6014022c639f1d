"""
Accepting connections.

asyncio's own server fails with an assertion where a connection comes while it is closed (Python 3.11), and accepts
again and again where the process may open no more files; so this is ours.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from eventlog.interruptions import suppress, unless_interrupted
from eventlog.notices import CONNECTION_REFUSED, tell

_AT_ONCE: Final = 64
_PAUSE_SECONDS: Final = 1.0
_HANDSHAKE_SECONDS: Final = 10.0
"""So long a peer has for the handshake of TLS."""
_MOST_CONNECTING: Final = 1000
_TOO_MANY: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """
    The listening socket of a listener.

    Belongs to the loop. It closes the socket in the end.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        make: Callable[[], asyncio.BufferedProtocol],
        context: ssl.SSLContext | None,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._make = make
        self._context = context
        self._connecting: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._timer = None
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def stop(self) -> None:
        """Accept nothing more, and drop what is not connected yet."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()
        for task in list(self._connecting):
            task.cancel()

    def close_copy(self) -> None:
        """Close a forked child's copy of the socket, without a word to the loop."""
        self._socket.close()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                one, address = self._socket.accept()
            except unless_interrupted(BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except unless_interrupted(OSError) as error:
                self._pause(error)
                return
            if len(self._connecting) >= _MOST_CONNECTING:
                one.close()
                tell(CONNECTION_REFUSED, peer=f"{address[0]}:{address[1]}", reason="too many handshakes go on")
                continue
            one.settimeout(0.0)
            with suppress(OSError):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._connect(one, f"{address[0]}:{address[1]}"))
            self._connecting.add(task)
            task.add_done_callback(partial(self._finish, one))

    def _finish(self, one: socket.socket, task: asyncio.Task[object]) -> None:
        self._connecting.discard(task)
        if task.cancelled():  # it may not even have begun
            one.close()

    def _pause(self, error: OSError) -> None:
        """Try again later: those that wait are served when others have gone."""
        tell(CONNECTION_REFUSED, peer="others", reason=f"none can be accepted now: {error.strerror}")
        self._loop.remove_reader(self._socket.fileno())
        self._timer = self._loop.call_later(_PAUSE_SECONDS, self.start)

    async def _connect(self, one: socket.socket, peer: str) -> object:
        try:
            seconds = None if self._context is None else _HANDSHAKE_SECONDS
            return await self._loop.connect_accepted_socket(
                self._make, one, ssl=self._context, ssl_handshake_timeout=seconds
            )
        except unless_interrupted(OSError) as error:  # a handshake that failed among them
            one.close()
            tell(CONNECTION_REFUSED, peer=peer, reason=f"no connection came about: {error}")
        return None
