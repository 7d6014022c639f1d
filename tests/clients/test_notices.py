"""Python's log: one line for each event that matters, with the fields that the reference lists."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import eventlog
from eventlog import notices, testing
from eventlog.notices import Notice
from eventlog.store.lmdb import environment
from tests.clients.members import settle

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "eventlog"
ALL = {name: value for name, value in vars(notices).items() if isinstance(value, Notice)}


@pytest.fixture
def told(caplog):
    """The events that were told since, with their fields."""
    caplog.set_level(logging.INFO, "eventlog")

    def take():
        lines = [(record.event, record) for record in caplog.records if record.name.startswith("eventlog.")]
        caplog.clear()
        return lines

    return take


def events(told):
    """The names of the events that were told since."""
    return [event for event, _ in told()]


# -- the table -----------------------------------------------------------------------------------------------------


def fields_of(notice):
    """The fields that a notice says it has."""
    return {*re.findall(r"%\((\w+)\)", notice.text), *notice.others}


def test_the_table_is_what_the_code_says():
    """Event, logger, level and fields of each line, and no line but these."""
    page = (ROOT / "docs" / "reference" / "log-lines.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:3] == "| `"]
    stated = {row[0].strip("`"): (row[1].strip("`"), row[2], set(re.findall(r"`(\w+)`", row[3]))) for row in rows}
    assert stated == {one.event: (one.logger, logging.getLevelName(one.level), fields_of(one)) for one in ALL.values()}


def told_in_source():
    """Every call that tells a line: the name of the notice and the fields it is given."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0]
            if name in ("tell", "partial") and isinstance(first, ast.Name):
                notice = first if name == "tell" else node.args[-1]
                if isinstance(notice, ast.Name) and notice.id in ALL:
                    yield notice.id, {one.arg for one in node.keywords}
            elif name in ("_tell", "append") and isinstance(first, (ast.Constant, ast.Tuple)):
                text = first if isinstance(first, ast.Constant) else first.elts[0]
                if isinstance(text, ast.Constant) and text.value in ALL:
                    yield text.value, {one.arg for one in node.keywords}


def test_every_line_is_told_somewhere_with_its_fields():
    """A call that leaves a field out would fail when the line is written."""
    found = list(told_in_source())
    # two are chosen by a condition
    assert {name for name, _ in found} | {"DISK_FULL", "DISK_ERROR"} == set(ALL)
    for name, given in found:
        if given and None not in given:
            assert given - {"exc_info"} == fields_of(ALL[name]), name


def test_no_field_is_one_that_a_line_has_anyway():
    """`extra=` refuses those."""
    taken = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event"}
    for notice in ALL.values():
        assert not fields_of(notice) & taken


# -- what is told --------------------------------------------------------------------------------------------------


def test_opening_is_told_once_and_an_upgrade_with_it(path, told):
    """With the path, the durability and the format."""
    with eventlog.open(path), eventlog.open(path):
        pass
    [(event, record)] = told()
    assert (event, record.name, record.levelname) == ("opened", "eventlog.log", "INFO")
    assert (record.path, record.durability, record.format) == (str(path), "commit", 4)
    assert record.getMessage() == f"opened the log at {path}: durability commit, format 4"


def test_a_group_tells_what_becomes_of_its_members(event_log, event_log_clock, told):
    """Joined, assigned, revoked, left, removed, lost: each once, and nothing while nothing happens."""
    orders = event_log.topic("orders", partitions=2)
    told()
    one = event_log.consumer(orders, group="g")
    settle(one)
    assert events(told) == ["joined", "assigned"]
    two = event_log.consumer(orders, group="g")
    settle(one, two)
    lines = told()
    assert [event for event, _ in lines] == ["joined", "revoked", "assigned"]
    assert (lines[1][1].group, lines[1][1].count, lines[1][1].partitions) == ("g", 1, ["orders[1]"])
    settle(one, two)
    assert events(told) == []
    two.close()
    settle(one)
    assert events(told) == ["left", "assigned"]
    event_log_clock.advance(301.0)
    three = event_log.consumer(orders, group="g")
    settle(three)
    told()
    one.poll()
    assert events(told) == ["fenced", "silent", "joined", "lost"]
    one.close()
    three.close()


def test_a_dead_member_is_told_by_the_one_that_removes_it(event_log, told):
    """By its id."""
    orders = event_log.topic("orders")
    with event_log.consumer(orders, group="g") as ours:
        member = testing.Member(event_log, orders, group="g")
        settle(ours)
        member.die()
        told()
        while event_log.groups.describe("g").members[1:]:
            ours.poll(timeout=0.1)
        [(event, record)] = [line for line in told() if line[0] == "removed"]
        assert (event, record.count, record.levelname, record.group) == ("removed", 1, "WARNING", "g")


