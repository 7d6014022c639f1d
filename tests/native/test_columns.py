"""Columns packed in C are what msgpack packs; bodies unpacked in C are what msgpack unpacks, or left to it."""

from __future__ import annotations

import gc
import random
import struct
import sys
import tracemalloc
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import attrs
import google_crc32c
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.batches import format as batches
from eventlog.batches.format import TARGET_BYTES
from eventlog.batches.header import FRAME_BYTES, HEADER_BYTES, MAGIC, VERSION, EncodedBatch, seal
from eventlog.errors import EventLogError
from eventlog.store.records.log_order import order_key
from eventlog.store.rows.tables import batch_key
from tests.fuzz.test_decoders import MUTATIONS, mutants
from tests.native.accelerators import compiled, memory_runs_out
from tests.native.pure import pure

QUICK_COUNT = 10_000
HEADS_BYTES = 8
"""How much longer the accelerator may take the heads of two columns to be: it does not know the count yet."""
LIES = [
    b"\xdd\xff\xff\xff\xff",
    b"\x95\x00\xc0\xdd\xff\xff\xff\xff",
    b"\x95\x00\xc0\xdd\x7f\xff\xff\xff\xc0\xc0\xc0",
    b"\x95\x00\xc0\x91\xc6\xff\xff\xff\xff",
    b"\x95\x00\xc0\x91\xc6\x80\x00\x00\x00x",
    b"\x95\x00\xc0\x91\xc5\xff\xff",
    b"\x95\x00\xc0\x91\xc4",
    b"\x95\x00\xc0\xdc\xff",
    b"\x95\x00",
    b"",
    b"\xc0" * 100,
]


class Text(str):
    """A text of a user's own."""

    __slots__ = ()


class Octets(bytes):
    """Bytes of a user's own."""


def as_bytes(column: Sequence[Any] | None) -> list[bytes | None] | None:
    """A column of bytes or texts as bytes."""
    return None if column is None else [one.encode() if isinstance(one, str) else one for one in column]


def packed(keys: Any, values: Any) -> bytes:
    """A body by msgpack."""
    return bytes(msgpack.packb([0, as_bytes(keys), as_bytes(values), None, None], use_bin_type=True))


def unpacked(body: bytes, count: int, key_type: type, value_type: type) -> object:
    """Keys and values by msgpack, None when they are not what the accelerator knows."""
    try:
        times, keys, values, headers, deltas = msgpack.unpackb(body, use_list=False)
        if type(times) is not int or times != 0 or headers is not None or deltas is not None:
            return None
        return tuple(_typed(column, count, kind) for column, kind in ((keys, key_type), (values, value_type)))
    except (ValueError, TypeError, msgpack.UnpackException):
        return None


def _typed(column: Any, count: int, kind: type) -> tuple[Any, ...] | None:
    if column is None:
        return None
    if (
        not isinstance(column, tuple)
        or len(column) != count
        or not {type(one) for one in column} <= {bytes, type(None)}
    ):
        raise ValueError("no column")
    return tuple(one.decode() if one is not None and kind is str else one for one in column)


# -- packing -----------------------------------------------------------------------------------------------------------

octets = st.binary(max_size=20) | st.sampled_from([b"x" * size for size in (255, 256, 65_535, 65_536)])
texts = st.text(st.characters(max_codepoint=127), max_size=20) | st.sampled_from(["x" * 255, "x" * 256])
strangers = st.sampled_from(
    ["\xe9", "\u20ac", "\U0001f375", "\ud800", Text("x"), Octets(b"x"), bytearray(b"x"), 5, True, ()]
)


def columns_of(*kinds: Any) -> Any:
    """Two columns of one length, lists or tuples; the first may be missing."""
    rows = st.lists(st.tuples(*(st.none() | kind for kind in kinds)), min_size=1, max_size=40)
    return st.tuples(rows, st.booleans(), st.booleans(), st.booleans()).map(_columns)


