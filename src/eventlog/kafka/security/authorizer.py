"""
The decision whether somebody may do something, by Kafka's rules.

* A super user may do everything.
* A rule that denies comes first: it beats all that allow.
* READ, WRITE, DELETE and ALTER, where allowed, allow DESCRIBE; ALTER_CONFIGS allows DESCRIBE_CONFIGS. What is denied
  is that operation alone.
* Where no rule is about a resource, the default decides; where one is, but fits neither who asks nor what, nothing is
  allowed.

Pure: `Rules` is what was stored at one moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from eventlog.kafka.security.acls import (
    ANY_NAME,
    ANYBODY,
    ANYWHERE,
    OPERATIONS,
    Operation,
    PatternType,
    Permission,
    ResourceType,
    Row,
)

_IMPLYING: Final = {
    Operation.DESCRIBE: frozenset(
        {Operation.DESCRIBE, Operation.READ, Operation.WRITE, Operation.DELETE, Operation.ALTER, Operation.ALL}
    ),
    Operation.DESCRIBE_CONFIGS: frozenset({Operation.DESCRIBE_CONFIGS, Operation.ALTER_CONFIGS, Operation.ALL}),
}
"""Operations that allow another one; all others are allowed by themselves and by ALL."""


class Rules:
    """
    Some access control lists, arranged for quick decisions.

    Args:
        rows: the rules.
        super_users: principals that may do everything.
        allows_by_default: what holds for resources that no rule is about: `allow.everyone.if.no.acl.found`.
    """

    def __init__(
        self, rows: Iterable[Row], *, super_users: Iterable[str] = (), allows_by_default: bool = False
    ) -> None:
        self.rows = tuple(sorted(rows))
        self._super_users = frozenset(super_users)
        self._allows_by_default = allows_by_default
        self._literal: dict[tuple[int, str], list[Row]] = {}
        self._prefixed: dict[tuple[int, str], list[Row]] = {}
        lengths: dict[int, set[int]] = {}
        for row in self.rows:
            is_literal = row.pattern_type == PatternType.LITERAL
            table = self._literal if is_literal else self._prefixed
            table.setdefault((row.resource_type, row.name), []).append(row)
            if not is_literal:
                lengths.setdefault(row.resource_type, set()).add(len(row.name))
        self._lengths = {kind: sorted(found) for kind, found in lengths.items()}
        """For each type of resource, the lengths of the prefixes that there are rules for."""

    def may(self, principal: str, host: str, operation: Operation, kind: ResourceType, name: str) -> bool:
        """Decide whether a principal that comes from a host may do something with a resource."""
        if principal in self._super_users:
            return True
        is_allowed = is_about = False
        for row in self._about(kind, name):
            is_about = True
            if not _fits(row, principal, host, operation):
                continue
            if row.permission == Permission.DENY:
                return False
            is_allowed = True
        return is_allowed if is_about else self._allows_by_default

    def _about(self, kind: ResourceType, name: str) -> Iterable[Row]:
        yield from self._literal.get((kind, name), ())
        if name != ANY_NAME:
            yield from self._literal.get((kind, ANY_NAME), ())
        for length in self._lengths.get(kind, ()):
            if length > len(name):
                break
            yield from self._prefixed.get((kind, name[:length]), ())

    def may_somewhere(self, principal: str, host: str, operation: Operation, kind: ResourceType) -> bool:
        """Decide whether there may be a resource of a type that a principal may do something with (KIP-679)."""
        if self.may(principal, host, operation, kind, "hardcode"):  # as Kafka: a name like any other
            return True
        denied, allowed = self._fitting(principal, host, operation, kind)
        if any(row.pattern_type == PatternType.LITERAL and row.name == ANY_NAME for row in denied):
            return False
        return any(not any(_covers(denial, row) for denial in denied) for row in allowed)

    def _fitting(
        self, principal: str, host: str, operation: Operation, kind: ResourceType
    ) -> tuple[list[Row], list[Row]]:
        found = [row for row in self.rows if row.resource_type == kind and _fits(row, principal, host, operation)]
        denied = [row for row in found if row.permission == Permission.DENY]
        return denied, [row for row in found if row.permission == Permission.ALLOW]

    def operations(self, principal: str, host: str, kind: ResourceType, name: str) -> int:
        """All that a principal may do with a resource: a bit for each operation, as answers have it."""
        return sum(1 << operation for operation in OPERATIONS[kind] if self.may(principal, host, operation, kind, name))


def _fits(row: Row, principal: str, host: str, operation: Operation) -> bool:
    """Whether a rule on the right resource is about this principal, host and operation."""
    if row.principal not in (principal, ANYBODY) or row.host not in (host, ANYWHERE):
        return False
    if row.permission == Permission.ALLOW and operation in _IMPLYING:
        return row.operation in _IMPLYING[operation]
    return row.operation in (operation, Operation.ALL)


def _covers(denial: Row, row: Row) -> bool:
    """Whether all that a rule allows is denied by another."""
    if denial.pattern_type == PatternType.PREFIXED:
        return row.name.startswith(denial.name) and not (
            row.pattern_type == PatternType.LITERAL and row.name == ANY_NAME
        )
    return row.pattern_type == PatternType.LITERAL and row.name == denial.name
