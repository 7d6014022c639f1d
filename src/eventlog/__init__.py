"""
Kafka's model as a library: topics, partitions, producers, consumers and groups in one directory.

The front door: everything users need is exported here, and nothing else is public.
"""

from typing import TYPE_CHECKING

from eventlog.accelerators import is_compiled
from eventlog.api.consumer import Consumer
from eventlog.api.event_log import EventLog
from eventlog.api.producer import Delivery, Producer
from eventlog.api.topic import Topic
from eventlog.api.transaction import Transaction
from eventlog.codecs.base import ValueCodec
from eventlog.errors import (
    BackupMismatch,
    BufferFull,
    ConcurrentUse,
    ConflictError,
    CorruptBackup,
    CorruptBatch,
    DecodeError,
    DeliveryError,
    DiskFull,
    EventLogError,
    FilesChanged,
    FormatTooNew,
    FormatTooOld,
    GroupBehind,
    GroupMismatch,
    GroupNotEmpty,
    InstanceInUse,
    InvalidTopicName,
    KeyRequired,
    LeaseLost,
    LogClosed,
    LogFull,
    LogInUse,
    MemberFenced,
    MessageIdReused,
    MetadataTooLarge,
    MissingLibrary,
    NestedCall,
    NoResponders,
    NotALog,
    NotSupported,
    OffsetOutOfRange,
    OutOfOrderSequence,
    ProcessDied,
    ProducerFenced,
    QueueMismatch,
    ReadOnlyLog,
    RecordTooLarge,
    RemoteError,
    ReplyTooLarge,
    RequestTimeout,
    StateMismatch,
    StorageError,
    TopicMismatch,
    TransactionEnded,
    TransactionTooLarge,
    UnknownEvent,
    UnknownGroup,
    UnknownPartition,
    UnknownProjection,
    UnknownState,
    UnknownTopic,
    UnsupportedFileSystem,
    UnsupportedSharing,
    UsedAfterFork,
    WrongVersion,
)
from eventlog.importing import watch_imports as _watch_imports
from eventlog.log.opening import open, upgrade
from eventlog.records import Event, PartitionRange, Record, RecordBatch, RecordMetadata, Snapshot, TopicPartition
from eventlog.records import publish as _publish_one

if TYPE_CHECKING:
    from eventlog.api.groups import GroupDescription, Groups, MemberDescription, PartitionOffsets
    from eventlog.api.queue import Job, Queue
    from eventlog.api.queues import PartitionProgress, QueueDescription, Queues, WorkerDescription
    from eventlog.api.schedules import Schedule, Schedules, ScheduleTotals
    from eventlog.backend.backup import BackupContents, BackupReport, PruneReport, RestoreReport
    from eventlog.backend.maintenance import CleanReport, LogStats, ReaderStats, RedactReport, TopicStats, VerifyReport
    from eventlog.backend.repair import PartitionRepair, RepairReport, TableRepair
    from eventlog.clients.copying.topic_copy import TopicCopy
    from eventlog.clients.projection.projection import Projection
    from eventlog.clients.reading.follower import Follower
    from eventlog.clients.requests.responder import Responder
    from eventlog.clients.state.state import State
    from eventlog.clients.state.view import StateView
    from eventlog.clients.transaction.processor import Processor
    from eventlog.groups.assignors import Assignor, GroupMember
    from eventlog.groups.state import CommittedOffset
    from eventlog.log.repairing import repair
    from eventlog.log.restoring import check_backup, prune_backup, restore

__version__ = "0.5.0"

