"""
Each promise of docs/explanation/guarantees.md, in the fewest lines that show it.

Harder tests of the same promises stand beside the code they are about; the page names both.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import Consumer, EventLog, TopicPartition
from eventlog.store.lmdb.environment import EngineError

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "guarantees.md"


def test_every_promise_names_a_test_that_exists() -> None:
    """A promise without a test is a wish; a test that was renamed is missed here."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text("utf-8"))
    assert len(named) > 15
    for path, name in named:
        file = ROOT / path
        assert file.exists(), path
        assert not name or f"def {name}(" in file.read_text("utf-8"), f"{path}::{name}"


def test_every_test_here_is_named_by_the_page() -> None:
    """The page leaves none of these out."""
    own = re.findall(r"^def (test_\w+)\(", Path(__file__).read_text("utf-8"), re.MULTILINE)
    page = PAGE.read_text("utf-8")
    assert [name for name in own if "::" + name not in page and not name.startswith("test_every_")] == []


# --- writing --------------------------------------------------------------------------------------------------------


def test_what_is_acknowledged_is_there_after_reopening(path: Path) -> None:
    """A record whose append returned is read by whoever opens the log next."""
    with eventlog.open(path) as log:
        meta = log.topic("orders", value=str).append("tea")
    with eventlog.open(path) as log:
        (record,) = log.topic("orders").read()
    assert (record.offset, record.value) == (meta.offset, "tea")


def test_what_is_acknowledged_is_seen_at_once_by_another_process(disk_log: EventLog) -> None:
    """A reader that begins after an append has returned sees its record, in whatever process."""
    disk_log.topic("orders", value=str).append("tea")
    program = (
        "import eventlog, sys\n"
        "with eventlog.open(sys.argv[1]) as log: print(*[r.value for r in log.topic('orders').read()])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(disk_log.path)], capture_output=True, text=True, check=True
    )
    assert result.stdout == "tea\n"


def test_offsets_begin_at_0_and_have_no_gaps(log: EventLog) -> None:
    """Every record has the number of those before it in its partition, however it was written."""
    orders = log.topic("orders", partitions=2)
    with log.producer() as producer:
        for number in range(50):
            producer.send(orders, b"sent", partition=number % 2)
            orders.append(b"appended", partition=0)
    orders.append_many([b"column"] * 20, partition=1)
    for partition, (first, end) in orders.bounds().items():
        assert [record.offset for record in orders.read(partition)] == list(range(first, end))
        assert first == 0


def test_sends_of_one_thread_keep_their_order_in_a_partition(log: EventLog) -> None:
    """Four threads share a producer; the records of each come in the order of its calls."""
    orders = log.topic("orders", value="json")
    with log.producer() as producer:

        def work(thread: int) -> None:
            for number in range(2000):
                producer.send("orders", [thread, number])

        threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    seen: dict[int, list[int]] = {}
    for record in orders.read():
        seen.setdefault(record.value[0], []).append(record.value[1])
    assert seen == {number: list(range(2000)) for number in range(4)}


def test_columns_are_stored_all_or_not_at_all(log: EventLog) -> None:
    """A wrong value among many leaves nothing of the others behind."""
    orders = log.topic("orders", partitions=4, key=str, value=int)
    with pytest.raises(TypeError):
        orders.append_many([1, 2, "three"], keys=["a", "b", "c"])  # type: ignore[list-item]
    assert set(orders.bounds().values()) == {(0, 0)}


def test_changing_an_object_after_send_changes_nothing(log: EventLog) -> None:
    """What is stored is the value as it was at the call."""
    orders = log.topic("orders", value="json")
    value = {"item": "tea"}
    with log.producer() as producer:
        producer.send(orders, value)
        value["item"] = "milk"
    assert next(orders.read()).value == {"item": "tea"}


def test_a_failure_that_nobody_looked_at_is_raised_by_flush(log: EventLog) -> None:
    """No error of a background write is lost in silence."""
    orders = log.topic("orders")
    producer = log.producer(linger=60.0)
    producer.send(orders, b"tea")
    log.delete_topic("orders")
    with pytest.raises(eventlog.DeliveryError) as raised:
        producer.flush()
    assert raised.value.count == 1
    assert isinstance(raised.value.__cause__, eventlog.UnknownTopic)
    producer.close()


