"""Copies of topics by processes that are killed: no record is missing, and none is there twice."""

from __future__ import annotations

import random
from pathlib import Path

import eventlog
from tests.processes import copy_scenes
from tests.processes.child import Child


def test_a_copy_that_was_killed_goes_on_where_it_stopped(path: Path, rng: random.Random) -> None:
    """Whenever it dies, and however often."""
    with eventlog.open(path) as log:
        texts = log.topic("texts", key=str, value=str, partitions=3)
        texts.append_many([str(number) for number in range(600)], keys=[f"key {number % 11}" for number in range(600)])
    for _ in range(6):
        with Child(copy_scenes.copies, str(path)) as child:
            for _ in range(rng.randrange(1, 12)):
                if child.hear() == "copied":
                    break
    with eventlog.open(path) as log:
        log.topic("texts", value=str)
        copy = log.copy_topic("texts", to="numbers", value=int, convert=copy_scenes.double)
        old = [(record.partition, record.key, 2 * int(record.value)) for record in log.topic("texts").read()]
        new = [(record.partition, record.key, record.value) for record in copy.topic.read()]
        assert new == old
        assert copy.records == 600
        assert [copy.offset(number, 10) for number in range(3)] == [10, 10, 10]
        assert log.verify().problems == ()
