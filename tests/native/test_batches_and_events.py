"""Stored batches and rows of the index are read in C as Python reads them, also when they are spoiled."""

from __future__ import annotations

import gc
import random
import sys
from types import FunctionType, SimpleNamespace
from typing import Any
from unittest import mock

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.accelerators import python_function
from eventlog.backend.reading import StoredBatch
from eventlog.batches.compression import Compressor
from eventlog.batches.format import BatchEncoder, decode, raw_body
from eventlog.batches.header import HEADER_BYTES, read_header, seal
from eventlog.clients.reading import batch_reader
from eventlog.errors import CorruptBatch, EventLogError
from eventlog.records import Event, RecordBatch
from eventlog.store.records.key_rows import ENTRIES, pack_entries, pack_row, unpack_row
from tests.fuzz.test_decoders import MUTATIONS, mutants, resealed
from tests.native.accelerators import compiled, memory_runs_out
from tests.native.pure import pure

QUICK_COUNT = 4_000
LASTS = [0, 5, 2**40, 2**63 - 2, 2**63 - 1, 2**63, 2**64 - 1]
FIRSTS = [-1, 0, 3, 2**40 - 5, 2**40, 2**63 - 1, 2**63]


# -- batches -----------------------------------------------------------------------------------------------------------


def plain_batch(rng: random.Random, compressor: Compressor | None = None) -> bytes:
    """A batch as nearly all are; compressed if that makes it smaller."""
    count = rng.choice([1, 2, 15, 16, 20])
    items = [None, b"", b"tea", b"x" * 300, "caf\xe9".encode(), b"\xff"]
    keys = rng.choice([None, rng.choices(items, k=count)])
    (encoded,) = BatchEncoder().encode(keys, rng.choices(items[1:], k=count), timestamps_ms=rng.choice([-5, 0, 2**40]))
    if compressor is not None:
        compressor.compress(encoded)
    encoded.producer = rng.choice([(-1, 0, -1), (7, 0, 0), (7, 3, 2**31 - 1)])
    return seal(encoded, largest_so_far_ms=7, log_position=9)


def spoiled(rng: random.Random, data: bytes) -> bytes:
    """The same, a little changed, under a checksum that holds."""
    changed = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2])):
        rng.choice(MUTATIONS)(changed, rng)
    return resealed(bytes(changed)) if len(changed) >= 4 else bytes(changed)


def read(maker: Any, data: bytes, last: int, first: int, end: int | None, types: tuple[type, type]) -> Any:
    """What a fetcher makes of a stored batch, with a maker or without; keys and values as bytes."""
    route: Any = SimpleNamespace(row=SimpleNamespace(name="orders"))
    cursor: Any = SimpleNamespace(route=route, partition=3, offset=first)
    with mock.patch.object(batch_reader, "_make_batch", maker or python_function("BatchMaker")):
        try:
            batch, is_plain = batch_reader._undecoded(cursor, StoredBatch(last, data), end, *types)
        except EventLogError as error:
            return type(error), str(error)
        except (OverflowError, MemoryError) as error:  # of offsets that are no offsets
            return type(error)
    if is_plain:
        for column, kind in ((batch.keys, types[0]), (batch.values, types[1])):
            assert {type(one) for one in column} <= {kind, type(None)}
    fields = attrs.asdict(batch, recurse=False)
    for name in ("keys", "values"):
        fields[name] = [one.encode() if isinstance(one, str) else one for one in fields[name]]
    times = [repr(one) for one in fields["timestamps_ms"]]  # a spoiled one may be NaN, which equals nothing
    return fields | {"timestamps_ms": times, "headers": list(fields["headers"])}


