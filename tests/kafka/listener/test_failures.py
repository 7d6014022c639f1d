"""Each error of the engine has one of Kafka's codes, and what is not expected is told in the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import eventlog
import eventlog.errors
from eventlog import NotSupported
from eventlog.backend.kafka import KafkaRefusal
from eventlog.kafka import protocol
from eventlog.kafka.listener.apis import TABLE, Api
from eventlog.kafka.listener.failures import CODES, code_of, refusal
from eventlog.kafka.listener.request import Request
from eventlog.kafka.protocol import ApiKey, ErrorCode

PARTS: dict[str, Any] = {"stored": "Nothing was stored.", "advice": "Try again."}
NOT_IN_ANSWERS = {
    "BackupMismatch", "BufferFull", "ConcurrentUse", "CorruptBackup", "DeliveryError", "GroupBehind", "InstanceInUse",
    "LeaseLost", "NoResponders", "QueueMismatch", "RemoteError", "ReplyTooLarge", "RequestTimeout",
    "LogInUse", "MemberFenced", "MessageIdReused", "NestedCall", "NotALog", "ProcessDied", "StateMismatch",
    "TransactionEnded", "UnknownEvent", "UnknownProjection", "UnknownState", "UnsupportedFileSystem",
    "UnsupportedSharing", "UsedAfterFork", "WrongVersion", "EventLogError",
}  # fmt: skip
"""Errors that no request of a Kafka client meets: they are of other calls, or of the opening of a log."""


def made(kind: type[BaseException]) -> BaseException:
    """An error of a class, whatever it takes."""
    if issubclass(kind, NotSupported):
        return kind("it failed.", feature="index", backend="embedded", **PARTS)
    error = kind.__new__(kind, "it failed.")
    eventlog.EventLogError.__init__(error, "it failed.", **PARTS)  # type: ignore[arg-type]
    return error


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=lambda one: getattr(one, "__name__", str(one)))
def test_each_error_has_its_code(kind: type[BaseException], code: ErrorCode, caplog: pytest.LogCaptureFixture) -> None:
    """And is no fault that the log tells."""
    assert code_of(made(kind)) is code
    assert not [record for record in caplog.records if getattr(record, "event", "") == "request failed"]


def test_every_error_of_ours_has_a_code_or_never_meets_a_request() -> None:
    """A new class has to be thought about."""
    ours = {
        name: value
        for name, value in vars(eventlog.errors).items()
        if isinstance(value, type) and issubclass(value, eventlog.EventLogError)
    }
    found = {name for name, kind in ours.items() if any(issubclass(kind, one) for one in CODES)}
    assert set(ours) - found - NOT_IN_ANSWERS == set()


def test_a_refusal_names_its_own_code() -> None:
    """By Kafka's name."""
    assert code_of(KafkaRefusal("no.", code="INVALID_TIMESTAMP", **PARTS)) is ErrorCode.INVALID_TIMESTAMP


def test_what_is_not_expected_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback."""
    caplog.set_level(logging.ERROR)
    with pytest.raises(KeyError) as caught:
        raise KeyError("a fault of ours")
    assert code_of(caught.value) is ErrorCode.UNKNOWN_SERVER_ERROR
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.name == "eventlog.kafka"


@pytest.mark.parametrize("api", TABLE, ids=lambda one: one.name)
def test_a_request_that_fails_as_a_whole_has_an_answer_with_the_code_or_none(api: Api) -> None:
    """In each version that is served: what clients read as success is never the answer to a failure."""
    for version in range(api.least, api.most + 1):
        body = protocol.decode_request(
            api.key, version, b"".join(protocol.encode_request(api.key, version, filled(api.key)))
        )
        request = Request(api.key, version, "client", body, None)  # type: ignore[arg-type]
        answer = refusal(request, eventlog.StorageError("the disk is broken.", **PARTS))
        if answer is None:
            continue  # the connection is closed
        data = b"".join(protocol.encode_response(api.key, version, answer))
        assert ErrorCode.KAFKA_STORAGE_ERROR in set(codes_in(protocol.decode_response(api.key, version, data)))


def filled(key: ApiKey) -> dict[str, Any]:
    """A request with one topic and one partition, for the APIs whose errors are in those."""
    one = {"partitions": [{"partition_index": 0, "partition": 0}], "name": "orders", "topic": "orders"}
    return {
        ApiKey.FIND_COORDINATOR: {"key": "g", "coordinator_keys": ["g"]},
        ApiKey.METADATA: {"topics": [{"name": "orders"}]},
        ApiKey.PRODUCE: {"topic_data": [{"name": "orders", "partition_data": [{"index": 0, "records": b""}]}]},
        ApiKey.FETCH: {"topics": [one]},
        ApiKey.LIST_OFFSETS: {"topics": [one]},
        ApiKey.OFFSET_FOR_LEADER_EPOCH: {"topics": [one]},
    }.get(key, {})


def codes_in(value: Any) -> list[int]:
    """All error codes of an answer."""
    if isinstance(value, dict):
        own = [one for name, one in value.items() if name == "error_code"]
        return own + [code for one in value.values() for code in codes_in(one)]
    return [code for one in value for code in codes_in(one)] if isinstance(value, list) else []
