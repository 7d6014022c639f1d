"""
Answers made comparable: ids, ports and times of now become names, and lists that have no order are sorted.

An id is named by its kind and by when it was first seen in the script: `<producer_id 1>`. An id that the script made
up itself stays as it is, and so does everything that is not in the tables of this module.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any
from uuid import UUID

from eventlog.kafka.protocol import ErrorCode
from tests.kafka.differential.record_batches import taken_apart

IDS = {
    "topic_id": "topic id",
    "member_id": "member",
    "leader": "member",
    "producer_id": "producer",
    "cluster_id": "cluster",
    "member_epoch": "epoch",
    "group_epoch": "epoch",
    "assignment_epoch": "epoch",
}
"""The fields with ids that brokers make up, and the kinds of these."""
PORTS = {"port"}
DROPPED = {"throttle_time_ms"}
"""How long a client was slowed down; both are asked for nothing of the kind."""
TEXTS = {"error_message", "err_msg", "batch_index_error_message"}
"""Sentences for people, which are the broker's own: whether there is one is compared."""
PLACES = {"log_dir"}
NAMES = ("name", "topic", "topic_name", "group_id", "transactional_id", "resource_name", "group")
"""The fields that tell whose an element of a list is."""
_NUMBERS = ("partition_index", "partition", "index", "api_key", "node_id", "broker_id")
_KEYS = (*NAMES, *_NUMBERS, "member_id", "key", "config_name")
_NOBODY = ("", -1, UUID(int=0))
_DAY_MS = 86_400_000


class Normaliser:
    """What the answers of one script have in common: the ids that were seen, and the topics that are its own."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._names: dict[tuple[str, Any], str] = {}
        self._counts: dict[str, int] = {}
        self._asked: set[str] = set()

    def learn_request(self, body: Any) -> None:
        """Note the names and ids that the script sends: ids that no broker gave are its own, and stay."""
        if isinstance(body, dict):
            for field, value in body.items():
                if field in NAMES and isinstance(value, str):
                    self._asked.add(value)
                elif field in IDS and IDS[field] != "epoch" and isinstance(value, (str, int, UUID)):
                    self._names.setdefault((IDS[field], value), str(value))
                else:
                    self.learn_request(value)
        elif isinstance(body, list):
            for element in body:
                self.learn_request(element)
                if isinstance(element, str):
                    self._asked.add(element)

    def answer(self, value: Any) -> Any:
        """An answer as JSON, with names for what differs from run to run."""
        return self._value("", value)

    def is_own(self, field: str, name: Any) -> bool:
        """Whether a topic, group or transactional id is one of this script's; a topic may be named by its id alone."""
        if not isinstance(name, str) or name.startswith(self._prefix) or name in self._asked:
            return True
        return not name and field in ("name", "topic")

    def _value(self, field: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._value(name, inner) for name, inner in value.items() if name not in DROPPED}
        if isinstance(value, list):
            return self._list(field, value)
        if field in IDS:
            return self._id(IDS[field], value)
        if field == "records" and value is not None:
            return [self._value("", batch) for batch in taken_apart(bytes(value))]
        return _plain(field, value)

    def _id(self, kind: str, value: Any) -> Any:
        if value is None or value in _NOBODY or (kind == "epoch" and value <= 0):
            return None if value is None else str(value)
        if (kind, value) not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[kind, value] = f"<{kind} {self._counts[kind]}>"
        return self._names[kind, value]

    def _list(self, field: str, values: list[Any]) -> list[Any]:
        elements = sorted((value for value in values if not self._is_foreign(value)), key=self._order)
        return [self._value(field, element) for element in elements]

    def _is_foreign(self, element: Any) -> bool:
        return isinstance(element, dict) and any(
            name in element and not self.is_own(name, element[name]) for name in NAMES
        )

    def _order(self, element: Any) -> tuple[str, ...]:
        """Something to sort by that is of the same kind in all elements of a list."""
        if not isinstance(element, dict):
            return (element,) if isinstance(element, str) else ()
        known = {field: self._names.get((IDS[field], element[field])) for field in IDS if field in element}
        keys = [known.get(key) or element[key] for key in _KEYS if isinstance(element.get(key), (str, int))]
        return tuple(f"{key:020}" if isinstance(key, int) else str(key) for key in keys)


def _plain(field: str, value: Any) -> Any:
    if field in TEXTS:
        return "<text>" if value else value
    if field in PORTS or field in PLACES:
        return f"<{field}>"
    if field == "error_code":
        return ErrorCode(value).name
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value - time.time() * 1000) < _DAY_MS:
        return "<now>"
    return value


def without(answer: Any, names: Collection[str]) -> Any:
    """An answer without some fields."""
    if isinstance(answer, dict):
        return {name: without(value, names) for name, value in answer.items() if name not in names}
    if isinstance(answer, list):
        return [without(value, names) for value in answer]
    return answer
