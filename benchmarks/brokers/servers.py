"""
The brokers, each in a process of its own, with a topic of one partition and one of eight.

kfake is a Go program: `KFAKE` names its binary, which reads `-port` and prints `BOOTSTRAP=host:port`. Kafka is started
by `tests/kafka/differential/real_broker.py`, with the JVM's own settings and 1 GiB of heap.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import attrs

from benchmarks.brokers.topics import ONE, PARTITIONS
from benchmarks.measure import Skipped
from benchmarks.mock_broker import load_confluent
from benchmarks.setting import Setting

_PATIENCE_S = 90.0


@attrs.frozen
class Server:
    """
    A broker that runs.

    Args:
        ready_ms: from the start of its process to its first answer.
        kept: how many records of a partition it keeps, if that is bounded.
    """

    address: str
    pid: int
    ready_ms: float
    kept: int | None = None

    @property
    def cpu_s(self) -> float:
        """The CPU time that its process has taken."""
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as file:  # noqa: PTH123 - no file on a disk
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory_bytes(self) -> int:
        """The memory that its process has in RAM."""
        with open(f"/proc/{self.pid}/statm", encoding="utf-8") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


OpenServer = Callable[[Setting], AbstractContextManager[Server]]


@contextmanager
def listener(setting: Setting, *, is_in_memory: bool) -> Iterator[Server]:
    """The listener over a log on disk, which syncs before it acknowledges, or over one in memory."""
    with setting.fresh_directory() as folder:
        where = ":memory:" if is_in_memory else str(folder / "log")
        with _program([sys.executable, "-m", "benchmarks.brokers.listener_program", where]) as server:
            yield server


@contextmanager
def mock(_setting: Setting) -> Iterator[Server]:
    """The mock broker of librdkafka, which keeps the last 5 MB of a partition."""
    load_confluent()
    with _program([sys.executable, "-m", "benchmarks.brokers.mock_program"], kept=40_000) as server:
        yield server


@contextmanager
def kfake(_setting: Setting) -> Iterator[Server]:
    """kfake, with all records in memory."""
    binary = os.environ.get("KFAKE") or shutil.which("kfake")
    if binary is None:
        raise Skipped("no kfake: set KFAKE to its binary")
    with _program([binary, "-port", str(_free_port())]) as server:
        _create_topics(server.address)
        yield server


@contextmanager
def kafka(_setting: Setting) -> Iterator[Server]:
    """Kafka, which syncs when the system likes."""
    from tests.kafka.differential.real_broker import CannotStart, real_kafka

    started = time.perf_counter()
    try:
        with real_kafka(jvm=("-Xmx1g", "-Xshare:auto")) as address:
            ready_ms = (time.perf_counter() - started) * 1e3
            server = Server(f"{address.host}:{address.port}", address.pid or 0, ready_ms)
            _create_topics(server.address)
            yield server
    except CannotStart as error:
        raise Skipped(str(error).splitlines()[0]) from error


@contextmanager
def _program(command: list[str], *, kept: int | None = None) -> Iterator[Server]:
    """A broker that prints its address, and ends with its input."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip().removeprefix("BOOTSTRAP=")
        if not address:
            raise RuntimeError(f"{command[0]} ended with {process.wait()}")
        answer(address)
        yield Server(address, process.pid, (time.perf_counter() - started) * 1e3, kept)
    finally:
        process.stdin.close()
        process.terminate()
        process.wait()
        process.stdout.close()


def answer(address: str) -> socket.socket:
    """Connect, ask for the versions, and wait for the answer."""
    host, _, port = address.rpartition(":")
    deadline = time.perf_counter() + _PATIENCE_S
    while True:
        try:
            sock = socket.create_connection((host, int(port)), timeout=_PATIENCE_S)
            break
        except ConnectionRefusedError:
            if time.perf_counter() > deadline:
                raise
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(bytes.fromhex("0000000a 0012 0000 00000001 ffff".replace(" ", "")))
    size = struct.unpack(">i", sock.recv(4, socket.MSG_WAITALL))[0]
    sock.recv(size, socket.MSG_WAITALL)
    return sock


def _create_topics(address: str) -> None:
    load_confluent()
    from confluent_kafka.admin import AdminClient, NewTopic

    admin: Any = AdminClient({"bootstrap.servers": address, "log_level": 0})
    topics = [NewTopic(name, num_partitions=count, replication_factor=1) for name, count in PARTITIONS.items()]
    for future in admin.create_topics(topics).values():
        future.result(30)
    while len(admin.list_topics(ONE, timeout=30).topics[ONE].partitions) != PARTITIONS[ONE]:
        pass


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
