"""
The gate of a listener: no request goes to its handler before it is known who sent it, and what that one may do.

A listener that asks neither has no gate.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any

from eventlog.interruptions import unless_interrupted
from eventlog.kafka.listener.connection import Refused
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.security.authorizer import Rules
from eventlog.kafka.security.certificate_names import subject_name
from eventlog.kafka.security.guards.guard import Access, Guard, Restricted
from eventlog.kafka.security.guards.table import GUARDS
from eventlog.kafka.security.logins import Logins
from eventlog.kafka.security.passwords import Passwords
from eventlog.kafka.security.stored import Security

if TYPE_CHECKING:
    from eventlog.kafka.listener.apis import Api, Handler, Outcome
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.connection import Connection
    from eventlog.kafka.listener.request import Request
    from eventlog.kafka.security.options import SecurityOptions


class Gate:
    """
    Who the connections of one listener are.

    Belongs to the loop.
    """

    def __init__(self, broker: Broker, options: SecurityOptions) -> None:
        self._broker = broker
        self._options = options
        self.stored = Security(broker.log)
        self._rules: Rules | None = None
        self._version: bytes | None = None
        self._logins: Logins | None = None
        if options.mechanisms:
            passwords = Passwords(options, self.stored)
            self._logins = Logins(broker.loop, options, passwords, broker.backend.clock.now_ms)

    def begin(self, connection: Connection) -> None:
        """Take up a new connection."""
        tls = connection.tls
        if tls is not None:
            certificate = tls.getpeercert(True)  # noqa: FBT003 - the name of the argument is not public
            if certificate:
                try:
                    connection.principal = f"User:{subject_name(certificate)}"
                except unless_interrupted(ValueError):
                    connection.refuse("the name in its certificate cannot be read")
        if self._logins is not None:
            self._logins.begin(connection)

    def end(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        if self._logins is not None:
            self._logins.end(connection)

    def close(self) -> None:
        """End what goes on."""
        if self._logins is not None:
            self._logins.close()

    def forget(self) -> None:
        """Leave all to the parent, in a forked child."""
        if self._logins is not None:
            self._logins.forget()

    def token(self, frame: bytes, connection: Connection) -> Awaitable[bytes] | None:
        """Take what came without a header, if that is what has to come now; else None."""
        if self._logins is None or not self._logins.sessions[connection].takes_tokens:
            return None
        return self._logins.token(frame, connection)

    def check(self, api_key: int, connection: Connection) -> None:
        """
        Judge whether a connection may send such a request now.

        Raises:
            Refused: if it has yet to show who it is, or has to do so again.
        """
        if self._logins is not None:
            self._logins.check(api_key, connection)

    def handler(self, api: Api) -> Handler:
        """What answers requests for an API: its handler, or what looks at them before."""
        if self._logins is not None:
            if api.key == ApiKey.SASL_HANDSHAKE:
                return self._logins.handshake
            if api.key == ApiKey.SASL_AUTHENTICATE:
                return self._logins.authenticate
        if self._options.acls:
            guard = GUARDS.get(api.key)
            return _refuse if guard is None else partial(self._guarded, guard, api)
        return api.handler

    # -- rights ----------------------------------------------------------------------------------------------

    @property
    def has_rules(self) -> bool:
        """Whether access control lists decide what a connection may do."""
        return self._options.acls

    def access(self, connection: Connection) -> Access:
        """What a connection may do, by the rules of this moment."""
        return Access(self._broker, self._rules_now(), connection.principal, connection.host)

    def _rules_now(self) -> Rules:
        """The rules as they are stored; read again after a change by anybody."""
        version = self.stored.version()
        if self._rules is None or version != self._version:
            self._version, rows = self.stored.acls()
            options = self._options
            self._rules = Rules(rows, super_users=options.super_users, allows_by_default=options.allow_if_no_acl)
        return self._rules

    def _guarded(self, guard: Guard, api: Api, broker: Broker, request: Request) -> Outcome:
        """Have a guard look at a request before its handler."""
        verdict = guard(self.access(request.connection), request)
        if verdict is None:
            return api.handler(broker, request)
        if not isinstance(verdict, Restricted):
            return verdict
        request.body = verdict.body
        outcome = api.handler(broker, request)
        if isinstance(outcome, dict):
            return verdict.complete(outcome)
        return None if outcome is None else _completed(outcome, verdict)


async def _completed(outcome: Awaitable[dict[str, Any] | None], verdict: Restricted) -> dict[str, Any] | None:
    answer = await outcome
    return None if answer is None else verdict.complete(answer)


def _refuse(broker: Broker, request: Request) -> Outcome:  # noqa: ARG001 - as handlers
    raise Refused(f"nobody has a right to {ApiKey(request.api_key).name}, for which there is no guard")
