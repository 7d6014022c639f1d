"""The commands that change a log beyond appending: topics delete, trim, copy-topic; and groups watch."""

from __future__ import annotations

import json
import re

import pytest

import eventlog


@pytest.fixture
def shop(path):
    """A log of one topic of two partitions with five records each, and a group in it."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2, key=str, value=str)
        for number in range(10):
            orders.append(f'{{"n": {number}}}', key="k", partition=number % 2, timestamp_ms=number * 1000)
        log.groups.reset_offsets("billing", to=3, topics=["orders"])
    return path


def firsts(path):
    """The first offsets of the topic's partitions."""
    with eventlog.open(path, create=False) as log:
        return [first for first, _ in log.topic("orders").bounds().values()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--before", "2"], [2, 2]),
        (["--before", "-1"], [4, 4]),
        (["--before", "-9"], [0, 0]),
        (["--before", "latest"], [5, 5]),
        (["--before", "earliest"], [0, 0]),
        (["--before", "1970-01-01T00:00:05Z"], [3, 2]),
        (["--before", "2030-01-01T00:00:00Z"], [5, 5]),
        (["--before", "2", "-p", "1"], [0, 2]),
    ],
)
def test_trim_deletes_what_lies_before(shop, options, expected, eventlog_command):
    """A dry run prints the same and deletes nothing."""
    code, dry, err = eventlog_command("trim", shop, "orders", *options, "--dry-run")
    assert (code, err, firsts(shop)) == (0, "", [0, 0])
    code, out, err = eventlog_command("trim", shop, "orders", *options, "--yes")
    assert (code, err, firsts(shop)) == (0, "", expected)
    assert dry.splitlines()[:-1] == out.splitlines()[:-1]
    assert out.splitlines()[-1] == f"{sum(expected)} record{'s' * (sum(expected) != 1)} deleted"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["orders", "--before", "3"], 2, r"\n        0      0          3    5        3\n(.*\n)*.*needs a yes"),
        (["orders", "--before", "6", "--yes"], 5, "OffsetOutOfRange"),
        (["orders", "--before", "1", "-p", "2", "--yes"], 4, "UnknownPartition"),
        (["nothing", "--before", "1", "--yes"], 4, "no topic 'nothing'"),
        (["orders"], 2, "Missing option '--before'"),
    ],
)
def test_trim_refuses_what_cannot_be(shop, options, code, message, eventlog_command):
    """Nothing is deleted."""
    found, out, err = eventlog_command("trim", shop, *options)
    assert (found, out, firsts(shop)) == (code, "", [0, 0])
    assert re.search(message, err)


def test_trim_again_needs_no_yes(shop, eventlog_command):
    """There is nothing to delete."""
    eventlog_command("trim", shop, "orders", "--before", "2", "-y")
    code, out, _ = eventlog_command("trim", shop, "orders", "--before", "1", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[0]) == {"topic": "orders", "partition": 0, "before": 2, "first": 2, "end": 5}


def test_delete_shows_the_topics_and_their_groups(shop, eventlog_command):
    """First a look, then the deletion."""
    code, out, _ = eventlog_command("topics", "delete", shop, "orders", "--dry-run")
    assert code == 0
    assert [line.split() for line in out.splitlines()][1] == ["orders", "2", "10", "billing"]
    assert out.endswith("a dry run: nothing was deleted\n")
    code, out, _ = eventlog_command("topics", "delete", shop, "orders", "none", "--if-exists", "--yes", "--json")
    assert json.loads(out)["groups"] == ["billing"]
    with eventlog.open(shop) as log:
        assert (log.topics(), log.groups.list()) == ([], [])


def test_create_if_not_exists_leaves_a_topic_alone(shop, eventlog_command):
    """For scripts that run twice."""
    code, out, _ = eventlog_command("topics", "create", shop, "orders", "--partitions", "9", "--if-not-exists")
    assert (code, out) == (0, "orders: is there, 2 partitions, key str, value str\n")


def test_copy_topic_converts_values_and_carries_groups(shop, eventlog_command):
    """Texts become JSON; called again, it copies what came since."""
    command = ["copy-topic", shop, "orders", "parsed", "--value-codec", "json"]
    assert eventlog_command(*command) == (0, "orders -> parsed: 10 records\n", "")
    with eventlog.open(shop) as log:
        log.topic("orders").append('{"n": 10}', partition=0)
        assert sorted(record.value["n"] for record in log.topic("parsed").read()) == list(range(10))
    code, out, _ = eventlog_command(*command, "--carry-groups", "--json")
    assert code == 0
    assert json.loads(out)["groups"] == {
        "billing": [{"partition": 0, "offset": 3}, {"partition": 1, "offset": 3}],
    }
    back = eventlog_command("copy-topic", shop, "parsed", "texts", "--value-codec", "str")
    assert back == (0, "parsed -> texts: 11 records\n", "")
    with eventlog.open(shop) as log:
        assert next(log.topic("texts").read(1)).value == '{"n": 1}'


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none", "copy"], 4, "no topic 'none'"),
        (["orders", "orders"], 5, "to itself"),
        (["orders", "numbers", "--value-codec", "int"], 5, "orders"),
        (["orders", "other"], 5, "they have 2 and 1 partitions"),
    ],
)
def test_copy_topic_refuses_what_cannot_be(shop, arguments, code, message, eventlog_command):
    """The error says which record, or what differs."""
    with eventlog.open(shop) as log:
        log.topic("other", key=str, value=str)
    found, out, err = eventlog_command("copy-topic", shop, *arguments)
    assert (found, out) == (code, "")
    assert message in err


def test_watch_shows_groups_again_and_again(shop, eventlog_command):
    """A look after the other where there is no terminal; a group that is not there is left out."""
    code, out, err = eventlog_command("groups", "watch", shop, "-i", "0.1", "-c", "2")
    assert (code, err) == (0, "")
    assert len(re.findall(r"^billing +empty +0 +4$", out, re.MULTILINE)) == 2
    code, out, _ = eventlog_command("groups", "watch", shop, "billing", "none", "-c", "1", "--json")
    assert (code, json.loads(out)["name"]) == (0, "billing")
    assert "orders          1" in eventlog_command("groups", "watch", shop, "billing", "-c", "1")[1]
