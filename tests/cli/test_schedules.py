"""The command `eventlog schedules` on a real log: list, describe, add, move, cancel, run."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from decimal import Decimal

import pytest

import eventlog


@dataclass(frozen=True)
class _Thing:
    name: str


@pytest.fixture
def schedules(path, eventlog_command):
    """Runs `eventlog schedules ACTION PATH ...` in this process, on a log with a topic: code, stdout, stderr."""
    with eventlog.open(path) as log:
        log.topic("mails", key=str, value=str)

    def run(action, *arguments):
        return eventlog_command("schedules", action, path, *arguments)

    return run


def test_a_record_is_added_listed_moved_and_cancelled(path, schedules, eventlog_command):
    """With the id that each line begins with; what is gone is an error of its own."""
    code, out, err = schedules("add", "mails", "hello", "--key", "k", "--delay", "3600", "-H", "a=1", "--json")
    assert (code, err) == (0, "")
    added = json.loads(out)
    assert (added["key"], added["value"], added["headers"], added["state"]) == ("k", "hello", [["a", "1"]], "waiting")
    assert schedules("add", "mails", "other", "--at", "2090-01-01T00:00:00Z", "--message-id", "m")[0] == 0
    assert schedules("add", "mails", "other", "--at", "2090-01-01T00:00:00Z", "--message-id", "m")[0] == 0
    lines = [line.split("\t") for line in schedules("list")[1].splitlines()]
    assert [line[2:] for line in lines] == [["mails", "k", "hello"], ["mails", "-", "other"]]
    assert lines[0][0] == added["id"]
    assert [
        json.loads(line)["value"] for line in schedules("list", "--json", "-t", "mails", "--key", "k")[1].splitlines()
    ] == ["hello"]
    assert schedules("list", "--end", "2000-01-01T00:00:00Z")[1] == schedules("list", "--failed")[1] == ""
    assert "2 waiting, the first at" in schedules("describe")[1]
    assert "later    2 waiting and 0 failed schedules" in eventlog_command("stats", path)[1]
    assert json.loads(eventlog_command("stats", path, "--json")[1])["schedules"]["waiting"] == 2
    assert json.loads(schedules("describe", "--json")[1])["waiting"] == 2
    assert "is due at 2080-01-01" in schedules("move", added["id"], "--at", "2080-01-01T00:00:00Z")[1]
    assert schedules("cancel", added["id"], lines[1][0])[:2] == (
        0,
        f"{added['id']} is cancelled\n{lines[1][0]} is cancelled\n",
    )
    code, _, err = schedules("cancel", added["id"])
    assert (code, "it was sent or cancelled" in err) == (4, True)
    assert schedules("move", added["id"], "--delay", "1")[0] == 4


def test_what_is_overdue_is_sent_once(path, schedules):
    """By `run --once`; the other commands leave it alone."""
    with eventlog.open(path, schedules=False) as log:
        schedule = log.topic("mails").schedule("hello", delay=3600.0)
        log._store._schedule_server.stop()
        assert log.schedules.move(schedule, at=0.0)
    assert "ago" in schedules("describe")[1]
    assert schedules("run", "--once")[1] == "1 record sent\n"
    assert json.loads(schedules("run", "--once", "--json")[1]) == {"sent": 0}


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "mails", "x"),
        ("add", "mails", "x", "--delay", "-1"),
        ("add", "mails", "x", "--at", "2030-01-01T00:00:00"),
        ("move", "nothing", "--delay", "1"),
        ("cancel", "nothing"),
        ("list", "--key", "k"),
        ("move", "0" * 32),
        ("add", "numbers", "x", "--delay", "1"),
        ("add", "decimals", "x", "--delay", "1"),
        ("add", "things", "{x}", "--delay", "1"),
        ("add", "things", '{"x": 1}', "--delay", "1"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(path, schedules, arguments):
    """With what is stored, and what to do."""
    with eventlog.open(path) as log:
        log.topic("numbers", value=int)
        log.topic("decimals", value=Decimal)
        log.topic("things", value=_Thing)
    code, out, err = schedules(*arguments)
    assert (code, out) == (2, "")
    assert re.search(r"\n  stored: (Nothing was|No record was) |^Error: .*(--at|--topic)", err, re.MULTILINE)
    assert "log." not in err


def test_the_server_ends_with_sigterm(path, schedules, start_eventlog):
    """And sends what is due meanwhile."""
    with start_eventlog("schedules", "run", path) as server:
        assert server.stdout.readline() == f"sending what is scheduled in {path}\n".encode()
        with eventlog.open(path) as log, log.consumer("mails") as consumer:
            log.topic("mails").schedule("hello", delay=0.0)
            assert [record.value for record in consumer.poll(timeout=30.0)] == ["hello"]
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