def test_a_program_that_forgets_to_close_loses_nothing(path: Path) -> None:
    """What was sent is stored when the interpreter ends."""
    program = (
        "import eventlog, sys\n"
        "producer = eventlog.open(sys.argv[1]).producer(linger=60.0)\n"
        "for number in range(100): producer.send('orders', b'tea')\n"
    )
    with eventlog.open(path) as log:
        log.topic("orders")
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)
    with eventlog.open(path) as log:
        assert log.topic("orders").bounds() == {0: (0, 100)}


def test_after_a_failed_write_nothing_is_written_until_the_log_is_opened_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails makes a commit fail: reading goes on, writing stops, and the next opener is well."""
    with eventlog.open(path) as log:
        orders = log.topic("orders")
        orders.append(b"before")
        environment = log._store.environment  # type: ignore[attr-defined]

        def fail(*_: object) -> None:
            raise EngineError("mdb_txn_commit: Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr("eventlog.store.lmdb.environment.call_atomically", fail)
            with pytest.raises(eventlog.StorageError, match="Input/output"):
                orders.append(b"lost")
        assert environment.has_failed
        with pytest.raises(eventlog.StorageError, match="refuses writes"):
            orders.append(b"too early")
        assert [record.value for record in orders.read()] == [b"before"]
    with eventlog.open(path) as log:
        assert log.topic("orders").append(b"after").offset == 1
        assert log.verify().is_sound


def test_a_commit_without_room_stores_nothing_and_the_next_one_is_well(path: Path) -> None:
    """A file that may not grow is DiskFull: reading goes on, and writing as soon as it may."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with eventlog.open(path) as log:
        orders = log.topic("orders")
        orders.append(b"before")
        size_bytes = (path / "data.mdb").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes + 8192, limits[1]))
        try:
            with pytest.raises(eventlog.DiskFull, match=r"No space left|File too large"):
                orders.append_many([b"x" * 1000] * 1000)
            assert [record.value for record in orders.read()] == [b"before"]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert orders.append(b"after").offset == 1
        assert log.verify().is_sound


# --- reading --------------------------------------------------------------------------------------------------------


def test_read_ends_where_the_log_ended_at_the_call(log: EventLog) -> None:
    """Records appended while one reads are not read."""
    orders = log.topic("orders")
    orders.append_many([b"1", b"2"])
    count = 0
    for _ in orders.read():
        orders.append(b"more")
        count += 1
    assert count == 2


def test_what_was_not_finished_comes_again(log: EventLog) -> None:
    """A consumer that breaks off with a record in hand gets it again, and nothing before it."""
    orders = log.topic("orders", value=int)
    orders.append_many(list(range(10)))
    with log.consumer(orders, group="billing") as consumer:
        for record in consumer:
            if record.value == 4:
                break
    with log.consumer(orders, group="billing") as consumer:
        assert [record.value for record in consumer.poll(timeout=1.0)] == [4, 5, 6, 7, 8, 9]


def test_what_was_committed_does_not_come_again(path: Path) -> None:
    """A commit that returned holds after a restart."""
    with eventlog.open(path) as log:
        log.topic("orders").append_many([b"1", b"2"])
        with log.consumer("orders", group="billing") as consumer:
            consumer.poll(timeout=1.0)
            consumer.commit()
    with eventlog.open(path) as log, log.consumer("orders", group="billing") as consumer:
        assert consumer.poll(timeout=0.0) == []


def test_a_reader_that_missed_deleted_records_is_told(log: EventLog) -> None:
    """Deleting is never skipped over in silence, and the position stays."""
    orders = log.topic("orders")
    orders.append_many([b"1", b"2", b"3"])
    with log.consumer(orders, group="billing") as consumer:
        orders.delete_records({0: 2})
        with pytest.raises(eventlog.OffsetOutOfRange) as raised:
            consumer.poll(timeout=0.0)
        assert (raised.value.first, raised.value.end) == (2, 3)
        assert consumer.position(("orders", 0)) == 0
        consumer.seek_to_beginning()
        assert [record.value for record in consumer.poll(timeout=0.0)] == [b"3"]


