"""Wrong arguments are a TypeError or ValueError in our words, at the call, and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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
        (lambda topic: topic.history(b"k", is_reversed=1), TypeError, "is_reversed must be True or False, not 1"),
        (lambda topic: topic.fold(b"k", max, b"", snapshot="no"), TypeError, "snapshot must be True or False"),
        (lambda topic: topic.redact(b"k", dry_run=0), TypeError, "dry_run must be True or False, not 0"),
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


@pytest.mark.parametrize("name", ["create", "cleaner", "upgrade", "read_only"])
@pytest.mark.parametrize("value", [1, 0, None, "no"])
def test_an_option_that_is_neither_true_nor_false(tmp_path: Path, name: str, value: Any) -> None:
    """`read_only=1` would be taken for True, and so would "no": nothing is opened."""
    options: Any = {name: value}
    with pytest.raises(TypeError, match=f"{name} must be True or False"):
        eventlog.open(tmp_path / "log", **options)
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("force", lambda log: log.groups.delete("g", force=1)),
        ("force", lambda log: log.groups.delete_offsets("g", "orders", force=1)),
        ("force", lambda log: log.groups.reset_offsets("g", to="earliest", topics=["orders"], force=1)),
        ("dry_run", lambda log: log.groups.reset_offsets("g", to="earliest", topics=["orders"], dry_run=1)),
        ("auto_commit", lambda log: log.consumer("orders", auto_commit=1)),
        ("incremental", lambda log: log.backup("backup", incremental=1)),
        ("is_reversed", lambda log: log.state("totals").items(is_reversed=1)),
        ("is_reversed", lambda log: log.state("totals").keys(is_reversed=1)),
        ("unknown_topics", lambda log: eventlog.repair(log.path, "new", unknown_topics=1)),
    ],
)
def test_an_option_of_a_call_that_is_neither_true_nor_false(
    log: eventlog.EventLog, name: str, use: Callable[[Any], object]
) -> None:
    """Whatever call has it."""
    topic = log.topic("orders")
    topic.append(b"tea")
    with log.transaction() as tx:
        tx.state("totals", key=str, value=int)["all"] = 1
    with log.consumer(topic, group="g") as consumer:
        consumer.poll()
        consumer.commit()
    with pytest.raises(TypeError, match=f"{name} "):
        use(log)
    assert log.groups.describe("g").offsets[0].committed == 1


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
