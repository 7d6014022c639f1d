"""
How a connection shows who it is: SaslHandshake and SaslAuthenticate, and what may come before and meanwhile.

    new            ApiVersions, SaslHandshake
    shaking hands  SaslAuthenticate; after a handshake of version 0 bare tokens, without a header
    known          everything, until the session ends; a handshake begins a re-authentication (KIP-368)

A client that fails gets the answer after a pause, and then the connection is closed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from eventlog.clients.awaiting.loop import running_loop
from eventlog.clients.awaiting.outbox import Outbox
from eventlog.clients.awaiting.worker import Worker
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.connection import Last, Refused
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security.failed_logins import FailedLogins
from eventlog.kafka.security.sasl.exchange import (
    Accepted,
    AuthenticationFailed,
    Challenge,
    Exchange,
    Question,
    invalid_credentials,
)
from eventlog.kafka.security.sasl.oauthbearer import OAUTHBEARER, BearerExchange
from eventlog.kafka.security.sasl.plain import PLAIN, PlainExchange
from eventlog.kafka.security.sasl.scram import ScramExchange
from eventlog.notices import REQUEST_FAILED, tell

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.connection import Connection
    from eventlog.kafka.listener.request import Request
    from eventlog.kafka.security.options import SecurityOptions
    from eventlog.kafka.security.passwords import Passwords

LOGIN_SECONDS: Final = 30.0
"""So long a connection has to show who it is."""
MOST_BYTES: Final = 524_288
"""The bound of a request of a connection that has not: Kafka's `sasl.server.max.receive.size`."""
_PAUSE_SECONDS: Final = 0.1
"""Kafka's `connection.failed.authentication.delay.ms`."""
_AGAIN_SECONDS: Final = 1.0
"""A handshake that comes sooner after the last is none of a re-authentication, as in Kafka."""
_THREADS: Final = 4
_BEFORE: Final = (ApiKey.API_VERSIONS, ApiKey.SASL_HANDSHAKE)
_ALWAYS: Final = (ApiKey.SASL_HANDSHAKE, ApiKey.SASL_AUTHENTICATE)


class Session:
    """
    How far one connection has come.

    `name` is the user's once it is known; `takes_tokens` tells that messages come without a header.
    """

    __slots__ = ("began_s", "ends_s", "exchange", "is_counted", "mechanism", "name", "takes_tokens", "timer", "wanted")

    def __init__(self) -> None:
        self.name: str | None = None
        self.mechanism: str | None = None
        self.wanted: str | None = None
        """The mechanism of the handshake, until the exchange has come to its end."""
        self.exchange: Exchange | None = None
        self.takes_tokens = False
        self.is_counted = False
        """Whether it has a place among the attempts of its address."""
        self.began_s = 0.0
        self.ends_s: float | None = None
        self.timer: asyncio.TimerHandle | None = None


