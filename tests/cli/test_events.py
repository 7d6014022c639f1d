"""The commands that look at events, states and projections, on a real log."""

from __future__ import annotations

import json
import re

import pytest

import eventlog


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """For tests that only look: a log of accounts with an index, a topic without one, two states and a projection."""
    path = tmp_path_factory.mktemp("bank") / "log"
    with eventlog.open(path) as log:
        accounts = log.topic("accounts", partitions=2, key=str, value="json", index="key")
        for number, name in enumerate(("alice", "bob", "alice", "alice")):
            accounts.append({"n": number}, key=name, partition=number % 2, timestamp_ms=number)
        log.topic("plain", value=str).append("\x1b[2J", timestamp_ms=4)
        log.topic("numbers", key=int, index="key").append(b"x", key=7)
        with log.transaction() as tx:
            tx.state("totals", key=tuple, value=int)["alice", 1] = 10
            tx.state("totals")["alice", 2] = 20
            tx.state("totals")["bob", 1] = 30
            tx.state("any")["a"] = b"\xff"
            tx.state("any")[b"ab"] = "text"
            tx.state("any")[5] = [1, {"b": b"c"}]
        counts = log.projection("counts", _count, topics=[accounts], key=str, value=int)
        counts.catch_up()
        accounts.append({"n": 4}, key="bob", timestamp_ms=5)
    return path


def _count(state, record):
    state[record.key] = state.get(record.key, 0) + 1


@pytest.mark.parametrize(
    ("options", "versions"),
    [
        ([], [1, 2, 3]),
        (["--reverse"], [3, 2, 1]),
        (["--start", "2"], [2, 3]),
        (["--end", "3"], [1, 2]),
        (["--reverse", "--start", "2", "--max", "1"], [3]),
        (["--start", "4"], []),
    ],
)
def test_history_prints_the_asked_versions(bank, options, versions, eventlog_command):
    """Of one key, wherever its records are."""
    code, out, err = eventlog_command("history", bank, "accounts", "alice", *options)
    assert (code, err) == (0, "")
    assert [int(line.split("\t")[0]) for line in out.splitlines()] == versions


def test_history_prints_version_place_time_and_value(bank, eventlog_command):
    """The key is the one that was asked for; in JSON it is there, with the position."""
    out = eventlog_command("history", bank, "accounts", "alice", "--start", "2", "--max", "1")[1]
    assert out == '2\t0:1\t1970-01-01T00:00:00.002Z\t{"n": 2}\n'
    out = eventlog_command("history", bank, "accounts", "bob", "--max", "1", "--json")[1]
    assert json.loads(out) == {
        "topic": "accounts",
        "partition": 1,
        "offset": 0,
        "timestamp_ms": 1,
        "key": "bob",
        "value": {"n": 1},
        "headers": [],
        "version": 1,
        "log_position": 1,
    }


def test_history_reads_the_key_as_the_topic_declares(bank, eventlog_command):
    """A number is one where keys are numbers."""
    assert eventlog_command("history", bank, "numbers", "7")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["nothing", "alice"], 4, "no topic 'nothing' in "),
        (["plain", "alice"], 5, "topic 'plain' has no index, (.*\n)+.* `eventlog topics create --index key`"),
        (["accounts", "carol"], 4, "topic 'accounts' has no record with the key 'carol'.\n  stored: Nothing was"),
        (["numbers", "x"], 2, r"'x' is not a key of topic 'numbers' \(key int\)\."),
    ],
)
def test_history_of_what_is_not_there_is_told(bank, arguments, code, error, eventlog_command):
    """No traceback, and no silence that looks like an empty history."""
    found, out, err = eventlog_command("history", bank, *arguments)
    assert (found, out) == (code, "")
    assert re.match(f"eventlog: {error}", err)


