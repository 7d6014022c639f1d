"""
CreateTopics, DeleteTopics and CreatePartitions.

Each topic of a request is judged alone. A topic has one replica, on this node, whatever factor is asked for: programs
that were written for a cluster create their topics here too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from eventlog.backend.topics import DUPLICATE_WINDOW_MS, NewTopic, StoredTopic, TopicChanges
from eventlog.clients.topic_handle import check_library
from eventlog.errors import EventLogError, InvalidTopicName, MissingLibrary
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.admin.configs import check_config, check_together, configs_of, message_of, options_of
from eventlog.kafka.admin.describing import described_configs
from eventlog.kafka.listener.config_values import refused
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.protocol import NO_UUID
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.options import MAX_PARTITIONS, check_topic_name

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_BYTES: Final[dict[str, object]] = {"name": "bytes"}
_MSGPACK: Final[dict[str, object]] = {"name": "msgpack"}
_OF_KAFKA: Final = ("__cluster_metadata", "__consumer_offsets", "__share_group_state", "__transaction_state")
_NAME: Final = "INVALID_TOPIC_EXCEPTION"
_FIRST_WITH_IDS: Final = 6
"""The first version of DeleteTopics that may name topics by their ids."""


def create_topics(broker: Broker, request: Request) -> Awaitable[dict[str, Any]]:
    """Create topics, or only say whether they could be."""
    return broker.call(partial(_create_topics, broker, request.body))


def _create_topics(broker: Broker, body: dict[str, Any]) -> dict[str, Any]:
    asked = body["topics"]
    counts = Counter(topic["name"] for topic in asked)
    create = partial(_created, broker, is_dry=body["validate_only"])
    results = []
    for topic in {topic["name"]: topic for topic in asked}.values():
        name = topic["name"]
        if counts[name] > 1:
            results.append({"name": name, **_failed(_twice()), **_UNKNOWN})
        else:
            results.append({"name": name, **_judged(partial(create, topic), _UNKNOWN)})
    return {"topics": results}


_UNKNOWN: Final = {"num_partitions": -1, "replication_factor": -1, "configs": []}


def _judged(do: Callable[[], dict[str, Any]], otherwise: dict[str, Any]) -> dict[str, Any]:
    """What became of one part of a request."""
    try:
        return {"error_code": ErrorCode.NONE, "error_message": None, **do()}
    except unless_interrupted(EventLogError) as error:
        return {**_failed(error), **otherwise}


def _twice() -> EventLogError:
    return refused("The request names this topic twice.", "INVALID_REQUEST")


def _failed(error: EventLogError) -> dict[str, Any]:
    return {"error_code": code_of(error), "error_message": message_of(error)}


def _created(broker: Broker, asked: dict[str, Any], *, is_dry: bool) -> dict[str, Any]:
    name = asked["name"]
    _check_name(name)
    if broker.backend.topic(name) is not None:
        raise refused(f"Topic {name!r} already exists.", "TOPIC_ALREADY_EXISTS")
    partitions = _partitions_asked(broker, asked)
    configs = {each["name"]: check_config(each["name"], each["value"]) for each in asked["configs"]}
    new = _new_topic(name, partitions, configs)
    if is_dry:
        topic = StoredTopic(id=0, uuid=uuid4(), created_ms=0, **new._asdict())
    else:
        topic = broker.backend.ensure_topic(new)
        keep_clean(broker, topic)
    return {
        "topic_id": topic.uuid,
        "num_partitions": topic.partitions,
        "replication_factor": 1,
        "configs": described_configs(topic),
    }


def _check_name(name: str) -> None:
    try:
        check_topic_name(name)
    except unless_interrupted(InvalidTopicName) as error:
        raise refused(error.what, _NAME) from error
    if name in _OF_KAFKA:
        raise refused(
            f"Topic {name!r} is Kafka's own, and this log keeps in other tables what Kafka keeps there.", _NAME
        )


def _new_topic(name: str, partitions: int, configs: dict[str, str]) -> NewTopic:
    check_together(configs)
    options = options_of(configs, partitions)
    return NewTopic(
        name,
        partitions,
        _BYTES,
        _BYTES,
        "crc32",
        options.max_record_bytes,
        None,
        DUPLICATE_WINDOW_MS,
        _MSGPACK,
        options.retention,
        usable_compression(options.compression),
        options.compaction,
        tuple(sorted(configs.items())),
    )


def usable_compression(compression: str | None) -> str | None:
    """The compression of what native programs append, where its library is installed."""
    if compression is None:
        return None
    try:
        check_library(compression, "compress a topic")
    except unless_interrupted(MissingLibrary):
        return None
    return compression


def keep_clean(broker: Broker, topic: StoredTopic) -> None:
    """Have the cleaner look at a topic that has something to be deleted or compacted."""
    if broker.log._topics._cleans and topic.is_cleaned:
        broker.backend.keep_clean()


def _partitions_asked(broker: Broker, asked: dict[str, Any]) -> int:
    """How many partitions a new topic is to have."""
    count, factor = asked["num_partitions"], asked["replication_factor"]
    if asked["assignments"]:
        return _assigned(broker, asked)
    if factor < -1 or factor == 0:
        why = f"The replication factor is at least 1, or -1 for the default, not {factor}."
        raise refused(why, "INVALID_REPLICATION_FACTOR")
    if count == -1:
        return broker.options.partitions
    if count < 1:
        raise refused(
            f"The number of partitions is at least 1, or -1 for the default, not {count}.", "INVALID_PARTITIONS"
        )
    _check_most(count)
    return int(count)


def _check_most(count: int) -> None:
    if count > MAX_PARTITIONS:
        raise refused(f"{count} partitions are more than {MAX_PARTITIONS}.", "POLICY_VIOLATION")


def _assigned(broker: Broker, asked: dict[str, Any]) -> int:
    if asked["num_partitions"] != -1:
        why = "Where the replicas are assigned, the number of partitions is -1."
        raise refused(why, "INVALID_REQUEST")
    if asked["replication_factor"] != -1:
        why = "Where the replicas are assigned, the replication factor is -1."
        raise refused(why, "INVALID_REQUEST")
    assignments = asked["assignments"]
    if sorted(each["partition_index"] for each in assignments) != list(range(len(assignments))):
        raise refused("The partitions are not numbered from 0 on, one after another.", "INVALID_REPLICA_ASSIGNMENT")
    for each in assignments:
        check_replicas(broker, each["broker_ids"])
    _check_most(len(assignments))
    return len(assignments)


def check_replicas(broker: Broker, replicas: Sequence[int]) -> None:
    """Raise an error for replicas that no partition can have."""
    known = {node["node_id"] for node in broker.nodes()}
    why = None
    if not replicas:
        why = "An assignment has no replica."
    elif len(set(replicas)) < len(replicas):
        why = f"The assignment {list(replicas)} names a broker twice."
    elif unknown := set(replicas) - known:
        why = f"The assignment {list(replicas)} names broker {min(unknown)}, and there is none."
    if why is not None:
        raise refused(why, "INVALID_REPLICA_ASSIGNMENT")


# --- CreatePartitions -------------------------------------------------------------------------------------------------


def create_partitions(broker: Broker, request: Request) -> Awaitable[dict[str, Any]]:
    """Raise the numbers of topics' partitions, or only say whether they could be."""
    return broker.call(partial(_create_partitions, broker, request.body))


