"""
The space of an open environment: how large its map and its file may become, and what is kept for deletions.

LMDB puts no page behind the end of its map, so the map is what keeps appends below `max_bytes`. Requests that make
room, and those that groups live by, may use the part that the bound keeps for them (docs/decisions/0053-max-bytes.md).
"""

from __future__ import annotations

import mmap

import lmdb

from eventlog.errors import DiskFull, NestedCall
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.errors import beyond_limit, log_full, no_room
from eventlog.store.lmdb.lifecycle import Lifecycle
from eventlog.store.lmdb.opening import LEAST_MAP_BYTES, ROOM_BYTES, has_room, is_nearly_full
from eventlog.store.lmdb.room import Bound, allocated_bytes

_NEARLY_FULL_BYTES = 1 << 20
_UNLISTED_PAGES = 8
"""Pages in use that no table counts, at least: the roots, the table of tables, and LMDB's list of free pages."""
_SLACK_BYTES = 16 << 20
"""What a map gets beside what it needs, where another process without our bound makes the file grow."""


class Space(Lifecycle):
    """
    An environment with its space: the map, the bound of the file, and the reserve.

    The `bound` is that of the user, or the limit of this process for its files (`ulimit -f`), if that is less.
    `kept_bytes` of free pages inside the file must be left by appends, because the file has grown into the part that is
    kept for deletions. If `is_stretched`, the map is larger than appends may use: `fit_map` comes before them. If
    `is_reserve_short`, a part of the reserve is spent.
    """

    bound: Bound | None = None
    bound_error: DiskFull | None = None
    """The last error of a request for which the bound left no room."""
    kept_bytes = 0
    is_stretched = False
    is_reserve_short = False

    def _recover(self, error: lmdb.Error) -> None:
        """
        Remove the reason why a read could not begin, or raise.

        If another process grew the map, adopt its size. If the environment has panicked, which happens when the last
        write of a commit fails, open it again. If all reader slots are taken, free those of dead processes, which
        otherwise happens at a write.
        """
        if isinstance(error, lmdb.MapResizedError):
            self.adopt_map()
        elif isinstance(error, lmdb.PanicError):
            self._gate.alone(self._replace_panicked)
        elif not self._free_slots():
            raise self.read_error(error) from error

    def _look_at_map(self, handle: lmdb.Environment) -> None:
        bound = self.bound = self._opener.current_bound()
        self.kept_bytes, self.is_stretched = 0, False
        if bound is not None:
            info, limit = handle.info(), bound.limit(0.0)
            file_bytes = (info["last_pgno"] + 1) * mmap.PAGESIZE
            self.kept_bytes = min(max(file_bytes - limit, 0), bound.reserve_bytes)
            self.is_stretched = info["map_size"] > max(limit, file_bytes)

    def look_at_bound(self) -> Bound | None:
        """Find out what the bound is now: the process may have got another limit for its files."""
        self._look_at_map(self._usable_handle())
        return self.bound

    @property
    def is_nearly_full(self) -> bool:
        """Whether the data file can hardly grow."""
        return self.is_near_bound or (not self.is_memory and (self.is_reserve_short or is_nearly_full(self.path)))

    @property
    def is_near_bound(self) -> bool:
        """Whether appends can hardly make the file grow, because of the bound."""
        bound = self.bound
        return bound is not None and self.file_bytes() > bound.limit(0.0) - _NEARLY_FULL_BYTES

    def has_old_reader(self) -> bool:
        """Whether a reader, of any process, keeps the pages that the last commits freed."""
        handle = self._usable_handle()
        newest = handle.info()["last_txnid"]
        ages = [line.split()[-1] for line in handle.readers().splitlines()[1:]]
        return any(age.isdigit() and int(age) + 2 < newest for age in ages)

    def file_bytes(self) -> int:
        """Return the size of the pages of the data file, up to the last one that was ever used."""
        return (int(self._usable_handle().info()["last_pgno"]) + 1) * mmap.PAGESIZE

    def grow(self, share: float = 0.0) -> None:
        """
        Double the map after `MapFull`, or grow it as far as the bound and the address space allow.

        Args:
            share: the part of the room kept for deletions that the request may use.

        Raises:
            LogFull: the bound is reached.
            DiskFull: the limit of this process for its files is reached, or there is no room for a larger map. The log
                is as it was, and can be read.
        """
        bound, size = self.look_at_bound(), self.map_bytes()
        added = size
        if bound is not None:
            added = min(added, self._limit(bound, share) - size)
            if added <= 0:
                raise self.full(bound)
        while not has_room(added + ROOM_BYTES):
            added >>= 1
            if added < LEAST_MAP_BYTES:
                raise DiskFull(
                    f"cannot grow the map of the log at {self.path} beyond {size} bytes: this process has no more "
                    "address space (`ulimit -v`).",
                    stored="Nothing of this call was acknowledged.",
                    advice="Raise the limit, close other logs, or write from another process.",
                )
        self._resize((size + added) // mmap.PAGESIZE * mmap.PAGESIZE)

    def fit_map(self, share: float) -> None:
        """Make a stretched map as small as a request with this share may use, or as the file needs."""
        bound = self.look_at_bound()
        if bound is not None and self.map_bytes() > max(limit := self._limit(bound, share), self.file_bytes()):
            self._resize(limit)  # LMDB keeps what the file needs

    def _limit(self, bound: Bound, share: float) -> int:
        """The size up to which a request may make the file grow; one that is too large already grows by deletions."""
        file_bytes = self.file_bytes()
        if share and file_bytes > bound.max_bytes:
            return file_bytes + int(bound.reserve_bytes * share) // mmap.PAGESIZE * mmap.PAGESIZE
        return bound.limit(share)

    def full(self, bound: Bound) -> DiskFull:
        """Return the error for a request for which the bound leaves no room."""
        is_ours = bound == self._opener.bound
        error = (log_full if is_ours else beyond_limit)(self.path, bound.max_bytes, self.file_bytes())
        self.bound_error = error
        return error

    def map_bytes(self) -> int:
        """Return the size of the map, which bounds the size of the log."""
        size: int = self._usable_handle().info()["map_size"]
        return size

    def adopt_map(self, *, slack_bytes: int = _SLACK_BYTES) -> None:
        """
        Make the map as large as another process has made it, or as the file needs, if there is no room for that.

        Under a bound it becomes as large as the file needs, with some slack, so that readers need not do this after
        every commit of the other.
        """
        info = self._usable_handle().info()
        needed = (info["last_pgno"] + 1) * mmap.PAGESIZE
        if self.bound is not None:
            wanted = needed + slack_bytes
        else:
            wanted = needed if self._files is None else self._files.stored_map_bytes()
        while wanted > needed and not has_room(wanted - info["map_size"] + ROOM_BYTES):
            wanted = max(wanted >> 1, needed)
        self._resize(wanted)

    def look_at_reserve(self) -> None:
        """Find out whether a part of the reserve is spent; other processes spend it too."""
        self.is_reserve_short = self._reserve is not None and self._reserve.missing_bytes() > 0

    def check_room(self, transaction: lmdb.Transaction[bytes]) -> None:
        """
        Raise `DiskFull` if a write transaction would take pages that deletions need.

        These replace the spent part of the reserve, which is filled as soon as the volume has room again, or that part
        of the bound into which the file has grown.
        """
        reserve, lock = self._reserve, self._write_lock
        if reserve is None or lock is None or reserve.fill():
            self.is_reserve_short = False
        bound = self.look_at_bound()
        if not (self.is_reserve_short or self.kept_bytes):
            return
        used_count = _UNLISTED_PAGES
        for table in self.tables.values():
            pages = transaction.stat(table)
            used_count += pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]
        used_bytes = used_count * self._usable_handle().stat()["psize"]
        if bound is not None and self.file_bytes() - used_bytes < self.kept_bytes:
            raise self.full(bound)
        if self.is_reserve_short and reserve is not None and lock is not None:
            if allocated_bytes(lock.descriptor) - used_bytes < reserve.missing_bytes():
                raise no_room(self.path)

    def _resize(self, size_bytes: int) -> None:
        """Change the size of the map."""
        if self._gate.is_interrupted:
            raise NestedCall(
                f"cannot change the size of the map of {self.path} inside a read of the same thread: a signal handler "
                "or a finalizer called us.",
                stored="Nothing was stored.",
                advice="Call it outside.",
            )
        self._gate.alone(lambda: self._remap(self._usable_handle(), size_bytes))

    def _remap(self, handle: lmdb.Environment, size_bytes: int) -> None:
        try:
            handle.set_mapsize(size_bytes)
        except unless_interrupted(lmdb.Error) as error:
            self._close_unusable(handle)  # it has no map any longer
            raise self._opener.translate(error, "grow the map of") from error
        self._look_at_map(handle)
