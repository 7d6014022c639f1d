"""Logins, access control lists, users and quotas, asked of a broker that has none of them."""

from __future__ import annotations

from typing import Any

from eventlog.kafka.protocol import ApiKey
from tests.kafka.differential.talk import Talk


def logins(talk: Talk) -> None:
    """Log in where nobody has to."""
    for version in talk.versions(ApiKey.SASL_HANDSHAKE):
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "ODD", ""):
            connection = talk.connect()
            connection.ask(f"mechanism {mechanism!r}", ApiKey.SASL_HANDSHAKE, {"mechanism": mechanism}, version)
    for version in talk.versions(ApiKey.SASL_AUTHENTICATE):
        connection = talk.connect()
        connection.ask("without a handshake", ApiKey.SASL_AUTHENTICATE, {"auth_bytes": b"\0user\0password"}, version)


def access_control(talk: Talk) -> None:
    """Ask for access control lists, and change them, where there are none."""
    connection = talk.connect()
    any_of: dict[str, Any] = {
        "resource_type_filter": 1,
        "resource_name_filter": None,
        "pattern_type_filter": 1,
        "principal_filter": None,
        "host_filter": None,
        "operation": 1,
        "permission_type": 1,
    }
    connection.ask_all("all", ApiKey.DESCRIBE_ACLS, lambda _: any_of, 1)
    one = {
        "resource_type": 2,
        "resource_name": talk.name("t"),
        "resource_pattern_type": 3,
        "principal": "User:somebody",
        "host": "*",
        "operation": 3,
        "permission_type": 3,
    }
    connection.ask_all("create", ApiKey.CREATE_ACLS, lambda _: {"creations": [one]}, 1)
    connection.ask_all("create none", ApiKey.CREATE_ACLS, lambda _: {"creations": []}, 1)
    connection.ask_all("delete", ApiKey.DELETE_ACLS, lambda _: {"filters": [any_of]}, 1)
    connection.ask_all("delete none", ApiKey.DELETE_ACLS, lambda _: {"filters": []}, 1)


def users(talk: Talk) -> None:
    """Users of SCRAM: described, made and deleted."""
    api = ApiKey.ALTER_USER_SCRAM_CREDENTIALS
    describe = ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS
    connection = talk.connect()
    name = talk.name("user")
    made = {"name": name, "mechanism": 1, "iterations": 8192, "salt": b"s" * 16, "salted_password": b"p" * 32}
    for label, deletions, upsertions in (
        ("delete an unknown one", [{"name": name, "mechanism": 1}], []),
        ("too few iterations", [], [{**made, "iterations": 10}]),
        ("too many iterations", [], [{**made, "iterations": 10_000_000}]),
        ("an unknown mechanism", [], [{**made, "mechanism": 7}]),
        ("no name", [], [{**made, "name": ""}]),
        ("make", [], [made]),
        ("make and delete", [{"name": name, "mechanism": 1}], [made]),
        ("nothing", [], []),
    ):
        connection.ask(label, api, {"deletions": deletions, "upsertions": upsertions}, 0)
        if label == "make":
            talk.topic("barrier")
            connection.ask("described", describe, {"users": [{"name": name}]}, 0)
            connection.ask("described twice", describe, {"users": [{"name": name}] * 2}, 0)
    connection.ask("an unknown one described", describe, {"users": [{"name": talk.name("nobody")}]}, 0)
    connection.ask("delete", api, {"deletions": [{"name": name, "mechanism": 1}], "upsertions": []}, 0)
    talk.topic("barrier-2")
    connection.ask("described in the end", describe, {"users": [{"name": name}]}, 0)


def quotas(talk: Talk) -> None:
    """Quotas, of which there are none, and what has configs."""
    topic, _ = talk.topic("t")
    connection = talk.connect()
    for label, components in {
        "all": [],
        "of a user": [{"entity_type": "user", "match_type": 0, "match": "somebody"}],
        "of any user": [{"entity_type": "user", "match_type": 2, "match": None}],
        "of the default client": [{"entity_type": "client-id", "match_type": 1, "match": None}],
        "of an unknown kind": [{"entity_type": "planet", "match_type": 2, "match": None}],
        "of no kind": [{"entity_type": "", "match_type": 2, "match": None}],
    }.items():
        for is_strict in (False, True):
            body = {"components": components, "strict": is_strict}
            connection.ask_all(
                f"{label}, strict: {is_strict}", ApiKey.DESCRIBE_CLIENT_QUOTAS, lambda _, body=body: body
            )
    connection.ask_all("topics with configs", ApiKey.LIST_CONFIG_RESOURCES, lambda _: {"resource_types": [2]}, 1)
    assert topic
