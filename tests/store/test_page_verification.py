"""Damage to LMDB's pages: `verify` tells where it is, without LMDB, and never takes a sound log for a damaged one."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.store.lmdb.pages import NO_PAGE, Branch, Leaf, PageDamage, PageFile, free_pages, table_of
from eventlog.store.verify import check_pages

PAGE_BYTES = 4096
HEAD_BYTES = 16


@pytest.fixture
def path(path: Path) -> Path:
    """A log whose tables have several pages, and whose file has free ones."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", key=str, index="key")
        for number in range(40):
            topic.append_many([b"v" * 60] * 20, keys=[f"k{number % 50 + one}" for one in range(20)])
        topic.append(b"large" * 3000, key="large")
        topic.delete_records({0: 300})
    return path


def root_of(path: Path, table: bytes) -> int:
    """The root page of a table, or of LMDB's list of tables or of free pages."""
    file = PageFile(str(path / "data.mdb"))
    try:
        metas = [meta for meta in (_meta(file, number) for number in (0, 1)) if meta is not None]
        meta = max(metas, key=lambda one: one.transaction)
        if table in (b"main", b"free"):
            return meta.main.root if table == b"main" else meta.free.root
        main = file.page(meta.main.root)
        assert isinstance(main, Leaf)
        return next(table_of(value).root for key, value in main.rows if key == table)
    finally:
        file.close()


def _meta(file: PageFile, number: int) -> Any:
    (transaction,) = struct.unpack_from("=Q", file._read(number), HEAD_BYTES + 24 + 2 * 48 + 8)
    return file.meta(transaction)


def spoil(path: Path, page: int, change: Callable[[bytearray], None]) -> None:
    """Change a page of the file."""
    data = path / "data.mdb"
    content = bytearray(data.read_bytes())
    part = content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]
    change(part)
    content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = part
    data.write_bytes(content)


def at(place: int, data: bytes) -> Callable[[bytearray], None]:
    """Other bytes at a place of a page."""

    def change(page: bytearray) -> None:
        page[place : place + len(data)] = data

    return change


def first_pointer(page: bytearray) -> int:
    """The place of the first row of a page."""
    place: int = struct.unpack_from("=H", page, HEAD_BYTES)[0]
    return place


def swap_rows(page: bytearray) -> None:
    """Let the first two rows of a page change their places."""
    page[16:18], page[18:20] = page[18:20], page[16:18]


def point_to_second(page: bytearray) -> None:
    """Let the first child of a branch be that of the second."""
    first, second = struct.unpack_from("=HH", page, HEAD_BYTES)
    page[first : first + 6] = page[second : second + 6]


SPOILED: list[tuple[str, bytes, Callable[[bytearray], None], str]] = [
    ("zeroed", b"order", lambda page: page.__setitem__(slice(None), bytes(PAGE_BYTES)), "it says that it is page 0"),
    ("number", b"order", at(0, b"\7\7"), "it says that it is page"),
    ("flags", b"order", at(10, b"\x40\0"), "it has the flags 0x40"),
    ("lower", b"order", at(12, b"\1\0"), "its free space from 1"),
    ("upper", b"order", at(14, b"\xff\xff"), "its free space"),
    ("pointer", b"order", at(16, b"\0\0"), "a row of it lies in its free space"),
    ("twice", b"order", lambda page: at(16, bytes(page[18:20]))(page), "its keys do not rise"),
    ("overlap", b"order", lambda page: at(14, struct.pack("=H", first_pointer(page)))(page), "free space|overlap"),
    ("rows-swapped", b"batches", swap_rows, "its keys do not rise"),
    ("same-child", b"batches", point_to_second, "its keys do not fit between"),
    ("main-flags", b"main", at(10, b"\1\0"), ""),
    ("free-list", b"free", lambda page: at(first_pointer(page) + 24, b"\x03\0\0\0")(page), ""),
]


@pytest.mark.parametrize(
    ("table", "change", "complaint"), [one[1:] for one in SPOILED], ids=[one[0] for one in SPOILED]
)
def test_a_damaged_page_is_named(path: Path, table: bytes, change: Callable[[bytearray], None], complaint: str) -> None:
    """With its number and what is wrong; a log that cannot be opened says that."""
    page = root_of(path, table)
    spoil(path, page, change)
    try:
        with eventlog.open(path, create=False) as log:
            problems = log.verify().problems
    except eventlog.EventLogError:
        assert table == b"main"
        return
    assert any(re.search(rf"page \d+: .*({complaint})", line) for line in problems), problems
    assert any(f"page {page}" in line for line in problems) or table != b"order"
    assert problems[-1].startswith("no row was read")


def test_a_row_that_lmdb_has_lost_is_missed(path: Path) -> None:
    """Every page is as it should be, but the table is said to have had one row more."""
    page = root_of(path, b"main")

    def one_more(data: bytearray) -> None:
        place = data.index(b"batches") + len(b"batches") + 4 + 4 + 24
        (count,) = struct.unpack_from("=Q", data, place)
        struct.pack_into("=Q", data, place, count + 1)

    spoil(path, page, one_more)
    with eventlog.open(path) as log:
        problems = log.verify().problems
    assert len(problems) == 2
    assert re.fullmatch(r"table 'batches': found (\d+) rows of (\d+)\.", problems[0])


def test_pages_are_walked_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same result, whatever the size of a part; writers may come between two of them."""
    for size in (4, 7, 1000):
        monkeypatch.setattr(check_pages, "_PART_PAGES", size)
        with eventlog.open(path) as log:
            assert log.verify().problems == ()
            topic = log.topic("orders")
            assert log.verify(progress=lambda _, topic=topic: topic.append(b"v", key="k1")).problems == ()


def test_a_log_is_sound_whatever_was_done_to_it(path: Path) -> None:
    """Its free pages, its empty tables, its large values, and what was deleted."""
    with eventlog.open(path) as log:
        for round_ in range(5):
            topic = log.topic("orders")
            topic.append_many([b"x" * (round_ * 4000)] * 5, keys=["a", "b", "c", "d", "e"])
            assert log.verify().problems == ()
            ends = topic.bounds()
            topic.delete_records({0: ends[0][1] - 3})
            assert log.verify().problems == ()
        log.delete_topic("orders")
        assert log.verify().problems == ()
        log.topic("orders").append(b"again")
        assert log.verify().problems == ()


def test_lists_of_free_pages_are_read() -> None:
    """A list that says more than it has is damage."""
    assert free_pages(struct.pack("=QQQ", 2, 9, 7)) == (9, 7)
    for data in (b"", struct.pack("=Q", 1), struct.pack("=QQ", 2**63, 1)):
        with pytest.raises(PageDamage, match="free pages"):
            free_pages(data)


def test_pages_beyond_the_file_are_damage(path: Path) -> None:
    """However far."""
    file = PageFile(str(path / "data.mdb"))
    try:
        for number in (file.page_count, 2**48 - 1, NO_PAGE):
            with pytest.raises(PageDamage, match="beyond the end"):
                file.page(number)
        assert isinstance(file.page(root_of(path, b"batches")), Branch)
    finally:
        file.close()
