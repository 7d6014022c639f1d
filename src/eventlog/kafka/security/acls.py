"""
Access control lists, as Kafka has them (KIP-11, KIP-290): who may do what with which topics, groups and so on.

An `Acl` allows or denies one operation on the resources that a pattern matches, to a principal that comes from a host.
An `AclFilter` matches some of them. The numbers are those of Kafka's protocol.

Pure: what is decided by them is in `authorizer.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import attrs

from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple

CLUSTER_NAME: Final = "kafka-cluster"
"""The name of the only resource of the type CLUSTER."""
ANYBODY: Final = "User:*"
ANYWHERE: Final = "*"
ANY_NAME: Final = "*"
_MOST_BYTES: Final = 1000


class ResourceType(IntEnum):
    """What there may be a right on."""

    ANY = 1
    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5
    DELEGATION_TOKEN = 6
    USER = 7


class PatternType(IntEnum):
    """How the name in a pattern is compared with the name of a resource; the first two are for filters."""

    ANY = 1
    MATCH = 2
    LITERAL = 3
    PREFIXED = 4


class Operation(IntEnum):
    """What somebody may do."""

    ANY = 1
    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15


class Permission(IntEnum):
    """Whether an operation is denied or allowed."""

    ANY = 1
    DENY = 2
    ALLOW = 3


OPERATIONS: Final[Mapping[ResourceType, tuple[Operation, ...]]] = {
    ResourceType.TOPIC: (
        Operation.READ,
        Operation.WRITE,
        Operation.CREATE,
        Operation.DELETE,
        Operation.ALTER,
        Operation.DESCRIBE,
        Operation.DESCRIBE_CONFIGS,
        Operation.ALTER_CONFIGS,
    ),
    ResourceType.GROUP: (
        Operation.READ,
        Operation.DELETE,
        Operation.DESCRIBE,
        Operation.DESCRIBE_CONFIGS,
        Operation.ALTER_CONFIGS,
    ),
    ResourceType.CLUSTER: (
        Operation.CREATE,
        Operation.ALTER,
        Operation.DESCRIBE,
        Operation.CLUSTER_ACTION,
        Operation.DESCRIBE_CONFIGS,
        Operation.ALTER_CONFIGS,
        Operation.IDEMPOTENT_WRITE,
    ),
    ResourceType.TRANSACTIONAL_ID: (Operation.WRITE, Operation.DESCRIBE, Operation.TWO_PHASE_COMMIT),
}
"""The operations that mean something for a type of resource; answers that list rights are made of these."""


class Row(NamedTuple):
    """An access control list in the numbers of the protocol; it sorts by what it is about."""

    resource_type: int
    pattern_type: int
    name: str
    principal: str
    host: str
    operation: int
    permission: int


@attrs.frozen
class Acl:
    """
    A rule that allows or denies something to somebody.

    Args:
        principal: who: "User:alice", or "User:*" for everybody.
        operation: "read", "write", "describe", "all" and so on; the names of Kafka, in small letters or capitals.
        topic: which topics; this and the next three exclude each other. "*" stands for all.
        group: which consumer groups.
        transactional_id: which transactional ids.
        cluster: the rule is about the cluster.
        is_prefix: the name is the beginning of names.
        host: from which address; "*" for all.
        is_denied: the rule denies; and what one rule denies no other allows.

    Raises:
        ValueError: if such a rule cannot be.

    Example:
        >>> from eventlog.kafka import Acl
        >>> Acl("User:alice", "read", topic="orders")
        Acl('User:alice', 'read', topic='orders')
        >>> Acl("User:*", "all", group="test-", is_prefix=True, is_denied=True)
        Acl('User:*', 'all', group='test-', is_prefix=True, is_denied=True)
    """

    principal: str
    operation: str
    topic: str | None = attrs.field(default=None, kw_only=True)
    group: str | None = attrs.field(default=None, kw_only=True)
    transactional_id: str | None = attrs.field(default=None, kw_only=True)
    cluster: bool = attrs.field(default=False, kw_only=True)
    is_prefix: bool = attrs.field(default=False, kw_only=True)
    host: str = attrs.field(default=ANYWHERE, kw_only=True)
    is_denied: bool = attrs.field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        self._row()

    def _row(self) -> Row:
        """The rule in the numbers of the protocol."""
        named = {
            ResourceType.TOPIC: self.topic,
            ResourceType.GROUP: self.group,
            ResourceType.TRANSACTIONAL_ID: self.transactional_id,
            ResourceType.CLUSTER: CLUSTER_NAME if self.cluster else None,
        }
        given = [(kind, name) for kind, name in named.items() if name is not None]
        if not all(isinstance(one, str) for one in (self.principal, self.host, *dict(given).values())):
            raise TypeError("principal, name and host of a rule are text. Nothing was changed.")
        if len(given) != 1:
            raise ValueError(
                "a rule is about one of topic=, group=, transactional_id= and cluster=. Nothing was changed."
            )
        if not all(self.principal.partition(":")):
            raise ValueError(f'principal is such as "User:alice", not {self.principal!r}. Nothing was changed.')
        kind, name = given[0]
        pattern = PatternType.PREFIXED if self.is_prefix else PatternType.LITERAL
        permission = Permission.DENY if self.is_denied else Permission.ALLOW
        try:
            operation = Operation[self.operation.upper()]
        except unless_interrupted(KeyError, AttributeError):
            names = ", ".join(one.name.lower() for one in Operation if one != Operation.ANY)
            raise ValueError(f"{self.operation!r} is no operation. Nothing was changed. There are {names}.") from None
        row = Row(kind, pattern, name, self.principal, self.host, operation, permission)
        complaint = complaint_about(row)
        if complaint is not None:
            raise ValueError(f"{complaint}. Nothing was changed.")
        return row

    def __repr__(self) -> str:
        named = {
            field.name: value
            for field in attrs.fields(Acl)[2:]
            if (value := getattr(self, field.name)) != field.default
        }
        parts = [repr(self.principal), repr(self.operation), *(f"{name}={value!r}" for name, value in named.items())]
        return f"Acl({', '.join(parts)})"


def acl_of(row: Row) -> Acl | None:
    """The rule of a row; None for one on a type of resource that `Acl` does not have, such as a delegation token."""
    keywords: dict[ResourceType, str] = {
        ResourceType.TOPIC: "topic",
        ResourceType.GROUP: "group",
        ResourceType.TRANSACTIONAL_ID: "transactional_id",
    }
    kind = ResourceType(row.resource_type)
    if kind in keywords:
        named: dict[str, object] = {keywords[kind]: row.name}
    elif kind is ResourceType.CLUSTER:
        named = {"cluster": True}
    else:
        return None
    return Acl(
        row.principal,
        Operation(row.operation).name.lower(),
        is_prefix=row.pattern_type == PatternType.PREFIXED,
        host=row.host,
        is_denied=row.permission == Permission.DENY,
        **named,  # type: ignore[arg-type]
    )


def complaint_about(row: Row) -> str | None:
    """What is wrong with a rule, in Kafka's words where it has some; None if it can be stored."""
    if row.resource_type not in set(ResourceType) - {ResourceType.ANY}:
        return "Invalid resourceType"
    if row.pattern_type not in (PatternType.LITERAL, PatternType.PREFIXED):
        return "Invalid patternType"
    if row.operation not in set(Operation) - {Operation.ANY}:
        return "Invalid operation"
    if row.permission not in (Permission.DENY, Permission.ALLOW):
        return "Invalid permissionType"
    if not row.name:
        return "Invalid empty resource name"
    if row.resource_type == ResourceType.CLUSTER and row.name != CLUSTER_NAME:
        return f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}"
    return _complaint_about_principal(row.principal, row.host) or _complaint_about_length(row)


