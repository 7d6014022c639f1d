"""A responder for asyncio: a processor of a loop whose function returns the reply."""

from __future__ import annotations

from eventlog.aio.home import Home
from eventlog.aio.processor import LoopCalls, Processor
from eventlog.clients.requests.responder import Responder as InnerResponder


class Responder(Processor):
    """
    A responder for asyncio: see `eventlog.Responder` for what it does.

    It works in a thread of its own while it runs; its function is called in the loop. Get one from
    `EventLog.responder()`.
    """

    def __init__(self, home: Home, inner: InnerResponder, calls: LoopCalls) -> None:
        super().__init__(home, inner, calls)
        self._responder = inner

    @property
    def late_count(self) -> int:
        """The number of requests that were passed by, because nobody waited any longer."""
        return self._responder.late_count

    @property
    def error_count(self) -> int:
        """The number of requests whose reply is an error."""
        return self._responder.error_count

    @property
    def lost_count(self) -> int:
        """The number of replies without a place: their topic or partition is not there, or does not take them."""
        return self._responder.lost_count