def _columns(drawn: Any) -> tuple[Any, Any]:
    rows, has_keys, are_keys_listed, are_values_listed = drawn
    keys, values = zip(*rows, strict=True)
    return (
        (list(keys) if are_keys_listed else keys) if has_keys else None,
        list(values) if are_values_listed else values,
    )


TYPES = [(bytes, octets), (str, texts)]


@pytest.mark.timeout(900)  # for 10,000 examples
@given(data=st.data())
def test_the_rows_of_a_record_are_those_of_a_batch_of_one(data: Any) -> None:
    """Byte for byte what the encoder and `seal` make, or nothing where a batch is large or an item is no bytes."""
    unsigned, signed = st.integers(0, 2**32 - 1), st.integers(-(2**62), 2**62)
    topic_id, partition = data.draw(unsigned), data.draw(unsigned)
    offset, log_position = data.draw(st.integers(0, 2**62)), data.draw(st.integers(0, 2**62))
    time_ms = data.draw(signed)
    largest_ms = max(time_ms, data.draw(signed))
    items = st.none() | octets | st.binary(min_size=800, max_size=2000) | strangers
    key, value = data.draw(items), data.draw(items)
    rows = compiled.seal_record(topic_id, partition, offset, log_position, time_ms, largest_ms, key, value)
    if any(item is not None and type(item) is not bytes for item in (key, value)):
        assert rows is None
        return
    batch = batches.BatchEncoder().encode_one(key, value, timestamp_ms=time_ms)
    row_key, step = batch_key(topic_id, partition, offset), order_key(log_position)
    sealed = seal(batch, largest_so_far_ms=largest_ms, log_position=log_position, key=row_key)
    if len(sealed) > 1920:
        assert rows is None
    else:
        assert rows == (row_key, sealed, step, compiled.seal_row(step, row_key))


@pytest.mark.timeout(900)  # for 10,000 examples
@given(data=st.data())
def test_the_rows_of_a_batch_are_those_that_seal_makes(data: Any) -> None:
    """Byte for byte, or nothing where the batch is large."""
    unsigned, signed = st.integers(0, 2**32 - 1), st.integers(-(2**62), 2**62)
    topic_id, partition, span = data.draw(unsigned), data.draw(unsigned), data.draw(st.integers(1, 2**32 - 1))
    count, last = data.draw(st.integers(1, span)), data.draw(st.integers(span - 1, 2**62))
    log_position = data.draw(st.integers(0, 2**62))
    first_ms, largest_ms, largest_so_far_ms = data.draw(signed), data.draw(signed), data.draw(signed)
    body = data.draw(octets | st.binary(min_size=1800, max_size=1900))
    rows = compiled.seal_batch(
        topic_id, partition, last, log_position, largest_so_far_ms, count, span, first_ms, largest_ms, body
    )
    row_key, step = batch_key(topic_id, partition, last), order_key(log_position + span - 1)
    batch = EncodedBatch(count, span, first_ms, largest_ms, body)
    sealed = seal(batch, largest_so_far_ms=largest_so_far_ms, log_position=log_position, key=row_key)
    if len(sealed) > 1920:
        assert rows is None
    else:
        assert rows == (row_key, sealed, step, compiled.seal_row(step, row_key))


def test_a_batch_that_no_row_has_is_left_to_python() -> None:
    """Numbers that are negative or do not fit together; what is no number or no body is an error."""
    good = (1, 0, 7, 9, 5, 3, 4, 5, 5, b"body")
    assert compiled.seal_batch(*good) is not None
    for place, bad in ((0, -1), (0, 2**32), (1, -1), (1, 2**32), (2, 2), (3, -1), (5, 0), (5, 5), (6, 2), (6, 2**32)):
        assert compiled.seal_batch(*good[:place], bad, *good[place + 1 :]) is None, (place, bad)
    for bad_call in ((), good[:-1], ("1", *good[1:]), (*good[:-1], "body")):
        with pytest.raises(TypeError):
            compiled.seal_batch(*bad_call)


