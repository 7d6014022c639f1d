"""
AlterConfigs and IncrementalAlterConfigs of topics and of groups.

The former replaces all that is set, the latter changes single configs. Several requests at once are done one after
another by this listener; a native program that alters the same topic at that moment may be overwritten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from eventlog.backend.topics import StoredTopic, TopicChanges
from eventlog.errors import EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.admin.configs import CONFIGS, check_config, check_together, configs_of, message_of, options_of
from eventlog.kafka.admin.describing import BROKER, GROUP, TOPIC, check_node, topic_named
from eventlog.kafka.admin.group_configs import alter_group, changed_configs, replaced_configs
from eventlog.kafka.admin.topics import keep_clean, usable_compression
from eventlog.kafka.listener.config_values import LIST, refused
from eventlog.kafka.listener.failures import code_of
from eventlog.kafka.protocol.errors import ErrorCode

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker
    from eventlog.kafka.listener.request import Request

_SET, _DELETE, _APPEND, _SUBTRACT = range(4)

_Change = Callable[[dict[str, str], "list[dict[str, Any]]"], dict[str, str]]
"""Makes the configs of a topic out of those before and what a request says."""


def alter_configs(broker: Broker, request: Request) -> Awaitable[dict[str, Any]]:
    """Replace all that is set of topics and groups."""
    return broker.call(partial(_alter, broker, request.body, _replaced))


def incremental_alter_configs(broker: Broker, request: Request) -> Awaitable[dict[str, Any]]:
    """Set, remove and extend single configs of topics and groups."""
    return broker.call(partial(_alter, broker, request.body, _changed))


def _alter(broker: Broker, body: dict[str, Any], change: _Change) -> dict[str, Any]:
    resources = body["resources"]
    counts = Counter((each["resource_type"], each["resource_name"]) for each in resources)
    responses = []
    for (kind, name), count in counts.items():
        answer = {"resource_type": kind, "resource_name": name, "error_code": ErrorCode.NONE, "error_message": None}
        asked = next(each for each in resources if (each["resource_type"], each["resource_name"]) == (kind, name))
        try:
            if count > 1:
                raise refused("The request names this resource twice.", "INVALID_REQUEST")
            _alter_one(broker, asked, change, is_dry=body["validate_only"])
        except unless_interrupted(EventLogError) as error:
            answer |= {"error_code": code_of(error), "error_message": message_of(error)}
        responses.append(answer)
    return {"responses": responses}


def _alter_one(broker: Broker, asked: dict[str, Any], change: _Change, *, is_dry: bool) -> None:
    if asked["resource_type"] == BROKER:
        check_node(broker, asked["resource_name"])
        raise refused("The configs of this node are options of its listener, and cannot be altered.", "INVALID_CONFIG")
    if asked["resource_type"] == GROUP:
        alter_group(broker, asked["resource_name"], partial(_of_group, change, asked["configs"]), is_dry=is_dry)
        return
    if asked["resource_type"] != TOPIC:
        raise refused(f"Resources of the kind {asked['resource_type']} have no configs here.", "INVALID_REQUEST")
    topic = topic_named(broker, asked["resource_name"])
    names = Counter(each["name"] for each in asked["configs"])
    if any(count > 1 for count in names.values()):
        twice = ", ".join(name for name, count in names.items() if count > 1)
        raise refused(f"The request names a config twice: {twice}.", "INVALID_REQUEST")
    configs = change(configs_of(topic), asked["configs"])
    changes = _changes(topic, configs)
    if not is_dry:
        keep_clean(broker, broker.backend.alter_topic(topic, changes))


def _of_group(change: _Change, asked: list[dict[str, Any]], before: dict[str, str]) -> dict[str, str]:
    names = Counter(each["name"] for each in asked)
    if any(count > 1 for count in names.values()):
        raise refused("The request names a config twice.", "INVALID_REQUEST")
    return changed_configs(before, asked) if change is _changed else replaced_configs(asked)


def _changes(topic: StoredTopic, configs: dict[str, str]) -> TopicChanges:
    check_together(configs)
    options = options_of(configs, topic.partitions, topic)
    if options.compaction.by is not None and topic.compaction.by is None and topic.index is not None:
        raise refused(f"The topic {topic.name!r} has an index of its keys, and cannot be compacted.")
    return TopicChanges(
        retention=options.retention,
        compression=usable_compression(options.compression),
        compaction=options.compaction,
        max_record_bytes=options.max_record_bytes,
        kafka_configs=tuple(sorted(configs.items())),
    )


def _replaced(_before: dict[str, str], asked: list[dict[str, Any]]) -> dict[str, str]:
    return {each["name"]: _checked(each) for each in asked}


def _checked(asked: dict[str, Any]) -> str:
    if asked["value"] is None:
        raise refused(f"Topic config {asked['name']} cannot be null.", "INVALID_REQUEST")
    return check_config(asked["name"], asked["value"])


def _changed(before: dict[str, str], asked: list[dict[str, Any]]) -> dict[str, str]:
    configs = dict(before)
    for each in asked:
        name, operation = each["name"], each["config_operation"]
        if operation == _DELETE:
            configs.pop(name, None)
        elif operation == _SET:
            configs[name] = _checked(each)
        elif operation in (_APPEND, _SUBTRACT):
            configs[name] = _list_changed(configs, name, each["value"], is_more=operation == _APPEND)
        else:
            raise refused(f"There is no operation {operation}.", "INVALID_REQUEST")
    return configs


def _list_changed(configs: dict[str, str], name: str, value: str | None, *, is_more: bool) -> str:
    config = CONFIGS.get(name)
    if config is None:
        raise refused(f"There is no topic config {name!r}.")
    if config.type != LIST:
        verb = "APPEND" if is_more else "SUBTRACT"
        raise refused(f"Topic config {name} is no list: {verb} cannot change it.", "INVALID_CONFIG")
    parts = list(filter(None, configs.get(name, config.default).split(",")))
    words = check_config(name, value).split(",")
    if is_more:
        parts += [word for word in words if word not in parts]
    else:
        parts = [part for part in parts if part not in words]
    return ",".join(filter(None, parts))
