"""A full volume can be emptied: deletions always succeed, and appends go on afterwards (decision 0030)."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.store.lmdb.room import RESERVE_FILE
from eventlog.store.records.emptying import EmptyStep, empty, left_rows
from eventlog.store.records.topics import DeleteRecords, DeleteTopic
from tests.processes.child import Child
from tests.store.volume_scenes import append_when_told, delete_until_killed
from tests.volumes import small_volume

_MEGABYTE = 1 << 20


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 4 MB."""
    with small_volume(tmp_path / "volume", 4 * _MEGABYTE) as directory:
        yield directory


@pytest.fixture
def full_log(volume: Path) -> Iterator[eventlog.EventLog]:
    """An empty log on a small volume."""
    with eventlog.open(volume / "log") as log:
        yield log


def _append(topic: eventlog.Topic[Any, Any], size: int) -> None:
    topic.append(bytes(size))


def _append_in_any_way(topic: eventlog.Topic[Any, Any], rng: random.Random, ids: Iterator[int], size: int) -> None:
    topic.append(bytes(size), partition=rng.randrange(100), message_id=str(next(ids)), headers={"a": b"b"})


def _put(log: eventlog.EventLog, keys: Iterator[int], size: int) -> None:
    with log.transaction() as transaction:
        transaction.state("totals", key=str, value=bytes)[str(next(keys))] = bytes(size)


def fill(append: Callable[[int], object], rng: random.Random) -> int:
    """Append values of falling sizes until not even one of a few bytes goes in; return how many did."""
    count = 0
    for most in (60_000, 5000, 1000, 10):
        for _ in range(2):
            try:
                while True:
                    append(rng.randrange(1, most))
                    count += 1
            except eventlog.DiskFull as error:
                full = error
            assert "Input/output" not in str(full), full
            assert "delete_records()" in full.advice, full
    return count


