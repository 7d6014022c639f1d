"""The users that a log knows, for programs that own it: whoever opens the log may make the first."""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from eventlog.interruptions import unless_interrupted
from eventlog.kafka.security.embedded import embedded
from eventlog.kafka.security.errors import UnknownUser
from eventlog.kafka.security.sasl.passwords import (
    DEFAULT_ITERATIONS,
    HASHES,
    LEAST_ITERATIONS,
    MOST_ITERATIONS,
    SALT_BYTES,
    Credential,
    make_credential,
)
from eventlog.kafka.security.stored import MOST_NAME_BYTES, Changes, Security
from eventlog.options import check_int

_MOST_PASSWORD_BYTES = 1024


class Users:
    """
    The users of a log, who authenticate themselves to a listener by SCRAM or PLAIN.

    A password is kept as SCRAM keeps it: salted and iterated, and never in clear. Changes hold at once for the
    listeners of all processes, and for connections from their next authentication on. Any thread may use it; a change
    blocks for a commit.

    Args:
        log: an open log, of `eventlog.aio` too.

    Example:
        >>> import eventlog.kafka
        >>> with eventlog.open(":memory:") as log:
        ...     users = eventlog.kafka.Users(log)
        ...     users.set("alice", "a long password")
        ...     users.list()
        ['alice']
    """

    def __init__(self, log: Any) -> None:
        self._stored = Security(embedded(log))

    def set(
        self,
        name: str,
        password: str,
        *,
        mechanisms: Iterable[str] = tuple(HASHES),
        iterations: int = DEFAULT_ITERATIONS,
    ) -> None:
        """
        Make a user, or give one another password.

        Args:
            name: without `User:`, 1 to 249 bytes in UTF-8.
            password: 1 to 1,024 bytes in UTF-8.
            mechanisms: "SCRAM-SHA-256", "SCRAM-SHA-512"; what a user has for another one is deleted. PLAIN takes
                either.
            iterations: of the password, 4,096 to 16,384 as in Kafka. More make it more expensive to guess.

        Raises:
            ValueError, TypeError: for what is none of these. Nothing was changed.
        """
        made = credentials_of(name, password, mechanisms, iterations)

        def put(changes: Changes) -> None:
            for mechanism in HASHES:
                changes.delete_credential(name, mechanism)
            for credential in made:
                changes.put_credential(name, credential)

        self._stored.change(put)

    def delete(self, name: str) -> None:
        """
        Delete a user.

        Connections that have authenticated themselves go on until their session ends.

        Raises:
            UnknownUser: if there is none of that name. Nothing was changed.
        """
        check_user_name(name)
        found = self._stored.change(
            lambda changes: [changes.delete_credential(name, mechanism) for mechanism in HASHES]
        )
        if not any(found):
            raise UnknownUser(
                f"the log has no user {name!r}.",
                stored="Nothing was changed.",
                advice="Users.list() lists them.",
                user=name,
            )

    def list(self) -> builtins.list[str]:
        """The names of all users, sorted."""
        return sorted(self._stored.credentials())

    def mechanisms(self) -> Mapping[str, tuple[tuple[str, int], ...]]:
        """For each user the mechanisms that there is a password for, with their iterations."""
        return {
            name: tuple((one.mechanism, one.iterations) for one in sorted(found))
            for name, found in sorted(self._stored.credentials().items())
        }

    def __repr__(self) -> str:
        return f"<eventlog.kafka.Users of {str(self._stored._log.path)!r}>"


def credentials_of(
    name: object, password: object, mechanisms: Iterable[str] = tuple(HASHES), iterations: int = DEFAULT_ITERATIONS
) -> list[Credential]:
    """What is kept of a user's password for some mechanisms, after all checks; takes some milliseconds for each."""
    check_user_name(name)
    checked = check_password(name, password)
    wanted = (mechanisms,) if isinstance(mechanisms, str) else tuple(mechanisms)
    if not wanted or not set(wanted) <= set(HASHES):
        raise ValueError(f"mechanisms are some of {', '.join(HASHES)}, not {wanted!r}. Nothing was changed.")
    check_int("iterations", iterations, least=LEAST_ITERATIONS, most=MOST_ITERATIONS)
    return [make_credential(one, checked, secrets.token_bytes(SALT_BYTES), iterations) for one in dict.fromkeys(wanted)]


def check_user_name(name: object) -> str:
    """Return the name of a user: 1 to 249 bytes in UTF-8, without control characters."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a user is a str, not {type(name).__name__}. Nothing was changed.")
    if not name or not name.isprintable() or len(name.encode("utf-8", "surrogatepass")) > MOST_NAME_BYTES:
        raise ValueError(
            f"{name[:MOST_NAME_BYTES]!r} is no name of a user: it has to be 1 to {MOST_NAME_BYTES} bytes of printable "
            "characters in UTF-8. Nothing was changed."
        )
    return name


def check_password(name: object, password: object) -> str:
    """Return a password if it can be one; no message shows it."""
    if not isinstance(password, str):
        raise TypeError(f"the password of {name!r} is a str, not {type(password).__name__}. Nothing was changed.")
    try:
        size = len(password.encode())
    except unless_interrupted(UnicodeEncodeError):
        size = 0
    if not 1 <= size <= _MOST_PASSWORD_BYTES or "\0" in password:
        raise ValueError(
            f"the password of {name!r} has to be 1 to {_MOST_PASSWORD_BYTES} bytes of UTF-8 without the character of "
            "code 0. Nothing was changed."
        )
    return password
