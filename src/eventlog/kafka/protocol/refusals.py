"""
The answer to any request that says one error in all places which have one.

It follows Kafka's message definitions: what an answer lists is what the request has listed, and names, ids and numbers
of partitions are those of the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from eventlog.kafka.protocol.api_keys import APIS, ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.protocol.schema import Field, holds, load

_LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "coordinators": ("coordinator_keys",),
    "filter_results": ("filters",),
    "groups": ("groups", "group_ids"),
    "partition_responses": ("partition_data",),
    "partition_result": ("partitions",),
    "partitions": ("partitions", "partition_indexes"),
    "replica_election_results": ("topic_partitions",),
    "responses": ("topic_data", "topics", "topic_names", "resources"),
    "results": (
        "topics",
        "resources",
        "groups_names",
        "creations",
        "users",
        "deletions",
        "upsertions",
        "feature_updates",
    ),
    "results_by_partition": ("partitions",),
    "results_by_topic_v3_and_below": ("v3_and_below_topics",),
    "results_by_transaction": ("transactions",),
    "topic_results": ("topics",),
    "transaction_states": ("transactional_ids",),
}
"""Where a list of an answer has another name than that of the request which it follows."""
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "index": ("partition_index", "partition"),
    "name": ("topic",),
    "partition": ("partition_index", "index"),
    "partition_id": ("partition_index", "partition"),
    "partition_index": ("partition", "index"),
    "topic": ("name",),
    "topic_name": ("name", "topic"),
    "user": ("name",),
}
"""The same for what names an item of a list."""
_IDENTITIES: Final = frozenset({*_NAMES, "group_id", "key", "transactional_id"})
"""What an item is called where the request has a list of names or numbers."""
_CODES: Final = ("error_code", "partition_error_code")
_OF_ALL: Final = (ApiKey.OFFSET_FETCH, ApiKey.LEAVE_GROUP, ApiKey.OFFSET_DELETE)
"""The APIs whose answers have an error of a group, beside those of its partitions or members."""
_OF_SESSIONS: Final = frozenset(
    {
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.SHARE_SESSION_NOT_FOUND,
        ErrorCode.INVALID_SHARE_SESSION_EPOCH,
        ErrorCode.SHARE_SESSION_LIMIT_REACHED,
    }
)
"""The errors that are of a request as a whole, whatever it names."""
_UNKNOWN: Final[Mapping[str, object]] = {
    "base_offset": -1,
    "committed_offset": -1,
    "end_offset": -1,
    "high_watermark": -1,
    "low_watermark": -1,
    "producer_epoch": -1,
    "producer_id": -1,
}
"""What an answer has for a number that nobody knows, where that is not the default of the definition."""


def refusal(api_key: int, version: int, request: Mapping[str, Any], code: ErrorCode, text: str) -> dict[str, Any]:
    """
    Return the answer to a request that fails.

    Args:
        request: the request, decoded.
        text: the message, for answers that have a place for one.

    Raises:
        ValueError: the answer has no place for an error, as in this version or to a request that names nothing.
    """
    name = APIS[ApiKey(api_key)].name
    made = _struct(_fields(name), version, request, code, text, is_item=False)
    if not _says(made):
        raise ValueError(f"an answer to this {name} of version {version} has no place for an error")
    if code in _OF_SESSIONS and "error_code" in made:
        return {key: value for key, value in made.items() if not isinstance(value, list)}
    if api_key not in _OF_ALL and any(isinstance(value, list) and value for value in made.values()):
        made.pop("error_code", None)  # it is that of the items
    return made


@lru_cache
def _fields(name: str) -> tuple[Field, ...]:
    return load(f"{name}Response").fields


def _says(answer: Mapping[str, Any]) -> bool:
    """Tell whether an answer has an error anywhere."""
    return any(
        name in _CODES or (isinstance(value, list) and any(isinstance(one, Mapping) and _says(one) for one in value))
        for name, value in answer.items()
    )


def _has_error(fields: Iterable[Field], version: int) -> bool:
    return any(
        holds(field.versions, version)
        and (field.name in _CODES or (field.fields is not None and _has_error(field.fields, version)))
        for field in fields
    )


def _struct(
    fields: Iterable[Field], version: int, given: Any, code: ErrorCode, text: str, *, is_item: bool
) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for field in fields:
        name = field.name
        if not holds(field.versions, version):
            continue
        if name in _CODES:
            made[name] = code
        elif name == "error_message":
            made[name] = text
        elif name in _UNKNOWN:
            made[name] = _UNKNOWN[name]
        elif field.is_array and field.fields is not None:
            listed = _listed(field, given) if _has_error(field.fields, version) else ()
            made[name] = [_struct(field.fields, version, one, code, text, is_item=True) for one in listed]
        elif is_item and field.fields is None and not field.is_array:
            _name(made, name, given)
    return made


def _listed(field: Field, given: Any) -> Iterable[Any]:
    """What the request has listed that a list of the answer follows."""
    if not isinstance(given, Mapping):
        return ()
    return [one for name in _LISTS.get(field.name, (field.name,)) for one in given.get(name) or ()]


def _name(made: dict[str, Any], name: str, given: Any) -> None:
    """Call an item of the answer what the request calls it."""
    if not isinstance(given, Mapping):
        if name in _IDENTITIES:
            made[name] = given
        return
    for one in (name, *_NAMES.get(name, ())):
        if one in given:
            made[name] = given[one]
            return
