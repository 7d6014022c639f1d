"""
What can be read of a damaged file, written into the new log.

First come the rows to which the trees of the newest commit lead. Only where something is damaged, further places are
searched, in this order: the damaged pages themselves, pages that no tree and no list of free pages has, and the trees
of the commit before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from eventlog.errors import EventLogError, FormatTooNew
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.lmdb.environment import (
    ALL_TABLES,
    BATCHES,
    FORMAT,
    ORDER,
    OWN_CHECKSUMS,
    PARTITIONS,
    SNAPSHOTS,
    STATE,
    STATES,
    TOPICS,
)
from eventlog.store.lmdb.pages import LEAST_PAGE, NO_PAGE, Leaf, PageDamage, PageFile, Value, loose_rows, value_pages
from eventlog.store.repair.batches import Batches
from eventlog.store.repair.rows import CHECKS, is_kept, is_row
from eventlog.store.repair.target import Target
from eventlog.store.repair.walk import EVERYTHING, IS_FREE, Walk
from eventlog.store.rows.checksums import unseal_row
from eventlog.store.rows.tables import FORMAT_KEY, UNSEALED_VERSION, FormatRow, unpack_topic

_FIRST = (FORMAT, TOPICS, ORDER, PARTITIONS, STATES)
_LAST = (BATCHES, STATE, SNAPSHOTS)
_IN_ORDER = (*_FIRST, *(name for name in ALL_TABLES if name not in (*_FIRST, *_LAST)), *_LAST)
"""Batches are placed by the order; rows of states by their states."""
_TICK_PAGES = 1024
_LEAST_TOPIC_BYTES = 60


class Search:
    """The search of one file."""

    def __init__(self, file: PageFile, target: Target, tick: Callable[[int], object]) -> None:
        self._file = file
        self._target = target
        self._tick = tick
        self.notes: list[str] = []
        self.format: FormatRow | None = None
        """The row of the format, if it is to be found."""
        self.is_sealed = self._find_format()
        """Whether rows have checksums: those of a log of format 3 have none."""
        metas = file.metas()
        walks = [Walk(file, meta) for meta in metas]
        if len(walks) == 2 and metas[0].transaction != metas[1].transaction + 1:
            walks.sort(key=lambda walk: -walk.newest_free)  # the number of a commit is damaged
        newest = walks[0] if walks else Walk(file, None)
        self._free = newest.marks if newest.is_free_list_whole else b""
        self._older = walks[1:]
        self.walk = newest
        if not newest.is_whole:
            self._choose(walks)
        self.batches = Batches(file, self.walk, target)

    def collect(self) -> None:
        """Write all that can be read into the new log."""
        for table in _IN_ORDER:
            self._copy(table, self.walk.rows(table))
        if not self.is_damaged:
            return
        for table, number in self.walk.damaged:
            self._salvage(table, self._file.raw(number))
        self._scan([table for table in CHECKS if table not in _LAST])
        self._scan(_LAST)
        for table, key, value in self.walk.doubtful_rows():
            if table in ALL_TABLES:
                self._take(table, key, value)
        if TOPICS in self.walk.lost:
            self._find_topics()
        for older in self._older:
            for table in _IN_ORDER:
                if table in self.walk.lost:
                    for key, value in older.rows(table):
                        self._take(table, key, value)

    @property
    def is_damaged(self) -> bool:
        """Whether a page, or the bytes of a row, are not what was written."""
        walk = self.walk
        return bool(walk.lost or walk.damaged or walk.doubtful or not walk.is_free_list_whole)

    def stored_count(self, table: bytes) -> int | None:
        """How many rows a table had; None if that is not known."""
        tree = self.walk.trees.get(table)
        return None if tree is None or EVERYTHING in self.walk.lost.get(table, ()) else tree.entries

    def _choose(self, walks: list[Walk]) -> None:
        """Take the trees of the commit before, if those of the newest are damaged at their root."""
        for walk, meta in zip(walks[1:], self._file.metas()[1:], strict=False):
            older = Walk(self._file, meta, uses_free_list=False)
            if walk.trees and older.is_whole:
                self.walk, self._older = older, walks[:1]
                older.lost = {name: [EVERYTHING] for name in ALL_TABLES}
                self.notes.append(
                    "the list of tables of the newest commit is damaged: where pages do not tell, the log is that of "
                    "the commit before."
                )
                return
        self.notes.append("no list of tables is whole: rows were told apart by their bytes, and may be old versions.")

    def _copy(self, table: bytes, rows: Iterable[tuple[bytes, Value]]) -> None:
        walk, target = self.walk, self._target
        for number, (key, value) in enumerate(rows):
            if number % _TICK_PAGES == 0:
                self._tick(0)
            if table == BATCHES:
                self.batches.put(key, value)
                continue
            if (table, key) == (FORMAT, FORMAT_KEY):
                continue
            data = self._row(table, key, value)
            if data is None:
                walk.lose(table, key)
            else:
                target.put(table, key, data)

    def _take(self, table: bytes, key: bytes, value: Value) -> None:
        """Put a row that was found outside of the newest trees, if it fills a gap of theirs."""
        if table == BATCHES:
            data = self.batches.read(value)
            if data is not None:
                self.batches.offer(key, data)
            return
        if not self.walk.has_lost(table, key) or (table, key) == (FORMAT, FORMAT_KEY):
            return
        data = self._row(table, key, value)
        if data is None:
            return
        stored = self._target.get(table, key)
        if stored is None or not is_kept(table, stored, data):
            self._target.put(table, key, data)

    def _row(self, table: bytes, key: bytes, value: Value) -> bytes | None:
        """The value of a row without its checksum; None if it is not one of this table."""
        data = self.walk.value(value)
        data = None if data is None else self._unsealed(table, key, data)
        return data if data is not None and is_row(table, key, data) else None

    def _unsealed(self, table: bytes, key: bytes, data: bytes) -> bytes | None:
        if not self.is_sealed or table in OWN_CHECKSUMS or (table, key) == (FORMAT, FORMAT_KEY):
            return data
        return unseal_row(key, data)

    def _fits(self, table: bytes, key: bytes, data: bytes | None) -> bool:
        row = None if data is None else self._unsealed(table, key, data)
        return row is not None and is_row(table, key, row)

    def _find_format(self) -> bool:
        """
        Find the row that says which format the log has; return whether rows have checksums.

        Raises:
            FormatTooNew: a newer eventlog wrote the log.
        """
        for meta in self._file.metas():
            for key, value in Walk(self._file, meta, uses_free_list=False).rows(FORMAT):
                if key == FORMAT_KEY and self._take_format(value.data):
                    return self.format is None or self.format.version > UNSEALED_VERSION
        has_rows = False
        for number in range(LEAST_PAGE, -(-self._file.size_bytes // self._file.page_bytes)):
            with suppress(PageDamage):
                page = self._file.page(number)
                for key, value in page.rows if isinstance(page, Leaf) else ():
                    if value.page != NO_PAGE or value.is_table:
                        continue
                    if key == FORMAT_KEY and self._take_format(value.data):
                        return self.format is None or self.format.version > UNSEALED_VERSION
                    if unseal_row(key, value.data) is not None:
                        return True
                    has_rows = has_rows or len(value.data) > 0
        return not has_rows

    def _take_format(self, data: bytes) -> bool:
        """Take the row of the format, if it is sound."""
        try:
            self.format = FormatRow.unpack(data, "the log")
        except unless_interrupted(FormatTooNew):
            if unseal_row(FORMAT_KEY, data) is not None:
                raise
            return False
        except unless_interrupted(EventLogError):
            return False
        return True

    def _salvage(self, table: bytes, data: bytes) -> None:
        """Search a damaged page of a table for rows that are sound."""
        if table == BATCHES:
            self.batches.offer_page(data)
        if table in ALL_TABLES:
            for key, value in loose_rows(data):
                self._take(table, key, value)

    def _scan(self, tables: Collection[bytes]) -> None:
        """Search the pages that nothing uses, as far as that is known, for rows of some tables."""
        marks, number = self.walk.marks, LEAST_PAGE
        while number < len(marks):
            if number % _TICK_PAGES == 0:
                self._tick(number * self._file.page_bytes)
            count = 1
            if not marks[number] and not (self._free and self._free[number] == IS_FREE):
                count = self._scan_page(number, tables)
            number += count

    def _find_topics(self) -> None:
        """Search all pages for rows of topics that have batches and no row: a row of a topic hardly changes."""
        target, found = self._target, dict[int, tuple[bytes, bytes]]()
        wanted = {int.from_bytes(key[:4], "big") for _, key in target.items(ORDER)}
        wanted -= {unpack_topic(key, data).id for key, data in target.items(TOPICS)}
        for number in range(LEAST_PAGE, len(self.walk.marks)) if wanted else ():
            with suppress(PageDamage):
                page = self._file.page(number)
                for key, value in page.rows if isinstance(page, Leaf) else ():
                    data = value.data if value.page == NO_PAGE and not value.is_table else b""
                    row = self._unsealed(TOPICS, key, data) if len(data) > _LEAST_TOPIC_BYTES else None
                    if row is not None and is_row(TOPICS, key, row):
                        found[unpack_topic(key, row).id] = key, row
        for topic_id in wanted & found.keys():
            key, data = found[topic_id]
            if target.get(TOPICS, key) is None:
                target.put(TOPICS, key, data)
                self.notes.append(f"topic {key.decode()!r}: its row was found in an old page and may be an old one.")

    def _scan_page(self, number: int, tables: Collection[bytes]) -> int:
        """Search one page; return for how many pages that was."""
        page = None
        with suppress(PageDamage):
            page = self._file.page(number)
        if isinstance(page, Leaf):
            table = self._table_of(page, tables)
            if table is not None:
                for key, value in page.rows:
                    self._take(table, key, value)
        elif page is None:
            data = self._file.raw(number)
            count = value_pages(data, number)
            if 1 <= count <= len(self.walk.marks) - number:
                if BATCHES in tables and (found := self.batches.run_at(number)) is not None:
                    self.batches.offer(None, found)
                return count
            if BATCHES in tables:
                self.batches.offer_page(data)
        return 1

    def _table_of(self, page: Leaf, tables: Collection[bytes]) -> bytes | None:
        """The table of which all rows of a page can be; None for none of these, or if more than one fits."""
        if any(value.is_table for _, value in page.rows):
            return None
        if all(len(key) == 16 and (value.page != NO_PAGE or value.data[:1] == b"\xe7") for key, value in page.rows):
            return BATCHES if BATCHES in tables else None
        rows = [(key, self.walk.value(value)) for key, value in page.rows]
        found = [table for table in CHECKS if all(self._fits(table, key, data) for key, data in rows)]
        fitting = [table for table in found if table != STATE] or found
        if fitting != [SNAPSHOTS] and fitting != found and fitting[0] in tables:
            return fitting[0]
        return found[0] if len(found) == 1 and found[0] in tables else None