def test_numbers_that_no_row_has_are_left_to_python() -> None:
    """Negative ones, and those that do not fit; what is no number is an error."""
    good = (1, 0, 7, 9, 5, 5, None, b"tea")
    assert compiled.seal_record(*good) is not None
    for place, bad in ((0, -1), (0, 2**32), (1, -1), (1, 2**32), (2, -1), (3, -1)):
        assert compiled.seal_record(*good[:place], bad, *good[place + 1 :]) is None
    for bad_call, error in (((), TypeError), (good[:-1], TypeError), (("1", *good[1:]), TypeError)):
        with pytest.raises(error):
            compiled.seal_record(*bad_call)
    with pytest.raises(OverflowError):
        compiled.seal_record(1, 0, 2**63, *good[3:])


@pytest.mark.parametrize(("value_type", "values"), TYPES, ids=["bytes", "str"])
@pytest.mark.parametrize(("key_type", "keys"), TYPES, ids=["bytes", "str"])
@pytest.mark.timeout(900)  # for 10,000 examples
@given(data=st.data())
def test_a_body_is_what_msgpack_packs(key_type: type, keys: Any, value_type: type, values: Any, data: Any) -> None:
    """Byte for byte, from any record on, and with as many records as fit."""
    key_column, value_column = data.draw(columns_of(keys, values))
    start = data.draw(st.integers(0, len(value_column) - 1))
    most = data.draw(st.integers(-1, 300) | st.sampled_from([TARGET_BYTES, sys.maxsize]))
    body, stop = compiled.pack_columns(key_column, value_column, start, most, key_type, value_type)
    assert start < stop <= len(value_column)

    def part(end: int) -> bytes:
        return packed(None if key_column is None else key_column[start:end], value_column[start:end])

    assert body == part(stop)
    assert len(body) <= most or stop == start + 1
    if stop < len(value_column):
        assert len(part(stop + 1)) > most - HEADS_BYTES, "one more would have fitted"


@given(columns_of(octets | strangers, octets | strangers), st.sampled_from([bytes, str]), st.sampled_from([bytes, str]))
def test_what_is_not_exactly_of_its_type_is_left_to_python(columns: Any, key_type: type, value_type: type) -> None:
    """A subclass, another type, text beyond ASCII: the accelerator says nothing, and never packs anything else."""
    keys, values = columns

    def fits(column: Any, kind: type) -> bool:
        return all(one is None or (type(one) is kind and (kind is bytes or one.isascii())) for one in column or ())

    result = compiled.pack_columns(keys, values, 0, sys.maxsize, key_type, value_type)
    if fits(keys, key_type) and fits(values, value_type):
        assert result == (packed(keys, values), len(values))
    else:
        assert result is None


@pytest.mark.parametrize("count", [1, 15, 16, 17, 65_535, 65_536])
@pytest.mark.parametrize("item", [None, b"", b"x", b"x" * 255, b"x" * 256])
def test_heads_change_where_those_of_msgpack_change(count: int, item: bytes | None) -> None:
    """At 16 and 65,536 entries, at 256 and 65,536 bytes."""
    if count > 1000 and item and len(item) > 1:
        count //= 100
    values = [item] * count
    assert compiled.pack_columns(None, values, 0, sys.maxsize, bytes, bytes) == (packed(None, values), count)
    assert compiled.pack_columns(values, values, 0, sys.maxsize, bytes, bytes) == (packed(values, values), count)


