"""Which right each API needs: without any it is refused, with all of them it is not, and one alone is not enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

import eventlog
import eventlog.kafka
from eventlog.kafka import Acl, Acls, Listener
from eventlog.kafka.listener.apis import TABLE
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.security.guards.guard import let_through
from eventlog.kafka.security.guards.table import GUARDS
from tests.kafka.wire import Wire

TOPIC, GROUP, CLUSTER, TXN = (
    ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    ErrorCode.GROUP_AUTHORIZATION_FAILED,
    ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
    ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)
REFUSALS = {TOPIC, GROUP, CLUSTER, TXN}
ME = "User:ANONYMOUS"


def topic(operation: str, name: str = "t") -> Acl:
    return Acl(ME, operation, topic=name)


def group(operation: str, name: str = "g") -> Acl:
    return Acl(ME, operation, group=name)


def transaction(operation: str) -> Acl:
    return Acl(ME, operation, transactional_id="x")


def cluster(operation: str) -> Acl:
    return Acl(ME, operation, cluster=True)


PARTITION = {"partition_index": 0}
MEMBER = {"group_id": "g", "member_id": "", "protocol_type": "consumer", "session_timeout_ms": 6000}
ENDING = {"transactional_id": "x", "producer_id": 1, "producer_epoch": 0}
OFFSETS = [{"name": "t", "partitions": [{"partition_index": 0, "committed_offset": 0}]}]
ID_OF_T = UUID(int=1)
"""Stands for the id that the topic has in a test."""
SHARED = {
    "group_id": "s",
    "member_id": "m",
    "share_session_epoch": 0,
    "max_records": 1,
    "topics": [{"topic_id": ID_OF_T, "partitions": [{**PARTITION, "acknowledgement_batches": []}]}],
}
RESOURCES = {"resource_type_filter": 1, "pattern_type_filter": 1, "operation": 1, "permission_type": 1}
CREATION = {"resource_type": 2, "resource_name": "t", "principal": "User:a", "host": "*", "operation": 3}

CASES: list[tuple[ApiKey, int, dict[str, Any], set[int], list[Acl]]] = [
    (
        ApiKey.PRODUCE,
        9,
        {
            "acks": -1,
            "timeout_ms": 1000,
            "topic_data": [{"name": "t", "partition_data": [{"index": 0, "records": b""}]}],
        },
        {TOPIC},
        [topic("write")],
    ),
    (
        ApiKey.PRODUCE,
        9,
        {"acks": -1, "transactional_id": "x", "topic_data": [{"name": "t", "partition_data": [{"index": 0}]}]},
        {TXN},
        [topic("write"), transaction("write")],
    ),
    (
        ApiKey.FETCH,
        12,
        {"max_wait_ms": 60_000, "min_bytes": 1, "topics": [{"topic": "t", "partitions": [{"partition": 0}]}]},
        {TOPIC},
        [],  # with the right it waits
    ),
    (
        ApiKey.LIST_OFFSETS,
        7,
        {"topics": [{"name": "t", "partitions": [{"partition_index": 0, "timestamp": -1}]}]},
        {TOPIC},
        [topic("describe")],
    ),
    (ApiKey.METADATA, 9, {"topics": [{"name": "t"}], "allow_auto_topic_creation": False}, {TOPIC}, [topic("describe")]),
    (
        ApiKey.METADATA,
        9,
        {"topics": [{"name": "new"}], "allow_auto_topic_creation": True},
        {TOPIC},
        [topic("create", "new"), topic("describe", "new")],
    ),
    (
        ApiKey.METADATA,
        9,
        {"topics": [{"name": "newer"}], "allow_auto_topic_creation": True},
        {TOPIC},
        [cluster("create"), topic("read", "newer")],
    ),
    (ApiKey.OFFSET_COMMIT, 8, {"group_id": "g", "topics": OFFSETS}, {GROUP}, [group("read"), topic("read")]),
    (
        ApiKey.OFFSET_FETCH,
        7,
        {"group_id": "g", "topics": [{"name": "t", "partition_indexes": [0]}]},
        {GROUP},
        [group("describe"), topic("describe")],
    ),
    (
        ApiKey.OFFSET_FETCH,
        8,
        {"groups": [{"group_id": "g", "topics": [{"name": "t", "partition_indexes": [0]}]}]},
        {GROUP},
        [group("read"), topic("read")],
    ),
    (ApiKey.FIND_COORDINATOR, 3, {"key": "g", "key_type": 0}, {GROUP}, [group("describe")]),
    (ApiKey.FIND_COORDINATOR, 4, {"coordinator_keys": ["x"], "key_type": 1}, {TXN}, [transaction("describe")]),
    (ApiKey.JOIN_GROUP, 7, {**MEMBER, "protocols": [{"name": "range", "metadata": b""}]}, {GROUP}, [group("read")]),
    (ApiKey.SYNC_GROUP, 4, {"group_id": "g", "member_id": "m"}, {GROUP}, [group("read")]),
    (ApiKey.HEARTBEAT, 4, {"group_id": "g", "member_id": "m"}, {GROUP}, [group("read")]),
    (ApiKey.LEAVE_GROUP, 4, {"group_id": "g", "members": []}, {GROUP}, [group("read")]),
    (ApiKey.DESCRIBE_GROUPS, 5, {"groups": ["g"]}, {GROUP}, [group("describe")]),
    (ApiKey.DELETE_GROUPS, 2, {"groups_names": ["g"]}, {GROUP}, [group("delete")]),
    (ApiKey.CREATE_TOPICS, 4, {"topics": [{"name": "t"}], "validate_only": True}, {TOPIC}, [topic("create")]),
    (ApiKey.DELETE_TOPICS, 5, {"topic_names": ["absent"]}, {TOPIC}, [topic("delete", "absent")]),
    (ApiKey.DELETE_TOPICS, 6, {"topics": [{"name": "absent"}]}, {TOPIC}, [topic("delete", "absent")]),
    (
        ApiKey.DELETE_RECORDS,
        2,
        {"topics": [{"name": "t", "partitions": [{"partition_index": 0, "offset": 0}]}]},
        {TOPIC},
        [topic("delete")],
    ),
    (
        ApiKey.OFFSET_FOR_LEADER_EPOCH,
        4,
        {"topics": [{"topic": "t", "partitions": [{"partition": 0, "current_leader_epoch": -1}]}]},
        {TOPIC},
        [topic("describe")],
    ),
    (ApiKey.INIT_PRODUCER_ID, 4, {"transactional_id": None}, {CLUSTER}, [cluster("idempotent_write")]),
    (ApiKey.INIT_PRODUCER_ID, 4, {"transactional_id": None}, {CLUSTER}, [topic("write", "other")]),
    (
        ApiKey.INIT_PRODUCER_ID,
        4,
        {"transactional_id": "x", "transaction_timeout_ms": 1000},
        {TXN},
        [transaction("write")],
    ),
    (
        ApiKey.ADD_PARTITIONS_TO_TXN,
        3,
        {
            "v3_and_below_transactional_id": "x",
            "v3_and_below_producer_id": 1,
            "v3_and_below_topics": [{"name": "t", "partitions": [0]}],
        },
        {TXN},
        [transaction("write"), topic("write")],
    ),
    (ApiKey.ADD_OFFSETS_TO_TXN, 3, {**ENDING, "group_id": "g"}, {TXN}, [transaction("write"), group("read")]),
    (ApiKey.END_TXN, 3, {**ENDING, "committed": True}, {TXN}, [transaction("write")]),
    (
        ApiKey.TXN_OFFSET_COMMIT,
        3,
        {**ENDING, "group_id": "g", "topics": OFFSETS},
        {TXN},
        [transaction("write"), group("read"), topic("read")],
    ),
    (ApiKey.DESCRIBE_ACLS, 3, RESOURCES, {CLUSTER}, [cluster("describe")]),
    (
        ApiKey.CREATE_ACLS,
        3,
        {"creations": [{**CREATION, "resource_pattern_type": 3, "permission_type": 3}]},
        {CLUSTER},
        [cluster("alter")],
    ),
    (ApiKey.DELETE_ACLS, 3, {"filters": [{**RESOURCES, "principal_filter": "User:x"}]}, {CLUSTER}, [cluster("alter")]),
    (
        ApiKey.DESCRIBE_CONFIGS,
        4,
        {"resources": [{"resource_type": 2, "resource_name": "t"}]},
        {TOPIC},
        [topic("alter_configs")],
    ),
    (
        ApiKey.DESCRIBE_CONFIGS,
        4,
        {"resources": [{"resource_type": 4, "resource_name": "1"}]},
        {CLUSTER},
        [cluster("describe_configs")],
    ),
    (
        ApiKey.ALTER_CONFIGS,
        2,
        {"resources": [{"resource_type": 2, "resource_name": "t"}], "validate_only": True},
        {TOPIC},
        [topic("alter_configs")],
    ),
    (
        ApiKey.INCREMENTAL_ALTER_CONFIGS,
        1,
        {"resources": [{"resource_type": 2, "resource_name": "t"}], "validate_only": True},
        {TOPIC},
        [topic("alter_configs")],
    ),
    (ApiKey.DESCRIBE_LOG_DIRS, 4, {"topics": None}, {CLUSTER}, [cluster("describe")]),
    (
        ApiKey.CREATE_PARTITIONS,
        3,
        {"topics": [{"name": "t", "count": 2}], "timeout_ms": 1000, "validate_only": True},
        {TOPIC},
        [topic("alter")],
    ),
    (ApiKey.ELECT_LEADERS, 2, {"topic_partitions": None}, {CLUSTER}, [cluster("alter")]),
    (ApiKey.ALTER_PARTITION_REASSIGNMENTS, 0, {"topics": []}, {CLUSTER}, [cluster("alter")]),
    (ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, {"topics": None}, {CLUSTER}, [cluster("describe")]),
    (
        ApiKey.OFFSET_DELETE,
        0,
        {"group_id": "g", "topics": [{"name": "t", "partitions": [PARTITION]}]},
        {GROUP},
        [group("delete"), topic("read")],
    ),
    (ApiKey.DESCRIBE_CLIENT_QUOTAS, 1, {"components": []}, {CLUSTER}, [cluster("describe_configs")]),
    (
        ApiKey.ALTER_CLIENT_QUOTAS,
        1,
        {
            "entries": [
                {
                    "entity": [{"entity_type": "user", "entity_name": "a"}],
                    "ops": [{"key": "producer_byte_rate", "value": 1.0, "remove": False}],
                }
            ],
            "validate_only": True,
        },
        {CLUSTER},
        [cluster("alter_configs")],
    ),
    (ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS, 0, {"users": None}, {CLUSTER}, [cluster("describe")]),
    (
        ApiKey.ALTER_USER_SCRAM_CREDENTIALS,
        0,
        {"deletions": [{"name": "a", "mechanism": 1}], "upsertions": []},
        {CLUSTER},
        [cluster("alter")],
    ),
    (
        ApiKey.DESCRIBE_PRODUCERS,
        0,
        {"topics": [{"name": "t", "partition_indexes": [0]}]},
        {TOPIC},
        [topic("read")],
    ),
    (ApiKey.DESCRIBE_TRANSACTIONS, 0, {"transactional_ids": ["x"]}, {TXN}, [transaction("describe")]),
    (
        ApiKey.CONSUMER_GROUP_HEARTBEAT,
        1,
        {"group_id": "g", "member_id": "m", "member_epoch": -1, "subscribed_topic_names": ["t"]},
        {GROUP},
        [group("read"), topic("describe")],
    ),
    (ApiKey.CONSUMER_GROUP_DESCRIBE, 1, {"group_ids": ["g"]}, {GROUP}, [group("describe")]),
    (
        ApiKey.SHARE_GROUP_HEARTBEAT,
        1,
        {"group_id": "s", "member_id": "m", "member_epoch": -1, "subscribed_topic_names": ["t"]},
        {GROUP},
        [group("read", "s"), topic("describe")],
    ),
    (ApiKey.SHARE_GROUP_DESCRIBE, 1, {"group_ids": ["g"]}, {GROUP}, [group("describe")]),
    (ApiKey.SHARE_FETCH, 2, SHARED, {GROUP}, [group("read", "s"), topic("read")]),
    (ApiKey.SHARE_ACKNOWLEDGE, 2, SHARED, {GROUP}, [group("read", "s"), topic("read")]),
    (
        ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS,
        1,
        {"groups": [{"group_id": "s", "topics": [{"topic_name": "t", "partitions": [0]}]}]},
        {GROUP},
        [group("describe", "s"), topic("describe")],
    ),
    (
        ApiKey.ALTER_SHARE_GROUP_OFFSETS,
        0,
        {"group_id": "s", "topics": [{"topic_name": "t", "partitions": [{"partition_index": 0, "start_offset": 0}]}]},
        {GROUP},
        [group("read", "s"), topic("read")],
    ),
    (
        ApiKey.DELETE_SHARE_GROUP_OFFSETS,
        0,
        {"group_id": "s", "topics": [{"topic_name": "t"}]},
        {GROUP},
        [group("delete", "s"), topic("read")],
    ),
    (ApiKey.LIST_CONFIG_RESOURCES, 0, {}, {CLUSTER}, [cluster("describe_configs")]),
    (
        ApiKey.DESCRIBE_TOPIC_PARTITIONS,
        0,
        {"topics": [{"name": "t"}], "response_partition_limit": 100},
        {TOPIC},
        [topic("describe")],
    ),
    (ApiKey.DESCRIBE_QUORUM, 2, {"topics": []}, {CLUSTER}, [cluster("describe")]),
    (ApiKey.UPDATE_FEATURES, 1, {"feature_updates": []}, {CLUSTER}, [cluster("alter")]),
]
SHOWING = {ApiKey.LIST_GROUPS, ApiKey.LIST_TRANSACTIONS, ApiKey.DESCRIBE_CLUSTER}
"""APIs that everybody may call, and whose answers show what the client may see."""
SERVED = {api.key: api for api in TABLE}
CASES_SERVED = [case for case in CASES if case[0] in SERVED]


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[eventlog.EventLog, Listener]]:
    """A log with a topic, and a listener that asks for rights."""
    with eventlog.open(":memory:") as log:
        log.topic("t", partitions=1)
        with eventlog.kafka.listen(log, acls=True) as kafka:
            yield log, kafka


def codes(answer: Any) -> set[int]:
    """All error codes of an answer."""
    if isinstance(answer, dict):
        own = {value for name, value in answer.items() if name in ("error_code", "partition_error_code")}
        return own.union(*map(codes, answer.values()))
    if isinstance(answer, list):
        return set().union(*map(codes, answer))
    return set()


def asked(kafka: Listener, key: ApiKey, version: int, body: dict[str, Any]) -> set[int]:
    known = kafka.log.topic("t").uuid
    with Wire(kafka) as wire:
        return codes(wire.ask(key, version, with_id(body, known)))


def with_id(body: Any, known: UUID) -> Any:
    """A body with the id of the topic."""
    if isinstance(body, dict):
        return {name: with_id(value, known) for name, value in body.items()}
    if isinstance(body, list):
        return [with_id(one, known) for one in body]
    return known if body == ID_OF_T else body


def test_every_api_has_a_guard_and_a_case() -> None:
    """What is served without one would be refused to everybody, or allowed to everybody by mistake."""
    assert {key for key in SERVED if key not in GUARDS} == set()
    free = {key for key in SERVED if GUARDS[key] is let_through}
    assert free == {ApiKey.API_VERSIONS, ApiKey.SASL_HANDSHAKE, ApiKey.SASL_AUTHENTICATE}
    assert set(SERVED) - free - SHOWING - {case[0] for case in CASES} == set()


@pytest.mark.parametrize(
    ("key", "version", "body", "refused", "rights"), CASES_SERVED, ids=lambda one: getattr(one, "name", "")
)
def test_an_api_needs_its_rights_and_no_others(
    shared: tuple[eventlog.EventLog, Listener],
    key: ApiKey,
    version: int,
    body: dict[str, Any],
    refused: set[int],
    rights: list[Acl],
) -> None:
    """All of them: with one missing something is refused, and with all nothing is."""
    log, kafka = shared
    acls = Acls(log)
    assert asked(kafka, key, version, body) - {0} == refused
    for missing in rights if len(rights) > 1 else []:
        some = [one for one in rights if one is not missing]
        acls.add(*some)
        assert asked(kafka, key, version, body) & REFUSALS, f"{missing} is not needed"
        acls.remove(*some)
    if rights:
        acls.add(*rights)
        assert not asked(kafka, key, version, body) & REFUSALS
    acls.remove(*acls.list())


def test_what_is_allowed_goes_on_beside_what_is_not(shared: tuple[eventlog.EventLog, Listener]) -> None:
    """Each topic of a request has an answer of its own, and the others are served."""
    log, kafka = shared
    log.topic("hidden")
    Acls(log).add(topic("describe"))
    names = [{"name": name} for name in ("t", "hidden", "absent")]
    with Wire(kafka) as wire:
        found = wire.ask(ApiKey.METADATA, 9, {"topics": names, "allow_auto_topic_creation": False})["topics"]
        assert {one["name"]: one["error_code"] for one in found} == {"t": 0, "hidden": TOPIC, "absent": TOPIC}
        found = wire.ask(ApiKey.METADATA, 9, {"topics": None, "include_topic_authorized_operations": True})["topics"]
        assert [(one["name"], one["topic_authorized_operations"]) for one in found] == [("t", 1 << 8)]
        body = {"response_partition_limit": 9}
        found = wire.ask(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, {**body, "topics": []})["topics"]
        assert [(one["name"], one["topic_authorized_operations"]) for one in found] == [("t", 1 << 8)]
        found = wire.ask(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, {**body, "topics": [{"name": "hidden"}]})["topics"]
        assert [(one["name"], one["error_code"]) for one in found] == [("hidden", TOPIC)]
        found = wire.ask(ApiKey.METADATA, 0, {"topics": [{"name": "hidden"}]})["topics"]
        assert [(one["name"], one["error_code"]) for one in found] == [("hidden", TOPIC)]
    Acls(log).remove(topic("describe"))


def test_an_id_does_not_tell_the_name(shared: tuple[eventlog.EventLog, Listener]) -> None:
    """Whoever may not describe a topic does not learn its name by its id."""
    log, kafka = shared
    uuid: UUID = log.topic("t").uuid
    with Wire(kafka) as wire:
        (found,) = wire.ask(ApiKey.METADATA, 12, {"topics": [{"topic_id": uuid, "name": None}]})["topics"]
        assert (found["error_code"], found["name"], found["topic_id"]) == (TOPIC, None, uuid)


def test_a_refused_fetch_does_not_wait(shared: tuple[eventlog.EventLog, Listener]) -> None:
    """Also by id; an error is answered at once."""
    log, kafka = shared
    body = {"max_wait_ms": 60_000, "min_bytes": 1, "topics": [{"topic_id": log.topic("t").uuid}]}
    body["topics"][0]["partitions"] = [{"partition": 0}]
    with Wire(kafka) as wire:
        (found,) = wire.ask(ApiKey.FETCH, 13, body)["responses"]
        assert [one["error_code"] for one in found["partitions"]] == [TOPIC]


def test_a_session_of_fetches_ends_with_the_right(shared: tuple[eventlog.EventLog, Listener]) -> None:
    """A request in it names no topic, and is judged for each of the session."""
    log, kafka = shared
    body = {"max_wait_ms": 0, "min_bytes": 1, "session_epoch": 0}
    Acls(log).add(topic("read"))
    with Wire(kafka) as wire:
        answer = wire.ask(ApiKey.FETCH, 11, {**body, "topics": [{"topic": "t", "partitions": [{"partition": 0}]}]})
        assert [one["error_code"] for one in answer["responses"][0]["partitions"]] == [0]
        Acls(log).remove(topic("read"))
        more = {**body, "session_id": answer["session_id"], "session_epoch": 1, "topics": []}
        (found,) = wire.ask(ApiKey.FETCH, 11, more)["responses"]
        assert [one["error_code"] for one in found["partitions"]] == [TOPIC]


def test_a_produce_that_awaits_no_answer_ends_the_connection(shared: tuple[eventlog.EventLog, Listener]) -> None:
    """As in Kafka: there is no other way to say that it was refused."""
    _, kafka = shared
    body = {"acks": 0, "topic_data": [{"name": "t", "partition_data": [{"index": 0, "records": b""}]}]}
    with Wire(kafka) as wire:
        wire.send(ApiKey.PRODUCE, 9, body, is_answered=False)
        assert wire.is_closed()


def test_super_users_may_everything_and_without_rules_the_default_holds(log: eventlog.EventLog) -> None:
    """Denials do not hold for super users."""
    log.topic("t")
    Acls(log).add(Acl("User:*", "all", topic="t", is_denied=True))
    body = {"topics": [{"name": "t"}, {"name": "other"}], "allow_auto_topic_creation": False}
    absent = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    for options, found in (
        ({"super_users": [ME]}, {"t": 0, "other": absent}),
        ({"allow_if_no_acl": True}, {"t": TOPIC, "other": absent}),
        ({}, {"t": TOPIC, "other": TOPIC}),
    ):
        with eventlog.kafka.listen(log, acls=True, **options) as kafka, Wire(kafka) as wire:  # type: ignore[arg-type]
            topics = wire.ask(ApiKey.METADATA, 9, body)["topics"]
            assert {one["name"]: one["error_code"] for one in topics} == found


def test_a_listener_without_rules_has_no_rules_to_show(log: eventlog.EventLog) -> None:
    """As a broker without an authorizer."""
    with eventlog.kafka.listen(log) as kafka:
        disabled = {ErrorCode.SECURITY_DISABLED}
        assert asked(kafka, ApiKey.DESCRIBE_ACLS, 3, RESOURCES) == disabled
        assert asked(kafka, ApiKey.DELETE_ACLS, 3, {"filters": [RESOURCES]}) == disabled
        creations = {"creations": [{**CREATION, "resource_pattern_type": 3, "permission_type": 3}]}
        assert asked(kafka, ApiKey.CREATE_ACLS, 3, creations) == disabled
