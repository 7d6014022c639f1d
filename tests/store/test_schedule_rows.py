"""The rows of schedules: as they were written, damaged, restored and repaired."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import msgpack
import pytest

import eventlog
from eventlog import testing
from eventlog.errors import CorruptBatch, EventLogError, FormatTooNew
from eventlog.store.lmdb.environment import SCHEDULE
from eventlog.store.repair.rows import is_row
from eventlog.store.rows import schedules as rows
from eventlog.testing import ManualClock

GOLDEN = Path(__file__).parent.parent / "golden" / "schedule-rows.msgpack"
_ID = bytes(range(16))
_BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


def written() -> list[tuple[bytes, bytes]]:
    """A row of each kind, as it is written now."""
    waits = rows.Place(rows.WAITING, 3, 1_700_000_000_500, 7)
    failed = waits._replace(kind=rows.FAILED, number=8)
    row = rows.ScheduleRow(_ID, "mails", 2, 4, b"k", b"v", (("a", b"1"), ("b", None)), 1_700_000_000_000)
    return [
        (waits.key, row.pack()),
        (failed.key, row._replace(placed_by=0, key=None, message_id=b"m", error="why").pack()),
        (rows.id_key(_ID), waits.pack()),
        (rows.tally_key, rows.Tally(9, 1, 1, 100, 1_700_000_000_500).pack()),
    ]


def test_rows_are_written_as_ever() -> None:
    """The bytes of each kind of row are those of the file, and are rows."""
    stored = [tuple(pair) for pair in msgpack.unpackb(GOLDEN.read_bytes())]
    assert written() == stored
    assert all(is_row(SCHEDULE, *pair) for pair in stored)
    for key, data in stored[:2]:
        assert rows.Place.of(key).key == key
        assert rows.ScheduleRow.unpack(data).pack() == data
    assert rows.Place.unpack(stored[2][1]).key == stored[0][0]


@pytest.mark.parametrize("place", range(4))
def test_what_is_no_row_is_refused(place: int, rng: random.Random) -> None:
    """A row that is cut short or too long, of any kind, and a key that is none."""
    key, data = written()[place]
    assert not is_row(SCHEDULE, key, data + b"\0\0")
    assert not is_row(SCHEDULE, b"?" + key[1:], data)
    assert not is_row(SCHEDULE, key + b"\0", data)
    assert not is_row(SCHEDULE, key, data[: rng.randrange(len(data))])
    with pytest.raises((EventLogError, ValueError)):
        rows.check_schedule_row(key, b"\xc1" + data)


def test_a_newer_row_is_too_new() -> None:
    """As everywhere; and a field that is out of its bounds is damage."""
    fields = msgpack.unpackb(written()[0][1])
    with pytest.raises(FormatTooNew):
        rows.ScheduleRow.unpack(msgpack.packb([2, *fields[1:]]))
    for place, wrong in ((1, b"short"), (2, "no topic!"), (3, -1), (4, 10**7), (7, [["a"]]), (8, 2.0), (10, 7)):
        spoiled = [*fields]
        spoiled[place] = wrong
        with pytest.raises(CorruptBatch):
            rows.ScheduleRow.unpack(msgpack.packb(spoiled))


@pytest.fixture
def used(path: Path) -> Path:
    """A log in which three records wait, and one has failed; nothing sends them before 2030."""
    clock = ManualClock(_BEGIN)
    with testing.open(path, clock=clock) as log:
        topic = log.topic("t", key=str, value=int)
        topic.schedule(0, delay=1.0, message_id="m")
        topic.append(9, message_id="m")
        clock.advance(1.0)
        log.schedules.send_due()
        for number in range(1, 4):
            topic.schedule(number, delay=60.0 * number, key="k")
        assert log.schedules.describe().failed == 1
        assert log.verify().problems == ()
    return path


def _is_all_there(path: Path) -> None:
    with testing.open(path, clock=ManualClock(_BEGIN)) as log:
        assert log.verify().problems == ()
        assert [schedule.value for schedule in log.schedules.list()] == [1, 2, 3]
        assert [schedule.value for schedule in log.schedules.list(failed=True)] == [0]
        with log.transaction() as tx:
            tx.schedule("t", 4, delay=1.0)
        assert log.verify().problems == ()


def test_backups_copies_and_repairs_hold_schedules(used: Path, tmp_path: Path) -> None:
    """And the logs that are made of them send them."""
    with eventlog.open(used, read_only=True) as log:
        log.backup(tmp_path / "backup")
        log.compact(tmp_path / "copy")
    assert eventlog.restore(tmp_path / "backup", tmp_path / "restored").problems == ()
    assert eventlog.repair(used, tmp_path / "repaired").problems == ()
    for place in ("copy", "restored", "repaired"):
        _is_all_there(tmp_path / place)


def test_a_log_restored_to_a_position_before_its_first_backup_has_none(used: Path, tmp_path: Path) -> None:
    """The report says so: the rows are of a later moment."""
    with eventlog.open(used, schedules=False) as log:
        log.topic("t").append(10)
        log.backup(tmp_path / "backup")
    report = eventlog.restore(tmp_path / "backup", tmp_path / "new", position=1)
    assert "all schedules" in report.left_out
    with eventlog.open(tmp_path / "new") as log:
        assert log.schedules.describe().waiting == 0
        assert log.verify().problems == ()


def test_a_log_restored_to_a_moment_between_two_backups_sends_again(tmp_path: Path) -> None:
    """What was sent in between, but for that which has a message id; docs/how-to/schedule.md says so."""
    clock = ManualClock(_BEGIN)
    with testing.open(tmp_path / "log", clock=clock) as log:
        topic = log.topic("t", value=str)
        topic.schedule("twice", delay=10.0)
        topic.schedule("once", delay=10.0, message_id="m")
        topic.schedule("later", delay=3600.0)
        log.backup(tmp_path / "backup", incremental=True)
        clock.advance(20.0)
        assert log.schedules.send_due() == 2
        position = topic.append("a mistake").log_position
        log.backup(tmp_path / "backup", incremental=True)
    assert eventlog.restore(tmp_path / "backup", tmp_path / "new", position=position).problems == ()
    with testing.open(tmp_path / "new", clock=clock) as log:
        log.schedules.send_due()
        assert sorted(str(record.value) for record in log.topic("t").read()) == ["once", "twice", "twice"]
        assert [schedule.value for schedule in log.schedules.list()] == ["later"]


@pytest.fixture
def damaged(used: Path) -> tuple[Path, eventlog.Schedule[str, int]]:
    """The same log, in which one bit of the second schedule's record is another, and that schedule."""
    with eventlog.open(used, read_only=True) as log:
        second = [*log.schedules.list()][1]
    data = bytearray((used / "data.mdb").read_bytes())
    begin = bytes.fromhex(second.id) + b"\xa1t"  # its id in the row of its record, and then the topic
    for at in [at for at in range(len(data)) if data.startswith(begin, at)]:
        data[at + 5] ^= 1
    (used / "data.mdb").write_bytes(data)
    return used, second


