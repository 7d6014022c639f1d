"""The comparison: that each peer does its work, that work which was not done is no figure, and the order of a run."""

from __future__ import annotations

import doctest
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from benchmarks.compare import cost, page
from benchmarks.compare.catalogue import OURS, PEERS, choose_peers, peer_named
from benchmarks.compare.cell import spawned
from benchmarks.compare.peer import Contents, Peer, Place
from benchmarks.compare.plan import Cell, all_cells, in_turns
from benchmarks.compare.records import make_records
from benchmarks.compare.run import Options, Run, can_run, cell_document, run
from benchmarks.compare.servers import HOST, free_port, running
from benchmarks.compare.workloads import Task, perform
from benchmarks.measure import Absent, Sample

ALWAYS_THERE = ("eventlog", "plain file", "py-lmdb", "sqlite3", "eventsourcing")
PRODUCING = ("produce_single", "produce_batch", "durable_single", "durable_threads")
READING = ("consume_objects", "consume_columns", "open")
PLAIN_FILE = peer_named("plain file")


@pytest.fixture(params=[peer.name for peer in PEERS])
def peer(request: pytest.FixtureRequest) -> Peer:
    """Each peer that is installed, without a warm-up; a missing one is skipped with what to install."""
    found = peer_named(request.param)
    if reason := found.missing():
        assert found.name not in ALWAYS_THERE, reason
        pytest.skip(f"{found.name}: {reason}")
    return attrs.evolve(found, warm_up_count=2)


def task(peer: Peer, workload: Any, tmp_path: Path, **options: Any) -> Task:
    """A tiny one, in a directory of its own."""
    directory = tmp_path / workload
    directory.mkdir()
    return Task(peer, workload, 100, directory, measured_s=0.005, latency_count=20, **options)


def test_a_peer_stores_what_it_is_given(peer: Peer, tmp_path: Path) -> None:
    """`perform` itself compares the count, the first and the last value with what was sent."""
    for workload in PRODUCING:
        if workload not in peer.lacks:
            sample = perform(task(peer, workload, tmp_path))
            assert sample.figure > 0, workload
            assert sample.details["records_count"] > 0, workload
            assert sample.details["cpu_s_per_million"] > 0, workload


def test_a_peer_reads_what_was_stored(peer: Peer, tmp_path: Path) -> None:
    """From a closed store, or from one filled on the spot where the peer has only memory."""
    stock = None
    if "stock" not in peer.lacks:
        filled = task(peer, "stock", tmp_path)
        sample = perform(filled)
        stock = filled.directory
        assert sample.figure > 100, "a record has 100 bytes at least"
    for workload in READING:
        if workload not in peer.lacks:
            assert perform(task(peer, workload, tmp_path, stock=stock)).figure > 0, workload


def test_a_peer_hands_records_from_thread_to_thread(peer: Peer, tmp_path: Path) -> None:
    """All 20 of them arrive; the first ten are not counted."""
    assert len(perform(task(peer, "latency_threads", tmp_path)).durations_ns) == 10


@pytest.mark.long
def test_a_peer_hands_records_from_process_to_process(peer: Peer, tmp_path: Path) -> None:
    """A spawned process opens the same place."""
    if "latency_processes" not in peer.lacks:
        assert len(perform(task(peer, "latency_processes", tmp_path)).durations_ns) == 10


def broken(**replaced: Any) -> Peer:
    """The plain file with some of its methods replaced: `send_batch=lambda store, values, keys: ...`."""

    @contextmanager
    def opened(place: Place) -> Iterator[Any]:
        with PLAIN_FILE.open(place) as store:

            class Broken:
                def __getattr__(self, name: str) -> Any:
                    if name in replaced:
                        return lambda *arguments: replaced[name](store, *arguments)
                    return getattr(store, name)

            yield Broken()

    return attrs.evolve(PLAIN_FILE, open=opened)


def test_a_peer_that_loses_a_record_has_no_figure(tmp_path: Path) -> None:
    """It would be the fastest of them."""
    loses = broken(send_batch=lambda store, values, keys: store.send_batch(values[1:], keys[1:]))
    with pytest.raises(RuntimeError, match="void"):
        perform(task(loses, "produce_batch", tmp_path))


def test_a_peer_that_stores_something_else_has_no_figure(tmp_path: Path) -> None:
    """As many records, and not those that were sent."""
    other = broken(send_batch=lambda store, values, keys: store.send_batch([b"x"] * len(values), keys))
    with pytest.raises(RuntimeError, match="void"):
        perform(task(other, "produce_batch", tmp_path))


def test_a_peer_that_acknowledges_without_storing_has_no_figure(tmp_path: Path) -> None:
    """The threads' records are counted afterwards."""
    lies = broken(append=lambda store, value, key: None)
    with pytest.raises(RuntimeError, match="void"):
        perform(task(lies, "durable_threads", tmp_path))


def test_a_peer_that_skips_a_record_has_no_figure(tmp_path: Path) -> None:
    """Reading begins with the first record and ends with the right one."""

    def skipping(store: Any) -> Iterator[Sequence[Any]]:
        return (part[1:] for part in store.objects())

    stock = task(PLAIN_FILE, "stock", tmp_path)
    perform(stock)
    with pytest.raises(RuntimeError, match="void"):
        perform(task(broken(objects=skipping), "consume_objects", tmp_path, stock=stock.directory))


