"""
The check of LMDB's pages: whether every row that was stored can still be found.

LMDB has no checksums. A damaged page makes it end the process, or leave out rows without a word. So the trees are
walked without it (`store/lmdb/pages.py`), before any other check: where pages are damaged, no row is read.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import LATER_TABLES, TABLES, Environment
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
from eventlog.store.verify.walk import Problems

_PART_PAGES = 1000
_DEEPEST = 32
_MAIN = "the list of tables"
_FREE = "the list of free pages"


def check_pages(environment: Environment, problems: Problems, tick: Callable[[], object]) -> bool:
    """
    Walk all pages that the newest commit uses; return whether they are sound.

    Args:
        tick: called between two parts, outside of transactions.
    """
    before = problems.count
    file = PageFile(environment.data_file)
    try:
        pages = _Pages(file, problems)
        walks = [_Walk(pages, _FREE, None), _Walk(pages, _MAIN, None)]
        names = (*TABLES, *(name for name in LATER_TABLES if environment.has_later(name)))
        walks += [_Walk(pages, f"table {name.decode()!r}", name) for name in names]
        for walk in walks:
            is_over = False
            while not is_over:
                with environment.reading() as transaction:
                    is_over = walk.go_on(transaction.id())
                tick()
    finally:
        file.close()
    return problems.count == before


class _Pages:
    """
    The pages of one file, and which of them are taken.

    A walk reads in parts, each in a read transaction of its own, so that a fork need not wait. What was counted over
    several parts is compared as long as nobody commits in between: while the log is `steady`.
    """

    def __init__(self, file: PageFile, problems: Problems) -> None:
        self.file = file
        self.problems = problems
        self.is_steady = True
        self._transaction: int | None = None
        self._taken = bytearray()

    def meta(self, transaction: int) -> Meta | None:
        """Return the roots of a commit; None if later commits have taken their place."""
        if self._transaction not in (None, transaction):
            self.is_steady = False
        self._transaction = transaction
        try:
            meta = self.file.meta(transaction)
        except unless_interrupted(PageDamage) as damage:
            raise PageDamage(f"page {transaction % 2}: {damage}") from damage
        if meta is not None and not self._taken:
            self._taken = bytearray(meta.last_page + 1) if meta.last_page < self.file.page_count * 64 else bytearray(1)
        return meta

    def take(self, first: int, count: int = 1) -> None:
        """
        Note that pages are used, or free.

        Raises:
            PageDamage: if there are no such pages, or they are taken already.
        """
        if not self.is_steady:
            return
        pages = self._taken[first : first + count]
        if first < LEAST_PAGE or len(pages) < count:
            raise PageDamage("there is no such page")
        if any(pages):
            raise PageDamage("it is in use elsewhere, or free")
        self._taken[first : first + count] = b"\1" * count


class _Walk:
    """The walk over one tree, in parts: that of a table, or one of LMDB's own two."""

    def __init__(self, pages: _Pages, name: str, table: bytes | None) -> None:
        self._pages = pages
        self._name = name
        self._table = table
        self._begin = b""
        self._path: set[int] = set()
        self._told: set[str] = set()
        self._left = 0
        self._depth = 0
        self._counts = [0, 0, 0, 0]
        self._meta: Meta

    def go_on(self, transaction: int) -> bool:
        """Walk on, in a read transaction of this number; return whether that was all."""
        try:
            meta = self._pages.meta(transaction)
            if meta is None:
                return False  # two commits came since the transaction began: another one has the newest roots
            self._meta = meta
            tree = self._tree()
        except unless_interrupted(PageDamage) as damage:
            self._complain(damage)
            return True
        self._left = _PART_PAGES
        if tree.root != NO_PAGE and not self._visit(tree.root, 1, None, None):
            return False
        self._compare(tree)
        return True

    def _complain(self, what: object, page: int | None = None) -> None:
        line = f"{self._name if page is None else f'{self._name}, page {page}'}: {what}."
        if line not in self._told:  # a part may begin with the page at which the one before has ended
            self._told.add(line)
            self._pages.problems.add(line)

    def _tree(self) -> Tree:
        if self._name == _FREE:
            return self._meta.free
        if self._table is None:
            return self._meta.main
        number = self._meta.main.root
        for _ in range(_DEEPEST):
            page = self._pages.file.page(number)
            if isinstance(page, Leaf):
                found = [value for key, value in page.rows if key == self._table]
                if not found:
                    break
                return table_of(found[0])
            number = [child for least, child in page.children if not least or least <= self._table][-1]
        raise PageDamage("it is in no page of the list of tables")

    def _visit(self, number: int, depth: int, least: bytes | None, end: bytes | None) -> bool:
        """Walk what is below a page, whose keys are at least `least` and below `end`; False if the part is over."""
        self._left -= 1
        try:
            if depth > _DEEPEST:
                raise PageDamage("it is deeper than any tree")
            page = self._pages.file.page(number)
            if isinstance(page, Branch):
                return self._visit_branch(number, page, depth, least, end)
            self._visit_leaf(number, page, depth, least, end)
        except unless_interrupted(PageDamage) as damage:
            self._complain(damage, number)
            if end is not None:
                self._begin = max(self._begin, self._order(end))
        return self._left > 0

    def _visit_branch(self, number: int, page: Branch, depth: int, least: bytes | None, end: bytes | None) -> bool:
        if number not in self._path:
            self._pages.take(number)
            self._counts[0] += 1
        self._path.add(number)
        if len(page.children) < 2:
            raise PageDamage("it has fewer than two children")
        keys = [self._order(key) for key, _ in page.children[1:]]
        if not keys[0] or any(key >= behind for key, behind in pairwise(keys)):
            raise PageDamage("its keys do not rise")
        bounds = [least, *(key for key, _ in page.children[1:]), end]
        for (_, child), low, high in zip(page.children, bounds, bounds[1:], strict=False):
            if high is not None and self._order(high) <= self._begin:
                continue  # in an earlier part
            if not self._visit(child, depth + 1, low, high):
                return False
        self._path.discard(number)
        return True

    def _visit_leaf(self, number: int, page: Leaf, depth: int, least: bytes | None, end: bytes | None) -> None:
        rows = [row for row in page.rows if self._order(row[0]) >= self._begin]
        if len(rows) < len(page.rows) and self._pages.is_steady and rows:
            raise PageDamage("its keys are not behind those of the page before")
        if not rows:
            return
        self._pages.take(number)
        self._counts[1] += 1
        if self._depth not in (0, depth):
            raise PageDamage(f"it is at depth {depth}, and others at {self._depth}")
        self._depth = depth
        keys = [self._order(key) for key, _ in rows]
        if any(key >= behind for key, behind in pairwise(keys)):
            raise PageDamage("its keys do not rise")
        if (least is not None and keys[0] < self._order(least)) or (end is not None and keys[-1] >= self._order(end)):
            raise PageDamage("its keys do not fit between those that lead to it")
        for key, value in rows:
            self._check_value(key, value)
        self._counts[3] += len(rows)
        self._begin = keys[-1] + b"\0"

    def _check_value(self, key: bytes, value: Value) -> None:
        if value.is_table is not (self._name == _MAIN):
            raise PageDamage(f"row {key!r} is {'a' if value.is_table else 'no'} table")
        if value.page != NO_PAGE:
            try:
                count = self._pages.file.overflow(value.page, value.size_bytes)
                self._pages.take(value.page, count)
            except unless_interrupted(PageDamage) as damage:
                self._complain(f"the value of row {key!r}: {damage}", value.page)
                return
            self._counts[2] += count
        if self._name == _FREE:
            self._check_free(transaction_of(key), free_pages(self._pages.file.value(value)))

    def _check_free(self, transaction: int, numbers: tuple[int, ...]) -> None:
        if transaction > self._meta.transaction:
            raise PageDamage(f"pages are free since commit {transaction}, which never was")
        for number in numbers:
            try:
                self._pages.take(number)
            except unless_interrupted(PageDamage) as damage:
                self._complain(f"{damage}, but noted as free", number)

    def _compare(self, tree: Tree) -> None:
        noted = [tree.branch_pages, tree.leaf_pages, tree.overflow_pages, tree.entries]
        if self._pages.is_steady and (self._counts, self._depth) != (noted, tree.depth):
            names = ("branch pages", "leaf pages", "pages of values", "rows")
            found = ", ".join(
                f"{count} {name} of {expected}"
                for name, count, expected in zip(names, self._counts, noted, strict=True)
                if count != expected
            )
            self._complain(f"found {found or f'depth {self._depth} of {tree.depth}'}")
        if tree.flags != (_FREE_FLAGS if self._name == _FREE else 0):
            self._complain(f"its flags are {tree.flags:#x}")

    def _order(self, key: bytes) -> bytes:
        """The bytes by which keys are sorted: those of the free pages are numbers."""
        return transaction_of(key).to_bytes(8, "big") if self._name == _FREE else key


_FREE_FLAGS = 8
"""The keys of the free pages are integers."""
