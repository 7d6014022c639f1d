"""
The header of a batch: what is known of its records without decoding them, and what its body is.

`seal` puts header, parts, body and checksum together when the commit knows what comes before in the partition and in
the log. `read_header` reads all versions. Layout: docs/reference/format.md, pinned by tests/golden/.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import attrs
import google_crc32c
import msgpack

from eventlog.errors import CorruptBatch, ErrorParts, FormatTooNew
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple

MAGIC = 0xE7
VERSION = 3

_HEADER_1 = struct.Struct(">BBHIIqqqqhHi")
_HEADER = struct.Struct(">BBHIIqqqqhHiQ")
COMPRESSION_AT = 3
"""The place of the byte with the flags of compression, place and runs, in all versions."""
_SPAN_AT = 8
_SPAN_AND_POSITION = struct.Struct(">I40xQ")
_PLACE = struct.Struct(">IIQ")
PLACE_BYTES = _PLACE.size
_LENGTH = struct.Struct(">I")
_OFFSET = struct.Struct(">q")
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
FRAME_BYTES = HEADER_BYTES + _CHECKSUM.size
MOST_FRAME_BYTES = FRAME_BYTES + _PLACE.size
"""What the encoder leaves room for: a large batch has its place, and those of version 2 are no larger."""
_LEAST_BYTES = _HEADER_1.size + _CHECKSUM.size
_MOST_UNPLACED_BYTES = 1920 - FRAME_BYTES
"""The largest body of a batch without a place: LMDB keeps a larger one on pages of its own."""
_RESIDUE = 0x48674BC7
"""The CRC32C of any bytes followed by their own CRC32C, little-endian: checking takes one call and no copy."""

COMPRESSION_MASK = 0b11
COMPRESSIONS = ("no compression", "zstd", "lz4")
DICTIONARY = 1 << 2
RUNS = 1 << 3
PLACE = 1 << 4
KIND_SHIFT = 5
KIND_MASK = 0b11
COLUMNS = 0
KAFKA = 1
KAFKA_BIT = KAFKA << KIND_SHIFT
"""The bit in the byte of flags of a stored batch whose body is a Kafka record batch."""
_KNOWN_FLAGS = COMPRESSION_MASK | DICTIONARY | RUNS | PLACE | KIND_MASK << KIND_SHIFT
_USUAL = frozenset({0, PLACE})
"""The flags of nearly all batches."""
_MOST_RAW_BYTES = 2**31 - 1

ProducerStamp = tuple[int, int, int]
"""The id of a named producer, its epoch, and the sequence of the first record of a batch."""
NO_PRODUCER: ProducerStamp = (-1, 0, -1)
MOST_EPOCH = 2**15 - 1
MOST_SEQUENCE = 2**31 - 1
"""The largest values of a stamp's fields; the counts start again from 0 after them."""
NO_LOG_POSITION = -1
"""The log position in a batch of version 1, which stores none (`store/records/log_order.py`)."""
NO_TIME_MS = -(2**63)
"""The largest timestamp of an empty partition."""

_checksum = google_crc32c.value
_extend_checksum = google_crc32c.extend


class Run(NamedTuple):
    """Where records begin that have consecutive positions: the offset less the first, and the log position."""

    delta: int
    log_position: int


class PlacedRun(NamedTuple):
    """The records from offset `first` to `end` (exclusive), the first of which has this log position."""

    first: int
    end: int
    log_position: int

    @property
    def end_position(self) -> int:
        """The position behind the last of them."""
        return self.log_position + self.end - self.first


def placed_runs(runs: Sequence[Run], first: int, end: int) -> list[PlacedRun]:
    """Return the runs of a batch that holds the offsets from `first` to `end` (exclusive)."""
    ends = [first + run.delta for run in runs[1:]] + [end]
    return [PlacedRun(first + run.delta, behind, run.log_position) for run, behind in zip(runs, ends, strict=True)]


