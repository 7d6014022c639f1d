"""Zeros for the rests in a compacted copy: on sound pages all of them, on damaged ones nothing (decision 0054)."""

from __future__ import annotations

import os
import random
import struct
import sys
from pathlib import Path

import pytest

import eventlog
from eventlog.store.lmdb.pages import HEAD_BYTES, LEAST_PAGE, Leaf, PageDamage, PageFile
from eventlog.store.lmdb.scrubbing import scrub


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The data file of a compacted copy with small and large values."""
    with eventlog.open(tmp_path / "log") as log:
        letters = log.topic("letters", key=str, partitions=2, index="key")
        for number in range(300):
            letters.append(b"x" * (number % 7 * 900), key=f"k{number % 11}")
        log.compact(tmp_path / "copy")
    return tmp_path / "copy" / "data.mdb"


def rows_of(path: Path, *, but: int = -1) -> dict[int, list[tuple[bytes, bytes]]]:
    """The rows of each leaf page that can be read, but for one page."""
    file, found = PageFile(str(path)), {}
    for number in range(LEAST_PAGE, file.page_count):
        if number == but:
            continue
        try:
            page = file.page(number)
        except PageDamage:
            continue
        if isinstance(page, Leaf):
            found[number] = [(key, file.value(value)) for key, value in page.rows]
    file.close()
    return found


def test_a_damaged_page_is_left_and_takes_nothing_of_others(copied: Path, rng: random.Random) -> None:
    """Whatever its head, its places and the heads of its rows say."""
    whole, before = copied.read_bytes(), rows_of(copied)
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    assert len(before) > 10
    left = 0
    for _ in range(400):
        number = rng.choice(list(before))
        begin = number * page_bytes
        data = bytearray(whole)
        lower = int.from_bytes(data[begin + 12 : begin + 14], sys.byteorder)
        nodes = struct.unpack_from(f"={(lower - HEAD_BYTES) // 2}H", data, begin + HEAD_BYTES)
        at = begin + min(page_bytes - 1, rng.choice([rng.randrange(lower), rng.choice(nodes) + rng.randrange(44)]))
        data[at] ^= rng.randrange(1, 256)
        copied.write_bytes(data)
        damaged = bytes(data[begin : begin + page_bytes])
        with copied.open("r+b") as file:
            scrub(file.fileno(), page_bytes)
        after = rows_of(copied, but=number)
        taken = [other for other, rows in before.items() if other != number and after[other] != rows]
        assert taken == [], f"byte {at - begin} of page {number} was changed"
        left += copied.read_bytes()[begin : begin + page_bytes] == damaged
    assert left > 200
