"""Whether anything was committed is seen in the file: never too late, and not at all where the file is another."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventlog
from eventlog.store.lmdb.commit_number import CommitNumber
from eventlog.store.wakeup.notifier import Notifier

PATIENCE_SECONDS = 20.0

_APPEND = """
import sys
import eventlog

with eventlog.open(sys.argv[1]) as log:
    log.topic("orders").append(b"child")
"""


@pytest.fixture(params=["directory", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[eventlog.EventLog]:
    """A log with a topic, with and without a flush."""
    with eventlog.open(":memory:" if request.param == "memory" else tmp_path / "log") as log:
        log.topic("orders")
        yield log


def is_quiet(log: eventlog.EventLog, seen: int) -> bool:
    """Whether the file says that nothing was committed since."""
    page, place, word = log._store.environment.sign(seen)
    return page[place] == word


def test_a_commit_is_seen_and_nothing_else(log: eventlog.EventLog) -> None:
    """Whichever of the two pages has the turn; who saw an older one is told, however many came since."""
    environment, topic = log._store.environment, log.topic("orders")
    for _ in range(10):
        seen = environment.last_transaction()
        assert is_quiet(log, seen)
        list(topic.read())
        log.topic("orders")
        assert environment.last_transaction() == seen
        assert is_quiet(log, seen)
        topic.append(b"tea")
        assert environment.last_transaction() == seen + 1
        for older in range(-1, seen + 1):
            assert not is_quiet(log, older)


def test_a_commit_of_another_process_is_seen(tmp_path: Path) -> None:
    """It is the file that is looked at, not what this process did."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic("orders")
        seen = log._store.last_transaction()
        assert is_quiet(log, seen)
        subprocess.run([sys.executable, "-c", _APPEND, str(log.path)], check=True, timeout=60)
        assert not is_quiet(log, seen)
        assert is_quiet(log, log._store.last_transaction())


def test_a_file_that_is_another_says_nothing(tmp_path: Path) -> None:
    """Nor does one that is too short, or not there; then LMDB is asked."""
    data = tmp_path / "data.mdb"
    for content in (None, b"short", bytes(1 << 20), bytes(range(256)) * 4096):
        if content is not None:
            data.write_bytes(content)
        glimpse = CommitNumber(str(data), lambda: 7)
        for seen in range(-1, 10):
            page, place, word = glimpse.sign(seen)
            assert page[place] != word
        glimpse.close()


def test_commits_while_a_log_is_opened_do_not_spoil_the_view(log: eventlog.EventLog) -> None:
    """The last number is asked for again when it was another's turn meanwhile."""
    environment, topic = log._store.environment, log.topic("orders")
    numbers = [environment.last_transaction()]

    def last_transaction() -> int:
        if len(numbers) < 3:
            numbers.append(environment.last_transaction())
            topic.append(b"tea")
            topic.append(b"tea")
            return numbers[-1]
        return environment.last_transaction()

    glimpse = CommitNumber(str(Path(environment.path, "data.mdb")), last_transaction)
    page, place, word = glimpse.sign(environment.last_transaction())
    assert page[place] == word
    glimpse.close()


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen in the file", "asked for"])
def test_a_lost_bell_loses_no_record(log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch, is_seen: bool) -> None:
    """A reader that waits looks by itself."""
    topic = log.topic("orders")
    monkeypatch.setattr(Notifier, "look", lambda _: False)
    if not is_seen:
        monkeypatch.setattr(CommitNumber, "sign", lambda *_: (b"", slice(0), b"?"))
    with log.consumer("orders") as consumer:
        assert consumer.poll(timeout=0.01) == []
        thread = threading.Timer(0.05, topic.append, [b"tea"])
        thread.start()
        assert [record.value for record in consumer.poll(timeout=PATIENCE_SECONDS)] == [b"tea"]
        thread.join()


def test_who_waits_is_told_that_the_log_was_closed(log: eventlog.EventLog) -> None:
    """By whomever."""
    consumer = log.consumer("orders")
    assert consumer.poll(timeout=0.01) == []
    thread = threading.Timer(0.05, log._store.environment.close)
    thread.start()
    with pytest.raises(eventlog.LogClosed):
        consumer.poll(timeout=PATIENCE_SECONDS)
    thread.join()