@attrs.define(slots=True, eq=False, repr=False)
class EncodedBatch:
    """A batch before its offsets are assigned: the body, what it is, and the header's fields about it."""

    count: int
    span: int
    first_ms: int
    largest_ms: int
    body: bytes
    producer: ProducerStamp = NO_PRODUCER
    kind: int = COLUMNS
    compression: int = 0
    raw_bytes: int = 0
    """The bytes of the body before it was compressed; 0 if it is not."""

    @property
    def records_bytes(self) -> int:
        """The bytes of the records, whether or not they are compressed."""
        return self.raw_bytes or len(self.body)


def seal(
    batch: EncodedBatch,
    *,
    largest_so_far_ms: int,
    log_position: int,
    key: bytes | None = None,
    later_runs: Sequence[Run] = (),
) -> bytes:
    """
    Return the bytes to store: header, parts, body, checksum.

    Args:
        largest_so_far_ms: the largest timestamp in the partition up to and including this batch. It never decreases
            along a partition, so a search by time can be a binary search.
        log_position: that of the first record; the others of its run follow it.
        key: that of the row: a large batch repeats it, and a Kafka record batch takes its base offset from it.
        later_runs: the runs of log positions after the first, if the batch was made of several.
    """
    producer_id, epoch, sequence = batch.producer
    body, flags, parts = batch.body, batch.kind << KIND_SHIFT | batch.compression, b""
    if len(body) > _MOST_UNPLACED_BYTES and key is not None:
        flags |= PLACE
        parts = key
    if batch.compression:
        parts += _LENGTH.pack(batch.raw_bytes)
    if later_runs:
        flags |= RUNS
        flat = [number for run in later_runs for number in (run.delta, run.log_position - log_position)]
        packed: bytes = msgpack.packb(flat)
        parts += _LENGTH.pack(len(packed)) + packed
    if batch.kind == KAFKA and key is not None:
        body = _OFFSET.pack(_PLACE.unpack(key)[2] - batch.span + 1) + body[_OFFSET.size :]
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        flags,
        batch.count,
        batch.span,
        batch.first_ms,
        batch.largest_ms,
        largest_so_far_ms,
        producer_id,
        epoch,
        0,
        sequence,
        log_position,
    )
    if parts:
        header += parts
    checksum = _extend_checksum(_checksum(header), body)
    return b"".join((header, body, _CHECKSUM.pack(checksum)))


def seal_version_2(batch: EncodedBatch, *, largest_so_far_ms: int, log_position: int) -> bytes:
    """Return the bytes of a batch for a log of format 3, which has columns alone."""
    header = _HEADER.pack(
        MAGIC,
        2,
        0,
        batch.count,
        batch.span,
        batch.first_ms,
        batch.largest_ms,
        largest_so_far_ms,
        *batch.producer[:2],
        0,
        batch.producer[2],
        log_position,
    )
    checksum = _extend_checksum(_checksum(header), batch.body)
    return b"".join((header, batch.body, _CHECKSUM.pack(checksum)))


@attrs.define(slots=True, eq=False, repr=False)
class BatchHeader:
    """
    The header of a stored batch, which can be read without decoding the body.

    `unknown` has a bit for every feature that a reader must not skip. `body_at` is where the body begins, if there is
    no such feature; `place` is the key of the row in a batch that repeats it; `runs_at` is where the runs are.
    """

    unknown: int
    count: int
    span: int
    first_ms: int
    largest_ms: int
    largest_so_far_ms: int
    log_position: int
    body_at: int
    producer: ProducerStamp = NO_PRODUCER
    flags: int = 0
    place: bytes | None = None
    raw_bytes: int = 0
    runs_at: slice | None = None

    @property
    def kind(self) -> int:
        """What the body is: `COLUMNS` or `KAFKA`."""
        return self.flags >> KIND_SHIFT & KIND_MASK


