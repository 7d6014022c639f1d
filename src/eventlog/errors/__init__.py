"""
The errors of eventlog: one class for each thing a caller would do differently.

Every message says what failed, on which values, what is stored now and what to do next. Wrong arguments raise
plain `ValueError` and `TypeError`, at the call and before any effect, except where a class of ours adds something to
catch.

Each file here has the errors of one subject; the rest of eventlog imports them from this package. Knows nothing of
LMDB or of the operating system's error numbers; `store/lmdb/errors.py` translates those.
"""

from __future__ import annotations

from eventlog.errors.base import (
    ConcurrentUse,
    ErrorParts,
    EventLogError,
    LogClosed,
    MissingLibrary,
    NestedCall,
    NotSupported,
    UsedAfterFork,
)
from eventlog.errors.groups import (
    GroupBehind,
    GroupMismatch,
    GroupNotEmpty,
    InstanceInUse,
    MemberFenced,
    MetadataTooLarge,
    UnknownGroup,
)
from eventlog.errors.queues import LeaseLost, QueueMismatch
from eventlog.errors.records import (
    BufferFull,
    DecodeError,
    DeliveryError,
    InvalidTopicName,
    KeyRequired,
    MessageIdReused,
    OffsetOutOfRange,
    OutOfOrderSequence,
    ProducerFenced,
    RecordTooLarge,
    TopicMismatch,
    UnknownEvent,
    UnknownPartition,
    UnknownTopic,
    WrongVersion,
)
from eventlog.errors.requests import NoResponders, RemoteError, ReplyTooLarge, RequestTimeout
from eventlog.errors.storage import (
    BackupMismatch,
    CorruptBackup,
    CorruptBatch,
    DiskFull,
    FilesChanged,
    FormatTooNew,
    FormatTooOld,
    LogFull,
    LogInUse,
    NotALog,
    ReadOnlyLog,
    StorageError,
    UnsupportedFileSystem,
    UnsupportedSharing,
)
from eventlog.errors.transactions import (
    ConflictError,
    ProcessDied,
    StateMismatch,
    TransactionEnded,
    TransactionTooLarge,
    UnknownProjection,
    UnknownState,
)

__all__ = [
    "BackupMismatch",
    "BufferFull",
    "ConcurrentUse",
    "ConflictError",
    "CorruptBackup",
    "CorruptBatch",
    "DecodeError",
    "DeliveryError",
    "DiskFull",
    "ErrorParts",
    "EventLogError",
    "FilesChanged",
    "FormatTooNew",
    "FormatTooOld",
    "GroupBehind",
    "GroupMismatch",
    "GroupNotEmpty",
    "InstanceInUse",
    "InvalidTopicName",
    "KeyRequired",
    "LeaseLost",
    "LogClosed",
    "LogFull",
    "LogInUse",
    "MemberFenced",
    "MessageIdReused",
    "MetadataTooLarge",
    "MissingLibrary",
    "NestedCall",
    "NoResponders",
    "NotALog",
    "NotSupported",
    "OffsetOutOfRange",
    "OutOfOrderSequence",
    "ProcessDied",
    "ProducerFenced",
    "QueueMismatch",
    "ReadOnlyLog",
    "RecordTooLarge",
    "RemoteError",
    "ReplyTooLarge",
    "RequestTimeout",
    "StateMismatch",
    "StorageError",
    "TopicMismatch",
    "TransactionEnded",
    "TransactionTooLarge",
    "UnknownEvent",
    "UnknownGroup",
    "UnknownPartition",
    "UnknownProjection",
    "UnknownState",
    "UnknownTopic",
    "UnsupportedFileSystem",
    "UnsupportedSharing",
    "UsedAfterFork",
    "WrongVersion",
]
