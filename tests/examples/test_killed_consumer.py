"""Two consumer processes and a kill: nothing is left out, and what is planted is found."""

from __future__ import annotations

import io
import os
import random
import re
import signal
import subprocess
import time

import pytest

import eventlog
from examples.flights import killed_consumer as team
from examples.flights.child import Child, ready, started
from examples.flights.data import CarrierTotal, count_file
from examples.flights.demo import TOPIC
from examples.flights.failure import Failure
from examples.flights.killed_consumer import GROUP, Ledger, Member, Team
from tests.examples.conftest import flight


@pytest.fixture
def flights_log(tmp_path, rows):
    """A log with three thousand flights in eight partitions."""
    with eventlog.open(tmp_path / "log") as log:
        log.topic(TOPIC, partitions=8).append_many(rows, keys=[b"%d" % at for at in range(len(rows))])
        yield log


@pytest.fixture
def make_team(flights_log, rows, rng):
    """Makes the team; `say` gets the lines of its report."""

    def make(say):
        return Team(flights_log, TOPIC, len(rows), random.Random(rng.random()), io.StringIO(), say)

    return make


@pytest.fixture
def echo():
    """A member whose process hands on what it is told; it is an answer when it looks like one."""
    with subprocess.Popen(["cat"], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        yield Member(Child(cat, cat.stdin, cat.stdout))


def when_shared(log, act):
    """A `say` that calls `act` with each member's process id as soon as the work begins."""

    def say(line):
        if line.startswith("shares"):
            for member in log.groups.describe(GROUP).members:
                act(member.process_id)

    return say


def test_killed_consumer_costs_no_flight(flights_zip, flights_log, make_team):
    """The real thing: two processes, a SIGKILL, and the other has the first record of what it took over."""
    said = []
    assert make_team(said.append).run(count_file(flights_zip)) == []
    shares, killed, rate, verdict = said
    numbers = [set(share.split()) for share in shares.removeprefix("shares: partitions ").split("; ")]
    assert sorted(map(len, numbers)) == [4, 4]
    assert len(numbers[0] | numbers[1]) == 8
    assert re.fullmatch(
        r"killed one after [\d,]+ records; the other had the first record of its partitions \d+ ms later", killed
    )
    assert rate.startswith("3,000 records in ")
    assert verdict.startswith("OK: no flight is left out")
    group = flights_log.groups.describe(GROUP)
    assert (group.state, group.members, group.lag) == ("empty", (), 0)


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_file_of_one_flight_or_two_is_shared_as_well(tmp_path, partitions):
    """However little there is to do, the kill comes before the end and nothing is waited for in vain."""
    rows = [flight(at=0), flight(at=1)]
    with eventlog.open(tmp_path / "log") as log:
        for count in (1, 2):
            topic = log.topic(f"flights-{count}", partitions=partitions)
            topic.append_many(rows[:count], partition=0)
            shared = Team(log, topic.name, count, random.Random(1), io.StringIO(), lambda _line: None)
            assert shared.run({"UA": CarrierTotal(count, count, 2 * count)}) == []


def test_other_totals_are_found(make_team):
    """Planted: totals of another reading."""
    assert make_team(lambda _line: None).run({}) == [
        "group 'team', each record counted once, gave other totals than the first reading"
    ]


def test_records_that_are_left_out_are_found(flights_zip, flights_log, make_team):
    """Planted: the group begins behind the first five records of a partition."""
    with flights_log.consumer(group=GROUP) as consumer:
        consumer.commit({(TOPIC, 2): 5})
    assert make_team(lambda _line: None).run(count_file(flights_zip)) == [
        "group 'team' has left out 5 of 3,000 records"
    ]


def test_processes_that_stand_still_are_reported_and_ended(flights_log, make_team, monkeypatch):
    """Planted: both are stopped when the work begins; the wait has a bound."""
    stopped = []

    def stop(process_id):
        monkeypatch.setattr(team, "_STALLED_S", 0.1)
        os.kill(process_id, signal.SIGSTOP)
        stopped.append(process_id)

    with pytest.raises(
        Failure, match=r"is stable with 2 members, they have handed on 0 of 3,000 records.*Start the demo again"
    ):
        make_team(when_shared(flights_log, stop)).run({})
    for process_id in stopped:
        with pytest.raises(ProcessLookupError):
            os.kill(process_id, 0)


def test_processes_that_end_by_themselves_are_reported(flights_log, make_team):
    """Planted: somebody else kills both."""
    say = when_shared(flights_log, lambda process_id: os.kill(process_id, signal.SIGKILL))
    with pytest.raises(Failure, match=r"ended by itself \(exit code -9\)"):
        make_team(say).run({})


def test_a_group_that_does_not_settle_is_reported(flights_log, make_team, monkeypatch, capfd):
    """Planted: a third member that never gives up what it has. The others say where they were."""
    monkeypatch.setattr(team, "_STALLED_S", 0.5)
    with (
        flights_log.consumer(TOPIC, group=GROUP),
        pytest.raises(Failure, match=r"handed on 0 of 3,000 records, and nothing new came"),
    ):
        make_team(lambda _line: None).run({})
    assert "most recent call first" in capfd.readouterr().err


def test_a_member_without_a_parent_commits_and_ends(flights_log):
    """The end of its orders is the end of its work, and no error."""
    with started("examples.flights.killed_consumer", flights_log.path, TOPIC, 10) as child:
        child.stdin.write(team.WORK)
        assert ready([child], 30.0) == [child]
        child.stdin.close()
        assert child.process.wait(30.0) == 0
    assert flights_log.groups.describe(GROUP).lag == 2_990


def test_ledger_counts_a_record_once():
    """However often it comes, and in whatever order; the same row in another place is another record."""
    ledger = Ledger()
    row = flight(dep_delay="7")
    assert ledger.add([b"0 1\t" + row, b"0 0\t" + row]) == 2
    assert ledger.add([b"0 0\t" + row, b"1 0\t" + row, b"0 1\t" + row]) == 1
    assert ledger.again_count == 2
    assert ledger.tally.totals() == {"UA": CarrierTotal(flights=3, departures=3, delay_minutes=21)}


def test_an_answer_may_come_in_pieces(echo):
    """It is one when its empty line is there."""
    echo.order(b"1.5\n0 0\ta\n0 ")
    assert ready([echo.child], 30.0) == [echo.child]
    assert echo.answer() is None
    echo.order(b"1\tb\n\n")
    assert ready([echo.child], 30.0) == [echo.child]
    answer = echo.answer()
    assert answer is not None
    assert (answer.at_s, answer.lines, echo.record_count) == (1.5, [b"0 0\ta", b"0 1\tb"], 2)
    assert answer.is_of({0, 3})
    assert not answer.is_of({1})


def test_last_words_end_with_the_last_whole_record(echo):
    """What a killed process wrote of a record and did not finish does not count."""
    echo.order(b"1.5\n0 0\ta\n0 1\tb")
    echo.child.stdin.close()
    assert echo.last_lines(time.monotonic() + 30.0) == [b"0 0\ta"]


def test_a_process_that_does_not_end_is_reported(echo):
    """The wait for its last words has a bound, too."""
    with pytest.raises(Failure, match="was to end, and did not"):
        echo.last_lines(time.monotonic())