def read_header(data: bytes | memoryview, place: object) -> BatchHeader:
    """
    Read the header of a stored batch, without its body and without checking the checksum.

    Args:
        place: names the batch in errors.

    Raises:
        CorruptBatch: the bytes are not a batch.
        FormatTooNew: a newer eventlog wrote it.
    """
    if len(data) < 2:
        raise corrupt(place, f"{len(data)} bytes are fewer than the {_LEAST_BYTES} of an empty batch")
    magic, version = data[0], data[1]
    if magic != MAGIC:
        raise corrupt(place, f"the first byte is {magic:#04x}, not {MAGIC:#04x}")
    if version > VERSION:
        raise too_new(place, f"version {version}, and this eventlog reads up to version {VERSION}")
    header = _HEADER_1 if version < 2 else _HEADER
    if len(data) < header.size + _CHECKSUM.size:
        least = header.size + _CHECKSUM.size
        raise corrupt(place, f"{len(data)} bytes are fewer than the {least} of an empty batch")
    log_position = NO_LOG_POSITION
    fields = header.unpack_from(data)
    _, _, flags, count, span, first_ms, largest_ms, largest_so_far_ms, producer, epoch, reserved, sequence = fields[:12]
    if version >= 2:
        log_position = fields[12]
    if version == 0 or not 1 <= count <= span:
        raise corrupt(place, f"it says version {version} and {count} records over {span} offsets")
    unknown = reserved | (flags if version < 3 else 0 if flags in _USUAL else _unknown_of(flags))
    found = BatchHeader(
        unknown,
        count,
        span,
        first_ms,
        largest_ms,
        largest_so_far_ms,
        log_position,
        header.size,
        (producer, epoch, sequence),
    )
    if flags == PLACE and not unknown and len(data) > HEADER_BYTES + _PLACE.size + _CHECKSUM.size:
        found.flags, found.body_at = flags, HEADER_BYTES + _PLACE.size
        found.place = bytes(data[HEADER_BYTES : HEADER_BYTES + _PLACE.size])
    elif flags and not unknown:
        found.flags = flags
        _read_parts(found, data, place)
    return found


def _unknown_of(flags: int) -> int:
    """The flags that a reader has to stop at, or all of them if their combination means nothing."""
    unknown = flags & ~_KNOWN_FLAGS
    if flags >> KIND_SHIFT & KIND_MASK > KAFKA or flags & COMPRESSION_MASK >= len(COMPRESSIONS):
        return flags
    if flags & DICTIONARY and not flags & COMPRESSION_MASK:
        return flags
    if flags >> KIND_SHIFT & KIND_MASK == KAFKA and flags & (COMPRESSION_MASK | RUNS):
        return flags
    return unknown


def _read_parts(header: BatchHeader, data: bytes | memoryview, place: object) -> None:
    """Read what follows the header of version 3, or refuse it if it does not fit into the bytes."""
    flags, at, end = header.flags, HEADER_BYTES, len(data) - _CHECKSUM.size
    if flags & PLACE:
        header.place = bytes(data[at : at + _PLACE.size])
        at += _PLACE.size
    if flags & COMPRESSION_MASK:
        header.raw_bytes = int.from_bytes(data[at : at + _LENGTH.size], "big")
        at += _LENGTH.size
        if not 1 <= header.raw_bytes <= _MOST_RAW_BYTES:
            raise corrupt(place, f"it says that its body has {header.raw_bytes} bytes uncompressed")
    if flags & DICTIONARY:
        at += _LENGTH.size
    if flags & RUNS:
        length = int.from_bytes(data[at : at + _LENGTH.size], "big")
        at += _LENGTH.size
        header.runs_at = slice(at, at + length)
        at += length
    if at >= end:
        raise corrupt(place, f"{len(data)} bytes are fewer than its parts say")
    header.body_at = at


