"""Requests of an administrator, as short as a test wants to read them."""

from __future__ import annotations

from typing import Any

from eventlog.kafka.protocol import NO_UUID, ApiKey, ErrorCode
from tests.kafka.wire import Wire

SET, DELETE, APPEND, SUBTRACT = range(4)
TOPIC = 2


def create(wire: Wire, name: str, *, version: int = 7, is_dry: bool = False, **fields: Any) -> dict[str, Any]:
    """Ask for a topic; the answer about it."""
    configs = [{"name": config, "value": value} for config, value in fields.pop("configs", {}).items()]
    topic = {"name": name, "num_partitions": 1, "replication_factor": 1, "configs": configs, **fields}
    answer = wire.ask(ApiKey.CREATE_TOPICS, version, {"topics": [topic], "validate_only": is_dry, "timeout_ms": 1000})
    [created] = answer["topics"]
    return dict(created)


def code_of_creation(wire: Wire, name: str, **fields: Any) -> ErrorCode:
    """Ask for a topic; what became of it."""
    return ErrorCode(create(wire, name, **fields)["error_code"])


def delete(wire: Wire, *names: str, version: int = 6) -> list[ErrorCode]:
    """Delete topics by their names."""
    if version < 6:
        body: dict[str, Any] = {"topic_names": list(names)}
    else:
        body = {"topics": [{"name": name, "topic_id": NO_UUID} for name in names]}
    return [ErrorCode(each["error_code"]) for each in wire.ask(ApiKey.DELETE_TOPICS, version, body)["responses"]]


def describe(wire: Wire, name: str, *keys: str, kind: int = TOPIC) -> dict[str, tuple[str, int]]:
    """Return the configs of a resource: their values and where they come from."""
    resource = {"resource_type": kind, "resource_name": name, "configuration_keys": list(keys) or None}
    [result] = wire.ask(ApiKey.DESCRIBE_CONFIGS, 4, {"resources": [resource]})["results"]
    assert result["error_code"] == ErrorCode.NONE, result
    return {config["name"]: (config["value"], config["config_source"]) for config in result["configs"]}


def alter(wire: Wire, name: str, *changes: tuple[str, int, str | None], is_dry: bool = False) -> ErrorCode:
    """Change single configs of a topic."""
    configs = [{"name": config, "config_operation": kind, "value": value} for config, kind, value in changes]
    resource = {"resource_type": TOPIC, "resource_name": name, "configs": configs}
    body = {"resources": [resource], "validate_only": is_dry}
    [response] = wire.ask(ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, body)["responses"]
    return ErrorCode(response["error_code"])


def replace(wire: Wire, name: str, **configs: str | None) -> ErrorCode:
    """Replace all configs of a topic; underscores stand for dots."""
    changed = [{"name": config.replace("_", "."), "value": value} for config, value in configs.items()]
    resource = {"resource_type": TOPIC, "resource_name": name, "configs": changed}
    [response] = wire.ask(ApiKey.ALTER_CONFIGS, 2, {"resources": [resource]})["responses"]
    return ErrorCode(response["error_code"])