@pytest.mark.parametrize("size", [65_535, 65_536, 1_000_000])
def test_large_items_have_the_heads_of_msgpack(size: int) -> None:
    """Also beyond what fits, one at a time."""
    values = [b"a" * size, b"b" * size, b"c"]
    assert compiled.pack_columns(None, values, 1, 100, bytes, bytes) == (packed(None, values[1:2]), 2)
    assert compiled.pack_columns(values, values, 0, sys.maxsize, bytes, bytes) == (packed(values, values), 3)
    texts = [one.decode() for one in values]
    assert compiled.pack_columns(texts, values, 0, sys.maxsize, str, bytes) == (packed(values, values), 3)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (None, [b""], 0, 10, bytes),
        (None, [b""], 0, 10, bytes, int),
        (None, [b""], 0, 10, None, bytes),
        (None, [b""], "0", 10, bytes, bytes),
        (None, [b""], 0, 2**70, bytes, bytes),
        (None, [b""], 1, 10, bytes, bytes),
        (None, [b""], -1, 10, bytes, bytes),
        ([b"", b""], [b""], 0, 10, bytes, bytes),
        ((), [b""], 0, 10, bytes, bytes),
    ],
)
def test_wrong_arguments_are_refused(arguments: Any) -> None:
    """Nothing is read where nothing is."""
    with pytest.raises((TypeError, ValueError, OverflowError)):
        compiled.pack_columns(*arguments)


@pytest.mark.parametrize("column", [[], (), iter([b""]), {b"": 1}, b"abc", "abc", 5, type("L", (list,), {})([b""])])
def test_what_is_no_list_or_tuple_is_left_to_python(column: Any) -> None:
    """An empty one too."""
    if column != ():
        assert compiled.pack_columns(None, column, 0, 10, bytes, bytes) is None
        assert compiled.pack_columns(column, [b""], 0, 10, bytes, bytes) is None


@pytest.mark.timeout(900)  # for 10,000 examples
@given(columns_of(octets, octets), st.sampled_from([200, 1000, TARGET_BYTES]), st.integers(1, 60))
def test_an_encoder_gives_the_same_records_with_and_without(columns: Any, target_bytes: int, times: int) -> None:
    """The same bytes where it is one batch; else batches may end elsewhere, and none is too large."""
    keys, values = (None if column is None else column * times for column in columns)
    made = [
        module.BatchEncoder(target_bytes=target_bytes).encode(keys, values, timestamps_ms=7)
        for module in (batches, pure("eventlog.batches.format"))
    ]
    assert isinstance(pure("eventlog.batches.format")._pack_columns, FunctionType)
    for encoded in made:
        assert all(one.count == 1 or len(one.body) + FRAME_BYTES <= target_bytes for one in encoded)
        read = [batches.decode(seal(one, largest_so_far_ms=7, log_position=0), "here") for one in encoded]
        assert [value for one in read for value in one.values] == list(values)
        assert [key for one in read for key in one.keys] == list(keys or [None] * len(values))
        assert {moment for one in read for moment in one.timestamps_ms} == {7}
    if max(map(len, made)) == 1:
        assert attrs.astuple(made[0][0]) == attrs.astuple(made[1][0])


# -- unpacking ---------------------------------------------------------------------------------------------------------


def look(body: bytes, count: int, key_type: type, value_type: type) -> object:
    """What the accelerator says of a body, after a comparison with msgpack."""
    padded = b"\x95" + body + b"\x00" * 4
    found = compiled.unpack_columns(padded, 1, 1 + len(body), count, key_type, value_type)
    if found is not None:
        assert found == unpacked(body, count, key_type, value_type), body.hex()
    return found


@given(columns_of(octets, octets), st.sampled_from([bytes, str]), st.sampled_from([bytes, str]))
def test_what_msgpack_packs_is_read_as_msgpack_reads_it(columns: Any, key_type: type, value_type: type) -> None:
    """Every body that is as we write it is known to the accelerator, unless text was asked for where there is none."""
    keys, values = columns
    body, count = packed(keys, values), len(values)
    found = look(body, count, key_type, value_type)
    assert found == unpacked(body, count, key_type, value_type)
    assert look(body, count + 1, key_type, value_type) is None or keys is None is values
    assert look(body + b"\xc0", count, key_type, value_type) is None
    assert look(body[:-1], count, key_type, value_type) is None


