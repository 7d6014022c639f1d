"""
The rows of the transactions of Kafka's clients, in the table of the format: no log has them before it needs them.

* `kafka transaction ` and a transactional id: the producer of that id, and its transaction.
* `kafka ongoing ` and a transactional id: there is one now; its deadline.
* `kafka open `, a partition and a producer id: where an open transaction begins there.
* `kafka aborted `, a partition and an offset: an aborted transaction, under the offset of its control batch.

Layout: docs/reference/format.md.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import attrs

from eventlog.errors import FormatTooNew
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.options import check_group_name, check_topic_name
from eventlog.store.rows.packing import (
    LARGEST,
    LARGEST_ID,
    NOT_A_ROW,
    checked,
    damaged,
    fields_of,
    moment,
    packed,
    whole,
)
from eventlog.store.rows.tables import KAFKA_ABORTED_KEY as ABORTED_KEY
from eventlog.store.rows.tables import KAFKA_ONGOING_KEY as ONGOING_KEY
from eventlog.store.rows.tables import KAFKA_OPEN_KEY as OPEN_KEY

TRANSACTION_KEY = b"kafka transaction "
KAFKA_ROWS = b"kafka "
"""How the keys of all these rows begin."""
MOST_ID_BYTES = 400
"""The most bytes of a transactional id, which is a part of a key."""
EMPTY, ONGOING, COMPLETE_COMMIT, COMPLETE_ABORT = "Empty", "Ongoing", "CompleteCommit", "CompleteAbort"
_STATES = (EMPTY, ONGOING, COMPLETE_COMMIT, COMPLETE_ABORT)
NO_EPOCH = -1
NO_ID = -1
MOST_EPOCH = 2**15 - 1

_VERSION = 1
_PLACE = struct.Struct(">II")
_OPEN = struct.Struct(">QQ")
_ABORTED = struct.Struct(">QQQ")
_NUMBER = struct.Struct(">Q")
_DEADLINE = struct.Struct(">q")

Member = tuple[str, int, int]
"""A partition of a transaction: topic name, topic id, number."""
PendingOffset = tuple[str, int, int, int, int, str]
"""An offset of a group that waits for the end: topic name, topic id, partition, offset, leader epoch, metadata."""


@attrs.frozen
class TransactionRow:
    """
    The producer of a transactional id, and its transaction.

    `last_producer_id` and `last_epoch` are those before the last change that a client may ask for again, -1 for none.
    `bumps` says that each end raises the epoch (KIP-890). `groups` has the offsets that are stored when it commits.
    """

    id: str
    producer_id: int
    epoch: int
    timeout_ms: int
    updated_ms: int
    state: str = EMPTY
    last_producer_id: int = NO_ID
    last_epoch: int = NO_EPOCH
    bumps: bool = False
    started_ms: int = -1
    partitions: tuple[Member, ...] = ()
    groups: dict[str, tuple[PendingOffset, ...]] = attrs.Factory(dict)

    @property
    def deadline_ms(self) -> int:
        """The time after which the transaction is given up."""
        return self.started_ms + self.timeout_ms

    def pack(self) -> bytes:
        """Return the row's bytes; the id is in the key."""
        fields = attrs.asdict(self, recurse=False)
        del fields["id"]
        return packed({"version": _VERSION, **fields})

    @classmethod
    def unpack(cls, key: bytes, data: bytes) -> TransactionRow:
        """Return the row of this key and these bytes."""
        what = f"the transaction of {key[len(TRANSACTION_KEY) :]!r}"
        try:
            fields = fields_of(data, what, _VERSION)
            if fields["state"] not in _STATES:
                raise FormatTooNew(
                    f"cannot read {what}: it is in the state {fields['state']!r}, which this eventlog does not know.",
                    stored="Nothing is damaged.",
                    advice="Upgrade eventlog to use it.",
                )
            return cls(
                transactional_id(key),
                whole(fields["producer_id"], 0, LARGEST - 1),
                whole(fields["epoch"], NO_EPOCH, MOST_EPOCH),
                whole(fields["timeout_ms"]),
                moment(fields["updated_ms"]),
                fields["state"],
                whole(fields["last_producer_id"], NO_ID),
                whole(fields["last_epoch"], NO_EPOCH, MOST_EPOCH),
                checked(fields["bumps"], bool),
                moment(fields["started_ms"]),
                tuple(_member(one) for one in checked(fields["partitions"], list)),
                {
                    check_group_name(group): tuple(_pending(one) for one in checked(offsets, list))
                    for group, offsets in checked(fields["groups"], dict).items()
                },
            )
        except unless_interrupted(*NOT_A_ROW) as error:
            raise damaged(what, error) from error


def _member(value: Sequence[object]) -> Member:
    topic, topic_id, partition = checked(value, list)
    return check_topic_name(topic), whole(topic_id, 1, LARGEST_ID), whole(partition)


