"""
librdkafka's mock broker as a process of its own, so that its CPU and memory are a server's.

It prints its address and runs until its input ends. Knows the mock broker of `benchmarks.mock_broker`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from benchmarks.compare.peer import TOPIC, Place
from benchmarks.compare.servers import stop


@contextmanager
def mock_server(place: Place) -> Iterator[Place]:
    """A broker with one topic of one partition, until the block ends."""
    command = [sys.executable, "-m", "benchmarks.compare.broker"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        if not address:
            raise RuntimeError("the mock broker did not start")
        yield attrs.evolve(place, address=address, process_id=process.pid)
    finally:
        stop(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def main() -> None:
    """The broker's process."""
    from benchmarks.mock_broker import mock_broker

    with mock_broker({TOPIC: 1}) as address:
        print(address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
