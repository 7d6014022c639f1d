"""
The images that a power cut may leave: which of the pending writes are in them, how torn, and how long the file is.

A `Choice` decides; it is drawn from a seed, and its text repeats the image. Knows nothing of what the file holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

from tests.power.journal import SECTOR_BYTES, Disk, Pending

_PAGE_SECTORS = 8
Kept = list[tuple[Pending, Iterable[int]]]
"""Writes, each with those of its sectors that are there."""


class Choice(NamedTuple):
    """One way in which the power may go: which writes, which size, and the seed of the rest."""

    writes: str
    size: str
    seed: int

    @classmethod
    def drawn(cls, chance: random.Random) -> Self:
        """Any of them."""
        return cls(chance.choice(list(WAYS)), chance.choice(_SIZES), chance.randrange(2**32))

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its text."""
        writes, size, seed = text.split("/")
        return cls(writes, size, int(seed))

    def __str__(self) -> str:
        return f"{self.writes}/{self.size}/{self.seed}"


def image_of(disk: Disk, choice: Choice) -> bytes:
    """The file as one power cut leaves it."""
    chance = random.Random(choice.seed)
    data = bytearray(disk.durable)
    size = disk.durable_bytes
    for write, indexes in WAYS[choice.writes](disk.pending, chance):
        chosen = list(indexes)
        disk.put(data, write, chosen)
        if chosen:
            size = max(size, min(write.end, (write.first_sector + max(chosen) + 1) * SECTOR_BYTES))
    if choice.size == "long":
        size = disk.seen_bytes
    elif choice.size == "short":
        size = disk.durable_bytes
    elif choice.size == "any":
        steps = (disk.seen_bytes - disk.durable_bytes) // SECTOR_BYTES
        size = disk.durable_bytes + SECTOR_BYTES * chance.randint(0, max(steps, 0))
    return bytes(data[:size]) + bytes(max(size - len(data), 0))


def _whole(writes: Iterable[Pending]) -> Kept:
    return [(write, range(write.sector_count)) for write in writes]


def _none(pending: list[Pending], chance: random.Random) -> Kept:
    return []


def _all(pending: list[Pending], chance: random.Random) -> Kept:
    return _whole(pending)


def _subset(pending: list[Pending], chance: random.Random) -> Kept:
    share = chance.choice((0.2, 0.5, 0.8))
    return _whole(write for write in pending if chance.random() < share)


def _first(pending: list[Pending], chance: random.Random) -> Kept:
    return _whole(pending[: chance.randint(0, len(pending))])


def _last(pending: list[Pending], chance: random.Random) -> Kept:
    return _whole(pending[chance.randint(0, len(pending)) :])


def _but_one(pending: list[Pending], chance: random.Random) -> Kept:
    left_out = chance.randrange(len(pending)) if pending else 0
    return _whole(write for place, write in enumerate(pending) if place != left_out)


def _torn(pending: list[Pending], chance: random.Random) -> Kept:
    share = chance.choice((0.1, 0.5, 0.9))
    return [(write, _some(write, share, 1, chance)) for write in pending]


def _pages(pending: list[Pending], chance: random.Random) -> Kept:
    share = chance.choice((0.1, 0.5, 0.9))
    return [(write, _some(write, share, _PAGE_SECTORS, chance)) for write in pending]


def _one_torn(pending: list[Pending], chance: random.Random) -> Kept:
    torn = chance.randrange(len(pending)) if pending else 0
    return [
        (write, _some(write, 0.5, 1, chance) if place == torn else range(write.sector_count))
        for place, write in enumerate(pending)
    ]


def _some(write: Pending, share: float, run: int, chance: random.Random) -> list[int]:
    """Each run of so many sectors with a probability."""
    starts = [start for start in range(0, write.sector_count, run) if chance.random() < share]
    return [index for start in starts for index in range(start, min(start + run, write.sector_count))]


WAYS: dict[str, Callable[[list[Pending], random.Random], Kept]] = {
    "none": _none,
    "all": _all,
    "subset": _subset,
    "first": _first,
    "last": _last,
    "but-one": _but_one,
    "torn": _torn,
    "pages": _pages,
    "one-torn": _one_torn,
}
_SIZES = ("natural", "long", "short", "any")
