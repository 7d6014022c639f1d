"""The choices of `eventlog tail` and `order`: where to begin and to stop, which records, and how they look."""

from __future__ import annotations

import json

import pytest

import eventlog

MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """For tests that only look: orders of the minutes 0 to 5, payments of the minutes 6 to 8."""
    path = tmp_path_factory.mktemp("tail") / "log"
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2, key=str, value="json")
        for number in range(6):
            name = "alice" if number < 3 else "bob"
            orders.append({"n": number}, key=name, partition=number % 2, timestamp_ms=number * MINUTE_MS)
        payments = log.topic("payments", key=int, value=str)
        for number in range(6, 9):
            payments.append(f"paid {number}", key=number, timestamp_ms=number * MINUTE_MS)
    return path


@pytest.fixture
def minutes(shop, eventlog_command):
    """Runs `tail` with --json, and gives the minutes of the records."""

    def run(*arguments: object) -> list[int]:
        code, out, err = eventlog_command("tail", shop, *arguments, "--json")
        assert (code, err) == (0, "")
        return [json.loads(line)["timestamp_ms"] // MINUTE_MS for line in out.splitlines()]

    return run


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["orders", "-n", "2"], [4, 5]),
        (["orders", "payments", "-n", "4"], [5, 6, 7, 8]),
        (["orders", "-n", "0"], []),
        (["orders", "-n", "99"], [0, 1, 2, 3, 4, 5]),
        (["orders", "-n", "1", "-p", "0"], [4]),
        (["orders", "-o", "-1"], [4, 5]),
        (["orders", "-o", "-1", "-p", "1"], [5]),
        (["orders", "-o", "-99"], [0, 2, 4, 1, 3, 5]),
        (["orders", "-o", "beginning", "--end", "-2"], [0, 1]),
        (["orders", "-o", "end"], []),
        (["orders", "--offset", "2"], [4, 5]),
        (["orders", "--start", "1", "--end", "2"], [2, 3]),
        (["orders", "--start", "1970-01-01T00:03Z"], [4, 3, 5]),
        (["orders", "--start", "s@180000", "--end", "1970-01-01T01:04+01:00"], [3]),
        (["orders", "payments", "--start", "1970-01-01T00:05Z"], [5, 6, 7, 8]),
        (["orders", "--key", "alice"], [0, 2, 1]),
        (["orders", "--key", "alice", "-n", "2"], []),
        (["payments", "--key", "7"], [7]),
        (["orders", "payments", "--grep", "paid"], [6, 7, 8]),
        (["orders", "--grep", "bob"], [4, 3, 5]),
        (["orders", "--grep", "bob", "-c", "2"], [4, 3]),
        (["orders", "orders", "-c", "7"], [0, 2, 4, 1, 3, 5]),
        (["orders", "-f", "-n", "2", "-c", "2"], [4, 5]),
        (["orders", "-f", "-o", "-1", "-c", "1", "-p", "1"], [5]),
    ],
)
def test_tail_prints_the_asked_records(minutes, arguments, found):
    """Topic by topic, partition by partition; the newest ones by their time."""
    assert minutes(*arguments) == found


def test_tail_of_several_topics_names_them(shop, eventlog_command):
    """A line of one topic has no need to."""
    out = eventlog_command("tail", shop, "orders", "payments", "-n", "2")[1]
    assert out.splitlines() == [
        "payments[0]:1\t1970-01-01T00:07:00.000Z\t7\tpaid 7",
        "payments[0]:2\t1970-01-01T00:08:00.000Z\t8\tpaid 8",
    ]


@pytest.mark.parametrize(("topic", "key"), [("payments", "alice"), ("payments", "")])
def test_a_key_that_the_topic_cannot_have_is_a_wrong_usage(shop, topic, key, eventlog_command):
    """Instead of an empty answer that looks like a key without records."""
    code, out, err = eventlog_command("tail", shop, topic, "--key", key)
    assert (code, out) == (2, "")
    assert err.startswith(f"eventlog: {key!r} is not a key of topic 'payments' (key int).")


def test_order_follows_the_whole_log(shop, eventlog_command):
    """From a position on, or from now; of some topics, if they are named."""
    out = eventlog_command("order", shop, "-f", "--start", "4", "-c", "3", "--json")[1]
    assert [json.loads(line)["log_position"] for line in out.splitlines()] == [4, 5, 6]
    out = eventlog_command("order", shop, "-f", "--topic", "payments", "-c", "1")[1]
    assert out == "6\tpayments[0]:0\t1970-01-01T00:06:00.000Z\t6\tpaid 6\n"
    assert eventlog_command("order", shop, "--start", "latest") == (0, "", "")
