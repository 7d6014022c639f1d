"""The file grows when it has to, and only then."""

from __future__ import annotations

from pathlib import Path

import eventlog
from eventlog.store.lmdb.environment import _READER_CHECK_SECONDS
from tests.processes.child import Child
from tests.processes.space_scenes import append_bytes_when_told, read_all_when_told
from tests.processes.writers import hold_a_snapshot, store_of

_SMALL_MAP_BYTES = 1 << 20


def test_a_full_map_grows_and_the_append_succeeds(path: Path) -> None:
    """An append that does not fit the map is no error: the map is doubled as often as it takes."""
    with eventlog.open(path, map_size=_SMALL_MAP_BYTES) as log:
        topic = log.topic("orders")
        values = [b"%d" % number * 1000 for number in range(3000)]
        assert topic.append_many(values)[0].end == 3000
        assert [record.value for record in topic.read()] == values
        assert topic.append(b"more").offset == 3000
        assert log.verify().is_sound


def test_a_reader_and_a_writer_follow_when_another_process_grows_the_map(path: Path) -> None:
    """A map that outgrows what two other processes opened with stops neither of them."""
    arguments = (str(path), _SMALL_MAP_BYTES)
    with eventlog.open(path, map_size=_SMALL_MAP_BYTES) as log:
        log.topic("orders")
    with (
        eventlog.open(path, map_size=_SMALL_MAP_BYTES) as log,
        Child(append_bytes_when_told, *arguments) as grower,
        Child(append_bytes_when_told, *arguments) as writer,
        Child(read_all_when_told, *arguments) as reader,
    ):
        for child in (grower, writer, reader):
            child.hear("ready")
        total = 0
        for amount in (100_000, 3_000_000, 100_000, 12_000_000):
            for child in (grower, writer):
                total += amount // 10_000
                child.say(str(amount))
                child.hear(str(total))
                amount = 20_000
            reader.say()
            reader.hear(str(total))
            assert sum(1 for _ in log.topic("orders").read()) == total
        assert log.verify().is_sound


def _churn(log: eventlog.EventLog, times: int) -> int:
    """Appends a megabyte and deletes it, again and again; the size of the file."""
    topic = log.topic("orders")
    for _ in range(times):
        end = topic.append_many([b"x" * 10_000] * 100)[0].end
        topic.delete_records({0: end})
    return (log.path / "data.mdb").stat().st_size


def _clear_of_the_dead(log: eventlog.EventLog) -> None:
    """Has the next write look for readers that died, as it does every few seconds."""
    store_of(log).environment._next_reader_check = 0.0


def test_a_killed_reader_does_not_make_the_file_grow_for_ever(path: Path) -> None:
    """Space is not reused while a reader may look at it, and is again once a killed reader was found."""
    with eventlog.open(path) as log:
        at_rest = _churn(log, 10)
        with Child(hold_a_snapshot, str(path)) as reader:
            reader.hear("ready")
            pinned = _churn(log, 20)
            assert pinned > at_rest + 15_000_000
            reader.kill()
            _clear_of_the_dead(log)
            grown = _churn(log, 5)
            assert grown <= pinned + 5_000_000
            assert _churn(log, 30) == grown


def test_dead_readers_are_looked_for_every_few_seconds(path: Path) -> None:
    """Without anybody's help the check comes with a write, but not with every one."""
    with eventlog.open(path) as log:
        environment = store_of(log).environment
        log.topic("orders").append(b"tea")
        planned_s = environment._next_reader_check
        log.topic("orders").append(b"tea")
        assert environment._next_reader_check == planned_s
        assert 0 < planned_s - store_of(log).clock.monotonic() <= _READER_CHECK_SECONDS