def check_header(header: BatchHeader, place: object) -> None:
    """
    Raise `FormatTooNew` if this eventlog does not know what a header says; ask after the checksum.

    Compression is refused by whoever reads the body.
    """
    if header.unknown:
        raise too_new(place, f"flags {header.unknown:#06x}, which this eventlog does not know")
    if header.producer != NO_PRODUCER and min(header.producer) < 0:
        raise too_new(place, f"the producer {header.producer}, which this eventlog does not know")


def read_runs(header: BatchHeader, data: bytes | memoryview, place: object) -> list[Run]:
    """
    Return the runs of consecutive positions of a batch, at least one; the last of a position ends with the next.

    Raises:
        CorruptBatch: they are not what was written.
    """
    runs = [Run(0, header.log_position)]
    if header.runs_at is None:
        return runs
    try:
        flat = msgpack.unpackb(data[header.runs_at], use_list=False)
        if type(flat) is not tuple or not flat or len(flat) % 2 or {*map(type, flat)} != {int}:
            raise ValueError("they are not pairs of numbers")
        for delta, distance in zip(flat[::2], flat[1::2], strict=True):
            before = runs[-1]
            if not before.delta < delta < header.span:
                raise ValueError(f"their offsets do not grow within a span of {header.span}")
            if header.log_position + distance - before.log_position < delta - before.delta:
                raise ValueError("one reaches into the next")
            runs.append(Run(delta, header.log_position + distance))
    except unless_interrupted(ValueError, TypeError, msgpack.UnpackException) as error:
        raise corrupt(place, f"its runs of positions cannot be read ({error})") from error
    return runs


def read_place(data: bytes | memoryview) -> tuple[int, int] | None:
    """Return the span and the log position of a batch, unchecked; None if it does not say it, or has several runs."""
    if len(data) < FRAME_BYTES or data[0] != MAGIC or not 2 <= data[1] <= VERSION or data[COMPRESSION_AT] & RUNS:
        return None
    place: tuple[int, int] = _SPAN_AND_POSITION.unpack_from(data, _SPAN_AT)
    return place


def unpacked_bytes(data: bytes | memoryview) -> int:
    """Return the bytes that a stored batch takes when it is read: more than it has if its body is compressed."""
    if len(data) < FRAME_BYTES or not data[COMPRESSION_AT] & COMPRESSION_MASK or data[1] != VERSION:
        return len(data)
    at = HEADER_BYTES + (_PLACE.size if data[COMPRESSION_AT] & PLACE else 0)
    return max(len(data), min(int.from_bytes(data[at : at + _LENGTH.size], "big"), _MOST_RAW_BYTES))


def is_intact(data: bytes) -> bool:
    """Whether the checksum of a batch is right."""
    return bool(_checksum(data) == _RESIDUE)


def too_new(place: object, what: str) -> FormatTooNew:
    """Return the error for a batch that says what this eventlog does not know."""
    parts = error_parts(place, stored="Nothing is damaged.", advice="Upgrade eventlog to read it.")
    return FormatTooNew(f"cannot read {place}: it has {what}.", **parts)


def corrupt(place: object, what: str) -> CorruptBatch:
    """Return the error for a batch that is not what was written."""
    parts = error_parts(
        place,
        stored="The bytes on disk are not what was written; other batches are unaffected.",
        advice="Run `eventlog verify` to list all damage; seek() past this batch to go on.",
    )
    return CorruptBatch(f"cannot read {place}: {what}.", **parts)


def error_parts(place: object, *, stored: str, advice: str) -> ErrorParts:
    """Return the parts of an error; the place is fields too if it has any: `seek(error.offset + 1)` passes a batch."""
    named = None if isinstance(place, str) else place  # a str has a `partition` of another kind
    return {
        "stored": stored,
        "advice": advice,
        "topic": getattr(named, "topic", None),
        "partition": getattr(named, "partition", None),
        "offset": getattr(named, "last", None),
    }
