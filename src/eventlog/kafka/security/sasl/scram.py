"""
SCRAM (RFC 5802, RFC 7677), the server's side: the password does not go over the wire, and the server shows itself, too.

    client                                        server
    n,,n=alice,r=<its nonce>                      r=<both nonces>,s=<salt>,i=<iterations>
    c=biws,r=<both nonces>,p=<proof>              v=<signature>

A user that there is not gets the same messages, with a salt that stays the same, and fails with the last, as one with
a wrong password does. There is no channel binding. Delegation tokens (`tokenauth=true`) are refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any, Final

from eventlog.interruptions import unless_interrupted
from eventlog.kafka.security.sasl.exchange import (
    Accepted,
    Challenge,
    Step,
    as_text,
    invalid_credentials,
    malformed,
    out_of_turn,
)
from eventlog.kafka.security.sasl.passwords import HASHES, Credential

_SASL_NAME: Final = r"(?:[^\x00=,]|=2C|=3D)+"
_EXTENSIONS: Final = r"(?:,[A-Za-z]+=[^\x00,]+)*"
_FIRST: Final = re.compile(
    rf"(?P<header>[ny],(?:a=(?P<authorization>{_SASL_NAME}))?,)"
    rf"(?P<bare>n=(?P<name>{_SASL_NAME}),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?P<extensions>{_EXTENSIONS}))"
)
_FINAL: Final = re.compile(
    rf"(?P<without_proof>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+){_EXTENSIONS})"
    r",p=(?P<proof>[A-Za-z0-9+/=]+)"
)
_LEAST_NONCE: Final = 8
_TWICE: Final = "its own nonce twice, as librdkafka before 2.6.1 does"


class ScramExchange:
    """
    An exchange of SCRAM.

    Args:
        mechanism: one of `passwords.HASHES`.
        find: what is kept of a user's password, and whether there is such a user; for one that there is not, a
            credential that no password fits.
        nonce: random text that is never used again, printable and without commas.
    """

    def __init__(self, mechanism: str, find: Callable[[str], tuple[Credential, bool]], nonce: str) -> None:
        self._mechanism = mechanism
        self._find = find
        self._nonce = nonce
        self._name = ""
        self._header = b""
        self._messages = b""
        """The client's first message and ours, which both sides sign."""
        self._credential: Credential | None = None
        self._is_known = False
        self._is_over = False

    def step(self, data: bytes) -> Step:
        """Take the client's first message, or its last."""
        if self._is_over:
            raise out_of_turn(self._mechanism)
        text = as_text(data, self._mechanism)
        return self._first(text) if self._credential is None else self._last(text, self._credential)

    def settle(self, outcome: Any) -> Step:  # noqa: ARG002 - as other exchanges
        """Raise an error: this mechanism asks no questions."""
        raise out_of_turn(self._mechanism)

    def _first(self, text: str) -> Step:
        found = _FIRST.fullmatch(text)
        if found is None or len(found["nonce"]) < _LEAST_NONCE:
            raise malformed(self._mechanism, "a first message")
        name = _unescaped(found["name"])
        if found["authorization"] is not None and _unescaped(found["authorization"]) != name:
            raise invalid_credentials(self._mechanism, "it wants to act as another user")
        if ",tokenauth=" in found["extensions"].lower():
            raise malformed(self._mechanism, "a delegation token")
        credential, self._is_known = self._find(name)
        self._name, self._credential = name, credential
        self._header = found["header"].encode()
        self._nonce = found["nonce"] + self._nonce
        salt = base64.b64encode(credential.salt).decode()
        ours = f"r={self._nonce},s={salt},i={credential.iterations}"
        self._messages = f"{found['bare']},{ours}".encode()
        return Challenge(ours.encode())

    def _last(self, text: str, credential: Credential) -> Step:
        self._is_over = True
        found = _FINAL.fullmatch(text)
        if found is None:
            raise malformed(self._mechanism, "a last message")
        if not hmac.compare_digest(found["nonce"], self._nonce):
            is_twice = found["nonce"].endswith(self._nonce)
            raise malformed(self._mechanism, _TWICE if is_twice else "a nonce of another exchange")
        if self._decoded(found["binding"]) != self._header:
            raise malformed(self._mechanism, "a channel binding")
        hash_name = HASHES[self._mechanism]
        signed = self._messages + b"," + found["without_proof"].encode()
        signature = hmac.digest(credential.stored_key, signed, hash_name)
        proof = self._decoded(found["proof"])
        if len(proof) != len(signature):
            raise malformed(self._mechanism, "a proof of another length")
        client_key = (int.from_bytes(proof, "big") ^ int.from_bytes(signature, "big")).to_bytes(len(proof), "big")
        is_right = hmac.compare_digest(hashlib.new(hash_name, client_key).digest(), credential.stored_key)
        if not (is_right and self._is_known):
            reason = "the password is wrong" if self._is_known else "there is no such user"
            raise invalid_credentials(self._mechanism, f"it is not {self._name!r}: {reason}")
        verifier = base64.b64encode(hmac.digest(credential.server_key, signed, hash_name))
        return Accepted(b"v=" + verifier, self._name)

    def _decoded(self, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except unless_interrupted(binascii.Error):
            raise malformed(self._mechanism, "what is not base64") from None


def _unescaped(name: str) -> str:
    return name.replace("=2C", ",").replace("=3D", "=")
