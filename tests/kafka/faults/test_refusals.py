"""The answer to any request that says one error everywhere, and the parts of requests and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from eventlog.kafka import protocol
from eventlog.kafka.faults.parts import has_topics, merged, split
from eventlog.kafka.listener.apis import TABLE, Api
from eventlog.kafka.protocol import APIS, ApiKey, ErrorCode
from eventlog.kafka.protocol.refusals import refusal
from eventlog.kafka.protocol.schema import Field, holds, load

ERRORS = {"error_code", "partition_error_code"}


def filled(fields: tuple[Field, ...], version: int) -> dict[str, Any]:
    """A request with one item in each list."""
    made: dict[str, Any] = {}
    for field in fields:
        if not holds(field.versions, version):
            continue
        if field.fields is not None:
            one: Any = filled(field.fields, version)
        else:
            one = {"string": "a", "bool": False, "bytes": b"", "records": b"", "uuid": UUID(int=1)}.get(field.type, 1)
        made[field.name] = [one] if field.is_array else one
    return made


def codes_in(answer: Any) -> Iterator[int]:
    """All errors of an answer."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name in ERRORS:
                yield value
            else:
                yield from codes_in(value)
    elif isinstance(answer, list):
        for one in answer:
            yield from codes_in(one)


@pytest.mark.parametrize("api", TABLE, ids=lambda api: api.name)
def test_every_request_that_is_served_can_be_refused(api: Api) -> None:
    """In each version; the answer can be encoded, and says the error wherever it can."""
    name = APIS[api.key].name
    for version in range(api.least, api.most + 1):
        body = filled(load(f"{name}Request").fields, version)
        request = protocol.decode_request(api.key, version, b"".join(protocol.encode_request(api.key, version, body)))
        made = refusal(api.key, version, request, ErrorCode.REQUEST_TIMED_OUT, "no")
        data = b"".join(protocol.encode_response(api.key, version, made))
        protocol.decode_response(api.key, version, data)
        assert set(codes_in(made)) == {ErrorCode.REQUEST_TIMED_OUT}, f"version {version}: {made}"


def test_a_refused_produce_names_its_partitions() -> None:
    """And says that nothing has an offset."""
    request = {"topic_data": [{"name": "a", "partition_data": [{"index": 3}, {"index": 4}]}]}
    [topic] = refusal(ApiKey.PRODUCE, 9, request, ErrorCode.CORRUPT_MESSAGE, "no")["responses"]
    assert topic["name"] == "a"
    assert [(one["index"], one["base_offset"]) for one in topic["partition_responses"]] == [(3, -1), (4, -1)]


def test_parts_are_taken_out_and_put_together_again() -> None:
    """Topic by topic, whatever the lists are called."""
    body = {
        "topics": [
            {"name": "a", "partitions": [{"partition_index": 0}, {"partition_index": 1}]},
            {"name": "b", "partitions": [{"partition_index": 0}]},
        ],
        "other": 1,
    }
    parts = split(body, lambda topic, number, _: (topic, number) == ("a", 1), lambda _: None)
    assert parts is not None
    hit, rest = parts
    assert hit == {"topics": [{"name": "a", "partitions": [{"partition_index": 1}]}], "other": 1}
    assert [(topic["name"], len(topic["partitions"])) for topic in rest["topics"]] == [("a", 1), ("b", 1)]
    assert merged(rest, hit)["topics"] == [
        {"name": "a", "partitions": [{"partition_index": 0}, {"partition_index": 1}]},
        {"name": "b", "partitions": [{"partition_index": 0}]},
    ]


def test_parts_of_nested_lists_and_of_names() -> None:
    """The groups of OffsetFetch, and topics that are strings."""
    groups = {"groups": [{"group_id": "g", "topics": [{"name": "a", "partition_indexes": [0, 1]}]}]}
    parts = split(groups, lambda _, number, __: number == 1, lambda _: None)
    assert parts is not None
    assert parts[1] == {"groups": [{"group_id": "g", "topics": [{"name": "a", "partition_indexes": [0]}]}]}
    assert has_topics(parts[1])
    names = {"topic_names": ["a", "b"]}
    taken = split(names, lambda topic, *_: topic == "a", lambda _: None)
    assert taken == ({"topic_names": ["a"]}, {"topic_names": ["b"]})
    assert split({"group_id": "g"}, lambda *_: True, lambda _: None) is None
    assert split(names, lambda topic, *_: topic == "c", lambda _: None) is None


def test_a_request_that_names_nothing_has_no_place_for_an_error() -> None:
    """Its answer would say that all is well."""
    with pytest.raises(ValueError, match="no place"):
        refusal(ApiKey.OFFSET_COMMIT, 2, {"topics": []}, ErrorCode.UNKNOWN_SERVER_ERROR, "no")