def _complaint_about_principal(principal: object, host: object) -> str | None:
    if not isinstance(principal, str) or not all(principal.partition(":")):
        return (
            f"Could not parse principal from `{principal}` (no colon is present separating the principal type from the "
            "principal name)"
        )
    if not isinstance(host, str) or not host:
        return "Host pattern cannot be null or empty"
    return None


def _complaint_about_length(row: Row) -> str | None:
    texts = (row.name, row.principal, row.host)
    if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) > _MOST_BYTES:
        return f"Resource name, principal and host have more than {_MOST_BYTES} bytes together"
    return None


class AclFilter(NamedTuple):
    """
    A filter of rules; None, and the ANY of each number, match everything.

    With the pattern type MATCH it finds all rules that are about a resource of that name: literal ones, those for all
    names, and prefixes of it.
    """

    resource_type: int = ResourceType.ANY
    pattern_type: int = PatternType.ANY
    name: str | None = None
    principal: str | None = None
    host: str | None = None
    operation: int = Operation.ANY
    permission: int = Permission.ANY

    def matches(self, row: Row) -> bool:
        """Tell whether it finds a rule."""
        return (
            self.resource_type in (ResourceType.ANY, row.resource_type)
            and self.pattern_type in (PatternType.ANY, PatternType.MATCH, row.pattern_type)
            and self._matches_name(row)
            and self.principal in (None, row.principal)
            and self.host in (None, row.host)
            and self.operation in (Operation.ANY, row.operation)
            and self.permission in (Permission.ANY, row.permission)
        )

    def _matches_name(self, row: Row) -> bool:
        if self.name is None:
            return True
        if self.pattern_type in (PatternType.ANY, row.pattern_type):
            return self.name == row.name
        if row.pattern_type == PatternType.PREFIXED:
            return self.name.startswith(row.name)
        return row.name in (self.name, ANY_NAME)


def complaint_about_filter(wanted: AclFilter) -> str | None:
    """What is wrong with a filter; None if nothing is."""
    numbers = (
        (wanted.resource_type, ResourceType, "resourceType"),
        (wanted.pattern_type, PatternType, "patternType"),
        (wanted.operation, Operation, "operation"),
        (wanted.permission, Permission, "permissionType"),
    )
    for number, kind, name in numbers:
        if number not in set(kind):
            return f"The AclBindingFilter must not contain UNKNOWN elements: {name} {number}"
    return None
