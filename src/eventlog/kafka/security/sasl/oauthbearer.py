"""
OAUTHBEARER (RFC 7628): a token, which the host program knows how to judge.

    client                                              server
    n,,^Aauth=Bearer <token>^A^A                        nothing more, or why not, as JSON
    ^A                                                  the failure

A refused client gets the reason as a challenge, answers it with one byte, and only then the exchange has failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import attrs

from eventlog.interruptions import unless_interrupted
from eventlog.kafka.security.sasl.exchange import (
    Accepted,
    AuthenticationFailed,
    Challenge,
    Question,
    Step,
    as_text,
    malformed,
    out_of_turn,
)

OAUTHBEARER: Final = "OAUTHBEARER"
_SASL_NAME: Final = r"(?:[^\x00\x01=,]|=2C|=3D)+"
_VALUE: Final = r"[\x21-\x7e \t\r\n]*"
_FIRST: Final = re.compile(
    rf"[ny],(?:a=(?P<authorization>{_SASL_NAME}))?,\x01(?P<pairs>(?:[A-Za-z]+={_VALUE}\x01)*)\x01"
)
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


@attrs.frozen
class Token:
    """
    A token that is good: whose it is, and until when.

    Args:
        name: of the user, without `User:`.
        expires_ms: when it ends, in ms since 1970 UTC; None if it does not.

    Example:
        >>> from eventlog.kafka import Token
        >>> Token("alice", expires_ms=1_900_000_000_000).name
        'alice'
    """

    name: str
    expires_ms: int | None = None


class InvalidToken(Exception):
    """
    Raised by a validator of tokens: this one is not good.

    Args:
        reason: for the log of the listener.
        status: for the client, a word of RFC 6750: "invalid_token", "insufficient_scope".
        scope: which scope a token needs, for the client.
        configuration: the address of the OpenID configuration, for the client.
    """

    def __init__(
        self, reason: str, *, status: str = "invalid_token", scope: str | None = None, configuration: str | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.scope = scope
        self.configuration = configuration


Validator = Callable[[str], Token]
"""Judges a token: returns whose it is, or raises `InvalidToken`. A thread calls it, and it may ask others."""


class BearerExchange:
    """
    An exchange of OAUTHBEARER.

    Args:
        validate: judges a token.
        now_ms: the time, in ms since 1970 UTC.
    """

    def __init__(self, validate: Validator, now_ms: Callable[[], int]) -> None:
        self._validate = validate
        self._now_ms = now_ms
        self._authorization: str | None = None
        self._refusal: tuple[str, str] | None = None
        self._has_begun = False

    def step(self, data: bytes) -> Step:
        """Take the token, or the acknowledgement of a refusal."""
        if self._refusal is not None:
            reason, answer = self._refusal
            raise AuthenticationFailed(reason, answer)
        if self._has_begun:
            raise out_of_turn(OAUTHBEARER)
        self._has_begun = True
        found = _FIRST.fullmatch(as_text(data, OAUTHBEARER))
        if found is None:
            raise malformed(OAUTHBEARER, "a first message")
        pairs = dict(pair.split("=", 1) for pair in found["pairs"].split("\x01") if pair)
        bearer = _BEARER.fullmatch(pairs.get("auth", "").strip())
        if bearer is None:
            raise malformed(OAUTHBEARER, "no bearer token")
        if found["authorization"] is not None:
            self._authorization = found["authorization"].replace("=2C", ",").replace("=3D", "=")
        token = bearer[1]
        return Question(lambda: self._judged(token))

    def _judged(self, token: str) -> Token | InvalidToken:
        try:
            return self._validate(token)
        except unless_interrupted(InvalidToken) as error:
            return error

    def settle(self, outcome: Any) -> Step:
        """Take the judgement of the token."""
        if isinstance(outcome, InvalidToken):
            return self._refuse(outcome)
        if not isinstance(outcome, Token):
            raise TypeError(f"a validator of tokens returns a Token or raises InvalidToken, and not {outcome!r}")
        if outcome.expires_ms is not None and outcome.expires_ms <= self._now_ms():
            return self._refuse(InvalidToken("the token has expired"))
        if self._authorization not in (None, outcome.name):
            raise AuthenticationFailed(
                f"it wants to act as another user than {outcome.name!r}",
                f"Authentication failed: Client requested an authorization id ({self._authorization}) that is "
                f"different from the token's principal name ({outcome.name})",
            )
        return Accepted(b"", outcome.name, outcome.expires_ms)

    def _refuse(self, error: InvalidToken) -> Step:
        fields = {"status": error.status, "scope": error.scope, "openid-configuration": error.configuration}
        answer = json.dumps({name: value for name, value in fields.items() if value is not None})
        self._refusal = (f"its token was refused: {error}", answer)
        return Challenge(answer.encode())
