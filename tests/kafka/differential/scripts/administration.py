"""Topics, configurations, groups' relatives and the cluster: what administrators ask."""

from __future__ import annotations

from typing import Any

from eventlog.kafka.protocol import NO_UUID, ApiKey
from tests.kafka.differential.record_batches import batch
from tests.kafka.differential.scripts.asking import ILLEGAL_NAMES, UNKNOWN_ID, fill, show
from tests.kafka.differential.talk import Connection, Talk

TOPIC, BROKER, LOGGER, GROUP, CLIENT_METRICS = 2, 4, 8, 32, 16
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3
_ASKED = (
    "cleanup.policy", "retention.bytes", "max.message.bytes", "segment.bytes", "compression.type",
    "message.timestamp.type", "no.such.config",
)  # fmt: skip
_SHOWN = ("cleanup.policy", "retention.ms", "max.message.bytes")


def new(
    name: str, partitions: int = 1, replicas: int = 1, configs: dict[str, str | None] | None = None, **more: Any
) -> Any:
    """A topic to be created."""
    settings = [{"name": key, "value": value} for key, value in (configs or {}).items()]
    return {
        "name": name,
        "num_partitions": partitions,
        "replication_factor": replicas,
        "assignments": [],
        "configs": settings,
        **more,
    }


def topics_created(talk: Talk) -> None:
    """Topics are created, in every version, and refused."""
    connection = talk.connect()
    for version in talk.versions(ApiKey.CREATE_TOPICS, 2):
        name = talk.name(f"t-{version}")
        for label, topics, only in (
            ("to try", [new(name, 3)], True),
            ("one", [new(name, 3)], False),
            ("again", [new(name, 3)], False),
            ("to try again", [new(name)], True),
            ("two", [new(f"{name}-a"), new(f"{name}-b", 2)], False),
            ("one twice", [new(f"{name}-c"), new(f"{name}-c")], False),
            ("none", [], False),
        ):
            body = {"topics": topics, "timeout_ms": 10_000, "validate_only": only}
            connection.ask(label, ApiKey.CREATE_TOPICS, body, version, omit=["configs", "topic_id"])
    for label, topic in {
        "no partitions": new(talk.name("a"), 0),
        "partitions of default": new(talk.name("b"), -1),
        "negative partitions": new(talk.name("c"), -2),
        "replicas of default": new(talk.name("d"), 1, -1),
        "no replicas": new(talk.name("e"), 1, 0),
        "three replicas": new(talk.name("f"), 1, 3),
        "an assignment": new(
            talk.name("g"), -1, -1, assignments=[{"partition_index": number, "broker_ids": [1]} for number in (0, 1)]
        ),
        "an assignment and a count": new(talk.name("h"), 2, 1, assignments=[{"partition_index": 0, "broker_ids": [1]}]),
        "an assignment to a stranger": new(
            talk.name("i"), -1, -1, assignments=[{"partition_index": 0, "broker_ids": [9]}]
        ),
        "an assignment with a gap": new(
            talk.name("j"), -1, -1, assignments=[{"partition_index": 1, "broker_ids": [1]}]
        ),
        "an unknown config": new(talk.name("k"), configs={"no.such.config": "1"}),
        "a wrong value": new(talk.name("l"), configs={"retention.ms": "soon"}),
        "a value out of bounds": new(talk.name("m"), configs={"retention.ms": "-5"}),
        "an unknown policy": new(talk.name("n"), configs={"cleanup.policy": "forget"}),
        "a value of null": new(talk.name("o"), configs={"retention.ms": None}),
        "retention": new(talk.name("p"), configs={"retention.ms": "100000", "cleanup.policy": "delete"}),
        "compaction": new(talk.name("q"), configs={"cleanup.policy": "compact"}),
        "both policies": new(talk.name("r"), configs={"cleanup.policy": "compact,delete"}),
        "many partitions": new(talk.name("s"), 2_000_000_000),
        **{f"topic {name[:20]!r}": new(name) for name in ILLEGAL_NAMES},
        "a name that collides": new(talk.name("t_7")),
        "and another": new(talk.name("t.7")),
    }.items():
        body = {"topics": [topic], "timeout_ms": 10_000, "validate_only": False}
        connection.ask(label, ApiKey.CREATE_TOPICS, body, omit=["configs", "topic_id"])
    talk.topic("barrier")
    for name in ("o", "p", "q", "r"):
        asked = [{"resource_type": TOPIC, "resource_name": talk.name(name), "configuration_keys": _ASKED[:2]}]
        connection.ask(f"configs of {name}", ApiKey.DESCRIBE_CONFIGS, {"resources": asked}, omit=["synonyms"])


