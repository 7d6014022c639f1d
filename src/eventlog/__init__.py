"""
Kafka's model as a library: topics, partitions, producers, consumers and groups in one directory.

The front door: everything users need is exported here, and nothing else is public.
"""

from eventlog.accelerators import is_compiled
from eventlog.api.consumer import Consumer
from eventlog.api.event_log import EventLog
from eventlog.api.groups import GroupDescription, Groups, MemberDescription, PartitionOffsets
from eventlog.api.producer import Delivery, Producer
from eventlog.api.topic import Topic
from eventlog.api.transaction import Transaction
from eventlog.backend.maintenance import VerifyReport
from eventlog.clients.projection.projection import Projection
from eventlog.clients.state.state import State
from eventlog.clients.state.view import StateView
from eventlog.clients.transaction.processor import Processor
from eventlog.errors import (
    BufferFull,
    ConcurrentUse,
    ConflictError,
    CorruptBatch,
    DecodeError,
    DeliveryError,
    DiskFull,
    EventLogError,
    FormatTooNew,
    GroupMismatch,
    GroupNotEmpty,
    InstanceInUse,
    InvalidTopicName,
    LogClosed,
    MemberFenced,
    MessageIdReused,
    NotALog,
    NotSupported,
    OffsetOutOfRange,
    OutOfOrderSequence,
    ProducerFenced,
    ReadOnlyLog,
    RecordTooLarge,
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
    UsedAfterFork,
    WrongVersion,
)
from eventlog.groups.assignors import Assignor, GroupMember
from eventlog.log.opening import open
from eventlog.records import Event, PartitionRange, Record, RecordBatch, RecordMetadata, Snapshot, TopicPartition

__version__ = "0.5.0"

__all__ = [
    "Assignor",
    "BufferFull",
    "ConcurrentUse",
    "ConflictError",
    "Consumer",
    "CorruptBatch",
    "DecodeError",
    "Delivery",
    "DeliveryError",
    "DiskFull",
    "Event",
    "EventLog",
    "EventLogError",
    "FormatTooNew",
    "GroupDescription",
    "GroupMember",
    "GroupMismatch",
    "GroupNotEmpty",
    "Groups",
    "InstanceInUse",
    "InvalidTopicName",
    "LogClosed",
    "MemberDescription",
    "MemberFenced",
    "MessageIdReused",
    "NotALog",
    "NotSupported",
    "OffsetOutOfRange",
    "OutOfOrderSequence",
    "PartitionOffsets",
    "PartitionRange",
    "Processor",
    "Producer",
    "ProducerFenced",
    "Projection",
    "ReadOnlyLog",
    "Record",
    "RecordBatch",
    "RecordMetadata",
    "RecordTooLarge",
    "Snapshot",
    "StateMismatch",
    "State",
    "StateView",
    "StorageError",
    "Topic",
    "TopicMismatch",
    "TopicPartition",
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
    "UsedAfterFork",
    "VerifyReport",
    "WrongVersion",
    "is_compiled",
    "open",
]

for _name in __all__:
    # Where a class stands in the tree is ours to change: users, pickles and messages see `eventlog.Topic`.
    globals()[_name].__module__ = "eventlog"
