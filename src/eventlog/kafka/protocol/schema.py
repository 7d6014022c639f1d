"""
Kafka's message definitions: what fields a message has in which version.

The definitions are Apache Kafka's own, one JSON file for each message in `messages/`, without their comments
(docs/decisions/0055-kafka-protocol.md). A file is read when its first codec is made. What the words in them mean is
told in Kafka's `clients/src/main/resources/common/message/README.md`.
"""

from __future__ import annotations

import json
import pkgutil
import re
from functools import lru_cache
from typing import Any

from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple

NO_VERSIONS = (0, -1)
"""A range of versions without any."""

SIZES = {"bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "float64": 8, "uuid": 16}
"""The types of a fixed size, in bytes."""


class Field(NamedTuple):
    """
    One field of a message.

    `type` has no brackets; `is_array` says that they were there. `fields` is None except for a struct. Each range of
    versions holds its first and its last.
    """

    name: str
    type: str
    is_array: bool
    versions: tuple[int, int]
    nullable: tuple[int, int]
    tagged: tuple[int, int]
    tag: int
    default: Any
    is_ignorable: bool
    fields: tuple[Field, ...] | None


class Message(NamedTuple):
    """One message: its name as Kafka writes it, the versions there are, those with compact lengths, and its fields."""

    name: str
    versions: tuple[int, int]
    flexible: tuple[int, int]
    fields: tuple[Field, ...]


@lru_cache(maxsize=16)
def load(name: str) -> Message:
    """Read the definition of a message, by Kafka's name: "ProduceRequest"; that of a codec is asked for again soon."""
    try:
        data = pkgutil.get_data("eventlog.kafka.protocol", f"messages/{name}.json")
    except unless_interrupted(FileNotFoundError):
        data = None
    if data is None:
        raise ValueError(f"there is no message {name!r} in Kafka's protocol")
    return parse(json.loads(data))


def parse(definition: dict[str, Any]) -> Message:
    """Make a message of its definition in JSON."""
    structs = {struct["name"]: struct["fields"] for struct in definition.get("commonStructs", ())}
    return Message(
        name=definition["name"],
        versions=range_of(definition["validVersions"]),
        flexible=range_of(definition.get("flexibleVersions", "none")),
        fields=tuple(_field(field, structs) for field in definition.get("fields", ())),
    )


def holds(versions: tuple[int, int], version: int) -> bool:
    """Tell whether a range of versions has this one."""
    return versions[0] <= version <= versions[1]


def range_of(text: str) -> tuple[int, int]:
    """Parse a range of versions: "3+", "0-12", "7" or "none"."""
    if text == "none":
        return NO_VERSIONS
    if text.endswith("+"):
        return int(text[:-1]), 32767
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def snake_case(name: str) -> str:
    """Write a name of Kafka's as Python does: `TopicData` is `topic_data`, `KRaftVersion` `k_raft_version`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _field(field: dict[str, Any], structs: dict[str, Any]) -> Field:
    is_array = field["type"].startswith("[]")
    kind = field["type"].removeprefix("[]")
    fields = None
    if kind[0].isupper():
        fields = tuple(_field(inner, structs) for inner in field.get("fields") or structs[kind])
    return Field(
        name=snake_case(field["name"]),
        type="struct" if fields is not None else kind,
        is_array=is_array,
        versions=range_of(field["versions"]),
        nullable=range_of(field.get("nullableVersions", "none")),
        tagged=range_of(field.get("taggedVersions", "none")),
        tag=field.get("tag", -1),
        default=default_of(kind, field.get("default"), is_array=is_array, fields=fields),
        is_ignorable=field.get("ignorable", False),
        fields=fields,
    )


def default_of(kind: str, written: Any, *, is_array: bool, fields: tuple[Field, ...] | None) -> Any:
    """Return the value of a field that nobody has set; for a struct, of all that is in it."""
    if written == "null":
        return None
    if is_array:
        return []
    if fields is not None:
        return {field.name: field.default for field in fields}
    match kind:
        case "bool":
            return written in ("true", True)
        case "string":
            return written or ""
        case "bytes" | "records":
            return b""
        case "uuid":
            return None  # the UUID of zeros, which `uuid` need not be imported for
        case "float64":
            return float(written or 0)
        case _:
            return int(written, 0) if isinstance(written, str) and written else int(written or 0)
