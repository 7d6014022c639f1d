"""
The journal of one file: its frames, and what the disk may hold when the power goes between two of them.

`journal.c` writes it, and so do the processes that are watched: what they acknowledge stands in it too, in order.

A disk writes sectors of 512 bytes, each as a whole. After a power cut a sector holds what it held at the last sync
that covers it, or what any later write made of it: which one, and whether the sectors beside it are as young, is up to
the disk. So images need no order of writes: that a later write is there and an earlier one is not is one of the cases.
The size of the file is the one of the last sync, or anything up to what the writes since then made of it; what
it gained and was not written reads as zeros.

Knows nothing of LMDB, nor of what the acknowledgements say.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SECTOR_BYTES = 512

WRITE, WRITTEN, SYNC, SYNCED, RESIZE, RESIZED, ENTRY, ENTERED = (ord(letter) for letter in "WwSsRrDd")
FILE, ACKNOWLEDGED = ord("F"), ord("A")
"""Frames of our own: what the file held when the journal began, and an acknowledgement."""

_FRAME = struct.Struct("=IIQqQ")


class Frame(NamedTuple):
    """One line of the journal; the fields are explained in `journal.c`."""

    kind: int
    flags: int
    number: int
    place: int
    data: bytes


def append_frame(descriptor: int, kind: int, data: bytes) -> None:
    """Appends a frame to a journal that is open with O_APPEND; the kernel takes it as a whole."""
    frame = _FRAME.pack(kind, 0, 0, 0, len(data)) + data
    assert os.write(descriptor, frame) == len(frame), "the journal took half a frame"


def frames_of(path: Path) -> list[Frame]:
    """All frames of a journal."""
    return list(_frames(path.read_bytes()))


def _frames(data: bytes) -> Iterator[Frame]:
    at = 0
    while at < len(data):
        kind, flags, number, place, length = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        yield Frame(kind, flags, number, place, data[at : at + length])
        at += length
    assert at == len(data), "the journal ends in the middle of a frame"


class Pending(NamedTuple):
    """
    A write that the disk need not have: the sectors that it touched, as they were after it.

    `order` rises from write to write; `end` is where the write ended, in bytes.
    """

    order: int
    number: int
    first_sector: int
    sectors: bytes
    end: int

    @property
    def sector_count(self) -> int:
        """How many sectors it touched."""
        return len(self.sectors) // SECTOR_BYTES

    def sector(self, index: int) -> bytes:
        """One of them."""
        return self.sectors[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES]


class Disk:
    """
    The contents of a disk while a journal is played to it, frame by frame.

    `seen` is what every process sees, `durable` what is there after a power cut in any case, both up to the end of a
    sector; `seen_bytes` and `durable_bytes` are the sizes of the file. `pending` are the writes that may be there as
    well, oldest first. `is_entered` says whether the file's directory was synced.
    """

    def __init__(self) -> None:
        self.seen = bytearray()
        self.seen_bytes = 0
        self.durable = bytearray()
        self.durable_bytes = 0
        self.pending: list[Pending] = []
        self.is_entered = False
        self._order = 0
        self._durable_order: dict[int, int] = {}
        self._ended: set[int] = set()
        self._covered: dict[int, set[int]] = {}
        self._durable_at_end: set[int] = set()

    def play(self, frame: Frame) -> None:
        """What one frame does."""
        if frame.kind == WRITE:
            self._write(frame)
        elif frame.kind == WRITTEN:
            self._end_write(frame)
        elif frame.kind == SYNC:
            self._covered[frame.number] = set(self._ended)
        elif frame.kind == SYNCED:
            covered = self._covered.pop(frame.number)
            if frame.place == 0:
                self._keep(covered)
        elif frame.kind == FILE:
            self._begin(frame.data)
        elif frame.kind == RESIZE:
            assert frame.place == 0, f"the file was cut to {frame.place} bytes; this model knows no such thing"
            self._begin(b"")  # only a file that was never finished is emptied: what it held is of no interest
        elif frame.kind == ENTERED:
            self.is_entered = True

    def _begin(self, data: bytes) -> None:
        self.seen = bytearray(padded(data))
        self.durable = bytearray(self.seen)
        self.seen_bytes = self.durable_bytes = len(data)
        self.pending = []
        self.is_entered = self.is_entered or bool(data)

    def _write(self, frame: Frame) -> None:
        end = frame.place + len(frame.data)
        first, last = frame.place // SECTOR_BYTES, -(-end // SECTOR_BYTES)
        extend(self.seen, last * SECTOR_BYTES)
        self.seen[frame.place : end] = frame.data
        self.seen_bytes = max(self.seen_bytes, end)
        self._order += 1
        sectors = bytes(self.seen[first * SECTOR_BYTES : last * SECTOR_BYTES])
        self.pending.append(Pending(self._order, frame.number, first, sectors, end))
        if frame.flags:
            self._durable_at_end.add(frame.number)

    def _end_write(self, frame: Frame) -> None:
        assert frame.place >= 0, "a write failed under the journal"
        self._ended.add(frame.number)
        if frame.number in self._durable_at_end:
            self._durable_at_end.remove(frame.number)
            self._keep({frame.number})

    def _keep(self, numbers: set[int]) -> None:
        """Makes writes durable."""
        for write in self.pending:
            if write.number in numbers:
                self.put(self.durable, write, range(write.sector_count))
                self.durable_bytes = max(self.durable_bytes, write.end)
                for sector in range(write.first_sector, write.first_sector + write.sector_count):
                    self._durable_order[sector] = max(write.order, self._durable_order.get(sector, 0))
        self.pending = [write for write in self.pending if write.number not in numbers]
        self._ended -= numbers

    def put(self, data: bytearray, write: Pending, indexes: Iterable[int]) -> None:
        """Puts some sectors of a write into an image, unless a younger one is durable."""
        extend(data, (write.first_sector + write.sector_count) * SECTOR_BYTES)
        for index in indexes:
            sector = write.first_sector + index
            if write.order >= self._durable_order.get(sector, 0):
                data[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = write.sector(index)


def padded(data: bytes) -> bytes:
    """The bytes with zeros up to the end of a sector."""
    return data + bytes(-len(data) % SECTOR_BYTES)


def extend(data: bytearray, length: int) -> None:
    """Adds zeros up to a length."""
    if len(data) < length:
        data.extend(bytes(length - len(data)))
