"""
What the golden files hold, written out by hand.

The tests compare the files with these values; `make_golden.py` made the files of them, once. Offsets are not in
the bytes of a batch, so the goldens have none but their deltas.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs

GOLDEN = Path(__file__).parent

JULY_MS = 1_783_000_000_123
"""A moment in July 2026."""


@attrs.frozen
class Parcel:
    """The value of a topic of the golden log."""

    sender: str
    weight_g: int
    tags: list[str] = attrs.Factory(list)


@attrs.frozen
class Shape:
    """Says what one golden batch holds. The columns are as `decode` gives them."""

    count: int
    span: int
    first_ms: int
    largest_ms: int
    largest_so_far_ms: int
    timestamps_ms: list[int]
    keys: tuple[bytes | None, ...]
    values: tuple[bytes | None, ...]
    headers: tuple[tuple[tuple[str, bytes | None], ...], ...]
    deltas: tuple[int, ...] | None = None
    log_position: int = -1
    key: bytes | None = None
    """The key of the row of the batch, where the batch depends on it."""
    later_runs: tuple[tuple[int, int], ...] = ()
    compression: str | None = None
    kafka_body: bytes | None = None
    """The Kafka record batch that it is made of, as aiokafka 0.14 built it."""


BATCHES_V1 = {
    # One record, k=v: the example of docs/reference/format.md.
    "batch-v1.bin": Shape(1, 1, JULY_MS, JULY_MS, JULY_MS, [JULY_MS], (b"k",), (b"v",), ((),)),
    # No key, no header, one time: every optional column is absent.
    "batch-v1-bare.bin": Shape(
        3, 3, JULY_MS, JULY_MS, JULY_MS, [JULY_MS] * 3, (None,) * 3, (b"tea", b"", b"milk"), ((),) * 3
    ),
    # Every column is there: a tombstone, a record without a key, times back and forth, headers twice and absent.
    "batch-v1-full.bin": Shape(
        4,
        4,
        JULY_MS,
        JULY_MS + 70_000,
        JULY_MS + 90_000,
        [JULY_MS, JULY_MS + 70_000, JULY_MS - 5_000_000_000, JULY_MS],
        (b"alice", None, b"", b"\x00\xff"),
        (b"tea", None, b"\x80" * 40, b""),
        ((("trace", b"\x01\x02"), ("trace", None)), (), (("", b""),), (("gr\xfc\xdfe", "\xe4".encode()),)),
    ),
    # Before 1970, the largest timestamp of the partition elsewhere.
    "batch-v1-past.bin": Shape(
        2, 2, -86_400_001, -1, 0, [-86_400_001, -1], (None, None), (b"moon", b"landing"), ((), ())
    ),
    # Two of five records are gone, the first and the last included: offsets are a column.
    "batch-v1-gaps.bin": Shape(
        3,
        5,
        JULY_MS,
        JULY_MS,
        JULY_MS,
        [JULY_MS] * 3,
        (b"a", b"b", b"c"),
        (b"1", b"2", b"3"),
        ((),) * 3,
        (1, 2, 3),
    ),
}

BATCHES_V2 = {
    name.replace("batch-v1", "batch-v2"): attrs.evolve(BATCHES_V1[name], log_position=log_position)
    for name, log_position in (
        ("batch-v1.bin", 258),  # the example of docs/reference/format.md
        ("batch-v1-bare.bin", 0),
        ("batch-v1-full.bin", 2**40),
        ("batch-v1-past.bin", 7),
        ("batch-v1-gaps.bin", 2**64 - 6),
    )
}
"""The same with a position behind the header."""

_KAFKA_RECORDS = Shape(
    3,
    3,
    JULY_MS,
    JULY_MS + 5,
    JULY_MS + 9,
    [JULY_MS, JULY_MS + 5, JULY_MS - 7],
    (b"alice", None, b"bob"),
    (b"tea", b"", None),
    ((("trace", b"\x01\x02"), ("empty", None)), (), (("\xe9", b""),)),
    log_position=41,
    key=bytes([0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 102]),
)

BATCHES_V3 = {
    **{name.replace("batch-v2", "batch-v3"): shape for name, shape in BATCHES_V2.items()},
    # Larger than half a page of LMDB: it says where it belongs, and a smaller one does not.
    "batch-v3-place.bin": Shape(
        2,
        2,
        JULY_MS,
        JULY_MS,
        JULY_MS,
        [JULY_MS] * 2,
        (b"large", None),
        (b"\x00" * 1900, b"small"),
        ((),) * 2,
        log_position=258,
        key=bytes([0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 3]),
    ),
    # Made of three batches that had other records between them, the first two records of the second gone.
    "batch-v3-runs.bin": Shape(
        4,
        6,
        JULY_MS,
        JULY_MS,
        JULY_MS,
        [JULY_MS] * 4,
        (b"a", b"b", b"c", b"d"),
        (b"1", b"2", b"3", b"4"),
        ((),) * 4,
        (0, 1, 4, 5),
        log_position=100,
        later_runs=((2, 110), (5, 2**40)),
    ),
    "batch-v3-kafka.bin": attrs.evolve(
        _KAFKA_RECORDS,
        kafka_body=bytes.fromhex(
            "000000000000000000000065ffffffff023a6980e80000000000020000019f2314e67b0000019f2314e6800000000000000fa100"
            "0200000011000000033c0000000a616c69636506746561040a74726163650401020a656d707479010c000a020100001a000d0406"
            "626f62010204c3a900"
        ),
    ),
    # The same records, compressed by gzip.
    "batch-v3-kafka-gzip.bin": attrs.evolve(
        _KAFKA_RECORDS,
        kafka_body=bytes.fromhex(
            "000000000000000000000079ffffffff0240929c980001000000020000019f2314e67b0000019f2314e6800000000000000fa100"
            "0200000011000000031f8b08006f2e0d6b02ffb3616060e04accc94c4e652b494d64e12a294a4c4e656164e24acd2d28a964e461"
            "e0626264609062e065614bca4f62646239bc9201000292323534000000"
        ),
    ),
}
"""Those of version 3, the first of them those of version 2 but for their number."""

BATCHES_COMPRESSED = {
    # Twenty events, with a key and headers.
    "batch-v3-zstd.bin": Shape(
        20,
        20,
        JULY_MS,
        JULY_MS + 19,
        JULY_MS + 19,
        [JULY_MS + number for number in range(20)],
        tuple(b"user-%d" % (number % 3) for number in range(20)),
        tuple(b'{"event": "page_view", "path": "/products/%d"}' % number for number in range(20)),
        tuple((("trace", bytes([number])),) if number % 2 else () for number in range(20)),
        log_position=258,
        compression="zstd",
    ),
    # Larger than half a page of LMDB when it is compressed, so it says where it belongs; in two runs.
    "batch-v3-lz4.bin": Shape(
        60,
        60,
        JULY_MS,
        JULY_MS,
        JULY_MS,
        [JULY_MS] * 60,
        (None,) * 60,
        tuple(2 * hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(60)),
        ((),) * 60,
        log_position=100,
        key=bytes([0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 3]),
        later_runs=((40, 200),),
        compression="lz4",
    ),
}
"""Compressed ones of version 3: another version of a library may make other bytes of the same records."""

BATCHES = BATCHES_V1 | BATCHES_V2 | BATCHES_V3 | BATCHES_COMPRESSED

LOG = GOLDEN / "log-v1"
"""A whole log of format 1. Open a copy: opening writes a lock file beside it."""

LOG_V2 = GOLDEN / "log-v2"
"""A whole log of format 2, with groups: their members were alive when it was copied, and are in no process now."""

LOG_V3 = GOLDEN / "log-v3"
"""A whole log of format 3: topics interleaved, an index, message ids, a snapshot, and records deleted from all."""

LOG_V4 = GOLDEN / "log-v4"
"""A whole log of format 4, with rows in every table, a Kafka record batch, and metadata beside an offset."""