def topics_deleted(talk: Talk) -> None:
    """Topics are deleted by name and by id, and are gone."""
    talk.needs(ApiKey.DELETE_TOPICS)
    connection = talk.connect()
    for version in talk.versions(ApiKey.DELETE_TOPICS, 1, 5):
        name = talk.topic(f"t-{version}")[0]
        body = {"topic_names": [name], "timeout_ms": 10_000}
        connection.ask("one", ApiKey.DELETE_TOPICS, body, version)
        _wait_until_gone(talk, connection, name)
        connection.ask("again", ApiKey.DELETE_TOPICS, body, version)
        connection.ask("none", ApiKey.DELETE_TOPICS, {"topic_names": [], "timeout_ms": 10_000}, version)
    for version in talk.versions(ApiKey.DELETE_TOPICS, 6):
        for label, by_id in (("by name", False), ("by id", True)):
            name, topic_id = talk.topic(f"{label[3:]}-{version}")
            asked = {"name": None if by_id else name, "topic_id": topic_id if by_id else NO_UUID}
            body = {"topics": [asked], "timeout_ms": 10_000}
            connection.ask(label, ApiKey.DELETE_TOPICS, body, version)
            _wait_until_gone(talk, connection, name)
            connection.ask(f"{label} again", ApiKey.DELETE_TOPICS, body, version)
    kept, kept_id = talk.topic("kept")
    for label, topics in {
        "a name and an id": [{"name": kept, "topic_id": kept_id}],
        "neither": [{"name": None, "topic_id": NO_UUID}],
        "an unknown id": [{"name": None, "topic_id": UNKNOWN_ID}],
        "illegal": [{"name": "a/b", "topic_id": NO_UUID}],
        "no name": [{"name": "", "topic_id": NO_UUID}],
        "one twice": [{"name": kept, "topic_id": NO_UUID}] * 2,
        "one by name and by id": [{"name": kept, "topic_id": NO_UUID}, {"name": None, "topic_id": kept_id}],
    }.items():
        connection.ask(label, ApiKey.DELETE_TOPICS, {"topics": topics, "timeout_ms": 10_000})


def _wait_until_gone(talk: Talk, connection: Connection, name: str) -> None:
    asked = {"topics": [{"name": name, "topic_id": NO_UUID}], "allow_auto_topic_creation": False}
    talk.wait_for(lambda: connection.quietly(ApiKey.METADATA, asked)["topics"][0]["error_code"])


