"""
The trees of one commit of a damaged file, walked without LMDB.

A walk yields the rows of sound leaf pages, and keeps what it could not follow: the range of keys that is lost with a
page, and the page itself, in which single rows may be sound.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.environment import ALL_TABLES, BATCHES, ORDER, PARTITIONS, SEQUENCES, TABLES
from eventlog.store.lmdb.pages import (
    LEAST_PAGE,
    NO_PAGE,
    Branch,
    Leaf,
    Meta,
    PageDamage,
    PageFile,
    Tree,
    Value,
    free_pages,
    table_of,
    transaction_of,
)

_DEEPEST = 32
_MAIN = b"\0tables"
_KEY_BYTES = {BATCHES: 16, ORDER: 8, PARTITIONS: 8, SEQUENCES: 16}
IN_USE, IS_FREE = 1, 2


class Span(NamedTuple):
    """The keys from `low` up to `high`, exclusive; None for no end."""

    low: bytes
    high: bytes | None

    def holds(self, key: bytes) -> bool:
        """Whether a key is one of these."""
        return self.low <= key and (self.high is None or key < self.high)


EVERYTHING = Span(b"", None)


class Walk:
    """
    The trees of one commit.

    `marks` has a byte for each page of the file: whether the trees use it, or the list of free pages has it. `lost`
    has the lost ranges of keys by table, `damaged` the pages of tables that could not be read, and `doubtful` those
    that a tree leads to although they are noted as free.
    """

    def __init__(self, file: PageFile, meta: Meta | None, *, uses_free_list: bool = True) -> None:
        self.file = file
        self.page_count = -(-file.size_bytes // file.page_bytes)
        self.marks = bytearray(self.page_count)
        self.lost: dict[bytes, list[Span]] = {}
        self._merged: dict[bytes, tuple[int, list[Span]]] = {}
        self.damaged: list[tuple[bytes, int]] = []
        self.doubtful: list[tuple[bytes, int]] = []
        self.trees: dict[bytes, Tree] = {}
        self.is_free_list_whole = uses_free_list and meta is not None
        self.newest_free = -1
        """The newest commit that has freed pages."""
        if meta is not None and uses_free_list:
            self._read_free_list(meta.free.root)
        for name, value in () if meta is None else self._visit(_MAIN, meta.main.root, 1, b"", None):
            try:
                self.trees[name] = table_of(value)
            except unless_interrupted(PageDamage):
                self.lost.setdefault(_MAIN, []).append(EVERYTHING)
        self.is_whole = not self.lost and not self.doubtful and not self._has_lost_tables(meta)
        if not self.is_whole:
            for name in ALL_TABLES:
                if name not in self.trees:
                    self.lost[name] = [EVERYTHING]

    def _has_lost_tables(self, meta: Meta | None) -> bool:
        """
        Whether a table that the commit had is not found under its name.

        A log that an earlier eventlog made may have fewer tables; then the list of them has as many rows as it says.
        """
        missing = set(TABLES) - self.trees.keys()
        if meta is None or not missing.isdisjoint(TABLES[:3]):
            return True
        if self.trees.keys() - ALL_TABLES:
            return not self.trees.keys() >= set(ALL_TABLES)
        return bool(missing) and meta.main.entries != len(self.trees)

    def rows(self, table: bytes) -> Iterator[tuple[bytes, Value]]:
        """The rows of a table, by their keys, as far as sound pages lead to them."""
        tree = self.trees.get(table)
        if tree is not None and tree.root != NO_PAGE:
            yield from self._visit(table, tree.root, 1, b"", None)

    def doubtful_rows(self) -> Iterator[tuple[bytes, bytes, Value]]:
        """The tables, keys and values of the rows below the doubtful pages."""
        for table, number in self.doubtful:
            if self.marks[number] == IS_FREE:
                self.marks[number] = 0
                for key, value in self._visit(table, number, 1, b"", None):
                    yield table, key, value

    def lose(self, table: bytes, key: bytes) -> None:
        """Note that a row that a sound page has cannot be read."""
        self.lost.setdefault(table, []).append(Span(key, key + b"\0"))

    def has_lost(self, table: bytes, key: bytes) -> bool:
        """Whether a row of this key may have been lost."""
        spans = self.lost.get(table)
        if not spans:
            return False
        count, merged = self._merged.get(table, (0, []))
        if count != len(spans):
            merged = _merged(spans)
            self._merged[table] = len(spans), merged
        place = bisect_right(merged, key, key=_low) - 1
        return place >= 0 and merged[place].holds(key)

    def value(self, value: Value) -> bytes | None:
        """The bytes of a value, and its pages are in use; None if its pages are damaged."""
        if value.page == NO_PAGE:
            return value.data
        try:
            count = self.file.overflow(value.page, value.size_bytes)
        except unless_interrupted(PageDamage):
            return None
        self.mark(value.page, count)
        return self.file.value(value)

    def mark(self, first: int, count: int) -> None:
        """Note that pages are in use."""
        self.marks[first : first + count] = bytes([IN_USE]) * len(self.marks[first : first + count])

    def _visit(
        self, table: bytes, number: int, depth: int, low: bytes, high: bytes | None
    ) -> Iterator[tuple[bytes, Value]]:
        try:
            if depth > _DEEPEST or not LEAST_PAGE <= number < self.page_count or self.marks[number] == IN_USE:
                raise PageDamage("it leads nowhere, or in a circle")
            page = self.file.page(number)
            keys = [key for key, _ in (page.rows if isinstance(page, Leaf) else page.children[1:])]
            if not keys or any(key >= behind for key, behind in pairwise(keys)):
                raise PageDamage("its keys do not rise")
            if keys[0] < low or (high is not None and keys[-1] >= high):
                raise PageDamage("its keys do not fit between those that lead to it")
            if isinstance(page, Leaf):
                _check_leaf(table, page)
        except unless_interrupted(PageDamage):
            self.lost.setdefault(table, []).append(Span(low, high))
            if LEAST_PAGE <= number < self.page_count and self.marks[number] != IN_USE:
                self.damaged.append((table, number))
            return
        if self.marks[number] == IS_FREE:  # the tree or the list of free pages is wrong
            self.lost.setdefault(table, []).append(Span(low, high))
            self.doubtful.append((table, number))
            return
        self.marks[number] = IN_USE
        if isinstance(page, Branch):
            bounds = [low, *keys, high]
            for (_, child), begin, end in zip(page.children, bounds, bounds[1:], strict=False):
                yield from self._visit(table, child, depth + 1, begin or b"", end)
        else:
            yield from page.rows

    def _read_free_list(self, root: int) -> None:
        """Mark the pages that no tree uses; an incomplete list marks none."""
        seen = 0
        pending: list[int] = [root]
        free: list[int] = []
        try:
            while pending:
                number = pending.pop()
                if number == NO_PAGE:
                    continue
                seen += 1
                if seen > self.page_count or not LEAST_PAGE <= number < self.page_count:
                    raise PageDamage("it leads nowhere, or in a circle")
                page = self.file.page(number)
                self.marks[number] = IN_USE
                if isinstance(page, Branch):
                    pending += [child for _, child in page.children]
                    continue
                for key, value in page.rows:
                    self.newest_free = max(self.newest_free, transaction_of(key))
                    data = self.value(value)
                    if data is None:
                        raise PageDamage("a list of it cannot be read")
                    free += free_pages(data)
        except unless_interrupted(PageDamage):
            self.is_free_list_whole = False
            return
        for number in free:
            if LEAST_PAGE <= number < self.page_count and not self.marks[number]:
                self.marks[number] = IS_FREE


def _low(span: Span) -> bytes:
    return span.low


def _merged(spans: list[Span]) -> list[Span]:
    """The same keys in ranges that do not overlap, in order."""
    merged: list[Span] = []
    for span in sorted(spans, key=_low):
        last = merged[-1] if merged else None
        if last is None or (last.high is not None and last.high < span.low):
            merged.append(span)
        elif last.high is not None and (span.high is None or span.high > last.high):
            merged[-1] = Span(last.low, span.high)
    return merged


def _check_leaf(table: bytes, page: Leaf) -> None:
    """Raise `PageDamage` for a page that cannot be of this table."""
    length = _KEY_BYTES.get(table)
    for key, value in page.rows:
        if value.is_table is not (table == _MAIN) or (length is not None and len(key) != length):
            raise PageDamage("it is of another table")
