"""
Kafka's model as a library: topics, partitions, producers, consumers and groups in one directory.

The front door: everything users need is exported here, and nothing else is public.
"""

from eventlog.clients.consumer import Consumer
from eventlog.clients.delivery import Delivery
from eventlog.clients.groups import GroupDescription, Groups, MemberDescription, PartitionOffsets
from eventlog.clients.producer import Producer
from eventlog.clients.topic import Topic
from eventlog.errors import (
    BufferFull,
    ConcurrentUse,
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
    NotALog,
    OffsetOutOfRange,
    ReadOnlyLog,
    RecordTooLarge,
    StorageError,
    TopicMismatch,
    UnknownGroup,
    UnknownPartition,
    UnknownTopic,
    UnsupportedFileSystem,
    UsedAfterFork,
)
from eventlog.groups.assignors import Assignor, GroupMember
from eventlog.log import EventLog, open
from eventlog.records import PartitionRange, Record, RecordBatch, RecordMetadata, TopicPartition
from eventlog.store.maintenance import VerifyReport

__version__ = "0.2.0"

__all__ = [
    "Assignor",
    "BufferFull",
    "ConcurrentUse",
    "Consumer",
    "CorruptBatch",
    "DecodeError",
    "Delivery",
    "DeliveryError",
    "DiskFull",
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
    "NotALog",
    "OffsetOutOfRange",
    "PartitionOffsets",
    "PartitionRange",
    "Producer",
    "ReadOnlyLog",
    "Record",
    "RecordBatch",
    "RecordMetadata",
    "RecordTooLarge",
    "StorageError",
    "Topic",
    "TopicMismatch",
    "TopicPartition",
    "UnknownGroup",
    "UnknownPartition",
    "UnknownTopic",
    "UnsupportedFileSystem",
    "UsedAfterFork",
    "VerifyReport",
    "open",
]
