"""
Bytes that a hostile client may send: they are a message, or malformed, and cost no more than their size allows.

Random bytes, valid messages that are cut, flipped or grown, and counts and lengths that promise more than there is.
"""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Iterator

import pytest

from eventlog.kafka import protocol
from eventlog.kafka.protocol import MalformedMessage
from eventlog.kafka.protocol.codecs import Codec
from eventlog.kafka.protocol.schema import Field, holds, load
from tests.kafka.protocol.messages import every_codec

COUNTS = [b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\xfe", b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x7f"]
SEED = int(os.environ.get("EVENTLOG_TEST_SEED", random.SystemRandom().randrange(1 << 32)))


def _requests() -> list[Codec]:
    """Return the newest and the oldest version of each request, and a few others."""
    every = [(name, version) for name, version in every_codec() if name.endswith("Request") and version in _some(name)]
    return [protocol.codec(name, version) for name, version in every]


def _some(name: str) -> set[int]:
    first, last = load(name).versions
    return {first, last, (first + last) // 2}


def _full(fields: tuple[Field, ...], version: int, chance: random.Random) -> dict[str, object]:
    """Return a message with something in each field."""
    made: dict[str, object] = {}
    for field in fields:
        if not holds(field.versions, version) and not holds(field.tagged, version):
            continue
        count = chance.randrange(1, 4)
        if field.fields is not None:
            values = [_full(field.fields, version, chance) for _ in range(count)]
            made[field.name] = values if field.is_array else values[0]
        elif field.type in ("string", "bytes", "records"):
            values = ["x" * chance.choice([0, 1, 200]) for _ in range(count)]
            kept = [value.encode() if field.type != "string" else value for value in values]
            made[field.name] = kept if field.is_array else kept[0]
        elif field.is_array and field.type != "uuid":
            made[field.name] = list(range(count))
    return made


def _spoiled(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """Yield what may become of a message on its way from an enemy."""
    for _ in range(3):
        yield data[: chance.randrange(len(data) + 1)]
        at = chance.randrange(len(data) + 1)
        yield data[:at] + chance.choice(COUNTS) + data[at:]
        yield data[:at] + chance.choice(COUNTS) + data[at + 4 :]
        flipped = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        yield bytes(flipped)
    yield data + chance.randbytes(chance.randrange(1, 20))
    yield chance.randbytes(chance.randrange(200))
    yield bytes(chance.choices((0, 1, 2, 255), k=chance.randrange(200)))


def _decode(codec: Codec, data: bytes) -> bool:
    """Decode bytes, and tell whether they were a message."""
    try:
        codec.decode(data)
    except MalformedMessage as error:
        malformed = error
    else:
        return True
    assert 0 <= malformed.place <= len(data), malformed
    assert malformed.message == f"{codec.name} version {codec.version}"
    return False


def _attack(rounds: int, seed: int) -> tuple[int, int]:
    chance = random.Random(seed)
    messages = malformed = 0
    for codec in _requests():
        fields = load(codec.name).fields
        for _ in range(rounds):
            data = b"".join(codec.encode(_full(fields, codec.version, chance)))
            assert _decode(codec, data)
            for bad in _spoiled(data, chance) if data else ():
                if _decode(codec, bad):
                    messages += 1
                else:
                    malformed += 1
    return messages, malformed


def test_hostile_bytes_are_messages_or_malformed() -> None:
    """No other error leaves the decoder, whatever comes in."""
    print(f"EVENTLOG_TEST_SEED={SEED}")
    messages, malformed = _attack(1, SEED)
    assert messages > 100, "what is spoiled has to be a message now and then"
    assert malformed > 1000


@pytest.mark.long
def test_many_hostile_bytes_are_messages_or_malformed() -> None:
    """No other error leaves the decoder, whatever comes in, for longer."""
    print(f"EVENTLOG_TEST_SEED={SEED}")
    for number in range(60):
        _attack(1, SEED + number)


def test_memory_is_bounded_by_the_input() -> None:
    """A count takes no memory before its elements are there."""
    codecs = _requests()[::4]
    for codec in codecs:
        codec.decode(b"".join(codec.encode({})))  # it is compiled
    tracemalloc.start()
    try:
        for codec in codecs:
            for count in COUNTS:
                data = bytes(12) + count + bytes(40)
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                _decode(codec, data)
                taken = tracemalloc.get_traced_memory()[1] - before
                assert taken < 2_000_000, (codec, data, taken)  # an error reads the definition again
    finally:
        tracemalloc.stop()


def test_many_of_the_smallest_elements_stays_small() -> None:
    """The largest thing that an input can become is a bounded multiple of it."""
    count = 1 << 14
    request = protocol.codec("MetadataRequest", 8)  # an array of strings of no letters: two bytes each
    data = count.to_bytes(4, "big") + bytes(2 * count) + b"\0\0\0"
    tracemalloc.start()
    try:
        body = request.decode(data)
        assert len(body["topics"]) == count
        assert tracemalloc.get_traced_memory()[1] < 300 * len(data)
    finally:
        tracemalloc.stop()
