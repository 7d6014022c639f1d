"""What a round may count on: what it learned of partitions, and that one work does not spoil another's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

import eventlog
from eventlog.backend.records import PartitionRecords
from eventlog.backend.waiting import commits_subject, group_subject
from eventlog.batches.format import BatchEncoder
from eventlog.store.lmdb.environment import BATCHES
from eventlog.store.records.append import AppendColumns, AppendOne
from eventlog.store.records.topics import DeleteTopic
from eventlog.store.rows.tables import partition_key
from eventlog.store.wakeup.notifier import Notifier

_CHILD = """
import sys
import eventlog

with eventlog.open(sys.argv[1]) as log:
    print(log.topic("orders").append(b"child").offset)
"""


def test_a_round_that_writes_nothing_takes_no_number_from_another_process(tmp_path: Path) -> None:
    """LMDB gives such a transaction no number, and the next writer of another process takes it."""
    path = tmp_path / "log"
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        topic.append(b"first")
        with pytest.raises(eventlog.UnknownTopic):
            log.delete_topic("nothing")
        command = [sys.executable, "-c", _CHILD, str(path)]
        child = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert child.stdout.strip() == "1"
        assert topic.append(b"last").offset == 2
        assert [record.value for record in topic.read()] == [b"first", b"child", b"last"]


def test_deleting_a_topic_in_the_round_of_its_append_leaves_no_orphan(tmp_path: Path) -> None:
    """What was not written yet must go as well."""
    with eventlog.open(tmp_path / "log") as log:
        topic = log.topic("orders")
        committer = log._store.committer
        one = AppendOne(topic._route.row, 0, None, b"tea", (), 1)
        gone = DeleteTopic("orders")
        committer.submit(one)
        committer.submit(gone)
        committer.commit_queued()
        assert gone.error is None
        assert log.verify().problems == ()


def _damage(log: eventlog.EventLog, topic: eventlog.Topic[bytes, bytes], partition: int) -> None:
    """Spoils the first byte of every batch of a partition, and has the log forget what it knows of it."""
    environment = log._store.environment
    transaction = environment.begin_writing()
    table = environment.table(BATCHES)
    with transaction.cursor(db=table) as cursor:
        for key, value in list(cursor.iternext()):
            if key.startswith(partition_key(topic._route.row.id, partition)):
                transaction.put(key, b"\0" + value[1:], db=table)
    environment.commit(transaction)
    log._store.committer._writing.forget()


def test_append_many_beside_a_damaged_partition_stores_nothing(tmp_path: Path) -> None:
    """All or nothing, also when the end of one partition cannot be read."""
    with eventlog.open(tmp_path / "log") as log:
        topic = log.topic("orders", partitions=2)
        topic.append(b"tea", partition=0)
        topic.append(b"tea", partition=1)
        _damage(log, topic, 1)
        before = topic.bounds()
        batches = BatchEncoder().encode(None, [b"milk"], timestamps_ms=1)
        work = AppendColumns([PartitionRecords(topic._route.row, partition, batches) for partition in (0, 1)])
        with pytest.raises(eventlog.CorruptBatch):
            log._store.run(work)
        assert topic.bounds() == before


def test_an_append_to_a_damaged_partition_fails_alone(tmp_path: Path) -> None:
    """The others of its round are stored."""
    with eventlog.open(tmp_path / "log") as log:
        topic = log.topic("orders", partitions=2)
        topic.append(b"tea", partition=0)
        topic.append(b"tea", partition=1)
        _damage(log, topic, 1)
        committer = log._store.committer
        good = AppendOne(topic._route.row, 0, None, b"milk", (), 1)
        bad = AppendOne(topic._route.row, 1, None, b"milk", (), 1)
        committer.submit(good)
        committer.submit(bad)
        committer.commit_queued()
        assert isinstance(bad.error, eventlog.CorruptBatch)
        assert good.error is None
        assert good.offset == 1


# -- notifications -------------------------------------------------------------------------------------------------


class _Noting(Notifier):
    """A notifier that notes the subjects, and whether the turn is free then."""

    def __init__(self, log: eventlog.EventLog) -> None:
        self._log = log
        self.rung: list[tuple[set[int], bool]] = []

    def find_waiting(self) -> bool:
        """Somebody waits."""
        assert self._log._store.committer.is_busy
        return True

    def notify(self, subjects: Collection[int]) -> None:
        """Notes it."""
        self.rung.append((set(subjects), self._log._store.committer.is_busy))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[eventlog.EventLog]:
    """An empty log."""
    with eventlog.open(tmp_path / "log") as log:
        yield log


@pytest.fixture
def noting(log: eventlog.EventLog) -> _Noting:
    """What the log notifies of."""
    committer = log._store.committer
    committer._notifier = noting = _Noting(log)
    return noting


def test_readers_are_notified_of_what_a_round_stored_when_the_turn_is_free(
    log: eventlog.EventLog, noting: _Noting
) -> None:
    """There may be a thousand readers, and other threads have something to store."""
    orders, payments = log.topic("orders"), log.topic("payments")
    assert noting.rung == []
    orders.append(b"tea")
    payments.append_many([b"1", b"2"])
    with log.transaction() as transaction:
        transaction.send(orders, b"milk")
        transaction.send(payments, b"3")
    ids = orders._route.row.id, payments._route.row.id
    assert noting.rung == [({ids[0]}, False), ({ids[1]}, False), (set(ids), False)]
    with log.producer() as producer:
        producer.send("orders", b"tea")
    assert noting.rung[3:] == [({ids[0]}, False)]


def test_notifications_that_an_interruption_left_go_out_with_the_next_round(
    log: eventlog.EventLog, noting: _Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C may come between the end of a round and its notifications, whatever the next one stores."""
    topic = log.topic("orders")

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(log._store.committer, "_notify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        topic.append(b"tea")
    monkeypatch.undo()
    assert noting.rung == []
    log.topic("payments")
    assert noting.rung == [({topic._route.row.id}, False)]


def test_a_change_of_a_group_notifies_its_members(log: eventlog.EventLog, noting: _Noting) -> None:
    """Of this group; a commit of offsets notifies only those who wait for the commits of the group."""
    log.topic("orders").append(b"tea")
    noting.rung.clear()
    with log.consumer("orders", group="g") as consumer:
        consumer.poll()
        noting.rung.clear()
        consumer.commit()
        assert noting.rung == [({commits_subject("g")}, False)]
    assert noting.rung[1:] == [({group_subject("g")}, False)]
    assert commits_subject("g") < group_subject("g") < 0