def test_the_records_of_a_position_are_always_the_same() -> None:
    """A part that reaches over the end of the pool begins anew."""
    records = make_records(1_000)
    size = len(records.values)
    values, keys = records.part(size * 3 - 1, 3)
    assert values == [records.value(size - 1), records.value(0), records.value(1)]
    assert len(keys) == 3
    assert make_records(1_000).values == records.values


def test_a_cell_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Its sample comes back; one that fails says why, and nothing is left running."""
    sample = spawned(task(PLAIN_FILE, "produce_batch", tmp_path))
    assert isinstance(sample, Sample), sample
    assert sample.details["peak_bytes"] >= 0
    failed = spawned(task(PLAIN_FILE, "open", tmp_path))
    assert failed == Absent("RuntimeError: no stock of plain file", is_failure=True)


def test_a_server_is_waited_for_and_does_not_outlive_its_block(tmp_path: Path) -> None:
    """What it costs is read while it runs."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", HOST]
    with running(command, port=port, directory=tmp_path) as process_id:
        assert cost.status_bytes("VmHWM", process_id) > 0
        assert cost.server_cpu_s(process_id) > 0
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    """Its last words are in the error, and so in the table."""
    command = [sys.executable, "-c", "print('no such setting')"]
    with pytest.raises(RuntimeError, match="no such setting"), running(command, port=free_port(), directory=tmp_path):
        pass


def test_all_peers_take_turns_and_stocks_come_first() -> None:
    """A machine that slows down slows all of them."""
    peers = choose_peers(["sqlite3"])
    turns = list(in_turns(all_cells(peers, ["consume_objects"], is_quick=True), rounds=2))
    assert [(number, cell.workload, cell.peer.name) for number, cell in turns] == [
        (1, "stock", OURS),
        (1, "stock", "sqlite3"),
        (1, "consume_objects", OURS),
        (1, "consume_objects", "sqlite3"),
        (2, "consume_objects", OURS),
        (2, "consume_objects", "sqlite3"),
    ]


def test_words_choose_workloads_and_peers() -> None:
    """We are always among the peers: every ratio needs us."""
    assert [peer.name for peer in choose_peers(["REDIS"])] == [OURS, "redis streams"]
    assert {cell.workload for cell in all_cells(PEERS, ["durable"], is_quick=False)} == {
        "durable_single",
        "durable_threads",
    }
    assert {cell.value_bytes for cell in all_cells(PEERS, [], is_quick=True)} == {100}
    assert all_cells(PEERS, ["nothing-like-it"], is_quick=False) == []


def test_a_missing_peer_says_what_to_install() -> None:
    """Packages by pip, servers by apt."""
    package = attrs.evolve(PLAIN_FILE, packages={"no-such-package": "no_such_module"})
    server = attrs.evolve(PLAIN_FILE, programs={"no-such-server": "its-package"})
    assert PLAIN_FILE.missing() is None
    assert package.missing() == "not installed; run: pip install no-such-package"
    assert server.missing() == "no server on the PATH; run: apt-get install its-package"


def test_a_failed_round_is_kept_beside_the_others(tmp_path: Path) -> None:
    """Figures of the other rounds stay, and the document says what went wrong."""
    answers: Iterator[Sample | Absent] = iter(
        [Sample(10.0), Absent("RuntimeError: void", is_failure=True), Sample(30.0)]
    )
    going = Run(tmp_path, Options(rounds=3), spawn=lambda _task: next(answers))
    cell = Cell(PLAIN_FILE, "produce_batch", 100)
    lines: list[str] = []
    going.measure([cell], lines.append)
    document = cell_document(cell, going, {})
    assert (document["median"], document["best"], document["failures"]) == (20.0, 30.0, ["RuntimeError: void"])
    assert "FAILED: RuntimeError: void" in lines[1]
    assert lines[2].startswith("[3/3] round 3: produce_batch 100 B plain file: 30 records/s; 0:00 left")


def test_what_a_peer_lacks_is_not_run_and_has_its_reason(tmp_path: Path) -> None:
    """An empty field of the table is explained."""
    cell = Cell(peer_named("py-lmdb"), "consume_columns", 100)
    assert not can_run(cell, {})
    document = cell_document(cell, Run(tmp_path, Options()), {})
    assert (document["absent"], document["is_failure"]) == ("a row is a record", False)


def test_a_whole_run_makes_a_document_that_is_json(tmp_path: Path) -> None:
    """Once through processes, for one workload: measured, summed up, rendered, and nothing left behind."""
    options = Options(rounds=1, measured_s=0.005, is_quick=True, words=["produce_batch"])
    document = run([peer_named(OURS), PLAIN_FILE], options, tmp_path, lambda _line: None)
    assert document is not None
    again = json.loads(json.dumps(document))
    assert [cell["peer"] for cell in again["cells"]] == [OURS, "plain file"]
    assert all(cell["median"] > 0 for cell in again["cells"])
    assert "| plain file |" in page.sections(again)
    assert list(tmp_path.iterdir()) == []


def test_a_store_may_not_know_its_first_record() -> None:
    """The mock broker forgets the oldest; count and last value are compared all the same."""
    records = make_records(100)
    from benchmarks.compare.workloads import expect

    expect(Contents(3, None, records.value(2)), 3, records)
    with pytest.raises(RuntimeError, match="void"):
        expect(Contents(3, None, records.value(1)), 3, records)


def test_examples_of_docstrings_run() -> None:
    """An example that no longer runs explains nothing."""
    found = doctest.testmod(page)
    assert found.attempted > 0
    assert found.failed == 0
