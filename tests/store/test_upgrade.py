"""Logs of earlier formats: read and written as they are, or refused; and made ones of today's format when asked."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest

import eventlog
from eventlog.backend.groups import OffsetCommit
from eventlog.batches.header import read_header
from eventlog.store import upgrade as upgrading
from eventlog.store.lmdb import environment as environments
from eventlog.store.lmdb.lasting_locks import HAS_LASTING_LOCKS
from eventlog.store.rows.tables import FORMAT_VERSION
from tests.fuzz.sample import put_file, raw
from tests.sealing import unsealed

pytestmark = pytest.mark.skipif(
    mmap.PAGESIZE != 4096,
    reason=f"LMDB's pages are those of the system, {mmap.PAGESIZE} bytes here; the golden logs have pages of 4096",
)

GOLDEN = Path(__file__).parent.parent / "golden"
UPGRADE = "import sys, eventlog; print(eventlog.upgrade(sys.argv[1]))"
KILLS = 6
needs_lasting_locks = pytest.mark.skipif(not HAS_LASTING_LOCKS, reason="else nobody can tell who has a log open")

Rows = dict[bytes, dict[bytes, bytes]]


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a golden log, of format 3 if the test does not say."""
    shutil.copytree(GOLDEN / getattr(request, "param", "log-v3"), tmp_path / "log")
    return tmp_path / "log"


of_each_format = pytest.mark.parametrize("path", ["log-v1", "log-v2", "log-v3"], indirect=True)
of_format_2 = pytest.mark.parametrize("path", ["log-v2"], indirect=True)
too_old = pytest.mark.parametrize("path", ["log-v1", "log-v2"], indirect=True)


def rows_of(path: Path) -> Rows:
    """All rows of a log, by table and key, as they are stored."""
    environment = lmdb.open(str(path), max_dbs=64, readonly=True, lock=False, lib_version=0)
    try:
        with environment.begin() as transaction:
            return {
                bytes(name): {
                    bytes(key): bytes(value)
                    for key, value in transaction.cursor(environment.open_db(bytes(name), transaction))
                }
                for name in transaction.cursor().iternext(values=False)
            }
    finally:
        environment.close()


def version_of(path: Path) -> int:
    """The format that a log says it has."""
    version: int = msgpack.unpackb(rows_of(path)[b"format"][b"eventlog"])["version"]
    return version


def values_of(rows: Rows) -> Rows:
    """The values of the rows of a log of today's format, whose checksums have to hold, without the format row."""
    return {
        table: {key: unsealed(table, key, data) for key, data in of_one.items() if key != b"eventlog"}
        for table, of_one in rows.items()
    }


def without_format_row(rows: Rows) -> Rows:
    """The rows of a log without that row."""
    return {table: {key: data for key, data in of_one.items() if key != b"eventlog"} for table, of_one in rows.items()}


def use(path: Path) -> None:
    """Give a log rows of every kind."""
    with eventlog.open(path) as log:
        accounts = log.topic("accounts", key=str, value="json")
        for number in range(300):
            accounts.append({"n": number}, key=f"a{number % 9}", message_id=f"id-{number}")
        accounts.append_many([{"n": "x" * 40}] * 100, keys=["many"] * 100)
        accounts.append({"large": "x" * 5000}, key="large", headers={"h": b"1"})
        with log.producer(name="till") as producer:
            producer.send("payments", b"sent")
        for start in range(0, 600, 200):
            with log.transaction() as tx:
                totals = tx.state("totals", key=int, value=str)
                for number in range(start, start + 200):
                    totals[number] = "t" * (number % 50)
        log.projection("sums", lambda state, record: state.put("all", 1), key=str, value=int).catch_up()
        consumer = log.consumer("accounts", group="billing", instance_id="left")
        consumer.poll()
        consumer.commit()
        consumer.close()
        assert log.verify().problems == ()


def look(path: Path, **options: Any) -> list[Any]:
    """What a program sees of such a log."""
    with eventlog.open(path, create=False, **options) as log:
        accounts = log.topic("accounts", key=str, value="json")
        keys = list(accounts.keys())
        return [
            log.topics(),
            [(position, record) for position, record in log.read_all()],
            {key: list(accounts.history(key)) for key in keys},
            {name: log.groups.describe(name) for name in log.groups.list()},
            list(log.state("totals", key=int, value=str).items()),
            log.end_log_position(),
            log.verify(),
        ]


# --- as it is ---------------------------------------------------------------------------------------------------------


def test_a_log_of_format_3_is_read_and_written_as_it_is(path: Path) -> None:
    """Batches of version 2, offsets of version 1, and no checksum behind a row that had none."""
    before = rows_of(path)
    with eventlog.open(path) as log:
        assert log.verify().problems == ()
    assert rows_of(path) == before
    use(path)
    after = rows_of(path)
    assert version_of(path) == 3
    assert after[b"format"][b"eventlog"] == before[b"format"][b"eventlog"]
    assert {data[1] for data in after[b"batches"].values()} == {2}
    assert {len(data) for data in after[b"order"].values()} == {16}
    assert {(len(data), data[0]) for data in after[b"offsets"].values()} == {(17, 1)}
    assert set(after[b"message times"].values()) == {b""}
    for table in (b"topics", b"groups", b"members", b"states", b"projections", b"producers", b"sequences"):
        assert all(isinstance(msgpack.unpackb(data), dict) for data in after[table].values()), table