def partitions_created(talk: Talk) -> None:
    """Partitions are added, and never taken away."""
    talk.needs(ApiKey.CREATE_PARTITIONS)
    connection = talk.connect()
    for version in talk.versions(ApiKey.CREATE_PARTITIONS):
        topic, _ = talk.topic(f"t-{version}")
        for label, name, count, only, assigned in (
            ("to try", topic, 4, True, None),
            ("two more", topic, 4, False, None),
            ("as many", topic, 4, False, None),
            ("fewer", topic, 3, False, None),
            ("none", topic, 0, False, None),
            ("a negative count", topic, -1, False, None),
            ("an unknown topic", talk.name("nowhere"), 3, False, None),
            ("an illegal topic", "a/b", 3, False, None),
            ("assigned", topic, 5, False, [[1]]),
            ("assigned to a stranger", topic, 6, False, [[9]]),
            ("assigned to too few", topic, 8, False, [[1]]),
        ):
            lists = None if assigned is None else [{"broker_ids": brokers} for brokers in assigned]
            one = {"name": name, "count": count, "assignments": lists}
            body = {"topics": [one], "timeout_ms": 10_000, "validate_only": only}
            connection.ask(label, ApiKey.CREATE_PARTITIONS, body, version)
        quiet = {"topics": [{"name": topic, "topic_id": NO_UUID}], "allow_auto_topic_creation": False}
        talk.wait_for(
            lambda quiet=quiet: len(connection.quietly(ApiKey.METADATA, quiet)["topics"][0]["partitions"]) == 5
        )
    topic, _ = talk.topic("twice")
    one = {"name": topic, "count": 3, "assignments": None}
    body = {"topics": [one, one], "timeout_ms": 10_000, "validate_only": False}
    connection.ask("a topic twice", ApiKey.CREATE_PARTITIONS, body)


def configs(talk: Talk) -> None:
    """Configurations are described and altered."""
    talk.needs(ApiKey.DESCRIBE_CONFIGS, ApiKey.INCREMENTAL_ALTER_CONFIGS)
    topic, _ = talk.topic("t", retention_ms="100000")
    connection = talk.connect()
    for label, kind, name, keys in (
        ("a topic", TOPIC, topic, list(_ASKED)),
        ("one key", TOPIC, topic, ["retention.ms"]),
        ("no key", TOPIC, topic, []),
        ("an unknown topic", TOPIC, talk.name("nowhere"), None),
        ("an illegal topic", TOPIC, "a/b", None),
        ("no topic", TOPIC, "", None),
        ("the broker", BROKER, "1", ["message.max.bytes", "node.id"]),
        ("another broker", BROKER, "9", ["message.max.bytes"]),
        ("no number", BROKER, "one", ["message.max.bytes"]),
        ("an unknown kind", 77, "x", None),
    ):
        asked = [{"resource_type": kind, "resource_name": name, "configuration_keys": keys}]
        body = {"resources": asked, "include_synonyms": False, "include_documentation": False}
        connection.ask_all(label, ApiKey.DESCRIBE_CONFIGS, lambda _, body=body: body, 1)
    for number, (label, name, changes) in enumerate((
        ("set", topic, [("retention.ms", SET, "200000")]),
        ("set two", topic, [("retention.ms", SET, "300000"), ("max.message.bytes", SET, "2000")]),
        ("set to what it is", topic, [("retention.ms", SET, "300000")]),
        ("delete", topic, [("max.message.bytes", DELETE, None)]),
        ("delete what is not set", topic, [("segment.bytes", DELETE, None)]),
        ("append", topic, [("cleanup.policy", APPEND, "compact")]),
        ("append again", topic, [("cleanup.policy", APPEND, "compact")]),
        ("subtract", topic, [("cleanup.policy", SUBTRACT, "compact")]),
        ("append to a number", topic, [("retention.ms", APPEND, "1")]),
        ("set a wrong value", topic, [("retention.ms", SET, "soon")]),
        ("set a value out of bounds", topic, [("retention.ms", SET, "-7")]),
        ("set to null", topic, [("retention.ms", SET, None)]),
        ("set what is unknown", topic, [("no.such.config", SET, "1")]),
        ("one of two is wrong", topic, [("retention.ms", SET, "400000"), ("cleanup.policy", SET, "forget")]),
        ("one key twice", topic, [("retention.ms", SET, "5"), ("retention.ms", SET, "6")]),
        ("an unknown topic", talk.name("nowhere"), [("retention.ms", SET, "1")]),
        ("an unknown operation", topic, [("retention.ms", 9, "1")]),
        ("nothing", topic, []),
    )):  # fmt: skip
        told = [{"name": key, "config_operation": act, "value": value} for key, act, value in changes]
        resources = [{"resource_type": TOPIC, "resource_name": name, "configs": told}]
        body = {"resources": resources, "validate_only": False}
        connection.ask(f"{label}, to try", ApiKey.INCREMENTAL_ALTER_CONFIGS, {**body, "validate_only": True})
        connection.ask(label, ApiKey.INCREMENTAL_ALTER_CONFIGS, body)
        asked = [{"resource_type": TOPIC, "resource_name": topic, "configuration_keys": [*_SHOWN]}]
        talk.topic(f"barrier-{number}")  # Kafka tells the broker of both in this order
        connection.ask(f"after {label}", ApiKey.DESCRIBE_CONFIGS, {"resources": asked})
    for version in talk.versions(ApiKey.ALTER_CONFIGS):
        told = [{"name": "retention.ms", "value": "700000"}]
        body = {
            "resources": [{"resource_type": TOPIC, "resource_name": topic, "configs": told}],
            "validate_only": False,
        }
        connection.ask("replace all", ApiKey.ALTER_CONFIGS, body, version)
    talk.topic("barrier")
    connection.ask("in the end", ApiKey.DESCRIBE_CONFIGS, {"resources": asked})


