"""Compressed bodies give back what went in, are bounded, and lie to nobody."""

from __future__ import annotations

import random
import struct
import sys
import tracemalloc
from typing import Any

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.accelerators import python_function
from eventlog.batches import compression, header
from eventlog.batches import format as batch_format
from eventlog.batches.compression import LEAST_BYTES, MOST_RECORDS_BYTES, Compressor
from eventlog.batches.format import TARGET_BYTES, BatchEncoder, Columns, decode
from eventlog.batches.header import (
    DICTIONARY,
    HEADER_BYTES,
    EncodedBatch,
    Run,
    read_header,
    read_runs,
    seal,
    unpacked_bytes,
)
from eventlog.errors import CorruptBatch, FormatTooNew, MissingLibrary
from tests.unit.test_format import PLACE, columns, resealed

NAMES = ["zstd", "lz4"]
KEY = struct.pack(">IIQ", 7, 3, 41)


def event(number: int) -> bytes:
    """A small event, as programs send them."""
    return b'{"event": "page_view", "user": "user-%d", "path": "/products/%d"}' % (number % 97, number * 7919 % 5000)


EVENTS = [event(number) for number in range(60)]


def compressed(name: str, values: list[bytes | None], **options: Any) -> EncodedBatch:
    """One batch."""
    [batch] = BatchEncoder().encode(options.get("keys"), values, timestamps_ms=5, compressor=Compressor(name, "test"))
    return batch


def sealed(batch: EncodedBatch, **options: Any) -> bytes:
    """Its bytes."""
    return seal(batch, largest_so_far_ms=5, log_position=9, **options)


@pytest.mark.parametrize("name", NAMES)
@given(columns(), st.integers(1, 40))
def test_records_come_back_as_they_went_in(name: str, given_columns: tuple[Any, Any, Any, Any], times: int) -> None:
    """Keys, values, times and headers, each many times over, with and without accelerators."""
    keys, values, moments, headers = given_columns
    keys, values = None if keys is None else keys * times, values * times
    moments = moments if isinstance(moments, int) else moments * times
    headers = None if headers is None else headers * times
    [batch] = BatchEncoder().encode(
        keys, values, timestamps_ms=moments, headers=headers, compressor=Compressor(name, "test")
    )
    data = sealed(batch, key=KEY)
    columns_read = [decode(data, PLACE)]
    patch = pytest.MonkeyPatch()
    with patch.context() as pure:
        pure.setattr(batch_format, "_unpack_columns", python_function("unpack_columns"))
        columns_read.append(decode(data, PLACE))
    for found in columns_read:
        assert found.keys == (tuple(keys) if keys else (None,) * len(values))
        assert found.values == tuple(values)
        assert list(found.timestamps_ms) == ([moments] * len(values) if isinstance(moments, int) else moments)
        assert list(found.headers) == (headers or [()] * len(values))
    assert read_header(data, PLACE).raw_bytes == batch.raw_bytes
    assert unpacked_bytes(data) == max(batch.raw_bytes, len(data))


@pytest.mark.parametrize("name", NAMES)
def test_small_bodies_and_those_that_do_not_shrink_stay_as_they_are(name: str) -> None:
    """Their bytes are those of a topic without compression."""
    noise = random.Random(7).randbytes(5_000)
    for values in ([b"x" * (LEAST_BYTES - 20)], [noise], [None], [noise[:600], b"x" * 60]):
        batch = compressed(name, values)
        [plain] = BatchEncoder().encode(None, values, timestamps_ms=5)
        assert (batch.compression, batch.raw_bytes, batch.body) == (0, 0, plain.body)
        assert batch.records_bytes == len(plain.body)
    batch = compressed(name, [b"x" * LEAST_BYTES])
    assert len(batch.body) < 40
    assert batch.records_bytes == batch.raw_bytes > LEAST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_takes_more_records_as_its_topic_compresses_better(name: str) -> None:
    """None is larger on disk than any other batch, nor has more records than anybody should decompress for one."""
    values = [event(number) for number in range(60_000)]
    compressor = Compressor(name, "test")
    batches = BatchEncoder().encode(None, values, timestamps_ms=5, compressor=compressor)
    again = BatchEncoder().encode(None, values, timestamps_ms=5, compressor=compressor)
    plain = BatchEncoder().encode(None, values, timestamps_ms=5)
    assert len(again) <= len(batches) < len(plain) / 2
    for some in (batches, again):
        sizes = [len(sealed(batch, key=KEY)) for batch in some]
        assert max(sizes) <= TARGET_BYTES
        assert max(batch.records_bytes for batch in some) <= MOST_RECORDS_BYTES
        assert [value for batch in some for value in decode(sealed(batch), PLACE).values] == values


