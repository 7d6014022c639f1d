"""
DescribeConfigs and ListConfigResources: the configs of topics and of groups, and those of this node.

A topic has every config of Kafka's, with the default where nobody has set it. Those of the node are the options of the
listener under Kafka's names, and cannot be altered by a request.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from eventlog.errors import EventLogError, InvalidTopicName
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.admin.configs import CONFIGS, configs_of, message_of
from eventlog.kafka.admin.group_configs import configured_groups, group_configs
from eventlog.kafka.listener.config_values import BOOLEAN, INT, LIST, LONG, STRING, refused
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.listener.slices import in_slices
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.options import MAX_METADATA_BYTES, MAX_RECORD_BYTES, check_topic_name

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
"""Kafka's numbers for the kinds of resources that have configs."""
_SET_FOR_TOPIC: Final = 1
_SET_FOR_NODE: Final = 4
_DEFAULT: Final = 5


@in_slices("resources", "results")
def describe_configs(broker: Broker, request: Request) -> dict[str, Any]:
    """Describe the configs of topics, of groups and of this node."""
    has_synonyms = request.body["include_synonyms"]
    return {"results": [_described(broker, each, has_synonyms=has_synonyms) for each in request.body["resources"]]}


def _described(broker: Broker, asked: dict[str, Any], *, has_synonyms: bool) -> dict[str, Any]:
    kind, name = asked["resource_type"], asked["resource_name"]
    answer = {"resource_type": kind, "resource_name": name, "error_code": ErrorCode.NONE, "error_message": ""}
    try:
        if kind == TOPIC:
            configs = described_configs(topic_named(broker, name), has_synonyms=has_synonyms)
        elif kind == BROKER:
            check_node(broker, name)
            configs = _of_node(broker) if name else []
        elif kind == BROKER_LOGGER:
            check_node(broker, name)
            configs = []
        elif kind == GROUP:
            configs = group_configs(broker, name, has_synonyms=has_synonyms)
        else:
            raise refused(f"Resources of the kind {kind} have no configs here.", "INVALID_REQUEST")
    except unless_interrupted(EventLogError) as error:
        return {**answer, "error_code": code_of(error), "error_message": message_of(error), "configs": []}
    asked_for: Collection[str] | None = asked["configuration_keys"]
    if asked_for:
        configs = [config for config in configs if config["name"] in asked_for]
    return {**answer, "configs": configs}


def list_config_resources(broker: Broker, request: Request) -> dict[str, Any]:
    """List what has configs, of some kinds or of all; the first version asks for client metrics, which have none."""
    kinds: Collection[int] = request.body["resource_types"]
    if request.version == 0:
        kinds = (CLIENT_METRICS,)
    if not set(kinds) <= {TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP}:
        return {"error_code": ErrorCode.UNSUPPORTED_VERSION, "config_resources": []}
    nodes = [str(node["node_id"]) for node in broker.nodes()]
    topics = [topic.name for topic in broker.backend.topics()]
    named = {GROUP: configured_groups(broker), BROKER_LOGGER: nodes, BROKER: nodes, TOPIC: topics}
    return {
        "error_code": ErrorCode.NONE,
        "config_resources": [
            {"resource_name": name, "resource_type": kind}
            for kind, names in named.items()
            if not kinds or kind in kinds
            for name in names
        ],
    }


def topic_named(broker: Broker, name: str) -> StoredTopic:
    """The topic whose configs a request is about."""
    try:
        check_topic_name(name)
    except unless_interrupted(InvalidTopicName) as error:
        raise refused(error.what, "INVALID_TOPIC_EXCEPTION") from error
    topic = broker.backend.topic(name)
    if topic is None:
        raise refused(f"The topic {name!r} does not exist.", "UNKNOWN_TOPIC_OR_PARTITION")
    return topic


def check_node(broker: Broker, name: str) -> None:
    """Raise an error for a node that is not this one; without a name it is about all nodes."""
    if name and name != str(broker.node_id):
        raise refused(f"This is broker {broker.node_id}, and the request is for {name!r}.", "INVALID_REQUEST")


def described_configs(topic: StoredTopic, *, has_synonyms: bool = False) -> list[dict[str, Any]]:
    """All configs of a topic, as DescribeConfigs and CreateTopics answer them."""
    explicit = configs_of(topic)
    return [
        _shown(name, config.type, explicit.get(name), config.default, has_synonyms=has_synonyms)
        for name, config in CONFIGS.items()
    ]


def _shown(name: str, kind: int, value: str | None, default: str, *, has_synonyms: bool) -> dict[str, Any]:
    synonyms = []
    if has_synonyms:
        synonyms = [{"name": name, "value": default, "source": _DEFAULT}]
        if value is not None:
            synonyms.insert(0, {"name": name, "value": value, "source": _SET_FOR_TOPIC})
    return {
        "name": name,
        "value": default if value is None else value,
        "read_only": False,
        "config_source": _DEFAULT if value is None else _SET_FOR_TOPIC,
        "is_sensitive": False,
        "synonyms": synonyms,
        "config_type": kind,
        "documentation": None,
    }


def _of_node(broker: Broker) -> list[dict[str, Any]]:
    host, port = broker.address
    options = broker.options
    values: Mapping[str, tuple[int, object]] = {
        "advertised.listeners": (LIST, f"PLAINTEXT://{host}:{port}"),
        "auto.create.topics.enable": (BOOLEAN, options.auto_create_topics),
        "broker.id": (INT, broker.node_id),
        "connections.max.idle.ms": (LONG, round(options.idle_timeout * 1000)),
        "default.replication.factor": (INT, 1),
        "delete.topic.enable": (BOOLEAN, True),
        "group.initial.rebalance.delay.ms": (INT, round(options.rebalance_delay * 1000)),
        "log.cleanup.policy": (LIST, "delete"),
        "log.retention.bytes": (LONG, -1),
        "log.retention.ms": (LONG, -1),
        "max.connections": (INT, options.max_connections),
        "message.max.bytes": (INT, MAX_RECORD_BYTES),
        "min.insync.replicas": (INT, 1),
        "node.id": (INT, broker.node_id),
        "num.partitions": (INT, options.partitions),
        "offset.metadata.max.bytes": (INT, MAX_METADATA_BYTES),
        "process.roles": (LIST, "broker,controller"),
        "socket.request.max.bytes": (INT, options.max_request_bytes),
        "compression.type": (STRING, "producer"),
    }
    return [
        {
            "name": name,
            "value": str(value).lower() if isinstance(value, bool) else str(value),
            "read_only": True,
            "config_source": _SET_FOR_NODE,
            "is_sensitive": False,
            "synonyms": [],
            "config_type": kind,
            "documentation": None,
        }
        for name, (kind, value) in sorted(values.items())
    ]
