"""A log with a bound: its file never passes it, deletions and groups go on, and appends do after them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog.store.lmdb.room import Bound
from tests.processes.child import Child
from tests.store.bound_scenes import append_within, churn_until_killed, fill_below_the_limit, meet_a_limit_late

_BOUND = 2 << 20


def file_bytes(path: Path) -> int:
    """The size of the data file of a log."""
    return (path / "data.mdb").stat().st_size


def fill(append: Callable[[int], object], rng: random.Random) -> int:
    """Append values of falling sizes until not even a small one goes in; return how many did."""
    count = 0
    for most in (60_000, 5000, 300):
        for _ in range(2):
            with suppress(eventlog.LogFull):
                while True:
                    append(rng.randrange(1, most))
                    count += 1
    return count


def append_many(topic: eventlog.Topic[Any, Any], count: int, size: int, **options: Any) -> None:
    """Append so many values, one by one."""
    for _ in range(count):
        topic.append(bytes(size), **options)


def _append_keyed(topic: eventlog.Topic[str, Any], rng: random.Random, size: int) -> None:
    topic.append(bytes(size), key=f"k{rng.randrange(50)}")


def _append(topic: eventlog.Topic[Any, Any], size: int) -> None:
    topic.append(bytes(size))


@pytest.mark.parametrize("index", [None, "key"])
def test_a_full_log_is_emptied_and_filled_again(path: Path, rng: random.Random, index: Any) -> None:
    """As often as it happens, within one opening and with many; the file never passes the bound."""
    for _ in range(2):
        with eventlog.open(path, durability="ordered", max_bytes=_BOUND) as log:
            topic = log.topic("orders", key=str, index=index)
            append = partial(_append_keyed, topic, rng)
            for _ in range(3):
                assert fill(append, rng) >= 5  # records of up to some tens of kilobytes, in half of the room
                assert file_bytes(path) <= _BOUND
                first, end = topic.bounds()[0]
                topic.delete_records({0: (first + end) // 2})
                assert topic.bounds()[0] == ((first + end) // 2, end)
                assert topic.append(b"on", key="k1").offset == end
                assert file_bytes(path) <= _BOUND
            assert log.verify().problems == ()


def test_the_error_says_what_is_stored_and_what_to_do(path: Path, rng: random.Random) -> None:
    """It is a DiskFull, for who catches that, and has the bound and the size of the file."""
    with eventlog.open(path, max_bytes=_BOUND) as log:
        topic = log.topic("orders")
        fill(partial(_append, topic), rng)
        with pytest.raises(eventlog.LogFull, match=r"max_bytes=2097152 .* Nothing of this call was stored\.") as caught:
            topic.append(bytes(100_000))
        assert isinstance(caught.value, eventlog.DiskFull)
        assert (caught.value.max_bytes, caught.value.file_bytes <= _BOUND) == (_BOUND, True)
        assert "delete_records()" in caught.value.advice
        assert "clean() where a topic is compacted" in caught.value.advice
        end = topic.bounds()[0][1]
        topic.delete_records({0: end})
        assert topic.append(bytes(100_000)).offset == end


def test_groups_go_on_in_a_full_log(path: Path, rng: random.Random) -> None:
    """Members come and go and commit, as often as they like."""
    with eventlog.open(path, max_bytes=_BOUND) as log:
        topic = log.topic("orders", partitions=2)
        fill(lambda size: topic.append(bytes(size), partition=rng.randrange(2)), rng)
        for number in range(20):
            with log.consumer("orders", group=f"g{number}") as consumer:
                for _ in range(10):
                    consumer.poll(max_records=3)
                    consumer.commit()
        with log.consumer("orders", group="g0") as consumer, log.transaction(consumer):
            consumer.poll()
        with pytest.raises(eventlog.LogFull):
            topic.append(bytes(50_000))
        assert len(log.groups.list()) == 20
        assert file_bytes(path) <= _BOUND
        for name in log.groups.list():
            log.groups.delete(name)
        assert log.verify().problems == ()


def test_retention_makes_room_before_an_append_fails(path: Path) -> None:
    """Ten times the bound goes through a log whose topic keeps less; nobody hears of it."""
    with eventlog.open(path, max_bytes=_BOUND, cleaner=False) as log:
        topic = log.topic("orders", retention_bytes=_BOUND // 2)
        for _ in range(10 * _BOUND // 40_000):
            topic.append(bytes(40_000))
        assert file_bytes(path) <= _BOUND
        first, end = topic.bounds()[0]
        assert end == 10 * _BOUND // 40_000
        assert end - first >= _BOUND // 2 // 40_000 - 1
        assert log.verify().problems == ()


def test_retention_by_age_makes_room(path: Path) -> None:
    """Old records go; new ones stay, and then the log is full."""
    with eventlog.open(path, max_bytes=_BOUND, cleaner=False) as log:
        topic = log.topic("orders", retention=3600.0)
        for _ in range(200):
            topic.append(bytes(40_000), timestamp_ms=1)
        assert topic.bounds()[0][0] > 0
        with pytest.raises(eventlog.LogFull):
            append_many(topic, 200, 40_000)
        assert topic.bounds()[0][0] == 200
        assert file_bytes(path) <= _BOUND


def test_a_shorter_retention_can_be_given_to_a_full_log(path: Path, rng: random.Random) -> None:
    """What makes room has room itself."""
    with eventlog.open(path, max_bytes=_BOUND, cleaner=False) as log:
        topic = log.topic("orders")
        fill(partial(_append, topic), rng)
        topic.alter(retention_bytes=_BOUND // 4)
        topic.append(bytes(50_000))


def test_an_append_beside_commits_fails_alone(path: Path) -> None:
    """They share a round: the commit of offsets is stored, and the append says that it is not."""
    with eventlog.open(path, max_bytes=_BOUND) as log:
        topic = log.topic("orders")
        with pytest.raises(eventlog.LogFull):
            append_many(topic, 1000, 20_000)
        stop = threading.Event()
        failures: list[BaseException] = []

        def append() -> None:
            while not stop.is_set():
                try:
                    topic.append(bytes(20_000))
                except eventlog.LogFull:
                    pass
                except BaseException as error:
                    failures.append(error)
                    return

        threads = [threading.Thread(target=append) for _ in range(3)]
        for thread in threads:
            thread.start()
        with log.consumer("orders", group="billing") as consumer:
            for _ in range(100):
                consumer.poll(max_records=1)
                consumer.commit()
            first, end = topic.bounds()[0]
            topic.delete_records({0: (first + end) // 2})
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert file_bytes(path) <= _BOUND
        assert log.verify().problems == ()


def test_a_producer_says_of_each_record_whether_it_is_stored(path: Path) -> None:
    """With batches queued: what was refused says LogFull, and what was acknowledged is there, and nothing else."""
    with eventlog.open(path, max_bytes=_BOUND) as log:
        topic = log.topic("orders", value=int)
        log.topic("ballast").append_many([bytes(20_000)] * 80)
        producer = log.producer(linger=0.001)
        deliveries = [producer.send(topic, number, headers={"ballast": bytes(2_000)}) for number in range(2000)]
        with pytest.raises(eventlog.DeliveryError) as caught:
            producer.flush()
        assert isinstance(caught.value.__cause__, eventlog.LogFull)
        stored = {
            delivery.result().offset: number for number, delivery in enumerate(deliveries) if not delivery.exception()
        }
        assert 0 < len(stored) < 2000
        assert all(
            isinstance(error, eventlog.LogFull) for error in map(eventlog.Delivery.exception, deliveries) if error
        )
        assert {record.offset: record.value for record in topic.read()} == stored
        log.delete_topic("ballast")
        assert producer.send(topic, 7).result().offset == len(stored)
        producer.close()


def test_a_named_producer_stores_nothing_twice_and_nothing_out_of_order(path: Path) -> None:
    """What follows a refused batch is refused, too; another producer of the name goes on once there is room."""
    with eventlog.open(path, max_bytes=_BOUND) as log:
        topic = log.topic("orders")
        log.topic("ballast").append_many([bytes(20_000)] * 80)
        producer = log.producer(name="till")
        deliveries = [producer.send(topic, b"%d" % number + bytes(30_000)) for number in range(60)]
        with pytest.raises(eventlog.DeliveryError):
            producer.flush()
        stored = [delivery.exception() is None for delivery in deliveries]
        assert stored == sorted(stored, reverse=True), stored
        log.delete_topic("ballast")
        producer.close()
        with log.producer(name="till") as again:
            again.send(topic, b"on").result()
        assert topic.bounds()[0][1] == sum(stored) + 1


def test_two_processes_with_one_bound_keep_it_together(path: Path) -> None:
    """Whoever deletes makes room for both."""
    with eventlog.open(path, max_bytes=_BOUND) as log, Child(append_within, str(path), _BOUND) as other:
        topic = log.topic("orders")
        other.hear("ready")
        for _ in range(5):
            other.say("30000 1000")
            count, reason = other.hear().split()
            assert (int(count) > 10, reason) == (True, "LogFull")
            with pytest.raises(eventlog.LogFull):
                topic.append(bytes(30_000))
            assert file_bytes(path) <= _BOUND
            first, end = topic.bounds()[0]
            topic.delete_records({0: (first + end) // 2})
            topic.append(bytes(30_000))
        other.say("end")
        assert log.verify().problems == ()


def test_a_process_without_the_bound_may_pass_it_and_ours_does_not(path: Path) -> None:
    """It makes the file grow; we read what it stores, and append as far as there are free pages."""
    with eventlog.open(path, max_bytes=_BOUND) as log, Child(append_within, str(path), None) as other:
        topic = log.topic("orders")
        other.hear("ready")
        for _ in range(3):
            other.say("30000 300")
            assert other.hear() == "300 stored"
            end = topic.bounds()[0][1]
            assert len(list(topic.read(start=end - 5))) == 5
            size = file_bytes(path)
            assert size > _BOUND
            with pytest.raises(eventlog.LogFull):
                append_many(topic, 200, 30_000)
            assert file_bytes(path) == size
        with log.consumer("orders", group="billing", start="latest") as consumer:
            consumer.poll()
            consumer.commit()
        topic.delete_records({0: topic.bounds()[0][1]})
        for _ in range(50):
            topic.append(bytes(30_000))
        assert file_bytes(path) <= size + Bound(_BOUND).reserve_bytes
        other.say("end")
        assert log.verify().problems == ()


def test_a_process_killed_at_any_moment_leaves_a_log_within_its_bound(path: Path, rng: random.Random) -> None:
    """What it has acknowledged is there, and the next one goes on."""
    for _ in range(6):
        with Child(churn_until_killed, str(path), _BOUND, rng.randrange(1000)) as child:
            child.hear("ready")
            said = [child.hear() for _ in range(rng.randrange(20, 400))]
            child.kill()
        assert file_bytes(path) <= _BOUND
        ends = [int(line.split()[1]) for line in said if line.startswith("stored")]
        firsts = [int(line.split()[1]) for line in said if line.startswith("deleted")]
        with eventlog.open(path, max_bytes=_BOUND) as log:
            topic = log.topic("orders")
            first, end = topic.bounds()[0]
            assert end >= max(ends, default=0)
            assert first >= max(firsts, default=0)
            assert [int(bytes(record.value).split()[0]) for record in topic.read()] == list(range(first, end))
            assert log.verify().problems == ()


def test_a_reader_that_pins_all_pages_leaves_room_for_deletions(path: Path, rng: random.Random) -> None:
    """While a copy is made nothing that is freed can be used: the kept part serves, and room comes when it ends."""
    with eventlog.open(path, max_bytes=_BOUND) as log:
        topic, other = log.topic("orders"), log.topic("other")
        other.append_many([bytes(1000)] * 500)
        fill(partial(_append, topic), rng)
        with log._store.environment.reading():
            topic.delete_records({0: topic.bounds()[0][1]})
            log.delete_topic("other")
            assert log.topics() == ["orders"]
            assert file_bytes(path) <= _BOUND
        assert fill(partial(_append, topic), rng) > 50
        assert file_bytes(path) <= _BOUND
        assert log.verify().problems == ()


def test_a_log_in_memory_has_a_bound_too(rng: random.Random) -> None:
    """It is a bound for its memory."""
    with eventlog.open(":memory:", max_bytes=_BOUND) as log:
        topic = log.topic("orders")
        for _ in range(3):
            assert fill(partial(_append, topic), rng) > 20
            topic.delete_records({0: topic.bounds()[0][1]})
        topic.append(b"on")
        assert log.stats().file_bytes <= _BOUND


def test_an_opening_with_another_bound_is_refused_in_this_process(path: Path) -> None:
    """They share one map; without a bound it takes the one that is there."""
    with eventlog.open(path, max_bytes=_BOUND):
        with eventlog.open(path) as same, pytest.raises(eventlog.LogFull):
            append_many(same.topic("orders"), 1000, 50_000)
        with pytest.raises(ValueError, match="with 2097152"):
            eventlog.open(path, max_bytes=2 * _BOUND)
    with eventlog.open(path, max_bytes=2 * _BOUND) as larger:
        larger.topic("orders").append(bytes(50_000))


@pytest.mark.parametrize("wrong", [0, (1 << 20) - 1, 1 << 62])
def test_a_bound_out_of_bounds_is_refused(path: Path, wrong: int) -> None:
    """Before anything is made."""
    with pytest.raises(ValueError, match="max_bytes must be"):
        eventlog.open(path, max_bytes=wrong)
    assert not path.exists()


def test_a_log_larger_than_the_bound_is_opened_and_uses_its_free_pages(path: Path) -> None:
    """It does not grow; deletions make room for appends within the file."""
    with eventlog.open(path) as log:
        log.topic("orders").append_many([bytes(30_000)] * 300)
    size = file_bytes(path)
    with eventlog.open(path, max_bytes=_BOUND) as log:
        topic = log.topic("orders")
        with pytest.raises(eventlog.LogFull):
            append_many(topic, 100, 30_000)
        topic.delete_records({0: 250})
        for _ in range(150):
            topic.append(bytes(30_000))
        assert file_bytes(path) <= size + Bound(_BOUND).reserve_bytes
        assert log.verify().problems == ()


def test_a_log_under_the_limit_for_files_is_emptied_and_filled_again(path: Path) -> None:
    """`ulimit -f` is a bound that the system sets: DiskFull says so, deletions find their pages below it."""
    with Child(fill_below_the_limit, str(path), 4_000_000) as child:
        for _ in range(5):
            assert child.hear() == "DiskFull File too large"
            assert child.hear() == "deleted, on"
        child.hear("sound")
        assert child.end() == 0
    assert file_bytes(path) <= 4_000_000


def test_a_limit_that_sinks_to_the_size_of_a_full_log_leaves_nothing_half_done(path: Path) -> None:
    """No page is left for a deletion then, which says so; all goes on once the limit rises."""
    with Child(meet_a_limit_late, str(path)) as child:
        assert child.hear() == "full"
        assert child.hear() == "first 0 True"
        assert child.hear() == "raised, on"
        child.hear("sound")
        assert child.end() == 0


@pytest.mark.parametrize("index", [None, "key"])
@pytest.mark.parametrize("size", [100, 3000, 20_000])
def test_a_full_log_is_compacted_and_has_room_again(tmp_path: Path, rng: random.Random, size: int, index: Any) -> None:
    """Compaction writes before it frees: it takes what is kept for deletions."""
    path = tmp_path / "log"
    with eventlog.open(path, max_bytes=_BOUND, cleaner=False) as log:
        users = log.topic("users", key=str, compaction="key", index=index)
        with suppress(eventlog.LogFull):
            while True:
                users.append_many([rng.randbytes(size) for _ in range(4)], keys=["ada", "bob", "cyd", "dan"])
        assert log.clean().record_count > 0
        assert len(list(users.read())) == 4
        users.append(rng.randbytes(size), key="ada")
        assert file_bytes(path) <= _BOUND
        assert log.verify().is_sound


@pytest.mark.parametrize("index", [None, "key"])
def test_small_batches_of_a_full_log_are_merged(tmp_path: Path, index: Any) -> None:
    """No key comes twice, so nothing goes: it is done in windows for which the log has room."""
    path = tmp_path / "log"
    options: dict[str, Any] = {"compaction": "key", "min_dirty_ratio": 0.0, "repack_after": 0.0}
    with eventlog.open(path, max_bytes=_BOUND, cleaner=False) as log:
        users = log.topic("users", key=str, index=index, **options)
        count = 0
        with suppress(eventlog.LogFull):
            while True:
                users.append(bytes(100), key=f"u{count}")
                count += 1
        report = log.clean()
        assert (report.failed, report.is_finished, report.record_count) == ((), True, 0)
        assert report.batch_count > count // 2
        assert log.stats().uncleaned == ()
        assert sum(1 for _ in users.read()) == count
        users.append(bytes(100), key="one more")
        assert file_bytes(path) <= _BOUND
        assert log.verify().is_sound


def test_a_topic_that_has_no_room_to_be_merged_is_named(tmp_path: Path) -> None:
    """An old reader keeps every page: the cleaner goes on to the next topic, and the log says which it left."""
    with eventlog.open(tmp_path / "log", max_bytes=1 << 20, cleaner=False) as log:
        users = log.topic("users", repack_after=0.0)
        with suppress(eventlog.LogFull):
            while True:
                users.append(bytes(100))
        end = users.bounds()[0][1]
        store: Any = log
        with store._store.environment.reading():
            report = log.clean()
            assert (report.failed, report.is_finished) == (("users",), True)
            assert log.stats().uncleaned == ("users",)
            assert sum(1 for _ in users.read()) == end
        users.delete_records({0: end // 2})
        assert log.clean().failed == log.stats().uncleaned == ()
        assert log.verify().is_sound
