"""
The page docs/reference/kafka.md, made from the table of the listener's APIs.

`python -m tests.docs.kafka_page` writes it; `test_kafka_page.py` fails when it is not what this would write.
"""

from __future__ import annotations

from pathlib import Path

from eventlog.kafka.listener.apis import TABLE
from eventlog.kafka.listener.failures import CODES
from eventlog.kafka.protocol import APIS, ApiKey

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "kafka.md"
HEAD = """\
# Kafka's protocol

The requests that a [listener](../how-to/one-host-kafka.md) serves, in which versions, and its errors.
This page is generated: a test compares it with the code.

## APIs

A client asks for this table with ApiVersions, and takes the highest version that both know.
An API that is not here closes the connection, as Kafka does, and so does a version that is not.
ApiVersions alone answers a version that is too high with the table (KIP-511).

| key | API | versions | of Kafka 4 |
| ---: | --- | --- | --- |
"""
NOT_SERVED = {
    "groups of Kafka Streams (KIP-1071)": (
        "STREAMS_GROUP_HEARTBEAT STREAMS_GROUP_DESCRIBE STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE"
    ),
    "delegation tokens": (
        "CREATE_DELEGATION_TOKEN RENEW_DELEGATION_TOKEN EXPIRE_DELEGATION_TOKEN DESCRIBE_DELEGATION_TOKEN"
    ),
    "setting quotas": "ALTER_CLIENT_QUOTAS",
    "metrics of clients (KIP-714)": "GET_TELEMETRY_SUBSCRIPTIONS PUSH_TELEMETRY",
    "administration of a cluster": (
        "ALTER_REPLICA_LOG_DIRS UPDATE_FEATURES UNREGISTER_BROKER UNREGISTER_CONTROLLER "
        "ADD_RAFT_VOTER REMOVE_RAFT_VOTER"
    ),
    "brokers and controllers among themselves": (
        "WRITE_TXN_MARKERS VOTE BEGIN_QUORUM_EPOCH END_QUORUM_EPOCH ALTER_PARTITION ENVELOPE FETCH_SNAPSHOT "
        "BROKER_REGISTRATION BROKER_HEARTBEAT ALLOCATE_PRODUCER_IDS CONTROLLER_REGISTRATION ASSIGN_REPLICAS_TO_DIRS "
        "UPDATE_RAFT_VOTER INITIALIZE_SHARE_GROUP_STATE READ_SHARE_GROUP_STATE WRITE_SHARE_GROUP_STATE "
        "DELETE_SHARE_GROUP_STATE READ_SHARE_GROUP_STATE_SUMMARY"
    ),
}
"""What the APIs of Kafka are for that no listener serves."""
NOT_SERVED_HEAD = """
## Not served

Clients see in ApiVersions that these are not there: Kafka's own say `UnsupportedVersionException`, librdkafka says that the broker lacks the feature.

| what for | APIs |
| --- | --- |
"""  # noqa: E501 - one line for each sentence
ERRORS = """
## Errors

Each error of the engine has one of Kafka's codes in answers. A class stands for those that descend from it.
Any other error is UNKNOWN_SERVER_ERROR, and a line in Python's log with its traceback.

| error | code |
| --- | --- |
"""


def page() -> str:
    """The whole page."""
    rows = []
    for api in sorted(TABLE, key=lambda one: one.key):
        known = APIS[api.key]
        rows.append(f"| {int(api.key)} | {known.name} | {api.least}-{api.most} | {known.first}-{known.last} |\n")
    errors = sorted((kind.__name__, code.name) for kind, code in CODES.items())
    return HEAD + "".join(rows) + _not_served() + ERRORS + "".join(f"| `{name}` | {code} |\n" for name, code in errors)


def _not_served() -> str:
    served = {api.key for api in TABLE}
    told = [ApiKey[name] for names in NOT_SERVED.values() for name in names.split()]
    assert sorted(told) == sorted(set(APIS) - served), "NOT_SERVED has each API that no listener serves once"
    rows = ((what, ", ".join(APIS[ApiKey[name]].name for name in names.split())) for what, names in NOT_SERVED.items())
    return NOT_SERVED_HEAD + "".join(f"| {what} | {names} |\n" for what, names in rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
