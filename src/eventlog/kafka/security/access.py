"""The access control lists of a log, for programs that own it."""

from __future__ import annotations

import builtins
from typing import Any

from eventlog.kafka.security.acls import Acl, acl_of
from eventlog.kafka.security.embedded import embedded
from eventlog.kafka.security.stored import Changes, Security


class Acls:
    """
    The access control lists of a log, which listeners with `acls=True` go by.

    They are those that Kafka's admin clients see and change. Changes hold at once for the listeners of all processes.
    Any thread may use it; a change blocks for a commit.

    Args:
        log: an open log, of `eventlog.aio` too.

    Example:
        >>> import eventlog.kafka
        >>> from eventlog.kafka import Acl
        >>> with eventlog.open(":memory:") as log:
        ...     acls = eventlog.kafka.Acls(log)
        ...     acls.add(Acl("User:alice", "read", topic="orders"), Acl("User:alice", "read", group="billing"))
        ...     acls.list()
        [Acl('User:alice', 'read', topic='orders'), Acl('User:alice', 'read', group='billing')]
    """

    def __init__(self, log: Any) -> None:
        self._stored = Security(embedded(log))

    def add(self, *acls: Acl) -> None:
        """Add rules, all of them at once; one that is there already stays as it is."""
        rows = [_checked(acl)._row() for acl in acls]

        def put(changes: Changes) -> None:
            for row in rows:
                changes.put_acl(row)

        self._stored.change(put)

    def remove(self, *acls: Acl) -> int:
        """Remove rules, all of them at once, and return how many of them were there."""
        rows = [_checked(acl)._row() for acl in acls]
        return self._stored.change(lambda changes: sum(changes.delete_acl(row) for row in rows))

    def list(self) -> builtins.list[Acl]:
        """All rules, sorted by what they are about; those that Kafka's clients made for delegation tokens left out."""
        _, rows = self._stored.acls()
        return [acl for acl in map(acl_of, rows) if acl is not None]

    def __repr__(self) -> str:
        return f"<eventlog.kafka.Acls of {str(self._stored._log.path)!r}>"


def _checked(acl: object) -> Acl:
    if not isinstance(acl, Acl):
        raise TypeError(f"a rule is an eventlog.kafka.Acl, not {acl!r}. Nothing was changed.")
    return acl