def test_records_that_are_not_deleted_keep_their_offsets(log: EventLog) -> None:
    """Deleting moves the first offset and nothing else."""
    orders = log.topic("orders")
    orders.append_many([b"1", b"2", b"3"])
    orders.delete_records({0: 3})
    assert orders.bounds() == {0: (3, 3)}
    assert orders.append(b"4").offset == 3


def test_a_key_goes_to_one_partition_for_ever(path: Path) -> None:
    """The partitioner is stored with the topic, so every process places keys alike."""
    with eventlog.open(path) as log:
        first = log.topic("orders", partitions=12, key=str, partitioner="murmur2").append(b"", key="order-42")
    with eventlog.open(path) as log:
        again = log.topic("orders").append(b"", key="order-42")
    assert first.partition == again.partition == 0


def test_records_are_placed_by_the_new_number_of_partitions(path: Path) -> None:
    """One who was not told looks at what is stored; earlier records stay where they are."""
    with eventlog.open(path) as log, eventlog.open(path) as other, log.producer() as producer:
        orders = log.topic("orders", partitions=1, key=str)
        places = [orders.append(b"", key="order-42"), producer.send(orders, b"", key="order-42").result()]
        other.topic("orders").create_partitions(12)
        places += [orders.append(b"", key="order-42"), producer.send(orders, b"", key="order-42").result()]
        assert [place.partition for place in places] == [0, 0, 10, 10]
        assert [record.partition for record in orders.read()] == [0, 0, 10, 10]


# --- groups ---------------------------------------------------------------------------------------------------------

_MEMBER = """
import eventlog, sys
log = eventlog.open(sys.argv[1])
consumer = log.consumer("orders", group="billing", session_timeout=float(sys.argv[2]))
consumer.poll()
print("has", len(consumer.assignment()), flush=True)
input()
"""