def test_metadata_of_offsets_is_kept_from_format_4_on(path: Path) -> None:
    """Beside the offset, until the next commit; rows of format 3 have no room for it, which is an error."""
    for is_old in (True, False):
        with eventlog.open(path) as log:
            store: Any = log._store  # type: ignore[attr-defined]
            payments = store.topic("payments")
            place = (payments.id, 0)
            noted = OffsetCommit("g", [(payments, 0, 2)], False, notes={place: (7, "gr\xfc\xdfe")})
            if is_old:
                with pytest.raises(eventlog.FormatTooOld, match="eventlog upgrade"):
                    store.commit_offsets(noted)
                assert store.committed("g", [place]) == [None]
                store.commit_offsets(OffsetCommit("g", [(payments, 0, 2)], False))
            else:
                store.commit_offsets(noted)
            [commit] = store.committed_with_notes("g", [place])
            assert (commit.offset, *commit[2:]) == (2, *((-1, "") if is_old else (7, "gr\xfc\xdfe")))
            assert store.committed("g", [place]) == [2]
            with pytest.raises(eventlog.MetadataTooLarge, match="at most 4096 bytes in UTF-8, not 4098"):
                store.commit_offsets(OffsetCommit("g", [(payments, 0, 3)], False, notes={place: (7, "\xe4" * 2049)}))
            assert store.committed("g", [place]) == [2]
            store.commit_offsets(OffsetCommit("g", [(payments, 0, 3)], False))
            assert store.committed_with_notes("g", [place])[0][2:] == (-1, "")
        eventlog.upgrade(path)


@too_old
def test_an_older_log_is_refused_with_the_command_that_upgrades_it(path: Path) -> None:
    """And left as it was: nothing is rewritten because somebody looked."""
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(eventlog.FormatTooOld, match=rf"eventlog upgrade {path}.*upgrade=True"):
        eventlog.open(path)
    assert (path / "data.mdb").read_bytes() == before


# --- upgrades ---------------------------------------------------------------------------------------------------------


@of_each_format
def test_an_upgrade_keeps_every_row(path: Path, tmp_path: Path) -> None:
    """Each gets its checksum, batches and the index stay byte for byte, and a copy is kept if that is asked for."""
    before, old = rows_of(path), version_of(path)
    assert eventlog.upgrade(path, keep_copy=tmp_path / "copy") == old
    after = rows_of(path)
    assert version_of(path) == FORMAT_VERSION == 4
    values = values_of(after)
    for table, rows in without_format_row(before).items():
        assert rows.items() <= values[table].items()
    assert after[b"batches"] == before[b"batches"]
    assert rows_of(tmp_path / "copy") == before
    assert eventlog.upgrade(path) == 4
    assert rows_of(path) == after


def test_a_program_sees_the_same_after_an_upgrade(path: Path) -> None:
    """Records, histories, groups, states, positions; and goes on from there."""
    use(path)
    before = look(path)
    assert look(path, upgrade=True) == before
    assert version_of(path) == 4
    assert look(path) == before
    use(path)
    rows = rows_of(path)
    values_of(rows)
    assert {data[1] for data in rows[b"batches"].values()} == {2, 3}
    for key, data in rows[b"batches"].items():
        header = read_header(data, "a batch")
        assert header.place == (key if data[1] == 3 and len(data) > 1920 else None)


def test_a_new_log_has_todays_format(tmp_path: Path) -> None:
    """And an upgrade of it does nothing."""
    with eventlog.open(tmp_path / "new", upgrade=True) as log:
        log.topic("orders").append(b"tea")
    before = (tmp_path / "new" / "data.mdb").read_bytes()
    assert eventlog.upgrade(tmp_path / "new") == 4
    assert (tmp_path / "new" / "data.mdb").read_bytes() == before


