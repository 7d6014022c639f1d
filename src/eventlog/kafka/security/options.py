"""What somebody who listens has said of security, checked and completed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import attrs

from eventlog.kafka.security.sasl.oauthbearer import OAUTHBEARER, Validator
from eventlog.kafka.security.sasl.passwords import HASHES, Credential
from eventlog.kafka.security.sasl.plain import PLAIN
from eventlog.kafka.security.users import credentials_of
from eventlog.options import check_bool, check_seconds

MECHANISMS: Final = (*HASHES, PLAIN, OAUTHBEARER)
"""What `sasl=` may name."""


@attrs.frozen
class SecurityOptions:
    """
    Who may use a listener, and for what.

    `mechanisms` are those by which clients authenticate themselves; without any they need not. `users` are those that
    this listener alone knows, beside those of the log.
    """

    mechanisms: tuple[str, ...] = ()
    users: Mapping[str, Mapping[str, Credential]] = attrs.field(factory=dict, repr=False)
    validate: Validator | None = None
    max_session: float | None = None
    acls: bool = False
    super_users: frozenset[str] = frozenset()
    allow_if_no_acl: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether a connection has to show who it is, or may not do everything."""
        return bool(self.mechanisms) or self.acls


def security_options(
    sasl: object,
    users: object,
    token_validator: Any,
    max_session: object,
    *,
    acls: object,
    super_users: object,
    allow_if_no_acl: object,
) -> SecurityOptions:
    """
    Check what `listen()` was given.

    Raises:
        ValueError, TypeError: for what cannot be. Nothing was opened.
    """
    known = _users(users)
    mechanisms = _mechanisms(sasl, has_users=bool(known), has_validator=token_validator is not None)
    names = _names(super_users)
    check_bool("acls", acls)
    check_bool("allow_if_no_acl", allow_if_no_acl)
    if (names or allow_if_no_acl) and not acls:
        raise ValueError("super_users= and allow_if_no_acl= mean something with acls=True alone. Nothing was opened.")
    return SecurityOptions(
        mechanisms,
        known,
        _validator(token_validator),
        None if max_session is None else check_seconds("max_session", max_session, least=1.0),
        bool(acls),
        names,
        bool(allow_if_no_acl),
    )


def _validator(given: Any) -> Validator | None:
    if given is not None and not callable(given):
        raise TypeError(f"token_validator is a function of a token, not {given!r}. Nothing was opened.")
    return given  # type: ignore[no-any-return]


def _mechanisms(sasl: object, *, has_users: bool, has_validator: bool) -> tuple[str, ...]:
    if sasl is None:
        return (*((*HASHES, PLAIN) if has_users else ()), *((OAUTHBEARER,) if has_validator else ()))
    given = (sasl,) if isinstance(sasl, str) else tuple(sasl) if isinstance(sasl, Collection) else ()
    if not given or not set(given) <= set(MECHANISMS):
        raise ValueError(f"sasl is some of {', '.join(MECHANISMS)}, not {sasl!r}. Nothing was opened.")
    if (OAUTHBEARER in given) != has_validator:
        raise ValueError("OAUTHBEARER in sasl= and a function token_validator= go together. Nothing was opened.")
    if has_users and set(given) == {OAUTHBEARER}:
        raise ValueError("users= are for another mechanism than OAUTHBEARER in sasl=. Nothing was opened.")
    return tuple(dict.fromkeys(given))


def _users(users: Any) -> dict[str, dict[str, Credential]]:
    if users is None:
        return {}
    if not isinstance(users, Mapping):
        raise TypeError("users is a mapping from names to passwords. Nothing was opened.")
    return {name: {one.mechanism: one for one in credentials_of(name, word)} for name, word in users.items()}


def _names(super_users: Any) -> frozenset[str]:
    names = (super_users,) if isinstance(super_users, str) else tuple(super_users)
    for name in names:
        if not isinstance(name, str) or not all(name.partition(":")):
            raise ValueError(f'super_users are principals such as "User:admin", not {name!r}. Nothing was opened.')
    return frozenset(names)
