"""A Kafka record batch is judged by its header and its checksum when it comes, and read as records when it is asked."""

from __future__ import annotations

import gzip
import random
import struct
import tracemalloc
from typing import Any

import google_crc32c
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlog.batches.format import decode
from eventlog.batches.header import read_header, seal
from eventlog.batches.kafka_batch import HEAD_BYTES, kafka_batch
from eventlog.errors import CorruptBatch, FormatTooNew
from tests.fuzz.test_decoders import MUTATIONS, look, resealed
from tests.golden.shapes import BATCHES_V3

PLAIN, GZIP = (BATCHES_V3[name].kafka_body or b"" for name in ("batch-v3-kafka.bin", "batch-v3-kafka-gzip.bin"))
PLACE = "orders[3] up to offset 41"
KEY = struct.pack(">IIQ", 3, 1, 102)
LONG_MS = 2**62


def varint(number: int) -> bytes:
    """A number as Kafka writes it."""
    number = number << 1 if number >= 0 else (-number << 1) - 1
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def field(data: bytes | None) -> bytes:
    """A length and its bytes."""
    return varint(-1) if data is None else varint(len(data)) + data


def record(
    delta: int, key: Any = None, value: Any = b"v", *, ms: int = 0, headers: Any = (), more: bytes = b""
) -> bytes:
    """A record, as Kafka writes it."""
    body = b"\0" + varint(ms) + varint(delta) + field(key) + field(value) + varint(len(headers))
    body += b"".join(field(name) + field(one) for name, one in headers) + more
    return varint(len(body)) + body


def batch(
    *records: bytes, count: int | None = None, last: int | None = None, attributes: int = 0, **head: Any
) -> bytes:
    """A Kafka record batch with a checksum that holds."""
    data = head.get("data", b"".join(records))
    count = len(records) if count is None else count
    last = count - 1 if last is None else last
    checked = struct.pack(">hiqqqhii", attributes, last, 5, head.get("largest_ms", 9), -1, -1, -1, count) + data
    length = len(checked) + 9 + head.get("longer", 0)
    checksum = google_crc32c.value(checked)
    return struct.pack(">qiibI", 77, length, 3, head.get("magic", 2), checksum) + checked


def stored(data: bytes) -> bytes:
    """The batch around it, whatever it is."""
    encoded = kafka_batch(batch(record(0)))
    encoded.count, encoded.span = struct.unpack_from(">i", data, 57)[0], struct.unpack_from(">i", data, 23)[0] + 1
    encoded.first_ms, encoded.largest_ms = struct.unpack_from(">qq", data, 27)
    encoded.body = data
    return seal(encoded, largest_so_far_ms=9, log_position=7, key=KEY)


RECORD = st.tuples(
    st.none() | st.binary(max_size=200),
    st.none() | st.binary(max_size=200),
    st.integers(-LONG_MS, LONG_MS),
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), st.none() | st.binary()), max_size=3
    ),
)


@given(st.lists(RECORD, min_size=1, max_size=9), st.booleans(), st.integers(1, 3))
def test_records_are_read_as_columns(rows: list[Any], is_compressed: bool, step: int) -> None:
    """Keys, values, times, headers and offsets, with gaps where a cleaner of Kafka's left some."""
    records = [
        record(step * number, key, value, ms=ms, headers=[(name.encode(), one) for name, one in headers])
        for number, (key, value, ms, headers) in enumerate(rows)
    ]
    data = b"".join(records)
    if is_compressed:
        data = gzip.compress(data, mtime=0)
    sent = batch(*records, data=data, attributes=int(is_compressed), last=step * (len(rows) - 1))
    kept = seal(kafka_batch(sent), largest_so_far_ms=9, log_position=7, key=KEY)
    found = decode(kept, PLACE)
    assert (found.count, found.span, found.first_ms, found.largest_ms) == (len(rows), step * (len(rows) - 1) + 1, 5, 9)
    assert found.keys == tuple(row[0] for row in rows)
    assert found.values == tuple(row[1] for row in rows)
    assert found.timestamps_ms == [5 + row[2] for row in rows]
    assert found.headers == tuple(tuple(row[3]) for row in rows)
    assert list(found.offsets(102)) == [102 - found.span + 1 + step * number for number in range(len(rows))]
    header = read_header(kept, PLACE)
    assert kept[header.body_at + 8 : -4] == sent[8:]
    assert struct.unpack_from(">q", kept, header.body_at)[0] == found.offsets(102)[0]


def test_records_may_have_the_time_of_the_append() -> None:
    """Then it is one for all, and what each says is not looked at."""
    data = batch(record(0, ms=3), record(1, ms=4), attributes=1 << 3, largest_ms=99)
    assert decode(stored(data), PLACE).timestamps_ms == [99, 99]


def test_a_name_that_is_no_utf_8_is_read_with_replacements() -> None:
    """The bytes are kept for Kafka's clients, and ours get text."""
    data = batch(record(0, headers=[(b"a\xff", b"1")]))
    assert decode(stored(data), PLACE).headers == ((("a\ufffd", b"1"),),)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "0 bytes are fewer than the 61"),
        (PLAIN[: HEAD_BYTES - 1], "60 bytes are fewer than the 61"),
        (PLAIN[:-1], "follow its length"),
        (PLAIN + b"\0", "follow its length"),
        (batch(record(0), magic=1), "its magic is 1, not 2"),
        (batch(record(0), magic=3), "its magic is 3, not 2"),
        (batch(record(0), longer=-70), "follow its length"),
        (batch(), "0 records over 0 offsets"),
        (batch(record(0), count=2, last=0), "2 records over 1 offsets"),
        (batch(record(0), count=-1, last=5), "-1 records over 6 offsets"),
        (batch(record(0), attributes=1 << 5), "attributes 0x0020 cannot be stored"),
        (batch(record(0), attributes=5), "attributes 0x0005 cannot be stored"),
        (PLAIN[:-1] + b"x", "checksum of the Kafka record batch is wrong"),
    ],
)
def test_what_cannot_be_stored_is_refused_when_it_comes(data: bytes, complaint: str) -> None:
    """Before it gets a place in the log."""
    with pytest.raises(ValueError, match=complaint):
        kafka_batch(data)