def _pending(value: Sequence[object]) -> PendingOffset:
    topic, topic_id, partition, offset, leader_epoch, metadata = checked(value, list)
    return (*_member([topic, topic_id, partition]), whole(offset), whole(leader_epoch, -1), checked(metadata, str))


def transaction_key(transactional_id: str) -> bytes:
    """Return the key of the row of a transactional id."""
    return TRANSACTION_KEY + transactional_id.encode()


def ongoing_key(transactional_id: str) -> bytes:
    """Return the key of the row that an ongoing transaction has."""
    return ONGOING_KEY + transactional_id.encode()


def transactional_id(key: bytes) -> str:
    """Return the transactional id in the key of a row."""
    name = key.removeprefix(TRANSACTION_KEY).removeprefix(ONGOING_KEY)
    try:
        whole(len(name), 1, MOST_ID_BYTES)
        return name.decode()
    except unless_interrupted(ValueError) as error:
        raise damaged(f"the key {key!r} of a transaction", error) from error


def pack_deadline(deadline_ms: int) -> bytes:
    """Return the bytes of the row of an ongoing transaction."""
    return _DEADLINE.pack(deadline_ms)


def unpack_deadline(data: bytes) -> int:
    """Return the time after which an ongoing transaction is given up."""
    try:
        return moment(_DEADLINE.unpack(data)[0])
    except unless_interrupted(struct.error) as error:
        raise damaged("an ongoing transaction", error) from error


class OpenRow(NamedTuple):
    """Where an open transaction begins in a partition: its first offset and the log position of that."""

    first: int
    log_position: int

    def pack(self) -> bytes:
        """Return the row's bytes."""
        return _OPEN.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> OpenRow:
        """Return the row of these bytes."""
        try:
            row = cls(*_OPEN.unpack(data))
        except unless_interrupted(struct.error) as error:
            raise damaged("an open transaction", error) from error
        if max(row) >= LARGEST:
            raise damaged("an open transaction", f"no offset or position is {max(row)}")
        return row


def open_key(place: bytes, producer_id: int) -> bytes:
    """Return the key of the open transaction of a producer in a partition."""
    return OPEN_KEY + place + _NUMBER.pack(producer_id)


class AbortedRow(NamedTuple):
    """
    An aborted transaction of a partition; `last` is the offset of its control batch.

    Transactions that are aborted later begin at `stable` or behind it: a reader that has looked up all that matters
    to an offset below it looks no further.
    """

    last: int
    producer_id: int
    first: int
    stable: int

    def pack(self) -> bytes:
        """Return the row's bytes; `last` is in the key."""
        return _ABORTED.pack(*self[1:])

    @classmethod
    def unpack(cls, key: bytes, data: bytes) -> AbortedRow:
        """Return the row of this key and these bytes."""
        try:
            row = cls(split_aborted_key(key)[2], *_ABORTED.unpack(data))
        except unless_interrupted(struct.error) as error:
            raise damaged("an aborted transaction", error) from error
        if not row.first <= row.last < LARGEST or max(row) >= LARGEST:
            raise damaged("an aborted transaction", f"it goes from offset {row.first} to {row.last}")
        return row


def aborted_key(place: bytes, last: int) -> bytes:
    """Return the key of an aborted transaction of a partition."""
    return ABORTED_KEY + place + _NUMBER.pack(last)


def split_open_key(key: bytes) -> tuple[int, int, int]:
    """Return the topic id, the partition and the producer id of the key of an open transaction."""
    return _split(key, OPEN_KEY)


def split_aborted_key(key: bytes) -> tuple[int, int, int]:
    """Return the topic id, the partition and the last offset of the key of an aborted transaction."""
    return _split(key, ABORTED_KEY)


def _split(key: bytes, prefix: bytes) -> tuple[int, int, int]:
    try:
        place, number = key[len(prefix) : len(prefix) + 8], key[len(prefix) + 8 :]
        return (*_PLACE.unpack(place), *_NUMBER.unpack(number))
    except unless_interrupted(struct.error) as error:
        raise damaged(f"the key {key!r} of a transaction in a partition", error) from error


def check_kafka_row(key: bytes, data: bytes) -> None:
    """Raise an error if this is none of the rows of this module."""
    if key.startswith(TRANSACTION_KEY):
        TransactionRow.unpack(key, data)
    elif key.startswith(ONGOING_KEY):
        transactional_id(key)
        unpack_deadline(data)
    elif key.startswith(OPEN_KEY):
        split_open_key(key)
        OpenRow.unpack(data)
    elif key.startswith(ABORTED_KEY):
        AbortedRow.unpack(key, data)
    else:
        raise ValueError("it is no row of Kafka's transactions")