def test_batches_are_read_alike_with_and_without(rng: random.Random) -> None:
    """Plain and golden ones, whole and spoiled, from any offset on: the same columns, or the same error."""
    maker, seen = compiled.BatchMaker(RecordBatch), {dict: 0, tuple: 0, type: 0}
    compressors = [None, Compressor("zstd", "test"), Compressor("lz4", "test")]
    golden = list(mutants(rng, QUICK_COUNT // 2))
    for number in range(QUICK_COUNT):
        data = golden[number // 2] if number % 2 else spoiled(rng, plain_batch(rng, rng.choice(compressors)))
        last, first = rng.choice(LASTS), rng.choice(FIRSTS)
        end = rng.choice([None, None, last, last + 1, 3])
        types = rng.choice([bytes, str]), rng.choice([bytes, str])
        accelerated = read(maker, data, last, first, end, types)
        assert accelerated == read(None, data, last, first, end, types), (data.hex(), last, first, end)
        seen[type(accelerated)] += 1
    assert min(seen[dict], seen[tuple]) > QUICK_COUNT // 20, seen


def test_every_bit_of_a_header_counts_alike(rng: random.Random) -> None:
    """One that is flipped makes the same other batch, or the same error."""
    maker, data = compiled.BatchMaker(RecordBatch), plain_batch(rng)
    for bit in range(8 * HEADER_BYTES):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        changed = resealed(bytes(flipped))
        accelerated = read(maker, changed, 2**40, 0, None, (bytes, bytes))
        assert accelerated == read(None, changed, 2**40, 0, None, (bytes, bytes)), f"bit {bit}"


def test_plain_batches_are_known_to_the_accelerator(rng: random.Random) -> None:
    """Else it would be of no use, and nothing would be compared."""
    maker = compiled.BatchMaker(RecordBatch)
    for _ in range(100):
        batch = maker(plain_batch(rng), 2**40, 0, "orders", 3, bytes, bytes, None)
        assert type(batch) is RecordBatch
        assert batch.offsets[-1] == 2**40
        assert len(batch) == len(batch.offsets) == len(batch.keys) == len(batch.timestamps_ms) == len(batch.headers)


@pytest.mark.parametrize("name", ["zstd", "lz4"])
def test_compressed_batches_are_known_with_their_bodies(name: str, rng: random.Random) -> None:
    """As plain ones; without the body, or with another one, the caller has to look."""
    maker, compressor, seen = compiled.BatchMaker(RecordBatch), Compressor(name, "test"), 0
    for _ in range(200):
        data = plain_batch(rng, compressor)
        header = read_header(data, "here")
        if not header.raw_bytes:
            assert maker(data, 2**40, 0, "orders", 3, bytes, bytes, b"") is not None, "it needs no other body"
            continue
        raw = raw_body(data, header, "here")
        batch = maker(data, 2**40, 0, "orders", 3, bytes, bytes, raw)
        columns = decode(data, "here")
        assert (batch.keys, batch.values, list(batch.timestamps_ms)) == (
            columns.keys,
            columns.values,
            list(columns.timestamps_ms),
        )
        for other in (None, b"", raw[:-1], raw + b"\xc0", raw[:5]):
            assert maker(data, 2**40, 0, "orders", 3, bytes, bytes, other) is None
        seen += 1
    assert seen > 20


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (b"", 1, 0, "t", 0, bytes, bytes),
        (b"", 1, 0, "t", 0, bytes, int, None),
        ("", 1, 0, "t", 0, bytes, bytes, None),
        (bytearray(100), 1, 0, "t", 0, bytes, bytes, None),
        (bytes(100), "1", 0, "t", 0, bytes, bytes, None),
        (bytes(100), 1, None, "t", 0, bytes, bytes, None),
        (bytes(100), 1, 0, "t", 0, bytes, bytes, bytearray(9)),
    ],
)
def test_wrong_arguments_of_a_batch_maker_are_refused(arguments: Any) -> None:
    """Nothing is read but bytes."""
    with pytest.raises(TypeError):
        compiled.BatchMaker(RecordBatch)(*arguments)
    assert compiled.BatchMaker(RecordBatch)(b"", 1, 0, "t", 0, bytes, bytes, None) is None


# -- events ------------------------------------------------------------------------------------------------------------


def made(data: bytes, version: int, kind: type) -> list[Event[Any, Any]] | None:
    """The events of a row by the accelerator."""
    events: list[Event[Any, Any]] | None = compiled.EventMaker(Event)(
        data, *ENTRIES.indices(len(data))[:2], "orders", b"key", version, kind
    )
    return events


def in_python(data: bytes, version: int, kind: type) -> list[Event[Any, Any]] | None:
    """The events of a row as `store/records/key_events.py` makes them of its entries."""
    entries: Any = msgpack.unpackb(data[ENTRIES], use_list=False)
    events = []
    for number, (partition, offset, timestamp_ms, log_position, value, headers) in enumerate(entries, version):
        decoded = value.decode() if kind is str and value is not None else value
        events.append(Event("orders", partition, offset, timestamp_ms, b"key", decoded, headers, number, log_position))
    return events


def compare(data: bytes, version: int, kind: type) -> bool:
    """Whether the accelerator knew the row; if so, it has what Python has."""
    events = made(data, version, kind)
    if events is not None:
        assert events == in_python(data, version, kind), (data.hex(), version)
        assert all(type(event) is Event for event in events)
    return events is not None


numbers = st.integers(-(2**63), 2**64 - 1) | st.sampled_from(
    [sign * 2**bits + more for bits in (0, 5, 7, 8, 15, 16, 31, 32, 63) for sign in (1, -1) for more in (-1, 0, 1)]
).filter(lambda number: -(2**63) <= number < 2**64)
contents = st.none() | st.binary(max_size=9) | st.text().map(str.encode)
places = numbers.filter(lambda number: 0 <= number < 2**63 - 1)
entries = st.lists(st.tuples(places, places, numbers, places, contents, st.just(())), max_size=20)
versions = st.integers(1, 100) | st.sampled_from([2**63 - 30, 2**63 - 1, 2**63, 2**64 - 1])


@given(entries, versions, st.sampled_from([bytes, str]))
def test_events_are_those_of_python(rows: Any, version: int, kind: type) -> None:
    """Numbers of every width and sign, values that are there and that are not, text and bytes."""
    data = pack_row(len(rows), b"".join(map(msgpack.packb, rows)))
    assert list(unpack_row(data, "here")) == rows
    try:
        in_python(data, version, kind)
    except UnicodeDecodeError:
        assert made(data, version, kind) is None
        return
    assert compare(data, version, kind) == (version + len(rows) <= 2**63 - 1)


@pytest.mark.parametrize("field", [0, 1, 3])
@pytest.mark.parametrize("number", [-1, -(2**63), 2**63 - 1, 2**63, 2**64 - 1])
def test_impossible_places_are_left_to_python(field: int, number: int) -> None:
    """Which says that the row is damaged."""
    row = [0, 1, 2, 3, b"v", ()]
    row[field] = number
    data = pack_row(1, msgpack.packb(row))
    assert made(data, 1, bytes) is None
    with pytest.raises(CorruptBatch, match="no valid partition, offset or position"):
        unpack_row(data, "here")


def test_spoiled_rows_are_read_as_python_reads_them_or_left_to_it(rng: random.Random) -> None:
    """Flipped bits, lost bytes, other numbers: the same events or none."""
    headers = ((), (), (("h", b"x"),))
    seen = {True: 0, False: 0}
    for number in range(2 * QUICK_COUNT):
        count = 2 + number % 2
        rows = pack_entries(1, (7, 8, 9), (5, 5, -1), (90, 2**40, 1), (b"tea", None, b"\xff"), headers)
        data = bytearray(pack_row(count, b"".join(list(rows)[:count])))
        for _ in range(rng.choice([0, 1, 1, 2, 4])):
            rng.choice(MUTATIONS)(data, rng)
            data = data if len(data) > 4 else bytearray(5)  # `check_row` refuses less
        seen[compare(bytes(data), 5, rng.choice([bytes, str]))] += 1
    assert min(seen.values()) > QUICK_COUNT // 10, seen


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (b"", 0, 0, "t", b"k", 1),
        (b"", 0, 0, "t", b"k", 1, int),
        ("", 0, 0, "t", b"k", 1, bytes),
        (b"", 0, 1, "t", b"k", 1, bytes),
        (b"ab", 2, 1, "t", b"k", 1, bytes),
        (b"ab", -1, 1, "t", b"k", 1, bytes),
        (b"ab", 0, 1, "t", b"k", "1", bytes),
    ],
)
def test_wrong_arguments_of_an_event_maker_are_refused(arguments: Any) -> None:
    """Nothing is read beyond the ends."""
    with pytest.raises((TypeError, ValueError)):
        compiled.EventMaker(Event)(*arguments)
    for lie in (b"\xdd\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff\x96", b"\x91\x96\xcf", b"\x91", b""):
        assert compiled.EventMaker(Event)(lie, 0, len(lie), "t", b"k", 1, bytes) is None


