"""
Which of Kafka's error codes stands for which error of ours: one table for all handlers.

An error that is not in the table is a fault of ours: UNKNOWN_SERVER_ERROR, and a line in the log with its traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from eventlog import errors
from eventlog.backend.kafka import KafkaRefusal
from eventlog.interruptions import unless_interrupted
from eventlog.kafka.protocol.errors import ErrorCode
from eventlog.kafka.protocol.refusals import refusal as refused
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
    try:
        return refused(request.api_key, request.version, request.body, code, str(error))
    except unless_interrupted(ValueError):
        return None
