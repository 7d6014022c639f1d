"""
A Kafka listener: every Kafka client produces to a log, and consumes from it.

`listen()` opens a port of this machine that speaks Kafka's protocol, over a log that this program goes on using by
itself. Nothing here is imported by `import eventlog`, and asyncio only by the first listener.

Example:
    >>> import eventlog.kafka
    >>> with eventlog.open(":memory:") as log, eventlog.kafka.listen(log) as kafka:
    ...     kafka.bootstrap_servers.startswith("127.0.0.1:")
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventlog.kafka.errors import CannotListen

if TYPE_CHECKING:
    from eventlog.kafka.faults.cluster import FakeBroker
    from eventlog.kafka.faults.rules import Fault
    from eventlog.kafka.listener.async_listener import AsyncListener
    from eventlog.kafka.listener.listener import Listener
    from eventlog.kafka.listener.opening import listen, listen_async
    from eventlog.kafka.security.access import Acls
    from eventlog.kafka.security.acls import Acl
    from eventlog.kafka.security.errors import UnknownUser
    from eventlog.kafka.security.sasl.oauthbearer import InvalidToken, Token
    from eventlog.kafka.security.users import Users

_LATER = {
    "Acl": "eventlog.kafka.security.acls",
    "Acls": "eventlog.kafka.security.access",
    "AsyncListener": "eventlog.kafka.listener.async_listener",
    "FakeBroker": "eventlog.kafka.faults.cluster",
    "Fault": "eventlog.kafka.faults.rules",
    "InvalidToken": "eventlog.kafka.security.sasl.oauthbearer",
    "Listener": "eventlog.kafka.listener.listener",
    "Token": "eventlog.kafka.security.sasl.oauthbearer",
    "UnknownUser": "eventlog.kafka.security.errors",
    "Users": "eventlog.kafka.security.users",
    "listen": "eventlog.kafka.listener.opening",
    "listen_async": "eventlog.kafka.listener.opening",
}
"""Where the names are that are imported with their first use."""

__all__ = [
    "Acl",
    "Acls",
    "AsyncListener",
    "CannotListen",
    "FakeBroker",
    "Fault",
    "InvalidToken",
    "Listener",
    "Token",
    "UnknownUser",
    "Users",
    "listen",
    "listen_async",
]


def __getattr__(name: str) -> object:
    """Import a name of `_LATER` (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module 'eventlog.kafka' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The names that are there, and those that are imported with their first use."""
    return sorted({*globals(), *_LATER})
