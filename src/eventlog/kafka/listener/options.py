"""The options of a listener, checked: what is wrong fails at the call, before anything is opened."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Collection
from typing import Final

import attrs

from eventlog.interruptions import unless_interrupted
from eventlog.kafka.security.options import SecurityOptions
from eventlog.options import MAX_PARTITIONS, check_bool, check_int, check_seconds

MAX_REQUEST_BYTES: Final = 104_857_600
"""Kafka's `socket.request.max.bytes`."""
IDLE_SECONDS: Final = 600.0
"""Kafka's `connections.max.idle.ms`."""
INSECURE_WORDS: Final = ("plaintext", "anonymous")
_MOST_BYTES: Final = 2_147_483_647
_MOST_PORT: Final = 65_535
_MOST_HOST_LETTERS: Final = 253


@attrs.frozen
class Options:
    """The options of `listen()`, which says what each one means."""

    host: str
    port: int
    advertised_host: str | None
    advertised_port: int | None
    node_id: int | None
    auto_create_topics: bool
    partitions: int
    rebalance_delay: float
    idle_timeout: float
    max_connections: int
    max_in_flight: int
    max_request_bytes: int
    max_buffered_bytes: int
    ssl_context: ssl.SSLContext | None
    insecure: tuple[str, ...]
    security: SecurityOptions = attrs.field(factory=SecurityOptions)

    @property
    def security_protocol(self) -> str:
        """Kafka's name for how clients connect."""
        transport = "PLAINTEXT" if self.ssl_context is None else "SSL"
        return f"SASL_{transport}" if self.security.mechanisms else transport

    def check(self) -> None:
        """Raise an error for options that no listener can have."""
        _check_host("host", self.host)
        if self.advertised_host is not None:
            _check_host("advertised_host", self.advertised_host)
        check_int("port", self.port, least=0, most=_MOST_PORT)
        if self.advertised_port is not None:
            check_int("advertised_port", self.advertised_port, least=1, most=_MOST_PORT)
        if self.node_id is not None:
            check_int("node_id", self.node_id, least=0, most=_MOST_BYTES)
        check_bool("auto_create_topics", self.auto_create_topics)
        check_int("partitions", self.partitions, least=1, most=MAX_PARTITIONS)
        check_seconds("rebalance_delay", self.rebalance_delay)
        check_seconds("idle_timeout", self.idle_timeout, least=0.001)
        check_int("max_connections", self.max_connections, least=1)
        check_int("max_in_flight", self.max_in_flight, least=1)
        check_int("max_request_bytes", self.max_request_bytes, least=1024, most=_MOST_BYTES)
        check_int("max_buffered_bytes", self.max_buffered_bytes, least=1024, most=_MOST_BYTES)
        _check_context(self.ssl_context)
        self._check_exposure()
        self._check_told_address()

    @property
    def _has_authentication(self) -> bool:
        """Whether a client has to show who it is, by SASL or by a certificate."""
        needs_certificate = self.ssl_context is not None and self.ssl_context.verify_mode is ssl.CERT_REQUIRED
        return needs_certificate or bool(self.security.mechanisms)

    def _check_exposure(self) -> None:
        """Refuse to be reached from other machines by anybody, unless that was asked for by name."""
        if is_loopback(self.host):
            return
        missing = []
        if self.ssl_context is None and "plaintext" not in self.insecure:
            missing.append("without TLS: pass ssl_context=, or the word 'plaintext'")
        if not self._has_authentication and "anonymous" not in self.insecure:
            missing.append("without authentication: pass sasl= or users=, or the word 'anonymous'")
        if missing:
            raise ValueError(
                f"cannot listen on {self.host!r}, which other machines reach, {', and '.join(missing)} in insecure=. "
                "Nothing was opened. The default host, 127.0.0.1, is reached from this machine alone."
            )

    def _check_told_address(self) -> None:
        """Refuse to tell clients an address that stands for all addresses: they would connect to their own machine."""
        told = self.host if self.advertised_host is None else self.advertised_host
        if _is_unspecified(told):
            raise ValueError(
                f"cannot tell clients to connect to {told!r}, which stands for all addresses of a machine. Nothing was "
                "opened. Pass the name or address by which they reach this one: advertised_host=."
            )


def _check_host(name: str, value: object) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= _MOST_HOST_LETTERS:
        raise ValueError(f"{name} is a name or an address, not {value!r}. Nothing was opened.")


def _check_context(value: object) -> None:
    if value is not None and not isinstance(value, ssl.SSLContext):
        raise TypeError(f"ssl_context is an ssl.SSLContext, not {value!r}. Nothing was opened.")


def check_insecure(words: object) -> tuple[str, ...]:
    """The words of `insecure=`, which say what a listener may do without."""
    if words is None:
        return ()
    given = (words,) if isinstance(words, str) else tuple(words) if isinstance(words, Collection) else None
    if given is None or not set(given) <= set(INSECURE_WORDS):
        raise ValueError(
            f"insecure is some of {', '.join(map(repr, INSECURE_WORDS))}, not {words!r}. Nothing was opened."
        )
    return given


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except unless_interrupted(ValueError):
        return False


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach a listener there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except unless_interrupted(ValueError):
        return False
