"""The rules of access control, against a model that looks at all of them one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog.kafka.security.acls import (
    CLUSTER_NAME,
    Acl,
    AclFilter,
    Operation,
    PatternType,
    Permission,
    ResourceType,
    Row,
    acl_of,
    complaint_about,
)
from eventlog.kafka.security.authorizer import Rules

NAMES = ("*", "o", "or", "orders", "orders-eu", "p")
ROWS = st.builds(
    Row,
    st.sampled_from([ResourceType.TOPIC, ResourceType.GROUP]),
    st.sampled_from([PatternType.LITERAL, PatternType.PREFIXED]),
    st.sampled_from(NAMES),
    st.sampled_from(["User:alice", "User:bob", "User:*"]),
    st.sampled_from(["*", "10.0.0.1"]),
    st.sampled_from(
        [Operation.ALL, Operation.READ, Operation.WRITE, Operation.DESCRIBE, Operation.ALTER_CONFIGS, Operation.ALTER]
    ),
    st.sampled_from([Permission.ALLOW, Permission.ALLOW, Permission.DENY]),
)


def naive(rows: list[Row], principal: str, host: str, operation: Operation, kind: ResourceType, name: str) -> bool:
    """Kafka's rules, as its documentation tells them."""
    about = [
        row
        for row in rows
        if row.resource_type == kind
        and (
            (row.pattern_type == PatternType.LITERAL and row.name in (name, "*"))
            or (row.pattern_type == PatternType.PREFIXED and name.startswith(row.name))
        )
    ]
    mine = [row for row in about if row.principal in (principal, "User:*") and row.host in (host, "*")]
    if any(row.permission == Permission.DENY and row.operation in (operation, Operation.ALL) for row in mine):
        return False
    allowed = {row.operation for row in mine if row.permission == Permission.ALLOW}
    if operation in allowed or Operation.ALL in allowed:
        return True
    if operation == Operation.DESCRIBE:
        return bool(allowed & {Operation.READ, Operation.WRITE, Operation.DELETE, Operation.ALTER})
    return operation == Operation.DESCRIBE_CONFIGS and Operation.ALTER_CONFIGS in allowed


@settings(deadline=None, max_examples=150)
@given(
    st.lists(ROWS, max_size=8),
    st.sampled_from(["User:alice", "User:bob", "User:eve"]),
    st.sampled_from(["10.0.0.1", "10.0.0.2"]),
    st.sampled_from(
        [Operation.READ, Operation.WRITE, Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS, Operation.CREATE]
    ),
    st.sampled_from([ResourceType.TOPIC, ResourceType.GROUP]),
    st.sampled_from(["orders", "orders-eu", "o", "payments", "x"]),
)
def test_the_rules_decide_as_the_model_does(
    rows: list[Row], principal: str, host: str, operation: Operation, kind: ResourceType, name: str
) -> None:
    """Literal, prefixed and for all names; deny first; operations that others imply."""
    assert Rules(rows).may(principal, host, operation, kind, name) == naive(
        rows, principal, host, operation, kind, name
    )


@settings(deadline=None, max_examples=150)
@given(st.lists(ROWS, max_size=8), st.sampled_from(["User:alice", "User:eve"]))
def test_a_right_somewhere_is_a_right_on_some_name(rows: list[Row], principal: str) -> None:
    """Where there is one on any name that the rules are about, or on another, and nowhere else."""
    names = [row.name + suffix for row in rows for suffix in ("", "x", "~~") if row.name + suffix != "*"]
    somewhere = any(
        naive(rows, principal, "10.0.0.1", Operation.WRITE, ResourceType.TOPIC, name) for name in (*names, "hardcode")
    )
    assert Rules(rows).may_somewhere(principal, "10.0.0.1", Operation.WRITE, ResourceType.TOPIC) >= somewhere


def test_a_right_on_a_denied_topic_is_none() -> None:
    """KIP-679: a rule that allows counts unless another denies all that it is about."""
    allowed = Acl("User:a", "write", topic="orders-", is_prefix=True)._row()
    denied = Acl("User:a", "write", topic="orders", is_prefix=True, is_denied=True)._row()
    assert Rules([allowed]).may_somewhere("User:a", "h", Operation.WRITE, ResourceType.TOPIC)
    assert not Rules([allowed, denied]).may_somewhere("User:a", "h", Operation.WRITE, ResourceType.TOPIC)


