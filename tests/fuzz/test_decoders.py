"""
Decoders meet bytes that nobody wrote: they say what is wrong in our words, or return, and take no memory for lies.

The seed of a run is `EVENTLOG_SEED`, printed in the header of its report. A mutation that fails is printed as hex, to
be pasted into a test of its own.
"""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from uuid import UUID

import google_crc32c
import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import Columns, decode
from eventlog.batches.header import FRAME_BYTES, HEADER_BYTES, KAFKA, KIND_SHIFT, MAGIC, RUNS, VERSION, read_header
from eventlog.errors import CorruptBatch, EventLogError, FormatTooNew, NotALog
from eventlog.groups.state import CommittedOffset
from eventlog.store.records.key_rows import pack_entries, pack_row, unpack_row
from eventlog.store.records.message_ids import StoredMessage
from eventlog.store.records.snapshots import unpack_snapshot
from eventlog.store.rows.tables import FormatRow, PartitionRow, pack_offset, pack_topic, unpack_offset, unpack_topic
from tests.golden.shapes import BATCHES, GOLDEN

QUICK_COUNT = 20_000
LONG_COUNT = 1_000_000
BYTES_FOR_A_BYTE = 2_000
"""The most memory that decoding may take for each byte that was there: a nil in an array becomes a pointer."""

GOLDENS = [(GOLDEN / name).read_bytes() for name in sorted(BATCHES)]
NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
TAGS = [0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, *range(0xC0, 0xE0), 0xFF]
"""The first bytes of what MessagePack has."""


def resealed(data: bytes) -> bytes:
    """The bytes with a checksum that holds, so that what is below it is looked at."""
    return data[:-4] + struct.pack("<I", google_crc32c.value(data[:-4]))


def sealed(data: bytes) -> bytes:
    """The bytes with another checksum behind them, in place of their last four."""
    return resealed(data if len(data) >= 4 else bytes(4))


# --- mutations --------------------------------------------------------------------------------------------------------


def _flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.choice(TAGS) if rng.random() < 0.5 else rng.randrange(256)


def _number(data: bytearray, rng: random.Random) -> None:
    number, size = rng.choice(NUMBERS), rng.choice([1, 2, 4, 8])
    at = rng.randrange(len(data))
    data[at : at + size] = (number % 256**size).to_bytes(size, "big")[: len(data) - at]


def _cut(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 9)]


def _insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.randrange(1, 9))


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    part = data[at : at + rng.randrange(1, 17)]
    data[at:at] = part * rng.randrange(1, 20)


def _splice(data: bytearray, rng: random.Random) -> None:
    other = rng.choice(GOLDENS)
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [
    _flip,
    _overwrite,
    _number,
    _cut,
    _insert,
    _repeat,
    _splice,
]


def mutants(rng: random.Random, count: int) -> Iterator[bytes]:
    """Golden batches, changed once or a few times; most get a checksum that holds, and a head that is ours."""
    for _ in range(count):
        data = bytearray(rng.choice(GOLDENS))
        for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
            rng.choice(MUTATIONS)(data, rng)
            data = data or bytearray(b"\0")
        if rng.random() < 0.9:
            data[:2] = bytes([MAGIC, rng.choice([1, 2, VERSION, VERSION])])
        if rng.random() < 0.4:
            data[2:4] = rng.choice([bytes(2), bytes([0, rng.randrange(128)])])
        yield resealed(bytes(data)) if rng.random() < 0.9 and len(data) >= 4 else bytes(data)


# --- what must hold ---------------------------------------------------------------------------------------------------


@contextmanager
def pasteable(data: bytes) -> Iterator[None]:
    """Prints the bytes of a failure."""
    try:
        yield
    except BaseException:
        print(f'look(bytes.fromhex("{data.hex()}"))')
        raise


