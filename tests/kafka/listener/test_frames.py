"""Requests are cut out of a stream of bytes, however it comes, and take no more memory than has come."""

from __future__ import annotations

import random
import struct

import pytest

from eventlog.kafka.listener.frames import BadFrame, Frames

SHARED_BYTES = 1024
MOST_BYTES = 1 << 20


def feed(frames: Frames, data: bytes, sizes: list[int]) -> list[bytes]:
    """Give a stream to the frames, in parts of these sizes at most."""
    found, at, turn = [], 0, 0
    while at < len(data):
        room = frames.buffer()
        count = min(len(room), sizes[turn % len(sizes)], len(data) - at)
        room[:count] = data[at : at + count]
        found.extend(frames.take(count))
        at, turn = at + count, turn + 1
    return found


def framed(*bodies: bytes) -> bytes:
    """These requests as a stream."""
    return b"".join(struct.pack(">i", len(body)) + body for body in bodies)


def new_frames(most_bytes: int = MOST_BYTES) -> Frames:
    """Frames with a shared buffer of their own."""
    return Frames(most_bytes, memoryview(bytearray(SHARED_BYTES)))


@pytest.mark.parametrize("sizes", [[1], [2, 3], [7], [1024], [1, 1000], [3, 1, 4096]])
def test_requests_come_out_as_they_went_in(sizes: list[int]) -> None:
    """Small ones, empty ones, ones larger than the buffer, in whatever parts the network brings them."""
    bodies = [b"", b"a", b"bc" * 200, b"", b"d" * 1020, b"e" * 5000, b"f" * 140_000, b"g"]
    assert feed(new_frames(), framed(*bodies), sizes) == bodies


def test_random_streams_come_out_as_they_went_in(rng: random.Random) -> None:
    """As with a network that cuts anywhere."""
    for _ in range(50):
        bodies = [rng.randbytes(rng.choice([0, 1, 5, 100, 1020, 1024, 9000])) for _ in range(rng.randrange(1, 20))]
        sizes = [rng.randrange(1, 1500) for _ in range(7)]
        assert feed(new_frames(), framed(*bodies), sizes) == bodies


def test_a_request_is_not_changed_by_what_comes_after_it() -> None:
    """The buffer is used again at once; a request is a copy."""
    frames = new_frames()
    [first] = feed(frames, framed(b"first"), [1024])
    feed(frames, framed(b"other" * 100), [1024])
    assert first == b"first"


def test_a_large_size_alone_takes_no_memory() -> None:
    """Somebody who announces 1 MiB and sends 4 bytes has 64 KiB of ours at most."""
    frames = new_frames()
    assert feed(frames, struct.pack(">i", MOST_BYTES), [4]) == []
    assert len(frames.buffer()) <= 65_536
    assert frames.is_within


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (struct.pack(">i", -1), "cannot have -1 bytes"),
        (struct.pack(">i", MOST_BYTES + 1), r"1,048,577 bytes is more than max_request_bytes=1,048,576"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "speaks TLS"),
        (b"GET / HTTP/1.1\r\n", "speaks HTTP"),
        (b"POST /topics HTTP/1.1\r\n", "speaks HTTP"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1024])
def test_what_is_no_request_is_refused_at_its_size(data: bytes, complaint: str, size: int) -> None:
    """Whether the four bytes come together or one by one; what came before it is served."""
    with pytest.raises(BadFrame, match=complaint):
        feed(new_frames(), data, [size])
    frames = new_frames()
    assert feed(frames, framed(b"tea"), [1024]) == [b"tea"]
    with pytest.raises(BadFrame, match=complaint):
        feed(frames, data, [size])
