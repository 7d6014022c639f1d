"""The configs of groups in DescribeConfigs, IncrementalAlterConfigs, AlterConfigs and ListConfigResources."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from eventlog.kafka.groups.coordinator import check_group
from eventlog.kafka.listener.config_values import refused
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.shares.configs import CONFIGS, check_config, configs_of, options_of
from eventlog.kafka.shares.sessions import share_groups

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker

_SET, _DELETE, _APPEND, _SUBTRACT = range(4)
SET_FOR_GROUP: Final = 8
_DEFAULT: Final = 5


def group_configs(broker: Broker, group: str, *, has_synonyms: bool) -> list[dict[str, Any]]:
    """All configs of a group, as DescribeConfigs answers them; a group need not be there to have some."""
    _check(group)
    said = configs_of(share_groups(broker).configs.of(group), broker.backend.queues().queue(group))
    return [_shown(name, said.get(name), has_synonyms=has_synonyms) for name in CONFIGS]


def _shown(name: str, value: str | None, *, has_synonyms: bool) -> dict[str, Any]:
    config = CONFIGS[name]
    synonyms = [{"name": name, "value": config.default, "source": _DEFAULT}] if has_synonyms else []
    if has_synonyms and value is not None:
        synonyms.insert(0, {"name": name, "value": value, "source": SET_FOR_GROUP})
    return {
        "name": name,
        "value": config.default if value is None else value,
        "read_only": False,
        "config_source": _DEFAULT if value is None else SET_FOR_GROUP,
        "is_sensitive": False,
        "synonyms": synonyms,
        "config_type": config.type,
        "documentation": None,
    }


def configured_groups(broker: Broker) -> list[str]:
    """The groups of which a config is set."""
    return sorted(share_groups(broker).configs.names())


def alter_group(
    broker: Broker, group: str, change: Callable[[dict[str, str]], dict[str, str]], *, is_dry: bool
) -> None:
    """
    Change the configs of a group, and the options of its queue; blocks for commits.

    Raises:
        KafkaRefusal: a config cannot be so.
    """
    _check(group)
    configs, queues = share_groups(broker).configs, broker.backend.queues()
    queue = queues.queue(group)

    def changed(said: dict[str, str]) -> dict[str, str]:
        return change(configs_of(said, queue))

    if is_dry:
        changed(configs.of(group))
        return
    now = configs.change(group, changed)
    if queue is not None:
        queues.alter_queue(group, options_of(now, queue))


def changed_configs(before: dict[str, str], asked: list[dict[str, Any]]) -> dict[str, str]:
    """The configs after single changes."""
    configs = dict(before)
    for each in asked:
        name, operation = each["name"], each["config_operation"]
        if operation == _SET:
            configs[name] = check_config(name, each["value"])
        elif operation == _DELETE:
            configs.pop(name, None)
        elif operation in (_APPEND, _SUBTRACT):
            raise refused(f"Group config {name} is no list: it can be set and deleted.", "INVALID_CONFIG")
        else:
            raise refused(f"There is no operation {operation}.", "INVALID_REQUEST")
    return configs


def replaced_configs(asked: list[dict[str, Any]]) -> dict[str, str]:
    """The configs that a request sets instead of all before."""
    return {each["name"]: check_config(each["name"], each["value"]) for each in asked}


def _check(group: str) -> None:
    if check_group(group) is not ErrorCode.NONE:
        raise refused(f"There can be no group of the name {group!r}.", "INVALID_REQUEST")