def test_what_is_no_log_is_not_upgraded(tmp_path: Path) -> None:
    """Nothing is made where nothing was."""
    with pytest.raises(eventlog.NotALog, match="there is no log"):
        eventlog.upgrade(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_copy_is_not_written_over_other_files(path: Path, tmp_path: Path) -> None:
    """And the log is then left as it was."""
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").touch()
    with pytest.raises(ValueError, match="it exists and is not empty"):
        eventlog.upgrade(path, keep_copy=tmp_path / "copy")
    assert version_of(path) == 3


def test_damage_is_not_hidden_under_checksums(path: Path) -> None:
    """A log that verification does not find sound goes on in its own format."""
    with raw(path) as (environment, tables), environment.begin(write=True) as transaction:
        transaction.put(b"\0" * 7 + b"\6", b"\0" * 16, db=tables[b"order"])
    before = rows_of(path)
    with pytest.raises(eventlog.CorruptBatch, match=r"cannot upgrade .* damaged places, the first of them: .*order"):
        eventlog.upgrade(path)
    assert rows_of(path) == before
    with eventlog.open(path) as log:
        log.topic("payments").append(b"it goes on")


# --- who has it open --------------------------------------------------------------------------------------------------


def test_a_log_that_this_process_has_open_is_not_upgraded(path: Path) -> None:
    """It writes in the format that it found."""
    with eventlog.open(path) as log:
        for attempt in (lambda: eventlog.upgrade(path), lambda: eventlog.open(path, upgrade=True)):
            with pytest.raises(eventlog.LogInUse, match="this process has it open"):
                attempt()
        log.topic("payments").append(b"it goes on")
    assert eventlog.upgrade(path) == 3


@needs_lasting_locks
def test_a_log_that_another_program_has_open_is_not_upgraded(path: Path) -> None:
    """It would go on writing rows without checksums."""
    with eventlog.open(path) as log:
        done = subprocess.run([sys.executable, "-c", UPGRADE, path], capture_output=True, text=True, check=False)
        assert "LogInUse: cannot upgrade the log at" in done.stderr
        assert "another program has it open" in done.stderr
        log.topic("payments").append(b"it goes on")
    assert version_of(path) == 3
    done = subprocess.run([sys.executable, "-c", UPGRADE, path], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


def test_a_program_whose_log_is_upgraded_under_it_writes_nothing_more(path: Path) -> None:
    """Where the system cannot tell who has a log open: its next commit finds another format row."""
    blind = "from eventlog.store.lmdb.file_pair import FilePair; FilePair.has_company = lambda self: False; " + UPGRADE
    with eventlog.open(path) as log:
        payments = log.topic("payments")
        payments.append(b"before")
        subprocess.run([sys.executable, "-c", blind, path], capture_output=True, check=True)
        with pytest.raises(eventlog.FilesChanged):
            payments.append(b"after")
    with eventlog.open(path) as log:
        assert log.verify().problems == ()
        assert [record.value for record in log.topic("payments").read()][-1] == b"before"


# --- kills and failures -----------------------------------------------------------------------------------------------


@of_format_2
def test_an_upgrade_that_fills_its_map_gets_a_larger_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as it takes; the log is put into order once."""
    put_into_order, sizes = upgrading.put_into_order, []

    def put(environment: Any, transaction: Any) -> None:
        put_into_order(environment, transaction)
        sizes.append(environment.map_bytes())
        if len(sizes) < 3:
            raise lmdb.MapFullError("no room")

    monkeypatch.setattr(upgrading, "put_into_order", put)
    with eventlog.open(path, map_size=1 << 20, upgrade=True) as log:
        assert sizes == [sizes[0], 2 * sizes[0], 4 * sizes[0]]
        assert log.verify().problems == ()
        assert [log_position for log_position, _ in log.read_all()][-1] == log.end_log_position() - 1


@of_each_format
@pytest.mark.parametrize("failing", ["seal_row", "FORMAT_VERSION"])
def test_an_upgrade_that_fails_leaves_the_old_log(path: Path, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is ours, wherever it comes, and the next one upgrades it."""
    before = rows_of(path)

    def fail(*_: Any) -> bytes:
        raise lmdb.DiskError("no disk")

    with monkeypatch.context() as patched:
        if failing == "seal_row":
            patched.setattr(upgrading, failing, fail)
        else:
            patched.setattr(environments, "call_atomically", fail)
        with pytest.raises(eventlog.StorageError, match="cannot write the log"):
            eventlog.upgrade(path)
    assert rows_of(path) == before
    eventlog.upgrade(path)
    with eventlog.open(path) as log:
        assert log.verify().problems == ()


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_an_upgrade_that_is_killed_leaves_one_of_two_formats(path: Path, tmp_path: Path, rng: random.Random) -> None:
    """Whenever: the log is whole, in the old format or in the new one, and the next upgrade finishes."""
    use(path)
    before = without_format_row(rows_of(path))
    data = (path / "data.mdb").read_bytes()
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", UPGRADE, put_file(tmp_path / "timed", data)], capture_output=True, check=True)
    seconds = time.monotonic() - began
    seen = set()
    for number in range(KILLS):
        victim = put_file(tmp_path / f"victim-{number}", data)
        child = subprocess.Popen([sys.executable, "-c", UPGRADE, victim], stdout=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=rng.uniform(0.3, 1.0) * seconds)
        child.send_signal(signal.SIGKILL)
        child.wait()
        version = version_of(victim)
        seen.add(version)
        rows = rows_of(victim)
        assert (without_format_row(rows) if version == 3 else values_of(rows)) == before
        eventlog.upgrade(victim)
        assert values_of(rows_of(victim)) == before
        with eventlog.open(victim) as log:
            assert log.verify().problems == ()
        shutil.rmtree(victim)
    assert seen <= {3, 4}
