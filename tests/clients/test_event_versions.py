"""Versions of keys are expected, given once and never again; snapshots stand for the records up to one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest

import eventlog
from tests.clients.helpers import in_threads, values

Accounts = eventlog.Topic[str, Any]


@pytest.fixture
def accounts(log: eventlog.EventLog) -> Accounts:
    """A topic with an index and three partitions."""
    return log.topic("accounts", partitions=3, key=str, value="json", index="key")


def versions(events: Iterable[Any]) -> list[int]:
    """The versions of some events."""
    return [event.version for event in events]


# --- versions ---------------------------------------------------------------------------------------------------------


def test_expected_versions_are_judged(accounts: Accounts) -> None:
    """Nothing is stored when the key is elsewhere; the error has both versions."""
    assert accounts.append(1, key="alice", expected_version=0).version == 1
    for expected in (0, 2, 5):
        with pytest.raises(eventlog.WrongVersion, match="at version 1") as caught:
            accounts.append(2, key="alice", expected_version=expected)
        assert (caught.value.expected, caught.value.actual) == (expected, 1)
    assert accounts.append(2, key="alice", expected_version=1).version == 2
    assert values(accounts.history("alice")) == [1, 2]


def test_an_expected_version_of_columns_is_that_before_the_first(accounts: Accounts) -> None:
    """All of them are stored, or none."""
    [stored] = accounts.append_many([1, 2, 3], key="alice", expected_version=0)
    assert stored.end - stored.first == 3
    with pytest.raises(eventlog.WrongVersion):
        accounts.append_many([4, 5], key="alice", expected_version=2)
    accounts.append_many([4, 5], key="alice", expected_version=3)
    assert values(accounts.history("alice")) == [1, 2, 3, 4, 5]
    assert versions(accounts.history("alice")) == [1, 2, 3, 4, 5]


def test_an_expected_version_needs_one_key(accounts: Accounts) -> None:
    """It is that of an entity."""
    for append in (
        lambda: accounts.append(1, expected_version=0),
        lambda: accounts.append_many([1], expected_version=0),
        lambda: accounts.append_many([1], keys=["a"], expected_version=0),
    ):
        with pytest.raises(ValueError, match=r"expected_version.*Nothing was stored"):
            append()
    with pytest.raises(ValueError, match="key="):
        accounts.append_many([1], keys=["a"], key="a")
    for version in (-1, 1.0, "1", True):
        with pytest.raises((ValueError, TypeError)):
            accounts.append(1, key="a", expected_version=version)  # type: ignore[arg-type]
    assert sum(end for _, end in accounts.bounds().values()) == 0


@pytest.mark.parametrize("is_on_disk", [False, True])
def test_exactly_one_thread_wins_each_version(tmp_path: Path, is_on_disk: bool) -> None:
    """However many append with the same expectation at once."""
    threads, rounds = 8, 25
    with eventlog.open(tmp_path / "log" if is_on_disk else ":memory:") as log:
        topic = log.topic("accounts", partitions=2, key=str, value="json", index="key")

        def append(thread: int) -> Callable[[], list[int]]:
            def run() -> list[int]:
                won = []
                while (version := topic.version("alice")) < rounds:
                    try:
                        meta = topic.append([thread, version], key="alice", expected_version=version)
                    except eventlog.WrongVersion:
                        continue
                    assert meta.version == version + 1
                    won.append(version)
                return won

            return run

        won = in_threads(*[append(thread) for thread in range(threads)])
        assert sorted(version for one in won for version in one) == list(range(rounds))
        history = list(topic.history("alice"))
        assert versions(history) == list(range(1, rounds + 1))
        for event in history:
            thread, version = event.value
            assert version in won[thread]
            assert version == event.version - 1
        assert log.verify().problems == ()


def test_threads_that_expect_nothing_get_a_version_each(disk_log: eventlog.EventLog) -> None:
    """Single records and columns, to one key and to others, in several partitions, and each is told its own."""
    topic = disk_log.topic("accounts", partitions=3, key=str, value="json", index="key")

    def append(thread: int) -> Callable[[], list[tuple[int, Any]]]:
        def run() -> list[tuple[int, Any]]:
            told = []
            for number in range(20):
                value = [thread, number]
                meta = topic.append(value, key="alice", partition=(thread + number) % 3)
                assert meta.version is not None
                told.append((meta.version, value))
                topic.append_many([value, value], keys=["bob", f"own-{thread}"], partition=number % 3)
            return told

        return run

    told = dict(pair for one in in_threads(*[append(thread) for thread in range(6)]) for pair in one)
    assert {event.version: event.value for event in topic.history("alice")} == told
    assert sorted(told) == list(range(1, 121))
    positions = [event.log_position for event in topic.history("alice")]
    assert positions == sorted(positions)
    assert topic.version("bob") == 120
    assert all(topic.version(f"own-{thread}") == 20 for thread in range(6))
    assert disk_log.verify().problems == ()


def test_producers_are_told_versions(log: eventlog.EventLog, accounts: Accounts) -> None:
    """Once their records are stored."""
    with log.producer() as producer:
        deliveries = [producer.send(accounts, number, key="ab"[number % 2]) for number in range(10)]
    assert [delivery.result().version for delivery in deliveries] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert values(accounts.history("a")) == [0, 2, 4, 6, 8]


def test_versions_go_on_where_another_opening_stopped(path: Path) -> None:
    """They are in the log."""
    for number in range(1, 4):
        with eventlog.open(path) as log:
            topic = log.topic("accounts", key=str, index="key")
            assert topic.version("alice") == number - 1
            assert topic.append(b"v", key="alice", expected_version=number - 1).version == number


# --- deletions --------------------------------------------------------------------------------------------------------


def test_deleted_records_are_in_no_history(accounts: Accounts) -> None:
    """The others keep their versions."""
    accounts.append_many(list(range(10)), key="alice", partition=0)
    accounts.append_many(["x" * 5000] * 3, key="alice", partition=1)
    accounts.append_many(list(range(10, 15)), key="alice", partition=0)
    accounts.delete_records({0: 4})
    assert versions(accounts.history("alice")) == list(range(5, 19))
    accounts.delete_records({1: 2})
    assert versions(accounts.history("alice")) == [*range(5, 11), 13, *range(14, 19)]
    assert versions(accounts.history("alice", is_reversed=True, max_records=7)) == [18, 17, 16, 15, 14, 13, 10]
    assert versions(accounts.history("alice", start=10, end=15)) == [10, 13, 14]
    assert accounts.version("alice") == 18


def test_versions_are_not_used_again_when_all_records_are_deleted(log: eventlog.EventLog, accounts: Accounts) -> None:
    """Again and again."""
    for number in range(1, 6):
        meta = accounts.append(number, key="alice", expected_version=number - 1)
        assert meta.version == number
        accounts.delete_records({meta.partition: meta.offset + 1})
        assert list(accounts.history("alice")) == []
        assert accounts.latest("alice") is None
        assert accounts.version("alice") == number
        assert list(accounts.keys()) == ["alice"]
    with pytest.raises(eventlog.WrongVersion):
        accounts.append(0, key="alice", expected_version=0)
    assert log.verify().problems == ()


def test_latest_passes_by_what_was_deleted(accounts: Accounts) -> None:
    """When the last record of a key was in another partition."""
    accounts.append("kept", key="alice", partition=0)
    accounts.append_many(["gone"] * 100, key="alice", partition=1)
    accounts.delete_records({1: 100})
    latest = accounts.latest("alice")
    assert latest is not None
    assert (latest.value, latest.version) == ("kept", 1)
    assert accounts.version("alice") == 101
    assert accounts.append("next", key="alice", partition=2, expected_version=101).version == 102


def test_a_log_with_deletions_is_sound_and_opens_again(path: Path) -> None:
    """Records of many keys, deleted bit by bit, with new ones between."""
    with eventlog.open(path) as log:
        topic = log.topic("accounts", partitions=2, key=int, value=int, index="key")
        expected: dict[int, list[tuple[int, int]]] = {key: [] for key in range(7)}
        for number in range(60):
            key, partition = number * number % 7, number % 2
            meta = topic.append(number, key=key, partition=partition)
            assert meta.version is not None
            expected[key].append((meta.version, number))
            if number % 9 == 8:
                first = topic.bounds()[partition][1] - 3
                topic.delete_records({partition: first})
                kept = {record.value for record in topic.read()}
                expected = {key: [one for one in some if one[1] in kept] for key, some in expected.items()}
        assert log.verify().problems == ()
    with eventlog.open(path) as log:
        topic = log.topic("accounts")
        for key, some in expected.items():
            assert [(event.version, event.value) for event in topic.history(key)] == some


# --- snapshots and folding --------------------------------------------------------------------------------------------


def test_folding_begins_with_the_snapshot(accounts: Accounts) -> None:
    """And what comes out is the same, with it or without."""
    accounts.append_many([5, -3, 9], key="alice")
    folded: list[int] = []

    def add(state: int, value: int) -> int:
        folded.append(value)
        return state + value

    assert accounts.fold("alice", add, 0) == (11, 3)
    accounts.save_snapshot("alice", 2, version=2)
    folded.clear()
    assert accounts.fold("alice", add, 0) == (11, 3)
    assert folded == [9]
    accounts.save_snapshot("alice", 11, version=3)
    folded.clear()
    assert accounts.fold("alice", add, 0) == (11, 3)
    assert folded == []


def test_folding_goes_on_where_records_were_deleted_below_the_snapshot(accounts: Accounts) -> None:
    """That is what a snapshot is for."""
    accounts.append_many([5, -3, 9], key="alice", partition=0)
    accounts.save_snapshot("alice", 2, version=2)
    accounts.delete_records({0: 2})
    assert accounts.fold("alice", lambda state, value: state + value, 0) == (11, 3)
    accounts.delete_records({0: 3})
    accounts.save_snapshot("alice", 11, version=3)
    assert accounts.fold("alice", lambda state, value: state + value, 0) == (11, 3)


def test_a_snapshot_says_when_and_of_which_version(accounts: Accounts) -> None:
    """A later one replaces it, an earlier one changes nothing."""
    accounts.append_many([1, 2, 3], key="alice")
    accounts.save_snapshot("alice", {"n": 2}, version=2)
    snapshot = accounts.snapshot("alice")
    assert snapshot is not None
    assert (snapshot.state, snapshot.version) == ({"n": 2}, 2)
    assert snapshot.timestamp_ms > 1_700_000_000_000
    accounts.save_snapshot("alice", {"n": 1}, version=1)
    assert accounts.snapshot("alice") == snapshot
    accounts.save_snapshot("alice", {"n": 22}, version=2)
    accounts.save_snapshot("alice", {"n": 3}, version=3)
    snapshot = accounts.snapshot("alice")
    assert snapshot is not None
    assert (snapshot.state, snapshot.version) == ({"n": 3}, 3)


def test_a_snapshot_of_a_version_that_is_not_there_is_refused(accounts: Accounts) -> None:
    """It would hide records that are to come."""
    accounts.append(1, key="alice")
    for key, version in (("alice", 2), ("bob", 1)):
        with pytest.raises(eventlog.WrongVersion, match="Nothing was stored") as caught:
            accounts.save_snapshot(key, 1, version=version)
        assert (caught.value.expected, caught.value.actual) == (version, version - 1)
        assert accounts.snapshot(key) is None
    for state, version in ((None, 1), (object(), 1), (1, 0)):
        with pytest.raises((TypeError, ValueError)):
            accounts.save_snapshot("alice", state, version=version)
    assert accounts.snapshot("alice") is None


def test_snapshots_have_the_codec_of_the_topic(path: Path) -> None:
    """Which is stored with it."""

    @attrs.frozen
    class Balance:
        amount: int

    with eventlog.open(path) as log:
        topic = log.topic("accounts", key=str, index="key", snapshot=Balance)
        topic.append(b"v", key="alice")
        topic.save_snapshot("alice", Balance(7), version=1)
        with pytest.raises(TypeError):
            topic.save_snapshot("alice", {"amount": 7}, version=1)
    with eventlog.open(path) as log:
        snapshot = log.topic("accounts", snapshot=Balance).snapshot("alice")
        assert snapshot is not None
        assert snapshot.state == Balance(7)
        with pytest.raises(eventlog.TopicMismatch):
            log.topic("accounts", snapshot="json")


def test_an_error_of_the_folder_is_the_callers(accounts: Accounts) -> None:
    """And changes nothing."""
    accounts.append_many([1, 0], key="alice")
    with pytest.raises(ZeroDivisionError):
        accounts.fold("alice", lambda state, value: state // value, 8)
    assert accounts.fold("alice", lambda state, value: state + value, 8) == (9, 2)


def test_fold_knows_the_version_of_deleted_records(log: eventlog.EventLog) -> None:
    """What is left makes the state; the version is the key's, so that the next append is the next."""
    topic = log.topic("events", key=str, value=int, index="key")
    topic.append_many([1, 2, 4], key="a")
    topic.save_snapshot("a", 3, version=2)
    topic.delete_records({0: 3})
    assert topic.fold("a", lambda state, value: state + value, 0) == (3, 3)
    assert topic.append(8, key="a", expected_version=3).version == 4
    assert topic.fold("a", lambda state, value: state + value, 0) == (11, 4)
    assert topic.fold("b", lambda state, value: state + value, 0) == (0, 0)
