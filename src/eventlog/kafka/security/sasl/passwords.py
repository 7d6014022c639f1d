"""
Passwords as SCRAM keeps them (RFC 5802, section 3): salted, iterated, and only the two keys that a server needs.

Whoever reads a `Credential` can neither log in with it nor learn the password, short of trying passwords one by one;
the iterations make each try expensive. Names and passwords are UTF-8 as they are given, without SASLprep, as in Kafka.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from eventlog.named_tuples import NamedTuple

HASHES: Final[Mapping[str, str]] = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
"""The mechanisms of SCRAM, with their hash functions."""
LEAST_ITERATIONS: Final = 4096
MOST_ITERATIONS: Final = 16_384
"""Kafka's bounds."""
DEFAULT_ITERATIONS: Final = 8192
SALT_BYTES: Final = 32


class Credential(NamedTuple):
    """What a server keeps of a password: salt, iterations and two keys."""

    mechanism: str
    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return f"<Credential of {self.mechanism}, {self.iterations} iterations>"  # no keys in logs and tracebacks


def make_credential(mechanism: str, password: str, salt: bytes, iterations: int = DEFAULT_ITERATIONS) -> Credential:
    """What is kept of a password; takes some milliseconds, in which other threads run."""
    return credential_of(mechanism, salted(mechanism, password, salt, iterations), salt, iterations)


def credential_of(mechanism: str, salted_password: bytes, salt: bytes, iterations: int) -> Credential:
    """What is kept of a password that somebody else has salted and iterated, as Kafka's clients do for a request."""
    hash_name = HASHES[mechanism]
    client_key = hmac.digest(salted_password, b"Client Key", hash_name)
    stored_key = hashlib.new(hash_name, client_key).digest()
    return Credential(mechanism, salt, iterations, stored_key, hmac.digest(salted_password, b"Server Key", hash_name))


def salted(mechanism: str, password: str, salt: bytes, iterations: int) -> bytes:
    """Salt and iterate a password."""
    return hashlib.pbkdf2_hmac(HASHES[mechanism], password.encode(), salt, iterations)


def is_password(credential: Credential, password: str) -> bool:
    """Compare a password with what was kept of one; takes as long for a wrong one, whatever is wrong with it."""
    made = make_credential(credential.mechanism, password, credential.salt, credential.iterations)
    return hmac.compare_digest(made.stored_key, credential.stored_key)


def stand_in(
    mechanism: str, name: str, secret: bytes, shapes: Sequence[tuple[int, int]] = ((DEFAULT_ITERATIONS, SALT_BYTES),)
) -> Credential:
    """
    A credential for a user that there is not, which no password fits.

    It is the same each time, as that of a user would be, so that an exchange does not tell whether there is one.

    Args:
        shapes: iterations and length of the salt of the users that there are, of which it takes one.
    """
    hash_name = HASHES[mechanism]
    seed = f"{mechanism} {name}".encode("utf-8", "surrogatepass")
    choice = int.from_bytes(hmac.digest(secret, b"shape " + seed, hash_name)[:8], "big")
    iterations, salt_bytes = shapes[choice % len(shapes)]
    return Credential(
        mechanism,
        hashlib.shake_256(hmac.digest(secret, b"salt " + seed, hash_name)).digest(salt_bytes),
        iterations,
        hmac.digest(secret, b"stored " + seed, hash_name),
        hmac.digest(secret, b"server " + seed, hash_name),
    )