def cluster(talk: Talk) -> None:
    """The cluster: its nodes, and what lies on them."""
    topic, _ = talk.topic("t")
    fill(talk, topic, batch(b"a"))
    connection = talk.connect()
    for operations in (False, True):
        body = {"include_cluster_authorized_operations": operations, "endpoint_type": 1}
        connection.ask_all(f"operations {operations}", ApiKey.DESCRIBE_CLUSTER, lambda _, body=body: body)
    for kind in (2, 9):
        body = {"include_cluster_authorized_operations": False, "endpoint_type": kind}
        connection.ask_all(f"endpoints of kind {kind}", ApiKey.DESCRIBE_CLUSTER, lambda _, body=body: body, 1)
    sizes = ("total_bytes", "usable_bytes", "partition_size")
    for label, topics in {
        "a topic": [{"topic": topic, "partitions": [0, 1]}],
        "a partition": [{"topic": topic, "partitions": [0]}],
        "an unknown one": [{"topic": talk.name("nowhere"), "partitions": [0]}],
        "none": [],
    }.items():
        body = {"topics": topics}
        connection.ask_all(label, ApiKey.DESCRIBE_LOG_DIRS, lambda _, body=body: body, 1, omit=sizes)


def quorum(talk: Talk) -> None:
    """Who keeps the metadata: one voter."""
    connection = talk.connect()
    varied = ("high_watermark", "log_end_offset", "last_fetch_timestamp", "last_caught_up_timestamp")
    for label, topics in {
        "the metadata": [("__cluster_metadata", [0])],
        "another partition": [("__cluster_metadata", [1])],
        "two partitions": [("__cluster_metadata", [0, 1])],
        "another topic": [(talk.name("t"), [0])],
        "two topics": [("__cluster_metadata", [0]), (talk.name("t"), [0])],
        "nothing": [],
    }.items():
        asked = [
            {"topic_name": name, "partitions": [{"partition_index": one} for one in all_]} for name, all_ in topics
        ]
        body = {"topics": asked}
        connection.ask_all(label, ApiKey.DESCRIBE_QUORUM, lambda _, body=body: body, omit=varied)


