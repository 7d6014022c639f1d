"""A batch gives back what was put into it, or says why it cannot."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import google_crc32c
import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog.batches.format import TARGET_BYTES, BatchEncoder, Columns, decode
from eventlog.batches.header import (
    DICTIONARY,
    FRAME_BYTES,
    HEADER_BYTES,
    KAFKA,
    MAGIC,
    NO_LOG_POSITION,
    NO_TIME_MS,
    RUNS,
    VERSION,
    EncodedBatch,
    Run,
    read_header,
    read_runs,
    seal,
    seal_version_2,
)
from eventlog.batches.header import PLACE as PLACE_FLAG
from eventlog.errors import CorruptBatch, FormatTooNew

PLACE = "orders[3] up to offset 41"

TIME_MS = st.integers(-(2**62), 2**62)
BYTES = st.none() | st.binary(max_size=20)
HEADERS = st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), BYTES), max_size=3)


@st.composite
def columns(draw: st.DrawFn) -> tuple[Any, Any, Any, Any]:
    """Keys, values, timestamps and headers of some records, as `encode` takes them."""
    count = draw(st.integers(1, 12))

    def column(item: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
        return st.lists(item, min_size=count, max_size=count)

    keys = draw(st.none() | column(BYTES))
    values = draw(column(BYTES))
    times = draw(TIME_MS | column(TIME_MS) | TIME_MS.map(lambda moment: [moment] * count))
    headers = draw(st.none() | column(HEADERS.map(tuple)))
    return keys, values, times, headers


def one(value: bytes | None = b"v", **fields: Any) -> EncodedBatch:
    """A batch of one record."""
    [batch] = BatchEncoder().encode(fields.get("keys"), [value], timestamps_ms=fields.get("timestamps_ms", 5))
    return batch


def sealed(body: object = None, *, count: int = 1, span: int | None = None, first_ms: int = 5) -> bytes:
    """A batch with a true checksum around any body and counts."""
    packed = body if isinstance(body, bytes) else msgpack.packb(body)
    batch = EncodedBatch(count, count if span is None else span, first_ms, first_ms, packed)
    return seal(batch, largest_so_far_ms=first_ms, log_position=0)


def resealed(data: bytes) -> bytes:
    """The same bytes with the checksum that belongs to them."""
    return data[:-4] + struct.pack("<I", google_crc32c.value(data[:-4]))


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """The same bytes with some replaced; the checksum is left as it was."""
    return data[:at] + new + data[at + len(new) :]


# --- round trips ----------------------------------------------------------------------------------------------------


@given(columns(), st.integers(0, 1000), st.integers(0, 2**64 - 1))
@example((None, [b""], 0, None), 0, 0)
@example(([None], [None], [-(2**62)], [()]), 0, 2**63)
@example((None, [b"a", b"b"], [2**62, -(2**62)], None), 0, 2**64 - 1)
def test_records_come_back_as_they_went_in(
    given_columns: tuple[Any, Any, Any, Any], later_ms: int, log_position: int
) -> None:
    """Keys, values, timestamps and headers survive encoding; so do the sums in the header, and the position."""
    keys, values, times, headers = given_columns
    [batch] = BatchEncoder().encode(keys, values, timestamps_ms=times, headers=headers)
    count = len(values)
    all_times = [times] * count if isinstance(times, int) else times
    largest_so_far_ms = max(all_times) + later_ms
    found = decode(seal(batch, largest_so_far_ms=largest_so_far_ms, log_position=log_position), PLACE)

    assert list(found.keys) == ([None] * count if keys is None else keys)
    assert list(found.values) == values
    assert list(found.timestamps_ms) == all_times
    assert list(found.headers) == ([()] * count if headers is None else headers)
    assert (found.count, found.span, found.deltas) == (count, count, None)
    assert (found.first_ms, found.largest_ms) == (all_times[0], max(all_times))
    assert found.largest_so_far_ms == largest_so_far_ms
    assert found.log_position == log_position
    assert list(found.offsets(100 + count - 1)) == list(range(100, 100 + count))


@given(columns())
def test_header_is_read_without_the_body(given_columns: tuple[Any, Any, Any, Any]) -> None:
    """The header alone says what the decoded batch says, for bytes and for a view of them."""
    keys, values, times, headers = given_columns
    [batch] = BatchEncoder().encode(keys, values, timestamps_ms=times, headers=headers)
    data = seal(batch, largest_so_far_ms=batch.largest_ms, log_position=7)
    found = decode(data, PLACE)
    for header in (read_header(data, PLACE), read_header(memoryview(data), PLACE)):
        assert (header.count, header.span, header.unknown) == (found.count, found.span, 0)
        assert (header.first_ms, header.largest_ms) == (found.first_ms, found.largest_ms)
        assert header.largest_so_far_ms == found.largest_so_far_ms
        assert (header.log_position, header.body_at) == (found.log_position, HEADER_BYTES) == (7, 60)


def test_absent_columns_take_one_byte_each() -> None:
    """Records without keys and headers, all of one time, pay for values alone."""
    [batch] = BatchEncoder().encode(None, [b"v"] * 10, timestamps_ms=[7] * 10)
    assert batch.body == b"\x95\x00\xc0\x9a" + b"\xc4\x01v" * 10 + b"\xc0\xc0"


def test_tombstones_keep_their_place() -> None:
    """A value of None is not an empty value."""
    [batch] = BatchEncoder().encode([b"a", b"b", b"c"], [None, b"", b"x"], timestamps_ms=1)
    assert list(decode(seal(batch, largest_so_far_ms=1, log_position=0), PLACE).values) == [None, b"", b"x"]


@pytest.mark.parametrize(
    ("times", "first_ms", "largest_ms"),
    [
        (9, 9, 9),
        ([9, 9], 9, 9),
        ([9, 8], 9, 9),
        ([8, 9], 8, 9),
        ([-5, -7], -5, -5),
        ([2**62, -(2**62)], 2**62, 2**62),
        ([-(2**62), 2**62], -(2**62), 2**62),
    ],
)
def test_header_has_the_first_and_the_largest_time(times: Any, first_ms: int, largest_ms: int) -> None:
    """Times may be alike, go back, or lie before 1970."""
    [batch] = BatchEncoder().encode(None, [b"a", b"b"], timestamps_ms=times)
    assert (batch.first_ms, batch.largest_ms) == (first_ms, largest_ms)


def test_the_offsets_of_a_batch_are_not_in_its_bytes() -> None:
    """Encoding may end before the offsets are known: one batch fits any place of a partition."""
    found = decode(seal(one(), largest_so_far_ms=5, log_position=0), PLACE)
    assert list(found.offsets(0)) == [0]
    assert list(found.offsets(2**63)) == [2**63]


def test_offsets_with_gaps_are_counted_from_the_first() -> None:
    """Where records are gone, the others keep their offsets."""
    data = sealed([0, None, [b"a", b"b"], None, [1, 3]], count=2, span=5)
    assert list(decode(data, PLACE).offsets(104)) == [101, 103]


def test_header_has_the_layout_of_the_page() -> None:
    """The bytes before the body are those that docs/reference/format.md lists."""
    data = seal(one(timestamps_ms=-2), largest_so_far_ms=3, log_position=9)
    expected = struct.pack(">BBHIIqqqqhHiQ", MAGIC, VERSION, 0, 1, 1, -2, -2, 3, -1, 0, 0, -1, 9)
    assert data[:HEADER_BYTES] == expected
    assert data[-4:] == struct.pack("<I", google_crc32c.value(data[:-4]))


def of_version_1(data: bytes) -> bytes:
    """The batch as an eventlog that knew no positions wrote it."""
    return resealed(data[:1] + b"\1" + data[2 : HEADER_BYTES - 8] + data[HEADER_BYTES:])


@given(columns())
def test_a_batch_of_version_1_says_the_same_but_for_its_position(given_columns: tuple[Any, Any, Any, Any]) -> None:
    """Its header ends 8 bytes earlier, and it knows nothing of the order of the log."""
    keys, values, times, headers = given_columns
    [batch] = BatchEncoder().encode(keys, values, timestamps_ms=times, headers=headers)
    newer = seal(batch, largest_so_far_ms=batch.largest_ms, log_position=7)
    older = of_version_1(newer)
    assert read_header(older, PLACE).body_at == HEADER_BYTES - 8
    assert read_header(older, PLACE).log_position == NO_LOG_POSITION
    found, expected = decode(older, PLACE), decode(newer, PLACE)
    for name in Columns.__slots__:
        if name not in ("log_position", "__weakref__"):
            assert getattr(found, name) == getattr(expected, name)
    assert (found.log_position, expected.log_position) == (NO_LOG_POSITION, 7)


@pytest.mark.parametrize("size", range(2, FRAME_BYTES - 8))
def test_a_piece_of_a_header_of_version_1_is_corrupt(size: int) -> None:
    """Each version has a length of its own."""
    data = of_version_1(seal(one(), largest_so_far_ms=5, log_position=0))[:size]
    for read in (decode, read_header):
        with pytest.raises(CorruptBatch, match=f"{size} bytes are fewer than the {FRAME_BYTES - 8}"):
            read(data, PLACE)


# --- splitting ------------------------------------------------------------------------------------------------------


def total(batches: list[EncodedBatch]) -> list[Any]:
    """The values of some batches, in order."""
    stored = [seal(batch, largest_so_far_ms=2**62, log_position=0) for batch in batches]
    return [value for data in stored for value in decode(data, PLACE).values]


def stored_bytes(batches: list[EncodedBatch]) -> list[int]:
    """What each batch takes on disk."""
    return [len(batch.body) + FRAME_BYTES for batch in batches]


def test_no_records_are_no_batch() -> None:
    """Nothing in, nothing out."""
    assert BatchEncoder().encode(None, [], timestamps_ms=0) == []


def test_many_records_become_batches_of_at_most_the_target() -> None:
    """More than 64 KB is more batches, nearly full ones, in order."""
    values = [b"%0100d" % number for number in range(5000)]
    batches = BatchEncoder().encode(None, values, timestamps_ms=1)
    assert total(batches) == values
    assert max(stored_bytes(batches)) <= TARGET_BYTES
    assert min(stored_bytes(batches)[:-1]) > 0.9 * TARGET_BYTES


def test_every_column_is_split_alike() -> None:
    """Keys, times and headers stay with their values when there are several batches."""
    count = 3000
    keys = [b"k%d" % number for number in range(count)]
    values = [b"%050d" % number for number in range(count)]
    times = [number * 7 % 1000 - 500 for number in range(count)]
    headers = [(("n", b"%d" % number),) for number in range(count)]
    batches = BatchEncoder().encode(keys, values, timestamps_ms=times, headers=headers)
    assert len(batches) > 1
    decoded = [decode(seal(batch, largest_so_far_ms=500, log_position=0), PLACE) for batch in batches]
    assert [key for batch in decoded for key in batch.keys] == keys
    assert [value for batch in decoded for value in batch.values] == values
    assert [moment for batch in decoded for moment in batch.timestamps_ms] == times
    assert [pairs for batch in decoded for pairs in batch.headers] == headers
    assert [batch.largest_ms for batch in decoded] == [max(batch.timestamps_ms) for batch in decoded]


def test_record_larger_than_the_target_is_a_batch_of_its_own() -> None:
    """A large record is stored whole; its neighbours are not drawn into its batch."""
    values = [b"a", b"x" * 200_000, b"b"]
    batches = BatchEncoder().encode(None, values, timestamps_ms=1)
    assert total(batches) == values
    assert [batch.count for batch in batches if len(batch.body) > TARGET_BYTES] == [1]


def test_small_records_share_batches_again_after_a_large_one() -> None:
    """One large record among thousands of small ones costs a few batches, not thousands."""
    values = [b"x" * 100] * 1000 + [b"y" * 1_000_000] + [b"x" * 100] * 3000
    batches = BatchEncoder().encode(None, values, timestamps_ms=1)
    assert total(batches) == values
    assert len(batches) < 60


@given(
    st.lists(st.sampled_from([0, 1, 90, 400, 900, 1100, 5000]).map(bytes), min_size=1, max_size=60),
    st.integers(FRAME_BYTES + 100, 3000),
)
def test_no_batch_of_several_records_is_larger_than_the_target(values: list[bytes], target_bytes: int) -> None:
    """Whatever the sizes and the target, only a lone record may go beyond it."""
    batches = BatchEncoder(target_bytes=target_bytes).encode(None, values, timestamps_ms=1)
    assert total(batches) == values
    sizes = stored_bytes(batches)
    assert all(size <= target_bytes or batch.count == 1 for size, batch in zip(sizes, batches, strict=True))


def test_encoder_is_of_use_after_a_failure() -> None:
    """What cannot be packed leaves nothing behind in the next batch."""
    encoder = BatchEncoder()
    with pytest.raises(TypeError):
        encoder.encode(None, [b"a", object()], timestamps_ms=1)  # type: ignore[list-item]
    [batch] = encoder.encode(None, [b"v"], timestamps_ms=5)
    assert batch.body == one().body


# --- what is refused, and in which order ------------------------------------------------------------------------------


def test_magic_is_judged_before_the_version() -> None:
    """What is no batch at all is damaged, never too new."""
    data = patched(patched(seal(one(), largest_so_far_ms=5, log_position=0), 0, b"\xe6"), 1, b"\xff")
    for read in (decode, read_header):
        with pytest.raises(CorruptBatch, match="first byte is 0xe6, not 0xe7"):
            read(data, PLACE)


@pytest.mark.parametrize("version", [VERSION + 1, 255])
@pytest.mark.parametrize("rest", [b"", b"\0", b"\0" * FRAME_BYTES, b"\xff" * 500])
def test_newer_version_is_too_new_whatever_follows(version: int, rest: bytes) -> None:
    """A newer header may be shorter, longer or of another kind: only its first two bytes are looked at."""
    for read in (decode, read_header):
        with pytest.raises(FormatTooNew, match=f"version {version}.*Upgrade"):
            read(bytes([MAGIC, version]) + rest, PLACE)


@pytest.mark.parametrize("size", range(FRAME_BYTES))
def test_a_piece_of_a_header_is_corrupt(size: int) -> None:
    """A batch cut short within its frame is damaged, and no field of it is read."""
    data = seal(one(), largest_so_far_ms=5, log_position=0)[:size]
    least = FRAME_BYTES if size >= 2 else FRAME_BYTES - 8  # an empty one of version 1: who knows which it was
    for read in (decode, read_header):
        with pytest.raises(CorruptBatch, match=f"{size} bytes are fewer than the {least}"):
            read(data, PLACE)


def test_version_zero_is_corrupt() -> None:
    """Versions begin at 1, so zeros on disk are not a batch."""
    data = resealed(patched(sealed([0, None, [b"v"], None, None]), 1, b"\0"))
    with pytest.raises(CorruptBatch, match="version 0"):
        decode(data, PLACE)


@pytest.mark.parametrize(("count", "span"), [(0, 0), (0, 1), (2, 1), (2**32 - 1, 1)])
def test_counts_that_can_not_be_are_corrupt(count: int, span: int) -> None:
    """A batch has a record, and no more records than offsets."""
    data = sealed([0, None, [b"v"], None, None], count=count, span=span)
    with pytest.raises(CorruptBatch, match=f"{count} records over {span} offsets"):
        read_header(data, PLACE)


@pytest.mark.parametrize(("at", "bits"), [(2, range(8)), (3, [2, 6, 7]), (46, range(8)), (47, range(8))])
def test_unknown_bits_are_too_new(at: int, bits: list[int]) -> None:
    """A bit that means nothing to us may mean everything to who set it; so may a dictionary of nothing."""
    for bit in bits:
        data = resealed(patched(seal(one(), largest_so_far_ms=5, log_position=0), at, bytes([1 << bit])))
        with pytest.raises(FormatTooNew, match="which this eventlog does not know"):
            decode(data, PLACE)
        assert read_header(data, PLACE).unknown == (1 << bit) << (8 if at % 2 == 0 else 0)


@pytest.mark.parametrize("bit", range(16))
def test_version_2_has_no_flags(bit: int) -> None:
    """What got a meaning in version 3 has none in a batch of version 2."""
    data = seal_version_2(one(), largest_so_far_ms=5, log_position=0)
    assert decode(data, PLACE).values == (b"v",)
    with pytest.raises(FormatTooNew, match="which this eventlog does not know"):
        decode(resealed(patched(data, 2, (1 << bit).to_bytes(2, "big"))), PLACE)


@pytest.mark.parametrize("flags", [0b11, KAFKA << 5 | 1, KAFKA << 5 | RUNS, 2 << 5, 3 << 5, DICTIONARY | PLACE_FLAG])
def test_flags_that_mean_nothing_together_are_too_new(flags: int) -> None:
    """Their parts are not looked for: nobody knows which there are."""
    data = resealed(patched(seal(one(), largest_so_far_ms=5, log_position=0), 2, flags.to_bytes(2, "big")))
    assert (read_header(data, PLACE).unknown, read_header(data, PLACE).body_at) == (flags, HEADER_BYTES)
    with pytest.raises(FormatTooNew, match="which this eventlog does not know"):
        decode(data, PLACE)


# --- the parts of version 3 -------------------------------------------------------------------------------------------

KEY = struct.pack(">IIQ", 7, 3, 41)


def with_parts(flags: int, parts: bytes, body: bytes | None = None) -> bytes:
    """A batch with a true checksum around flags, parts and a body."""
    data = sealed([0, None, [b"v"], None, None])
    whole = patched(data, 2, flags.to_bytes(2, "big"))
    return resealed(whole[:HEADER_BYTES] + parts + (data[HEADER_BYTES:-4] if body is None else body) + bytes(4))


@pytest.mark.parametrize("size", range(1850, 1863))
def test_large_batches_say_where_they_belong(size: int) -> None:
    """One of more than 1,920 bytes without its place: LMDB keeps it apart from its key."""
    data = seal(one(b"x" * (size - 9)), largest_so_far_ms=5, log_position=0, key=KEY)
    header = read_header(data, PLACE)
    assert header.place == (KEY if size > 1920 - FRAME_BYTES else None)
    assert len(data) == size + FRAME_BYTES + (len(KEY) if header.place else 0)
    assert decode(data, PLACE).values == (b"x" * (size - 9),)


@pytest.mark.parametrize("raw_bytes", [0, 2**31, 2**32 - 1])
def test_a_body_of_an_impossible_length_is_corrupt(raw_bytes: int) -> None:
    """The bound holds before anything is decompressed."""
    with pytest.raises(CorruptBatch, match=f"{raw_bytes} bytes uncompressed"):
        read_header(with_parts(1, struct.pack(">I", raw_bytes)), PLACE)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [(PLACE_FLAG, b""), (PLACE_FLAG, KEY[:8]), (1, b""), (RUNS, b""), (RUNS, b"\0\0\0\5"), (RUNS, b"\xff\xff\xff\xff")],
)
def test_parts_that_do_not_fit_are_corrupt(flags: int, parts: bytes) -> None:
    """A body follows them, of a byte at least."""
    for read in (decode, read_header):
        with pytest.raises(CorruptBatch):
            read(with_parts(flags, parts, b""), PLACE)


def test_positions_may_come_in_runs() -> None:
    """A batch that was made of several knows where each was in the order of the log."""
    body = msgpack.packb([0, None, [b"a", b"b"], None, [0, 5]])
    later = [Run(2, 20), Run(5, 23), Run(6, 2**62)]
    data = seal(EncodedBatch(2, 7, 5, 5, body), largest_so_far_ms=5, log_position=10, later_runs=later)
    header = read_header(data, PLACE)
    assert read_runs(header, data, PLACE) == [(0, 10), *later]
    assert decode(data, PLACE).deltas == (0, 5)
    assert read_runs(read_header(seal(one(), largest_so_far_ms=5, log_position=9), PLACE), data, PLACE) == [(0, 9)]


@pytest.mark.parametrize(
    ("runs", "complaint"),
    [
        (5, "not pairs of numbers"),
        ([], "not pairs of numbers"),
        ([1], "not pairs of numbers"),
        ([1, 9, 2], "not pairs of numbers"),
        ([1, None], "not pairs of numbers"),
        ([True, 9], "not pairs of numbers"),
        ([0, 9], "do not grow within a span of 5"),
        ([5, 9], "do not grow within a span of 5"),
        ([2, 9, 2, 12], "do not grow within a span of 5"),
        ([2, 1], "one reaches into the next"),
        ([1, 9, 3, 10], "one reaches into the next"),
        ([1, -9], "one reaches into the next"),
        (b"\xc1", "cannot be read"),
        (b"\xdd\xff\xff\xff\xff", "cannot be read"),
    ],
)
def test_runs_that_cannot_be_are_corrupt(runs: object, complaint: str) -> None:
    """Under a true checksum, too: the order of the log would lead to other records."""
    packed = runs if isinstance(runs, bytes) else msgpack.packb(runs)
    body = msgpack.packb([0, None, [b"v"], None, [4]])
    data = patched(with_parts(RUNS, struct.pack(">I", len(packed)) + packed, body), 8, struct.pack(">I", 5))
    with pytest.raises(CorruptBatch, match=complaint):
        decode(resealed(data), PLACE)


def test_checksum_is_judged_before_the_flags() -> None:
    """A flipped flag is damage, not a newer format."""
    with pytest.raises(CorruptBatch, match="checksum"):
        decode(patched(seal(one(), largest_so_far_ms=5, log_position=0), 3, b"\x80"), PLACE)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not an array of five columns"),
        (b"\xc1", "not an array of five columns"),
        (b"\x95\x00\xc0", "not an array of five columns"),
        (b"\xdd\xff\xff\xff\xff", "not an array of five columns"),
        (b"\x95\x00\xc0\x91\xc4\x01v\xc0\xc0\x00", "not an array of five columns"),
        (b"\x95\x00\xc0\x91\xa1\xff\xc0\xc0", "not an array of five columns"),
        (b"\x91" * 2000 + b"\xc0", "not an array of five columns"),
        (5, "not an array of five columns"),
        ([0, None, [b"v"], None], "not an array of five columns"),
        ([0, None, [b"v"], None, None, None], "not an array of five columns"),
        ([0, 5, [b"v"], None, None], "keys does not have 1"),
        ([0, [], [b"v"], None, None], "keys does not have 1"),
        ([0, None, [b"v"] * 2, None, None], "values does not have 1"),
        ([0, None, b"v", None, None], "values does not have 1"),
        ([0, None, None, None, None], "has no values"),
        ([0, None, [b"v"], {}, None], "headers does not have 1"),
        ([0, None, [b"v"], None, [0, 1]], "offsets does not have 1"),
        ([1, None, [b"v"], None, None], "timestamps does not have 1"),
        ([None, None, [b"v"], None, None], "timestamps does not have 1"),
        ([0.0, None, [b"v"], None, None], "timestamps does not have 1"),
        ([[], None, [b"v"], None, None], "timestamps does not have 1"),
        ([[b"0"], None, [b"v"], None, None], "timestamps holds something other"),
        ([0, None, [b"v"], None, [1]], "offsets do not grow within a span of 1"),
        ([0, None, [b"v"], None, [-1]], "offsets do not grow within a span of 1"),
        ([0, None, [b"v"], None, [b"0"]], "offsets do not grow within a span of 1"),
    ],
)
def test_body_that_is_none_is_corrupt(body: object, complaint: str) -> None:
    """A body under a true checksum is still looked at before it is believed."""
    with pytest.raises(CorruptBatch, match=complaint):
        decode(sealed(body), PLACE)


def test_offsets_that_go_back_are_corrupt() -> None:
    """Readers search the offsets of a batch, so they have to grow."""
    with pytest.raises(CorruptBatch, match="do not grow"):
        decode(sealed([0, None, [b"a", b"b"], None, [2, 2]], count=2, span=5), PLACE)


def test_a_gap_without_offsets_is_corrupt() -> None:
    """Fewer records than offsets need the column that says which."""
    with pytest.raises(CorruptBatch, match="2 records without offsets cannot span 3"):
        decode(sealed([0, None, [b"a", b"b"], None, None], count=2, span=3), PLACE)


def test_a_large_count_takes_no_memory_before_the_columns_agree() -> None:
    """A header that names four thousand million records is refused at the price of its bytes."""
    with pytest.raises(CorruptBatch, match="has no values"):
        decode(sealed([0, None, None, None, None], count=2**32 - 1), PLACE)


@pytest.mark.parametrize("read", [decode, read_header])
def test_errors_say_which_batch_what_is_stored_and_what_to_do(read: Callable[[bytes, object], object]) -> None:
    """The message of a damaged batch names its place, and a way to go on."""
    with pytest.raises(CorruptBatch) as caught:
        read(b"", PLACE)
    message = str(caught.value)
    assert PLACE in message
    assert "other batches are unaffected" in message
    assert "seek()" in message


# --- damage -----------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_is_found() -> None:
    """No single bit of a stored batch can change unnoticed."""
    [batch] = BatchEncoder().encode(
        [b"alice", None], [b"tea", None], timestamps_ms=[5, 3], headers=[(("trace", b"\1"),), ()]
    )
    data = seal(batch, largest_so_far_ms=NO_TIME_MS + 2**63 + 9, log_position=0)
    decode(data, PLACE)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CorruptBatch, FormatTooNew)) as caught:
            decode(bytes(flipped), PLACE)
        assert caught.type is CorruptBatch or bit // 8 == 1, f"bit {bit} of the batch looks like a newer format"


@given(columns(), st.data())
def test_every_cut_is_found(given_columns: tuple[Any, Any, Any, Any], data: st.DataObject) -> None:
    """A batch that lost its end, or got something added, is damaged."""
    keys, values, times, headers = given_columns
    [batch] = BatchEncoder().encode(keys, values, timestamps_ms=times, headers=headers)
    stored = seal(batch, largest_so_far_ms=batch.largest_ms, log_position=0)
    cut = data.draw(st.integers(0, len(stored) - 1))
    for damaged in (stored[:cut], stored + stored[: cut + 1]):
        with pytest.raises(CorruptBatch):
            decode(damaged, PLACE)


@given(key=BYTES, value=BYTES, moment=TIME_MS, headers=HEADERS.map(tuple))
def test_one_record_is_packed_as_columns_of_one(key: Any, value: Any, moment: int, headers: Any) -> None:
    """The quick way for one record gives the bytes that the way for many gives."""
    encoder = BatchEncoder()
    quick = encoder.encode_one(key, value, timestamp_ms=moment, headers=headers)
    keys, column = None if key is None else [key], [headers] if headers else None
    [batch] = encoder.encode(keys, [value], timestamps_ms=moment, headers=column)
    assert seal(quick, largest_so_far_ms=moment, log_position=7) == seal(
        batch, largest_so_far_ms=moment, log_position=7
    )
