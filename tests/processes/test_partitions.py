"""Partitions that another process adds: every process places its records by the new number."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

import eventlog
from tests.processes.child import Child, hear, say

KEY = next(key for key in map(str, range(100)) if zlib.crc32(key.encode()) % 2 != zlib.crc32(key.encode()) % 8)


def place_when_told(path: str, key: str) -> None:
    """Appends or sends one record for each line that it hears, and says its partition."""
    with eventlog.open(path) as log, log.producer() as producer:
        topic = log.topic("orders")
        say("ready")
        while (how := hear()) != "end":
            if how == "append":
                say(topic.append(b"", key=key).partition)
            elif how == "send":
                say(producer.send(topic, b"", key=key).result().partition)
            else:
                say(topic.append(b"", partition=int(how)).partition)


def create_partitions(path: str, total: int) -> None:
    """Adds partitions, and ends."""
    with eventlog.open(path) as log:
        log.topic("orders").create_partitions(total)
    say("done")


@pytest.mark.parametrize("how", ["append", "send"])
def test_a_key_goes_by_the_new_number_in_a_process_that_was_not_told(path: Path, how: str) -> None:
    """The first record that is begun after the call has returned elsewhere."""
    with eventlog.open(path) as log:
        log.topic("orders", partitions=2, key=str)
    with Child(place_when_told, str(path), KEY) as child:
        child.hear("ready")
        child.say(how)
        assert int(child.hear()) == zlib.crc32(KEY.encode()) % 2
        with Child(create_partitions, str(path), 8) as other:
            other.hear("done")
            assert other.end() == 0
        child.say(how)
        assert int(child.hear()) == zlib.crc32(KEY.encode()) % 8


def test_a_process_that_was_not_told_reaches_a_new_partition_by_its_number(path: Path) -> None:
    """It looks at what is stored before it refuses the number."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2, key=str)
        with Child(place_when_told, str(path), KEY) as child:
            child.hear("ready")
            orders.create_partitions(8)
            child.say("7")
            child.hear("7")
        assert orders.bounds()[7] == (0, 1)
