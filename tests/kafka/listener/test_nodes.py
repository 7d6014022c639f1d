"""Several listeners of one log, in one process and in several: each has a number, and clients learn of all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import eventlog
import eventlog.kafka
from eventlog.kafka.protocol import ApiKey
from tests.kafka.listener.clients import Confluent, Sent
from tests.kafka.wire import Wire

PATIENCE_SECONDS = 20.0
SERVES = """
import sys, eventlog.kafka
with eventlog.kafka.listen(sys.argv[1]) as kafka:
    print(kafka.port, flush=True)
    sys.stdin.readline()
"""


class Address:
    """Where a process listens, for `Wire`."""

    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self.port = port
        self.bootstrap_servers = f"127.0.0.1:{port}"


@contextmanager
def another(path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """A listener in a process of its own."""
    command = [sys.executable, "-c", SERVES, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process, Address(int(process.stdout.readline()))
        finally:
            process.kill()


def nodes(kafka: Any) -> dict[int, int]:
    """The nodes that a listener names, and their ports."""
    with Wire(kafka) as wire:
        return {one["node_id"]: one["port"] for one in wire.ask(ApiKey.METADATA, 12, {"topics": []})["brokers"]}


def wait_for_nodes(kafka: Any, expected: set[int]) -> None:
    """Until a listener names these nodes."""
    end_s = monotonic() + PATIENCE_SECONDS
    while set(nodes(kafka)) != expected:
        assert monotonic() < end_s


def test_each_listener_has_the_lowest_free_number(log: eventlog.EventLog) -> None:
    """A number is free again when its listener is closed."""
    with eventlog.kafka.listen(log) as one:
        with eventlog.kafka.listen(log) as two:
            assert nodes(two) == {1: one.port, 2: two.port}
            wait_for_nodes(one, {1, 2})
        with eventlog.kafka.listen(log) as again:
            assert nodes(again) == {1: one.port, 2: again.port}
    with eventlog.kafka.listen(log) as last:
        assert nodes(last) == {1: last.port}


def test_each_listener_leads_all_partitions_for_those_that_ask_it(log: eventlog.EventLog) -> None:
    """All of them name the same controller."""
    log.topic("orders", partitions=3)
    with eventlog.kafka.listen(log) as one, eventlog.kafka.listen(log) as two:
        wait_for_nodes(one, {1, 2})
        for kafka, number in ((one, 1), (two, 2)):
            with Wire(kafka) as wire:
                answer = wire.ask(ApiKey.METADATA, 12, {"topics": [{"name": "orders"}]})
            assert {part["leader_id"] for part in answer["topics"][0]["partitions"]} == {number}
            assert answer["controller_id"] == 1


def test_a_listener_names_those_that_clients_reach_in_the_same_way(log: eventlog.EventLog) -> None:
    """A client that does not authenticate itself is not sent to a listener that wants it."""
    with eventlog.kafka.listen(log, users={"alice": "secret"}), eventlog.kafka.listen(log) as open_to_all:
        with eventlog.kafka.listen(log) as another:
            assert nodes(another) == {2: open_to_all.port, 3: another.port}


def test_a_number_that_is_asked_for_is_had_once(log: eventlog.EventLog) -> None:
    """By one live listener; the error names it."""
    with eventlog.kafka.listen(log, node_id=7) as kafka:
        assert nodes(kafka) == {7: kafka.port}
        with pytest.raises(eventlog.kafka.CannotListen, match=r"another listener .* is node 7"):
            eventlog.kafka.listen(log, node_id=7)
    with eventlog.kafka.listen(log, node_id=7) as kafka:
        assert nodes(kafka) == {7: kafka.port}


def test_listeners_of_two_processes_share_a_log(path: Path) -> None:
    """What one stores, the other reads; a client of either finds both; the one that is killed is named no more."""
    with eventlog.open(path) as log, another(path) as (process, other), eventlog.kafka.listen(log) as kafka:
        assert nodes(kafka) == {1: other.port, 2: kafka.port}
        Confluent.send(other.bootstrap_servers, "orders", [Sent(0, None, b"%d" % number) for number in range(50)])
        Confluent.send(kafka.bootstrap_servers, "orders", [Sent(0, None, b"%d" % number) for number in range(50, 99)])
        for servers in (other.bootstrap_servers, kafka.bootstrap_servers):
            found = Confluent.read(servers, "orders", {0: 0}, 99)
            assert [one.value for one in found] == [b"%d" % number for number in range(99)]
        process.kill()
        wait_for_nodes(kafka, {2})
        with eventlog.kafka.listen(log) as successor:
            assert nodes(successor) == {1: successor.port, 2: kafka.port}


def test_a_log_that_may_only_be_read_is_served(path: Path) -> None:
    """Its listener writes nothing, and is alone as far as it knows."""
    with eventlog.open(path) as log:
        log.topic("orders").append(b"tea")
    before = sorted(os.listdir(path))  # noqa: PTH208
    with eventlog.open(path, read_only=True) as log, eventlog.kafka.listen(log) as kafka:
        assert nodes(kafka) == {1: kafka.port}
        assert [one.value for one in Confluent.read(kafka.bootstrap_servers, "orders", {0: 0}, 1)] == [b"tea"]
    assert sorted(os.listdir(path)) == before  # noqa: PTH208


def test_a_file_that_somebody_put_there_harms_nobody(path: Path) -> None:
    """Neither a link to another file, nor a name that is no number, nor an address that is none."""
    with eventlog.open(path) as log:
        folder = path / "listeners"
        folder.mkdir()
        elsewhere = path.parent / "elsewhere"
        elsewhere.write_text("keep")
        (folder / "2").symlink_to(elsewhere)
        (folder / "x").write_text("5 host")
        (folder / "3").write_bytes(b"\xff\xfe")
        with eventlog.kafka.listen(log) as one, eventlog.kafka.listen(log) as two:
            assert nodes(one) == {1: one.port, 3: two.port}
            with pytest.raises(eventlog.kafka.CannotListen, match="is node 2"):
                eventlog.kafka.listen(log, node_id=2)
        assert elsewhere.read_text() == "keep"