@pytest.mark.parametrize("name", NAMES)
def test_what_was_thought_to_compress_well_is_packed_again(name: str) -> None:
    """Noise after events: the pieces become smaller, and the records keep their order."""
    rng = random.Random(7)
    compressor = Compressor(name, "test")
    values: list[bytes] = []
    for _ in range(20):
        values += [event(number) for number in range(rng.randrange(1, 9000))]
        values += [rng.randbytes(300) for _ in range(rng.randrange(1, 900))]
    batches = BatchEncoder().encode(None, values, timestamps_ms=5, compressor=compressor)
    assert {batch.compression for batch in batches} == {0, compressor._number}
    assert [value for batch in batches for value in decode(sealed(batch), PLACE).values] == values
    assert max(len(sealed(batch, key=KEY)) for batch in batches) <= TARGET_BYTES
    assert sum(batch.count for batch in batches) == len(values)


@pytest.mark.parametrize("name", NAMES)
def test_a_record_larger_than_a_batch_is_one(name: str) -> None:
    """However large it is before or after."""
    for value in (b"x" * 3_000_000, random.Random(7).randbytes(700_000)):
        batch = compressed(name, [value])
        assert decode(sealed(batch, key=KEY), PLACE).values == (value,)


@pytest.mark.parametrize("name", NAMES)
def test_place_and_runs_stand_in_front_of_a_compressed_body(name: str) -> None:
    """Whoever looks for a position decompresses nothing."""
    rng = random.Random(7)
    batch = compressed(name, [2 * rng.randbytes(32).hex().encode() for _ in range(60)])
    data = sealed(batch, key=KEY, later_runs=[Run(40, 200)])
    found = read_header(data, PLACE)
    assert (found.place, found.raw_bytes) == (KEY, batch.raw_bytes)
    assert read_runs(found, data, PLACE) == [(0, 9), (40, 200)]
    assert decode(data, PLACE).runs(59)[1].log_position == 200


# -- lies --------------------------------------------------------------------------------------------------------------


def with_length(data: bytes, raw_bytes: int) -> bytes:
    """The same batch with another raw length, under a checksum that holds."""
    return resealed(data[:HEADER_BYTES] + struct.pack(">I", raw_bytes) + data[HEADER_BYTES + 4 :])


def with_body(data: bytes, body: bytes) -> bytes:
    """The same batch with another body."""
    return resealed(data[: HEADER_BYTES + 4] + body + bytes(4))


def refuse(data: bytes) -> int:
    """Shows that a batch is refused in our words, and returns the bytes that this took."""
    compression.library("zstd", "test"), compression.library("lz4", "test")
    tracemalloc.start()
    try:
        with pytest.raises(CorruptBatch, match=r"its body is not [0-9]+ bytes, compressed by"):
            decode(data, PLACE)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("more", [-1, 1, 1000, 2**20, 2**31 - 1 - 20_000])
def test_a_body_that_is_not_as_long_as_it_says_is_corrupt(name: str, more: int) -> None:
    """And takes no memory for a lie."""
    batch = compressed(name, EVENTS)
    assert refuse(with_length(sealed(batch), batch.raw_bytes + more)) < 200_000


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", ["cut", "longer", "twice", "nothing", "noise"])
def test_a_body_that_ends_early_or_goes_on_is_corrupt(name: str, change: str) -> None:
    """It is one whole piece, and nothing follows."""
    batch = compressed(name, EVENTS)
    body = {
        "cut": batch.body[:-3],
        "longer": batch.body + b"\0",
        "twice": batch.body * 2,
        "nothing": b"\0",
        "noise": random.Random(7).randbytes(300),
    }[change]
    assert refuse(with_body(sealed(batch), body)) < 200_000


def test_a_block_of_lz4_that_could_not_become_as_much_takes_no_memory() -> None:
    """A byte of it stands for 255 at the most."""
    data = sealed(compressed("lz4", [bytes(1000)]))
    size = len(data) - HEADER_BYTES - 8
    assert refuse(with_length(data, 255 * size + 1)) < 10_000
    honest = lz4.block.compress(bytes(10**6), store_size=False)
    assert 255 * len(honest) >= 10**6