def _create_partitions(broker: Broker, body: dict[str, Any]) -> dict[str, Any]:
    counts = Counter(topic["name"] for topic in body["topics"])
    raise_count = partial(_raised, broker, is_dry=body["validate_only"])
    results = []
    for topic in {topic["name"]: topic for topic in body["topics"]}.values():
        name = topic["name"]
        if counts[name] > 1:
            results.append({"name": name, **_failed(_twice())})
        else:
            results.append({"name": name, **_judged(partial(raise_count, topic), {})})
    return {"results": results}


def _raised(broker: Broker, asked: dict[str, Any], *, is_dry: bool) -> dict[str, Any]:
    topic = broker.backend.topic(asked["name"])
    if topic is None:
        raise refused("There is no such topic.", "UNKNOWN_TOPIC_OR_PARTITION")
    count = asked["count"]
    if count == topic.partitions:
        raise refused(f"Topic {topic.name!r} has {count} partitions already.", "INVALID_PARTITIONS")
    if count < topic.partitions:
        why = f"Topic {topic.name!r} has {topic.partitions} partitions, and none is ever removed: {count} are fewer."
        raise refused(why, "INVALID_PARTITIONS")
    _check_most(count)
    if asked["assignments"] is not None:
        more = count - topic.partitions
        if len(asked["assignments"]) != more:
            why = f"{more} partitions are to be added, and {len(asked['assignments'])} are assigned."
            raise refused(why, "INVALID_REPLICA_ASSIGNMENT")
        for each in asked["assignments"]:
            check_replicas(broker, each["broker_ids"])
    if not is_dry:
        stored = broker.backend.create_partitions(topic, count)
        retention = options_of(configs_of(topic), stored.partitions, stored).retention
        if retention != stored.retention:  # Kafka's bound is that of a partition, ours that of a topic
            broker.backend.alter_topic(stored, TopicChanges(retention=retention))
    return {}