def look(data: bytes) -> type[EventLogError] | None:
    """Decodes bytes and looks at all that comes out. The error, when it is one of the two that may be."""
    try:
        columns = decode(data, "fuzz")
    except (CorruptBatch, FormatTooNew) as error:
        return type(error)
    header = read_header(data, "fuzz")
    _check(columns, max(len(data), header.raw_bytes))
    assert (header.count, header.span, header.unknown) == (columns.count, columns.span, 0)
    assert header.log_position == columns.log_position
    return None


def _check(columns: Columns, size: int) -> None:
    count = columns.count
    assert 1 <= count <= columns.span
    assert count <= size, "a record takes a byte at the least"
    for column in (columns.timestamps_ms, columns.keys, columns.values, columns.headers):
        assert len(column) == count
    offsets = columns.offsets(2**40)
    assert len(offsets) == count
    assert offsets[0] > 2**40 - columns.span
    assert offsets[-1] <= 2**40
    assert all(one < other for one, other in pairwise(offsets))


def _fuzz(rng: random.Random, count: int) -> None:
    seen: dict[object, int] = {}
    for data in mutants(rng, count):
        with pasteable(data):
            outcome = look(data)
        seen[outcome] = seen.get(outcome, 0) + 1
    assert seen.keys() == {None, CorruptBatch, FormatTooNew}, f"the mutations reach too little: {seen}"


# --- batches ----------------------------------------------------------------------------------------------------------


def test_mutated_batches_are_refused_or_read(rng: random.Random) -> None:
    """A batch that is nearly right is damaged, too new, or holds together."""
    _fuzz(rng, QUICK_COUNT)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_mutated_batches_are_refused_or_read_for_long(rng: random.Random) -> None:
    """The same, a million times."""
    _fuzz(rng, LONG_COUNT)


@given(st.binary(max_size=300))
@example(b"")
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    """Bytes from anywhere are an error of ours."""
    for candidate in (
        data,
        bytes([MAGIC, 1]) + data,
        bytes([MAGIC, VERSION]) + data,
        resealed(bytes(HEADER_BYTES) + data + bytes(4)),
    ):
        look(candidate)


@given(
    st.integers(0, 2**32 - 1) | st.integers(0, 4),
    st.integers(0, 2**32 - 1) | st.integers(0, 4),
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary() | st.text(),
        lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=20,
    ).map(lambda value: _packed([0, None, value, None, None]))
    | st.lists(st.none() | st.integers() | st.lists(st.integers(-5, 5), max_size=4), max_size=6).map(
        lambda value: _packed(value)
    ),
)
def test_any_body_under_a_true_checksum_is_refused_or_read(count: int, span: int, body: bytes) -> None:
    """Whatever a writer of nonsense may have sealed, reading it is an error of ours or holds together."""
    header = struct.pack(">BBHIIqqqqhHi", MAGIC, 1, 0, count, span, 5, 5, 5, -1, 0, 0, -1)
    look(resealed(header + body + bytes(4)))
    for version, flags in ((2, 0), (VERSION, 0), (VERSION, RUNS), (VERSION, KAFKA << KIND_SHIFT)):
        header = struct.pack(">BBHIIqqqqhHiQ", MAGIC, version, flags, count, span, 5, 5, 5, -1, 0, 0, -1, 7)
        look(resealed(header + body + bytes(4)))


def _packed(value: object) -> bytes:
    try:
        return bytes(msgpack.packb(value))
    except (OverflowError, ValueError):  # a surrogate, or an int beyond 64 bits
        return b"\xc0"


@pytest.mark.parametrize(
    "body",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\x95\x00\xc0\xdd\xff\xff\xff\xff",
        b"\x95\x00\xc0\xc6\xff\xff\xff\xff",
        b"\x95\x00\xc0\xdf\xff\xff\xff\xff",
        b"\x95\x00\xc0\xc9\xff\xff\xff\xff\x01",
        b"\x95\x00\xc0\xc0\xc0\xc0",
        b"\x91" * 60_000,
    ],
)
@pytest.mark.parametrize("count", [1, 2**32 - 1])
def test_a_lie_about_a_length_takes_no_memory(body: bytes, count: int) -> None:
    """Four thousand million records in a hundred bytes are refused at the price of a hundred bytes."""
    header = struct.pack(">BBHIIqqqqhHiQ", MAGIC, VERSION, 0, count, count, 5, 5, 5, -1, 0, 0, -1, 7)
    data = resealed(header + body + bytes(4))
    tracemalloc.start()
    try:
        assert look(data) is CorruptBatch
        taken_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken_bytes < BYTES_FOR_A_BYTE * len(data) + 1_000_000