def test_super_users_may_everything_and_no_rule_means_the_default() -> None:
    """Where there is a rule about a resource, the default does not hold for it any more."""
    row = Acl("User:alice", "read", topic="orders")._row()
    rules = Rules([row], super_users=["User:root"], allows_by_default=True)
    may = [
        rules.may(principal, "h", Operation.WRITE, ResourceType.TOPIC, name)
        for principal, name in [("User:root", "orders"), ("User:eve", "orders"), ("User:eve", "other")]
    ]
    assert may == [True, False, True]
    assert not Rules([row]).may("User:eve", "h", Operation.READ, ResourceType.TOPIC, "other")


def test_the_bits_of_operations_are_those_that_are_allowed() -> None:
    """READ brings DESCRIBE along."""
    rules = Rules([Acl("User:a", "read", topic="*")._row()])
    assert rules.operations("User:a", "h", ResourceType.TOPIC, "t") == 1 << Operation.READ | 1 << Operation.DESCRIBE


@settings(deadline=None, max_examples=100)
@given(ROWS)
def test_a_rule_is_its_row(row: Row) -> None:
    """There and back; and its repr makes it again."""
    acl = acl_of(row)
    assert acl is not None
    assert acl._row() == row
    assert eval(repr(acl), {"Acl": Acl}) == acl


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (AclFilter(), {"a", "b", "c", "d"}),
        (AclFilter(pattern_type=PatternType.MATCH, name="orders-eu"), {"b", "c", "d"}),
        (AclFilter(pattern_type=PatternType.LITERAL, name="orders-eu"), {"c"}),
        (AclFilter(pattern_type=PatternType.LITERAL, name="*"), {"d"}),
        (AclFilter(pattern_type=PatternType.ANY, name="orders"), {"a", "b"}),
        (AclFilter(pattern_type=PatternType.MATCH, name="orders", resource_type=ResourceType.GROUP), set()),
        (AclFilter(principal="User:a", operation=Operation.WRITE), {"c"}),
        (AclFilter(permission=Permission.DENY), {"d"}),
        (AclFilter(host="*", operation=Operation.READ), {"a", "b", "d"}),
    ],
)
def test_filters_find_what_kafka_finds(wanted: AclFilter, found: set[str]) -> None:
    """MATCH finds all that is about a name, the others what is written so."""
    rows = {
        "a": Acl("User:a", "read", topic="orders")._row(),
        "b": Acl("User:a", "read", topic="orders", is_prefix=True)._row(),
        "c": Acl("User:a", "write", topic="orders-eu")._row(),
        "d": Acl("User:a", "read", topic="*", is_denied=True)._row(),
    }
    assert {name for name, row in rows.items() if wanted.matches(row)} == found


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (Row(1, 3, "t", "User:a", "*", 3, 3), "Invalid resourceType"),
        (Row(2, 2, "t", "User:a", "*", 3, 3), "Invalid patternType"),
        (Row(2, 3, "t", "User:a", "*", 1, 3), "Invalid operation"),
        (Row(2, 3, "t", "User:a", "*", 3, 1), "Invalid permissionType"),
        (Row(2, 3, "", "User:a", "*", 3, 3), "Invalid empty resource name"),
        (Row(4, 3, "t", "User:a", "*", 3, 3), f"The only valid name for the CLUSTER resource is {CLUSTER_NAME}"),
        (Row(2, 3, "t", "alice", "*", 3, 3), "Could not parse principal from `alice`"),
        (Row(2, 3, "t" * 2000, "User:a", "*", 3, 3), "Resource name, principal and host have more than"),
    ],
)
def test_rules_that_cannot_be_are_refused(row: Row, complaint: str) -> None:
    """With the reason."""
    assert (complaint_about(row) or "").startswith(complaint)


def test_a_rule_is_about_one_thing() -> None:
    """And it names an operation that there is."""
    with pytest.raises(ValueError, match="a rule is about one of"):
        Acl("User:a", "read")
    with pytest.raises(ValueError, match="a rule is about one of"):
        Acl("User:a", "read", topic="t", group="g")
    with pytest.raises(ValueError, match="'fly' is no operation"):
        Acl("User:a", "fly", topic="t")
