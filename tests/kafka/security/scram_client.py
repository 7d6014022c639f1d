"""The client's side of SCRAM, written from RFC 5802 alone, to talk to the server's side."""

from __future__ import annotations

import base64
import hashlib
import hmac


class ScramClient:
    """One exchange, seen from the client."""

    def __init__(self, hash_name: str, user: str, password: str, nonce: str = "fyko+d2lbbFgONRv9qkxdawL") -> None:
        self._hash_name = hash_name
        self._password = password
        self._bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self._nonce = nonce

    def first(self, header: str = "n,,", extensions: str = "") -> bytes:
        """The first message."""
        self._header = header
        self._bare += extensions
        return (header + self._bare).encode()

    def last(self, challenge: bytes) -> bytes:
        """The last message."""
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        assert fields["r"].startswith(self._nonce)
        salted = hashlib.pbkdf2_hmac(
            self._hash_name, self._password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
        )
        without_proof = f"c={base64.b64encode(self._header.encode()).decode()},r={fields['r']}"
        signed = f"{self._bare},{challenge.decode()},{without_proof}".encode()
        client_key = hmac.new(salted, b"Client Key", self._hash_name).digest()
        signature = hmac.new(hashlib.new(self._hash_name, client_key).digest(), signed, self._hash_name).digest()
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        server_key = hmac.new(salted, b"Server Key", self._hash_name).digest()
        self._verifier = hmac.new(server_key, signed, self._hash_name).digest()
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def knows(self, outcome: bytes) -> bool:
        """Tell whether the server has shown that it knows the password, too."""
        return outcome == b"v=" + base64.b64encode(self._verifier)
