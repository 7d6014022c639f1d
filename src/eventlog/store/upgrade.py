"""
Making a log of an earlier format one of today's: in one transaction, by a process that has the log for itself.

Whoever is killed meanwhile leaves the log as it was, and the next one begins again. Batches stay as they are; every
other row gets its checksum, so the log is verified first: a checksum must not be put over damage.
"""

from __future__ import annotations

from itertools import islice

from eventlog.errors import CorruptBatch, FormatTooOld
from eventlog.store.lmdb.environment import (
    FORMAT,
    OWN_CHECKSUMS,
    TABLES,
    EngineError,
    EngineMapFull,
    Environment,
    MapFull,
    Transaction,
)
from eventlog.store.records.log_order import put_into_order
from eventlog.store.rows.checksums import seal_row
from eventlog.store.rows.tables import FORMAT_KEY, FORMAT_VERSION, UNSEALED_VERSION, FormatRow

_ROWS_AT_ONCE = 4096


def too_old(path: str, version: int) -> FormatTooOld:
    """Return the error for a log that has to be upgraded before it can be opened."""
    return FormatTooOld(
        f"cannot open {path}: it has format {version}, and this eventlog reads and writes formats {UNSEALED_VERSION} "
        f"and {FORMAT_VERSION}.",
        stored="Nothing was changed.",
        advice=f"Close it in all programs and run `eventlog upgrade {path}`, or open it with upgrade=True.",
    )


def upgrade(environment: Environment, path: str) -> None:
    """
    Rewrite the rows of a log that no other program has open, unless that was done meanwhile.

    Raises:
        CorruptBatch: verification finds damage. Nothing was changed.
    """
    version = _format_row(environment, path).version
    if version == FORMAT_VERSION:
        return
    if version == UNSEALED_VERSION:
        _check_sound(environment, path)
    while True:
        transaction = environment.begin_writing()
        try:
            _rewrite(environment, transaction, path)
            environment.commit(transaction)
        except BaseException as error:
            environment.abort(transaction)
            if isinstance(error, EngineMapFull | MapFull):
                environment.grow(1.0)
                continue
            if isinstance(error, EngineError):
                raise environment.fail(error) from error
            raise
        return


def _format_row(environment: Environment, path: str) -> FormatRow:
    with environment.reading() as transaction:
        return FormatRow.unpack(transaction.get(FORMAT_KEY, db=environment.table(FORMAT)), path)


def _check_sound(environment: Environment, path: str) -> None:
    from eventlog.store.verify.verify import verify

    environment.open_tables(TABLES)
    problems = verify(environment).problems
    if problems:
        raise CorruptBatch(
            f"cannot upgrade {path}: verification finds {len(problems)} damaged places, the first of them: "
            f"{problems[0]}",
            stored="Nothing was changed: the log can be used as before.",
            advice="Run `eventlog verify` to list all damage, and restore a backup.",
        )


def _rewrite(environment: Environment, transaction: Transaction, path: str) -> None:
    environment.create_tables(transaction)
    row = FormatRow.unpack(transaction.get(FORMAT_KEY, db=environment.table(FORMAT)), path)
    if row.version < UNSEALED_VERSION:
        put_into_order(environment, transaction)
    for table in TABLES:
        if table not in OWN_CHECKSUMS:
            _seal_table(environment, transaction, table)
    transaction.put(FORMAT_KEY, row._replace(version=FORMAT_VERSION).pack(), db=environment.table(FORMAT))


def _seal_table(environment: Environment, transaction: Transaction, table: bytes) -> None:
    """Put checksums behind the rows of a table, some at a time."""
    with transaction.cursor(db=environment.table(table)) as cursor:
        is_found = cursor.first()
        while is_found:
            rows = list(islice(cursor.iternext(), _ROWS_AT_ONCE))
            cursor.putmulti([(key, seal_row(key, value)) for key, value in rows])
            is_found = cursor.set_range(rows[-1][0] + b"\0")
