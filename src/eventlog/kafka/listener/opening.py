"""Opening a listener: the checks, the socket, and the log if it was named by its path."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from eventlog.api.event_log import EventLog
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.errors import CannotListen
from eventlog.kafka.listener.listener import Listener, start
from eventlog.kafka.listener.options import IDLE_SECONDS, MAX_REQUEST_BYTES, Options, check_insecure
from eventlog.kafka.security.options import security_options
from eventlog.log.event_log import EmbeddedLog
from eventlog.log.opening import open as open_log

if TYPE_CHECKING:
    from eventlog.aio.log import EventLog as LoopLog
    from eventlog.aio.opener import Opening
    from eventlog.kafka.listener.async_listener import AsyncListener
    from eventlog.kafka.security.sasl.oauthbearer import Token

_BACKLOG: Final = 128


def listen(
    log: EventLog | LoopLog | str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    advertised_host: str | None = None,
    advertised_port: int | None = None,
    node_id: int | None = None,
    auto_create_topics: bool = True,
    partitions: int = 1,
    rebalance_delay: float = 0.0,
    idle_timeout: float = IDLE_SECONDS,
    max_connections: int = 1000,
    max_in_flight: int = 32,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_buffered_bytes: int = 1 << 20,
    ssl_context: ssl.SSLContext | None = None,
    insecure: Collection[str] | None = None,
    sasl: Collection[str] | None = None,
    users: Mapping[str, str] | None = None,
    token_validator: Callable[[str], Token] | None = None,
    max_session: float | None = None,
    acls: bool = False,
    super_users: Collection[str] = (),
    allow_if_no_acl: bool = False,
) -> Listener:
    """
    Listen for Kafka clients, and serve them the topics of a log.

    Returns when clients can connect. One loop in one thread of its own serves them all; this program goes on using the
    log as before, and so may other processes. Start it after a fork, not before.

    Args:
        log: an open log, of `eventlog.aio` too, which the listener keeps open; or the path of one, which it opens, and
            closes in the end.
        host: the address of this machine to listen on. Other machines reach any but a loopback address: see
            `insecure`.
        port: 0 has the system choose a free one, which `Listener.port` says.
        advertised_host: the host that clients are told to connect to, where it is another one for them, such as
            outside of a container; with "0.0.0.0" and "::" it has to be said.
        advertised_port: the same of the port.
        node_id: the number of this node; None takes the lowest that no live listener of the log has, from 1 on.
        auto_create_topics: creates a topic of bytes when a client asks for one that is not there, as Kafka does.
        partitions: the count of partitions of topics that are created so, or without a count.
        rebalance_delay: seconds that the first member of an empty group waits for others, which Kafka sets to 3.
        idle_timeout: seconds after which a connection without requests is closed.
        max_connections: further ones are closed at once.
        max_in_flight: requests of one connection that may have come and not be answered; beyond it, nothing more is
            read from that connection until one is.
        max_request_bytes: the bound of one request; a connection that announces more is closed.
        max_buffered_bytes: answers that a client has not taken; beyond it, it is not served until it takes them.
        ssl_context: has all connections use TLS.
        insecure: what a listener that other machines reach may do without, by name: "plaintext" is TLS, "anonymous" is
            authentication. Without the words it does not listen there.
        sasl: the mechanisms by which clients have to authenticate themselves, "SCRAM-SHA-256", "SCRAM-SHA-512",
            "PLAIN" and "OAUTHBEARER"; the users are those of the log, see `Users`.
        users: further users, with their passwords, whom this listener alone knows; without `sasl` all mechanisms with
            passwords are offered.
        token_validator: judges the tokens of OAUTHBEARER: it returns a `Token`, or raises `InvalidToken`. Threads call
            it.
        max_session: seconds after which a client has to authenticate itself again; None for no bound.
        acls: has the access control lists of the log decide what a client may do, see `Acls`.
        super_users: principals who may do everything, such as "User:admin".
        allow_if_no_acl: allows what no list is about.

    Raises:
        CannotListen: if the port is taken, or the address is not of this machine. Nothing was opened.
        ValueError, TypeError: for an option that no listener can have. Nothing was opened.

    Example:
        >>> import eventlog.kafka
        >>> with eventlog.open(":memory:") as log:
        ...     with eventlog.kafka.listen(log) as kafka:
        ...         # confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers})
        ...         kafka.host
        '127.0.0.1'
    """
    options = Options(
        host,
        port,
        advertised_host,
        advertised_port,
        node_id,
        auto_create_topics,
        partitions,
        rebalance_delay,
        idle_timeout,
        max_connections,
        max_in_flight,
        max_request_bytes,
        max_buffered_bytes,
        ssl_context,
        check_insecure(insecure),
        security_options(
            sasl,
            users,
            token_validator,
            max_session,
            acls=acls,
            super_users=super_users,
            allow_if_no_acl=allow_if_no_acl,
        ),
    )
    options.check()
    owns_log = isinstance(log, (str, os.PathLike))
    inner = _opened(log) if isinstance(log, (str, os.PathLike)) else _embedded(log)
    try:
        sock = _bound(options)
        try:
            return start(inner, sock, options, owns_log=owns_log)
        except BaseException:
            sock.close()
            raise
    except BaseException:
        if owns_log:
            inner.close()
        raise


def listen_async(log: EventLog | LoopLog | str | os.PathLike[str], **options: Any) -> Opening[AsyncListener]:
    """
    Listen for Kafka clients from a program with an event loop, by `await` or `async with`: see `listen`.

    The listener has a loop of its own, in its own thread; what may wait, opening and closing, is done in a thread, too.

    Args:
        log: as for `listen`.
        options: those of `listen`.

    Example:
        >>> import asyncio
        >>> import eventlog.aio
        >>> import eventlog.kafka
        >>> async def main():
        ...     async with eventlog.aio.open(":memory:") as log, eventlog.kafka.listen_async(log) as kafka:
        ...         return kafka.host
        >>> asyncio.run(main())
        '127.0.0.1'
    """
    from eventlog.kafka.listener.async_listener import opening

    return opening(lambda: listen(log, **options))


def _opened(path: str | os.PathLike[str]) -> EmbeddedLog:
    """The log in a directory."""
    log = open_log(path)
    if isinstance(log, EmbeddedLog):
        return log
    log.close()
    raise TypeError(f"a listener serves a log of this machine, not {log!r}. Nothing was opened.")


def _embedded(log: Any) -> EmbeddedLog:
    """The log of this process."""
    inner = getattr(log, "_inner", log)  # one of `eventlog.aio` has ours inside
    if not isinstance(inner, EmbeddedLog):
        raise TypeError(f"a listener serves an open log or the path of one, not {log!r}. Nothing was opened.")
    inner._check_open()
    return inner


def _bound(options: Options) -> socket.socket:
    """A socket that listens at the address."""
    host, port = options.host, options.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except unless_interrupted(OSError) as error:
        is_unknown = isinstance(error, socket.gaierror)
        reason = str(error.strerror or error) if is_unknown or not error.errno else os.strerror(error.errno)
        what = f"cannot listen on {host}:{port}: {reason}."  # Python's own text has the address once more
        if is_unknown:
            advice = "Pass a host that this machine has, such as 127.0.0.1."
        else:
            advice = "Stop the program that listens there, pass another port=, or 0 for a free one."
        raise CannotListen(what, stored="Nothing was opened.", advice=advice, host=host, port=port) from error
    sock.settimeout(0.0)
    return sock
