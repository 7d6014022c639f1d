"""Transactions of Kafka's clients and what else a log does: time-outs, deletions, compaction, backups, repairs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import testing
from eventlog.backend.kafka import KafkaRefusal
from eventlog.store.records.commit_request import CommitRequest
from eventlog.testing import ManualClock
from tests.clients.helpers import rewrite_batch
from tests.kafka.record_batches import Sent, backend_of
from tests.kafka.transactional import (
    Transactional,
    abort_expired,
    fetch_committed,
    kept_offsets,
)


@pytest.fixture(autouse=True)
def orders(log: Any) -> Any:
    """A topic with three partitions."""
    return log.topic("orders", partitions=3)


def values(records: Any) -> list[Any]:
    """The values of some records."""
    return [one.value for one in records]


def seen(log: Any) -> list[Any]:
    """All that native readers see, in the order of the log."""
    return [one.value for _, one in log.read_all()]


# -- time-outs -----------------------------------------------------------------------------------------------


def test_a_forgotten_transaction_is_aborted(path: Path) -> None:
    """After its time, by whoever looks; its producer is fenced."""
    clock = ManualClock()
    with testing.open(path, clock=clock) as log:
        orders = log.topic("orders")
        producer = Transactional(log, timeout_ms=5_000)
        producer.send(b"forgotten")
        orders.append(b"behind")
        assert backend_of(log).next_expiry_ms() == clock.now_ms() + 5_000
        clock.advance(4.9)
        assert abort_expired(log) == ()
        assert values(orders.read(0)) == []
        clock.advance(0.2)
        assert abort_expired(log) == ("mover",)
        assert backend_of(log).next_expiry_ms() is None
        assert values(orders.read(0)) == [b"behind"]
        with pytest.raises(KafkaRefusal) as caught:
            producer.commit()
        assert caught.value.code == "PRODUCER_FENCED"


def test_cleaning_and_opening_abort_what_is_over(tmp_path: Path) -> None:
    """A log without a listener does not wait forever for what a dead one has left."""
    clock, path = ManualClock(), tmp_path / "log"
    with testing.open(path, clock=clock) as log:
        orders = log.topic("orders")
        producer = Transactional(log, timeout_ms=5_000)
        producer.send(b"one")
        orders.append(b"behind one")
        clock.advance(6.0)
        log.clean()
        assert seen(log) == [b"behind one"]
        Transactional(log, "second", timeout_ms=5_000).send(b"two")
        orders.append(b"behind two")
    with testing.open(path, clock=clock) as log:
        assert seen(log) == [b"behind one"]
    clock.advance(6.0)
    with testing.open(path, clock=clock) as log:
        assert seen(log) == [b"behind one", b"behind two"]
        assert log.verify().problems == ()


def test_an_id_that_does_nothing_for_a_week_is_forgotten(path: Path) -> None:
    """When another one is new; not one whose transaction is open, and not one that is younger."""
    clock = ManualClock()
    with testing.open(path, clock=clock) as log:
        log.topic("orders")
        for number in range(300):
            Transactional(log, f"old-{number}")
        Transactional(log, "open", timeout_ms=900_000).send(b"open")
        clock.advance(86_400 * 7 + 1)
        for number in range(10):
            Transactional(log, f"new-{number}")
            Transactional(log, f"old-{number}-again")
        names = {one.transactional_id for one in backend_of(log).kafka_transactions()}
        assert {"open", *(f"new-{number}" for number in range(10))} <= names
        assert len(names) < 100
        assert log.verify().problems == ()


# -- what else a log does ------------------------------------------------------------------------------------


def test_deleting_a_topic_in_a_transaction_leaves_the_rest_of_it(log: Any, orders: Any) -> None:
    """The end writes into the partitions that are left, and offsets of the topic that is gone are dropped."""
    log.topic("other")
    producer = Transactional(log)
    producer.send(b"a")
    producer.send(b"b", topic="other")
    producer.send_offset("billing", 0, topic="other")
    log.delete_topic("other")
    log.topic("other")
    assert log.verify().problems == ()
    producer.commit()
    assert seen(log) == [b"a"]
    assert log.verify().problems == ()


def test_deleting_records_reaches_into_an_open_transaction(log: Any, orders: Any) -> None:
    """The bounds stay in order, and what was deleted is gone when it commits."""
    producer = Transactional(log)
    producer.send(b"a")
    producer.send(b"b")
    orders.delete_records({0: 1})
    assert orders.bounds()[0] == (1, 1)
    assert log.verify().problems == ()
    producer.commit()
    assert values(orders.read(0)) == [b"b"]
    producer.send(b"c")
    producer.abort()
    end = orders.bounds()[0][1]
    orders.delete_records({0: end})
    assert _rows(log, b"kafka aborted ") == 0
    assert log.verify().problems == ()


def _rows(log: Any, prefix: bytes) -> int:
    """How many rows of the format's table begin like this."""
    environment = backend_of(log).environment
    with environment.reading() as transaction, transaction.cursor(db=environment.table(b"format")) as cursor:
        return sum(bytes(key).startswith(prefix) for key, _ in cursor.iternext())


