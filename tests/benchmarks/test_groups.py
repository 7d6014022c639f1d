"""The processes of the group figures, and what is made of their reports."""

import os
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

import eventlog
from benchmarks import groups
from benchmarks.company import Company, Takeover
from benchmarks.crew import crew
from benchmarks.measure import Sample, Skipped
from benchmarks.setting import TOPIC, Setting


def answer(parent: Connection, *words: str) -> None:
    """Says the words, then whatever it is told, until its parent is gone."""
    parent.send(words)
    while True:
        parent.send(parent.recv())


def fail(_parent: Connection) -> None:
    """Goes wrong at once."""
    raise ValueError("it went wrong")


def pretend(parent: Connection, numbers: list[int]) -> None:
    """Is a member that reports the partitions it is told, and never has more."""
    for number in numbers:
        parent.send((number, number + 1))
    parent.recv()


def test_a_worker_answers_and_does_not_outlive_its_crew() -> None:
    """What is started is spoken to, and gone afterwards."""
    with crew() as workers:
        worker = workers.start(answer, "a", "b")
        assert worker.hear() == ("a", "b")
        worker.say(1)
        assert worker.hear() == 1
        process_id = worker.process_id
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


def test_what_a_worker_raises_is_raised_where_it_is_heard() -> None:
    """A failed process makes its round void, with its story."""
    with crew() as workers, pytest.raises(RuntimeError, match="it went wrong"):
        workers.start(fail).hear()


def test_a_killed_worker_is_missed_and_a_silent_one_is_not_waited_for() -> None:
    """Nothing hangs the benchmark."""
    with crew() as workers:
        worker = workers.start(answer)
        worker.hear()
        with pytest.raises(RuntimeError, match="said nothing"):
            worker.hear(seconds=0.01)
        os.kill(worker.process_id, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="ended without a word"):
            worker.hear()


def test_a_company_is_even_when_all_partitions_are_reported_and_shared() -> None:
    """A partition that nobody reports, or a member with two more than another, means that the group still moves."""
    with crew() as workers:
        company = Company(workers, pretend, ([],), members=2, partitions=4)
        company.members = [workers.start(pretend, [0, 1]), workers.start(pretend, [2])]
        company.follow(lambda: len(company.owners) == 3, "reports")
        assert not company.is_even()
        company.owners[3] = (9, company.members[0])
        assert not company.is_even()
        company.owners[3] = (9, company.members[1])
        assert company.is_even()
        with pytest.raises(RuntimeError, match="no wonder within"):
            company.follow(lambda: False, "wonder", seconds=0.01)


def test_a_takeover_ends_with_its_last_partition() -> None:
    """The figure is the slower one; the first partition is a detail."""
    sample = groups.takeover_sample([Takeover(2_000_000, 5_000_000), Takeover(1_000_000, 7_000_000)])
    assert sample.figure == 7.0
    assert list(sample.durations_ns) == [5_000_000, 7_000_000]
    assert (sample.details["first_partition_p50_ms"], sample.details["kills_count"]) == (1.0, 2)


def test_the_time_on_a_core_is_that_of_all_threads(tmp_path: Path) -> None:
    """`/proc/<pid>/schedstat` alone would leave out every thread but the first."""
    for thread, spent_ns in ((7, 1_500), (8, 500)):
        (tmp_path / "7" / "task" / str(thread)).mkdir(parents=True)
        (tmp_path / "7" / "task" / str(thread) / "schedstat").write_text(f"{spent_ns} 20 3\n")
    assert groups.cpu_ns(7, proc=tmp_path) == 2_000
    with pytest.raises(Skipped, match="Linux"):
        groups.cpu_ns(8, proc=tmp_path)


def test_this_process_has_spent_time_on_a_core() -> None:
    """The file of the system is read as it is."""
    try:
        before_ns = groups.cpu_ns(os.getpid())
    except Skipped as reason:
        pytest.skip(str(reason))
    thread = threading.Thread(target=sum, args=(range(100_000),))
    thread.start()
    thread.join()
    assert before_ns > 0


def test_the_number_of_commits_is_read_from_a_log_that_others_write(path: Path) -> None:
    """One append is one commit."""
    with eventlog.open(path) as log:
        log.topic(TOPIC)
    before = groups.last_transaction(path)
    with eventlog.open(path) as log:
        log.topic(TOPIC).append(b"tea")
    assert groups.last_transaction(path) == before + 1


def test_a_takeover_is_measured_at_real_members(tmp_path: Path) -> None:
    """Two members of three are killed, and their partitions give records elsewhere."""
    with groups.take_over(Setting(tmp_path, scale=0.001), is_busy=True) as run:
        sample = run()
    assert sample.details["kills_count"] == len(sample.durations_ns) == 2
    assert 0 < sample.details["first_partition_p50_ms"] <= sample.figure
    assert list(tmp_path.iterdir()) == []


def test_a_group_reads_each_record_once(tmp_path: Path) -> None:
    """The round would be void otherwise."""
    with groups.drain(Setting(tmp_path, scale=0.001), members=2, form="columns") as run:
        assert isinstance(run(), Sample)