def test_a_frame_of_zstd_that_says_nothing_of_its_size_is_corrupt() -> None:
    """Nobody could tell beforehand how much comes out of it."""
    batch = compressed("zstd", EVENTS)
    module: Any = sys.modules.get("compression.zstd") or sys.modules["backports.zstd"]
    stream = module.ZstdCompressor(1)
    body = stream.compress(decode_body(batch)) + stream.flush()
    assert module.get_frame_info(body).decompressed_size is None
    refuse(with_body(sealed(batch), body))


def decode_body(batch: EncodedBatch) -> bytes:
    """The body as it was."""
    data = sealed(batch)
    return compression.raw_body(data, read_header(data, PLACE), PLACE)


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_judged_after_they_are_decompressed(name: str) -> None:
    """A body of other columns than the header says is that of a batch without compression."""
    batch = compressed(name, EVENTS)
    batch.count = batch.span = 59
    with pytest.raises(CorruptBatch, match="does not have 59 entries"):
        decode(sealed(batch), PLACE)


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_found_before_anything_is_decompressed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the checksum, which is of the stored bytes."""
    data = sealed(compressed(name, EVENTS))

    def never(*_: object) -> Columns:
        raise AssertionError("a damaged body was decompressed")

    monkeypatch.setattr(compression, "raw_body", never)
    for bit in range(8 * 2, 8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptBatch):
            decode(bytes(flipped), PLACE)


@pytest.mark.parametrize("name", NAMES)
def test_spoiled_bodies_are_corrupt_or_read(name: str, rng: random.Random) -> None:
    """Under a checksum that holds; with and without accelerators alike, and in little memory."""
    data = sealed(compressed(name, EVENTS))
    seen = {True: 0, False: 0}
    for _ in range(3_000):
        spoiled = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 8])):
            spoiled[rng.randrange(HEADER_BYTES, len(spoiled) - 4)] = rng.randrange(256)
        try:
            found: Any = decode(resealed(bytes(spoiled)), PLACE)
        except CorruptBatch as error:
            found = str(error)
        with pytest.MonkeyPatch.context() as pure:
            pure.setattr(batch_format, "_unpack_columns", python_function("unpack_columns"))
            try:
                again: Any = decode(resealed(bytes(spoiled)), PLACE)
            except CorruptBatch as error:
                again = str(error)
        seen[isinstance(found, str)] += 1
        if isinstance(found, str):
            assert found == again
        else:
            assert (found.keys, found.values, found.count) == (again.keys, again.values, again.count)
    assert seen[True] > 100, seen


@pytest.mark.parametrize(("number", "name"), [(1, "zstd"), (2, "lz4")])
def test_a_dictionary_is_too_new(number: int, name: str) -> None:
    """No eventlog writes one yet."""
    data = sealed(compressed(name, EVENTS))
    parts = data[HEADER_BYTES : HEADER_BYTES + 4] + bytes(4)
    flags = struct.pack(">H", number | DICTIONARY)
    with pytest.raises(FormatTooNew, match=f"compressed by {name} with a dictionary"):
        decode(resealed(data[:2] + flags + data[4:HEADER_BYTES] + parts + data[HEADER_BYTES + 4 :]), PLACE)


# -- libraries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_without_the_library_a_batch_is_an_error_that_names_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said to be damaged; once it is installed, the next call reads."""
    data = sealed(compressed(name, EVENTS))
    with monkeypatch.context() as patch:
        compression._loaded.cache_clear()
        for module in ("compression.zstd", "backports.zstd", "lz4.block"):
            patch.setitem(sys.modules, module, None)
        with pytest.raises(MissingLibrary, match=rf'Nothing is lost.*pip install "eventlog\[{name}\]"') as caught:
            decode(data, PLACE)
        assert (caught.value.extra, caught.value.partition) == (name, None)
        with pytest.raises(MissingLibrary, match="cannot write to topic"):
            Compressor(name, "write to topic 'orders'")
    assert decode(data, PLACE).values == tuple(EVENTS)


def test_sizes_of_batches_that_are_none_are_those_of_their_bytes() -> None:
    """Whoever adds them up has not checked them."""
    for data in (b"", b"\xe7", bytes(3), bytes(100), b"\xe7\x02\x00\x03" + bytes(96)):
        assert unpacked_bytes(data) == len(data)
    assert unpacked_bytes(b"\xe7\x03\x00\x03" + b"\xff" * 96) == 2**31 - 1
    assert header.COMPRESSIONS[1:] == tuple(NAMES)