# -- references and memory ---------------------------------------------------------------------------------------------


def fields(found: Any) -> list[Any]:
    """What is in a batch, or in each of some events."""
    return [attrs.astuple(one, recurse=False) for one in (found if isinstance(found, list) else [found])]


def test_references_are_given_back(rng: random.Random) -> None:
    """Whether a batch or a row is read, refused or left to Python."""
    topic, key = "a topic of its own", b"a key of its own"
    batches, events = compiled.BatchMaker(RecordBatch), compiled.EventMaker(Event)
    rows = [(1, 2, 3, 4, b"x" * 300, ())] * 3
    row = pack_row(3, b"".join(map(msgpack.packb, rows)))
    data = [plain_batch(rng) for _ in range(20)]

    def all_paths() -> None:
        for one in data:
            for changed in (one, one[:-10] + bytes(10), one[:70]):
                batches(changed, 2**40, 0, topic, 3, bytes, str, None)
        for changed in (row, row[:-20] + bytes(20), row[:30], row[:200]):
            events(changed, 1, len(changed) - 4, topic, key, 1, str)

    def held() -> list[int]:
        gc.collect()
        return [*map(sys.getrefcount, (topic, key, row, RecordBatch, Event)), *map(sys.getrefcount, data)]

    all_paths()
    before, objects = held(), len(gc.get_objects())
    for _ in range(50):
        all_paths()
    assert held() == before
    assert len(gc.get_objects()) - objects < 20  # fewer is no leak: others let go of theirs