# --- rows -------------------------------------------------------------------------------------------------------------

INDEX_ROW = pack_row(2, b"".join(pack_entries(1, (7, 8), (5, 5), (90, 91), (b"tea", None), ((("trace", b"1"),), ()))))
ROWS: list[tuple[Callable[[bytes], object], bytes]] = [
    (lambda data: FormatRow.unpack(data, "fuzz"), FormatRow(UUID(int=7), 5).pack()),
    (
        lambda data: unpack_topic(b"orders", data),
        pack_topic(StoredTopic("orders", 7, UUID(int=7), 3, {"name": "str"}, {"name": "json"}, "crc32", 1000, 5)),
    ),
    (PartitionRow.unpack, PartitionRow(3, 9, 5).pack()),
    (unpack_offset, pack_offset(CommittedOffset(7, 5, 3, "note"))),
    (lambda data: unpack_row(data, "fuzz"), INDEX_ROW),
    (lambda data: unpack_row(sealed(data), "fuzz"), INDEX_ROW),
    (StoredMessage.unpack, StoredMessage(1, 7, 5, 6, 90, 3, b"12345678").pack()),
    (unpack_snapshot, bytes(16) + b"state"),
]
ROW_NAMES = ["format", "topic", "partition", "offset", "index", "sealed-index", "message", "snapshot"]


@pytest.mark.parametrize(("unpack", "row"), ROWS, ids=ROW_NAMES)
def test_mutated_rows_are_refused_or_read(unpack: Callable[[bytes], object], row: bytes, rng: random.Random) -> None:
    """A row that is nearly right is damaged, too new, none of ours, or a row."""
    for _ in range(QUICK_COUNT):
        data = bytearray(row)
        for _ in range(rng.choice([1, 1, 2, 5])):
            rng.choice(MUTATIONS)(data, rng)
            data = data or bytearray(b"\0")
        with pasteable(bytes(data)), suppress(CorruptBatch, FormatTooNew, NotALog):
            unpack(bytes(data))


@pytest.mark.parametrize(("unpack", "row"), ROWS, ids=ROW_NAMES)
@given(st.binary(max_size=60))
@example(b"")
def test_any_bytes_are_a_row_or_refused(unpack: Callable[[bytes], object], row: bytes, data: bytes) -> None:
    """Bytes from anywhere are an error of ours."""
    with suppress(CorruptBatch, FormatTooNew, NotALog):
        unpack(data)


# --- the harness ------------------------------------------------------------------------------------------------------


def test_harness_finds_a_decoder_that_forgets_to_translate(rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of MessagePack that gets through is found among the mutants."""
    real = msgpack.unpackb

    def unpackb(data: bytes, **options: object) -> object:
        try:
            return real(data, **options)
        except ValueError as error:
            raise ArithmeticError from error

    monkeypatch.setattr("eventlog.batches.format.msgpack.unpackb", unpackb)
    with pytest.raises(ArithmeticError):
        _fuzz(rng, QUICK_COUNT)


def test_harness_finds_a_decoder_that_does_not_count(rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that believes the header about the offsets is found among the mutants."""
    monkeypatch.setattr("eventlog.batches.format._check_deltas", lambda *parts: None)
    with pytest.raises((AssertionError, TypeError)):
        _fuzz(rng, QUICK_COUNT)


def test_mutants_are_the_same_for_the_same_seed() -> None:
    """A failing run can be run again."""
    assert list(mutants(random.Random(7), 50)) == list(mutants(random.Random(7), 50))
    assert len(GOLDENS[0]) > FRAME_BYTES
