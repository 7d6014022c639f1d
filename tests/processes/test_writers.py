"""Several processes write one log: all of them get on, whatever happens to one."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from pathlib import Path

import eventlog
from tests.processes.child import Child
from tests.processes.writers import append_for_ever, append_so_many, append_when_told, hold_the_write_lock


def _numbers_by_writer(log: eventlog.EventLog) -> dict[str, list[int]]:
    numbers = defaultdict(list)
    for record in log.topic("orders").read():
        writer, number = record.value.split()
        numbers[writer.decode()].append(int(number))
    return dict(numbers)


def test_two_processes_write_and_a_third_reads_every_record_once(path: Path) -> None:
    """All records of both writers are there once, those of one writer in its order, and a reader saw them so."""
    with eventlog.open(path) as log, log.consumer(log.topic("orders")) as consumer:
        with Child(append_so_many, str(path), "a", 200) as a, Child(append_so_many, str(path), "b", 200) as b:
            for child in (a, b):
                child.hear("ready")
            for child in (a, b):
                child.say()
            seen: list[bytes] = []
            while len(seen) < 400:
                records = consumer.poll(timeout=10.0)
                assert records, "nothing came for 10 s"
                seen += [record.value for record in records]
            for child in (a, b):
                child.hear("done")
        assert _numbers_by_writer(log) == {"a": list(range(200)), "b": list(range(200))}
        assert seen == [record.value for record in log.topic("orders").read()]


def test_a_killed_writer_leaves_the_lock_to_others(path: Path) -> None:
    """The write lock of a process that was killed inside a transaction goes to the next one at once."""
    with eventlog.open(path) as log, Child(hold_the_write_lock, str(path)) as child:
        child.hear("ready")
        child.kill()
        assert log.topic("orders").append(b"tea").offset == 0


def test_a_killed_process_that_waited_to_write_strands_no_other(path: Path) -> None:
    """A wake-up that goes to a stopped process, which is then killed, is not lost for those behind it."""
    arguments = (str(path),)
    with eventlog.open(path) as log:
        log.topic("orders")
    with Child(append_when_told, *arguments, "first") as first:
        first.hear("ready")
        with Child(hold_the_write_lock, *arguments) as holder:
            holder.hear("ready")
            first.say()
            assert first.is_silent(0.2)  # by now it waits for the lock
            with Child(append_for_ever, *arguments, "second") as second:
                assert second.is_silent(0.5)
                first.send(signal.SIGSTOP)
                os.waitid(os.P_PID, first.process_id, os.WSTOPPED | os.WNOWAIT)  # else it may stop with the lock
                holder.say()
                holder.hear("done")
                second.hear("ready", seconds=10.0)
                first.kill()
