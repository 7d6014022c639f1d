"""A topic with an index is read by key, however far apart the records of a key were appended."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import pytest

import eventlog
from tests.clients.helpers import values

Accounts = eventlog.Topic[str, Any]


@pytest.fixture
def accounts(log: eventlog.EventLog) -> Accounts:
    """A topic with an index and three partitions."""
    return log.topic("accounts", partitions=3, key=str, value="json", index="key")


def versions(events: Iterable[Any]) -> list[int]:
    """The versions of some events."""
    return [event.version for event in events]


# --- histories --------------------------------------------------------------------------------------------------------


def test_history_is_what_was_appended_to_one_key(accounts: Accounts) -> None:
    """With versions from 1, and without what lies between."""
    for number in range(5):
        accounts.append(number, key="alice", timestamp_ms=100 + number, headers={"n": str(number)})
        accounts.append(-number, key="bob")
    events = list(accounts.history("alice"))
    assert [(event.version, event.value, event.timestamp_ms) for event in events] == [
        (number + 1, number, 100 + number) for number in range(5)
    ]
    assert [event.headers for event in events] == [(("n", str(number).encode()),) for number in range(5)]
    assert [event.log_position for event in events] == [0, 2, 4, 6, 8]
    assert {(event.topic, event.key) for event in events} == {("accounts", "alice")}


def test_an_event_is_the_record_that_a_reader_gets(accounts: Accounts) -> None:
    """And the metadata of its append says where it is."""
    metas = [accounts.append(number, key="alice", headers={"a": b"1"}) for number in range(3)]
    records = {(record.partition, record.offset): record for record in accounts.read()}
    for event, meta in zip(accounts.history("alice"), metas, strict=True):
        record = records[event.partition, event.offset]
        assert (event.key, event.value, event.headers) == (record.key, record.value, record.headers)
        assert (event.partition, event.offset, event.timestamp_ms, event.log_position, event.version) == attrs.astuple(
            meta
        )[1:]
        assert event.time == record.time


@pytest.mark.parametrize("start", [1, 2, 50, 99, 100, 101])
def test_a_part_of_a_history_is_that_of_a_list(long_history: Accounts, start: int) -> None:
    """From any version to any other, in both directions, over rows of the index that hold a few each."""
    ends, counts = [None, 1, 2, 51, 100, 101, 1000], [None, 0, 1, 7, 1000]
    for end, max_records, is_reversed in itertools.product(ends, counts, [False, True]):
        expected = list(range(start, 101 if end is None else min(end, 101)))
        if is_reversed:
            expected.reverse()
        found = long_history.history("alice", start=start, end=end, is_reversed=is_reversed, max_records=max_records)
        assert [(event.version, event.value) for event in found] == [
            (version, [version] * 50) for version in expected[:max_records]
        ], (end, max_records, is_reversed)


@pytest.fixture(scope="module")
def long_history() -> Iterator[Accounts]:
    """A hundred records of one key among those of others; made once."""
    with eventlog.open(":memory:") as log:
        topic: Accounts = log.topic("accounts", partitions=3, key=str, value="json", index="key")
        for version in range(1, 101):
            topic.append([version] * 50, key="alice")
            topic.append([version] * 50, key="alicf" if version % 2 else "alic")
        yield topic


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_history_of_several_megabytes_comes_whole(accounts: Accounts, is_reversed: bool) -> None:
    """It is read in parts, each of them a short look at the log."""
    accounts.append_many(["x" * 900] * 4000, key="alice")
    assert versions(accounts.history("alice", is_reversed=is_reversed)) == (
        list(range(4000, 0, -1)) if is_reversed else list(range(1, 4001))
    )


def test_a_key_without_records_has_no_history(accounts: Accounts) -> None:
    """It is no error, since the first event of an entity is appended to such a one."""
    accounts.append(1, key="alice")
    assert list(accounts.history("bob")) == []
    assert accounts.latest("bob") is None
    assert accounts.version("bob") == 0
    assert accounts.snapshot("bob") is None
    assert accounts.fold("bob", lambda state, value: state + value, 7) == (7, 0)


def test_latest_is_the_last_record(accounts: Accounts) -> None:
    """Of a key, a tombstone included."""
    accounts.append_many([1, 2, 3], key="alice")
    latest = accounts.latest("alice")
    assert latest is not None
    assert (latest.value, latest.version) == (3, 3)
    accounts.append(None, key="alice")
    latest = accounts.latest("alice")
    assert latest is not None
    assert (latest.value, latest.version) == (None, 4)


def test_what_is_appended_while_a_history_is_read_does_no_harm(accounts: Accounts) -> None:
    """Nothing is kept open between records."""
    accounts.append_many(["x" * 900] * 3000, key="alice")
    found = []
    for event in accounts.history("alice"):
        found.append(event.version)
        if event.version in (1, 1500, 3000):
            accounts.append("y", key="alice")
    assert found[:3000] == list(range(1, 3001))
    assert found == list(range(1, len(found) + 1))


@pytest.mark.parametrize("size", [0, 1, 900, 1024, 1060, 1070, 5000, 200_000])
def test_values_of_any_size_come_back(log: eventlog.EventLog, size: int) -> None:
    """Large ones are read from their batch."""
    topic = log.topic("accounts", index="key")
    content = [bytes([number]) * size for number in range(5)]
    topic.append_many(content, key=b"alice")
    topic.append(content[0], key=b"alice", headers={"h": b"1", "g": None})
    assert [event.value for event in topic.history(b"alice")] == [*content, content[0]]
    assert [event.value for event in topic.history(b"alice", is_reversed=True)] == [content[0], *reversed(content)]
    assert [event.headers for event in topic.history(b"alice", start=5)] == [(), (("h", b"1"), ("g", None))]


def test_large_headers_come_back(log: eventlog.EventLog) -> None:
    """With a small value, or none."""
    topic = log.topic("accounts", index="key")
    headers = {"h": b"x" * 3000}
    topic.append(b"v", key=b"alice", headers=headers)
    topic.append(None, key=b"alice", headers=headers)
    assert [(event.value, event.headers) for event in topic.history(b"alice")] == [
        (b"v", (("h", b"x" * 3000),)),
        (None, (("h", b"x" * 3000),)),
    ]


def test_a_record_without_a_key_is_in_no_history(log: eventlog.EventLog) -> None:
    """And has no version."""
    topic = log.topic("accounts", index="key")
    assert topic.append(b"1").version is None
    assert topic.append(b"2", key=b"").version == 1
    assert [event.value for event in topic.history(b"")] == [b"2"]
    with pytest.raises(ValueError, match="None is no key"):
        topic.history(None)


def test_each_class_of_events_comes_back(log: eventlog.EventLog) -> None:
    """The history of an entity has several."""

    @attrs.frozen
    class Opened:
        owner: str

    @attrs.frozen
    class Paid:
        amount: int

    topic = log.topic("accounts", key=str, value=Opened | Paid, index="key")
    topic.append_many([Opened("alice"), Paid(5)], key="a")
    assert values(topic.history("a")) == [Opened("alice"), Paid(5)]


# --- keys -------------------------------------------------------------------------------------------------------------

KEYS = [b"", b"\0", b"\0\0", b"\0\xff", b"\1", b"a", b"a\0", b"a\0\0", b"a\0b", b"a\1", b"aa", b"ab", b"b", b"\xff" * 9]


def test_keys_that_begin_each_other_have_histories_of_their_own(log: eventlog.EventLog) -> None:
    """Zero bytes in them or not."""
    topic = log.topic("accounts", partitions=2, index="key")
    for round_number in range(3):
        for key in reversed(KEYS):
            topic.append(key + b"%d" % round_number, key=key)
    for key in KEYS:
        assert values(topic.history(key)) == [key + b"%d" % number for number in range(3)]
        assert topic.version(key) == 3
        latest = topic.latest(key)
        assert latest is not None
        assert latest.value == key + b"2"


def test_keys_come_in_the_order_of_their_bytes(log: eventlog.EventLog) -> None:
    """All of them once, or those with a prefix."""
    topic = log.topic("accounts", index="key")
    topic.append_many([b"v"] * 2 * len(KEYS), keys=[*reversed(KEYS), *KEYS])
    assert list(topic.keys()) == sorted(KEYS)
    for prefix in KEYS:
        assert list(topic.keys(prefix)) == [key for key in sorted(KEYS) if key.startswith(prefix)]


def test_thousands_of_keys_come_in_their_order(log: eventlog.EventLog) -> None:
    """And keys made meanwhile do no harm."""
    topic = log.topic("accounts", key=str, index="key")
    names = [f"user-{number:05}" for number in range(3500)]
    topic.append_many([b"v"] * len(names), keys=names)
    log.topic("others", key=str, index="key").append(b"v", key="user-")
    found = []
    for key in topic.keys("user-"):
        found.append(key)
        if not key.endswith("!"):
            topic.append(b"w", key=f"{key}!")
    assert [key for key in found if not key.endswith("!")] == names
    assert list(topic.keys("user-0000"))[:3] == ["user-00000", "user-00000!", "user-00001"]


def test_a_key_that_is_too_long_is_refused(log: eventlog.EventLog) -> None:
    """A zero byte counts as two; nothing is stored, and reading such a key finds nothing."""
    topic = log.topic("accounts", index="key")
    longest = [b"k" * 480, b"\0" * 240, b"\0" * 200 + b"k" * 80]
    topic.append_many([b"v"] * 3, keys=longest)
    with log.producer() as producer:
        for key in longest:
            producer.send(topic, b"v", key=key)
        for key in longest:
            for append in (
                lambda key=key: topic.append(b"v", key=key + b"k"),
                lambda key=key: topic.append_many([b"v", b"v"], keys=[b"a", key + b"k"]),
                lambda key=key: producer.send(topic, b"v", key=key + b"k"),
            ):
                with pytest.raises(eventlog.RecordTooLarge, match=r"480 bytes.*Nothing was stored"):
                    append()
    assert sorted(topic.keys()) == sorted(longest)
    assert [topic.version(key) for key in longest] == [2, 2, 2]
    assert topic.version(b"k" * 10_000) == 0
    assert topic.latest(b"\0" * 600) is None
    assert list(topic.history(b"k" * 481)) == []
    assert topic.bounds() == {0: (0, 6)}


def test_a_topic_without_an_index_has_no_histories(log: eventlog.EventLog) -> None:
    """It says so before anything is read or stored."""
    topic = log.topic("orders", key=str)
    for call in (
        lambda: topic.history("a"),
        lambda: topic.latest("a"),
        lambda: topic.version("a"),
        lambda: topic.keys(),
        lambda: topic.snapshot("a"),
        lambda: topic.save_snapshot("a", 1, version=1),
        lambda: topic.fold("a", lambda state, value: state, 0),
        lambda: topic.append(b"v", key="a", expected_version=0),
        lambda: topic.append_many([b"v"], key="a", expected_version=0),
    ):
        with pytest.raises(ValueError, match="without an index"):
            call()
    assert topic.bounds() == {0: (0, 0)}


@pytest.mark.parametrize(
    "options", [{"start": 0}, {"start": -1}, {"end": 0}, {"max_records": -1}, {"start": "1"}, {"end": 1.5}]
)
def test_bounds_that_can_not_be_are_refused(accounts: Accounts, options: dict[str, Any]) -> None:
    """At the call."""
    with pytest.raises((ValueError, TypeError)):
        accounts.history("a", **options)


def test_a_deleted_topic_has_no_histories(log: eventlog.EventLog, accounts: Accounts) -> None:
    """And one made anew begins with version 1."""
    accounts.append_many([1, 2], key="alice")
    accounts.save_snapshot("alice", 3, version=2)
    log.delete_topic("accounts")
    for call in (accounts.history, accounts.latest, accounts.version):
        with pytest.raises(eventlog.UnknownTopic):
            call("alice")
    with pytest.raises(eventlog.UnknownTopic):
        accounts.keys()
    anew = log.topic("accounts", key=str, value="json", index="key")
    assert anew.version("alice") == 0
    assert anew.snapshot("alice") is None
    assert anew.append(1, key="alice", expected_version=0).version == 1
    assert log.verify().problems == ()