def test_retention_keeps_what_is_open(path: Path) -> None:
    """However old it is."""
    clock = ManualClock()
    with testing.open(path, clock=clock) as log:
        orders = log.topic("orders", retention=1.0)
        orders.append(b"old")
        producer = Transactional(log, timeout_ms=900_000)
        producer.send(Sent(b"open", ms=clock.now_ms()))
        orders.append(b"behind")
        clock.advance(10.0)
        log.clean()
        assert orders.bounds()[0] == (1, 1)
        producer.commit()
        assert values(orders.read(0)) == [b"open", b"behind"]
        clock.advance(10.0)
        log.clean()
        assert values(orders.read(0)) == []
        assert log.verify().problems == ()


def test_compaction_leaves_what_no_reader_sees(log: Any) -> None:
    """A newer record of an aborted or an open transaction takes no older one away."""
    stock = log.topic("stock", compaction="key", min_dirty_ratio=0.0)
    for number in range(4):
        stock.append(f"k{number}".encode(), key=b"k")
    producer = Transactional(log)
    producer.send(Sent(b"lost", b"k"), topic="stock")
    producer.abort()
    producer.send(Sent(b"kept", b"j"), Sent(b"newer", b"j"), topic="stock")
    producer.commit()
    stock.append(b"k4", key=b"k")
    producer.send(Sent(b"open", b"k"), topic="stock")
    stock.append(b"k5", key=b"k")
    log.clean()
    left = [(one.key, one.value) for one in stock.read(0)]
    assert left == [(b"j", b"newer"), (b"k", b"k4")]
    assert log.verify().problems == ()
    producer.commit()
    assert [one.value for one in stock.read(0)][-2:] == [b"open", b"k5"]
    log.clean()
    assert [(one.key, one.value) for one in stock.read(0)][-1] == (b"k", b"k5")
    assert b"lost" not in [one.value for one in stock.read(0)]
    assert log.verify().problems == ()


def test_a_copy_of_a_topic_has_what_was_committed(log: Any, orders: Any) -> None:
    """In the middle of a transaction it ends before it, and goes on from there later."""
    producer = Transactional(log)
    producer.send(b"lost")
    producer.abort()
    orders.append(b"a", partition=0)
    producer.send(b"b")
    orders.append(b"c", partition=1)
    log.copy_topic("orders", to="copy")
    copied = log.topic("copy")
    assert [one.value for part in range(3) for one in copied.read(part)] == [b"a"]
    producer.commit()
    log.copy_topic("orders", to="copy")
    assert sorted(one.value for part in range(3) for one in copied.read(part)) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("ends", [True, False])
def test_a_backup_and_its_restore_show_no_more_than_the_log(tmp_path: Path, *, ends: bool) -> None:
    """At any position: a transaction that had no end there is aborted in what is restored."""
    path = tmp_path / "log"
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2)
        orders.append(b"before", partition=0)
        first, second = Transactional(log, "first"), Transactional(log, "second")
        first.send(b"a1", b"a2", partition=0)
        second.send(b"b", partition=1)
        log.backup(tmp_path / "backup")
        first.send(b"a3", partition=1)
        if ends:
            first.commit()
        second.abort()
        orders.append(b"behind", partition=0)
        expected = values(value for _, value in log.read_all())
        log.backup(tmp_path / "backup", incremental=True)
        end = backend_of(log).next_log_position()
    for position in range(end + 1):
        new = tmp_path / f"restored-{position}"
        report = eventlog.restore(tmp_path / "backup", new, position=position)
        assert report.problems == ()
        with eventlog.open(new) as log:
            got = values(value for _, value in log.read_all())
            assert log.verify().problems == ()
            if position == end and ends:
                assert got == expected == [b"before", b"a1", b"a2", b"a3", b"behind"]
            elif ends:
                assert got in ([], [b"before"], [b"before", b"a1", b"a2", b"a3"])
            else:
                assert got in ([], [b"before"], [b"before", b"behind"])
            log.topic("orders").append(b"more", partition=0)
        shutil.rmtree(new)


