"""What belongs to its process is neither copied nor pickled, and says where to open it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import eventlog
from eventlog import EventLog
from eventlog.api.features import Handle


def _handles(log: EventLog) -> Iterator[tuple[str, Any]]:
    topic = log.topic("orders", value=int)
    topic.append(1)
    producer, transaction = log.producer(), log.transaction()
    state = log.transaction().state("totals")
    projection = log.projection("sums", lambda state, record: None, topics=[topic])
    yield from {
        "EventLog": log,
        "Topic": topic,
        "Producer": producer,
        "Delivery": producer.send(topic, 2),
        "Consumer": log.consumer(topic, group="billing"),
        "Follower": log.follow(),
        "Transaction": transaction,
        "Groups": log.groups,
        "Queues": log.queues,
        "Schedules": log.schedules,
        "Queue": log.queue(topic, group="jobs"),
        "Processor": log.processor(topic, function=lambda transaction, record: None, group="work"),
        "Responder": log.responder(topic, function=lambda transaction, record: None, group="ask"),
        "Projection": projection,
        "State": state,
        "StateView": projection.state,
    }.items()


def test_a_handle_is_neither_copied_nor_pickled(log: EventLog) -> None:
    """A copy would share half of the handle, and a pickle fails on a lock deep inside."""
    seen = set()
    for name, handle in _handles(log):
        seen.add(name)
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(
                TypeError, match=r"cannot copy or pickle this \w+:.*open it in the process that uses it"
            ):
                act(handle)
    public = {name for name in eventlog.__all__ if name[0].isupper()}
    classes = {name for name in public if isinstance(one := getattr(eventlog, name), type) and issubclass(one, Handle)}
    assert seen == classes, "a public handle that nobody tried to copy"


def test_values_are_copied_and_pickled(log: EventLog) -> None:
    """Records, metadata, descriptions."""
    topic = log.topic("orders", value=int)
    meta = topic.append(1)
    for value in (meta, next(topic.read()), log.topics(), topic.bounds(), log.verify(), log.stats()):
        assert copy.deepcopy(value) == value
        assert pickle.loads(pickle.dumps(value)) == value
