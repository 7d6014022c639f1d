"""
The parts of a request, by topic and partition: taking some out, and adding their answers to those of the others.

It goes by the names that Kafka's messages have for topics and partitions, so it knows no API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

from eventlog.kafka.protocol.schema import Field, load

Body: TypeAlias = "dict[str, Any]"
Matches: TypeAlias = "Callable[[str | None, int | None, Body], bool]"
"""Whether a part is meant: its topic, its partition (None for a whole topic), and what the request says of it."""

_TOPICS: Final = frozenset({"topic_data", "topics", "topic_names", "topic_partitions", "v3_and_below_topics"})
_PARTITIONS: Final = frozenset({"partition_data", "partitions", "partition_indexes"})
_NUMBERS: Final = ("partition_index", "partition", "index")
_IDENTITIES: Final = ("group_id", "transactional_id", "name", "topic", "topic_id")
_NO_ID: Final = UUID(int=0)


def parts_named(api: str) -> frozenset[str]:
    """Tell whether requests of an API, by its name, name a "topic", and a "partition" of it."""
    names = _names(load(f"{api}Request").fields)
    kinds = {"topic": _TOPICS, "partition": _PARTITIONS}
    return frozenset(kind for kind, known in kinds.items() if names & known)


def _names(fields: Iterable[Field]) -> set[str]:
    return {name for field in fields for name in (field.name, *_names(field.fields or ()))}


def split(body: Body, matches: Matches, name_of: Callable[[UUID], str | None]) -> tuple[Body, Body] | None:
    """
    Part a request in two: what is meant, and the rest.

    None if nothing is meant, or the request names no topics. The rest may be without topics.

    Args:
        name_of: the name of the topic with an id.
    """
    hit, rest = _split(body, matches, name_of)
    return None if hit is None else (hit, rest)


def has_topics(body: Body) -> bool:
    """Whether a request, or what is left of it, names a topic."""
    return any(
        bool(value) if key in _TOPICS else any(isinstance(one, dict) and has_topics(one) for one in value)
        for key, value in body.items()
        if isinstance(value, list)
    )


def _split(body: Body, matches: Matches, name_of: Callable[[UUID], str | None]) -> tuple[Body | None, Body]:
    hit, rest = dict(body), dict(body)
    is_hit = False
    for key, value in body.items():
        if not isinstance(value, list) or not value:
            continue
        if key in _TOPICS:
            pairs = [_split_topic(one, matches, name_of) for one in value]
        elif isinstance(value[0], dict) and any(isinstance(one, list) for one in value[0].values()):
            pairs = [_split(one, matches, name_of) for one in value]
        else:
            continue
        hit[key] = [one for one, _ in pairs if one is not None]
        rest[key] = [one for _, one in pairs if one is not None]
        is_hit = is_hit or bool(hit[key])
    return (hit if is_hit else None), rest


def _split_topic(topic: Any, matches: Matches, name_of: Callable[[UUID], str | None]) -> tuple[Any | None, Any | None]:
    name = _topic_name(topic, name_of)
    key = next((one for one in _PARTITIONS if isinstance(topic, dict) and isinstance(topic.get(one), list)), None)
    if key is None:
        is_meant = matches(name, None, topic if isinstance(topic, dict) else {})
        return (topic, None) if is_meant else (None, topic)
    hit: list[Any] = []
    rest: list[Any] = []
    for part in topic[key]:
        number = next((part[one] for one in _NUMBERS if one in part), None) if isinstance(part, dict) else part
        (hit if matches(name, number, part if isinstance(part, dict) else {}) else rest).append(part)
    return ({**topic, key: hit} if hit else None), ({**topic, key: rest} if rest or not hit else None)


def _topic_name(topic: Any, name_of: Callable[[UUID], str | None]) -> str | None:
    if not isinstance(topic, Mapping):
        return str(topic)
    topic_id = topic.get("topic_id", _NO_ID)
    if topic_id is not None and topic_id != _NO_ID:
        return name_of(topic_id)
    name = topic["topic"] if "topic" in topic else topic.get("name")
    return None if name is None else str(name)


def merged(answer: Body, refused: Body) -> Body:
    """Return an answer with the parts of another one, topic by topic."""
    whole = dict(answer)
    for key, value in refused.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            whole[key] = _merged_lists(answer.get(key) or [], value)
    return whole


def _merged_lists(ours: list[Body], theirs: list[Body]) -> list[Body]:
    found = {_identity(one): place for place, one in enumerate(ours) if _identity(one)}
    whole = list(ours)
    for one in theirs:
        place = found.get(_identity(one))
        if place is None:
            whole.append(one)
        else:
            whole[place] = merged(whole[place], one)
    return whole


def _identity(item: Body) -> tuple[object, ...]:
    """What an item of an answer is about; empty for one of a partition."""
    return tuple((name, item[name]) for name in _IDENTITIES if item.get(name) not in (None, "", _NO_ID))