ROW = pack_row(3, msgpack.packb((2**40, 2, -3, 4, b"x" * 300, ())) * 3)
KEYED, KEYLESS = (
    seal(BatchEncoder().encode(keys, [b"x" * 9] * 9, timestamps_ms=7)[0], largest_so_far_ms=7, log_position=0)
    for keys in ([b"k"] * 9, None)
)


@pytest.mark.parametrize(
    "make",
    [
        lambda topic: compiled.BatchMaker(RecordBatch)(KEYED, 2**40, 0, topic, 3, bytes, bytes, None),
        lambda topic: compiled.BatchMaker(RecordBatch)(KEYLESS, 2**40, 0, topic, 3, bytes, str, None),
        lambda topic: compiled.EventMaker(Event)(ROW, 1, len(ROW) - 4, topic, b"k", 2**40, str),
    ],
    ids=["keyed", "keyless", "events"],
)
def test_without_memory_there_is_an_error_and_nothing_wrong(make: Any) -> None:
    """Whichever allocation is the first to fail."""
    topic = "a topic of its own"
    expected = fields(make(topic))
    before = sys.getrefcount(topic)

    def act(box: list[Any]) -> None:
        box[0] = make(topic)

    def judge(box: list[Any]) -> None:
        assert box[0] is None or fields(box[0]) == expected
        box.clear()
        assert sys.getrefcount(topic) == before

    assert memory_runs_out(lambda: [None], act, judge) > 3


def test_without_accelerators_the_modules_are_pure() -> None:
    """What the accelerators are compared with does not use them."""
    assert isinstance(pure("eventlog.clients.reading.batch_reader")._make_batch, FunctionType)
