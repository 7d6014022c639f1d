"""Each row that is no batch has a checksum: what is not what was written is an error, and `verify` names it."""

from __future__ import annotations

import ast
import random
import re
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.store.lmdb.environment import (
    FORMAT,
    GROUPS,
    MEMBERS,
    MESSAGES,
    OFFSETS,
    ORDER,
    OWN_CHECKSUMS,
    PARTITIONS,
    PRODUCERS,
    PROJECTIONS,
    SEQUENCES,
    SNAPSHOTS,
    STATE,
    STATES,
    TABLES,
    TOPICS,
)
from tests.fuzz.sample import Sample, change_rows, make_sample, put_file
from tests.sealing import FORMAT_ROW


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A log with rows in every table."""
    return make_sample(tmp_path_factory.mktemp("sample"))


def flipped(data: bytes, rng: random.Random) -> bytes:
    """The same with one other bit."""
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def read(log: Any) -> None:
    """Read what every table is for."""
    accounts = log.topic("accounts", key=str, value="json")
    list(log.read_all())
    list(accounts.read())
    list(accounts.history("a1"))
    accounts.fold("a1", lambda state, value: value, {})
    list(log.state("totals", key=str, value="json").items())
    log.projection("sums", lambda state, record: None, key=str, value=int).catch_up()
    log.groups.describe("billing")


def write(log: Any) -> None:
    """Write to every table."""
    accounts = log.topic("accounts", key=str, value="json")
    accounts.append({"n": 1}, key="a1", partition=0, message_id="m1")
    with log.producer(name="till-7") as producer:
        producer.send("orders", b"sent").result()
    with log.transaction() as tx:
        tx.state("totals", key=str, value="json")["key 00001"] = {}
    with log.consumer("accounts", "never", group="billing") as consumer:
        consumer.poll()


@pytest.mark.parametrize("table", sorted(set(TABLES) - OWN_CHECKSUMS))
def test_a_changed_bit_of_any_row_is_found(table: bytes, sample: Sample, tmp_path: Path, rng: random.Random) -> None:
    """In its value or in its key; nothing that reads or writes raises an error that is not ours."""
    rows = [row for row in sample.rows if row[0] == table]
    for _, key, data in rng.sample(rows, min(len(rows), 6)):
        for is_key in (False, True):
            if is_key and (table, key) == FORMAT_ROW:
                continue
            path = put_file(tmp_path / "log", sample.compact)
            if is_key:
                change_rows(path, [(table, key, None), (table, flipped(key, rng), data)])
            else:
                change_rows(path, [(table, key, flipped(data, rng))])
            try:
                log = eventlog.open(path)
            except (eventlog.CorruptBatch, eventlog.NotALog, eventlog.FormatTooNew):
                assert (table, key) == FORMAT_ROW
                continue
            with log:
                assert not log.verify().is_sound, f"{key!r} of table {table!r}, key: {is_key}"
                for use in (read, write):
                    try:
                        use(log)
                    except eventlog.EventLogError:
                        continue


USES: list[tuple[bytes, bytes, Any]] = [
    (TOPICS, b"accounts", lambda log: log.topic("accounts")),
    (PARTITIONS, b"\0\0\0\1\0\0\0\0", lambda log: log.topic("accounts").bounds()),
    (ORDER, b"", lambda log: list(log.read_all())),
    (SNAPSHOTS, b"", lambda log: log.topic("accounts").snapshot("a1")),
    (MESSAGES, b"\0\0\0\1m30", lambda log: log.topic("accounts").append({"n": 30}, key="a2", message_id="m30")),
    (OFFSETS, b"", lambda log: log.groups.describe("billing")),
    (GROUPS, b"billing", lambda log: log.groups.describe("billing")),
    (MEMBERS, b"", lambda log: log.groups.describe("billing")),
    (STATES, b"totals", lambda log: log.state("totals")),
    (STATE, b"", lambda log: list(log.state("totals", key=str, value="json").items())),
    (PROJECTIONS, b"sums", lambda log: log.projection("sums", read, key=str, value=int).catch_up()),
    (PRODUCERS, b"till-7", lambda log: log.producer(name="till-7")),
    (SEQUENCES, b"", write),
    (FORMAT, b"topics version", lambda log: log.groups.describe("billing")),
]


@pytest.mark.parametrize(("table", "key", "use"), USES, ids=[table.decode() for table, _, _ in USES])
def test_a_reader_of_a_damaged_row_gets_an_error_that_names_it(
    table: bytes, key: bytes, use: Any, sample: Sample, tmp_path: Path
) -> None:
    """With its table and its key, and what to do."""
    key, data = next((row[1], row[2]) for row in sample.rows if row[0] == table and row[1] >= key)
    path = put_file(tmp_path / "log", sample.compact)
    change_rows(path, [(table, key, data[:-1] + bytes([data[-1] ^ 1]))])
    named = rf"cannot read the row {re.escape(repr(key))} of table '{table.decode()}': its checksum is wrong.*verify"
    with eventlog.open(path) as log:
        with pytest.raises(eventlog.CorruptBatch, match=named):
            use(log)
        assert any(f"of table '{table.decode()}': its checksum is wrong" in line for line in log.verify().problems)


# --- the source -------------------------------------------------------------------------------------------------------

STORE = Path(eventlog.__file__).parent / "store"
RAW = {
    "backup/backup.py": {"_of_same_log", "last_record"},
    "cleaning/rewriting.py": {"apply"},
    "records/redaction.py": {"apply", "_end_snapshot"},
    "lmdb/environment.py": {"row", "_begin_after_look", "check_identity"},
    "cleaning/sizes.py": {"_add_new"},
    "records/key_reader.py": {"_check_trimmed"},
    "records/key_writer.py": {"_remove", "add", "add_one"},
    "records/log_order.py": {"_true_position", "mark_within", "batch", "_step", "put_into_order"},
    "records/write_transaction.py": {"put", "touch"},
    "records/schedule_rows.py": {"forget_schedules_of"},
    "repair/target.py": {"_write"},
    "schedules/commands.py": {"apply"},
    "states/backend.py": {"read_state_row"},
    "states/commands.py": {"check_within"},
    "store.py": {"_write_tables", "_format_row"},
    "upgrade.py": {"_format_row", "_rewrite"},
}
"""
Where rows are read or written without the seam, and why that is right.

They are batches, rows of the index or the format row, which have checksums of their own; or only compared, measured or
removed; or the seam.
"""


def raw_calls() -> dict[str, set[str]]:
    """The functions of the store that get or put a row of LMDB themselves."""
    found: dict[str, set[str]] = {}
    for path in sorted(STORE.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if (
                        isinstance(node, ast.Call)
                        and isinstance(node.func, ast.Attribute)
                        and node.func.attr in {"get", "put"}
                        and any(keyword.arg == "db" for keyword in node.keywords)
                    ):
                        found.setdefault(path.relative_to(STORE).as_posix(), set()).add(function.name)
    return found


def test_rows_are_read_and_written_through_the_seam() -> None:
    """A new function that forgets it would take the checksum for a part of the value, or store a row without one."""
    assert raw_calls() == RAW