def test_order_prints_all_topics_in_the_order_of_their_storing(bank, eventlog_command):
    """Position, place, time, key and value; control characters are escaped."""
    code, out, err = eventlog_command("order", bank)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [str(number) for number in range(7)]
    assert lines[2] == '2\taccounts[0]:1\t1970-01-01T00:00:00.002Z\talice\t{"n": 2}'
    assert lines[4] == "4\tplain[0]:0\t1970-01-01T00:00:00.004Z\t-\t\\x1b[2J"


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        (["--start", "5"], [5, 6]),
        (["--start", "1", "--end", "3"], [1, 2]),
        (["--max", "2"], [0, 1]),
        (["--topic", "plain"], [4]),
        (["--topic", "plain", "--topic", "numbers"], [4, 5]),
        (["--start", "7"], []),
    ],
)
def test_order_prints_the_asked_part(bank, options, positions, eventlog_command):
    """Bounds and topics go together; JSON has the position beside the names of a record."""
    code, out, err = eventlog_command("order", bank, *options, "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line)["log_position"] for line in out.splitlines()] == positions


def test_order_beyond_the_end_is_an_error(bank, eventlog_command):
    """Whoever asks for it has read another log."""
    code, out, err = eventlog_command("order", bank, "--start", "99")
    assert (code, out) == (5, "")
    assert "log position 99 is out of range" in err


def test_states_counts_rows(bank, eventlog_command):
    """A line for each, by name; the state of a projection is the projection's."""
    code, out, err = eventlog_command("states", bank)
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [["state", "rows"], ["any", "3"], ["totals", "3"]]
    out = eventlog_command("states", bank, "--json")[1]
    assert [json.loads(line) for line in out.splitlines()][1] == {"state": "totals", "rows": 3}


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["totals"], ['["alice", 1]\t10', '["alice", 2]\t20', '["bob", 1]\t30']),
        (["totals", "--prefix", '["alice"]'], ['["alice", 1]\t10', '["alice", 2]\t20']),
        (["totals", "--reverse", "--max", "1"], ['["bob", 1]\t30']),
        (["any"], ["ab\ttext", "a\t\\xff", '5\t[1, {"b": "c"}]']),
        (["any", "--prefix", "a"], ["a\t\\xff"]),
        (["counts", "--projection"], ["alice\t3", "bob\t1"]),
        (["counts", "--projection", "--prefix", "b"], ["bob\t1"]),
    ],
)
def test_state_prints_rows_in_the_order_of_their_keys(bank, arguments, lines, eventlog_command):
    """Key and value; a prefix is text, or a list for keys that are tuples."""
    code, out, err = eventlog_command("state", bank, *arguments)
    assert (code, err) == (0, "")
    assert out.splitlines() == lines


def test_state_has_rows_for_programs(bank, eventlog_command):
    """One object a line; bytes that are no text are base64."""
    out = eventlog_command("state", bank, "any", "--prefix", "a", "--json")[1]
    assert json.loads(out) == {"key": "a", "value": {"base64": "/w=="}}


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["nothing"], 4, "no state 'nothing' in .*: it has any, totals.\n  stored: Nothing was changed.\n"),
        (["counts"], 4, "no state 'counts' in "),
        (["totals", "--projection"], 4, "no projection 'totals' in .*: it has counts.\n  stored: Nothing was changed"),
        (["totals", "--prefix", "alice"], 2, "no key of state 'totals' begins with 'alice': its keys are of an"),
        (["totals", "--prefix", "[" * 100_000], 2, r"no key of state 'totals' begins with '\[\[\["),
    ],
)
def test_state_of_what_is_not_there_is_told(bank, arguments, code, error, eventlog_command):
    """No traceback, no new state."""
    found, out, err = eventlog_command("state", bank, *arguments)
    assert (found, out) == (code, "")
    assert re.match(f"eventlog: {error}", err)
    with eventlog.open(bank) as log:
        assert log.states() == ["any", "totals"]


def test_projections_says_how_far_each_has_come(bank, eventlog_command):
    """Position and lag; nothing is folded by looking."""
    for _ in range(2):
        code, out, err = eventlog_command("projections", bank)
        assert (code, err) == (0, "")
        assert [line.split() for line in out.splitlines()] == [
            ["projection", "log_position", "lag"],
            ["counts", "6", "1"],
        ]
    assert json.loads(eventlog_command("projections", bank, "--json")[1]) == {
        "projection": "counts",
        "log_position": 6,
        "lag": 1,
    }
