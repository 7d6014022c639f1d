"""`eventlog stats` and `du`: the figures of `log.stats()`, for people and for programs."""

from __future__ import annotations

import json

import pytest

import eventlog


@pytest.fixture
def shop(path):
    """A log of two topics of different size, and an empty one."""
    with eventlog.open(path) as log:
        log.topic("large", partitions=2).append_many([b"x" * 1000] * 100)
        log.topic("small").append(b"tea")
        log.topic("empty")
    return path


def test_stats_has_a_line_for_each_topic_and_the_sums(shop, eventlog_command):
    """The same figures in JSON, with the names of the library."""
    code, out, err = eventlog_command("stats", shop)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:4] for line in lines[:4]] == [
        ["topic", "partitions", "records", "batches"],
        ["empty", "1", "0", "0"],
        ["large", "2", "100", "2"],
        ["small", "1", "1", "1"],
    ]
    assert lines[5] == "records  101 in 3 topics"
    assert lines[-1] == "readers  none is reading"
    fields = json.loads(eventlog_command("stats", shop, "--json")[1])
    assert fields["record_count"] == 101
    assert fields["file_bytes"] == fields["used_bytes"] + fields["free_bytes"]
    assert [topic["topic"] for topic in fields["topics"]] == ["empty", "large", "small"]
    with eventlog.open(shop) as log:
        assert log.stats().stored_bytes == fields["stored_bytes"]


def test_stats_tells_of_a_read_that_goes_on(shop, eventlog_command):
    """What keeps the space of deleted records."""
    with eventlog.open(shop) as log, log._store.environment.reading():
        log.topic("small").append(b"milk")
        assert "readers  1 is reading; the oldest began 1 commit ago" in eventlog_command("stats", shop)[1]


def test_du_begins_with_the_largest_and_adds_up(shop, eventlog_command):
    """Topics, the rest and what is free are the file."""
    code, out, err = eventlog_command("du", shop)
    assert (code, err) == (0, "")
    sizes = {name: int(size) for size, name in (line.split("\t") for line in out.splitlines())}
    assert list(sizes) == ["large", "small", "empty", "(other)", "(free)", "(file)"]
    assert sum(sizes.values()) == 2 * sizes["(file)"]
    assert sizes["large"] > 100_000
    assert eventlog_command("du", shop, "small")[1] == f"{sizes['small']}\tsmall\n"
    lines = eventlog_command("du", shop, "--json")[1].splitlines()
    assert json.loads(lines[0]) == {"topic": "large", "stored_bytes": sizes["large"]}
    assert json.loads(lines[-1])["file_bytes"] == sizes["(file)"]
    assert eventlog_command("du", shop, "none")[0] == 4


def test_stats_of_an_empty_log_has_no_table(path, eventlog_command):
    """There is a log, and nothing in it."""
    eventlog.open(path).close()
    assert eventlog_command("stats", path)[1].startswith("records  0 in 0 topics\n")
