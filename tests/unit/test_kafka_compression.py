"""Records that Kafka's clients have compressed are read with the libraries of the extras, within bounds."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import Any

import cramjam
import lz4.frame
import pytest

from eventlog.batches import kafka_compression
from eventlog.batches.format import decode
from eventlog.batches.header import seal
from eventlog.batches.kafka_batch import HEAD_BYTES, kafka_batch
from eventlog.batches.kafka_compression import NAMES, decompressed, most_raw_bytes
from eventlog.errors import CorruptBatch, MissingLibrary
from tests.kafka.record_batches import Sent, record_batch

PLACE = "orders[3] up to offset 41"
ROWS = [Sent(b"value %d" % number, b"key" * 50) for number in range(50)]
RAW = record_batch(*ROWS)[HEAD_BYTES:]


def zstd_frame(data: bytes, **options: Any) -> bytes:
    """One frame, as the Java client writes it: without its size."""
    if options:
        return bytes(kafka_zstd().compress(data))
    stream = kafka_zstd().ZstdCompressor()
    return bytes(stream.compress(data) + stream.flush())


def kafka_zstd() -> Any:
    """Python's module, or its backport."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from backports import zstd  # type: ignore[no-redef,unused-ignore]
    return zstd


def xerial(data: bytes, size: int = 1000) -> bytes:
    """The frames of snappy-java: a head, and blocks behind their lengths."""
    parts = [bytes(cramjam.snappy.compress_raw(data[at : at + size])) for at in range(0, len(data), size)]
    return b"\x82SNAPPY\0\0\0\0\1\0\0\0\1" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


COMPRESSED = {
    "gzip": (1, gzip.compress(RAW)),
    "snappy": (2, bytes(cramjam.snappy.compress_raw(RAW))),
    "snappy of Java": (2, xerial(RAW)),
    "lz4": (3, lz4.frame.compress(RAW)),
    "lz4 without its size": (3, lz4.frame.compress(RAW, store_size=False, block_linked=False)),
    "zstd": (4, zstd_frame(RAW, sized=True)),
    "zstd without its size": (4, zstd_frame(RAW)),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_each_compression_is_read(name: str) -> None:
    """Of every client's kind."""
    number, data = COMPRESSED[name]
    stored = seal(kafka_batch(record_batch(*ROWS, compression=number, data=data)), largest_so_far_ms=0, log_position=0)
    found = decode(stored, PLACE)
    assert list(found.values) == [row.value for row in ROWS]
    assert list(found.keys) == [row.key for row in ROWS]


@pytest.mark.parametrize("name", COMPRESSED)
def test_what_is_cut_or_has_something_behind_it_is_damage(name: str) -> None:
    """No part of it is taken for all."""
    number, data = COMPRESSED[name]
    for spoiled in (data[:-1], data[: len(data) // 2], b"", data + b"\1\2\3\4", b"\xff" * 50):
        batch = kafka_batch(record_batch(*ROWS, compression=number, data=spoiled))
        with pytest.raises(CorruptBatch, match="the records of its Kafka record batch cannot be read"):
            decode(seal(batch, largest_so_far_ms=0, log_position=0), PLACE)


@pytest.mark.parametrize("name", ["gzip", "snappy", "snappy of Java", "lz4", "zstd without its size"])
def test_a_few_bytes_cannot_become_any_number(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is decompressed beyond the bound, and no memory is taken for it."""
    bomb = bytes(1 << 24)
    make = {
        "gzip": gzip.compress,
        "snappy": cramjam.snappy.compress_raw,
        "snappy of Java": lambda data: xerial(data, 1 << 20),
        "lz4": lz4.frame.compress,
        "zstd without its size": zstd_frame,
    }
    data = bytes(make[name](bomb))  # type: ignore[operator]
    monkeypatch.setattr(kafka_compression, "_LEAST_BOUND_BYTES", 1 << 16)
    monkeypatch.setattr(kafka_compression, "_MOST_RATIO", 2)
    assert most_raw_bytes(len(data)) < 1 << 22
    decompressed(COMPRESSED[name][0], memoryview(COMPRESSED[name][1]), PLACE)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"they become more than|a block becomes"):
            decompressed(COMPRESSED[name][0], memoryview(data), PLACE)
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["snappy", "lz4", "zstd"])
def test_the_error_for_a_missing_library_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it was needed for; gzip is there always."""

    def import_module(wanted: str) -> Any:
        raise ImportError(f"No module named {wanted!r}")

    monkeypatch.setattr(kafka_compression, "import_module", import_module)
    kafka_compression._decompressor.cache_clear()
    try:
        with pytest.raises(MissingLibrary, match=rf'compressed by {name}.*pip install "eventlog\[{name}\]"') as caught:
            decompressed(NAMES.index(name), memoryview(b"x"), PLACE)
        assert caught.value.extra == name
        assert decompressed(1, memoryview(gzip.compress(b"x")), PLACE) == b"x"
    finally:
        kafka_compression._decompressor.cache_clear()