@given(st.lists(st.none() | st.text(max_size=10), min_size=1, max_size=20))
def test_texts_come_back(texts: list[str | None]) -> None:
    """Those beyond ASCII too; what has no UTF-8 is not asked of it."""
    whole = [None if one is None else one.encode("utf-8", "replace").decode() for one in texts]
    assert look(packed(whole, whole), len(texts), str, str) == (tuple(whole), tuple(whole))


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc3"])
def test_what_is_no_utf8_is_left_to_python(bad: bytes) -> None:
    """Also surrogates and overlong forms."""
    body = packed([b"good", bad], [b"a", b"b"])
    assert look(body, 2, str, bytes) is None
    assert look(body, 2, bytes, bytes) == ((b"good", bad), (b"a", b"b"))


@given(st.binary(max_size=60), st.integers(0, 20) | st.sampled_from([2**31 - 1, 2**32 - 1, sys.maxsize, 2**70]))
def test_any_bytes_are_read_as_msgpack_reads_them_or_left_to_it(body: bytes, count: int) -> None:
    """Bytes from anywhere, and a count that lies."""
    for prefix in (b"", b"\x95\x00", b"\x95\x00\xc0", b"\x95\x00\xc0\x91"):
        look(prefix + body, count, bytes, str)


def mutate_bodies(rng: random.Random, count: int) -> dict[bool, int]:
    """Looks at bodies that are nearly right; how many of them the accelerator knew, and how many it did not."""
    seen = {True: 0, False: 0}
    items = [None, b"", b"tea", b"x" * 300, "caf\xe9".encode(), b"\xff"]
    for _ in range(count):
        size = rng.choice([1, 2, 15, 16, 20])
        keys = rng.choice([None, rng.choices(items, k=size)])
        data = bytearray(packed(keys, rng.choices(items, k=size)))
        for _ in range(rng.choice([0, 1, 1, 2, 5])):
            rng.choice(MUTATIONS)(data, rng)
            data = data or bytearray(b"\0")
        types = rng.choice([bytes, str]), rng.choice([bytes, str])
        seen[look(bytes(data), size, *types) is not None] += 1
    return seen


def test_spoiled_bodies_are_read_as_msgpack_reads_them_or_left_to_it(rng: random.Random) -> None:
    """Flipped bits, lost bytes, other numbers: the same result or none."""
    seen = mutate_bodies(rng, QUICK_COUNT)
    assert min(seen.values()) > QUICK_COUNT // 10, seen


@pytest.mark.long
def test_spoiled_bodies_are_read_as_msgpack_reads_them_for_long(rng: random.Random) -> None:
    """The same, more often."""
    mutate_bodies(rng, 100 * QUICK_COUNT)


def decoded(module: Any, data: bytes, **types: type) -> object:
    """What `decode` of a module makes of a batch."""
    try:
        columns = module.decode(data, "here", **types)
    except EventLogError as error:
        return type(error), str(error)
    return [getattr(columns, name) for name in ("count", "span", "deltas", "log_position", "largest_ms")] + [
        list(as_bytes(getattr(columns, name)) or ()) for name in ("keys", "values")
    ] + [list(columns.timestamps_ms), list(columns.headers)]  # fmt: skip


def test_batches_are_decoded_alike_with_and_without(rng: random.Random) -> None:
    """Golden ones and spoiled ones: the same columns, or the same error in the same words."""
    errors = 0
    for data in mutants(rng, QUICK_COUNT // 2):
        expected = decoded(pure("eventlog.batches.format"), data)
        assert decoded(batches, data) == expected, data.hex()
        assert decoded(batches, data, key_type=str, value_type=str) == expected, data.hex()
        errors += isinstance(expected, tuple)
    assert 0 < errors < QUICK_COUNT // 2


@pytest.mark.parametrize("body", LIES)
@pytest.mark.parametrize("count", [0, 1, 2**31 - 1, 2**32 - 1, sys.maxsize, 2**64])
def test_a_lie_about_a_length_takes_no_memory(body: bytes, count: int) -> None:
    """What is not there is not made room for."""
    tracemalloc.start()
    try:
        assert look(body, count, bytes, bytes) is None
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    header = struct.pack(">BBHIIqqqqhHiQ", MAGIC, VERSION, 0, 1, 1, 5, 5, 5, -1, 0, 0, -1, 7)
    assert len(header) == HEADER_BYTES
    data = header + body
    data += struct.pack("<I", google_crc32c.value(data))
    assert decoded(batches, data) == decoded(pure("eventlog.batches.format"), data)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (b"", 0, 0, 1, bytes),
        (b"", 0, 0, 1, bytes, int),
        (bytearray(), 0, 0, 1, bytes, bytes),
        ("", 0, 0, 1, bytes, bytes),
        (b"", 0, 1, 1, bytes, bytes),
        (b"abc", -1, 1, 1, bytes, bytes),
        (b"abc", 2, 1, 1, bytes, bytes),
        (b"abc", 0, 3, -1, bytes, bytes),
        (b"abc", None, 3, 1, bytes, bytes),
    ],
)
def test_no_part_of_the_data_is_refused(arguments: Any) -> None:
    """Nothing is read beyond the ends."""
    with pytest.raises((TypeError, ValueError)):
        compiled.unpack_columns(*arguments)


