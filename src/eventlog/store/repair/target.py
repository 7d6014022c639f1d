"""The new log of a repair: rows are collected, and written some thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator

from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import (
    FORMAT,
    OWN_CHECKSUMS,
    EngineError,
    EngineMapFull,
    Environment,
    MapFull,
    Transaction,
)
from eventlog.store.rows.tables import FORMAT_KEY

_MOST_ROWS = 2000
_MOST_BYTES = 4 << 20
_PART_BYTES = 1 << 20


class Target:
    """The tables of a log that nobody else has open."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._changes: dict[tuple[bytes, bytes], bytes | None] = {}
        self._bytes = 0

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """The value of a row, or None."""
        if (table, key) in self._changes:
            return self._changes[table, key]

        def look(transaction: Transaction) -> bytes | None:
            return self.environment.row(transaction, table, key)

        return self.environment.read(look)

    def last_number(self, table: bytes) -> int:
        """The largest key of a table whose keys are numbers; -1 if it is empty."""
        self.flush()
        with (
            self.environment.reading() as transaction,
            transaction.cursor(db=self.environment.table(table)) as cursor,
        ):
            return int.from_bytes(cursor.key(), "big") if cursor.last() else -1

    def put(self, table: bytes, key: bytes, data: bytes) -> None:
        """Write a row."""
        self._change(table, key, data)

    def delete(self, table: bytes, key: bytes) -> None:
        """Remove a row."""
        self._change(table, key, None)

    def items(self, table: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a table by their keys; those that are read may be changed meanwhile."""
        start = b""
        while True:
            self.flush()
            part, is_all = self._part(table, start)
            yield from part
            if is_all:
                return
            start = part[-1][0] + b"\0"

    def flush(self) -> None:
        """Write what was collected."""
        while self._changes:
            try:
                self._write()
            except unless_interrupted(EngineMapFull, MapFull):
                self.environment.grow()
                continue
            except unless_interrupted(EngineError) as error:
                raise self.environment.fail(error) from error
            self._changes.clear()
            self._bytes = 0

    def _change(self, table: bytes, key: bytes, data: bytes | None) -> None:
        if table not in self.environment.tables:
            self._make(table)
        self._changes[table, key] = data
        self._bytes += len(key) + len(data or b"")
        if len(self._changes) >= _MOST_ROWS or self._bytes >= _MOST_BYTES:
            self.flush()

    def _make(self, table: bytes) -> None:
        """Make a table that not every log has."""
        environment = self.environment
        transaction = environment.begin_writing()
        try:
            handle = environment.make_table(table, transaction)
            environment.commit(transaction)
        except BaseException:
            environment.abort(transaction)
            raise
        environment.tables |= {table: handle}

    def _write(self) -> None:
        environment = self.environment
        transaction = environment.begin_writing()
        seal_row = environment.seal
        try:
            for (table, key), data in self._changes.items():
                if data is None:
                    transaction.delete(key, db=environment.table(table))
                    continue
                is_plain = seal_row is None or table in OWN_CHECKSUMS or (table, key) == (FORMAT, FORMAT_KEY)
                row = data if is_plain or seal_row is None else seal_row(key, data)
                transaction.put(key, row, db=environment.table(table))
            environment.commit(transaction)
        except BaseException:
            environment.abort(transaction)
            raise

    def _part(self, table: bytes, start: bytes) -> tuple[list[tuple[bytes, bytes]], bool]:
        part: list[tuple[bytes, bytes]] = []
        left = _PART_BYTES
        with (
            self.environment.reading() as transaction,
            transaction.cursor(db=self.environment.table(table)) as cursor,
        ):
            is_found = cursor.set_range(start) if start else cursor.first()
            while is_found and left > 0:
                key, data = bytes(cursor.key()), bytes(cursor.value())
                if (table, key) != (FORMAT, FORMAT_KEY):  # it is as it is, in every format
                    data = bytes(self.environment.value(table, key, data))
                part.append((key, data))
                left -= len(part[-1][0]) + len(part[-1][1])
                is_found = cursor.next()
        return part, not is_found
