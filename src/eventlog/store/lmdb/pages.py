"""
The pages of LMDB's data file, read without LMDB.

LMDB trusts its pages: where one is not what it wrote, an assertion or a signal ends the process. Here the bytes are
looked at from outside, so damage is an error that can be told. The layout is that of LMDB 0.9, in the byte order and
the page size of the machine; docs/decisions/0028-damage.md says what is checked.
"""

from __future__ import annotations

import os
import stat
import struct
import sys

from eventlog.interruptions import suppress
from eventlog.named_tuples import NamedTuple
from eventlog.uninterruptible import opening

NO_PAGE = 2**64 - 1
LEAST_PAGE = 2
"""The first page that is not one of the two meta pages."""
_ORDER = "<" if sys.byteorder == "little" else ">"
_HEAD = struct.Struct(f"{_ORDER}QHHHH")
_OVERFLOW_HEAD = struct.Struct(f"{_ORDER}QHHI")
_TREE = struct.Struct(f"{_ORDER}IHHQQQQQ")
_META = struct.Struct(f"{_ORDER}IIQQ")
_TAIL = struct.Struct(f"{_ORDER}QQ")
_NODE = struct.Struct(f"{_ORDER}HHHH")
_NUMBER = struct.Struct(f"{_ORDER}Q")
_HEAD_BYTES = HEAD_BYTES = _HEAD.size
_TREE_BYTES = _TREE.size
_NODE_BYTES = _NODE.size
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_ELSEWHERE, _TABLE = 1, 2
"""Flags of a node: its value is on pages of its own; its value is the root of a table."""
_LONGEST_KEY_BYTES = 511


class PageDamage(Exception):
    """Raised for a page that is not what LMDB wrote; the text says what is wrong."""


class Tree(NamedTuple):
    """What LMDB has noted of a table: its root, and the numbers of its pages and rows."""

    page_bytes: int
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int


class Meta(NamedTuple):
    """One of the two meta pages: the roots as a commit left them."""

    free: Tree
    main: Tree
    last_page: int
    transaction: int


class Leaf(NamedTuple):
    """The rows of a leaf page: key, place of the value, and whether it is the root of a table."""

    rows: list[tuple[bytes, Value]]


class Branch(NamedTuple):
    """The children of a branch page: the least key of each, but for the first, and its page."""

    children: list[tuple[bytes, int]]


class Value(NamedTuple):
    """The value of a row: its bytes if they are in the page, else the first of its pages; and its size."""

    data: bytes
    page: int
    size_bytes: int
    is_table: bool


