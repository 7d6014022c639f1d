"""
The users of one listener: those that it was given, and those of the log.

Any thread may ask.
"""

from __future__ import annotations

import secrets

from eventlog.kafka.security.options import SecurityOptions
from eventlog.kafka.security.sasl.passwords import (
    DEFAULT_ITERATIONS,
    HASHES,
    SALT_BYTES,
    Credential,
    is_password,
    stand_in,
)
from eventlog.kafka.security.stored import Security


class Passwords:
    """What is kept of the passwords of all users that may log in to a listener."""

    def __init__(self, options: SecurityOptions, stored: Security) -> None:
        self._given = options.users
        self._stored = stored
        self._own_secret = secrets.token_bytes(SALT_BYTES)
        self._shapes: tuple[bytes | None, dict[str, tuple[tuple[int, int], ...]]] = (None, {})
        """The version of what is stored, and what was found of it."""

    def find(self, mechanism: str, name: str) -> tuple[Credential, bool]:
        """What is kept of a user's password, and whether there is such a user; if not, what no password fits."""
        found = self._of(name, mechanism)
        if found is not None:
            return found, True
        shapes = self._shapes_of(mechanism) or ((DEFAULT_ITERATIONS, SALT_BYTES),)
        return stand_in(mechanism, name, self._stored.secret() or self._own_secret, shapes), False

    def _shapes_of(self, mechanism: str) -> tuple[tuple[int, int], ...]:
        """Iterations and length of the salt of all users: somebody with others would not be one of them."""
        version = self._stored.version()
        known, shapes = self._shapes
        if known != version or not shapes:
            found: dict[str, list[tuple[int, int]]] = {one: [] for one in HASHES}
            for credentials in (
                *(user.values() for user in self._given.values()),
                *self._stored.credentials().values(),
            ):
                for one in credentials:
                    found[one.mechanism].append((one.iterations, len(one.salt)))
            shapes = {one: tuple(sorted(some)) for one, some in found.items()}
            self._shapes = version, shapes
        return shapes[mechanism]

    def is_password(self, name: str, password: str) -> bool:
        """Compare a password, for PLAIN; takes some milliseconds, also for a user that there is not."""
        for mechanism in HASHES:
            found = self._of(name, mechanism)
            if found is not None:
                return is_password(found, password)
        credential, is_known = self.find(next(iter(HASHES)), name)
        return is_password(credential, password) and is_known

    def _of(self, name: str, mechanism: str) -> Credential | None:
        given = self._given.get(name)
        return self._stored.credential(name, mechanism) if given is None else given.get(mechanism)
