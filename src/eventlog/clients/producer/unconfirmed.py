"""
Records of which a named producer cannot say whether they are stored, as plain values.

How they are sent again is in `clients/producer/idempotence.py`, which is imported by the first named producer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.records import Headers

if TYPE_CHECKING:
    from eventlog.store.records.producer_epochs import SequenceRange


class UnconfirmedBatch(NamedTuple):
    """A batch that may be stored or not, in plain values."""

    topic: str
    topic_id: int
    topic_uuid: UUID
    partition: int
    sequence: SequenceRange
    keys: tuple[bytes | None, ...]
    values: tuple[bytes | None, ...]
    timestamps_ms: int | tuple[int, ...]
    headers: tuple[Headers, ...] | None
    message_ids: dict[int, bytes]

    def topic_row(self, stored: StoredTopic | None) -> StoredTopic:
        """The topic, or what looks enough like it for the commit to say that it was deleted."""
        if stored is not None and stored.id == self.topic_id and stored.uuid == self.topic_uuid:
            return stored
        return StoredTopic(self.topic, self.topic_id, self.topic_uuid, self.partition + 1, {}, {}, "crc32", 0, 0)


@attrs.frozen(repr=False)
class UnconfirmedRecords:
    """
    Are records of which a named producer cannot say whether they are stored, after a commit has failed.

    `Producer.resend()` of a later producer of that name stores those that are not. Its length is their number. It can
    be pickled, by and for the same version of eventlog.

    Example:
        >>> with eventlog.open(":memory:") as log, log.producer(name="importer") as producer:
        ...     delivery = producer.send(log.topic("orders"), b"tea")
        ...     len(producer.unconfirmed())
        0
    """

    name: str
    _log_uuid: UUID
    _producer_id: int
    _batches: tuple[UnconfirmedBatch, ...]

    def __len__(self) -> int:
        return sum(len(batch.values) for batch in self._batches)

    def __repr__(self) -> str:
        return f"<UnconfirmedRecords of {self.name!r}: {len(self)}>"


def unnamed(what: str) -> ValueError:
    """The error for a producer without a name."""
    return ValueError(
        f"{what}() needs a producer with a name: its records have no numbers otherwise. Nothing was stored. "
        "Make it with log.producer(name=...)."
    )
