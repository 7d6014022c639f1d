"""Wrong arguments are a TypeError or ValueError in our words, at the call, and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import eventlog
from eventlog.clients.transaction import attempts


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda topic: topic.history(b"k", start=2**64), ValueError, "start must be 1 to"),
        (lambda topic: topic.history(b"k", end=2**64, is_reversed=True), ValueError, "end must be 1 to"),
        (lambda topic: topic.keys(prefix=7), TypeError, "prefix is a str or bytes, not int"),
        (lambda topic: topic.keys(prefix=0), TypeError, "prefix is a str or bytes, not int"),
        (lambda topic: topic.delete_records([1]), TypeError, "offsets must be a mapping"),
        (lambda topic: topic.append(b"x", headers=5), TypeError, "headers must be a mapping or pairs, not 5"),
    ],
)
def test_of_a_topic(log: eventlog.EventLog, use: Callable[[Any], object], error: type[Exception], words: str) -> None:
    """Whatever is passed."""
    topic = log.topic("orders", index="key")
    topic.append(b"tea", key=b"k")
    with pytest.raises(error, match=words):
        use(topic)
    assert log.end_log_position() == 1


def test_a_prefix_that_has_no_utf_8_begins_no_key(log: eventlog.EventLog) -> None:
    """It is passed by like any other that is not there."""
    topic = log.topic("orders", index="key")
    topic.append(b"tea", key=b"k")
    assert list(topic.keys(prefix="\ud800")) == []


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda tx, consumer: tx.commit_offsets(consumer, [1]), "offsets must be a mapping"),
        (lambda tx, consumer: consumer.commit([1]), "offsets must be a mapping"),
    ],
)
def test_of_a_transaction(log: eventlog.EventLog, use: Callable[[Any, Any], object], words: str) -> None:
    """And the transaction can be committed."""
    topic = log.topic("orders")
    with log.consumer(topic, group="g") as consumer, log.transaction() as tx:
        with pytest.raises(TypeError, match=words):
            use(tx, consumer)
        tx.send(topic, b"tea")
    assert log.end_log_position() == 1


def test_an_index_that_can_not_be_is_named(log: eventlog.EventLog) -> None:
    """Also one that no set takes."""
    wrong: Any = ["key"]
    with pytest.raises(ValueError, match="index is"):
        log.topic("orders", index=wrong)
    assert log.topics() == []


def test_thousands_of_attempts_wait_no_longer_than_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause before an attempt is bounded, whatever its number."""
    pauses: list[float] = []
    monkeypatch.setattr(attempts.time, "sleep", pauses.append)
    for attempt in (1, 10, 2000, 10**6):
        attempts.wait_a_little(attempt)
    assert len(pauses) == 4
    assert max(pauses) <= 0.1