class Logins:
    """
    The authentication of the connections of one listener.

    Belongs to the loop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: SecurityOptions,
        passwords: Passwords,
        now_ms: Callable[[], int],
    ) -> None:
        self._loop = loop
        self._options = options
        self._passwords = passwords
        self._now_ms = now_ms
        self._failed = FailedLogins(loop)
        self._workers: list[Worker] = []
        self._questions = 0
        self.sessions: dict[Connection, Session] = {}

    # -- the life of a connection ----------------------------------------------------------------------------

    def begin(self, connection: Connection) -> None:
        """Give a new connection some time to show who it is."""
        session = self.sessions[connection] = Session()
        reason = f"it did not authenticate itself within {LOGIN_SECONDS:g} s"
        session.timer = self._loop.call_later(LOGIN_SECONDS, connection.refuse, reason)
        connection.bound_requests(MOST_BYTES)

    def end(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        session = self.sessions.pop(connection, None)
        if session is not None:
            if session.timer is not None:
                session.timer.cancel()
            self._leave(connection, session, has_failed=False)

    def close(self) -> None:
        """End the threads."""
        self._failed.close()
        for worker in self._workers:
            worker.stop()

    def forget(self) -> None:
        """Leave all to the parent, in a forked child."""
        for worker in self._workers:
            worker.forget()

    def check(self, api_key: int, connection: Connection) -> None:
        """
        Judge whether a connection may send such a request now.

        Raises:
            Refused: if not.
        """
        session = self.sessions[connection]
        if session.wanted is not None:
            if api_key != ApiKey.SASL_AUTHENTICATE:
                raise Refused(f"it sent {_name(api_key)} while it authenticated itself")
        elif session.name is None:
            if api_key not in _BEFORE:
                raise Refused(f"it sent {_name(api_key)} before it authenticated itself")
        elif session.ends_s is not None and api_key not in _ALWAYS and self._loop.time() >= session.ends_s:
            raise Refused(f"the session of User:{session.name} has ended")

    # -- requests --------------------------------------------------------------------------------------------

    def handshake(self, broker: Broker, request: Request) -> dict[str, Any]:  # noqa: ARG002 - as all handlers
        """Begin an exchange of the mechanism that the client wants."""
        session = self.sessions[request.connection]
        mechanism = request.body["mechanism"]
        answer = {"error_code": ErrorCode.NONE, "mechanisms": list(self._options.mechanisms)}
        if session.name is not None and (request.version == 0 or self._loop.time() - session.began_s < _AGAIN_SECONDS):
            return {"error_code": ErrorCode.ILLEGAL_SASL_STATE, "mechanisms": []}
        if mechanism not in self._options.mechanisms:
            reason = f"it wants SASL mechanism {mechanism[:40]!r}, which is not offered"
            raise Last({**answer, "error_code": ErrorCode.UNSUPPORTED_SASL_MECHANISM}, reason)
        if session.mechanism not in (None, mechanism):
            raise Last(
                {**answer, "error_code": ErrorCode.UNSUPPORTED_SASL_MECHANISM},
                f"it wants to re-authenticate itself by {mechanism}, and not by {session.mechanism}",
            )
        session.wanted = mechanism
        session.exchange = self._exchange(mechanism)
        session.takes_tokens = request.version == 0
        return answer

    async def authenticate(self, broker: Broker, request: Request) -> dict[str, Any]:  # noqa: ARG002 - as all handlers
        """Take a message of the exchange."""
        session = self.sessions[request.connection]
        if session.exchange is None:
            return {
                "error_code": ErrorCode.ILLEGAL_SASL_STATE,
                "error_message": "SaslAuthenticate request received after successful authentication",
                "auth_bytes": b"",
            }
        try:
            step = await self._step(session, request.connection, bytes(request.body["auth_bytes"]))
        except unless_interrupted(AuthenticationFailed) as failure:
            await asyncio.sleep(_PAUSE_SECONDS)
            answer = {
                "error_code": ErrorCode.SASL_AUTHENTICATION_FAILED,
                "error_message": failure.answer,
                "auth_bytes": b"",
            }
            raise Last(answer, _failed(failure)) from None
        lifetime_ms = self._accept(session, request.connection, step) if isinstance(step, Accepted) else 0
        return {"error_code": ErrorCode.NONE, "auth_bytes": step.data, "session_lifetime_ms": lifetime_ms}

    async def token(self, data: bytes, connection: Connection) -> bytes:
        """Take a message of the exchange that came without a header."""
        session = self.sessions[connection]
        try:
            step = await self._step(session, connection, data)
        except unless_interrupted(AuthenticationFailed) as failure:
            await asyncio.sleep(_PAUSE_SECONDS)
            raise Refused(_failed(failure)) from None
        if isinstance(step, Accepted):
            self._accept(session, connection, step)
        return step.data

    # -- the exchange ----------------------------------------------------------------------------------------

    def _exchange(self, mechanism: str) -> Exchange:
        if mechanism == PLAIN:
            return PlainExchange(self._passwords.is_password)
        if mechanism == OAUTHBEARER:
            assert self._options.validate is not None
            return BearerExchange(self._options.validate, self._now_ms)
        return ScramExchange(mechanism, partial(self._passwords.find, mechanism), secrets.token_urlsafe(24))

    async def _step(self, session: Session, connection: Connection, data: bytes) -> Challenge | Accepted:
        exchange, mechanism = session.exchange, session.wanted
        assert exchange is not None
        assert mechanism is not None
        if not session.is_counted:
            await self._failed.enter(connection.host)
            session.is_counted = True
            if connection.is_closed:
                self._leave(connection, session, has_failed=False)
        try:
            step = exchange.step(data)
            while isinstance(step, Question):
                step = exchange.settle(await self._ask(step))
            if isinstance(step, Accepted):
                self._check_name(session, step, mechanism)
            return step
        except unless_interrupted(AuthenticationFailed):
            self._leave(connection, session, has_failed=True)
            raise
        except unless_interrupted(Exception) as error:  # of a validator of tokens
            tell(REQUEST_FAILED, exc_info=error, error=error)
            self._leave(connection, session, has_failed=True)
            raise invalid_credentials(mechanism, f"{type(error).__name__} in the host program") from error

    def _ask(self, question: Question) -> Any:
        """Have a thread do what takes some milliseconds; a few do that, since a validator may wait for others."""
        if len(self._workers) < _THREADS:
            outbox = Outbox(self._loop.call_soon_threadsafe)
            self._workers.append(Worker("eventlog-kafka-logins", running_loop(), outbox))
        self._questions += 1
        return self._workers[self._questions % len(self._workers)].call(question.work)

    def _check_name(self, session: Session, step: Accepted, mechanism: str) -> None:
        if session.name not in (None, step.name):
            raise AuthenticationFailed(
                f"it was User:{session.name} and wants to become User:{step.name}",
                f"Cannot change principals during re-authentication from User.{session.name}: User.{step.name}",
            )
        if not step.name:
            raise invalid_credentials(mechanism, "it has no name")

    def _accept(self, session: Session, connection: Connection, step: Accepted) -> int:
        """Know the client from now on; the time that its session has, in ms, or 0 for one without an end."""
        self._leave(connection, session, has_failed=False)
        if session.timer is not None:
            session.timer.cancel()
            session.timer = None
        session.name, session.mechanism, session.wanted = step.name, session.wanted, None
        session.exchange, session.takes_tokens = None, False
        session.began_s = self._loop.time()
        connection.principal = f"User:{step.name}"
        connection.bound_requests(None)
        bounds_ms = []
        if step.expires_ms is not None:
            bounds_ms.append(max(0, step.expires_ms - self._now_ms()))
        if self._options.max_session is not None:
            bounds_ms.append(int(self._options.max_session * 1000))
        session.ends_s = session.began_s + min(bounds_ms) / 1000 if bounds_ms else None
        return min(bounds_ms, default=0)

    def _leave(self, connection: Connection, session: Session, *, has_failed: bool) -> None:
        if session.is_counted:
            session.is_counted = False
            self._failed.leave(connection.host, has_failed=has_failed)


def _failed(failure: AuthenticationFailed) -> str:
    return f"it did not authenticate itself: {failure}"


def _name(api_key: int) -> str:
    return ApiKey(api_key).name if api_key in set(ApiKey) else str(api_key)