def test_half_of_a_full_volume_is_deleted_and_appends_go_on(full_log: eventlog.EventLog, rng: random.Random) -> None:
    """As often as it happens, and in one opening of the log."""
    topic = full_log.topic("orders")
    for _ in range(10):
        count = fill(partial(_append, topic), rng)
        assert count > 50
        first, end = topic.bounds()[0]
        topic.delete_records({0: (first + end) // 2})
        assert topic.bounds()[0] == ((first + end) // 2, end)
        assert topic.append(b"on").offset == end
    assert full_log.verify().problems == ()


def test_an_indexed_topic_is_deleted_key_by_key(full_log: eventlog.EventLog, rng: random.Random) -> None:
    """A deletion touches the rows of all keys, which together would take as much room as there is."""
    topic = full_log.topic("orders", partitions=3, key=str, index="key")
    for _ in range(3):
        fill(lambda size: topic.append(bytes(size), key=f"k{rng.randrange(300)}"), rng)
        middles = {number: (first + end) // 2 for number, (first, end) in topic.bounds().items()}
        topic.delete_records(middles)
        topic.append(b"on", key="k")
        for number in range(300):
            assert all(event.offset >= middles[event.partition] for event in topic.history(f"k{number}"))
        assert full_log.verify().problems == ()


def test_a_topic_is_deleted_with_all_that_belongs_to_it(full_log: eventlog.EventLog, rng: random.Random) -> None:
    """Records of a hundred partitions, message ids, sequences and offsets of groups."""
    numbers = itertools.count()
    for _ in range(2):
        topic = full_log.topic("orders", partitions=100)
        keep = full_log.topic("kept")
        with full_log.producer(name="till") as producer:
            producer.send(topic, b"1", partition=3).result()
        for group in ("a", "b"):
            with full_log.consumer("orders", group=group) as consumer:
                consumer.poll()
                consumer.commit()
        fill(partial(_append_in_any_way, topic, rng, numbers), rng)
        fill(partial(_append, keep), rng)
        full_log.delete_topic("orders")
        assert full_log.topics() == ["kept"]
        keep.append(b"on")
        with full_log._store.environment.reading() as transaction:
            assert not left_rows(full_log._store.environment, transaction)
        assert full_log.verify().problems == ()
        full_log.delete_topic("kept")


def test_groups_states_and_projections_are_deleted(full_log: eventlog.EventLog, rng: random.Random) -> None:
    """Each of them on a volume that is full of the others."""
    topic = full_log.topic("orders")
    topic.append(b"1")
    with full_log.consumer("orders", group="billing") as consumer:
        consumer.poll()
        consumer.commit()
    for deletion in (
        lambda: full_log.groups.delete("billing"),
        lambda: full_log.delete_state("totals"),
        lambda: topic.delete_records({0: topic.bounds()[0][1]}),
    ):
        fill(partial(_put, full_log, itertools.count()), rng)
        fill(partial(_append, topic), rng)
        deletion()
        assert full_log.verify().problems == ()
    assert full_log.groups.list() == []


def test_a_reader_that_pins_all_pages_is_no_obstacle(full_log: eventlog.EventLog, rng: random.Random) -> None:
    """While a copy is made nothing that is freed can be used: then the reserve serves, and room comes when it ends."""
    topic, other = full_log.topic("orders"), full_log.topic("other")
    other.append_many([bytes(1000)] * 500)
    environment = full_log._store.environment
    fill(partial(_append, topic), rng)
    with environment.reading():
        topic.delete_records({0: topic.bounds()[0][1]})
        full_log.delete_topic("other")
        assert full_log.topics() == ["orders"]
        assert list(topic.read()) == []
    assert fill(partial(_append, topic), rng) > 50
    with environment.reading() as transaction:
        assert not left_rows(environment, transaction)
    assert full_log.verify().problems == ()


def test_another_process_goes_on_too(volume: Path, rng: random.Random) -> None:
    """It has seen the volume full, and needs no opening again; what is kept for deletions it leaves alone."""
    with eventlog.open(volume / "log") as log, Child(append_when_told, str(volume / "log")) as other:
        topic = log.topic("orders")
        other.hear("ready")
        for _ in range(5):
            fill(partial(_append, topic), rng)
            other.say("1000")
            other.hear("DiskFull")
            topic.delete_records({0: sum(topic.bounds()[0]) // 2})
            other.say("1000")
            other.hear("stored")
            while True:
                other.say("30000")
                if other.hear() == "DiskFull":
                    break
        other.say("end")
        topic.delete_records({0: topic.bounds()[0][1]})
        assert log.verify().problems == ()


@pytest.mark.parametrize("what", ["topic", "records"])
def test_a_process_killed_between_two_steps_leaves_a_deletion_that_is_finished(volume: Path, what: str) -> None:
    """What was deleted is out of sight at once; the next opening removes the rest."""
    path = volume / "log"
    with Child(delete_until_killed, str(path), what) as child:
        child.hear("left")
        with eventlog.open(path) as log:  # the child lives on: its rows are removed by us
            assert log.verify().problems == ()
        child.kill()
    with eventlog.open(path) as log:
        with log._store.environment.reading() as transaction:
            assert not left_rows(log._store.environment, transaction)
        if what == "topic":
            assert log.topics() == []
        else:
            assert log.topic("orders").bounds()[0][0] == 900
        assert log.verify().problems == ()


def test_what_is_left_of_a_deletion_is_sound_and_unseen(log: eventlog.EventLog) -> None:
    """Between two steps nobody sees half of it, neither verify() nor a reader nor a topic of the same name."""
    store = log._store
    topic = log.topic("orders", key=str, index="key")
    topic.append_many([b"%d" % number for number in range(900)], keys=[f"k{number % 7}" for number in range(900)])
    store.committer.run(DeleteRecords(log._store.require_topic("orders"), {0: 500}, in_steps=True))
    store.committer.run(EmptyStep(3))
    assert log.verify().problems == ()
    assert [record.offset for record in topic.read()] == list(range(500, 900))
    store.committer.run(DeleteTopic("orders", in_steps=True))
    for _ in range(5):
        assert log.verify().problems == ()
        assert list(log.read_all()) == []
        store.committer.run(EmptyStep(2))
    again = log.topic("orders", key=str, index="key")
    again.append(b"new", key="k1")
    assert [event.value for event in again.history("k1")] == [b"new"]
    empty(store.environment, store.committer.run)
    assert [record.value for record in again.read()] == [b"new"]
    assert log.verify().problems == ()


def test_threads_that_append_and_delete_at_once_go_on(full_log: eventlog.EventLog) -> None:
    """Appends that share a commit with a deletion take nothing of what is kept for it."""
    topic = full_log.topic("orders")
    stop = threading.Event()
    full_count = 0

    def append() -> None:
        nonlocal full_count
        while not stop.is_set():
            try:
                topic.append(bytes(20_000))
            except eventlog.DiskFull:
                full_count += 1

    threads = [threading.Thread(target=append) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        while not full_count:
            pass
        first, end = topic.bounds()[0]
        topic.delete_records({0: (first + end) // 2})
        full_count = 0
    stop.set()
    for thread in threads:
        thread.join()
    assert full_log.verify().problems == ()


def test_the_reserve_is_made_whole_when_there_is_room(volume: Path, rng: random.Random) -> None:
    """A spent reserve is filled by the next append for which the volume has room again."""
    ballast = volume / "ballast"
    ballast.write_bytes(bytes(_MEGABYTE))
    reserve = volume / "log" / RESERVE_FILE
    with eventlog.open(volume / "log") as log:
        whole = reserve.stat().st_size
        topic = log.topic("orders")
        fill(partial(_append, topic), rng)
        with log._store.environment.reading():
            topic.delete_records({0: topic.bounds()[0][1]})
        assert reserve.stat().st_size < whole
        ballast.unlink()
        topic.append(b"on")
        assert reserve.stat().st_size == whole


def test_a_reserve_that_is_a_link_to_something_else_is_left_alone(path: Path, tmp_path: Path) -> None:
    """Another user of a shared log can put there whatever they like."""
    precious = tmp_path / "precious"
    for make in (Path.hardlink_to, Path.symlink_to):
        with eventlog.open(path) as log:
            log.topic("orders").append(b"tea")
        precious.write_bytes(b"precious bytes")
        (path / RESERVE_FILE).unlink()
        make(path / RESERVE_FILE, precious)
        with eventlog.open(path) as log:
            log.topic("orders").append(b"tea")
        assert precious.read_bytes() == b"precious bytes"


def test_a_volume_without_room_for_a_reserve_has_a_log_without_one(tmp_path: Path) -> None:
    """It works as any other, as long as there is room."""
    with small_volume(tmp_path / "volume", 512 << 10) as volume, eventlog.open(volume / "log") as log:
        assert (volume / "log" / RESERVE_FILE).stat().st_size == 0
        assert log.topic("orders").append(b"tea").offset == 0