class PageFile:
    """The data file of a log, open for reading pages; close it."""

    _descriptor = -1

    def __init__(self, path: str) -> None:
        [self._descriptor] = opening(path, os.O_RDONLY)
        self.page_bytes = os.sysconf("SC_PAGE_SIZE")

    @property
    def page_count(self) -> int:
        """The number of pages that the file has now."""
        return os.fstat(self._descriptor).st_size // self.page_bytes

    @property
    def mode(self) -> int:
        """The permissions of the file."""
        return stat.S_IMODE(os.fstat(self._descriptor).st_mode) & 0o777

    @property
    def size_bytes(self) -> int:
        """The bytes that the file has now; the last page may be a part of one."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()  # an interruption may have come before anybody had us

    def raw(self, number: int, count: int = 1) -> bytes:
        """Return the bytes of pages, unchecked; zeros for what the file lacks of the last one."""
        data = os.pread(self._descriptor, count * self.page_bytes, number * self.page_bytes)
        return data + bytes(-len(data) % self.page_bytes)

    def metas(self) -> list[Meta]:
        """Return the roots of the last two commits, the newest first, as far as they can be read."""
        found: list[Meta] = []
        for number in (0, 1):
            data = self.raw(number)
            place = _HEAD_BYTES + _META.size + 2 * _TREE_BYTES
            if len(data) < self.page_bytes or _TAIL.unpack_from(data, place)[1] % 2 != number:
                continue
            with suppress(PageDamage):
                meta = self.meta(_TAIL.unpack_from(data, place)[1])
                if meta is not None:
                    found.append(meta)
        return sorted(found, key=lambda meta: -meta.transaction)

    def meta(self, transaction: int) -> Meta | None:
        """Return the roots of a commit; None if later commits have taken their place."""
        number = transaction % 2
        data = self._read(number)
        stored, _, flags, _, _ = _HEAD.unpack_from(data)
        magic, version, _, _ = _META.unpack_from(data, _HEAD_BYTES)
        if (stored, flags, magic, version) != (number, _META_PAGE, _MAGIC, _VERSION):
            raise PageDamage("it is not a meta page")
        place = _HEAD_BYTES + _META.size
        trees = [Tree(*_TREE.unpack_from(data, place + index * _TREE_BYTES)) for index in (0, 1)]
        last_page, stored_transaction = _TAIL.unpack_from(data, place + 2 * _TREE_BYTES)
        if stored_transaction != transaction:
            return None
        if trees[0].page_bytes != self.page_bytes:
            raise PageDamage(f"it says that pages have {trees[0].page_bytes} bytes, not {self.page_bytes}")
        return Meta(trees[0], trees[1], last_page, transaction)

    def page(self, number: int) -> Leaf | Branch:
        """Return what a page of a tree holds."""
        data = self._read(number)
        stored, _, flags, lower, upper = _HEAD.unpack_from(data)
        if stored != number:
            raise PageDamage(f"it says that it is page {stored}")
        if flags not in (_BRANCH, _LEAF):
            raise PageDamage(f"it has the flags {flags:#x}, which no page of a tree has")
        if lower % 2 or not _HEAD_BYTES < lower <= upper <= self.page_bytes:
            raise PageDamage(f"its free space from {lower} to {upper} is impossible")
        count = (lower - _HEAD_BYTES) // 2
        places = struct.unpack_from(f"{_ORDER}{count}H", data, _HEAD_BYTES)
        if min(places) < upper:
            raise PageDamage("a row of it lies in its free space")
        return self._leaf(data, places, upper) if flags == _LEAF else self._branch(data, places, upper)

    def overflow(self, number: int, size_bytes: int) -> int:
        """Return the number of pages of a value that has pages of its own."""
        stored, _, flags, count = _OVERFLOW_HEAD.unpack_from(self._read(number))
        if stored != number or flags != _OVERFLOW:
            raise PageDamage(
                f"it says that it is page {stored} with the flags {flags:#x}, not the beginning of a value"
            )
        wanted = (_HEAD_BYTES - 1 + size_bytes) // self.page_bytes + 1
        if count != wanted:
            raise PageDamage(f"it says that {count} pages hold a value of {size_bytes} bytes, which takes {wanted}")
        self._read(number + count - 1)
        return wanted

    def value(self, value: Value) -> bytes:
        """Return the bytes of a value."""
        if value.page == NO_PAGE:
            return value.data
        return os.pread(self._descriptor, value.size_bytes, value.page * self.page_bytes + _HEAD_BYTES)

    def _read(self, number: int) -> bytes:
        if number > 2**63 // self.page_bytes - 1:
            raise PageDamage("it is beyond the end of any file")
        data = os.pread(self._descriptor, self.page_bytes, number * self.page_bytes)
        if len(data) < self.page_bytes:
            raise PageDamage("it is beyond the end of the file")
        return data

    def _leaf(self, data: bytes, places: tuple[int, ...], upper: int) -> Leaf:
        rows: list[tuple[bytes, Value]] = []
        used, end = 0, self.page_bytes
        for place in places:
            if place + _NODE_BYTES > end:
                raise PageDamage("a row of it reaches beyond its end")
            low, high, flags, key_bytes = _NODE.unpack_from(data, place)
            size = low | high << 16
            begin = place + _NODE_BYTES + key_bytes
            is_elsewhere = flags == _ELSEWHERE
            length = _NUMBER.size if is_elsewhere else size
            if flags not in (0, _ELSEWHERE, _TABLE) or not 1 <= key_bytes <= _LONGEST_KEY_BYTES or begin + length > end:
                raise PageDamage("a row of it has an impossible size")
            stored = data[begin : begin + length]
            page = _NUMBER.unpack(stored)[0] if is_elsewhere else NO_PAGE
            rows.append((data[place + _NODE_BYTES : begin], Value(stored, page, size, flags == _TABLE)))
            used += (begin - place + length + 1) & ~1
        if used != end - upper:
            raise PageDamage("rows of it overlap")
        return Leaf(rows)

    def _branch(self, data: bytes, places: tuple[int, ...], upper: int) -> Branch:
        children: list[tuple[bytes, int]] = []
        used, end = 0, self.page_bytes
        for place in places:
            if place + _NODE_BYTES > end:
                raise PageDamage("a key of it reaches beyond its end")
            low, middle, high, key_bytes = _NODE.unpack_from(data, place)
            begin = place + _NODE_BYTES
            if key_bytes > _LONGEST_KEY_BYTES or begin + key_bytes > end:
                raise PageDamage("a key of it has an impossible size")
            children.append((data[begin : begin + key_bytes], low | middle << 16 | high << 32))
            used += (_NODE_BYTES + key_bytes + 1) & ~1
        if used != end - upper:
            raise PageDamage("keys of it overlap")
        return Branch(children)


def loose_rows(data: bytes) -> list[tuple[bytes, Value]]:
    """Return what looks like rows in a damaged leaf page; whoever asks has to check each of them."""
    lower, upper = _HEAD.unpack_from(data)[3:]
    is_known = lower % 2 == 0 and _HEAD_BYTES < lower <= upper <= len(data)
    rows: list[tuple[bytes, Value]] = []
    slot, end = _HEAD_BYTES, lower if is_known else len(data)
    while slot + 2 <= end:
        (place,) = struct.unpack_from(f"{_ORDER}H", data, slot)
        slot += 2
        if place % 2 or not slot <= place <= len(data) - _NODE_BYTES:
            continue
        low, high, flags, key_bytes = _NODE.unpack_from(data, place)
        begin = place + _NODE_BYTES + key_bytes
        size = low | high << 16
        length = _NUMBER.size if flags == _ELSEWHERE else size
        if flags not in (0, _ELSEWHERE) or not 1 <= key_bytes <= _LONGEST_KEY_BYTES or begin + length > len(data):
            continue
        end = min(end, place)
        stored = data[begin : begin + length]
        page = _NUMBER.unpack(stored)[0] if flags == _ELSEWHERE else NO_PAGE
        rows.append((data[place + _NODE_BYTES : begin], Value(stored, page, size, is_table=False)))
    return rows


def value_pages(data: bytes, number: int) -> int:
    """Return for how many pages a value begins on a page; 0 if none does."""
    stored, _, flags, count = _OVERFLOW_HEAD.unpack_from(data)
    return count if stored == number and flags == _OVERFLOW else 0


def table_of(value: Value) -> Tree:
    """Return the tree that a row of the main tree names."""
    if not value.is_table or value.size_bytes != _TREE_BYTES:
        raise PageDamage("a row of it is no table")
    return Tree(*_TREE.unpack(value.data))


def free_pages(data: bytes) -> tuple[int, ...]:
    """Return the numbers of a row of free pages, the largest first."""
    count = _NUMBER.unpack_from(data)[0] if len(data) >= _NUMBER.size else -1
    if not 0 <= count <= len(data) // _NUMBER.size - 1:
        raise PageDamage(f"a list of {count} free pages takes more than {len(data)} bytes")
    numbers: tuple[int, ...] = struct.unpack_from(f"{_ORDER}{count}Q", data, _NUMBER.size)
    return numbers


def transaction_of(key: bytes) -> int:
    """Return the commit that a key of the free pages names."""
    if len(key) != _NUMBER.size:
        raise PageDamage("a key of the free pages is not a number")
    number: int = _NUMBER.unpack(key)[0]
    return number