@pytest.mark.parametrize("data", [PLAIN, GZIP])
def test_every_flipped_bit_that_a_client_may_see_is_refused(data: bytes) -> None:
    """But for those of the base offset and the leader epoch, which whoever stores the batch chooses."""
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        if bit // 8 in (*range(8), *range(12, 16)):
            assert kafka_batch(bytes(flipped)).span == 3
        else:
            with pytest.raises(ValueError, match=r"Kafka record batch|follow"):
                kafka_batch(bytes(flipped))


def test_records_of_an_unknown_compression_are_too_new() -> None:
    """The batch can be handed on as it is, and its header can be read."""
    data = stored(batch(record(0), attributes=5))
    assert read_header(data, PLACE).count == 1
    with pytest.raises(FormatTooNew, match="of compression 5, which this eventlog does not know"):
        decode(data, PLACE)


@pytest.mark.parametrize("data", [batch(record(0), attributes=1 << 6), batch(record(0), magic=3)])
def test_batches_of_another_kind_are_too_new(data: bytes) -> None:
    """Nobody of ours stores one, and whoever did knew why."""
    with pytest.raises(FormatTooNew):
        decode(stored(data), PLACE)


@pytest.mark.parametrize(
    "data",
    [
        batch(record(0), magic=1),
        batch(record(0), longer=1),
        batch(record(0), count=2, last=1),
        batch(record(0), record(1), count=1),
        batch(record(0), record(0)),
        batch(record(1), record(0)),
        batch(record(0), record(2)),
        batch(record(-1)),
        batch(record(0, more=b"x")),
        batch(record(0), data=record(0)[:-1]),
        batch(record(0), data=varint(-5) + bytes(20)),
        batch(record(0), data=b"\xff" * 20),
        batch(record(0), data=varint(15) + b"\0\0\0" + varint(-2) + bytes(12)),
        batch(record(0), data=varint(15) + b"\0\0\0" + varint(2**31) + bytes(12)),
        batch(record(0), data=varint(9) + b"\0\0\0\1\1" + varint(2**60)),
        batch(record(0, headers=[(None, b"1")])),
        batch(record(0, ms=2**63)),
        batch(record(0), data=b"no gzip at all", attributes=1),
        batch(record(0), data=gzip.compress(record(0), mtime=0) + b"x", attributes=1),
        batch(record(0), data=gzip.compress(record(0), mtime=0)[:-3], attributes=1),
    ],
)
def test_records_that_cannot_be_read_are_corrupt(data: bytes) -> None:
    """Under true checksums, too: no record is believed before it is looked at."""
    with pytest.raises(CorruptBatch):
        decode(stored(data), PLACE)


def test_a_body_that_is_too_short_is_corrupt() -> None:
    """It may be anything, under a true checksum."""
    for size in (1, HEAD_BYTES - 1):
        encoded = kafka_batch(PLAIN)
        encoded.body = PLAIN[:size]
        with pytest.raises(CorruptBatch, match="no Kafka record batch"):
            decode(seal(encoded, largest_so_far_ms=9, log_position=7), PLACE)


@pytest.mark.parametrize("at", [4, 8, 12, 20])
def test_the_two_headers_have_to_agree(at: int) -> None:
    """Counts and times are read from ours, and Kafka's clients read them from theirs."""
    data = bytearray(stored(PLAIN))
    data[at + (3 if at < 12 else 7)] += 1
    with pytest.raises(CorruptBatch, match=r"say different things|records over"):
        decode(resealed(bytes(data)), PLACE)


def test_a_lie_about_the_number_of_records_takes_no_memory() -> None:
    """Two thousand million records in seven bytes are refused at their price."""
    data = stored(batch(record(0), count=2**31 - 1))
    tracemalloc.start()
    try:
        with pytest.raises(CorruptBatch, match="too few for 2147483647 records"):
            decode(data, PLACE)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_mutated_records_are_refused_or_read(rng: random.Random) -> None:
    """Whatever a client sent under checksums that hold, reading it is an error of ours or holds together."""
    seen = set()
    for number in range(4_000):
        encoded = kafka_batch(PLAIN if number % 4 else GZIP)
        body = bytearray(encoded.body[HEAD_BYTES:])
        rng.choice(MUTATIONS)(body, rng)
        encoded.body = encoded.body[:8] + struct.pack(">i", len(body) + 49) + encoded.body[12:HEAD_BYTES] + bytes(body)
        seen.add(look(seal(encoded, largest_so_far_ms=9, log_position=7, key=KEY)))
    assert seen == {None, CorruptBatch}


@given(st.binary(max_size=200))
@example(b"")
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    """Bytes from anywhere are an error of ours."""
    for attributes in (0, 1):
        assert look(stored(batch(record(0), data=data, attributes=attributes))) in (None, CorruptBatch)