_LATER = {
    "Assignor": "eventlog.groups.assignors",
    "BackupContents": "eventlog.backend.backup",
    "BackupReport": "eventlog.backend.backup",
    "CleanReport": "eventlog.backend.maintenance",
    "RedactReport": "eventlog.backend.maintenance",
    "Follower": "eventlog.clients.reading.follower",
    "CommittedOffset": "eventlog.groups.state",
    "GroupDescription": "eventlog.api.groups",
    "GroupMember": "eventlog.groups.assignors",
    "Groups": "eventlog.api.groups",
    "Job": "eventlog.api.queue",
    "LogStats": "eventlog.backend.maintenance",
    "MemberDescription": "eventlog.api.groups",
    "PartitionOffsets": "eventlog.api.groups",
    "PartitionRepair": "eventlog.backend.repair",
    "Processor": "eventlog.clients.transaction.processor",
    "Projection": "eventlog.clients.projection.projection",
    "ReaderStats": "eventlog.backend.maintenance",
    "Queue": "eventlog.api.queue",
    "QueueDescription": "eventlog.api.queues",
    "Queues": "eventlog.api.queues",
    "PartitionProgress": "eventlog.api.queues",
    "WorkerDescription": "eventlog.api.queues",
    "Schedule": "eventlog.api.schedules",
    "ScheduleTotals": "eventlog.api.schedules",
    "Schedules": "eventlog.api.schedules",
    "RepairReport": "eventlog.backend.repair",
    "Responder": "eventlog.clients.requests.responder",
    "PruneReport": "eventlog.backend.backup",
    "RestoreReport": "eventlog.backend.backup",
    "State": "eventlog.clients.state.state",
    "StateView": "eventlog.clients.state.view",
    "TableRepair": "eventlog.backend.repair",
    "TopicCopy": "eventlog.clients.copying.topic_copy",
    "TopicStats": "eventlog.backend.maintenance",
    "VerifyReport": "eventlog.backend.maintenance",
    "check_backup": "eventlog.log.restoring",
    "repair": "eventlog.log.repairing",
    "prune_backup": "eventlog.log.restoring",
    "restore": "eventlog.log.restoring",
}
"""Where the classes are that are imported with their first use: not every program needs them, and they take time."""

__all__ = [
    "Assignor",
    "BackupContents",
    "BackupMismatch",
    "BackupReport",
    "BufferFull",
    "CleanReport",
    "CommittedOffset",
    "ConcurrentUse",
    "ConflictError",
    "Consumer",
    "CorruptBackup",
    "CorruptBatch",
    "DecodeError",
    "Delivery",
    "DeliveryError",
    "DiskFull",
    "Event",
    "EventLog",
    "EventLogError",
    "FilesChanged",
    "Follower",
    "FormatTooNew",
    "FormatTooOld",
    "GroupBehind",
    "GroupDescription",
    "GroupMember",
    "GroupMismatch",
    "GroupNotEmpty",
    "Groups",
    "InstanceInUse",
    "InvalidTopicName",
    "Job",
    "LeaseLost",
    "LogClosed",
    "LogFull",
    "LogInUse",
    "LogStats",
    "MemberDescription",
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
    "PartitionOffsets",
    "PartitionProgress",
    "PartitionRange",
    "PartitionRepair",
    "ProcessDied",
    "Processor",
    "Producer",
    "ProducerFenced",
    "Projection",
    "Queue",
    "QueueDescription",
    "QueueMismatch",
    "Queues",
    "ReadOnlyLog",
    "ReaderStats",
    "Record",
    "RecordBatch",
    "RecordMetadata",
    "RecordTooLarge",
    "KeyRequired",
    "RedactReport",
    "RemoteError",
    "RepairReport",
    "ReplyTooLarge",
    "RequestTimeout",
    "Responder",
    "RestoreReport",
    "PruneReport",
    "Schedule",
    "ScheduleTotals",
    "Schedules",
    "Snapshot",
    "StateMismatch",
    "State",
    "StateView",
    "StorageError",
    "TableRepair",
    "Topic",
    "TopicCopy",
    "TopicMismatch",
    "TopicPartition",
    "TopicStats",
    "Transaction",
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
    "ValueCodec",
    "VerifyReport",
    "WorkerDescription",
    "WrongVersion",
    "check_backup",
    "is_compiled",
    "open",
    "repair",
    "restore",
    "prune_backup",
    "upgrade",
]

del TYPE_CHECKING


def _publish() -> None:
    """
    Have the classes say that they are of `eventlog`; those of `_LATER` say so themselves.

    Where a class stands in the tree is ours to change: users, pickles and messages see `eventlog.Topic`.
    """
    for name in __all__:
        if name not in _LATER:
            _publish_one(globals()[name])


_publish()
_watch_imports()


def __getattr__(name: str) -> object:
    """Import a class of `_LATER` (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module 'eventlog' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The names that are there, and those that are imported with their first use."""
    return sorted({*globals(), *_LATER})
