"""
Which of Kafka's error codes stands for which error of ours: one table for all handlers.

An error that is not in the table is a fault of ours: UNKNOWN_SERVER_ERROR, and a line in the log with its traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from eventlog import errors
from eventlog.backend.kafka import KafkaRefusal
from eventlog.kafka.protocol.api_keys import ApiKey
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.notices import REQUEST_FAILED, tell

if TYPE_CHECKING:
    from eventlog.kafka.listener.request import Request

CODES: Final[Mapping[type[BaseException], ErrorCode]] = {
    errors.ConflictError: ErrorCode.CONCURRENT_TRANSACTIONS,
    errors.CorruptBatch: ErrorCode.KAFKA_STORAGE_ERROR,
    errors.DecodeError: ErrorCode.INVALID_RECORD,
    errors.FormatTooNew: ErrorCode.KAFKA_STORAGE_ERROR,
    errors.FormatTooOld: ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    errors.GroupMismatch: ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
    errors.GroupNotEmpty: ErrorCode.NON_EMPTY_GROUP,
    errors.InvalidTopicName: ErrorCode.INVALID_TOPIC_EXCEPTION,
    errors.KeyRequired: ErrorCode.INVALID_RECORD,
    errors.LogClosed: ErrorCode.KAFKA_STORAGE_ERROR,
    errors.MetadataTooLarge: ErrorCode.OFFSET_METADATA_TOO_LARGE,
    errors.MissingLibrary: ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    errors.NotSupported: ErrorCode.INVALID_REQUEST,
    errors.OffsetOutOfRange: ErrorCode.OFFSET_OUT_OF_RANGE,
    errors.OutOfOrderSequence: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    errors.ProducerFenced: ErrorCode.INVALID_PRODUCER_EPOCH,
    errors.ReadOnlyLog: ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    errors.RecordTooLarge: ErrorCode.MESSAGE_TOO_LARGE,
    errors.StorageError: ErrorCode.KAFKA_STORAGE_ERROR,
    errors.TopicMismatch: ErrorCode.TOPIC_ALREADY_EXISTS,
    errors.TransactionTooLarge: ErrorCode.MESSAGE_TOO_LARGE,
    errors.UnknownGroup: ErrorCode.GROUP_ID_NOT_FOUND,
    errors.UnknownPartition: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    errors.UnknownTopic: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
}
"""The code of each error that a request may meet; a class stands for those that descend from it."""

WITH_ERROR_CODE: Final = frozenset(
    {
        ApiKey.API_VERSIONS,
        ApiKey.JOIN_GROUP,
        ApiKey.HEARTBEAT,
        ApiKey.LEAVE_GROUP,
        ApiKey.SYNC_GROUP,
        ApiKey.LIST_GROUPS,
        ApiKey.SASL_HANDSHAKE,
        ApiKey.SASL_AUTHENTICATE,
        ApiKey.INIT_PRODUCER_ID,
        ApiKey.ADD_OFFSETS_TO_TXN,
        ApiKey.END_TXN,
        ApiKey.DESCRIBE_CLUSTER,
        ApiKey.CONSUMER_GROUP_HEARTBEAT,
    }
)
"""The APIs whose answer has one error for all of it."""


def code_of(error: BaseException) -> ErrorCode:
    """The code that stands for an error; UNKNOWN_SERVER_ERROR, and a line in the log, for one that is not expected."""
    if isinstance(error, KafkaRefusal):
        return ErrorCode[error.code]
    for kind in type(error).__mro__:
        code = CODES.get(kind)
        if code is not None:
            return code
    tell(REQUEST_FAILED, exc_info=error, error=error)
    return ErrorCode.UNKNOWN_SERVER_ERROR


def refusal(request: Request, error: BaseException) -> dict[str, Any] | None:
    """The answer to a request that failed as a whole; None for one that has no place for an error."""
    code = code_of(error)
    if request.api_key in WITH_ERROR_CODE:
        return {"error_code": code, "error_message": str(error)}
    whole = _WHOLE.get(request.api_key)
    return None if whole is None else whole(request, code)


def _find_coordinator(request: Request, code: ErrorCode) -> dict[str, Any]:
    refused = {"error_code": code, "node_id": -1, "port": -1}
    return {**refused, "coordinators": [{"key": key, **refused} for key in request.body["coordinator_keys"]]}


def _metadata(request: Request, code: ErrorCode) -> dict[str, Any] | None:
    topics = request.body["topics"]
    if not topics:
        return None  # an answer without topics would say that there are none
    return {"topics": [{**topic, "error_code": code, "partitions": []} for topic in topics], "error_code": code}


def _produce(request: Request, code: ErrorCode) -> dict[str, Any]:
    refused = {"error_code": code, "base_offset": -1}
    return {
        "responses": [
            {
                "name": topic["name"],
                "topic_id": topic["topic_id"],
                "partition_responses": [{"index": one["index"], **refused} for one in topic["partition_data"]],
            }
            for topic in request.body["topic_data"]
        ]
    }


def _fetch(request: Request, code: ErrorCode) -> dict[str, Any]:
    refused = {"error_code": code, "high_watermark": -1, "records": b"", "aborted_transactions": []}
    return {
        "responses": [
            {
                "topic": topic["topic"],
                "topic_id": topic["topic_id"],
                "partitions": [{"partition_index": one["partition"], **refused} for one in topic["partitions"]],
            }
            for topic in request.body["topics"]
        ]
    }


def _by_partition(request: Request, code: ErrorCode) -> dict[str, Any]:
    topics = request.body["topics"]
    return {
        "topics": [
            {**topic, "partitions": [{**one, "error_code": code, "offset": -1} for one in topic["partitions"]]}
            for topic in topics
        ]
    }


_WHOLE: Final[Mapping[int, Callable[[Request, ErrorCode], dict[str, Any] | None]]] = {
    ApiKey.FIND_COORDINATOR: _find_coordinator,
    ApiKey.METADATA: _metadata,
    ApiKey.PRODUCE: _produce,
    ApiKey.FETCH: _fetch,
    ApiKey.LIST_OFFSETS: _by_partition,
    ApiKey.OFFSET_FOR_LEADER_EPOCH: _by_partition,
}
