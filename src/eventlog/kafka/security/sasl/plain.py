"""
PLAIN (RFC 4616): name and password in one message.

The password goes over the wire as it is, so TLS has to hide it. It is compared with what SCRAM keeps of passwords.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eventlog.kafka.security.sasl.exchange import (
    Accepted,
    AuthenticationFailed,
    Question,
    Step,
    as_text,
    out_of_turn,
)

PLAIN: Final = "PLAIN"
_PARTS: Final = 3
_ANSWER: Final = "Authentication failed: Invalid username or password"


class PlainExchange:
    """
    An exchange of PLAIN.

    Args:
        check: whether a name has a password; it may take some milliseconds, and any thread may call it.
    """

    def __init__(self, check: Callable[[str, str], bool]) -> None:
        self._check = check
        self._name: str | None = None

    def step(self, data: bytes) -> Step:
        """Take the message with name and password."""
        if self._name is not None:
            raise out_of_turn(PLAIN)
        parts = as_text(data, PLAIN).split("\0")
        if len(parts) != _PARTS:
            raise AuthenticationFailed(
                f"it sent {len(parts)} parts and not {_PARTS}",
                f"Invalid SASL/PLAIN response: expected {_PARTS} tokens, got {len(parts)}",
            )
        authorization, name, password = parts
        if not name:
            raise AuthenticationFailed("it named no user", "Authentication failed: username not specified")
        if not password:
            raise AuthenticationFailed("it sent no password", "Authentication failed: password not specified")
        if authorization not in ("", name):
            raise AuthenticationFailed(
                "it wants to act as another user",
                "Authentication failed: Client requested an authorization id that is different from username",
            )
        self._name = name
        check = self._check
        return Question(lambda: check(name, password))

    def settle(self, outcome: Any) -> Step:
        """Take the outcome of the comparison."""
        assert self._name is not None
        if outcome is not True:
            raise AuthenticationFailed(f"the password of {self._name!r} is wrong, or there is no such user", _ANSWER)
        return Accepted(b"", self._name)