# -- references and memory ---------------------------------------------------------------------------------------------


def test_references_are_given_back() -> None:
    """What is packed, unpacked, refused or left to Python is held as often as before."""
    value, text, stranger = bytes(300), "x" * 300, Text("x")
    good, mixed = [value] * 20, [value] * 19 + [stranger]
    body, _ = compiled.pack_columns(good, good, 0, 10**6, bytes, bytes)
    spoiled = body[:-1] + b"\x00"

    def all_paths() -> None:
        compiled.pack_columns(good, good, 0, 1000, bytes, bytes)
        compiled.pack_columns([text], (value,), 0, 1000, str, bytes)
        assert compiled.pack_columns(mixed, good, 0, 10**6, bytes, bytes) is None
        with pytest.raises(ValueError, match="differ"):
            compiled.pack_columns(good, good, 20, 1000, bytes, bytes)
        compiled.unpack_columns(body, 0, len(body), 20, bytes, str)
        compiled.seal_record(1, 0, 7, 9, 5, 5, value, None)
        assert compiled.seal_record(1, 0, 7, 9, 5, 5, text, value) is None
        for data, count in ((body, 19), (spoiled, 20), (body[:400], 20), (body[:-300], 20)):
            assert compiled.unpack_columns(data, 0, len(data), count, bytes, bytes) is None

    def held() -> list[int]:
        gc.collect()
        return [sys.getrefcount(one) for one in (value, text, stranger, body, bytes, str, good, None)]

    all_paths()
    before = held()
    tracemalloc.start()
    for _ in range(200):
        all_paths()
    gc.collect()
    taken_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    after = held()
    assert after[:-1] == before[:-1]
    assert abs(after[-1] - before[-1]) < 100, "None is held by many, but not by us"
    assert taken_bytes < 20_000


def test_without_memory_there_is_an_error_and_nothing_wrong() -> None:
    """Whichever allocation is the first to fail."""
    value = bytes(300)
    values = [value] * 20
    whole = packed(values, values)
    text_body = packed([b"\xff"], ["\xe9" * 300])

    def pack(box: list[Any]) -> None:
        box[0] = compiled.pack_columns(values, values, 0, 10**6, bytes, bytes)

    def unpack(box: list[Any]) -> None:
        box[0] = compiled.unpack_columns(whole, 0, len(whole), 20, bytes, bytes)

    def unpack_text(box: list[Any]) -> None:
        box[0] = compiled.unpack_columns(text_body, 0, len(text_body), 1, bytes, str)
        assert compiled.unpack_columns(text_body, 0, len(text_body), 1, str, str) is None

    for act, expected in (
        (pack, (whole, 20)),
        (unpack, (tuple(values), tuple(values))),
        (unpack_text, ((b"\xff",), ("\xe9" * 300,))),
    ):
        before = sys.getrefcount(value)

        def judge(box: list[Any], expected: object = expected, before: int = before) -> None:
            assert box[0] in (None, expected)
            box.clear()
            assert sys.getrefcount(value) == before

        assert memory_runs_out(lambda: [None], act, judge) >= 2