@contextmanager
def _member_elsewhere(log: EventLog, *, session_timeout: float) -> Iterator[subprocess.Popen[str]]:
    """A process with a member of the group "billing", which has all partitions of "orders" and does nothing more."""
    command = [sys.executable, "-c", _MEMBER, str(log.path), str(session_timeout)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("has")
            yield process
        finally:
            process.kill()


def _values(consumer: Consumer[Any, Any], *, timeout: float = 0.0) -> list[Any]:
    return [record.value for record in consumer.poll(timeout=timeout)]


def _settle(*consumers: Consumer[Any, Any]) -> None:
    """Lets everybody give up and take what is due."""
    for consumer in consumers * 2:
        assert consumer.poll() == []


def test_members_share_the_partitions_and_each_record_goes_to_one(log: EventLog) -> None:
    """Two members have two of four partitions each; every record comes once, those of a key to one of them in order."""
    orders = log.topic("orders", partitions=4, key=str, value=int)
    one, two = log.consumer(orders, group="billing"), log.consumer(orders, group="billing")
    _settle(one, two)
    assert (len(one.assignment()), len(two.assignment())) == (2, 2)
    orders.append_many(list(range(100)), keys=[f"customer-{number % 10}" for number in range(100)])
    shares = [consumer.poll(timeout=10.0) for consumer in (one, two)]
    assert sorted(record.value for share in shares for record in share) == list(range(100))
    keys = [{record.key for record in share} for share in shares]
    assert all(keys)
    assert not keys[0] & keys[1]
    for share in shares:
        for key in {record.key for record in share}:
            values = [record.value for record in share if record.key == key]
            assert values == sorted(values)


def test_every_group_gets_every_record(log: EventLog) -> None:
    """Groups know nothing of each other."""
    orders = log.topic("orders", value=int)
    orders.append_many([1, 2, 3])
    with log.consumer(orders, group="billing") as billing, log.consumer(orders, group="statistics") as statistics:
        assert _values(billing) == _values(statistics) == [1, 2, 3]


def test_what_is_committed_before_the_work_comes_at_most_once(log: EventLog) -> None:
    """A member commits, then dies with the records in hand: nobody gets them again."""
    orders = log.topic("orders", value=int)
    orders.append_many([1, 2, 3])
    with log.consumer(orders, group="billing", auto_commit=False) as one:
        assert _values(one) == [1, 2, 3]
        one.commit()
    with log.consumer(orders, group="billing") as two:
        orders.append(4)
        assert _values(two, timeout=10.0) == [4]


def test_a_partition_moves_with_what_was_finished(log: EventLog) -> None:
    """The new owner begins behind what the old one had finished, and has nothing before that one polls."""
    orders = log.topic("orders", partitions=2, value=int)
    orders.append_many([1, 2], partition=1)
    one = log.consumer(orders, group="billing", auto_commit_interval=60.0)
    assert _values(one) == [1, 2]
    two = log.consumer(orders, group="billing")
    assert two.poll() == []
    assert (len(one.assignment()), two.assignment()) == (2, [])
    _settle(one, two)
    assert two.assignment() == [("orders", 1)]
    assert (two.committed(("orders", 1)), two.position(("orders", 1))) == (2, 2)
    orders.append(3, partition=1)
    assert _values(two, timeout=10.0) == [3]


def test_a_member_reads_on_in_what_it_keeps(log: EventLog) -> None:
    """A record of a partition that stays is handed out by the very poll that gives another partition up."""
    orders = log.topic("orders", partitions=2, value=int)
    revoked: list[TopicPartition] = []
    one = log.consumer(orders, group="billing", on_revoked=revoked.extend)
    assert one.poll() == []
    with log.consumer(orders, group="billing"):
        orders.append(1, partition=0)
        assert _values(one) == [1]
        assert revoked == [("orders", 1)]


def test_partitions_of_a_killed_process_move_at_once(disk_log: EventLog) -> None:
    """The session would run for ten minutes; the kernel says earlier that the process is dead."""
    orders = disk_log.topic("orders", partitions=2, value=int)
    with _member_elsewhere(disk_log, session_timeout=600.0) as process:
        consumer = disk_log.consumer(orders, group="billing", session_timeout=600.0)
        orders.append(1, partition=0)
        assert consumer.assignment() == []
        process.kill()
        assert _values(consumer, timeout=30.0) == [1]
        assert len(consumer.assignment()) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")
def test_partitions_of_a_stopped_process_move_when_its_session_is_over(disk_log: EventLog) -> None:
    """A process that lives and does nothing is waited for, and no longer than it said."""
    orders = disk_log.topic("orders", partitions=2, value=int)
    with _member_elsewhere(disk_log, session_timeout=1.0) as process:
        consumer = disk_log.consumer(orders, group="billing")
        orders.append(1, partition=0)
        process.send_signal(signal.SIGSTOP)
        assert _values(consumer, timeout=30.0) == [1]
        assert process.poll() is None


def test_a_member_that_does_not_poll_loses_its_partitions_and_joins_again(log: EventLog) -> None:
    """Its commit stores nothing, `on_lost` says what it lost, and it goes on as a new member."""
    orders = log.topic("orders", value=int)
    orders.append_many([1, 2])
    lost: list[TopicPartition] = []
    slow = log.consumer(orders, group="billing", max_poll_interval=1.0, on_lost=lost.extend)
    assert _values(slow) == [1, 2]
    quick = log.consumer(orders, group="billing")
    assert _values(quick, timeout=30.0) == [1, 2]
    quick.commit({("orders", 0): 1})
    with pytest.raises(eventlog.MemberFenced):
        slow.commit()
    assert quick.committed(("orders", 0)) == 1
    assert slow.poll() == []
    assert (lost, slow.assignment()) == ([("orders", 0)], [])
    quick.close()
    assert _values(slow, timeout=30.0) == [2]


def test_who_is_no_member_does_not_commit_for_one(log: EventLog) -> None:
    """A consumer that chose its partitions cannot move the offset of a member."""
    log.topic("orders", value=int).append_many([1, 2])
    with log.consumer(group="billing") as stranger, log.consumer("orders", group="billing") as member:
        stranger.assign([("orders", 0)])
        assert _values(stranger) == [1, 2]
        with pytest.raises(eventlog.MemberFenced):
            stranger.commit()
        assert member.committed(("orders", 0)) is None


def test_a_static_member_comes_back_to_its_partitions(log: EventLog) -> None:
    """Between its end and its return nobody was given anything, and nobody else may have its name."""
    orders = log.topic("orders", partitions=2)
    one = log.consumer(orders, group="billing", instance_id="one", session_timeout=600.0)
    two = log.consumer(orders, group="billing")
    _settle(one, two)
    epoch = log.groups.describe("billing").epoch
    with pytest.raises(eventlog.InstanceInUse):
        log.consumer(orders, group="billing", instance_id="one")
    one.close()
    _settle(two)
    assert two.assignment() == [("orders", 1)]
    with log.consumer(orders, group="billing", instance_id="one") as one:
        assert one.assignment() == [("orders", 0)]
        assert log.groups.describe("billing").epoch == epoch


def test_a_callback_that_raises_is_called_again(log: EventLog) -> None:
    """Nothing is handed out before the callback has been through."""
    log.topic("orders", value=int).append(1)
    calls: list[list[TopicPartition]] = []

    def load(partitions: list[TopicPartition]) -> None:
        calls.append(partitions)
        if len(calls) == 1:
            raise OSError("the database is away")

    consumer = log.consumer("orders", group="billing", on_assigned=load)
    with pytest.raises(OSError, match="away"):
        consumer.poll()
    assert _values(consumer) == [1]
    assert calls == [[("orders", 0)]] * 2


def test_a_group_that_begins_at_the_end_misses_nothing_after_that(log: EventLog) -> None:
    """Where it began is remembered, though nothing was committed; what appears later is read from its first record."""
    orders = log.topic("orders", value=int)
    orders.append(1)
    log.consumer(orders, group="billing", start="latest").close()
    orders.append(2)
    with log.consumer(orders, group="billing", start="latest") as consumer:
        orders.create_partitions(2)
        orders.append(3, partition=1)
        assert sorted(_values(consumer) + _values(consumer)) == [2, 3]


@pytest.mark.parametrize("group", ["billing", None])
def test_topics_and_partitions_that_appear_later_are_read(log: EventLog, group: str | None) -> None:
    """With a group and without, whatever `start` says."""
    log.topic("orders.tea", value=int)
    with log.consumer(re.compile(r"orders\..*"), group=group, start="latest") as consumer:
        log.topic("orders.tea").create_partitions(2)
        log.topic("orders.tea").append(1, partition=1)
        log.topic("orders.milk", value=int).append(2)
        log.topic("disorders.milk", value=int).append(3)
        assert sorted(_values(consumer) + _values(consumer)) == [1, 2]


# --- damage ---------------------------------------------------------------------------------------------------------


def test_damage_is_found_and_named(path: Path) -> None:
    """A flipped bit on disk is an error, not a wrong record; what comes before is readable."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", value=str)
        orders.append("sound")
        orders.append("flipped")
    data = bytearray((path / "data.mdb").read_bytes())
    for place in [match.start() for match in re.finditer(b"flipped", bytes(data))]:
        data[place] ^= 1
    (path / "data.mdb").write_bytes(data)
    with eventlog.open(path) as log:
        orders = log.topic("orders")
        with log.consumer(orders) as consumer:
            assert [record.value for record in consumer.poll(timeout=0.0)] == ["sound"]
            with pytest.raises(eventlog.CorruptBatch):
                consumer.poll(timeout=0.0)
            assert consumer.position(("orders", 0)) == 1
        assert len(log.verify().problems) == 1


def test_something_else_is_never_touched(tmp_path: Path) -> None:
    """A directory that holds other files is refused, and left as it was."""
    (tmp_path / "precious.txt").write_text("data")
    with pytest.raises(eventlog.NotALog):
        eventlog.open(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["precious.txt"]