def leaders(talk: Talk) -> None:
    """Elections and reassignments: there is nobody else."""
    topic, _ = talk.topic("t")
    connection = talk.connect()
    for label, kind, parts in (
        ("a preferred one", 0, [{"topic": topic, "partitions": [0]}]),
        ("an unclean one", 1, [{"topic": topic, "partitions": [0]}]),
        ("of an unknown partition", 0, [{"topic": topic, "partitions": [9]}]),
        ("of an unknown topic", 0, [{"topic": talk.name("nowhere"), "partitions": [0]}]),
        ("of none", 0, []),
        ("of an unknown kind", 7, [{"topic": topic, "partitions": [0]}]),
    ):
        body = {"election_type": kind, "topic_partitions": parts, "timeout_ms": 10_000}
        connection.ask_all(label, ApiKey.ELECT_LEADERS, lambda _, body=body: body, 0 if not kind else 1)
    connection = talk.connect()
    for label, name, part, replicas in (
        ("to itself", topic, 0, [1]),
        ("to a stranger", topic, 0, [9]),
        ("to nobody", topic, 0, []),
        ("cancelled", topic, 0, None),
        ("of an unknown partition", topic, 9, [1]),
        ("of an unknown topic", talk.name("nowhere"), 0, [1]),
    ):
        topics = [{"name": name, "partitions": [{"partition_index": part, "replicas": replicas}]}]
        body = {"timeout_ms": 10_000, "topics": topics}
        connection.ask(label, ApiKey.ALTER_PARTITION_REASSIGNMENTS, body)
    for label, asked in {
        "all": None,
        "a topic": [{"name": topic, "partition_indexes": [0, 9]}],
        "an unknown topic": [{"name": talk.name("nowhere"), "partition_indexes": [0]}],
        "none": [],
    }.items():
        connection.ask(label, ApiKey.LIST_PARTITION_REASSIGNMENTS, {"timeout_ms": 10_000, "topics": asked})


def topic_partitions(talk: Talk) -> None:
    """Partitions of topics, page by page."""
    names = [talk.topic(f"t{number}", partitions=3)[0] for number in range(2)]
    connection = talk.connect()
    both = [{"name": name} for name in names]
    for label, body in {
        "both": {"topics": both},
        "other order": {"topics": both[::-1]},
        "two partitions": {"topics": both, "response_partition_limit": 2},
        "four partitions": {"topics": both, "response_partition_limit": 4},
        "from a place on": {"topics": both, "cursor": {"topic_name": names[0], "partition_index": 2}},
        "from the second on": {"topics": both, "cursor": {"topic_name": names[1], "partition_index": 0}},
        "an unknown topic": {"topics": [{"name": talk.name("nowhere")}]},
        "an illegal topic": {"topics": [{"name": "a/b"}]},
        "a topic twice": {"topics": both[:1] * 2},
        "no partitions": {"topics": both, "response_partition_limit": 0},
        "a negative place": {"topics": both, "cursor": {"topic_name": names[0], "partition_index": -1}},
    }.items():
        body = {"response_partition_limit": 2000, "cursor": None, **body}
        connection.ask(label, ApiKey.DESCRIBE_TOPIC_PARTITIONS, body)


def after_deletion(talk: Talk) -> None:
    """A topic that is made again is another one, and empty."""
    talk.needs(ApiKey.DELETE_TOPICS)
    name, old = talk.topic("t")
    fill(talk, name, batch(b"a"))
    connection = talk.connect()
    body = {"topics": [{"name": name, "topic_id": NO_UUID}], "timeout_ms": 10_000}
    connection.ask("delete", ApiKey.DELETE_TOPICS, body)
    _wait_until_gone(talk, connection, name)
    quiet = {"topics": [{"name": name, "topic_id": NO_UUID}], "allow_auto_topic_creation": False}
    connection.ask("described when it is gone", ApiKey.METADATA, quiet)
    _, new_id = talk.topic("t")
    talk.note("its id is another", ApiKey.METADATA, 12, {"is_another": old != new_id})
    show(connection, "made again", name)
    quiet = {"topics": [{"name": None, "topic_id": old}], "allow_auto_topic_creation": False}
    connection.ask("described by its old id", ApiKey.METADATA, quiet)
