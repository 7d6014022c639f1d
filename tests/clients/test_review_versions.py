"""Versions of a key in a transaction, where the caller chooses its partitions."""

from __future__ import annotations

import eventlog


def test_versions_are_in_the_order_of_the_calls_whatever_the_partition(log: eventlog.EventLog) -> None:
    """Each record gets the version that it expected, and is read in that order."""
    topic = log.topic("events", key=str, value=int, partitions=3, index="key")
    partitions = [2, 0, 0, 1, 2, 0, 1, 1]
    with log.transaction() as tx:
        sent = []
        for version, partition in enumerate(partitions):
            sent.append(tx.send(topic, version + 1, key="a", partition=partition, expected_version=version))
            tx.send(topic, version + 1, key="b", partition=0)
    assert [delivery.result().version for delivery in sent] == list(range(1, 9))
    for key in ("a", "b"):
        assert [(event.version, event.value) for event in topic.history(key)] == [(n, n) for n in range(1, 9)]
    assert [event.partition for event in topic.history("a")] == partitions
    assert log.verify().problems == ()
    positions = [event.log_position for event in topic.history("a")]
    assert positions == sorted(positions)