def test_a_damaged_schedule_holds_up_nobody(damaged: tuple[Path, eventlog.Schedule[str, int]]) -> None:
    """It is passed by when others are sent, told by `verify`, and may be cancelled."""
    path, second = damaged
    clock = ManualClock(_BEGIN)
    with testing.open(path, clock=clock) as log:
        assert any("schedule" in line for line in log.verify().problems)
        clock.advance(600.0)
        log.schedules.send_due()
        assert [record.value for record in log.topic("t").read()] == [9, 1, 3]
        assert log.schedules.cancel(second)
        assert log.verify().problems == ()


def test_a_repaired_log_says_how_many_are_lost(
    damaged: tuple[Path, eventlog.Schedule[str, int]], tmp_path: Path
) -> None:
    """By how many it counted; the others wait as before."""
    report = eventlog.repair(damaged[0], tmp_path / "new")
    assert report.problems == ()
    assert any("schedules that are lost: 1" in note for note in report.notes), report.notes
    with testing.open(tmp_path / "new", clock=ManualClock(_BEGIN)) as log:
        assert [schedule.value for schedule in log.schedules.list()] == [1, 3]
        assert log.verify().problems == ()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda put, drop: drop(rows.WAITING),
        lambda put, drop: drop(rows.FAILED),
        lambda put, drop: drop(rows.ID),
        lambda put, drop: drop(rows.TALLY),
        lambda put, drop: put(rows.tally_key, rows.Tally(2, 3, 1, 0, rows.NEVER_MS).pack()),
        lambda put, drop: put(*written()[0]),
    ],
)
def test_rows_that_do_not_agree_are_found(used: Path, spoil) -> None:
    """By `verify`; nothing else looks at all of them."""
    with eventlog.open(used, schedules=False) as log:
        environment = log._store.environment
        assert environment.has_later(SCHEDULE)
        transaction = environment.begin_writing()
        table = environment.table(SCHEDULE)

        def put(key: bytes, value: bytes) -> None:
            transaction.put(key, environment.seal(key, value), db=table)

        def drop(kind: bytes) -> None:
            with transaction.cursor(db=table) as cursor:
                assert cursor.set_range(kind)
                assert cursor.key()[:1] == kind
                cursor.delete()

        spoil(put, drop)
        environment.commit(transaction)
        assert any("schedule" in line for line in log.verify().problems)


def test_many_random_steps_are_as_in_a_model(rng: random.Random) -> None:
    """What is scheduled, moved, cancelled and sent is what a list of dicts says, and `verify` is content."""
    clock = ManualClock(_BEGIN)
    with testing.open(clock=clock) as log:
        topics = [log.topic(name, key=str, value=int, partitions=3) for name in "abc"]
        model: dict[str, tuple[int, int, int]] = {}
        sent: list[tuple[int, int]] = []
        number = 0
        for _ in range(400):
            step = rng.random()
            if step < 0.5:
                value, delay = rng.randrange(10**6), rng.choice([0, 1, 5, 30])
                topic = rng.choice(topics)
                if rng.random() < 0.3:
                    with log.transaction() as tx:
                        made = tx.schedule(topic, value, delay=delay, key=rng.choice("xyz"))
                else:
                    made = topic.schedule(value, delay=delay, key=rng.choice("xyz"))
                model[made.id] = (made.due_ms, number, value)
                number += 1
            elif step < 0.6 and model:
                one = rng.choice([*model])
                if log.schedules.cancel(one):
                    assert log.schedules.get(one) is None
                    del model[one]
                else:
                    assert model[one][0] <= clock.now_ms()
            elif step < 0.7 and model:
                one = rng.choice([*model])
                if model[one][0] > clock.now_ms() and log.schedules.move(one, delay=10.0):
                    model[one] = (clock.now_ms() + 10_000, *model[one][1:])
            else:
                clock.advance(rng.choice([0, 0.5, 1, 3]))
                log.schedules.send_due()
                due = sorted(item for item in model.values() if item[0] <= clock.now_ms())
                sent += [(value, due_ms) for due_ms, _, value in due]
                model = {one: item for one, item in model.items() if item[0] > clock.now_ms()}
                stored = [record.value for _, record in log.read_all()]
                assert sorted(stored) == sorted(value for value, _ in sent)
                waiting = [item[2] for item in sorted(model.values())]
                assert [schedule.value for schedule in log.schedules.list()] == waiting
        assert log.verify().problems == ()