# --- DeleteTopics -----------------------------------------------------------------------------------------------------


def delete_topics(broker: Broker, request: Request) -> Awaitable[dict[str, Any]]:
    """Delete topics by their names or ids."""
    if request.version < _FIRST_WITH_IDS:
        asked: list[tuple[str | None, UUID]] = [(name, NO_UUID) for name in request.body["topic_names"]]
    else:
        asked = [(each["name"], each["topic_id"]) for each in request.body["topics"]]
    found: dict[tuple[str | None, UUID], StoredTopic | None] = {}
    names: Counter[str | None] = Counter()
    keys: dict[str | None, tuple[str | None, UUID]] = {}
    for name, topic_id in asked:
        topic = broker.topic_of_id(topic_id) if name is None else _named(broker, name)
        found[name, topic_id] = topic
        named = name if topic is None else topic.name
        before = keys.setdefault(named, (name, topic_id))
        if named is not None and before != (name, topic_id):
            del found[before]  # one answer for a topic that is named by its name and by its id
            keys[named] = name, topic_id
        names[named] += 1
    return broker.call(lambda: {"responses": [_deleted(broker, *key, topic, names) for key, topic in found.items()]})


def _named(broker: Broker, name: str) -> StoredTopic | None:
    try:
        return broker.backend.topic(check_topic_name(name))
    except unless_interrupted(InvalidTopicName):
        return None


def _deleted(
    broker: Broker, name: str | None, topic_id: UUID, topic: StoredTopic | None, names: Counter[str | None]
) -> dict[str, Any]:
    answer = {"name": name, "topic_id": topic_id}
    try:
        if name is not None and topic_id != NO_UUID:
            raise refused("A topic is named by its name or by its id, not by both.", "INVALID_REQUEST")
        if name is None and topic_id == NO_UUID:
            raise refused("Neither a name nor an id.", "INVALID_REQUEST")
        if topic is None and name is None:
            raise refused("There is no topic with this id.", "UNKNOWN_TOPIC_ID")
        if topic is None:
            raise refused("There is no such topic.", "UNKNOWN_TOPIC_OR_PARTITION")
        answer = {"name": topic.name, "topic_id": topic_id}
        if names[topic.name] > 1:
            raise _twice()
        answer = {"name": topic.name, "topic_id": topic.uuid}
        broker.log.delete_topic(topic.name)
    except unless_interrupted(EventLogError) as error:
        return {**answer, **_failed(error)}
    return {**answer, "error_code": ErrorCode.NONE, "error_message": None}