def test_a_repaired_log_shows_no_more_than_the_log(tmp_path: Path) -> None:
    """The rows of transactions are made again from the batches; what has no end is aborted."""
    path = tmp_path / "log"
    with eventlog.open(path) as log:
        orders = log.topic("orders")
        one, two = Transactional(log, "one"), Transactional(log, "two")
        one.send(b"lost")
        two.send(b"kept")
        one.abort()
        two.commit()
        one.send(b"open")
        orders.append(b"behind")
    eventlog.repair(path, tmp_path / "new")
    with eventlog.open(tmp_path / "new") as log:
        assert seen(log) == [b"kept", b"behind"]
        assert log.verify().problems == ()
        assert Transactional(log, "one").producer_id == one.producer_id


@pytest.mark.parametrize("loses_row", [False, True])
def test_a_repair_without_the_end_of_an_aborted_transaction_hides_it(tmp_path: Path, *, loses_row: bool) -> None:
    """The next commit of its producer is not taken for its end, with and without the row that says how it ended."""
    with eventlog.open(tmp_path / "log") as log:
        orders = log.topic("orders")
        producer = Transactional(log)
        producer.send(b"aborted")
        producer.abort()
        producer.send(b"committed")
        producer.commit()
        orders.append(b"behind", partition=0)
        rewrite_batch(orders, 1, lambda data: data[:-20] + bytes(20))
        if loses_row:
            backend_of(log).run(_Damage())
        log.compact(tmp_path / "copy")  # else the page of before, which is still in the file, is found
    eventlog.repair(tmp_path / "copy", tmp_path / "new")
    with eventlog.open(tmp_path / "new") as log:
        assert seen(log) == [b"committed", b"behind"]
        assert kept_offsets(fetch_committed(log)) == [2, 4]
        assert log.verify().problems == ()


class _Damage(CommitRequest):
    """What damages the rows of all aborted transactions."""

    def apply(self, writing: Any) -> None:
        """Do it."""
        for key in list(writing.keys(b"format", b"kafka aborted ")):
            writing.transaction.put(bytes(key), bytes(40), db=writing.table(b"format"))


def test_verify_finds_rows_that_do_not_agree(log: Any, orders: Any) -> None:
    """An open transaction of nobody, one behind the end, and one without a partition."""
    from eventlog.store.rows.kafka_transactions import (
        AbortedRow,
        OpenRow,
        aborted_key,
        ongoing_key,
        open_key,
        pack_deadline,
    )
    from eventlog.store.rows.tables import partition_key

    topic_id = backend_of(log).require_topic("orders").id

    class Disagree(CommitRequest):
        def apply(self, writing: Any) -> None:
            writing.put(b"format", open_key(partition_key(topic_id, 0), 77), OpenRow(5, 5).pack())
            writing.put(b"format", aborted_key(partition_key(topic_id, 9), 3), AbortedRow(3, 1, 2, 4).pack())
            writing.put(b"format", ongoing_key("nobody"), pack_deadline(5))
            writing.put(b"format", b"kafka transaction broken", b"\x01")
            writing.put(b"format", b"kafka something", b"\x01")

    backend_of(log).run(Disagree())
    problems = "\n".join(log.verify().problems)
    for words in (
        "none of its transactional id",
        "behind its end",
        "no such partition",
        "'nobody'",
        "broken",
        "no row of",
    ):
        assert words in problems


def test_a_topic_with_an_index_takes_no_transactional_batch(log: Any) -> None:
    """The versions of its keys are in the order of the log."""
    accounts = log.topic("accounts", index="key")
    producer = Transactional(log)
    with pytest.raises(KafkaRefusal) as caught:
        producer.send(Sent(b"a", b"k"), topic="accounts")
    assert caught.value.code == "POLICY_VIOLATION"
    assert list(accounts.history(b"k")) == []


def test_a_log_of_format_3_has_no_transactions(tmp_path: Path) -> None:
    """Its batches could not end one; what is stored stays as it is."""
    golden = Path(__file__).parents[2] / "golden" / "log-v3"
    shutil.copytree(golden, tmp_path / "log")
    with eventlog.open(tmp_path / "log") as old:
        with pytest.raises(eventlog.FormatTooOld, match="format 3"):
            Transactional(old)
        assert old.verify().problems == ()
