"""
An exchange of messages by which a client shows who it is.

`Exchange.step` takes a message of the client. It returns a `Challenge`, which is sent and awaits another message; or
`Accepted`; or a `Question`, work that may take some milliseconds: any thread may do it, and `Exchange.settle` is given
the outcome. Everything else is `AuthenticationFailed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple

MOST_MESSAGE_BYTES = 65_536
"""No message of a client is longer; a token of OAuth may be long."""


class AuthenticationFailed(Exception):
    """
    Raised when a client has not shown who it is; its exchange is over.

    `reason` is for the log of this side. `answer` is for the client: it does not say whether there is such a user.
    """

    def __init__(self, reason: str, answer: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = answer


class Challenge(NamedTuple):
    """A message for the client, who has to send another."""

    data: bytes


class Accepted(NamedTuple):
    """
    The last message for the client, and its name.

    `expires_ms` is when what it has shown ends, in ms since 1970 UTC; None if it does not.
    """

    data: bytes
    name: str
    expires_ms: int | None = None


class Question(NamedTuple):
    """Work that takes too long for an event loop; what it returns is given to `Exchange.settle`."""

    work: Callable[[], Any]


Step: TypeAlias = "Challenge | Accepted | Question"


class Exchange(Protocol):
    """One attempt of one client to authenticate itself, by one mechanism."""

    def step(self, data: bytes) -> Step:
        """
        Take a message of the client.

        Raises:
            AuthenticationFailed: it is not what it has to be, or shows that the client is not who it says it is.
        """
        ...

    def settle(self, outcome: Any) -> Step:
        """
        Take the outcome of a `Question`.

        Raises:
            AuthenticationFailed: as for `step`.
        """
        ...


def as_text(data: bytes, mechanism: str) -> str:
    """The text of a message, if it is of a bearable length and UTF-8."""
    if len(data) > MOST_MESSAGE_BYTES:
        raise malformed(mechanism, f"a message of {len(data)} bytes")
    try:
        return data.decode()
    except unless_interrupted(UnicodeDecodeError):
        raise malformed(mechanism, "a message that is not UTF-8") from None


def invalid_credentials(mechanism: str, reason: str) -> AuthenticationFailed:
    """The error for a client that has not shown what it has to; in Kafka's words."""
    return AuthenticationFailed(
        reason,
        f"Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}",
    )


def malformed(mechanism: str, what: str) -> AuthenticationFailed:
    """The error for a message that is none of its mechanism."""
    return invalid_credentials(mechanism, f"it sent {what}, which {mechanism} does not allow")


def out_of_turn(mechanism: str) -> AuthenticationFailed:
    """The error for a message after the last."""
    return malformed(mechanism, "a message after the last")