def test_an_automatic_commit_that_is_fenced_is_told(event_log, event_log_clock, told):
    """Nobody gets its error."""
    orders = event_log.topic("orders")
    orders.append(b"tea")
    consumer = event_log.consumer(orders, group="g", auto_commit_interval=5.0)
    assert consumer.poll()
    event_log.groups.reset_offsets("g", to="earliest", force=True)
    event_log_clock.advance(6.0)
    told()
    consumer.poll()
    [(_, record)] = [line for line in told() if line[0] == "fenced"]
    assert record.group == "g"
    assert "cannot commit offset 1 of orders[0] for group 'g'" in record.getMessage()
    consumer.close()


def test_a_processor_tells_retries_and_dead_letters(event_log, told):
    """With the place of the record and the error."""
    orders = event_log.topic("orders", value=str)
    orders.append("bad")

    def fail(tx, record):
        raise RuntimeError("no")

    letters = []
    processor = event_log.processor(
        orders,
        function=fail,
        group="g",
        attempts=2,
        retry_pause=0.01,
        on_failure=lambda tx, record, error: letters.append(record.value),
    )
    told()
    with processor:
        processor.run_to_end(timeout=20.0)
    lines = [line for line in told() if line[0] in ("retry", "dead letter")]
    assert [event for event, _ in lines] == ["retry", "dead letter"]
    retry, letter = (record for _, record in lines)
    assert (retry.topic, retry.partition, retry.offset, retry.attempt, retry.attempts) == ("orders", 0, 0, 1, 2)
    assert (letter.error, letter.levelname, letters) == ("RuntimeError('no')", "ERROR", ["bad"])


def test_the_disk_tells_what_fails_and_what_is_slow(event_log, told, monkeypatch):
    """After the turn is given up: a handler may use the log."""
    orders = event_log.topic("orders")
    told()
    with testing.full_disk(event_log), pytest.raises(eventlog.DiskFull):
        orders.append(b"tea")
    assert "disk full" in events(told)
    monkeypatch.setattr(environment, "SLOW_SECONDS", 0.01)
    with testing.slow_disk(event_log, 0.02):
        orders.append(b"tea")
    [(event, record)] = told()
    assert (event, record.path) == ("slow commit", str(event_log.path))
    assert record.seconds >= 0.02
    monkeypatch.undo()
    testing.fail_next_commit(event_log)
    with pytest.raises(eventlog.StorageError):
        orders.append(b"tea")
    [(event, record)] = told()
    assert (event, record.name, record.levelname) == ("disk error", "eventlog.disk", "ERROR")
    assert "Input/output error" in record.getMessage()


def test_a_handler_may_append_to_the_log(event_log, monkeypatch):
    """The line is written outside of the turn to commit."""
    orders, lines = event_log.topic("orders"), event_log.topic("lines", value=str)
    monkeypatch.setattr(environment, "SLOW_SECONDS", 0.01)

    class Handler(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    handler = Handler()
    logging.getLogger("eventlog.disk").addHandler(handler)
    try:
        with testing.slow_disk(event_log, 0.02):
            thread = threading.Thread(target=orders.append, args=[b"tea"])
            with monkeypatch.context():
                monkeypatch.setattr(handler, "emit", once(handler.emit))
                thread.start()
                thread.join(20.0)
    finally:
        logging.getLogger("eventlog.disk").removeHandler(handler)
    assert len(testing.produced(lines)) == 1


def once(function):
    """A function that does nothing when it is called again."""
    calls = []

    def call(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            function(*arguments)

    return call


def test_a_rebuild_is_told(event_log, told):
    """With the number of records."""
    event_log.topic("orders").append(b"tea")
    projection = event_log.projection("p", lambda state, record: None)
    projection.catch_up()
    told()
    projection.rebuild()
    [(event, record)] = told()
    assert (event, record.projection, record.count) == ("rebuilt", "p", 1)


def test_a_program_without_logging_does_not_import_it():
    """Nobody could see what is less than a warning."""
    program = (
        "import sys, eventlog\n"
        "with eventlog.open(':memory:') as log:\n"
        "    topic = log.topic('orders'); topic.append(b'tea')\n"
        "    with log.consumer(topic, group='g') as consumer: consumer.poll()\n"
        "assert 'logging' not in sys.modules, 'logging was imported'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
